"""
What the CRDs say beyond the types: words, bounds, and CEL rules between fields.

Keyed by Struct, and by the field's name in documents. A rule's message tells
what is allowed; the API server names the path and the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from autoscaler.model.policy import (
    ActionRules,
    Backend,
    BudgetWindow,
    Constraints,
    ContainerConstraints,
    Disruption,
    GlobalConstraints,
    GroupMatch,
    GroupPrice,
    GroupRequirement,
    GroupTaint,
    Headroom,
    Money,
    MpaSpec,
    NodeGroupSize,
    NodeGroupSpec,
    NodeRules,
    Pause,
    RequestBounds,
    Schedule,
    Signals,
    Slo,
    SpotRules,
    TenantQuota,
)
from autoscaler.model.spec import (
    ContainerResourceMetric,
    ExternalMetric,
    MetricSpec,
    MetricTarget,
    MetricType,
    ObjectMetric,
    PodsMetric,
    PrometheusMetric,
    ResourceMetric,
    RulePolicy,
    ScalingRules,
    Selector,
    SelectorRequirement,
    TargetRef,
)
from autoscaler.policy_files.cluster_checks import (
    ADJUSTMENT,
    CAPACITY_TYPES,
    COUNT_OR_SHARE,
    DISRUPTION_REASONS,
    EFFECTS,
    NODE_ENGINES,
    NUMERIC_OPERATORS,
)
from autoscaler.policy_files.crd_status import Condition, DocumentStatus, MpaStatus, NodeGroupStatus, PolicyStatus
from autoscaler.policy_files.words import OPERATORS
from autoscaler.policy_files.workload_checks import AMOUNTS, CONTROLLABLE, SEES_NO_PODS, SPLITTING, TARGETS, TIME


class Rule(NamedTuple):
    """A CEL expression over `self` that must be true, what is allowed, and the field it is about ("" for all)."""

    expression: str
    message: str
    field: str = ""


Place = tuple[type, str]
"""A Struct and the name of one of its fields in documents."""

WORDS: Mapping[Place, Iterable[str]] = {
    (Backend, "kind"): ("Declarative",),
    (Condition, "status"): ("True", "False", "Unknown"),
    (Constraints, "containerControlledResources"): CONTROLLABLE,
    (ContainerConstraints, "mode"): ("Auto", "Off"),
    (BudgetWindow, "reasons"): DISRUPTION_REASONS,
    (GroupRequirement, "operator"): (*OPERATORS, *NUMERIC_OPERATORS),
    (GroupTaint, "effect"): EFFECTS,
    (Headroom, "nodes"): ("Pooled", "Balloons", "Off"),
    (MetricTarget, "type"): tuple(AMOUNTS),
    (Money, "onExceed"): ("Alert", "Degrade"),
    (NodeGroupSpec, "capacityTypes"): CAPACITY_TYPES,
    (NodeRules, "engine"): NODE_ENGINES,
    (RulePolicy, "type"): ("Pods", "Percent"),
    (ScalingRules, "selectPolicy"): ("Max", "Min", "Disabled"),
    (SelectorRequirement, "operator"): tuple(OPERATORS),
}
"""The words that a field, or each item of a list, may be."""

_CRON = r"^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|\s*\S+(\s+\S+){4}\s*)$"
PATTERNS: Mapping[Place, str] = {
    (BudgetWindow, "nodes"): f"^({COUNT_OR_SHARE.pattern})$",
    (BudgetWindow, "pods"): f"^({COUNT_OR_SHARE.pattern})$",
    (BudgetWindow, "schedule"): _CRON,
    (GroupPrice, "adjustment"): f"^({ADJUSTMENT.pattern})$",
    (Pause, "until"): f"^{TIME.pattern}$",
    (Schedule, "schedule"): _CRON,
}

BOUNDS: Mapping[Place, Mapping[str, int]] = {
    (Constraints, "containerControlledResources"): {"maxItems": len(CONTROLLABLE)},
    (Disruption, "budgets"): {"maxItems": 50},
    (GroupRequirement, "key"): {"minLength": 1, "maxLength": 316},
    (GroupRequirement, "values"): {"maxItems": 500},
    (NodeGroupSpec, "capacityTypes"): {"minItems": 1, "maxItems": len(CAPACITY_TYPES)},
    (NodeGroupSpec, "provider"): {"minLength": 1, "maxLength": 63},
    (ScalingRules, "policies"): {"minItems": 1, "maxItems": 20},
}
"""Where the bounds of `crd_schema` do not fit."""

MAP_KEYS: Mapping[Place, str] = {
    (ActionRules, "schedules"): "name",
    (Constraints, "container"): "name",
    (DocumentStatus, "conditions"): "type",
    (MpaStatus, "conditions"): "type",
    (MpaStatus, "containers"): "name",
    (NodeGroupStatus, "conditions"): "type",
    (PolicyStatus, "conditions"): "type",
}
"""Lists whose items are told apart by one field: no two have the same, and server-side apply merges by it."""
SETS = frozenset(
    {(Constraints, "containerControlledResources"), (NodeGroupSpec, "capacityTypes"), (BudgetWindow, "reasons")}
)
ATOMIC = frozenset({Selector, TargetRef})
"""Mappings that server-side apply takes as a whole, as Kubernetes does with its own."""
DEFAULTS: Mapping[Place, Any] = {(ContainerConstraints, "name"): "*"}
"""The API server fills these in; a key of a list must be there. All other defaults are the controller's."""


