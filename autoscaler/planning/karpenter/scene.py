"""
The cluster and its node groups in Karpenter's terms: pools with instance types, nodes with free room.

A group is one instance type in one zone and capacity type: an offering. Groups
that differ in nothing else are a pool. Karpenter would rather ask the cloud
for any of many types; which group grows is decided afterwards: see `growth`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.placement import PodTerm
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.resources import CPU, PODS, Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import Quantity
from autoscaler.planning.cost import list_price, room_of
from autoscaler.planning.karpenter.claims import NodePool, container_ports
from autoscaler.planning.karpenter.existing import ExistingNode
from autoscaler.planning.karpenter.instance_types import TypeOffering, TypeOption
from autoscaler.planning.karpenter.overlays import Overlay, overlaid
from autoscaler.planning.karpenter.requirements import (
    CAPACITY_TYPE,
    INSTANCE_TYPE,
    NODE_POOL,
    WELL_KNOWN,
    Requirements,
    requirement,
)
from autoscaler.planning.karpenter.solve import Cluster, in_order
from autoscaler.planning.karpenter.topology import PlacedPods
from autoscaler.planning.offers import with_known_labels
from autoscaler.planning.upcoming import STARTUP_TAINTS
from autoscaler.scheduling.classes import CORDON
from autoscaler.scheduling.requests import placed_requests
from autoscaler.scheduling.requirements import label_map
from autoscaler.scheduling.topology import HOSTNAME, ZONE


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a turn works on: pools in the order in which they are tried.

    `groups` has the groups of each pool by name of pool, `labels` what matters
    of each group's labels by its name; `conflicting` names overlays left out.
    """

    pools: tuple[NodePool, ...]
    cluster: Cluster
    groups: Mapping[str, tuple[NodeGroup, ...]]
    labels: Mapping[str, Mapping[str, str]]
    conflicting: tuple[str, ...] = ()


def scene_of(
    snapshot: ClusterSnapshot,
    *,
    waiting: Sequence[Pod],
    leaving: Collection[str] = (),
    overlays: Sequence[Overlay] = (),
    limits: Mapping[str, Quantity] | None = None,
    movable: Iterable[PodShape] = (),
) -> Scene:
    """
    Return what is there and what can be bought.

    Args:
        snapshot: the cluster.
        waiting: the pods to place; those among them that are on nodes do not count there.
        leaving: names of nodes that are to be taken as gone.
        overlays: changes to prices and capacities.
        limits: most of each resource over all nodes.
        movable: shapes of pods on nodes that may have to be placed too; what they ask of labels counts.
    """
    read = labels_read([*(pod.shape for pod in waiting), *movable], overlays)
    by_pool = _groups_by_pool(snapshot.node_groups, read)
    of_group = {group.name: name for name, groups in by_pool.items() for group in groups}
    moved = {pod.key for pod in waiting}
    pods = [pod for pod in snapshot.pods if pod.node and pod.is_active and pod.key not in moved]
    pools = [_pool(name, groups, read, snapshot.observed_at) for name, groups in by_pool.items()]
    pools = [
        msgspec.structs.replace(pool, limits=_limits(limits or {}, snapshot.nodes, of_group, pool)) for pool in pools
    ]
    result = overlaid(pools, overlays)
    return Scene(
        pools=tuple(in_order(result.pools)),
        cluster=Cluster(
            nodes=tuple(_existing(snapshot, leaving, moved, of_group)),
            placed=tuple(_placed(pods)),
            namespaces={each.name: label_map(each.labels) for each in snapshot.namespaces},
        ),
        groups=by_pool,
        labels={group.name: _known_labels(group, read) for group in snapshot.node_groups},
        conflicting=result.conflicting,
    )


