"""
The vocabulary of what users write: quantities, metrics and scaling behaviour.

Metrics and behaviour are those of autoscaling/v2, field by field; Prometheus is ours.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

import msgspec

from autoscaler.model.units import format_duration, parse_duration, parse_quantity

Count = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2_147_483_647)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
Query = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class Quantity:
    """A Kubernetes quantity as written, with its exact value."""

    __slots__ = ("number", "text", "value")

    def __init__(self, text: str | int | float) -> None:
        self.text = str(text)
        self.value: Fraction = parse_quantity(text)
        self.number = float(self.value)

    @property
    def milli(self) -> int:
        """Thousandths, rounded up."""
        return -(-self.value.numerator * 1000 // self.value.denominator)

    @property
    def whole(self) -> int:
        """Whole units, rounded up."""
        return -(-self.value.numerator // self.value.denominator)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Quantity({self.text!r})"


class Duration:
    """A length of time as written, in seconds."""

    __slots__ = ("seconds",)

    def __init__(self, text: str | int | float) -> None:
        self.seconds: float = parse_duration(text)

    @property
    def text(self) -> str:
        return format_duration(self.seconds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self.seconds == other.seconds

    def __hash__(self) -> int:
        return hash(self.seconds)

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"


def decode_hook(kind: type, value: Any) -> Any:
    """Tell msgspec how to read the two types above; raises ValueError for what is neither."""
    if kind in (Quantity, Duration):
        return kind(value)
    raise NotImplementedError(f"no decoder for {kind}")


def encode_hook(value: Any) -> Any:
    """Tell msgspec how to write the two types above."""
    if isinstance(value, Quantity):
        return value.text
    if isinstance(value, Duration):
        return _exact(value.seconds)
    raise NotImplementedError(f"no encoder for {type(value)}")


def _exact(seconds: float) -> str:
    """Print a duration for people where that says all of it, else in seconds to the last digit."""
    text = format_duration(seconds)
    return text if parse_duration(text) == seconds else f"{Decimal(repr(seconds)):f}s"


class Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything a user writes."""


class TargetRef(Spec, frozen=True, kw_only=True):
    kind: Name
    name: Name
    api_version: str = "apps/v1"


class MetricTarget(Spec, frozen=True, kw_only=True):
    """Exactly one of the three amounts goes with `type`."""

    type: str = "Utilization"
    """Utilization, AverageValue or Value."""
    average_utilization: Positive | None = None
    """Percent of the request."""
    average_value: Quantity | None = None
    """Amount for each pod."""
    value: Quantity | None = None
    """Amount for all pods together."""


class Selector(Spec, frozen=True, kw_only=True):
    match_labels: dict[str, str] = {}
    match_expressions: tuple[SelectorRequirement, ...] = ()


class SelectorRequirement(Spec, frozen=True, kw_only=True):
    key: str
    operator: str
    values: tuple[str, ...] = ()


class MetricName(Spec, frozen=True, kw_only=True):
    name: Name
    selector: Selector | None = None


class ResourceMetric(Spec, frozen=True, kw_only=True):
    name: Name
    target: MetricTarget


class ContainerResourceMetric(Spec, frozen=True, kw_only=True):
    name: Name
    container: Name
    target: MetricTarget


class PodsMetric(Spec, frozen=True, kw_only=True):
    metric: MetricName
    target: MetricTarget


class ObjectMetric(Spec, frozen=True, kw_only=True):
    described_object: TargetRef
    metric: MetricName
    target: MetricTarget


class ExternalMetric(Spec, frozen=True, kw_only=True):
    metric: MetricName
    target: MetricTarget


class Absent(enum.StrEnum):
    """What an absent signal means."""

    HOLD = "Hold"
    ZERO = "Zero"
    LAST_FOR = "LastFor"


class PrometheusMetric(Spec, frozen=True, kw_only=True):
    """A query that gives one number: all the work there is (with AverageValue: per pod)."""

    name: Name
    query: Query
    """PromQL that gives one number; `$namespace` and `$workload` in it stand for the workload's own."""
    target: MetricTarget
    activation: Quantity | None = None
    """A workload at zero replicas wakes above this."""
    absent: Absent = Absent.HOLD
    """What no result means."""
    last_for: Duration | None = None
    """With LastFor: how long the last value stands."""


class MetricType(enum.StrEnum):
    RESOURCE = "Resource"
    CONTAINER_RESOURCE = "ContainerResource"
    PODS = "Pods"
    OBJECT = "Object"
    EXTERNAL = "External"
    PROMETHEUS = "Prometheus"


class MetricSpec(Spec, frozen=True, kw_only=True):
    """One metric; the field named like `type` is set."""

    type: MetricType
    resource: ResourceMetric | None = None
    container_resource: ContainerResourceMetric | None = None
    pods: PodsMetric | None = None
    object: ObjectMetric | None = None
    external: ExternalMetric | None = None
    prometheus: PrometheusMetric | None = None


class RulePolicy(Spec, frozen=True, kw_only=True):
    type: str
    """Pods or Percent."""
    value: Positive
    period_seconds: Annotated[int, msgspec.Meta(ge=1, le=1800)]


class ScalingRules(Spec, frozen=True, kw_only=True):
    """autoscaling/v2 HPAScalingRules; None means the default of the direction."""

    stabilization_window_seconds: Annotated[int, msgspec.Meta(ge=0, le=3600)] | None = None
    select_policy: str | None = None
    """Max, Min or Disabled."""
    policies: tuple[RulePolicy, ...] | None = None
    tolerance: Quantity | None = None
    """Ratio within which nothing changes."""


class Behavior(Spec, frozen=True, kw_only=True):
    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None
