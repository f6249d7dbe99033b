"""
Node groups for a cluster that was only looked at: one for each kind of node in
it, priced from the bundled list-price tables.

For dry decisions on files; a live provider always knows better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from autoscaler.model.node import SPOT, Node, NodeGroup, NodeTemplate
from autoscaler.model.pod import Pod
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.providers.machines import machines
from autoscaler.scheduling.requests import node_demand

_OWN_LABELS = ("kubernetes.io/hostname",)
_MAX_SIZE = 1000


@lru_cache(maxsize=1)
def list_prices() -> Mapping[tuple[str, bool], float]:
    """Return USD an hour by (instance type, is spot)."""
    return {
        (machine.name, spot): price
        for machine in machines().values()
        for spot, price in ((False, machine.usd_per_hour), (True, machine.usd_per_hour_spot))
    }


def with_groups(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """
    Return *snapshot* with its nodes priced and grouped, where they are not yet.

    Nodes of an unknown type cost nothing and their groups may not grow: at
    that price they would be bought before all others.
    """
    if snapshot.node_groups:
        return snapshot
    nodes = tuple(_priced(node) for node in snapshot.nodes)
    members: dict[str, list[Node]] = {}
    for node in nodes:
        members.setdefault(node.group, []).append(node)
    daemons = _daemons(snapshot.pods)
    groups = tuple(_group(name, found, daemons) for name, found in sorted(members.items()))
    return msgspec.structs.replace(snapshot, nodes=nodes, node_groups=groups)


def with_list_price(node: Node) -> Node:
    """Return *node* with its list price, where it has no price yet and its type is known."""
    price = node.usd_per_hour or list_prices().get((node.instance_type, node.capacity_type == SPOT), 0.0)
    return node if price == node.usd_per_hour else msgspec.structs.replace(node, usd_per_hour=price)


def _priced(node: Node) -> Node:
    price = with_list_price(node).usd_per_hour
    name = node.group or "/".join(filter(None, (node.instance_type or "node", node.zone, node.capacity_type)))
    return msgspec.structs.replace(node, usd_per_hour=price, group=name)


def _daemons(pods: Iterable[Pod]) -> dict[str, Resources]:
    """Return by node what the pods that come with every node take of it."""
    taken: dict[str, Resources] = {}
    for pod in pods:
        if pod.node and pod.is_active and pod.shape.owner_kind == "DaemonSet":
            taken[pod.node] = taken.get(pod.node, NOTHING) + node_demand(pod.shape)
    return taken


def _group(name: str, members: list[Node], daemons: Mapping[str, Resources]) -> NodeGroup:
    first = members[0]
    shared = frozenset.intersection(*(frozenset(node.labels) for node in members))
    labels = tuple(sorted(pair for pair in shared if pair[0] not in _OWN_LABELS))
    lasting = tuple(taint for taint in first.taints if not taint.key.startswith("node.kubernetes.io/"))
    overhead = NOTHING
    for node in members:
        overhead = overhead.largest(daemons.get(node.name, NOTHING))
    return NodeGroup(
        name=name,
        template=NodeTemplate(
            instance_type=first.instance_type,
            allocatable=first.allocatable,
            capacity=first.capacity,
            labels=labels,
            taints=lasting,
            overhead=overhead,
        ),
        target_size=len(members),
        usd_per_hour=first.usd_per_hour,
        max_size=_MAX_SIZE if first.usd_per_hour > 0 else len(members),
        zone=first.zone,
        capacity_type=first.capacity_type,
        provider="catalog",
    )
