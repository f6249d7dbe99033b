"""
What a placement question is asked against: nodes with the pods on them.

A context is built once from values and then only read. Derived figures (what
a node has left, host ports in use, placements by class of pod) are made when
first asked for, so that a pod without constraints costs little.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from autoscaler.model.node import Node
from autoscaler.model.placement import HostPort
from autoscaler.model.pod import Phase, Pod, PodShape
from autoscaler.model.resources import CPU, MEMORY, PODS
from autoscaler.model.service import Service
from autoscaler.model.volumes import (
    NO_VOLUMES,
    AttachLimits,
    PersistentVolume,
    StorageClass,
    VolumeClaim,
    Volumes,
)
from autoscaler.model.workload import Namespace, Workload
from autoscaler.scheduling.requests import nonzero_requests, placed_requests
from autoscaler.scheduling.requirements import label_map

WILDCARD_ADDRESS = "0.0.0.0"  # noqa: S104 (an address to compare with, not one to listen on)


class NodeState:
    """One node and the pods on it. Terminating pods count until they are gone, as in the scheduler."""

    __slots__ = ("__dict__", "labels", "node", "pods")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.labels: Mapping[str, str] = label_map(node.labels)
        self.pods: list[Pod] = []

    @property
    def name(self) -> str:
        return self.node.name

    @cached_property
    def allocatable(self) -> Mapping[str, int]:
        """Allocatable amounts by resource name."""
        return dict(self.node.allocatable.items())

    @cached_property
    def requested(self) -> Mapping[str, int]:
        """What the pods take by resource name; `pods` is how many there are."""
        total: dict[str, int] = {}
        for pod in self.pods:
            for name, amount in placed_requests(pod).items():
                total[name] = total.get(name, 0) + amount
        total[PODS] = len(self.pods)
        return total

    @cached_property
    def nonzero(self) -> Mapping[str, int]:
        """Cpu and memory that scoring counts: requests, with defaults where there are none."""
        total = {CPU: 0, MEMORY: 0}
        for pod in self.pods:
            for name, amount in nonzero_requests(pod).items():
                total[name] += amount
        return total

    @cached_property
    def host_ports(self) -> frozenset[tuple[str, str, int]]:
        """(address, protocol, port) in use on the host."""
        return frozenset(host_port for pod in self.pods for host_port in host_ports(pod.shape))


Placements = list[tuple[NodeState, bool]]
"""Where the pods of one class are, one entry a pod; the flag tells that the pod is terminating."""


class SchedulingContext:
    """
    The cluster that pods are to be placed in.

    *pods* may hold pending and ended pods: only those that are on a known node
    and have not ended count. Nodes keep their order of names.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        pods: Iterable[Pod] = (),
        *,
        namespaces: Iterable[Namespace] = (),
        volumes: Volumes = NO_VOLUMES,
        services: Iterable[Service] = (),
        workloads: Iterable[Workload] = (),
    ) -> None:
        self.nodes: Mapping[str, NodeState] = {
            node.name: NodeState(node) for node in sorted(nodes, key=lambda node: node.name)
        }
        for pod in pods:
            state = self.nodes.get(pod.node)
            if state is not None and pod.phase not in (Phase.SUCCEEDED, Phase.FAILED):
                state.pods.append(pod)
        self.namespaces: Mapping[str, Mapping[str, str]] = {each.name: label_map(each.labels) for each in namespaces}
        self.storage = volumes
        self.services = tuple(services)
        self.workloads: Mapping[str, Workload] = {workload.key: workload for workload in workloads}

    @cached_property
    def placements(self) -> Mapping[PodShape, Placements]:
        """Where the pods of each class are."""
        found: dict[PodShape, Placements] = {}
        for state in self.nodes.values():
            for pod in state.pods:
                found.setdefault(pod.shape, []).append((state, pod.deleted_at is not None))
        return found

    @cached_property
    def volumes(self) -> Mapping[str, PersistentVolume]:
        """Persistent volumes by name."""
        return {volume.name: volume for volume in self.storage.volumes}

    @cached_property
    def claims(self) -> Mapping[str, VolumeClaim]:
        """Claims by `namespace/name`."""
        return {claim.key: claim for claim in self.storage.claims}

    @cached_property
    def classes(self) -> Mapping[str, StorageClass]:
        """Storage classes by name."""
        return {each.name: each for each in self.storage.classes}

    @cached_property
    def attach_limits(self) -> Mapping[str, AttachLimits]:
        """Attach limits by node."""
        return {each.node: each for each in self.storage.attach_limits}

    @cached_property
    def claims_in_use(self) -> frozenset[str]:
        """Keys of the claims that pods on nodes use."""
        return frozenset(
            f"{shape.namespace}/{name}" for shape, placed in self.placements.items() if placed for name in shape.claims
        )


def host_ports(shape: PodShape) -> tuple[tuple[str, str, int], ...]:
    """
    Return (address, protocol, port) that a pod takes on its host.

    Containers and sidecars hold their ports for the pod's life; ordinary init
    containers do not count (kube-scheduler `util/utils.go`, GetHostPorts).
    """
    lasting = shape.containers + tuple(container for container in shape.init_containers if container.restart_always)
    return tuple(_normal(port) for container in lasting for port in container.ports if port.port > 0)


def ports_conflict(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    """Tell whether two host ports collide: same protocol and number, and the same or a wildcard address."""
    if one[1:] != other[1:]:
        return False
    return one[0] == other[0] or WILDCARD_ADDRESS in (one[0], other[0])


def _normal(port: HostPort) -> tuple[str, str, int]:
    return port.host_ip or WILDCARD_ADDRESS, port.protocol or "TCP", port.port
