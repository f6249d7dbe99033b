"""What owns pods, and what protects them."""

from __future__ import annotations

import msgspec

from autoscaler.model.placement import Labels, LabelSelector
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import NOTHING, Resources


class Workload(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Something with a scale subresource.

    `replicas` is what its spec asks for, `status_replicas` what its status
    reports. `template` is the shape that a pod created now would have.
    `revision` changes with each roll-out. `start_seconds` is the measured time
    from a pod's creation to Ready (90th percentile), 0 when not known.
    `parallelism` is the number of cores one pod can use, 0 when not declared.
    """

    namespace: str
    kind: str
    name: str
    replicas: int
    template: PodShape
    status_replicas: int = 0
    api_version: str = "apps/v1"
    selector: LabelSelector = LabelSelector()
    labels: Labels = ()
    revision: str = ""
    created_at: float = 0.0
    changed_at: float = 0.0
    start_seconds: float = 0.0
    parallelism: float = 0.0
    scalable: bool = True

    @property
    def key(self) -> str:
        """`namespace/Kind/name`, unique in a cluster."""
        return workload_key(self.namespace, self.kind, self.name)


def workload_key(namespace: str, kind: str, name: str) -> str:
    return f"{namespace}/{kind}/{name}"


class DisruptionBudget(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A PodDisruptionBudget. `allowed` is its status: how many of the selected
    pods may be evicted now. `selector` None selects nothing.
    """

    namespace: str
    name: str
    allowed: int
    selector: LabelSelector | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Namespace(msgspec.Struct, frozen=True, gc=False):
    name: str
    labels: Labels = ()


class Quota(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A ResourceQuota: `hard` limits and what is `used`, by quota resource name (`requests.cpu`, `pods`)."""

    namespace: str
    name: str
    hard: Resources
    used: Resources


class LimitRange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A LimitRange's bounds on one container and on one pod of its namespace.

    A resource that is not named has no bound.
    """

    namespace: str
    name: str
    container_min: Resources = NOTHING
    container_max: Resources = NOTHING
    pod_min: Resources = NOTHING
    pod_max: Resources = NOTHING


class Rival(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Another autoscaler's object that acts on a workload, or would if it were not set aside.

    `kind` is HorizontalPodAutoscaler, VerticalPodAutoscaler, ScaledObject or
    MultidimPodAutoscaler (GKE's own). `acts_on` has `replicas`, `requests` or
    both. `owner` is the controller behind it as `Kind/name`, "" for none: a
    ScaledObject's HPA belongs to it. `set_aside` tells that we stopped it.
    """

    namespace: str
    kind: str
    name: str
    workload: str
    acts_on: tuple[str, ...]
    owner: str = ""
    set_aside: bool = False

    @property
    def key(self) -> str:
        """`namespace/Kind/name`, unique in a cluster."""
        return workload_key(self.namespace, self.kind, self.name)
