"""
From the replicas that metrics ask for to the replicas allowed now: stabilisation, rate limits, bounds.

Source: Kubernetes 1.37 `pkg/controller/podautoscaler/horizontal.go`
(normalizeDesiredReplicas and normalizeDesiredReplicasWithBehaviors) and the
defaults of `pkg/apis/autoscaling/v2/defaults.go`, copied to the edge cases: with
`behavior` an entry exactly at the edge of a window no longer counts, without it
still does; storing a scale event overwrites one that is older than the longest
period of its own direction, although the other direction may still need it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from autoscaler.model.bounds import MAX_REPLICAS
from autoscaler.model.spec import Behavior, ScalingRules

_EDGE = 1e-6
"""Seconds by which equal times may differ as floats: an entry at the edge of a window must be told apart."""
Entries = tuple[tuple[float, int], ...]
"""(time in epoch seconds, replicas or change of replicas), in the order of the peer's slots."""


class RateRule(msgspec.Struct, frozen=True, gc=False):
    """At most `value` pods, or percent of pods, in `period` seconds; `kind` is Pods or Percent."""

    kind: str
    value: int
    period: float


class DirectionRules(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One direction of `behavior`, defaults filled in. `select` is Max, Min or Disabled."""

    policies: tuple[RateRule, ...]
    window: float
    select: str = "Max"
    tolerance: float | None = None

    @property
    def longest_period(self) -> float:
        return max((policy.period for policy in self.policies), default=0.0)


class BehaviorRules(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    up: DirectionRules
    down: DirectionRules


class History(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What was asked for lately, and by how much the scale was changed up and down."""

    recommendations: Entries = ()
    ups: Entries = ()
    downs: Entries = ()


class Bounds(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    minimum: int
    maximum: int


class Allowed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Replicas allowed now. `stabilized` is the value before rates and bounds;
    the reasons are those of the conditions AbleToScale and ScalingLimited.
    """

    replicas: int
    stabilized: int
    able_reason: str
    limit_reason: str

    @property
    def limited(self) -> bool:
        return self.replicas != self.stabilized


_POD_BURST = RateRule("Pods", 4, 15.0)
_DOUBLE = RateRule("Percent", 100, 15.0)


def behavior_rules(behavior: Behavior | None, *, downscale_window: float) -> BehaviorRules | None:
    """
    Return *behavior* with the defaults of the API filled in, None for none.

    *downscale_window* is the controller's default stabilisation on the way down, in seconds.
    """
    if behavior is None:
        return None
    return BehaviorRules(
        up=_direction(behavior.scale_up, (_POD_BURST, _DOUBLE), 0.0),
        down=_direction(behavior.scale_down, (_DOUBLE,), downscale_window),
    )


def first_sight(history: History, current: int, now: float) -> History:
    """Record the present size as the first recommendation, so that a restart cannot scale down at once."""
    if history.recommendations:
        return history
    return msgspec.structs.replace(history, recommendations=((now, current),))


def allow(
    desired: int,
    history: History,
    rules: BehaviorRules | None,
    *,
    current: int,
    bounds: Bounds,
    window: float,
    now: float,
) -> tuple[Allowed, History]:
    """
    Return what may be done about *desired* now, and the history with *desired* in it.

    *window* is the stabilisation on the way down in seconds where *rules* is None.
    """
    if rules is None:
        stabilized, recommendations = _highest_recent(desired, history.recommendations, window=window, now=now)
        able = "ReadyForNewScale" if stabilized == desired else "ScaleDownStabilized"
        replicas, limit = _within(stabilized, bounds, plain_up_limit(current))
    else:
        stabilized, recommendations = _within_recent(desired, history.recommendations, rules, current=current, now=now)
        able = "ReadyForNewScale"
        if stabilized != desired:
            able = "ScaleUpStabilized" if desired >= current else "ScaleDownStabilized"
        replicas, limit = rate_limited(stabilized, history, rules, current=current, bounds=bounds, now=now)
    allowed = Allowed(replicas=replicas, stabilized=stabilized, able_reason=able, limit_reason=limit)
    return allowed, msgspec.structs.replace(history, recommendations=recommendations)


def rate_limited(
    desired: int, history: History, rules: BehaviorRules, *, current: int, bounds: Bounds, now: float
) -> tuple[int, str]:
    """Return *desired* within rates and bounds, and the reason of ScalingLimited."""
    if desired > current:
        limit = max(current, up_limit(current, history, rules.up, now))
        most, reason = (limit, "ScaleUpLimit") if bounds.maximum > limit else (bounds.maximum, "TooManyReplicas")
        if desired > most:
            return most, reason
    elif desired < current:
        limit = min(current, down_limit(current, history, rules.down, now))
        least, reason = (limit, "ScaleDownLimit") if bounds.minimum < limit else (bounds.minimum, "TooFewReplicas")
        if desired < least:
            return least, reason
    return desired, "DesiredWithinRange"


def plain_up_limit(current: int) -> int:
    """Return the most replicas in one step without `behavior`: double, at least 4."""
    return min(max(2 * current, 4), MAX_REPLICAS)


def up_limit(current: int, history: History, rules: DirectionRules, now: float) -> int:
    """Return the most replicas that the rates allow; below *current* when they are used up."""
    if rules.select == "Disabled":
        return current
    proposals = []
    for rule in rules.policies:
        start = _period_start(current, history, now - rule.period)
        grown = start + rule.value if rule.kind == "Pods" else math.ceil(_float(start) * (1 + rule.value / 100))
        proposals.append(_saturated(grown))
    return (min if rules.select == "Min" else max)(proposals, default=current)


def down_limit(current: int, history: History, rules: DirectionRules, now: float) -> int:
    """Return the fewest replicas that the rates allow; may be negative, and above *current* when they are used up."""
    if rules.select == "Disabled":
        return current
    proposals = []
    for rule in rules.policies:
        start = _period_start(current, history, now - rule.period)
        shrunk = start - rule.value if rule.kind == "Pods" else int(_float(start) * (1 - rule.value / 100))
        proposals.append(_saturated(shrunk))
    return (max if rules.select == "Min" else min)(proposals, default=current)


def record_change(history: History, rules: BehaviorRules | None, *, before: int, after: int, now: float) -> History:
    """Return *history* with the change of the scale from *before* to *after*; without `behavior` none is kept."""
    if rules is None or before == after:
        return history
    if after > before:
        ups = _put(history.ups, (now, after - before), now - rules.up.longest_period)
        return msgspec.structs.replace(history, ups=ups)
    downs = _put(history.downs, (now, before - after), now - rules.down.longest_period)
    return msgspec.structs.replace(history, downs=downs)


def _direction(given: ScalingRules | None, policies: tuple[RateRule, ...], window: float) -> DirectionRules:
    if given is None:
        return DirectionRules(policies=policies, window=window)
    if given.policies:
        policies = tuple(RateRule(rule.type, rule.value, float(rule.period_seconds)) for rule in given.policies)
    if given.stabilization_window_seconds is not None:
        window = float(given.stabilization_window_seconds)
    return DirectionRules(
        policies=policies,
        window=window,
        select=given.select_policy or "Max",
        tolerance=None if given.tolerance is None else given.tolerance.number,
    )


def _highest_recent(desired: int, entries: Entries, *, window: float, now: float) -> tuple[int, Entries]:
    highest, old, cutoff = desired, None, now - window - _EDGE
    for slot, (at, replicas) in enumerate(entries):
        if at < cutoff:
            old = slot
        elif replicas > highest:
            highest = replicas
    # The last of the old slots is reused, as the peer does; older ones stay and are ignored.
    return highest, _replace(entries, old, (now, desired))


def _within_recent(
    desired: int, entries: Entries, rules: BehaviorRules, *, current: int, now: float
) -> tuple[int, Entries]:
    """Move *current* only as far as needed to be between the recent lowest (up) and highest (down)."""
    up_cutoff, down_cutoff = now - rules.up.window, now - rules.down.window
    both_cutoff = min(up_cutoff, down_cutoff) - _EDGE
    up_cutoff, down_cutoff = up_cutoff + _EDGE, down_cutoff + _EDGE
    lowest = highest = desired
    old = None
    for slot, (at, replicas) in enumerate(entries):
        if at > up_cutoff and replicas < lowest:
            lowest = replicas
        if at > down_cutoff and replicas > highest:
            highest = replicas
        if at < both_cutoff:
            old = slot
    return min(max(current, lowest), highest), _replace(entries, old, (now, desired))


def _within(desired: int, bounds: Bounds, limit: int) -> tuple[int, str]:
    most, reason = (limit, "ScaleUpLimit") if bounds.maximum > limit else (bounds.maximum, "TooManyReplicas")
    if desired < bounds.minimum:
        return bounds.minimum, "TooFewReplicas"
    if desired > most:
        return most, reason
    return desired, "DesiredWithinRange"


def _period_start(current: int, history: History, cutoff: float) -> int:
    return current - _changed(history.ups, cutoff) + _changed(history.downs, cutoff)


def _changed(entries: Iterable[tuple[float, int]], cutoff: float) -> int:
    return sum(change for at, change in entries if at > cutoff + _EDGE)


def _put(entries: Entries, entry: tuple[float, int], cutoff: float) -> Entries:
    old = None
    for slot, (at, _) in enumerate(entries):
        if at < cutoff - _EDGE:
            old = slot
    return _replace(entries, old, entry)


def _replace(entries: Entries, slot: int | None, entry: tuple[float, int]) -> Entries:
    if slot is None:
        return (*entries, entry)
    return (*entries[:slot], entry, *entries[slot + 1 :])


def _float(count: int) -> float:
    return float(_saturated(count))


def _saturated(count: int) -> int:
    return max(-MAX_REPLICAS - 1, min(count, MAX_REPLICAS))
