"""
How many volumes a node can attach, as amounts of resources: what planners count like any other room.

A CSI driver states for each node how many volumes it can attach (CSINode).
For planners that is a resource of the node, and each volume that a pod brings
to a node asks for one of it. The name is the one that kube-scheduler gave
such limits. A node whose driver states none can attach any number; a new node
can attach what nodes of its group can, else what nodes of its instance type
can, else any number.

`volumes.limits_on_node` is the exact rule. This is stricter in one case: a pod
that waits is charged for a volume that a pod on the node has attached already.

Source: kube-scheduler v1.37 `framework/plugins/nodevolumelimits/csi.go`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter

from msgspec.structs import replace

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.pod import Phase, Pod, PodShape
from autoscaler.model.resources import ATTACHMENTS_PREFIX, Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.volumes import attachments

NO_LIMIT = 1_000_000
"""More volumes than any node has pods for."""

_ENDED = (Phase.SUCCEEDED, Phase.FAILED)
Limits = Mapping[str, Mapping[str, int]]
"""By node or group, then by driver."""


def with_attach_limits(snapshot: ClusterSnapshot, context: SchedulingContext) -> ClusterSnapshot:
    """Return *snapshot* with attach limits as resources of nodes and groups, and volumes as demand of pods."""
    of_nodes: Limits = {each.node: dict(each.limits) for each in snapshot.volumes.attach_limits}
    drivers = frozenset(driver for limits in of_nodes.values() for driver in limits)
    pods = _charged(snapshot.pods, drivers, context) if drivers else snapshot.pods
    if pods is snapshot.pods:
        return snapshot
    of_groups = _least(snapshot.nodes, of_nodes, attrgetter("group"))
    of_types = _least(snapshot.nodes, of_nodes, attrgetter("instance_type"))
    return replace(
        snapshot,
        pods=pods,
        nodes=tuple(_limited(node, of_nodes.get(node.name, {}), drivers) for node in snapshot.nodes),
        node_groups=tuple(
            _grown(group, of_groups.get(group.name) or of_types.get(group.template.instance_type, {}), drivers)
            for group in snapshot.node_groups
        ),
    )


def _charged(pods: tuple[Pod, ...], drivers: frozenset[str], context: SchedulingContext) -> tuple[Pod, ...]:
    """Charge each pod for its volumes; of pods on one node only the first for a volume that they share."""
    on_node: dict[str, set[tuple[str, str]]] = {}
    charged = list(pods)
    found = False
    for position, pod in enumerate(pods):
        if not pod.shape.claims or pod.phase in _ENDED:
            continue
        new = attachments(pod.shape, context)
        if pod.node:
            there = on_node.setdefault(pod.node, set())
            new -= there
            there |= new
        counted = tuple(sorted(driver for driver, _ in new if driver in drivers))
        if counted:
            charged[position] = replace(pod, shape=_asking_for(pod.shape, counted))
            found = True
    return tuple(charged) if found else pods


@lru_cache(maxsize=1 << 16)
def _asking_for(shape: PodShape, drivers: tuple[str, ...]) -> PodShape:
    """Return one object for equal arguments; *drivers* has one entry for each volume."""
    demand = Counter(ATTACHMENTS_PREFIX + driver for driver in drivers)
    return replace(shape, overhead=shape.overhead + Resources.of(demand))


def _least(nodes: Sequence[Node], of_nodes: Limits, kind_of: Callable[[Node], str]) -> Limits:
    """Return the least limit of each driver among the nodes of each kind."""
    found: dict[str, dict[str, int]] = {}
    for node in nodes:
        of_kind = found.setdefault(kind_of(node), {})
        for driver, limit in of_nodes.get(node.name, {}).items():
            of_kind[driver] = min(limit, of_kind.get(driver, limit))
    return found


def _limited(node: Node, limits: Mapping[str, int], drivers: frozenset[str]) -> Node:
    return replace(node, allocatable=_widened(node.allocatable, tuple(limits.items()), drivers))


def _grown(group: NodeGroup, limits: Mapping[str, int], drivers: frozenset[str]) -> NodeGroup:
    allocatable = _widened(group.template.allocatable, tuple(limits.items()), drivers)
    return replace(group, template=replace(group.template, allocatable=allocatable))


@lru_cache(maxsize=1 << 12)
def _widened(allocatable: Resources, limits: tuple[tuple[str, int], ...], drivers: frozenset[str]) -> Resources:
    """Return one object for equal arguments: nodes are alike."""
    stated = dict(limits)
    room = {ATTACHMENTS_PREFIX + driver: stated.get(driver, NO_LIMIT) for driver in drivers}
    return allocatable + Resources.of(room)
