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
    """
    The `policy` part of an mpa: who acts, with which engine, how.

    None takes the ScalingPolicy's default, and where that has none either:
    Recommend, joint, InPlaceOrRecreate, Auto.
    """

    update_mode: UpdateMode | None = None
    engine: str | None = None
    resize: ResizeMode | None = None
    behavior: Behavior | None = None
    schedules: tuple[Schedule, ...] = ()
    forecast: Switch | None = None
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
