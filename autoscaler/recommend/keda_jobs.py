"""
How many Jobs a KEDA ScaledJob would start now.

Source: KEDA 2.21 `pkg/scaling/scaledjob/metrics.go` (what several triggers ask
for together), `pkg/scaling/executor/scale_jobs.go` (strategies, minimum) and
`apis/keda/v1alpha1/scaledjob_types.go` (bounds). Jobs are no workload of the
model, so no engine calls this: it is for controllers that run Jobs themselves.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Annotated

import msgspec

_DEFAULT_MAXIMUM = 100
_Jobs = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]


class JobStrategy(enum.StrEnum):
    """How Jobs that exist count against the queue."""

    DEFAULT = "default"
    CUSTOM = "custom"
    ACCURATE = "accurate"
    EAGER = "eager"


class Together(enum.StrEnum):
    """What several active triggers make together."""

    MAX = "max"
    MIN = "min"
    AVG = "avg"
    SUM = "sum"


class JobTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """What one trigger measured: `queue` is the work that waits, `target` the work of one Job."""

    queue: float
    target: float
    active: bool


class JobRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A ScaledJob's bounds and strategy.

    `queue_deduction` and `running_share` are those of the custom strategy;
    without a share that strategy is the default one, as in the peer.
    """

    min_replicas: _Jobs = 0
    max_replicas: Annotated[int, msgspec.Meta(ge=1, le=2_147_483_647)] | None = None
    """100 if not given; the minimum is part of one that is given, and comes on top of the default (as in the peer)."""
    strategy: JobStrategy = JobStrategy.DEFAULT
    together: Together = Together.MAX
    queue_deduction: int = 0
    running_share: float | None = None


class _Wanted(msgspec.Struct, frozen=True):
    """Work that waits, and the Jobs it is good for within the maximum."""

    queue: float = 0.0
    jobs: float = 0.0
    active: bool = False


def jobs_to_create(triggers: Sequence[JobTrigger], rules: JobRules, *, running: int, pending: int) -> int:
    """
    Return how many Jobs to start, at least 0.

    *running* are the Jobs that are not finished, *pending* those of them of which no pod runs or ran.

    Raises:
        ValueError: a count is negative.

    >>> queue = [JobTrigger(queue=10, target=2, active=True)]
    >>> jobs_to_create(queue, JobRules(), running=3, pending=1)
    2
    >>> jobs_to_create(queue, JobRules(strategy=JobStrategy.ACCURATE), running=3, pending=1)
    4
    """
    if running < 0 or pending < 0:
        raise ValueError(f"running and pending must be at least 0, got {running} and {pending}")
    least, most = _bounds(rules)
    wanted = _together([_alone(trigger, most) for trigger in triggers], rules.together)
    if not (wanted.active or least > 0):
        return 0
    if running < least:
        return least - running
    asked, limit = math.ceil(wanted.queue), math.ceil(min(wanted.jobs, most))
    if rules.strategy is JobStrategy.EAGER:
        asked = most
    return max(0, min(asked, _limit(rules, limit, most=most, running=running - least, pending=pending)))


def _bounds(rules: JobRules) -> tuple[int, int]:
    """Return the Jobs that are always there, and how many more there may be."""
    if rules.max_replicas is None:
        return rules.min_replicas, _DEFAULT_MAXIMUM
    if rules.min_replicas > rules.max_replicas:
        return rules.max_replicas, rules.max_replicas
    return rules.min_replicas, rules.max_replicas - rules.min_replicas


def _alone(trigger: JobTrigger, most: int) -> _Wanted:
    jobs = min(trigger.queue / trigger.target, float(most)) if trigger.target > 0 else 0.0
    return _Wanted(trigger.queue, jobs, trigger.active)


def _together(all_wanted: Sequence[_Wanted], how: Together) -> _Wanted:
    """Combine the active triggers, in order: as in the peer the least queue gives way to the next where it is 0."""
    active = [wanted for wanted in all_wanted if wanted.active]
    if not active:
        return _Wanted()
    if how in (Together.AVG, Together.SUM):
        parts = len(active) if how is Together.AVG else 1
        queue, jobs = sum(wanted.queue for wanted in active), sum(wanted.jobs for wanted in active)
        return _Wanted(queue / parts, jobs / parts, active=True)
    chosen = _Wanted()
    for wanted in active:
        if how is Together.MIN:
            chosen = wanted if chosen.queue == 0 or wanted.queue < chosen.queue else chosen
        elif wanted.queue > chosen.queue:
            chosen = wanted
    return chosen


def _limit(rules: JobRules, limit: int, *, most: int, running: int, pending: int) -> int:
    """Return the most Jobs that the strategy lets be started now; may be negative."""
    if rules.strategy is JobStrategy.CUSTOM and rules.running_share is not None:
        return min(limit - rules.queue_deduction - int(running * rules.running_share), most)
    if rules.strategy is JobStrategy.ACCURATE:
        return most - running if limit + running - pending > most else limit - pending
    if rules.strategy is JobStrategy.EAGER:
        return min(most - running - pending, limit)
    return limit - running
