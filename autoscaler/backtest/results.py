"""What one run gives: a row of figures, and the series behind the plots."""

from __future__ import annotations

from typing import Any

import msgspec

from autoscaler.backtest.schema import Bounds

METRICS = (
    "usd_per_day",
    "slo_violation_share",
    "dropped_share",
    "slow_share",
    "oom_kills",
    "evictions",
    "pod_starts",
    "node_launches",
    "pending_pod_minutes",
    "slack_cpu",
    "slack_memory",
    "cpu_utilisation",
    "bound_gap",
    "cpu_seconds",
)
"""Figures of a run, in the order they are printed."""

LABELS = {
    "usd_per_day": "USD/day",
    "slo_violation_share": "missed",
    "dropped_share": "dropped",
    "slow_share": "slow",
    "oom_kills": "OOM kills",
    "evictions": "evicted",
    "pod_starts": "pod starts",
    "node_launches": "node launches",
    "pending_pod_minutes": "pending min",
    "slack_cpu": "slack CPU",
    "slack_memory": "slack memory",
    "cpu_utilisation": "CPU used",
    "bound_gap": "bound gap",
    "cpu_seconds": "CPU s",
}
"""Short names for tables."""

MEANINGS = {
    "usd_per_day": "cost of all nodes from launch to termination, US dollars a day",
    "slo_violation_share": "share of service-steps in which too many requests missed the latency objective",
    "dropped_share": "share of requests that got no answer",
    "slow_share": "share of requests slower than the objective, dropped ones included",
    "oom_kills": "containers killed for want of memory",
    "evictions": "pods evicted by the autoscaler, or lost with their node",
    "pod_starts": "pods started",
    "node_launches": "nodes ordered",
    "pending_pod_minutes": "minutes that pods waited for a node, summed over pods",
    "slack_cpu": "share of the requested CPU that was not used",
    "slack_memory": "share of the requested memory that was not used",
    "cpu_utilisation": "CPU used, as a share of what the nodes offer to pods",
    "bound_gap": "how far the nodes bought are above a certified lower bound on the price; null if none were bought",
    "cpu_seconds": "CPU time that the run took on this machine",
}


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `--output json`."""

    scenario: str
    engine: str
    settings: dict[str, Any]
    seed: int
    usd_per_day: float
    slo_violation_share: float
    dropped_share: float
    slow_share: float
    oom_kills: int
    evictions: int
    pod_starts: int
    node_launches: int
    pending_pod_minutes: float
    slack_cpu: float
    slack_memory: float
    cpu_utilisation: float
    bound_gap: float | None
    cpu_seconds: float
    node_hours: dict[str, float]
    """By instance type."""


class RunSeries(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a run went, in bins of equal length: the mean of each.

    `lines` are of the whole cluster, `services` by workload (the largest few).
    Keys: usd (an hour), nodes, replicas (ready), cpu (cores requested), work
    (cores asked for by the load), memory (GiB requested), slow (share); of a
    service cpu and memory are one pod's.
    """

    hours: tuple[float, ...]
    bin_minutes: float
    length_hours: float
    lines: dict[str, tuple[float, ...]]
    services: dict[str, dict[str, tuple[float, ...]]] = {}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run to do. `preset` says that the settings are the engine's defaults; `plots` that series are wanted."""

    scenario: str
    """A file's path or a bundled name."""
    engine: str
    settings: dict[str, Any] = {}
    seed: int = 0
    preset: bool = True
    plots: bool = False
    length: str = ""
    """Only so much of the scenario, a duration; "" for all."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was done."""

    job: Job
    figures: RunFigures
    series: RunSeries | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was not."""

    job: Job
    message: str


Outcome = Run | Failure


def describe_settings(settings: dict[str, Any]) -> str:
    """
    Print settings for people.

    >>> describe_settings({"target": 0.7, "safe": 0.85})
    'target 0.7, safe 0.85'
    """
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )


def missed_bounds(expect: dict[str, Bounds], figures: RunFigures) -> tuple[str, ...]:
    """
    Return a sentence for each bound that a run did not keep, in the order of the metrics.

    A figure that is null keeps every bound.
    """
    missed = []
    for name in METRICS:
        bounds, value = expect.get(name), getattr(figures, name)
        if bounds is None or value is None:
            continue
        if bounds.min is not None and value < bounds.min:
            missed.append(f"{name} is {value:.6g}, expected at least {bounds.min:g}")
        if bounds.max is not None and value > bounds.max:
            missed.append(f"{name} is {value:.6g}, expected at most {bounds.max:g}")
    return tuple(missed)
