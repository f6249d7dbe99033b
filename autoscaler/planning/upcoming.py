"""
The cluster as the planner may count on it: nodes on their way are there, nodes on their way out are not.

Source: Cluster Autoscaler (upcoming nodes, startup taints; FAQ "How does
scale-up work?"): a node that was asked for is room already, or it would be
bought twice.
"""

from __future__ import annotations

import msgspec

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.scheduling.simulation import Simulation

STARTUP_TAINTS = frozenset(
    {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/network-unavailable",
        "node.cloudprovider.kubernetes.io/uninitialized",
        "karpenter.sh/unregistered",
    }
)
"""Taints that a node loses by itself as it comes up."""


def planning_simulation(snapshot: ClusterSnapshot, *, provision_seconds: float = 900.0) -> Simulation:
    """
    Return a simulation of the nodes with the pods on them; rows are in the snapshot's order of nodes.

    A node that is not registered, not ready, or still has a start-up taint counts
    as ready for *provision_seconds* after its creation, DaemonSets' share taken.
    Closed are nodes that are being deleted, will be interrupted, or are not ready
    for longer.
    """
    groups = {group.name: group for group in snapshot.node_groups}
    oldest = snapshot.observed_at - provision_seconds
    nodes = [
        _expected(node, groups.get(node.group)) if _is_coming(node, oldest=oldest) else node for node in snapshot.nodes
    ]
    simulation = Simulation.of(nodes, snapshot.pods, namespaces=snapshot.namespaces)
    for row, node in enumerate(snapshot.nodes):
        late = not _is_up(node) and 0 < node.created_at < oldest
        if late or node.deleting or node.interrupt_at is not None:
            simulation.close_node(row)
    return simulation


def _is_up(node: Node) -> bool:
    return node.ready and node.registered


def _is_coming(node: Node, *, oldest: float) -> bool:
    """
    Tell whether a node will be up by itself.

    The kubelet says that it is ready before the node lifecycle controller takes the taint away.
    """
    if 0 < node.created_at < oldest:
        return False
    return not _is_up(node) or any(taint.key in STARTUP_TAINTS for taint in node.taints)


def _expected(node: Node, group: NodeGroup | None) -> Node:
    """Return a node as it will be when it is up."""
    taints = tuple(taint for taint in node.taints if taint.key not in STARTUP_TAINTS)
    allocatable = node.allocatable
    if group is not None and not node.registered:
        allocatable = allocatable - group.template.overhead
    return msgspec.structs.replace(node, taints=taints, allocatable=allocatable)
