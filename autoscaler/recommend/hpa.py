"""
The HPA of Kubernetes 1.37, one reconcile at a time.

Source: `pkg/controller/podautoscaler/horizontal.go` (reconcileAutoscaler), its
order, conditions, reasons and messages; KEP-2021 for scaling to and from zero.
A parity engine: where the peer is odd but defined, so is this. It differs on
purpose where the peer has no answer (negative metrics, numbers that overflow),
and in what the peer has not: Prometheus metrics and a formula over metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.bounds import MAX_REPLICAS, replica_bounds
from autoscaler.model.policy import MpaSpec, UpdateMode
from autoscaler.model.readings import Signal
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Condition, Recommendation
from autoscaler.model.spec import MetricSpec
from autoscaler.model.workload import Workload
from autoscaler.recommend.formula import evaluate_formula
from autoscaler.recommend.horizontal import Readiness, Tolerance
from autoscaler.recommend.hpa_metrics import (
    LastValues,
    MetricContext,
    MetricOutcome,
    metric_signals,
    metrics_of,
    propose,
    survives_zero,
)
from autoscaler.recommend.stabilize import (
    Allowed,
    BehaviorRules,
    Bounds,
    Entries,
    History,
    allow,
    behavior_rules,
    first_sight,
    record_change,
)

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
_MESSAGES = {
    "SucceededGetScale": "the HPA controller was able to get the target's current scale",
    "ReadyForNewScale": "recommended size matches current size",
    "ScaleDownStabilized": "recent recommendations were higher than current one, "
    "applying the highest recent recommendation",
    "ScaleUpStabilized": "recent recommendations were lower than current one, "
    "applying the lowest recent recommendation",
    "DesiredWithinRange": "the desired count is within the acceptable range",
    "TooFewReplicas": "the desired replica count is less than the minimum replica count",
    "TooManyReplicas": "the desired replica count is more than the maximum replica count",
    "ScaleUpLimit": "the desired replica count is increasing faster than the maximum scale rate",
    "ScaleDownLimit": "the desired replica count is decreasing faster than the maximum scale rate",
    "ScalingDisabled": "scaling is disabled since the replica count of the target is zero",
    "ScaledToZero": "the HPA controller scaled the workload to zero",
    "NotScaledToZero": "the HPA controller did not scale the workload to zero",
}
"""Texts of the conditions by reason, verbatim."""
_ORDINARY = frozenset({"SucceededGetScale", "ReadyForNewScale", "DesiredWithinRange", "SucceededRescale",
                       "ValidMetricFound", "NotScaledToZero"})  # fmt: skip
"""Reasons of conditions that tell a reader nothing more than the replicas do."""


class HpaParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The flags of the controller, with its defaults (`pkg/controller/podautoscaler/config`)."""

    cpu_initialization_period_seconds: _Seconds = 300.0
    initial_readiness_delay_seconds: _Seconds = 30.0
    downscale_stabilization_seconds: _Seconds = 300.0
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1


