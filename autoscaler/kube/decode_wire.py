"""
The API objects' fields that are used, as Kubernetes writes them.

Only the decode modules import this one. Unknown fields are skipped; null is
the same as absent. Sources: k8s.io/api core/v1, apps/v1, batch/v1, policy/v1,
storage/v1.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from autoscaler.model.placement import Effect, Operator

Quantity = str | int | float
Quantities = dict[str, Quantity]
Strings = dict[str, str]


class Wire(msgspec.Struct, rename="camel", gc=False):
    """Base of all: camel case outside, nothing required but names."""


class OwnerReference(Wire):
    kind: str
    name: str
    api_version: str = ""
    uid: str = ""
    controller: bool | None = None


class Metadata(Wire):
    name: str = ""
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    labels: Strings | None = None
    annotations: Strings | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    generation: int | None = None
    owner_references: list[OwnerReference] | None = None


class Any(Wire):
    """What every object has."""

    kind: str = ""
    api_version: str = ""
    metadata: Metadata = msgspec.field(default_factory=Metadata)


class SelectorRequirement(Wire):
    key: str
    operator: Operator
    values: list[str] | None = None


class Selector(Wire):
    match_labels: Strings | None = None
    match_expressions: list[SelectorRequirement] | None = None


class NodeTerm(Wire):
    match_expressions: list[SelectorRequirement] | None = None
    match_fields: list[SelectorRequirement] | None = None


class NodeSelector(Wire):
    node_selector_terms: list[NodeTerm] | None = None


class PreferredNodeTerm(Wire):
    weight: int
    preference: NodeTerm


class NodeAffinity(Wire):
    required: NodeSelector | None = msgspec.field(default=None, name="requiredDuringSchedulingIgnoredDuringExecution")
    preferred: list[PreferredNodeTerm] | None = msgspec.field(
        default=None, name="preferredDuringSchedulingIgnoredDuringExecution"
    )


class PodTerm(Wire):
    topology_key: str
    label_selector: Selector | None = None
    namespaces: list[str] | None = None
    namespace_selector: Selector | None = None
    match_label_keys: list[str] | None = None
    mismatch_label_keys: list[str] | None = None


class PreferredPodTerm(Wire):
    weight: int
    pod_affinity_term: PodTerm


class PodAffinity(Wire):
    required: list[PodTerm] | None = msgspec.field(default=None, name="requiredDuringSchedulingIgnoredDuringExecution")
    preferred: list[PreferredPodTerm] | None = msgspec.field(
        default=None, name="preferredDuringSchedulingIgnoredDuringExecution"
    )


class Affinity(Wire):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class Toleration(Wire):
    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


class SpreadConstraint(Wire):
    max_skew: int
    topology_key: str
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: Selector | None = None
    min_domains: int | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
    match_label_keys: list[str] | None = None


class ResourceAmounts(Wire):
    requests: Quantities | None = None
    limits: Quantities | None = None


class Port(Wire):
    container_port: int = 0
    host_port: int | None = None
    protocol: str | None = None
    host_ip: str | None = msgspec.field(default=None, name="hostIP")


class ResizePolicy(Wire):
    resource_name: str
    restart_policy: str


class Container(Wire):
    name: str
    resources: ResourceAmounts | None = None
    ports: list[Port] | None = None
    restart_policy: str | None = None
    resize_policy: list[ResizePolicy] | None = None


class ClaimSource(Wire):
    claim_name: str


class EmptyDir(Wire):
    medium: str | None = None


class Volume(Wire):
    """`host_path` and `ephemeral` matter by their presence only."""

    name: str
    persistent_volume_claim: ClaimSource | None = None
    empty_dir: EmptyDir | None = None
    host_path: dict[str, object] | None = None
    ephemeral: dict[str, object] | None = None


class SchedulingGate(Wire):
    name: str


class DeviceClaim(Wire):
    name: str


class PodSpec(Wire):
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    node_name: str | None = None
    node_selector: Strings | None = None
    affinity: Affinity | None = None
    tolerations: list[Toleration] | None = None
    topology_spread_constraints: list[SpreadConstraint] | None = None
    overhead: Quantities | None = None
    resources: ResourceAmounts | None = None
    priority: int | None = None
    priority_class_name: str | None = None
    preemption_policy: str | None = None
    host_network: bool | None = None
    volumes: list[Volume] | None = None
    scheduling_gates: list[SchedulingGate] | None = None
    resource_claims: list[DeviceClaim] | None = None
    restart_policy: str | None = None
    termination_grace_period_seconds: int | None = None


class Condition(Wire):
    type: str
    status: str = "Unknown"
    reason: str | None = None
    last_transition_time: datetime | None = None


class Terminated(Wire):
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(Wire):
    terminated: Terminated | None = None


class ContainerStatus(Wire):
    name: str
    restart_count: int = 0
    state: ContainerState | None = None
    last_state: ContainerState | None = None
    allocated_resources: Quantities | None = None
    resources: ResourceAmounts | None = None


class PodStatus(Wire):
    phase: str | None = None
    conditions: list[Condition] | None = None
    start_time: datetime | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    allocated_resources: Quantities | None = None
    resources: ResourceAmounts | None = None
    resize: str | None = None
    nominated_node_name: str | None = None


class Pod(Any):
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class Taint(Wire):
    key: str
    effect: Effect
    value: str | None = None
    time_added: datetime | None = None


class NodeSpec(Wire):
    unschedulable: bool | None = None
    taints: list[Taint] | None = None
    provider_id: str | None = msgspec.field(default=None, name="providerID")


class NodeStatus(Wire):
    capacity: Quantities | None = None
    allocatable: Quantities | None = None
    conditions: list[Condition] | None = None


class Node(Any):
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


class PodTemplate(Wire):
    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: PodSpec = msgspec.field(default_factory=PodSpec)


class WorkloadSpec(Wire):
    template: PodTemplate
    replicas: int | None = None
    parallelism: int | None = None
    selector: Selector | None = None


class WorkloadStatus(Wire):
    replicas: int | None = None
    desired_number_scheduled: int | None = None
    current_number_scheduled: int | None = None
    active: int | None = None
    update_revision: str | None = None


class Workload(Any, kw_only=True):
    spec: WorkloadSpec
    status: WorkloadStatus = msgspec.field(default_factory=WorkloadStatus)


class BudgetSpec(Wire):
    selector: Selector | None = None


class BudgetStatus(Wire):
    disruptions_allowed: int | None = None


class Budget(Any):
    spec: BudgetSpec = msgspec.field(default_factory=BudgetSpec)
    status: BudgetStatus = msgspec.field(default_factory=BudgetStatus)


class Hard(Wire):
    hard: Quantities | None = None
    used: Quantities | None = None


class Quota(Any):
    spec: Hard = msgspec.field(default_factory=Hard)
    status: Hard = msgspec.field(default_factory=Hard)


class ServiceSpec(Wire):
    selector: Strings | None = None


class Service(Any):
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)


class ClaimReference(Wire):
    name: str = ""
    namespace: str = ""
    uid: str | None = None


class Csi(Wire):
    driver: str
    volume_handle: str = ""


class VolumeNodeAffinity(Wire):
    required: NodeSelector | None = None


class PersistentVolumeSpec(Wire):
    access_modes: list[str] | None = None
    capacity: Quantities | None = None
    claim_ref: ClaimReference | None = None
    csi: Csi | None = None
    node_affinity: VolumeNodeAffinity | None = None
    storage_class_name: str | None = None
    volume_mode: str | None = None


class Phase(Wire):
    phase: str | None = None


class PersistentVolume(Any):
    spec: PersistentVolumeSpec = msgspec.field(default_factory=PersistentVolumeSpec)
    status: Phase = msgspec.field(default_factory=Phase)


class ClaimSpec(Wire):
    access_modes: list[str] | None = None
    resources: ResourceAmounts | None = None
    selector: Selector | None = None
    storage_class_name: str | None = None
    volume_mode: str | None = None
    volume_name: str | None = None


class Claim(Any):
    spec: ClaimSpec = msgspec.field(default_factory=ClaimSpec)
    status: Phase = msgspec.field(default_factory=Phase)


class TopologyExpression(Wire):
    key: str
    values: list[str] | None = None


class TopologyTerm(Wire):
    match_label_expressions: list[TopologyExpression] | None = None


class StorageClass(Any):
    provisioner: str = ""
    volume_binding_mode: str | None = None
    allowed_topologies: list[TopologyTerm] | None = None


class DriverAllocatable(Wire):
    count: int | None = None


class Driver(Wire):
    name: str
    allocatable: DriverAllocatable | None = None


class CsiNodeSpec(Wire):
    drivers: list[Driver] | None = None


class CsiNode(Any):
    spec: CsiNodeSpec = msgspec.field(default_factory=CsiNodeSpec)


class PriorityClass(Any):
    value: int = 0
    global_default: bool | None = None
    preemption_policy: str | None = None


class LimitRangeItem(Wire):
    type: str = ""
    min: Quantities | None = None
    max: Quantities | None = None


class LimitRangeSpec(Wire):
    limits: list[LimitRangeItem] | None = None


class LimitRange(Any):
    spec: LimitRangeSpec = msgspec.field(default_factory=LimitRangeSpec)


class Document(Any):
    """An object whose parts are kept as they are: of a kind that users write, or one found by discovery."""

    spec: dict[str, object] = {}
    status: dict[str, object] = {}
