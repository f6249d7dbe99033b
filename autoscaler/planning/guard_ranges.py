"""The guard's eye on LimitRanges: pods outside one are refused, and a workload would lose some that never come back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from autoscaler.model.pod import Container
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import NOTHING, Resources, format_amount
from autoscaler.model.workload import LimitRange


def outside_range(
    sizes: Iterable[ContainerSize], containers: Sequence[Container], ranges: Iterable[LimitRange]
) -> Reason | None:
    """
    Return which LimitRange refuses pods of these *sizes*, None where none does.

    What is outside now may stay or come nearer, but not go further out.
    """
    by_name = {size.container: size for size in sizes}
    requests = {each.name: each.requests for each in containers}
    limits = {each.name: each.limits for each in containers}
    new_requests = {name: _changed(old, by_name.get(name)) for name, old in requests.items()}
    new_limits = {name: _limits(old, by_name.get(name)) for name, old in limits.items()}
    for one in ranges:
        for name in by_name.keys() & requests.keys():
            for old, new in ((requests[name], new_requests[name]), (limits[name], new_limits[name])):
                found = _outside(old, new, one.container_min, one.container_max)
                if found:
                    return _reason(one, f"container {name}", found)
        for before, after in ((requests, new_requests), (limits, new_limits)):
            found = _outside(_total(before), _total(after), one.pod_min, one.pod_max)
            if found:
                return _reason(one, "the pod", found)
    return None


def _changed(old: Resources, size: ContainerSize | None) -> Resources:
    return old if size is None else Resources.of({**dict(old.items()), **dict(size.target.items())})


def _limits(old: Resources, size: ContainerSize | None) -> Resources:
    return old if size is None or size.limits is None else size.limits


def _total(amounts: Mapping[str, Resources]) -> Resources:
    total = NOTHING
    for each in amounts.values():
        total = total + each
    return total


def _outside(old: Resources, new: Resources, least: Resources, most: Resources) -> str:
    """Return the amount of *new* that goes further out than *old* was, "" for none."""
    for name, amount in new.items():
        above = most.has(name) and amount > max(most.get(name), old.get(name))
        below = least.has(name) and old.has(name) and amount < min(least.get(name), old.get(name))
        if above or below:
            return f"{name} {format_amount(name, amount)}"
    return ""


def _reason(one: LimitRange, where: str, what: str) -> Reason:
    return Reason(Code.GUARD_LIMIT_RANGE, f"{what} of {where} is outside LimitRange {one.namespace}/{one.name}")
