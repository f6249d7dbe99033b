"""
What each metric of a policy asks for: readings in, one proposal or one failure each.

Source: Kubernetes 1.37 `pkg/controller/podautoscaler/horizontal.go`
(computeReplicasForMetric and the status functions it calls), whose words the
messages keep. Prometheus metrics are ours and are treated like External ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.metric_query import query_for, query_name
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import (
    Missing,
    MissingReason,
    Reading,
    Signal,
    SignalKind,
)
from autoscaler.model.resources import CPU, MEMORY
from autoscaler.model.spec import (
    Absent,
    ContainerResourceMetric,
    MetricName,
    MetricSpec,
    MetricTarget,
    MetricType,
    PrometheusMetric,
    Quantity,
    ResourceMetric,
    Selector,
)
from autoscaler.model.workload import Workload
from autoscaler.recommend.formula import metric_identifier
from autoscaler.recommend.horizontal import (
    MetricError,
    Proposal,
    Readiness,
    Tolerance,
    propose_by_average,
    propose_by_utilization,
    propose_by_value,
    propose_per_pod,
)
from autoscaler.recommend.hpa_readings import pod_usage, total_usage

DEFAULT_METRICS = (
    MetricSpec(
        type=MetricType.RESOURCE,
        resource=ResourceMetric(name=CPU, target=MetricTarget(type="Utilization", average_utilization=80)),
    ),
)
"""What a policy without metrics gets: `pkg/apis/autoscaling/v2/defaults.go`."""
_RESOURCE_SIGNALS = {CPU: SignalKind.POD_CPU, MEMORY: SignalKind.POD_MEMORY}
_FROM_ZERO = frozenset({MetricType.OBJECT, MetricType.EXTERNAL, MetricType.PROMETHEUS})
_UNREAD = Missing(MissingReason.NOT_READ)
_ABSENT = Missing(MissingReason.ABSENT)
_UNSET = "invalid {} metric source: neither {} target nor {} target was set"

LastValues = tuple[tuple[str, int, float], ...]
"""(query, thousandths, epoch seconds) of the newest usable value of queries with `absent: LastFor`."""


class MetricContext(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What all metrics of one workload share."""

    view: WorkloadView
    tolerance: Tolerance
    readiness: Readiness
    last_values: LastValues = ()


