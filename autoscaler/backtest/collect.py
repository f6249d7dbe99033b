"""What of a simulated run goes into its results."""

from __future__ import annotations

import math

import numpy as np

from autoscaler.backtest.results import Job, RunFigures, RunSeries
from autoscaler.backtest.traces import FloatArray
from autoscaler.model.units import GIB, HOUR
from autoscaler.simulator.results import RunResult
from autoscaler.simulator.spec import Service, WorldSpec

MOST_POINTS = 288
MOST_SERVICES = 8
_DIGITS = 4
_DECIMALS = 6


def figures_of(result: RunResult, job: Job, scenario: str) -> RunFigures:
    """Return the row of figures of one run."""
    totals = result.metrics
    return RunFigures(
        scenario=scenario,
        engine=job.engine,
        settings=job.settings,
        seed=job.seed,
        usd_per_day=round(totals.usd_per_day, _DECIMALS),
        slo_violation_share=round(totals.slo_violation_share, _DECIMALS),
        dropped_share=round(totals.dropped_share, _DECIMALS),
        slow_share=round(totals.slow_share, _DECIMALS),
        oom_kills=totals.oom_kills,
        evictions=totals.evictions + totals.lost_pods,
        pod_starts=totals.pod_starts,
        node_launches=totals.node_launches,
        pending_pod_minutes=round(totals.pending_pod_minutes, _DECIMALS),
        slack_cpu=round(totals.slack_cpu, _DECIMALS),
        slack_memory=round(totals.slack_memory, _DECIMALS),
        cpu_utilisation=round(totals.cpu_utilisation, _DECIMALS),
        bound_gap=None if math.isnan(totals.bound_gap) else round(totals.bound_gap, _DECIMALS),
        cpu_seconds=round(totals.cpu_seconds, 3),
        node_hours={name: round(hours, _DECIMALS) for name, hours in totals.node_hours_by_type.items()},
    )


def series_of(result: RunResult, world: WorldSpec) -> RunSeries:
    """Return the series behind the plots: means over at most 288 bins of equal length, the largest services alone."""
    steps = len(result.times)
    width = math.ceil(steps / MOST_POINTS)
    values = {name: array.astype(np.float64) for name, array in result.by_service.items()}
    pods, load = values["pods"], values["load"]
    work = np.stack([_cores_of_work(service, world) for service in world.services], axis=1)[-steps:]
    total = load.sum(axis=1)
    slow = np.divide((values["slow"] * load).sum(axis=1), total, out=np.zeros(steps), where=total > 0)
    lines = {
        "usd": result.usd_per_hour,
        "nodes": result.nodes.sum(axis=1),
        "replicas": values["ready"].sum(axis=1),
        "cpu": (values["cpu_request"] * pods).sum(axis=1),
        "work": work.sum(axis=1),
        "memory": (values["memory_request"] * pods).sum(axis=1) / GIB,
        "slow": slow,
    }
    largest = sorted(np.argsort(-work.mean(axis=0), kind="stable")[:MOST_SERVICES].tolist())
    hours = (np.arange(steps) + 0.5) * world.step_seconds / HOUR
    return RunSeries(
        hours=_bins(hours, width),
        bin_minutes=width * world.step_seconds / 60,
        length_hours=steps * world.step_seconds / HOUR,
        lines={name: _bins(line, width) for name, line in lines.items()},
        services={
            _label(world.services[place], world): {
                "replicas": _bins(values["ready"][:, place], width),
                "cpu": _bins(values["cpu_request"][:, place], width),
                "memory": _bins(values["memory_request"][:, place] / GIB, width),
                "slow": _bins(values["slow"][:, place], width),
            }
            for place in largest
        },
    )


def _cores_of_work(service: Service, world: WorldSpec) -> FloatArray:
    if service.requests is not None:
        return service.requests.astype(np.float64) * service.cores_per_request
    if service.cores is not None:
        return service.cores.astype(np.float64)
    if service.replica_series is not None:
        return service.replica_series.astype(np.float64) * service.idle_cores
    return np.full(world.steps, service.idle_cores * service.replicas)


def _label(service: Service, world: WorldSpec) -> str:
    alone = sum(other.name == service.name for other in world.services) == 1
    return service.name if alone else f"{service.namespace}/{service.name}"


def _bins(values: FloatArray, width: int) -> tuple[float, ...]:
    """Return means of *width* values each, the last of what is left, to four digits."""
    means = np.add.reduceat(np.asarray(values, dtype=np.float64), np.arange(0, len(values), width))
    counts = np.diff(np.append(np.arange(0, len(values), width), len(values)))
    return tuple(float(f"{value:.{_DIGITS}g}") for value in means / counts)
