"""
KEDA 2.21: from nothing to the first pods by activity, from there by an HPA.

Sources: `pkg/scaling/executor/scale_scaledobjects.go` (RequestScale) and
`controllers/keda/{hpa,scaledobject_controller}.go` for the HPA it generates and
for pauses. Unlike the peer, the last pod never goes while a trigger fails, not
even where the fallback says 0 replicas, and a formula that cannot be evaluated
is a failure, not inactivity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from autoscaler.interfaces import PodCount, WorkloadView
from autoscaler.model.bounds import replica_bounds
from autoscaler.model.policy import GlobalConstraints, MpaSpec
from autoscaler.model.readings import Signal
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Condition, Recommendation
from autoscaler.model.spec import Behavior, ScalingRules
from autoscaler.model.workload import Workload
from autoscaler.recommend.hpa import HpaMemory, reconcile
from autoscaler.recommend.hpa_metrics import metric_signals, metrics_of
from autoscaler.recommend.keda_params import KedaParams
from autoscaler.recommend.keda_triggers import (
    Activity,
    Failures,
    Seen,
    activity_of,
    hpa_metrics,
    look,
    pod_counts,
    read_triggers,
)

_NO_RULES = ScalingRules()
_MESSAGES = {
    "ScalerActive": "Scaling is performed because triggers are active",
    "ScalerNotActive": "Scaling is not performed because triggers are not active",
    "ScalerCooldown": "Scaler cooling down because triggers are not active",
    "FallbackExists": "At least one trigger is falling back on this scaled object",
    "NoFallbackFound": "No fallbacks are active on this scaled object",
    "ScaledObjectPaused": "ScaledObject is paused",
}
"""Texts of the conditions by reason, verbatim."""


class KedaMemory(msgspec.Struct, frozen=True, kw_only=True):
    """
    What KEDA keeps in a ScaledObject's status, and what its HPA remembers.

    Times are epoch seconds, 0 for never: `seen_at` when this engine first saw
    the workload, `polled_at` when it last looked at the triggers, `active_at`
    when they were last active. `active` are the conditions of the last look.
    """

    hpa: HpaMemory = HpaMemory()
    seen_at: float = 0.0
    polled_at: float = 0.0
    active_at: float = 0.0
    failures: Failures = ()
    conditions: tuple[Condition, ...] = ()


class KedaRecommender:
    """KEDA's ScaledObject: triggers wake and rest the workload, and an HPA on them does the rest."""

    name: ClassVar[str] = "keda"
    Params: ClassVar[type[msgspec.Struct]] = KedaParams
    Memory: ClassVar[type[msgspec.Struct]] = KedaMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: KedaParams) -> Sequence[Signal]:
        has_others = params.workloads or any(each.min_replicas is not None for each in spec.policy.schedules)
        return metric_signals(workload, spec.goals.metrics if has_others else metrics_of(spec))

    def counts(self, workload: Workload, spec: MpaSpec, params: KedaParams) -> Sequence[PodCount]:
        """Return the counts of pods that triggers want; raises ValueError for a selector that cannot be used."""
        return pod_counts(workload, params)

    def recommend(
        self, view: WorkloadView, params: KedaParams, memory: KedaMemory
    ) -> tuple[Recommendation, KedaMemory]:
        """
        Look at the triggers if it is time to, then let the HPA reconcile, if there is a pod.

        Raises:
            ValueError: two triggers have the same name, or a selector cannot be used.
        """
        memory = replace(memory, seen_at=memory.seen_at or view.now)
        if params.paused or params.paused_replicas is not None:
            return _paused(view, params), memory
        triggers = read_triggers(view, params)
        if _is_due(view, params, memory):
            seen, failures = look(triggers, memory.failures, view, params)
            activity = activity_of(seen, params)
            memory = replace(memory, polled_at=view.now, failures=failures)
            wanted, memory = _request_scale(view, params, memory, activity)
            if wanted is not None:
                return _switched(view, wanted, activity, memory), memory
            if view.workload.replicas == 0:
                return _resting(view, activity, memory), memory
        seen, failures = look(triggers, memory.failures if view.workload.replicas else (), view, params)
        if view.workload.replicas:
            memory = replace(memory, failures=failures)
        return _by_hpa(view, params, memory, seen)


def _is_due(view: WorkloadView, params: KedaParams, memory: KedaMemory) -> bool:
    """Half a period early is in time, so that jitter does not double the interval."""
    return not 0.0 <= view.now - memory.polled_at < params.polling_seconds - view.period / 2.0


def _request_scale(
    view: WorkloadView, params: KedaParams, memory: KedaMemory, activity: Activity
) -> tuple[int | None, KedaMemory]:
    """Return the replicas that activity alone asks for, None where that is left to the HPA (RequestScale)."""
    current = view.workload.replicas
    idle, least = _bounds(view.spec, params)
    if activity.active or params.force_activation:
        memory = _noted(memory, activity, "ScalerActive", active=True)
        if current == 0 or (idle is not None and current < least):
            if params.pause_out:
                return None, memory
            return max(1, least), replace(memory, active_at=view.now)
        return None, memory if activity.error else replace(memory, active_at=view.now)
    memory = _noted(memory, activity, "ScalerNotActive", active=False)
    if activity.error:
        return None, memory
    rest = least if idle is None else idle
    if (current > rest) if idle is not None else (current > 0 and least == 0):
        if params.pause_in:
            return None, memory
        if _has_cooled(view.now, params, memory):
            return rest, memory
        return None, _noted(memory, activity, "ScalerCooldown", active=False)
    return (least if idle is None and current < least else None), memory


