"""
From tables of pods to readings of workloads.

Only Ready pods count in totals: what a start-up burns is not demand. A Ready
pod that was not measured is taken for an average one, as long as enough of
them were measured: never may a total fall because a sample is lacking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.sources.tables import Member, Table, why_missing

UNITS = {SignalKind.POD_CPU: 1000, SignalKind.POD_MEMORY: 1}
"""How many whole units of a sample are one of the query's."""
_NEWEST = frozenset({SignalKind.CPU, SignalKind.REQUESTS})
"""Kinds that are the newest two scrapes' and not a window's."""
YOUNG_RESOLUTIONS = 2.5
"""A pod is not missed until so many resolutions after it became Ready: a rate needs two scrapes."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One question's table, when its pods were measured (over how many seconds), and what it is called in messages."""

    table: Table
    taken: Mapping[str, float]
    what: str
    windows: Mapping[str, float] = {}


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What all readings of a cycle share. `pods` are the active ones of each workload."""

    at: float
    window: float
    resolution: float
    min_coverage: float
    pods: Mapping[str, Sequence[Member]]


def read_pods(signal: Signal, measured: Measured, moment: Moment) -> Reading:
    """Return what each active pod of a workload uses, by container, in whole units."""
    pods = moment.pods.get(signal.workload, ())
    if not pods:
        return Missing(MissingReason.ABSENT, "the workload has no pods")
    unit, values, taken, windows = UNITS[signal.kind], measured.table.values, measured.taken, measured.windows
    samples = tuple(
        PodSample(
            each.pod.name,
            round(amount * unit),
            taken[each.key],
            windows.get(each.key, moment.resolution),
            container,
        )
        for each in pods
        for container, amount in values.get(each.key, ())
        if not signal.container or container == signal.container
    )
    return (
        PodSamples(samples) if samples else why_missing([each.key for each in pods], measured.table, what=measured.what)
    )


def read_total(signal: Signal, measured: Measured, moment: Moment) -> Reading:
    """Return one value of a workload: a total, an average or the largest, see `_COMBINE`."""
    window = moment.resolution if signal.kind in _NEWEST else moment.window
    whole = measured.table.workloads.get(signal.workload)
    if whole is not None:
        return Sample(whole, moment.at, window)
    pods = moment.pods.get(signal.workload, ())
    if not pods:
        return Missing(MissingReason.ABSENT, "the workload has no pods")
    if signal.kind is not SignalKind.MEMORY_PEAK:
        pods = [each for each in pods if each.is_ready]
    if not pods:
        return Missing(MissingReason.ABSENT, "none of its pods is Ready")
    found, missed, oldest = _values(pods, measured, moment)
    if not found or len(found) < moment.min_coverage * (len(found) + missed):
        return why_missing([each.key for each in pods], measured.table, what=measured.what)
    return Sample(_COMBINE[signal.kind](found, missed), oldest, window)


def count_ready(signal: Signal, moment: Moment) -> Reading:
    """Return how many pods are Ready; that is known of every workload, also of one without pods."""
    return Sample(float(sum(each.is_ready for each in moment.pods.get(signal.workload, ()))), moment.at)


def _values(pods: Sequence[Member], measured: Measured, moment: Moment) -> tuple[list[float], int, float]:
    """Return the values of pods, how many of them should have one but have not, and when the oldest was taken."""
    found: list[float] = []
    missed, oldest = 0, moment.at
    grace = moment.at - YOUNG_RESOLUTIONS * moment.resolution
    values, taken = measured.table.values, measured.taken
    for each in pods:
        entry, when = values.get(each.key), taken.get(each.key, moment.at)
        # What was measured before the pod was Ready is its start-up.
        if entry is not None and (when >= each.since or not each.is_ready):
            found.append(entry[0][1] if len(entry) == 1 else sum(amount for _, amount in entry))
            oldest = min(oldest, when)
        elif each.since <= grace:
            missed += 1
    return found, missed, oldest


def _total(found: Sequence[float], missed: int) -> float:
    return sum(found) * (1 + missed / len(found))


def _mean(found: Sequence[float], missed: int) -> float:
    return min(sum(found) / len(found), 1.0)


def _largest(found: Sequence[float], missed: int) -> float:
    return max(found)


_COMBINE: Mapping[SignalKind, Callable[[Sequence[float], int], float]] = {
    SignalKind.CPU: _total,
    SignalKind.REQUESTS: _total,
    SignalKind.MEMORY_PEAK: _largest,
    SignalKind.LATENCY: _largest,
    SignalKind.SLOW_SHARE: _mean,
    SignalKind.THROTTLED: _mean,
}