def coming_node(group: NodeGroup, pool: str, number: int) -> ExistingNode:
    """Return a node that has just been asked for; *number* tells those of one group apart."""
    name = f"{group.name}/new-{number}"
    labels = {CAPACITY_TYPE: group.capacity_type, **label_map(with_known_labels(group).labels), HOSTNAME: name}
    return ExistingNode(
        name=name,
        labels=tuple(sorted(labels.items())),
        free=room_of(group),
        taints=group.template.taints,
        capacity=group.template.allocatable,
        pool=pool,
        initialized=False,
        registered=False,
    )


def labels_read(shapes: Sequence[PodShape], overlays: Sequence[Overlay] = ()) -> frozenset[str]:
    """Return the labels that pods or overlays ask about, with the well-known ones: no other matters."""
    found = set(WELL_KNOWN)
    for shape in dict.fromkeys(shapes):
        affinity = shape.affinity
        preferred = tuple(each.term for each in affinity.node_preferred)
        terms = [*(affinity.node_required or ()), *preferred, *(term for each in shape.volume_terms for term in each)]
        found.update(key for key, _ in shape.node_selector)
        found.update(test.key for term in terms for test in term.match_expressions)
        found.update(constraint.topology_key for constraint in shape.spread)
        found.update(term.topology_key for term in _pod_terms(shape))
    found.update(each.key for overlay in overlays for each in overlay.requirements)
    return frozenset(found - {HOSTNAME})


def _pod_terms(shape: PodShape) -> Iterable[PodTerm]:
    affinity = shape.affinity
    yield from (*affinity.pod_required, *affinity.pod_anti_required)
    yield from (each.term for each in (*affinity.pod_preferred, *affinity.pod_anti_preferred))


def _known_labels(group: NodeGroup, read: frozenset[str]) -> dict[str, str]:
    """Return those labels of a group's nodes that matter."""
    labels = {CAPACITY_TYPE: group.capacity_type, **label_map(with_known_labels(group).labels)}
    return {key: value for key, value in labels.items() if key in read}


def _groups_by_pool(groups: Sequence[NodeGroup], read: frozenset[str]) -> dict[str, tuple[NodeGroup, ...]]:
    """Return groups of equal weight, provider, taints and kinds of labels together, by a name for them."""
    found: dict[tuple[object, ...], list[NodeGroup]] = {}
    for group in sorted(groups, key=lambda each: each.name):
        labels = _known_labels(group, read)
        key = (labels.get(NODE_POOL, ""), group.weight, group.provider, group.template.taints, frozenset(labels))
        found.setdefault(key, []).append(group)
    named: dict[str, tuple[NodeGroup, ...]] = {}
    for (label, weight, provider, *_), members in found.items():
        name = str(label) or f"{provider or 'groups'}-{weight}"
        named[name if name not in named else f"{name}.{len(named)}"] = tuple(members)
    return named


def _pool(name: str, groups: Sequence[NodeGroup], read: frozenset[str], now: float) -> NodePool:
    of_type: dict[str, list[NodeGroup]] = {}
    for group in groups:
        of_type.setdefault(group.template.instance_type, []).append(group)
    types = tuple(_type(kind, members, read, now) for kind, members in of_type.items())
    values: dict[str, set[str]] = {}
    for group in groups:
        for key, value in _known_labels(group, read).items():
            values.setdefault(key, set()).add(value)
    stated = [requirement(key, "In", tuple(sorted(found))) for key, found in sorted(values.items())]
    return NodePool(
        name=name,
        weight=groups[0].weight,
        requirements=tuple(stated),
        taints=groups[0].template.taints,
        types=types,
    )