def rules_of(kind: type) -> tuple[Rule, ...]:
    """Return the rules of one Struct, in order."""
    return _RULES.get(kind, ())


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def _goes_with(kind: str, default: str, pairs: Mapping[str, str]) -> tuple[Rule, ...]:
    """Each field in *pairs* goes with one word of `type`, and is required there."""
    found = f"(has(self.{kind}) ? self.{kind} : '{default}')" if default else f"self.{kind}"
    return tuple(
        Rule(
            f"{found} == '{word}' ? has(self.{field}) : !has(self.{field})",
            f"{field} goes with type {word}, which needs it, and with no other",
            field,
        )
        for word, field in pairs.items()
    )


def _target_types(metric: MetricType) -> Rule:
    words = TARGETS[metric]
    given = "self.target.type" if "Utilization" not in words else "(has(self.target.type) ? self.target.type : '')"
    among = _list(words if "Utilization" not in words else ("", *words))
    present = "has(self.target.type) && " if "Utilization" not in words else ""
    return Rule(f"{present}{given} in {among}", f"target.type: allowed are {', '.join(words)}", "target.type")


def _above_zero(field: str) -> Rule:
    return Rule(
        f"!has(self.{field}) || quantity(string(self.{field})).isGreaterThan(quantity('0'))", "more than 0", field
    )


def _share(field: str, *, inside: bool = False) -> Rule:
    """From 0 to 1, both included unless *inside*."""
    amount = f"quantity(string(self.{field}))"
    low, high = f"{amount}.compareTo(quantity('0'))", f"{amount}.compareTo(quantity('1'))"
    if inside:
        return Rule(f"!has(self.{field}) || ({low} > 0 && {high} < 0)", "a number above 0 and below 1", field)
    return Rule(f"!has(self.{field}) || ({low} >= 0 && {high} <= 0)", "a number from 0 to 1", field)


def _amounts_ordered(low: str, high: str) -> Rule:
    return Rule(
        f"!has(self.{low}) || !has(self.{high}) || self.{low}.all(name, !(name in self.{high}) || "
        f"quantity(string(self.{low}[name])).compareTo(quantity(string(self.{high}[name]))) <= 0)",
        f"for each resource at most {high}",
        low,
    )


_REPLICAS_ORDERED = Rule(
    "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    "at most maxReplicas",
    "minReplicas",
)
_VALUES = Rule(
    "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : "
    "self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) || size(self.values) == 0 : true",
    "In and NotIn need values, Exists and DoesNotExist take none",
    "values",
)
_GLOBAL = "self.constraints.global.minReplicas"
_SOURCES = {metric.value: metric.value[0].lower() + metric.value[1:] for metric in MetricType}
_CONTROLLED = "self.constraints.containerControlledResources"


def _no_split(source: str) -> str:
    return f"!(has(m.{source}) && has(m.{source}.target.averageUtilization) && m.{source}.name in {_CONTROLLED})"


