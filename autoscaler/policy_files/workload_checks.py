"""
What the types of a workload's document cannot express.

Each function yields what is wrong as (path, found, allowed). The rules on
metrics, targets and behaviour are those of `pkg/apis/autoscaling/validation`
in Kubernetes; those on constraints follow GKE's MultidimPodAutoscaler.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from autoscaler.errors import InputError
from autoscaler.mismatch import NOTHING, find_mismatch
from autoscaler.model.policy import (
    ActionRules,
    Constraints,
    GlobalConstraints,
    Goals,
    MpaSpec,
    Pause,
    RequestBounds,
    Schedule,
    Slo,
)
from autoscaler.model.spec import (
    Absent,
    Behavior,
    MetricSpec,
    MetricTarget,
    MetricType,
    PrometheusMetric,
    Quantity,
    ScalingRules,
)
from autoscaler.plugins import RECOMMENDERS, names, recommender
from autoscaler.policy_files.promql import PROMQL_FORM, check_promql
from autoscaler.policy_files.words import (
    Found,
    amounts,
    at_least,
    check_selector,
    cron,
    once,
    one_of,
    ordered,
    within,
    word,
)
from autoscaler.recommend.formula import formula_names, metric_identifier

CONTROLLABLE = ("cpu", "memory")
AMOUNTS = {"Utilization": "averageUtilization", "AverageValue": "averageValue", "Value": "value"}
TARGETS = {
    MetricType.RESOURCE: ("Utilization", "AverageValue"),
    MetricType.CONTAINER_RESOURCE: ("Utilization", "AverageValue"),
    MetricType.PODS: ("AverageValue",),
    MetricType.OBJECT: ("Value", "AverageValue"),
    MetricType.EXTERNAL: ("Value", "AverageValue"),
    MetricType.PROMETHEUS: ("Value", "AverageValue"),
}
_SOURCES = tuple(
    (field.name, field.encode_name) for field in msgspec.structs.fields(MetricSpec) if field.name != "type"
)
SEES_NO_PODS = (MetricType.OBJECT, MetricType.EXTERNAL, MetricType.PROMETHEUS)
SPLITTING = ("mpa", "hpa+vpa")
"""Engines that size a resource while the horizontal side scales on its utilisation, without regard to one another."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)")


def check_mpa(spec: MpaSpec) -> Found:
    """Yield what is wrong with one document's spec."""
    yield from check_goals(spec.goals, "spec.goals")
    yield from check_constraints(spec.constraints, "spec.constraints")
    yield from check_rules(spec.policy, "spec.policy")
    yield from _together(spec)


def check_goals(goals: Goals, path: str) -> Found:
    for index, metric in enumerate(goals.metrics):
        yield from _check_metric(metric, f"{path}.metrics[{index}]")
    yield from _check_formula(goals, f"{path}.formula")
    if goals.slo is not None:
        yield from _check_slo(goals.slo, f"{path}.slo")


def check_constraints(constraints: Constraints, path: str) -> Found:
    if constraints.global_ is not None:
        yield from _check_global(constraints.global_, f"{path}.global")
    if constraints.pod is not None:
        yield from _check_bounds(constraints.pod.requests, f"{path}.pod.requests")
    controlled = constraints.container_controlled_resources or ()
    for index, name in enumerate(controlled):
        yield from word(name, CONTROLLABLE, f"{path}.containerControlledResources[{index}]")
    yield from once([each.name for each in constraints.container], f"{path}.container", "name")
    for index, container in enumerate(constraints.container):
        at = f"{path}.container[{index}]"
        yield from word(container.mode, ("Auto", "Off"), f"{at}.mode")
        yield from _check_bounds(container.requests, f"{at}.requests")


def check_rules(rules: ActionRules, path: str) -> Found:
    if rules.engine is not None:
        yield from _check_engine(rules.engine, rules.params, path)
    elif rules.params:
        yield from _check_params("joint", rules.params, f"{path}.params")
    if rules.behavior is not None:
        yield from _check_behavior(rules.behavior, f"{path}.behavior")
    yield from once([each.name for each in rules.schedules], f"{path}.schedules", "name")
    for index, schedule in enumerate(rules.schedules):
        yield from _check_schedule(schedule, f"{path}.schedules[{index}]")
    yield from _check_pause(rules.pause, f"{path}.pause")