class HpaMemory(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one workload's controller remembers. Times are epoch seconds, 0 for never.

    `recommendations`, `ups` and `downs` are those of `stabilize.History`.
    `conditions` are the status conditions in their order; ScaledToZero is one
    of them. `seen` and `asked` are the replicas found and recommended last,
    -1 for none.
    """

    recommendations: Entries = ()
    ups: Entries = ()
    downs: Entries = ()
    conditions: tuple[Condition, ...] = ()
    last_scale_at: float = 0.0
    last_values: LastValues = ()
    seen: int = -1
    asked: int = -1

    @property
    def scaled_to_zero(self) -> bool:
        """Whether it was this controller that put the workload to zero."""
        return any(condition.type == "ScaledToZero" and condition.status == "True" for condition in self.conditions)


class HpaRecommender:
    """Recommends replicas as the HorizontalPodAutoscaler would; sizes are left alone."""

    name: ClassVar[str] = "hpa"
    Params: ClassVar[type[msgspec.Struct]] = HpaParams
    Memory: ClassVar[type[msgspec.Struct]] = HpaMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: HpaParams) -> Sequence[Signal]:
        return metric_signals(workload, metrics_of(spec))

    def recommend(self, view: WorkloadView, params: HpaParams, memory: HpaMemory) -> tuple[Recommendation, HpaMemory]:
        """
        Reconcile once and return what the controller would write to the scale.

        A recommendation that differs from the present replicas is taken to be
        carried out: its scale event is recorded. Where a metric is missing the
        result is `held` and, within the bounds, never below the present replicas.
        """
        return reconcile(view, params, memory)


def reconcile(
    view: WorkloadView, params: HpaParams, memory: HpaMemory, *, adjust: Callable[[int], int] | None = None
) -> tuple[Recommendation, HpaMemory]:
    """
    Reconcile once, as `HpaRecommender.recommend` does.

    *adjust* may change what the metrics ask for, before stabilisation, rates and
    bounds; it is called once, where metrics ask for something.
    """
    return _Reconcile(view, params, memory, adjust).run()


class _Combined(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the metrics ask for together; `replicas` None: no change may follow. `error` is "" or what failed."""

    replicas: int | None
    label: str = ""
    error: str = ""
    failure: MetricOutcome | None = None


class _Reconcile:
    """One pass over one workload, in the peer's order; makes the new memory from the old."""

    def __init__(
        self, view: WorkloadView, params: HpaParams, memory: HpaMemory, adjust: Callable[[int], int] | None
    ) -> None:
        self._view = view
        self._adjust = adjust
        self._params = params
        self._current = view.workload.replicas
        self._metrics = metrics_of(view.spec)
        self._bounds = _bounds(view.spec, self._metrics)
        self._rules = behavior_rules(view.spec.policy.behavior, downscale_window=params.downscale_stabilization_seconds)
        self._memory = memory
        self._history = first_sight(_history(view, memory), self._current, view.now)
        self._conditions = {condition.type: condition for condition in memory.conditions}
        self._values = memory.last_values
        self._reasons: list[Reason] = []

    def run(self) -> tuple[Recommendation, HpaMemory]:
        current, bounds = self._current, self._bounds
        if not self._view.workload.scalable:
            text = "the HPA controller was unable to get the target's current scale: it has no scale subresource"
            self._set("AbleToScale", "False", "FailedGetScale", text)
            return self._finish(current, held=True)
        self._set("AbleToScale", "True", "SucceededGetScale")
        if current <= 0 and not self._may_wake():
            self._set("ScalingActive", "False", "ScalingDisabled")
            return self._finish(current)
        if current > bounds.maximum:
            why = "Current number of replicas above Spec.MaxReplicas"
            return self._rescale(bounds.maximum, Reason(Code.AT_MAXIMUM, _rescaled(bounds.maximum, why)))
        if 0 < current < bounds.minimum:
            why = "Current number of replicas below Spec.MinReplicas"
            return self._rescale(bounds.minimum, Reason(Code.AT_MINIMUM, _rescaled(bounds.minimum, why)))
        return self._by_metrics()

    def _may_wake(self) -> bool:
        """A workload put to zero by hand stays there; one that this controller put there may be woken (KEP-2021)."""
        return self._memory.scaled_to_zero and (self._bounds.minimum > 0 or survives_zero(self._metrics))

    def _by_metrics(self) -> tuple[Recommendation, HpaMemory]:
        current = self._current
        combined = self._combine()
        if combined.replicas is None:
            failure = combined.failure
            if failure is not None:
                text = f"the HPA was unable to compute the replica count: {failure.problem}"
                self._set("ScalingActive", "False", failure.reason, text)
            workload = self._view.workload
            reference = f"{workload.kind}/{workload.namespace}/{workload.name}"
            problem = "failed to compute desired number of replicas based on listed metrics for"
            self._reasons.append(Reason(Code.SIGNAL_MISSING, f"{problem} {reference}: {combined.error}"))
            return self._finish(current, held=True)
        text = f"the HPA was able to successfully calculate a replica count from {combined.label}"
        self._set("ScalingActive", "True", "ValidMetricFound", text)
        if combined.error:
            self._reasons.append(Reason(Code.SIGNAL_MISSING, combined.error))
        desired = max(0, combined.replicas)
        if self._adjust is not None:
            desired = self._adjust(desired)
        allowed, self._history = allow(
            desired,
            self._history,
            self._rules,
            current=current,
            bounds=self._bounds,
            window=self._params.downscale_stabilization_seconds,
            now=self._view.now,
        )
        self._tell(allowed)
        replicas = allowed.replicas
        if current == 0:
            replicas = max(replicas, self._bounds.minimum)
        if replicas == current:
            return self._finish(current, held=bool(combined.error))
        return self._rescale(replicas, _why_changed(current, replicas, combined.label), held=bool(combined.error))

    def _combine(self) -> _Combined:
        """Take the largest proposal, or the formula over them; with failures, never a smaller size."""
        context = MetricContext(
            view=self._view,
            tolerance=_tolerance(self._rules, self._params.tolerance),
            readiness=Readiness(
                now=self._view.now,
                cpu_initialization_period_seconds=self._params.cpu_initialization_period_seconds,
                initial_readiness_delay_seconds=self._params.initial_readiness_delay_seconds,
            ),
            last_values=self._values,
        )
        outcomes = [propose(metric, context) for metric in self._metrics]
        self._values = _remember(self._values, outcomes)
        failed = [outcome for outcome in outcomes if outcome.replicas is None]
        error = ""
        if failed:
            first = f"{failed[0].prefix}: {failed[0].problem}"
            error = f"invalid metrics ({len(failed)} invalid out of {len(outcomes)}), first error is: {first}"
        failure = failed[0] if failed else None
        formula = self._view.spec.goals.formula
        if formula and len(failed) < len(outcomes):
            try:
                replicas, label = _by_formula(formula, outcomes), f"formula {formula}"
            except ValueError as problem:
                failure = failure or MetricOutcome(identifier="", reason="FailedFormula", problem=str(problem))
                return _Combined(replicas=None, error=error or str(problem), failure=failure)
        else:
            replicas, label = _largest(outcomes)
        if failed and (len(failed) == len(outcomes) or replicas < self._current):
            return _Combined(replicas=None, error=error, failure=failure)
        return _Combined(replicas=replicas, label=label, error=error)

    def _tell(self, allowed: Allowed) -> None:
        self._set("AbleToScale", "True", allowed.able_reason)
        self._set("ScalingLimited", str(allowed.limited), allowed.limit_reason)

    def _rescale(self, replicas: int, reason: Reason, *, held: bool = False) -> tuple[Recommendation, HpaMemory]:
        text = f"the HPA controller was able to update the target scale to {replicas}"
        self._set("AbleToScale", "True", "SucceededRescale", text)
        rests = self._current > 0 and replicas == 0 and self._bounds.minimum == 0 and survives_zero(self._metrics)
        self._set("ScaledToZero", str(rests), "ScaledToZero" if rests else "NotScaledToZero")
        self._reasons.insert(0, reason)
        now = self._view.now
        self._history = record_change(self._history, self._rules, before=self._current, after=replicas, now=now)
        return self._finish(replicas, held=held, rescaled=True)

    def _finish(self, replicas: int, *, held: bool = False, rescaled: bool = False) -> tuple[Recommendation, HpaMemory]:
        conditions = tuple(self._conditions.values())
        self._reasons += [_reason(condition) for condition in conditions if condition.reason not in _ORDINARY]
        if not self._reasons:
            self._reasons.append(Reason(Code.UNCHANGED, _MESSAGES["ReadyForNewScale"]))
        recommendation = Recommendation(
            workload=self._view.workload.key,
            engine=HpaRecommender.name,
            replicas=replicas,
            headroom_replicas=replicas,
            held=held,
            reasons=tuple(self._reasons),
            conditions=conditions,
        )
        memory = HpaMemory(
            recommendations=self._history.recommendations,
            ups=self._history.ups,
            downs=self._history.downs,
            conditions=conditions,
            last_scale_at=self._view.now if rescaled else self._memory.last_scale_at,
            last_values=self._values,
            seen=self._current,
            asked=replicas,
        )
        return recommendation, memory

    def _set(self, kind: str, status: str, reason: str, message: str = "") -> None:
        """Set a status condition in place; a new one goes to the end."""
        message = message or _MESSAGES[reason]
        self._conditions[kind] = Condition(type=kind, status=status, reason=reason, message=message)


def _history(view: WorkloadView, memory: HpaMemory) -> History:
    """
    Return what was remembered, without a scale event that never happened.

    In mode Auto every change is taken to be made, as by the peer (a size set back by hand looks the same).
    In another mode, or paused, a change that was asked for and is not to be seen was not made.
    """
    ups, downs = memory.ups, memory.downs
    ignored = memory.asked not in (-1, memory.seen) and view.workload.replicas == memory.seen
    policy = view.spec.policy
    if ignored and (policy.update_mode is not UpdateMode.AUTO or policy.pause.up or policy.pause.down):
        ups = tuple(event for event in ups if event[0] != memory.last_scale_at)
        downs = tuple(event for event in downs if event[0] != memory.last_scale_at)
    return History(recommendations=memory.recommendations, ups=ups, downs=downs)


def _bounds(spec: MpaSpec, metrics: Sequence[MetricSpec]) -> Bounds:
    """Zero is allowed as a minimum only with a metric that outlives the last pod, as the API server demands."""
    minimum, maximum = replica_bounds(spec.constraints)
    if minimum == 0 and not survives_zero(metrics):
        minimum = min(1, maximum)
    return Bounds(minimum=minimum, maximum=maximum)


def _tolerance(rules: BehaviorRules | None, default: float) -> Tolerance:
    if rules is None:
        return Tolerance(up=default, down=default)
    up, down = rules.up.tolerance, rules.down.tolerance
    return Tolerance(up=default if up is None else up, down=default if down is None else down)


def _largest(outcomes: Sequence[MetricOutcome]) -> tuple[int, str]:
    """Return the largest proposal; a later 0 replaces nothing, a first 0 is replaced by any next one."""
    replicas, label = 0, ""
    for outcome in outcomes:
        if outcome.replicas is not None and (replicas == 0 or outcome.replicas > replicas):
            replicas, label = outcome.replicas, outcome.label
    return replicas, label


def _by_formula(formula: str, outcomes: Sequence[MetricOutcome]) -> int:
    """Evaluate over proposals: a name is the replicas that the metric of that name asks for."""
    asked: Mapping[str, float] = {
        outcome.identifier: float(outcome.replicas) for outcome in outcomes if outcome.replicas is not None
    }
    value = evaluate_formula(formula, asked)
    # Products such as 10 * 0.7 end a hair above the whole number that is meant.
    return max(0, min(-int(-(value - 1e-9) // 1), MAX_REPLICAS))


def _remember(values: LastValues, outcomes: Sequence[MetricOutcome]) -> LastValues:
    new = [outcome.value for outcome in outcomes if outcome.value is not None]
    if not new:
        return values
    names = {value[0] for value in new}
    return (*(value for value in values if value[0] not in names), *new)


def _why_changed(current: int, replicas: int, label: str) -> Reason:
    if replicas > current:
        return Reason(Code.LOAD_NEEDS_MORE, _rescaled(replicas, f"{label} above target"))
    return Reason(Code.LOAD_NEEDS_FEWER, _rescaled(replicas, "All metrics below target"))


def _rescaled(replicas: int, why: str) -> str:
    return f"New size: {replicas}; reason: {why}"


def _reason(condition: Condition) -> Reason:
    detail = (("reason", condition.reason), ("status", condition.status), ("type", condition.type))
    return Reason(Code.HPA, condition.message, detail)
