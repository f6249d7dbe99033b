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
from typing import Any

import msgspec

from autoscaler.model.spec import (
    Absent,
    Behavior,
    Count,
    Duration,
    MetricSpec,
    Name,
    Positive,
    Quantity,
    Selector,
    Spec,
    TargetRef,
)


class SloClass(enum.StrEnum):
    LATENCY_SENSITIVE = "LatencySensitive"
    STANDARD = "Standard"
    BATCH = "Batch"


class LatencyGoal(Spec, frozen=True, kw_only=True):
    """A query for the latency quantile in seconds, and what it should stay under."""

    target: Duration
    """What the latency should stay under."""
    query: str = ""
    """PromQL for the latency in seconds; the class's own objective if not given."""


class Slo(Spec, frozen=True, kw_only=True):
    """`violations` is the share of time in which missing the objective is acceptable."""

    class_: SloClass = msgspec.field(name="class", default=SloClass.STANDARD)
    """How much slower than on an idle pod a request may be: 3, 4 or 20 times."""
    latency: LatencyGoal | None = None
    violations: Quantity | None = None
    """Share of time in which missing the objective is acceptable."""
    parallelism: Quantity | None = None
    """Cores that one pod can use, where that is known."""


class Goals(Spec, frozen=True, kw_only=True):
    metrics: tuple[MetricSpec, ...] = ()
    """HPA's metrics, and Prometheus; the one that asks for most replicas counts."""
    formula: str = ""
    """Arithmetic over named metrics, such as `max(requests, queue * 0.8)`."""
    slo: Slo | None = None


class RequestBounds(Spec, frozen=True, kw_only=True):
    min_allowed: dict[str, Quantity] = {}
    """Lowest request by resource."""
    max_allowed: dict[str, Quantity] = {}
    """Highest request by resource."""


class GlobalConstraints(Spec, frozen=True, kw_only=True):
    min_replicas: Count | None = None
    max_replicas: Positive | None = None
    requests: RequestBounds | None = None
    """Bounds on the requests of each container, for resources that its own rule does not name."""


class PodConstraints(Spec, frozen=True, kw_only=True):
    requests: RequestBounds | None = None
    """Bounds on the requests of one pod."""


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
    """What happens to limits when requests move."""
    mode: str = "Auto"
    """`Off` leaves this container alone."""


class Constraints(Spec, frozen=True, kw_only=True):
    global_: GlobalConstraints | None = msgspec.field(name="global", default=None)
    """Bounds on the workload as a whole."""
    container_controlled_resources: tuple[str, ...] | None = None
    """Resources whose requests may be changed: cpu, memory. GKE allows memory only."""
    container: tuple[ContainerConstraints, ...] = ()
    """Bounds by container."""
    pod: PodConstraints | None = None


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
    """A cron line: when it begins."""
    duration: Duration
    """For how long it holds."""
    time_zone: str = "UTC"
    """A name of the IANA database."""
    min_replicas: Count | None = None
    max_replicas: Positive | None = None


class Pause(Spec, frozen=True, kw_only=True):
    up: bool = False
    """Do not grow."""
    down: bool = False
    """Do not shrink."""
    until: str = ""
    """When the pause ends, RFC 3339; never if not given."""


class ActionRules(Spec, frozen=True, kw_only=True):
    """
    The `policy` part of an mpa: who acts, with which engine, how.

    None takes the ScalingPolicy's default, and where that has none either:
    Recommend, joint, InPlaceOrRecreate, Auto.
    """

    update_mode: UpdateMode | None = None
    """Off | Recommend | Initial | Auto; the policy's `mode` is the most it may do."""
    engine: str | None = None
    """joint, hpa, vpa, hpa+vpa, hpa+season, mpa, keda, phpa, krr, crane or a plug-in's name."""
    resize: ResizeMode | None = None
    """How running pods get new sizes."""
    behavior: Behavior | None = None
    """HPA's, unchanged."""
    schedules: tuple[Schedule, ...] = ()
    """Bounds on replicas at certain times."""
    forecast: Switch | None = None
    """Off uses no forecast."""
    pause: Pause = Pause()
    take_over: bool = False
    """Act although an HPA or VPA also targets this workload."""
    params: dict[str, Any] = {}
    """Parameters of the engine, checked against its own `Params`."""


class MpaSpec(Spec, frozen=True, kw_only=True):
    scale_target_ref: TargetRef
    """The workload."""
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
    """By the namespaces' labels; empty selects all, absent only workloads with a document of their own."""
    label_selector: Selector | None = None
    """By the workloads' labels."""


class PolicyDefaults(Spec, frozen=True, kw_only=True):
    goals: Goals = Goals()
    constraints: Constraints = Constraints()
    policy: ActionRules = ActionRules()


class Money(Spec, frozen=True, kw_only=True):
    per_day: Quantity | None = None
    """US dollars a day."""
    on_exceed: str = "Alert"
    """Alert only tells; Degrade stops growth, by priority."""