def _check_metric(metric: MetricSpec, path: str) -> Found:
    set_fields = [shown for name, shown in _SOURCES if getattr(metric, name) is not None]
    wanted = metric.type.value[0].lower() + metric.type.value[1:]
    if wanted not in set_fields:
        yield f"{path}.{wanted}", NOTHING, f"the metric itself; it is required, the type being {metric.type.value}"
        return
    for other in set_fields:
        if other != wanted:
            yield f"{path}.{other}", other, f"only {wanted}, the type being {metric.type.value}"
    source = _source(metric)
    yield from _check_target(source.target, TARGETS[metric.type], f"{path}.{wanted}.target")
    if isinstance(source, PrometheusMetric):
        yield from _check_prometheus(source, f"{path}.{wanted}")
    elif metric.type in (MetricType.PODS, MetricType.OBJECT, MetricType.EXTERNAL):
        yield from check_selector(source.metric.selector, f"{path}.{wanted}.metric.selector")


def _source(metric: MetricSpec) -> Any:
    """Return the part that is set; one of them is."""
    return (
        metric.resource
        or metric.container_resource
        or metric.pods
        or metric.object
        or metric.external
        or metric.prometheus
    )


def _check_target(target: MetricTarget, allowed: Sequence[str], path: str) -> Found:
    if target.type not in allowed:
        yield f"{path}.type", target.type, one_of(allowed)
        return
    given = {
        "averageUtilization": target.average_utilization,
        "averageValue": target.average_value,
        "value": target.value,
    }
    wanted = AMOUNTS[target.type]
    if given[wanted] is None:
        yield f"{path}.{wanted}", NOTHING, f"an amount; it is required, the type being {target.type}"
    for name, amount in given.items():
        if amount is not None and name != wanted:
            yield f"{path}.{name}", _shown(amount), f"only {wanted}, the type being {target.type}"
        elif isinstance(amount, Quantity) and amount.value <= 0:
            yield f"{path}.{name}", amount.text, "a quantity above 0"


def _check_prometheus(metric: PrometheusMetric, path: str) -> Found:
    yield from _check_query(metric.query, f"{path}.query")
    yield from at_least(metric.activation, 0, f"{path}.activation")
    if metric.absent is Absent.LAST_FOR and metric.last_for is None:
        yield f"{path}.lastFor", NOTHING, "a duration; it is required, absent being LastFor"


def _check_query(query: str, path: str) -> Found:
    problem = check_promql(query)
    if problem is not None:
        yield path, query, f"{PROMQL_FORM} ({problem})"


def _check_formula(goals: Goals, path: str) -> Found:
    if not goals.formula:
        return
    try:
        used = formula_names(goals.formula)
    except ValueError as cause:
        yield path, goals.formula, f"a formula ({cause})"
        return
    known = sorted({metric_identifier(name) for name in map(_metric_name, goals.metrics) if name})
    for name in sorted(used - set(known)):
        yield path, name, f"names of the metrics above: {', '.join(known) or 'there are none'}"


def _metric_name(metric: MetricSpec) -> str:
    source = _source(metric)
    named = getattr(source, "metric", source)
    return str(getattr(named, "name", ""))


def _check_slo(slo: Slo, path: str) -> Found:
    if slo.latency is not None and slo.latency.query:
        yield from _check_query(slo.latency.query, f"{path}.latency.query")
    if slo.latency is not None and slo.latency.target.seconds <= 0:
        yield f"{path}.latency.target", slo.latency.target, "a duration above 0"
    yield from within(slo.violations, 0, 1, f"{path}.violations")
    if slo.parallelism is not None and slo.parallelism.value <= 0:
        yield f"{path}.parallelism", slo.parallelism.text, "a number of cores above 0"


def _check_global(limits: GlobalConstraints, path: str) -> Found:
    yield from ordered(limits.min_replicas, limits.max_replicas, f"{path}.minReplicas", "maxReplicas")
    yield from _check_bounds(limits.requests, f"{path}.requests")


def _check_bounds(bounds: RequestBounds | None, path: str) -> Found:
    if bounds is None:
        return
    yield from amounts(bounds.min_allowed, f"{path}.minAllowed")
    yield from amounts(bounds.max_allowed, f"{path}.maxAllowed")
    for name, least in bounds.min_allowed.items():
        most = bounds.max_allowed.get(name)
        if most is not None and least.value > most.value:
            yield f"{path}.minAllowed.{name}", least.text, f"at most maxAllowed, {most.text}"


