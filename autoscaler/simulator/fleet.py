"""
One service's standing in the world: what its controller wants, what a new pod of it looks like.

Names, labels and selectors follow what a Deployment's ReplicaSet would make of
them, with serial numbers for random suffixes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import msgspec

from autoscaler.errors import InputError
from autoscaler.model.placement import Affinity, LabelSelector, PodTerm, labels_of
from autoscaler.model.pod import Container, PodShape, ShapeInterner
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.simulator.spec import Service


class Fleet:
    """
    A workload as its controller sees it.

    `version` counts roll-outs; `work_factor`, `memory_factor` and
    `leak_per_second` hold for pods of the present version only.
    """

    def __init__(self, index: int, service: Service, interner: ShapeInterner) -> None:
        self.index = index
        self.service = service
        self.key = service.key
        self.replicas = service.replicas
        self.version = 1
        self.work_factor = 1.0
        self.memory_factor = 1.0
        self.leak_per_second = service.leak_bytes_per_hour / 3600
        self.changed_at = 0.0
        self.selector = LabelSelector(match_labels=labels_of({"app": service.name}))
        self._interner = interner
        self._created = 0
        self._ordinals: set[int] = set()
        self._resources = (service.pod_requests, service.pod_limits)
        self.template = self._shape()

    @property
    def revision(self) -> str:
        """Eight bits of what a pod-template hash would be, and as stable."""
        return f"{zlib.crc32(f'{self.key}/{self.version}'.encode()) & 0xFFFF:04x}"

    @property
    def is_stateful(self) -> bool:
        return self.service.kind == "StatefulSet"

    def roll_out(self, *, work_factor: float, memory_factor: float, leak_per_second: float, now: float) -> None:
        """Make a new version that differs in what it needs; old pods are replaced by and by."""
        self.version += 1
        self.work_factor, self.memory_factor, self.leak_per_second = work_factor, memory_factor, leak_per_second
        self.changed_at = now
        self.template = self._shape()

    def resize(self, sizes: Sequence[ContainerSize]) -> None:
        """
        Change what new pods ask for; running pods stay as they are.

        Raises:
            InputError: a request would be above its limit, which the API refuses.
        """
        container = resized(self.key, self.template.containers[0], sizes)
        self._resources = (container.requests, container.limits)
        self.template = self._shape()

    def restore_size(self) -> None:
        """Let new pods ask for what they did at first; running pods stay as they are."""
        self._resources = (self.service.pod_requests, self.service.pod_limits)
        self.template = self._shape()

    def next_name(self) -> str:
        """Name a new pod: the lowest free ordinal for a StatefulSet, else a serial number."""
        if self.is_stateful:
            ordinal = next(number for number in range(len(self._ordinals) + 1) if number not in self._ordinals)
            self._ordinals.add(ordinal)
            return f"{self.service.name}-{ordinal}"
        self._created += 1
        return f"{self.service.name}-{self.revision}-{self._created:05d}"

    def forget_name(self, name: str) -> None:
        if self.is_stateful:
            self._ordinals.discard(ordinal_of(name))

    def max_unavailable(self) -> int | None:
        """Return how many pods the PodDisruptionBudget lets be missing (percentages round up), None without one."""
        text = self.service.max_unavailable
        if not text:
            return None
        if text.endswith("%"):
            return math.ceil(self.replicas * float(text[:-1]) / 100 - 1e-9)
        return int(text)

    def _shape(self) -> PodShape:
        service = self.service
        labels = {"app": service.name}
        if not self.is_stateful:
            labels["pod-template-hash"] = self.revision
        requests, limits = self._resources
        anti = tuple(PodTerm(topology_key=key, selector=self.selector) for key in service.anti_affinity)
        spread = tuple(
            each if each.selector is not None else msgspec.structs.replace(each, selector=self.selector)
            for each in service.spread
        )
        return self._interner.intern(
            PodShape(
                namespace=service.namespace,
                labels=labels_of(labels),
                containers=(Container(name=service.container, requests=requests, limits=limits),),
                node_selector=service.node_selector,
                affinity=Affinity(pod_anti_required=anti),
                tolerations=service.tolerations,
                spread=spread,
                priority=service.priority,
                owner_kind="StatefulSet" if self.is_stateful else "ReplicaSet",
            )
        )


def resized(where: str, container: Container, sizes: Sequence[ContainerSize]) -> Container:
    """Return the container with the sizes for it put in force; raises InputError as `Fleet.resize`."""
    requests, limits = container.requests, container.limits
    for size in sizes:
        if size.container not in (container.name, "*"):
            raise InputError(where, "containers", size.container, container.name)
        requests = Resources.of({**dict(requests.items()), **dict(size.target.items())})
        if size.limits is not None:
            limits = Resources.of({**dict(limits.items()), **dict(size.limits.items())})
    for name, amount in requests.items():
        if amount < 0 or (limits.has(name) and amount > limits.get(name)):
            allowed = f"0 to the limit, {limits.get(name)}" if limits.has(name) else "at least 0"
            raise InputError(where, f"containers[{container.name}].requests.{name}", amount, allowed)
    return msgspec.structs.replace(container, requests=requests, limits=limits)


def ordinal_of(name: str) -> int:
    return int(name.rsplit("-", 1)[1])
