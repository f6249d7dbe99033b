"""What owns pods, and what protects them."""

from __future__ import annotations

import msgspec

from autoscaler.model.placement import Labels, LabelSelector
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import Resources


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
