"""
The triggers of a ScaledObject: what each says now, whether it is active, and what the HPA gets to see of it.

Sources, KEDA 2.21: `pkg/scaling/scale_handler.go` (getScalerState,
getScaledObjectState, GetScaledObjectMetrics), `pkg/fallback/fallback.go`,
`pkg/scaling/modifiers/formula.go`, `pkg/scalers/{cron,kubernetes_workload,prometheus}_scaler.go`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from autoscaler.interfaces import PodCount, WorkloadView
from autoscaler.model.metric_query import query_for, query_name, selector_text
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Signal, SignalKind
from autoscaler.model.spec import Absent, ExternalMetric, MetricName, MetricSpec, MetricTarget, MetricType, Quantity
from autoscaler.model.workload import Workload
from autoscaler.recommend.formula import metric_identifier
from autoscaler.recommend.horizontal import MetricError
from autoscaler.recommend.hpa_readings import total_usage
from autoscaler.recommend.keda_formula import evaluate_modifiers
from autoscaler.recommend.keda_params import Fallback, FallbackBehavior, KedaParams, MetricKind, ScalingModifiers

COMPOSITE = "composite-metric"
_TRIGGERS = frozenset({MetricType.EXTERNAL, MetricType.PROMETHEUS})
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_UNREAD = Missing(MissingReason.NOT_READ)
_LARGEST_MILLI = 2**63 - 1

Failures = tuple[tuple[str, int], ...]
"""How often in a row each trigger has failed, by its name; those that have not are left out."""


class Trigger(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One trigger and its number in thousandths, None where it failed and `problem` says why."""

    name: str
    target: MetricTarget
    activation: float = 0.0
    milli: int | None = None
    problem: str = ""