def _check_engine(engine: str, params: Mapping[str, Any], path: str) -> Found:
    try:
        recommender(engine)
    except InputError:
        yield f"{path}.engine", engine, one_of(names(RECOMMENDERS))
        return
    yield from _check_params(engine, params, f"{path}.params")


def _check_params(engine: str, params: Mapping[str, Any], path: str) -> Found:
    kind = _type_info(recommender(engine).Params)
    known = {field.encode_name for field in getattr(kind, "fields", ())}
    for name in params:
        if name not in known:
            yield f"{path}.{name}", name, f"{one_of(sorted(known))}: the parameters of engine {engine}"
            return
    mismatch = find_mismatch(dict(params), kind, path)
    if mismatch:
        yield mismatch


@lru_cache(maxsize=64)
def _type_info(kind: type[msgspec.Struct]) -> msgspec.inspect.Type:
    """Return what msgspec knows of a type; finding out takes a millisecond."""
    return msgspec.inspect.type_info(kind)


def _check_behavior(behavior: Behavior, path: str) -> Found:
    for name, rules in (("scaleUp", behavior.scale_up), ("scaleDown", behavior.scale_down)):
        if rules is not None:
            yield from _check_scaling(rules, f"{path}.{name}")


def _check_scaling(rules: ScalingRules, path: str) -> Found:
    if rules.select_policy is not None:
        yield from word(rules.select_policy, ("Max", "Min", "Disabled"), f"{path}.selectPolicy")
    yield from at_least(rules.tolerance, 0, f"{path}.tolerance")
    if rules.policies is not None and not rules.policies:
        yield f"{path}.policies", [], "at least one policy, or none of the field"
    for index, policy in enumerate(rules.policies or ()):
        yield from word(policy.type, ("Pods", "Percent"), f"{path}.policies[{index}].type")


def _check_schedule(schedule: Schedule, path: str) -> Found:
    yield from cron(schedule.schedule, f"{path}.schedule")
    if schedule.duration.seconds <= 0:
        yield f"{path}.duration", schedule.duration, "a duration above 0"
    if schedule.min_replicas is None and schedule.max_replicas is None:
        yield path, schedule.name, "minReplicas, maxReplicas or both"
    yield from ordered(schedule.min_replicas, schedule.max_replicas, f"{path}.minReplicas", "maxReplicas")
    if not _is_time_zone(schedule.time_zone):
        yield f"{path}.timeZone", schedule.time_zone, "a name of the IANA time zone database, such as Europe/Berlin"


def _is_time_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    if name == "UTC":
        return True
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def _check_pause(pause: Pause, path: str) -> Found:
    if pause.until and not TIME.fullmatch(pause.until):
        yield f"{path}.until", pause.until, "a time such as 2030-01-31T08:00:00Z"


def _is_blind(spec: MpaSpec) -> bool:
    """
    Tell whether no metric sees work while there is no pod.

    Schedules and counts of pods are triggers to engine keda: its webhook refuses
    0 for cpu and memory alone (KEDA 2.21, `apis/keda/v1alpha1/scaledobject_webhook.go`).
    """
    seen = any(metric.type in SEES_NO_PODS for metric in spec.goals.metrics)
    triggered = spec.policy.engine == "keda" and (
        bool(spec.policy.params.get("workloads"))
        or any(schedule.min_replicas is not None for schedule in spec.policy.schedules)
    )
    return bool(spec.goals.metrics) and not seen and not triggered


def _together(spec: MpaSpec) -> Found:
    """Yield what is wrong between the parts."""
    limits = spec.constraints.global_
    if limits is not None and limits.min_replicas == 0 and _is_blind(spec):
        allowed = "1 or more, unless an Object, External or Prometheus metric can see work without pods"
        yield "spec.constraints.global.minReplicas", 0, allowed
    controlled = spec.constraints.container_controlled_resources or ()
    if spec.policy.engine not in SPLITTING:
        return
    for index, metric in enumerate(spec.goals.metrics):
        resource = metric.resource or metric.container_resource
        if resource is not None and resource.name in controlled and resource.target.type == "Utilization":
            allowed = (
                f"engine joint, or {resource.name} in only one of the metrics and the controlled resources: "
                f"engine {spec.policy.engine} would move a utilisation by moving the request under it"
            )
            yield f"spec.goals.metrics[{index}]", resource.name, allowed


def _shown(amount: object) -> object:
    return amount.text if isinstance(amount, Quantity) else amount