def _has_cooled(now: float, params: KedaParams, memory: KedaMemory) -> bool:
    if not memory.active_at:
        return memory.seen_at + params.initial_cooldown_seconds < now
    return memory.active_at + params.cooldown_seconds < now


def _bounds(spec: MpaSpec, params: KedaParams) -> tuple[int | None, int]:
    """Return the replicas while idle (None: no such mode) and the fewest while active, within the maximum."""
    low, high = replica_bounds(spec.constraints)
    if params.active_replicas is None or params.active_replicas <= low:
        return None, low
    return low, min(params.active_replicas, high)


def _by_hpa(
    view: WorkloadView, params: KedaParams, memory: KedaMemory, seen: Sequence[Seen]
) -> tuple[Recommendation, KedaMemory]:
    metrics, served = hpa_metrics(seen, view, params)
    _, least = _bounds(view.spec, params)
    _, high = replica_bounds(view.spec.constraints)
    limits = replace(view.spec.constraints.global_ or GlobalConstraints(), min_replicas=min(max(1, least), high))
    spec = replace(
        view.spec,
        goals=replace(view.spec.goals, metrics=metrics),
        constraints=replace(view.spec.constraints, global_=limits),
        policy=replace(view.spec.policy, behavior=_behavior(view.spec.policy.behavior, params)),
    )
    own = (signal for signal in metric_signals(view.workload, metrics_of(spec)) if signal in view.readings)
    # What is served takes the place of what was read under the same name.
    readings = {**{signal: view.readings[signal] for signal in own}, **served}
    advice, hpa = reconcile(replace(view, spec=spec, readings=readings), params.hpa, memory.hpa)
    memory = replace(memory, hpa=hpa)
    return replace(advice, engine=KedaRecommender.name, conditions=memory.conditions + advice.conditions), memory


def _behavior(given: Behavior | None, params: KedaParams) -> Behavior | None:
    """Return the HPA's behaviour: a paused direction is one whose selectPolicy is Disabled."""
    if not (params.pause_in or params.pause_out):
        return given
    up, down = (given.scale_up, given.scale_down) if given is not None else (None, None)
    return Behavior(
        scale_up=replace(up or _NO_RULES, select_policy="Disabled") if params.pause_out else up,
        scale_down=replace(down or _NO_RULES, select_policy="Disabled") if params.pause_in else down,
    )


def _noted(memory: KedaMemory, activity: Activity, reason: str, *, active: bool) -> KedaMemory:
    fallback = "FallbackExists" if activity.falls_back else "NoFallbackFound"
    return replace(
        memory,
        conditions=(
            _condition("Active", reason, holds=active),
            _condition("Fallback", fallback, holds=activity.falls_back),
        ),
    )


def _condition(kind: str, reason: str, *, holds: bool) -> Condition:
    return Condition(type=kind, status=str(holds), reason=reason, message=_MESSAGES[reason])


def _paused(view: WorkloadView, params: KedaParams) -> Recommendation:
    replicas = view.workload.replicas if params.paused_replicas is None else params.paused_replicas
    condition = _condition("Paused", "ScaledObjectPaused", holds=True)
    return _advice(view, replicas, [Reason(Code.PAUSED, condition.message)], conditions=(condition,))


def _switched(view: WorkloadView, wanted: int, activity: Activity, memory: KedaMemory) -> Recommendation:
    current = view.workload.replicas
    if wanted > current:
        by = ";".join(activity.by) or "the minimum"
        reason = Reason(Code.LOAD_NEEDS_MORE, f"scaled from {current} to {wanted}, triggered by {by}")
    else:
        reason = Reason(Code.LOAD_NEEDS_FEWER, f"deactivated from {current} to {wanted}: no trigger is active")
    return _advice(view, wanted, [reason], conditions=memory.conditions)


def _resting(view: WorkloadView, activity: Activity, memory: KedaMemory) -> Recommendation:
    reason = Reason(Code.SIGNAL_MISSING, activity.error)
    if not activity.error:
        reason = Reason(Code.UNCHANGED, memory.conditions[0].message)
    return _advice(view, 0, [reason], conditions=memory.conditions, held=bool(activity.error))


def _advice(
    view: WorkloadView,
    replicas: int,
    reasons: Sequence[Reason],
    *,
    conditions: tuple[Condition, ...],
    held: bool = False,
) -> Recommendation:
    return Recommendation(
        workload=view.workload.key,
        engine=KedaRecommender.name,
        replicas=replicas,
        headroom_replicas=replicas,
        held=held,
        reasons=tuple(reasons),
        conditions=conditions,
    )