class Seen(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A trigger after the fallback: `milli` None where it fails, or with `is_nil`
    where the formula is to find nil. `falls_back`: the number is that of the fallback.
    """

    trigger: Trigger
    milli: int | None
    falls_back: bool = False
    is_nil: bool = False

    @property
    def failed(self) -> bool:
        return self.milli is None and not self.is_nil

    @property
    def active(self) -> bool:
        return self.falls_back or (self.milli is not None and self.milli / 1000 > self.trigger.activation)


class Activity(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What all triggers say together; `error` says which failed, "" for none."""

    active: bool
    error: str = ""
    falls_back: bool = False
    by: tuple[str, ...] = ()


def pod_counts(workload: Workload, params: KedaParams) -> list[PodCount]:
    """
    Return the counts of pods that the triggers want.

    Raises:
        ValueError: a selector has an unknown operator.
    """
    return [
        PodCount(signal=_count_signal(workload.key, index, params), selector=each.selector, by_node=each.group_by_node)
        for index, each in enumerate(params.workloads)
    ]


def read_triggers(view: WorkloadView, params: KedaParams) -> list[Trigger]:
    """
    Return the triggers of the spec and the parameters, with what they say now.

    Raises:
        ValueError: two have the same name, or a selector has an unknown operator.
    """
    found = [trigger for metric in view.spec.goals.metrics if (trigger := _of_metric(metric, view, params))]
    for schedule in view.spec.policy.schedules:
        if schedule.min_replicas is not None:
            replicas = schedule.min_replicas if schedule.name in view.open_schedules else 0
            found.append(Trigger(name=schedule.name, target=_ONE_EACH, milli=replicas * 1000))
    for index, each in enumerate(params.workloads):
        reading = view.readings.get(_count_signal(view.workload.key, index, params), _UNREAD)
        trigger = Trigger(name=each.name, target=_target(each.value, each.metric_type), activation=each.activation)
        found.append(_with_number(trigger, reading, api="snapshot", unit=1000))
    names = [trigger.name for trigger in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two triggers are called {name!r}: metrics, schedules and workloads need different names")
    return found


def is_trigger(metric: MetricSpec) -> bool:
    """Tell whether KEDA reads the metric itself; others are left to the HPA, as cpu and memory are."""
    return metric.type in _TRIGGERS


def look(
    triggers: Sequence[Trigger], before: Failures, view: WorkloadView, params: KedaParams
) -> tuple[list[Seen], Failures]:
    """Look at the triggers once: return what is seen after the fallback, and the new counts of failures."""
    fallback = _valid_fallback(params)
    counts, seen = dict(before), []
    for trigger in triggers:
        if trigger.milli is not None or fallback is None:
            counts.pop(trigger.name, None)
            seen.append(Seen(trigger=trigger, milli=trigger.milli))
            continue
        counts[trigger.name] = counts.get(trigger.name, 0) + 1
        if counts[trigger.name] <= fallback.failure_threshold:
            seen.append(Seen(trigger=trigger, milli=None))
        elif fallback.behavior is FallbackBehavior.SCALING_MODIFIERS:
            seen.append(Seen(trigger=trigger, milli=None, is_nil=params.modifiers is not None))
        else:
            milli = _fallback_milli(trigger, fallback, view, params)
            seen.append(Seen(trigger=trigger, milli=milli, falls_back=milli is not None))
    names = {trigger.name for trigger in triggers}
    return seen, tuple(sorted((name, count) for name, count in counts.items() if name in names))


def activity_of(seen: Sequence[Seen], params: KedaParams) -> Activity:
    """
    Return whether the workload is active.

    Without triggers of KEDA's own it always is. A formula that cannot be
    evaluated is an error; the peer takes it for "not active".
    """
    error = _error(seen)
    falls_back = any(each.falls_back for each in seen)
    if not seen:
        return Activity(active=True)
    if params.modifiers is None:
        by = tuple(each.trigger.name for each in seen if each.active)
        return Activity(active=bool(by), error=error, falls_back=falls_back, by=by)
    composite, problem = _composite(seen, params.modifiers, params)
    problem = error or problem
    active = not problem and composite is not None and composite / 1000 > params.modifiers.activation_target
    return Activity(active=active, error=problem, falls_back=falls_back, by=(COMPOSITE,) if active else ())


def hpa_metrics(
    seen: Sequence[Seen], view: WorkloadView, params: KedaParams
) -> tuple[tuple[MetricSpec, ...], dict[Signal, Reading]]:
    """Return the metrics of the HPA that KEDA would generate, and the readings of those that it serves itself."""
    kept = [metric for metric in view.spec.goals.metrics if not is_trigger(metric)]
    readings: dict[Signal, Reading] = {}
    if params.modifiers is not None and seen:
        milli, problem = _composite(seen, params.modifiers, params)
        target = _target(params.modifiers.target, params.modifiers.metric_type)
        # Less than nothing asks for the minimum, as nothing does.
        shown = None if milli is None else max(milli, 0)
        kept.append(_served(COMPOSITE, target, shown, problem or _error(seen), view=view, readings=readings))
    else:
        for each in seen:
            trigger = each.trigger
            kept.append(
                _served(trigger.name, trigger.target, each.milli, trigger.problem, view=view, readings=readings)
            )
    # The order of scaled objects' metrics: by type, then as written.
    return tuple(sorted(kept, key=lambda metric: metric.type.value)), readings


def _served(
    name: str,
    target: MetricTarget,
    milli: int | None,
    problem: str,
    *,
    view: WorkloadView,
    readings: dict[Signal, Reading],
) -> MetricSpec:
    signal = Signal(view.workload.key, SignalKind.EXTERNAL_METRIC, name)
    failed = Missing(MissingReason.FAILED, problem)
    readings[signal] = failed if milli is None else PodSamples((PodSample("", milli, view.now),))
    return MetricSpec(type=MetricType.EXTERNAL, external=ExternalMetric(metric=MetricName(name=name), target=target))


def _of_metric(metric: MetricSpec, view: WorkloadView, params: KedaParams) -> Trigger | None:
    key = view.workload.key
    if metric.prometheus is not None and metric.type is MetricType.PROMETHEUS:
        spec = metric.prometheus
        activation = spec.activation.number if spec.activation is not None else 0.0
        trigger = Trigger(name=spec.name, target=spec.target, activation=activation)
        reading = view.readings.get(Signal(key, SignalKind.PROMETHEUS, query_for(spec.query, key)), _UNREAD)
        is_absent = isinstance(reading, Missing) and reading.reason is MissingReason.ABSENT
        if is_absent and spec.absent is Absent.ZERO:
            return msgspec.structs.replace(trigger, milli=0)
        return _with_number(trigger, reading, api="Prometheus", unit=1000)
    if metric.external is not None and metric.type is MetricType.EXTERNAL:
        name = metric.external.metric.name
        trigger = Trigger(name=name, target=metric.external.target, activation=params.activations.get(name, 0.0))
        signal = Signal(key, SignalKind.EXTERNAL_METRIC, query_name(metric.external.metric))
        return _with_number(trigger, view.readings.get(signal, _UNREAD), api="external metrics API", unit=1)
    return None


def _with_number(trigger: Trigger, reading: Reading, *, api: str, unit: int) -> Trigger:
    try:
        return msgspec.structs.replace(trigger, milli=total_usage(reading, api=api, unit=unit))
    except MetricError as problem:
        return msgspec.structs.replace(trigger, problem=str(problem))


def _count_signal(workload: str, index: int, params: KedaParams) -> Signal:
    trigger = params.workloads[index]
    for term in trigger.selector.match_expressions:
        if term.operator not in _OPERATORS:
            at = f"workloads[{index}].selector.matchExpressions"
            raise ValueError(f"{at}: {term.operator!r} is not valid; allowed: {', '.join(_OPERATORS)}")
    counted = "nodes of " if trigger.group_by_node else ""
    return Signal(workload, SignalKind.POD_COUNT, counted + selector_text(trigger.selector))


def _valid_fallback(params: KedaParams) -> Fallback | None:
    """Return the fallback; with modifiers it only counts where their target is a whole number (HasValidFallback)."""
    if params.modifiers is not None and not params.modifiers.target.is_integer():
        return None
    return params.fallback


def _fallback_milli(trigger: Trigger, fallback: Fallback, view: WorkloadView, params: KedaParams) -> int | None:
    """Return the number that makes the HPA ask for the fallback's replicas; None where no pod is ready to share it."""
    current = view.workload.replicas
    replicas = float(
        {
            FallbackBehavior.CURRENT_REPLICAS: current,
            FallbackBehavior.CURRENT_REPLICAS_IF_HIGHER: max(current, fallback.replicas),
            FallbackBehavior.CURRENT_REPLICAS_IF_LOWER: min(current, fallback.replicas),
        }.get(fallback.behavior, fallback.replicas)
    )
    modifiers = params.modifiers
    total = modifiers.metric_type is MetricKind.VALUE if modifiers else trigger.target.value is not None
    if total:
        ready = sum(pod.is_ready for pod in view.pods)
        if not ready:
            return None
        replicas /= ready
    amount = trigger.target.value if total else trigger.target.average_value
    target = modifiers.target if modifiers else amount.number if amount is not None else 0.0
    return int(min(target * 1000 * replicas, _LARGEST_MILLI))


def _composite(seen: Sequence[Seen], modifiers: ScalingModifiers, params: KedaParams) -> tuple[int | None, str]:
    """Return what the formula comes to, in thousandths, or why it comes to nothing."""
    fallen = [each.milli for each in seen if each.falls_back]
    if fallen:
        return fallen[0], ""
    error = _error(seen)
    if error:
        return None, error
    values: dict[str, float | None] = {
        metric_identifier(each.trigger.name): None if each.milli is None else each.milli / 1000 for each in seen
    }
    try:
        number = evaluate_modifiers(modifiers.formula, values)
    except ValueError as problem:
        return None, str(problem)
    if number is None:
        if params.fallback is None:
            return None, "the formula comes to nil, and there is no fallback"
        number = params.fallback.replicas * modifiers.target
    return int(math.copysign(min(abs(number) * 1000, _LARGEST_MILLI), number)), ""


def _error(seen: Sequence[Seen]) -> str:
    return "; ".join(f"trigger {each.trigger.name}: {each.trigger.problem}" for each in seen if each.failed)


def _target(amount: float, kind: MetricKind) -> MetricTarget:
    quantity = Quantity(f"{max(int(amount * 1000), 1)}m")
    if kind is MetricKind.VALUE:
        return MetricTarget(type=kind.value, value=quantity)
    return MetricTarget(type=kind.value, average_value=quantity)


_ONE_EACH: MetricTarget = _target(1.0, MetricKind.AVERAGE_VALUE)
"""A cron trigger's number is replicas (GetMetricSpecForScaling)."""
