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
    drivers = sorted({driver for limits in of_nodes.values() for driver in limits})
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


def _charged(pods: tuple[Pod, ...], drivers: Sequence[str], context: SchedulingContext) -> tuple[Pod, ...]:
    """Charge each pod for its volumes; of pods on one node only the first for a volume that they share."""
    on_node: dict[str, set[tuple[str, str]]] = {}
    known: dict[tuple[PodShape, Resources], PodShape] = {}
    changed: dict[int, Pod] = {}
    for position, pod in enumerate(pods):
        if not pod.shape.claims or pod.phase in _ENDED:
            continue
        there = on_node.setdefault(pod.node, set()) if pod.node else set()
        new = attachments(pod.shape, context) - there
        there |= new
        counts = Counter(driver for driver, _ in new if driver in drivers)
        if counts:
            demand = Resources.of({ATTACHMENTS_PREFIX + driver: count for driver, count in counts.items()})
            key = pod.shape, demand
            if key not in known:
                known[key] = replace(pod.shape, overhead=pod.shape.overhead + demand)
            changed[position] = replace(pod, shape=known[key])
    return tuple(changed.get(position, pod) for position, pod in enumerate(pods)) if changed else pods


def _least(nodes: Sequence[Node], of_nodes: Limits, kind_of: Callable[[Node], str]) -> Limits:
    """Return the least limit of each driver among the nodes of each kind."""
    found: dict[str, dict[str, int]] = {}
    for node in nodes:
        of_kind = found.setdefault(kind_of(node), {})
        for driver, limit in of_nodes.get(node.name, {}).items():
            of_kind[driver] = min(limit, of_kind.get(driver, limit))
    return found


def _limited(node: Node, limits: Mapping[str, int], drivers: Sequence[str]) -> Node:
    return replace(node, allocatable=node.allocatable + _room(limits, drivers))


def _grown(group: NodeGroup, limits: Mapping[str, int], drivers: Sequence[str]) -> NodeGroup:
    allocatable = group.template.allocatable + _room(limits, drivers)
    return replace(group, template=replace(group.template, allocatable=allocatable))


def _room(limits: Mapping[str, int], drivers: Sequence[str]) -> Resources:
    return Resources.of({ATTACHMENTS_PREFIX + driver: limits.get(driver, NO_LIMIT) for driver in drivers})
