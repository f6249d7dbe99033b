"""
What users write: how a workload scales, and the guard rails around it.

The structs mirror the documents field by field (camelCase in YAML); unknown
fields are refused. Reading files and checking what a type cannot express is
in `autoscaler.policy_files`. HPA's own words are kept where HPA has the thing
(autoscaling/v2); `goals`, `constraints` and `policy` are a superset of GKE's
autoscaling.gke.io/v1beta1 MultidimPodAutoscaler.
"""

from __future__ import annotations

import enum
from fractions import Fraction
from typing import Annotated, Any

import msgspec

from autoscaler.model.units import format_duration, parse_duration, parse_quantity

Count = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2_147_483_647)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class Quantity:
    """A Kubernetes quantity as written, with its exact value."""

    __slots__ = ("text", "value")

    def __init__(self, text: str | int | float) -> None:
        self.text = str(text)
        self.value: Fraction = parse_quantity(text)

    @property
    def milli(self) -> int:
        """Thousandths, rounded up."""
        return -(-self.value.numerator * 1000 // self.value.denominator)

    @property
    def whole(self) -> int:
        """Whole units, rounded up."""
        return -(-self.value.numerator // self.value.denominator)

    @property
    def number(self) -> float:
        return float(self.value)

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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self.seconds == other.seconds

    def __hash__(self) -> int:
        return hash(self.seconds)

    def __repr__(self) -> str:
        return f"Duration({format_duration(self.seconds)!r})"


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
        return format_duration(value.seconds)
    raise NotImplementedError(f"no encoder for {type(value)}")


class Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything a user writes."""


class TargetRef(Spec, frozen=True, kw_only=True):
    kind: Name
    name: Name
    api_version: str = "apps/v1"


class MetricTarget(Spec, frozen=True, kw_only=True):
    """Exactly one of the three amounts goes with `type`."""

    type: str = "Utilization"
    average_utilization: Positive | None = None
    average_value: Quantity | None = None
    value: Quantity | None = None


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
    query: Name
    target: MetricTarget
    activation: Quantity | None = None
    absent: Absent = Absent.HOLD
    last_for: Duration | None = None


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


class SloClass(enum.StrEnum):
    LATENCY_SENSITIVE = "LatencySensitive"
    STANDARD = "Standard"
    BATCH = "Batch"


class LatencyGoal(Spec, frozen=True, kw_only=True):
    """A query for the latency quantile in seconds, and what it should stay under."""

    target: Duration
    query: str = ""


class Slo(Spec, frozen=True, kw_only=True):
    """`violations` is the share of time in which missing the objective is acceptable."""

    class_: SloClass = msgspec.field(name="class", default=SloClass.STANDARD)
    latency: LatencyGoal | None = None
    violations: Quantity | None = None
    parallelism: Quantity | None = None


class Goals(Spec, frozen=True, kw_only=True):
    metrics: tuple[MetricSpec, ...] = ()
    formula: str = ""
    slo: Slo | None = None


class RequestBounds(Spec, frozen=True, kw_only=True):
    min_allowed: dict[str, Quantity] = {}
    max_allowed: dict[str, Quantity] = {}


class GlobalConstraints(Spec, frozen=True, kw_only=True):
    min_replicas: Count | None = None
    max_replicas: Positive | None = None
    requests: RequestBounds | None = None


class PodConstraints(Spec, frozen=True, kw_only=True):
    requests: RequestBounds | None = None


class Limits(enum.StrEnum):
    """What happens to limits when requests move."""

    REQUESTS_ONLY = "RequestsOnly"
    KEEP_RATIO = "KeepRatio"
    GUARANTEED = "Guaranteed"


class ContainerConstraints(Spec, frozen=True, kw_only=True):
    """`name` is a container's or `*` for all others."""

    name: str = "*"
    requests: RequestBounds | None = None
    limits: Limits = Limits.REQUESTS_ONLY
    mode: str = "Auto"


class Constraints(Spec, frozen=True, kw_only=True):
    global_: GlobalConstraints | None = msgspec.field(name="global", default=None)
    container_controlled_resources: tuple[str, ...] | None = None
    container: tuple[ContainerConstraints, ...] = ()
    pod: PodConstraints | None = None


class RulePolicy(Spec, frozen=True, kw_only=True):
    type: str
    value: Positive
    period_seconds: Annotated[int, msgspec.Meta(ge=1, le=1800)]


class ScalingRules(Spec, frozen=True, kw_only=True):
    """autoscaling/v2 HPAScalingRules; None means the default of the direction."""

    stabilization_window_seconds: Annotated[int, msgspec.Meta(ge=0, le=3600)] | None = None
    select_policy: str | None = None
    policies: tuple[RulePolicy, ...] | None = None
    tolerance: Quantity | None = None


class Behavior(Spec, frozen=True, kw_only=True):
    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None


class UpdateMode(enum.StrEnum):
    OFF = "Off"
    RECOMMEND = "Recommend"
    INITIAL = "Initial"
    AUTO = "Auto"


class ResizeMode(enum.StrEnum):
    IN_PLACE = "InPlace"
    IN_PLACE_OR_RECREATE = "InPlaceOrRecreate"
    RECREATE = "Recreate"
    ON_RESTART = "OnRestart"


class Switch(enum.StrEnum):
    AUTO = "Auto"
    OFF = "Off"


class Schedule(Spec, frozen=True, kw_only=True):
    """From each time that the cron line names, for `duration`, these bounds hold."""

    name: Name
    schedule: Name
    duration: Duration
    time_zone: str = "UTC"
    min_replicas: Count | None = None
    max_replicas: Positive | None = None


class Pause(Spec, frozen=True, kw_only=True):
    up: bool = False
    down: bool = False
    until: str = ""


class ActionRules(Spec, frozen=True, kw_only=True):
    """The `policy` part of an mpa: who acts, with which engine, how."""

    update_mode: UpdateMode = UpdateMode.RECOMMEND
    engine: str = "joint"
    resize: ResizeMode = ResizeMode.IN_PLACE_OR_RECREATE
    behavior: Behavior | None = None
    schedules: tuple[Schedule, ...] = ()
    forecast: Switch = Switch.AUTO
    pause: Pause = Pause()
    take_over: bool = False
    params: dict[str, Any] = {}
    """Parameters of the engine, checked against its own `Params`."""


class MpaSpec(Spec, frozen=True, kw_only=True):
    scale_target_ref: TargetRef
    goals: Goals = Goals()
    constraints: Constraints = Constraints()
    policy: ActionRules = ActionRules()


class MultidimPodAutoscaler(msgspec.Struct, frozen=True, kw_only=True):
    """How one workload scales; `where` is the file or object it came from."""

    namespace: str
    name: str
    spec: MpaSpec
    where: str = ""


class WorkloadScope(Spec, frozen=True, kw_only=True):
    namespace_selector: Selector | None = None
    label_selector: Selector | None = None


class PolicyDefaults(Spec, frozen=True, kw_only=True):
    goals: Goals = Goals()
    constraints: Constraints = Constraints()
    policy: ActionRules = ActionRules()


class Money(Spec, frozen=True, kw_only=True):
    per_day: Quantity | None = None
    on_exceed: str = "Alert"


class Headroom(Spec, frozen=True, kw_only=True):
    """`quantile` of the forecast error to keep free; `nodes` is Pooled, Balloons or Off."""

    quantile: Quantity = Quantity("0.95")
    nodes: str = "Pooled"


class Objective(Spec, frozen=True, kw_only=True):
    money: Money = Money()
    headroom: Headroom = Headroom()


class BudgetWindow(Spec, frozen=True, kw_only=True):
    """How many nodes and pods may be disrupted at once; absolute or a percentage."""

    nodes: str = "10%"
    pods: str = "5%"
    reasons: tuple[str, ...] = ()
    schedule: str = ""
    duration: Duration | None = None


class Disruption(Spec, frozen=True, kw_only=True):
    budgets: tuple[BudgetWindow, ...] = (BudgetWindow(),)
    min_savings_per_eviction: Quantity = Quantity("0.002")


class Signals(Spec, frozen=True, kw_only=True):
    stale_after: Duration = Duration(90.0)
    absent: Absent = Absent.HOLD
    min_coverage: Quantity = Quantity("0.8")


class NodeEngine(enum.StrEnum):
    JOINT = "joint"
    CLUSTER_AUTOSCALER = "cluster-autoscaler"
    KARPENTER = "karpenter"
    NONE = "none"


class Consolidation(enum.StrEnum):
    JOINT = "Joint"
    BALANCED = "Balanced"
    WHEN_EMPTY = "WhenEmpty"
    OFF = "Off"


class SpotRules(Spec, frozen=True, kw_only=True):
    max_share: Quantity = Quantity("1")
    on_demand_base: Count = 0


class NodeRules(Spec, frozen=True, kw_only=True):
    engine: NodeEngine = NodeEngine.JOINT
    consolidation: Consolidation = Consolidation.JOINT
    spot: SpotRules = SpotRules()
    limits: dict[str, Quantity] = {}


class ScalingPolicySpec(Spec, frozen=True, kw_only=True):
    workloads: WorkloadScope = WorkloadScope()
    mode: UpdateMode = UpdateMode.RECOMMEND
    defaults: PolicyDefaults = PolicyDefaults()
    objective: Objective = Objective()
    disruption: Disruption = Disruption()
    signals: Signals = Signals()
    nodes: NodeRules = NodeRules()


class ScalingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults and guard rails for the workloads in its scope."""

    name: str
    spec: ScalingPolicySpec
    where: str = ""


class NodeGroupSize(Spec, frozen=True, kw_only=True):
    min: Count = 0
    max: Count = 1000


class GroupRequirement(Spec, frozen=True, kw_only=True):
    key: str
    operator: str
    values: tuple[str, ...] = ()
    min_values: Positive | None = None


class GroupTaint(Spec, frozen=True, kw_only=True):
    key: str
    effect: str
    value: str = ""


class GroupTemplate(Spec, frozen=True, kw_only=True):
    labels: dict[str, str] = {}
    taints: tuple[GroupTaint, ...] = ()


class GroupPrice(Spec, frozen=True, kw_only=True):
    adjustment: str = ""
    per_type: dict[str, Quantity] = {}


class GroupMatch(Spec, frozen=True, kw_only=True):
    tags: dict[str, str] = {}
    asg: str = ""
    nodegroup: str = ""
    mig: str = ""
    node_pool: str = ""
    launch: str = ""


class Backend(Spec, frozen=True, kw_only=True):
    kind: str
    ref: TargetRef


class NodeGroupSpec(Spec, frozen=True, kw_only=True):
    provider: str
    match: GroupMatch = GroupMatch()
    size: NodeGroupSize = NodeGroupSize()
    requirements: tuple[GroupRequirement, ...] = ()
    capacity_types: tuple[str, ...] = ("on-demand",)
    template: GroupTemplate = GroupTemplate()
    price: GroupPrice = GroupPrice()
    weight: Count = 0
    backend: Backend | None = None


class NodeGroupPolicy(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    spec: NodeGroupSpec
    where: str = ""


class TenantNamespaces(Spec, frozen=True, kw_only=True):
    selector: Selector = Selector()


class TenantQuota(Spec, frozen=True, kw_only=True):
    mode: UpdateMode = UpdateMode.RECOMMEND
    floor: dict[str, Quantity] = {}
    ceiling: dict[str, Quantity] = {}
    from_: dict[str, Any] = msgspec.field(name="from", default={})


class TenantOnboarding(Spec, frozen=True, kw_only=True):
    limit_range: dict[str, Any] = {}
    resource_quota: dict[str, Any] = {}


class TenantSpec(Spec, frozen=True, kw_only=True):
    namespaces: TenantNamespaces
    weight: Positive = 1
    budget: Money = Money()
    quota: TenantQuota | None = None
    onboarding: TenantOnboarding | None = None
    charge_to: str = ""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """Namespaces that belong together."""

    name: str
    spec: TenantSpec
    where: str = ""


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """All documents in force, in name order."""

    mpas: tuple[MultidimPodAutoscaler, ...] = ()
    scaling: tuple[ScalingPolicy, ...] = ()
    node_groups: tuple[NodeGroupPolicy, ...] = ()
    tenants: tuple[Tenant, ...] = ()