_RULES: Mapping[type, tuple[Rule, ...]] = {
    BudgetWindow: (
        Rule("has(self.schedule) == has(self.duration)", "schedule and duration need each other", "schedule"),
    ),
    ContainerResourceMetric: (_target_types(MetricType.CONTAINER_RESOURCE),),
    ExternalMetric: (_target_types(MetricType.EXTERNAL),),
    GlobalConstraints: (_REPLICAS_ORDERED,),
    GroupMatch: (
        Rule(
            "[has(self.asg), has(self.nodegroup), has(self.mig), has(self.nodePool), has(self.launch)]"
            ".filter(given, given).size() <= 1",
            "only one of asg, nodegroup, mig, nodePool, launch",
        ),
    ),
    GroupRequirement: (
        _VALUES,
        Rule(
            f"!(self.operator in {_list(NUMERIC_OPERATORS)}) || "
            "(has(self.values) && size(self.values) == 1 && self.values[0].matches('^[0-9]{1,18}$'))",
            "Gt, Lt, Gte and Lte need one whole number, as text",
            "values",
        ),
        Rule(
            "!has(self.minValues) || self.operator != 'In' || !has(self.values) || self.minValues <= size(self.values)",
            "at most the number of values",
            "minValues",
        ),
    ),
    Headroom: (_share("quantile", inside=True),),
    MetricSpec: _goes_with("type", "", _SOURCES),
    MetricTarget: (
        *_goes_with("type", "Utilization", AMOUNTS),
        _above_zero("averageValue"),
        _above_zero("value"),
    ),
    MpaSpec: (
        Rule(
            f"!has(self.constraints) || !has(self.constraints.global) || !has({_GLOBAL}) || {_GLOBAL} > 0 || "
            "!has(self.goals) || !has(self.goals.metrics) || size(self.goals.metrics) == 0 || "
            f"self.goals.metrics.exists(m, m.type in {_list(kind.value for kind in SEES_NO_PODS)}) || "
            "has(self.policy) && has(self.policy.engine) && self.policy.engine == 'keda' && "
            "(has(self.policy.params) || "
            "has(self.policy.schedules) && self.policy.schedules.exists(s, has(s.minReplicas)))",
            "constraints.global.minReplicas: 1 or more, unless an Object, External or Prometheus metric "
            "can see work without pods",
        ),
        Rule(
            f"!has(self.policy) || !has(self.policy.engine) || !(self.policy.engine in {_list(SPLITTING)}) || "
            f"!has(self.constraints) || !has({_CONTROLLED}) || !has(self.goals) || !has(self.goals.metrics) || "
            f"self.goals.metrics.all(m, {_no_split('resource')} && {_no_split('containerResource')})",
            "goals.metrics: engine joint, or the resource in only one of the utilisation metrics and "
            "constraints.containerControlledResources: this engine would move a utilisation by moving the request "
            "under it",
        ),
    ),
    NodeGroupSize: (
        Rule("(has(self.min) ? self.min : 0) <= (has(self.max) ? self.max : 1000)", "at most max (1000)", "min"),
    ),
    ObjectMetric: (_target_types(MetricType.OBJECT),),
    PodsMetric: (_target_types(MetricType.PODS),),
    PrometheusMetric: (
        _target_types(MetricType.PROMETHEUS),
        Rule(
            "!has(self.absent) || self.absent != 'LastFor' || has(self.lastFor)",
            "required, absent being LastFor",
            "lastFor",
        ),
    ),
    RequestBounds: (_amounts_ordered("minAllowed", "maxAllowed"),),
    ResourceMetric: (_target_types(MetricType.RESOURCE),),
    Schedule: (
        Rule("has(self.minReplicas) || has(self.maxReplicas)", "minReplicas, maxReplicas or both"),
        _REPLICAS_ORDERED,
    ),
    SelectorRequirement: (_VALUES,),
    Signals: (_share("minCoverage"),),
    Slo: (_share("violations"), _above_zero("parallelism")),
    SpotRules: (_share("maxShare"),),
    TenantQuota: (_amounts_ordered("floor", "ceiling"),),
}
