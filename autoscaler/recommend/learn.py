"""What the slow loop learns of one workload from its history: pure, and slow enough to keep off the decision loop."""

from __future__ import annotations

import msgspec
import numpy as np

from autoscaler.model.arrays import Floats
from autoscaler.model.readings import Series
from autoscaler.model.snapshot import DemandModel, WorkloadModel
from autoscaler.recommend.demand import fit_demand
from autoscaler.recommend.forecast import fit_season


class History(msgspec.Struct, frozen=True, kw_only=True):
    """
    Series of one workload on one grid: cores used by all pods, ready pods,
    requests a second, the largest working set in bytes. A signal that does
    not exist is all NaN.
    """

    cpu: Series
    ready: Series
    requests: Series
    memory: Series


def learn(
    workload: str, history: History, *, at: float, horizons: tuple[float, ...], parallelism: float = 0.0
) -> WorkloadModel:
    """Fit demand and season of *workload* as of *at*; *horizons* are seconds ahead (pods, nodes)."""
    demand = fit_demand(
        history.cpu.values,
        history.requests.values,
        history.ready.values,
        history.memory.values,
        parallelism=parallelism,
    )
    work = work_series(history, demand)
    season = fit_season(work, start=history.cpu.start, step=history.cpu.step, horizons=horizons)
    return WorkloadModel(workload=workload, fitted_at=at, demand=demand, season=season)


def work_series(history: History, demand: DemandModel) -> Floats:
    """Return the cores of work asked for at each step, NaN where nothing is known."""
    used = np.maximum(history.cpu.values - demand.idle_cores * history.ready.values, 0.0)
    if demand.cores_per_request <= 0:
        return used
    asked = demand.cores_per_request * history.requests.values
    return np.asarray(np.where(np.isfinite(asked), asked, used), dtype=np.float64)
