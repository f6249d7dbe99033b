"""Answers of grouped queries, laid out by pod, with what is wrong with a pod's value beside it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from autoscaler.model.pod import Pod
from autoscaler.model.readings import Missing, MissingReason
from autoscaler.model.workload import workload_key
from autoscaler.sources.answers import Row, flaw_of

FUTURE_SECONDS = 1.0
"""Clocks of one cluster may differ by as much before a sample counts as taken in the future."""

Values = dict[str, tuple[tuple[str, float], ...]]
"""(container, value) of each pod, by `namespace/name`."""


class Member(msgspec.Struct, frozen=True, gc=False):
    """An active pod of a workload; `since` is when it became Ready, or not Ready, or was made (epoch seconds)."""

    key: str
    pod: Pod
    is_ready: bool
    since: float


class Table(msgspec.Struct, gc=False):
    """
    One answered question. `values` and `flaws` are by pod key, `workloads` by workload key.

    A pod with a flaw has no value. `problem` says why nothing was answered.
    """

    values: Values = {}
    flaws: dict[str, MissingReason] = {}
    workloads: dict[str, float] = {}
    problem: Missing | None = None


def table_of(rows: Iterable[Row]) -> Table:
    """Return rows by pod; two values for one container are a flaw, and so is a value that is no amount."""
    values: Values = {}
    flaws: dict[str, MissingReason] = {}
    workloads: dict[str, float] = {}
    for row in rows:
        labels, number = row.metric, row.value.number
        # What most values are is told without a call.
        flaw = None if 0 <= number < math.inf else flaw_of(number)
        if not labels.pod:
            if flaw is None:
                workloads[workload_key(labels.namespace, labels.workload_kind, labels.workload)] = number
            continue
        key = f"{labels.namespace}/{labels.pod}"
        if flaw is not None:
            flaws[key] = flaw
            continue
        known = values.get(key)
        if known is None:
            values[key] = ((labels.container, number),)
        elif any(container == labels.container for container, _ in known):
            flaws[key] = MissingReason.DUPLICATE
        else:
            values[key] = (*known, (labels.container, number))
    for key in flaws:
        values.pop(key, None)
    return Table(values, flaws, workloads)


def fresh(table: Table, times: Table | None, *, at: float, stale_after: float) -> tuple[Table, Mapping[str, float]]:
    """
    Return *table* without the pods whose sample is old, or in the future, and when the others were measured.

    Without *times* everything was measured at *at*. A pod without a time has ended.
    """
    if times is None:
        return table, dict.fromkeys(table.values, at)
    if times.problem is not None:
        return Table(problem=times.problem), {}
    kept: Values = {}
    flaws, taken = dict(table.flaws), {}
    oldest, newest, seen = at - stale_after, at + FUTURE_SECONDS, times.values
    for key, value in table.values.items():
        found = seen.get(key)
        if found is None:
            continue
        when = found[0][1]
        if oldest <= when <= newest:
            kept[key] = value
            taken[key] = min(when, at)
        else:
            flaws[key] = MissingReason.STALE
    return Table(kept, flaws, table.workloads, table.problem), taken


def without(table: Table, keys: Collection[str], reason: MissingReason) -> Table:
    """Return *table* with a flaw in place of the values of some pods."""
    hit = [key for key in keys if key in table.values]
    if not hit:
        return table
    values = {key: value for key, value in table.values.items() if key not in keys}
    return Table(values, {**table.flaws, **dict.fromkeys(hit, reason)}, table.workloads, table.problem)


def pods_by_workload(pods: Iterable[Pod], wanted: Collection[str]) -> dict[str, list[Member]]:
    """Return the active pods of each wanted workload."""
    found: dict[str, list[Member]] = {}
    for pod in pods:
        if pod.workload in wanted and pod.is_active:
            since = pod.ready.since if pod.ready is not None else pod.created_at
            found.setdefault(pod.workload, []).append(Member(pod.key, pod, pod.is_ready, since))
    return found


class Members:
    """`pods_by_workload`, remembered for as long as the very same pods are asked for."""

    def __init__(self) -> None:
        self._asked: tuple[object, frozenset[str]] = (None, frozenset())
        self._found: Mapping[str, list[Member]] = {}

    def of(self, pods: Sequence[Pod], wanted: frozenset[str]) -> Mapping[str, list[Member]]:
        """Return the active pods of each wanted workload."""
        before, for_whom = self._asked
        # Anything but a tuple may have changed though it is the same object.
        if before is not pods or for_whom != wanted or not isinstance(pods, tuple):
            self._found, self._asked = pods_by_workload(pods, wanted), (pods, wanted)
        return self._found


def why_missing(keys: Sequence[str], table: Table, *, what: str) -> Missing:
    """Return why none, or too few, of some pods have a value in *table*."""
    if table.problem is not None:
        return table.problem
    flaws: dict[MissingReason, int] = {}
    for key in keys:
        if key in table.flaws:
            flaws[table.flaws[key]] = flaws.get(table.flaws[key], 0) + 1
    measured = sum(key in table.values for key in keys)
    if measured:
        reason = MissingReason.PARTIAL
    elif flaws:
        reason = max(flaws, key=lambda each: (flaws[each], each.value))
    else:
        return Missing(MissingReason.ABSENT, f"no series of {what} for its {len(keys)} pods")
    said = ", ".join(f"{count} {_WORDS[each]}" for each, count in sorted(flaws.items()))
    return Missing(
        reason, f"{what}: {measured} of {len(keys)} pods have a usable sample" + (f" ({said})" if said else "")
    )


_WORDS = {
    MissingReason.NOT_A_NUMBER: "not a number",
    MissingReason.NEGATIVE: "below 0",
    MissingReason.INFINITE: "infinite",
    MissingReason.STALE: "not fresh, or from the future",
    MissingReason.DUPLICATE: "with several series: name this cluster's in `matchers`",
}