class MetricOutcome(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    What one metric asks for. `replicas` None is a failure, explained by
    `reason` (of ScalingActive), `problem` (its message) and `prefix`.
    `identifier` names the metric in a formula, `label` in messages.
    `value` is to be remembered for `absent: LastFor`, with its query.
    """

    identifier: str
    label: str = ""
    replicas: int | None = None
    reason: str = ""
    prefix: str = ""
    problem: str = ""
    value: tuple[str, int, float] | None = None


def metrics_of(spec: MpaSpec) -> tuple[MetricSpec, ...]:
    return spec.goals.metrics or DEFAULT_METRICS


def survives_zero(metrics: Iterable[MetricSpec]) -> bool:
    """Tell whether a metric exists without pods, so that the workload can be woken from zero."""
    return any(metric.type in _FROM_ZERO for metric in metrics)


def metric_signals(workload: Workload, metrics: Iterable[MetricSpec]) -> tuple[Signal, ...]:
    """Return the signals that *metrics* need, each once, in order; a malformed metric needs none."""
    return tuple(dict.fromkeys(signal for metric in metrics if (signal := _signal(workload.key, metric))))


def propose(metric: MetricSpec, context: MetricContext) -> MetricOutcome:
    """Return what *metric* asks for, or why it cannot tell. Never raises."""
    return _BY_TYPE[metric.type](metric, context)


def _signal(workload: str, metric: MetricSpec) -> Signal | None:
    resource = metric.resource or metric.container_resource
    if metric.type in (MetricType.RESOURCE, MetricType.CONTAINER_RESOURCE):
        kind = _RESOURCE_SIGNALS.get(resource.name) if resource else None
        return Signal(workload, kind) if kind else None
    if metric.pods is not None:
        return Signal(workload, SignalKind.PODS_METRIC, query_name(metric.pods.metric))
    if metric.object is not None:
        return Signal(
            workload, SignalKind.OBJECT_METRIC, query_name(metric.object.metric, metric.object.described_object)
        )
    if metric.external is not None:
        return Signal(workload, SignalKind.EXTERNAL_METRIC, query_name(metric.external.metric))
    if metric.prometheus is not None:
        return Signal(workload, SignalKind.PROMETHEUS, query_for(metric.prometheus.query, workload))
    return None


def _reading(metric: MetricSpec, context: MetricContext) -> Reading:
    signal = _signal(context.view.workload.key, metric)
    return context.view.readings.get(signal, _UNREAD) if signal else _ABSENT


def _resource(metric: MetricSpec, context: MetricContext) -> MetricOutcome:
    spec = metric.resource
    if spec is None:
        return _malformed(metric)
    failed = MetricOutcome(
        identifier=metric_identifier(spec.name),
        reason="FailedGetResourceMetric",
        prefix=f"failed to get {spec.name} resource metric value",
    )
    return _by_pods_resource(metric, context, spec, failed)


def _container_resource(metric: MetricSpec, context: MetricContext) -> MetricOutcome:
    spec = metric.container_resource
    if spec is None:
        return _malformed(metric)
    failed = MetricOutcome(
        identifier=metric_identifier(f"{spec.container}_{spec.name}"),
        reason="FailedGetContainerResourceMetric",
        prefix=f"failed to get {spec.container} container metric value",
    )
    return _by_pods_resource(metric, context, spec, failed)


def _by_pods_resource(
    metric: MetricSpec, context: MetricContext, spec: ResourceMetric | ContainerResourceMetric, failed: MetricOutcome
) -> MetricOutcome:
    container = spec.container if isinstance(spec, ContainerResourceMetric) else ""
    target, view = spec.target, context.view
    shared: dict[str, Any] = {
        "resource": spec.name,
        "current": view.workload.replicas,
        "tolerance": context.tolerance,
    }
    what = "usage" if target.average_value is not None else "utilization"
    try:
        goal = _target(target.average_value) if target.average_value is not None else target.average_utilization
        if goal is None:
            return _fail(failed, _UNSET.format("resource", "an average utilization", "an average value (usage)"))
        try:
            usage = pod_usage(
                _reading(metric, context),
                view.pods,
                api="resource metrics API",
                unit=1 if spec.name == CPU else 1000,
                container=container,
            )
        except MetricError as problem:
            raise MetricError(f"unable to get metrics for resource {spec.name}: {problem}") from problem
        if target.average_value is not None:
            proposal = propose_by_average(view.pods, usage, context.readiness, target=goal, **shared)
            return _ask(failed, proposal, f"{spec.name} resource")
        proposal = propose_by_utilization(
            view.pods, usage, context.readiness, target_percent=goal, container=container, **shared
        )
        return _ask(failed, proposal, f"{spec.name} resource utilization (percentage of request)")
    except ValueError as problem:
        return _fail(failed, f"failed to get {spec.name} {what}: {problem}")


def _pods(metric: MetricSpec, context: MetricContext) -> MetricOutcome:
    spec = metric.pods
    if spec is None:
        return _malformed(metric)
    name, view = spec.metric.name, context.view
    failed = MetricOutcome(
        identifier=metric_identifier(name), reason="FailedGetPodsMetric", prefix="failed to get pods metric value"
    )
    try:
        if spec.target.average_value is None:
            return _fail(failed, "invalid pods metric source: an average value target was not set")
        goal = _target(spec.target.average_value)
        try:
            usage = pod_usage(_reading(metric, context), (), api="custom metrics API")
        except MetricError as problem:
            raise MetricError(f"unable to get metric {name}: {problem}") from problem
        proposal = propose_by_average(
            view.pods,
            usage,
            context.readiness,
            target=goal,
            current=view.workload.replicas,
            tolerance=context.tolerance,
        )
        return _ask(failed, proposal, f"pods metric {name}")
    except ValueError as problem:
        return _fail(failed, str(problem))


def _object(metric: MetricSpec, context: MetricContext) -> MetricOutcome:
    spec = metric.object
    if spec is None:
        return _malformed(metric)
    name, described, target = spec.metric.name, spec.described_object, spec.target
    failed = MetricOutcome(
        identifier=metric_identifier(name), reason="FailedGetObjectMetric", prefix="failed to get object metric value"
    )
    around = f"failed to get {name} object metric: " if target.value is None else ""
    label = f"{described.kind} metric {name}" if target.value is not None else _external_label(spec.metric)
    where = f"{described.kind} {context.view.workload.namespace}/{described.name}"
    try:
        try:
            total = total_usage(_reading(metric, context), api="custom metrics API")
        except MetricError as problem:
            raise MetricError(f"unable to get metric {name} on {where}: {problem}") from problem
        proposal = _by_total(total, target, context)
        if proposal is None:
            return _fail(failed, _UNSET.format("object", "a value", "an average value"))
        return _ask(failed, proposal, label)
    except ValueError as problem:
        return _fail(failed, f"{around}{problem}")


def _external(metric: MetricSpec, context: MetricContext) -> MetricOutcome:
    spec = metric.external
    if spec is None:
        return _malformed(metric)
    name, target = spec.metric.name, spec.target
    failed = MetricOutcome(
        identifier=metric_identifier(name),
        reason="FailedGetExternalMetric",
        prefix=f"failed to get {name} external metric value",
    )
    around = f"failed to get {name} external metric" if target.average_value is not None else ""
    around = around or f"failed to get external metric {name}"
    try:
        try:
            total = total_usage(_reading(metric, context), api="external metrics API")
        except MetricError as problem:
            where = f"{context.view.workload.namespace}/{name}/{_selector_text(spec.metric.selector)}"
            raise MetricError(f"unable to get external metric {where}: {problem}") from problem
        proposal = _by_total(total, target, context)
        if proposal is None:
            return _fail(failed, _UNSET.format("external", "a value", "an average value"))
        return _ask(failed, proposal, _external_label(spec.metric))
    except ValueError as problem:
        return _fail(failed, f"{around}: {problem}")


def _prometheus(metric: MetricSpec, context: MetricContext) -> MetricOutcome:
    spec = metric.prometheus
    if spec is None:
        return _malformed(metric)
    failed = MetricOutcome(
        identifier=metric_identifier(spec.name),
        reason="FailedGetPrometheusMetric",
        prefix=f"failed to get {spec.name} Prometheus metric value",
    )
    try:
        total, remembered = _prometheus_total(_reading(metric, context), spec, context)
        proposal = _by_total(total, spec.target, context)
        if proposal is None:
            return _fail(failed, _UNSET.format("Prometheus", "a value", "an average value"))
    except ValueError as problem:
        return _fail(failed, f"failed to get Prometheus metric {spec.name}: {problem}")
    replicas, current = _activated(total, proposal.replicas, spec.activation), context.view.workload.replicas
    keep = (spec.query, total, context.view.now) if spec.absent is Absent.LAST_FOR and not remembered else None
    outcome = _ask(failed, proposal, f"Prometheus metric {spec.name}")
    # A remembered value may keep or raise the size, never lower it.
    return msgspec.structs.replace(outcome, replicas=max(replicas, current) if remembered else replicas, value=keep)


def _prometheus_total(reading: Reading, spec: PrometheusMetric, context: MetricContext) -> tuple[int, bool]:
    """Return the total in thousandths and whether it is a remembered one."""
    try:
        return total_usage(reading, api="Prometheus", unit=1000), False
    except MetricError:
        absent = isinstance(reading, Missing) and reading.reason is MissingReason.ABSENT
        if spec.absent is Absent.ZERO and absent:
            return 0, False
        if spec.absent is Absent.LAST_FOR and spec.last_for is not None:
            for query, value, at in context.last_values:
                if query == spec.query and 0 <= context.view.now - at <= spec.last_for.seconds:
                    return value, True
        raise


def _activated(total: int, replicas: int, activation: Quantity | None) -> int:
    """At or below its activation a metric asks for none; above it, for at least one (as KEDA does)."""
    if activation is None:
        return replicas
    return max(1, replicas) if total > activation.milli else 0


def _by_total(total: int, target: MetricTarget, context: MetricContext) -> Proposal | None:
    workload = context.view.workload
    if target.average_value is not None:
        return propose_per_pod(
            total,
            target=_target(target.average_value),
            status_replicas=workload.status_replicas,
            tolerance=context.tolerance,
        )
    if target.value is not None:
        return propose_by_value(
            total,
            context.view.pods,
            target=_target(target.value),
            current=workload.replicas,
            tolerance=context.tolerance,
        )
    return None


def _target(quantity: Quantity) -> int:
    if quantity.value <= 0:
        raise MetricError(f"the target {quantity.text} must be above 0")
    return quantity.milli


def _ask(outcome: MetricOutcome, proposal: Proposal, label: str) -> MetricOutcome:
    return msgspec.structs.replace(outcome, label=label, replicas=proposal.replicas)


def _fail(outcome: MetricOutcome, problem: str) -> MetricOutcome:
    return msgspec.structs.replace(outcome, problem=problem)


def _malformed(metric: MetricSpec) -> MetricOutcome:
    field = metric.type.value[0].lower() + metric.type.value[1:]
    return MetricOutcome(
        identifier="",
        reason="InvalidMetricSourceType",
        prefix="invalid metric",
        problem=f"a metric of type {metric.type.value} needs the field {field}",
    )


def _external_label(metric: MetricName) -> str:
    return f"external metric {metric.name}({_selector_text(metric.selector)})"


def _selector_text(selector: Selector | None) -> str:
    """Print a selector as the Kubernetes API machinery does in messages."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    terms = "".join(
        f"LabelSelectorRequirement{{Key:{term.key},Operator:{term.operator},Values:[{' '.join(term.values)}],}},"
        for term in selector.match_expressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{terms}}},}}"
    )


_BY_TYPE: Mapping[MetricType, Callable[[MetricSpec, MetricContext], MetricOutcome]] = {
    MetricType.RESOURCE: _resource,
    MetricType.CONTAINER_RESOURCE: _container_resource,
    MetricType.PODS: _pods,
    MetricType.OBJECT: _object,
    MetricType.EXTERNAL: _external,
    MetricType.PROMETHEUS: _prometheus,
}
