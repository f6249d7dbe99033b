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

    A node that is not registered, or not ready *provision_seconds* after its
    creation at most, counts as ready, DaemonSets' share taken. Closed are nodes
    that are being deleted, will be interrupted, or are not ready for longer.
    """
    groups = {group.name: group for group in snapshot.node_groups}
    nodes = [_expected(node, groups.get(node.group)) if _is_coming(node) else node for node in snapshot.nodes]
    simulation = Simulation.of(nodes, snapshot.pods, namespaces=snapshot.namespaces)
    for row, node in enumerate(snapshot.nodes):
        late = _is_coming(node) and 0 < node.created_at < snapshot.observed_at - provision_seconds
        if late or node.deleting or node.interrupt_at is not None:
            simulation.close_node(row)
    return simulation


def _is_coming(node: Node) -> bool:
    return not (node.ready and node.registered)


def _expected(node: Node, group: NodeGroup | None) -> Node:
    """Return a node as it will be when it is up."""
    taints = tuple(taint for taint in node.taints if taint.key not in STARTUP_TAINTS)
    allocatable = node.allocatable
    if group is not None and not node.registered:
        allocatable = allocatable - group.template.overhead
    return msgspec.structs.replace(node, taints=taints, allocatable=allocatable)