class Headroom(Spec, frozen=True, kw_only=True):
    """`quantile` of the forecast error to keep free; `nodes` is Pooled, Balloons or Off."""

    quantile: Quantity = Quantity("0.95")
    """Share of forecast errors that room is kept for."""
    nodes: str = "Pooled"
    """Pooled keeps room for all together; Balloons with placeholder pods; Off none."""


class Objective(Spec, frozen=True, kw_only=True):
    money: Money = Money()
    headroom: Headroom = Headroom()


class BudgetWindow(Spec, frozen=True, kw_only=True):
    """How many nodes and pods may be disrupted at once; absolute or a percentage."""

    nodes: str = "10%"
    """A count or a percentage."""
    pods: str = "5%"
    """A count or a percentage."""
    reasons: tuple[str, ...] = ()
    """What it is for; everything if not given."""
    schedule: str = ""
    """A cron line: when it begins to hold; always if not given."""
    duration: Duration | None = None
    """For how long it holds."""


class Disruption(Spec, frozen=True, kw_only=True):
    budgets: tuple[BudgetWindow, ...] = (BudgetWindow(),)
    """All hold at once."""
    min_savings_per_eviction: Quantity = Quantity("0.002")
    """US dollars an hour that each pod moved must save."""


class Signals(Spec, frozen=True, kw_only=True):
    stale_after: Duration = Duration(90.0)
    """A metric older than this is missing."""
    absent: Absent = Absent.HOLD
    """What a missing metric means."""
    min_coverage: Quantity = Quantity("0.8")
    """Share of the pods that must have been measured."""


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
    """Share of the cores that may be on spot nodes."""
    on_demand_base: Count = 0
    """Nodes that are always on demand."""


class NodeRules(Spec, frozen=True, kw_only=True):
    engine: NodeEngine = NodeEngine.JOINT
    """Who decides on nodes; `none`: another system does."""
    consolidation: Consolidation = Consolidation.JOINT
    """When nodes are removed or replaced."""
    consolidate_after: Duration = Duration("1m")
    """How long an empty node stays; twice as long none goes after growth, five times passes between repacks."""
    spot: SpotRules = SpotRules()
    limits: dict[str, Quantity] = {}
    """Most of each resource over all nodes."""
    params: dict[str, Any] = {}
    """Parameters of the engine under its own names, checked against what it takes."""


class ScalingPolicySpec(Spec, frozen=True, kw_only=True):
    workloads: WorkloadScope = WorkloadScope()
    """Which workloads it governs."""
    mode: UpdateMode = UpdateMode.RECOMMEND
    """The most that a document under it may do."""
    defaults: PolicyDefaults = PolicyDefaults()
    """What documents under it leave out."""
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
    """A share such as `-28%`, or US dollars an hour."""
    per_type: dict[str, Quantity] = {}
    """US dollars an hour by instance type."""


class GroupMatch(Spec, frozen=True, kw_only=True):
    tags: dict[str, str] = {}
    """Cloud tags that select groups."""
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
    """Which groups of the cloud, by tag or by one name."""
    size: NodeGroupSize = NodeGroupSize()
    requirements: tuple[GroupRequirement, ...] = ()
    """On instance types and nodes, in Karpenter's form."""
    capacity_types: tuple[str, ...] = ("on-demand",)
    template: GroupTemplate = GroupTemplate()
    price: GroupPrice = GroupPrice()
    weight: Count = 0
    """Higher is preferred among equally cheap ones."""
    backend: Backend | None = None
    """Another object to edit instead of calling the cloud."""


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
    """quantile, days and margin of the use it is proposed from."""


class TenantOnboarding(Spec, frozen=True, kw_only=True):
    limit_range: dict[str, Any] = {}
    resource_quota: dict[str, Any] = {}


class TenantSpec(Spec, frozen=True, kw_only=True):
    namespaces: TenantNamespaces
    weight: Positive = 1
    """Share when money is short."""
    budget: Money = Money()
    quota: TenantQuota | None = None
    onboarding: TenantOnboarding | None = None
    charge_to: str = ""
    """Label on the bill."""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """Namespaces that belong together."""

    name: str
    spec: TenantSpec
    where: str = ""


class InvalidPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """
    A document that cannot be used. What it governs is held: it must not fall to a wider document.

    `target` is the workload of an mpa, `workloads` the scope of a ScalingPolicy,
    each None where not even that can be read. `namespace` is "" for what
    belongs to the cluster.
    """

    kind: str
    name: str
    message: str
    namespace: str = ""
    target: TargetRef | None = None
    workloads: WorkloadScope | None = None

    @property
    def title(self) -> str:
        """What the document is called in messages."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """All documents in force, in name order, and those that are not in force because they are wrong."""

    mpas: tuple[MultidimPodAutoscaler, ...] = ()
    scaling: tuple[ScalingPolicy, ...] = ()
    node_groups: tuple[NodeGroupPolicy, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    invalid: tuple[InvalidPolicy, ...] = ()
