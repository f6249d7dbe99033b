"""Pods: what they ask for (a shared shape) and where each one stands."""

from __future__ import annotations

import enum

import msgspec

from autoscaler.model.placement import (
    NO_AFFINITY,
    Affinity,
    HostPort,
    Labels,
    NodeSelectorTerm,
    Toleration,
    TopologySpread,
)
from autoscaler.model.resources import NOTHING, Resources


class Phase(enum.StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


_ENDED = (Phase.SUCCEEDED, Phase.FAILED)
"""A name of its own: looking members up in an enum is slow, and clusters have many pods."""


class Container(msgspec.Struct, frozen=True, gc=False, cache_hash=True, kw_only=True):
    """
    One container of a pod's spec. A resource absent from `requests` has no request.

    `restart_always` marks an init container as a native sidecar.
    `resize_restarts` names resources whose in-place resize restarts the container.
    """

    name: str
    requests: Resources = NOTHING
    limits: Resources = NOTHING
    ports: tuple[HostPort, ...] = ()
    restart_always: bool = False
    resize_restarts: tuple[str, ...] = ()


class PodShape(msgspec.Struct, frozen=True, gc=False, cache_hash=True, kw_only=True):
    """
    Everything about a pod that the scheduler or the sizing reads and that its
    siblings share. Equal shapes are one object: see `ShapeInterner`.

    `pod_requests` and `pod_limits` are pod-level resources (None: not set).
    `claims` names PersistentVolumeClaims in the pod's namespace. `volume_terms`
    is what a decision works out of them: for each volume that is tied to places
    the terms of which one must hold for a node's labels. `device_claims` counts
    the claims for devices (dynamic resource allocation).
    """

    namespace: str
    labels: Labels = ()
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    overhead: Resources = NOTHING
    pod_requests: Resources | None = None
    pod_limits: Resources | None = None
    node_selector: Labels = ()
    affinity: Affinity = NO_AFFINITY
    tolerations: tuple[Toleration, ...] = ()
    spread: tuple[TopologySpread, ...] = ()
    node_name: str = ""
    priority: int = 0
    preemption_policy: str = "PreemptLowerPriority"
    owner_kind: str = ""
    claims: tuple[str, ...] = ()
    volume_terms: tuple[tuple[NodeSelectorTerm, ...], ...] = ()
    local_storage: bool = False
    gated: bool = False
    device_claims: int = 0


class ReadyCondition(msgspec.Struct, frozen=True, gc=False):
    """The pod's Ready condition; `status` is True, False or Unknown, as text."""

    status: str
    since: float


class ContainerStatus(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Resources in force: `allocated` by the kubelet, `actual` in the running container."""

    name: str
    allocated: Resources | None = None
    actual: Resources | None = None


class Resize(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    An in-place resize under way. `state` is "", Deferred, Infeasible or InProgress.

    `pod_allocated` and `pod_actual` are the pod-level sums, None where not reported.
    """

    state: str = ""
    since: float = 0.0
    containers: tuple[ContainerStatus, ...] = ()
    pod_allocated: Resources | None = None
    pod_actual: Resources | None = None


class Termination(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How a container last ended."""

    container: str
    reason: str
    started_at: float
    finished_at: float


class DrainTraits(msgspec.Struct, frozen=True, gc=False, cache_hash=True, kw_only=True):
    """
    What else has a say in whether a pod may leave its node.

    `safe_to_evict` is the text of Cluster Autoscaler's annotation of that
    name; `daemon` tells that another one makes it count as a DaemonSet's.
    `owner_group` is the API group of its controller, "" for the core's.
    """

    safe_to_evict: str = ""
    daemon: bool = False
    mirror: bool = False
    restart_policy: str = "Always"
    grace_seconds: int = 30
    owner_group: str = ""


PLAIN_TRAITS = DrainTraits()


class Pod(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    One pod. `workload` is the key of the workload that owns it, "" for none;
    `node` is "" while pending. Times are seconds since the epoch, None if not set.

    `do_not_evict` names what forbids eviction (an annotation), "" if nothing does.
    `nominated_node` is where the scheduler makes room for a pending pod, "" for nowhere.
    """

    name: str
    shape: PodShape
    uid: str = ""
    workload: str = ""
    node: str = ""
    nominated_node: str = ""
    phase: Phase = Phase.RUNNING
    created_at: float = 0.0
    started_at: float | None = None
    ready: ReadyCondition | None = None
    deleted_at: float | None = None
    unschedulable_since: float | None = None
    do_not_evict: str = ""
    drain: DrainTraits = PLAIN_TRAITS
    deletion_cost: int = 0
    restarts: int = 0
    resize: Resize | None = None
    terminations: tuple[Termination, ...] = ()

    @property
    def namespace(self) -> str:
        return self.shape.namespace

    @property
    def key(self) -> str:
        """`namespace/name`, unique in a cluster."""
        return f"{self.shape.namespace}/{self.name}"

    @property
    def is_ready(self) -> bool:
        return self.phase is Phase.RUNNING and self.ready is not None and self.ready.status == "True"

    @property
    def is_active(self) -> bool:
        """Neither ended nor being deleted."""
        return self.deleted_at is None and self.phase not in _ENDED


class ShapeInterner:
    """
    Gives equal shapes one object, so that classes can be told by identity.

    Local to one adapter; it forgets nothing, so make a new one at a re-list.
    """

    def __init__(self) -> None:
        self._shapes: dict[PodShape, PodShape] = {}

    def __len__(self) -> int:
        return len(self._shapes)

    def intern(self, shape: PodShape) -> PodShape:
        return self._shapes.setdefault(shape, shape)