def _type(kind: str, groups: Sequence[NodeGroup], read: frozenset[str], now: float) -> TypeOption:
    """Return a machine with the groups that have it as offerings; of unequal ones the least capacity counts."""
    labels = {group.name: _known_labels(group, read) for group in groups}
    shared = set.intersection(*(set(each.items()) for each in labels.values()))
    offerings: dict[Requirements, TypeOffering] = {}
    for group in groups:
        own = [(key, value) for key, value in labels[group.name].items() if _is_own(key, value, shared)]
        requirements = Requirements.of_labels(sorted(own))
        offering = TypeOffering(
            requirements=requirements, usd_per_hour=list_price(group), available=may_grow(group, now)
        )
        known = offerings.get(requirements)
        if known is None or (offering.available, -offering.usd_per_hour) > (known.available, -known.usd_per_hour):
            offerings[requirements] = offering
    there = [group for group in groups if may_grow(group, now)] or list(groups)
    values: dict[str, set[str]] = {}
    for group in there:
        for key, value in labels[group.name].items():
            values.setdefault(key, set()).add(value)
    return TypeOption(
        name=kind,
        requirements=Requirements.of(requirement(key, "In", tuple(sorted(found))) for key, found in values.items()),
        capacity=_least([group.template.allocatable for group in groups]),
        allocatable=_least([room_of(group) for group in groups]),
        offerings=tuple(offerings.values()),
    )


def _is_own(key: str, value: str, shared: Collection[tuple[str, str]]) -> bool:
    """Tell whether a label belongs to the offering: zone and capacity type, and what else differs within a type."""
    return key in (ZONE, CAPACITY_TYPE) or (key != INSTANCE_TYPE and (key, value) not in shared)


def may_grow(group: NodeGroup, now: float) -> bool:
    """Tell whether a group may gain a node at *now* (epoch seconds)."""
    return group.target_size < group.max_size and group.backoff_until <= now


def _least(amounts: Sequence[Resources]) -> Resources:
    names = set.intersection(*(set(each.names()) for each in amounts))
    return Resources.of((name, min(each.get(name) for each in amounts)) for name in names)


def _limits(
    limits: Mapping[str, Quantity], nodes: Sequence[Node], of_group: Mapping[str, str], pool: NodePool
) -> Resources:
    """Return what a pool's own nodes may have in all: limits of the cluster less what is outside the pool."""
    others = Resources()
    for node in nodes:
        if of_group.get(node.group) != pool.name:
            others += node.allocatable
    amounts = {name: limit.milli if name == CPU else limit.whole for name, limit in limits.items()}
    return Resources.of((name, amount - others.get(name)) for name, amount in amounts.items())


def _existing(
    snapshot: ClusterSnapshot, leaving: Collection[str], moved: Collection[str], of_group: Mapping[str, str]
) -> Iterable[ExistingNode]:
    """Yield the nodes that pods may go to, with what is left on them."""
    groups = {group.name: group for group in snapshot.node_groups}
    on_node: dict[str, list[Pod]] = {}
    for pod in snapshot.pods:
        if pod.node and pod.key not in moved and pod.phase.value not in ("Succeeded", "Failed"):
            on_node.setdefault(pod.node, []).append(pod)
    for node in snapshot.nodes:
        if node.deleting or node.name in leaving or node.interrupt_at is not None:
            continue
        pods = on_node.get(node.name, [])
        free = node.allocatable - Resources.of({PODS: len(pods)})
        for pod in pods:
            free -= placed_requests(pod)
        group = groups.get(node.group)
        if group is not None and not node.registered:
            free -= group.template.overhead
        labels = {CAPACITY_TYPE: node.capacity_type, **label_map(node.labels)}
        initialized = node.ready and node.registered
        taints = tuple(each for each in node.taints if initialized or each.key not in STARTUP_TAINTS)
        yield ExistingNode(
            name=node.name,
            labels=tuple(sorted(labels.items())),
            free=free,
            taints=(*taints, CORDON) if node.unschedulable and CORDON not in taints else taints,
            capacity=node.allocatable,
            pool=of_group.get(node.group, ""),
            ports=tuple(port for pod in pods for port in container_ports(pod.shape)),
            initialized=initialized,
            registered=node.registered,
        )


def _placed(pods: Sequence[Pod]) -> Iterable[PlacedPods]:
    counts: dict[tuple[PodShape, str], int] = {}
    for pod in pods:
        counts[pod.shape, pod.node] = counts.get((pod.shape, pod.node), 0) + 1
    for (shape, node), count in counts.items():
        yield PlacedPods(shape=shape, node=node, count=count)
