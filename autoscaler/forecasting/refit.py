"""
The slow loop: reads history, learns each workload's demand and season, chooses shapes.

It runs at start and every few hours, never inside a decision; what it learned
goes into the next snapshots as values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from autoscaler.interfaces import MetricsSource
from autoscaler.model.bounds import replica_bounds
from autoscaler.model.node import NodeGroup
from autoscaler.model.policy import MpaSpec, Policies, SloClass
from autoscaler.model.readings import Series, Signal, SignalKind
from autoscaler.model.resources import CPU
from autoscaler.model.snapshot import ClusterSnapshot, Prices, WorkloadModel
from autoscaler.model.units import DAY
from autoscaler.model.workload import Workload
from autoscaler.planning.effective import Effective, effective_policies
from autoscaler.planning.reaction import boot_seconds, reaction_seconds
from autoscaler.planning.shapes import Sizing, choose_shapes
from autoscaler.recommend.forecast import day_peaks
from autoscaler.recommend.joint_view import SLOWDOWN, JointParams, declared_parallelism
from autoscaler.recommend.learn import History, learn

HISTORY_DAYS = 14.0
STEP_SECONDS = 60.0
_PARTS, _MANY, _PARTS_OF_MANY = 12, 500, 4
LEARNING_ENGINES = frozenset({"joint", "hpa+season"})
SHAPING_ENGINES = frozenset({"joint"})
"""Engines whose shapes are chosen at shadow prices."""


async def refit(
    snapshot: ClusterSnapshot, policies: Policies, metrics: MetricsSource, *, at: float
) -> tuple[tuple[WorkloadModel, ...], Prices]:
    """
    Return what history up to *at* teaches about the workloads of *snapshot*, and the shadow prices.

    A workload without usable history gets no model: its engine sizes by what it sees.
    """
    governed = effective_policies(snapshot, policies)
    before = {model.workload: model for model in snapshot.models}
    models: dict[str, WorkloadModel] = {}
    learners = [w for w in snapshot.workloads if w.key in governed and governed[w.key].engine in LEARNING_ENGINES]
    boot = boot_seconds(snapshot.node_groups)
    for workload in learners:
        history = await _history(metrics, workload.key, at)
        if np.any(np.isfinite(history.cpu.values)):
            pods = reaction_seconds(snapshot, workload)
            parallelism = declared_parallelism(workload, governed[workload.key].spec, before.get(workload.key))
            models[workload.key] = learn(
                workload.key, history, at=at, horizons=(pods, pods + boot), parallelism=parallelism
            )
    shapes = choose_shapes(_sizings(learners, governed, models), _plain_groups(snapshot))
    for key, shape in shapes.chosen:
        models[key] = msgspec.structs.replace(models[key], shape=shape)
    return tuple(models[key] for key in sorted(models)), shapes.prices


async def _history(metrics: MetricsSource, workload: str, at: float) -> History:
    start = at - HISTORY_DAYS * DAY
    read: dict[SignalKind, Series] = {}
    for kind in (SignalKind.CPU, SignalKind.READY, SignalKind.REQUESTS, SignalKind.MEMORY_PEAK):
        read[kind] = await metrics.history(Signal(workload, kind), start, at, STEP_SECONDS)
    return History(
        cpu=read[SignalKind.CPU],
        ready=read[SignalKind.READY],
        requests=read[SignalKind.REQUESTS],
        memory=read[SignalKind.MEMORY_PEAK],
    )


def _sizings(
    workloads: Sequence[Workload], governed: Mapping[str, Effective], models: Mapping[str, WorkloadModel]
) -> list[Sizing]:
    parts = _PARTS if len(workloads) <= _MANY else _PARTS_OF_MANY
    sizings = []
    for workload in workloads:
        model = models.get(workload.key)
        effective = governed[workload.key]
        if model is None or effective.engine not in SHAPING_ENGINES or not model.season.history_max > 0:
            continue
        try:
            params = msgspec.convert(effective.spec.policy.params, JointParams)
        except msgspec.ValidationError:
            # The decision holds this workload and says why.
            continue
        sizings.append(_sizing(workload, effective.spec, model, params, parts=parts))
    return sizings


def _sizing(workload: Workload, spec: MpaSpec, model: WorkloadModel, params: JointParams, *, parts: int) -> Sizing:
    low, high = replica_bounds(spec.constraints)
    template = workload.template
    controlled = spec.constraints.container_controlled_resources
    asked = sum(container.requests.cpu for container in template.containers)
    slo = spec.goals.slo
    return Sizing(
        workload=workload.key,
        peaks=tuple(float(peak) for peak in day_peaks(model.season, parts)),
        parallelism=model.demand.parallelism,
        slowdown=SLOWDOWN[slo.class_ if slo else SloClass.STANDARD],
        demand=model.demand,
        cpu=asked,
        memory=sum(c.requests.memory for c in template.containers),
        low=low,
        high=high,
        utilisation=params.utilisation,
        fill=params.fill,
        fixed=not params.size_cpu or (controlled is not None and CPU not in controlled),
    )


def _plain_groups(snapshot: ClusterSnapshot) -> list[NodeGroup]:
    return [group for group in snapshot.node_groups if not group.template.taints] or list(snapshot.node_groups)
