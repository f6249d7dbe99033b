"""
Nodes that are there, or on their way, as places for pods.

Source: Karpenter `pkg/controllers/provisioning/scheduling/existingnode.go`,
main of 2026-08-20.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autoscaler.model.placement import Labels, Taint
from autoscaler.model.resources import Resources
from autoscaler.planning.karpenter.claims import Ask, Port, amounts_of
from autoscaler.planning.karpenter.requirements import Requirements
from autoscaler.planning.karpenter.taints import tolerates_all
from autoscaler.planning.karpenter.topology import PresentNode, Topology
from autoscaler.planning.karpenter.topology_groups import NodeView
from autoscaler.scheduling.context import ports_conflict
from autoscaler.scheduling.requirements import label_map
from autoscaler.scheduling.topology import HOSTNAME


class ExistingNode(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A node that pods may go to.

    `free` is what is left of each resource, DaemonSets' pods to come taken off.
    `initialized` nodes are tried first; one that is not `registered` has no
    labels yet that count for pods elsewhere. `capacity` counts against the
    limits of `pool`.
    """

    name: str
    labels: Labels
    free: Resources
    taints: tuple[Taint, ...] = ()
    capacity: Resources = Resources()
    pool: str = ""
    ports: tuple[Port, ...] = ()
    initialized: bool = True
    registered: bool = True

    def present(self) -> PresentNode:
        return PresentNode(name=self.name, labels=self.labels, taints=self.taints, registered=self.registered)


class Host:
    """An existing node while pods are placed on it."""

    def __init__(self, node: ExistingNode, resources: Sequence[str]) -> None:
        labels = label_map(node.labels)
        self.node = node
        self.hostname = labels.get(HOSTNAME, node.name)
        self.pods: list[str] = []
        self._requirements = Requirements.of_labels((key, value) for key, value in labels.items() if key != HOSTNAME)
        self._free = amounts_of(node.free, resources)
        self._overdrawn = any(amount < 0 for _, amount in node.free.items())
        self._ports = list(node.ports)

    def take(self, key: str, ask: Ask, topology: Topology) -> bool:
        """Place a pod if everything allows it; tell whether it was."""
        if self._overdrawn or any(map(int.__gt__, ask.amounts, self._free)) or not ask.host_rules.admits(self.hostname):
            return False
        if not tolerates_all(ask.shape.tolerations, self.node.taints):
            return False
        if any(ports_conflict(mine, theirs) for mine in ask.ports for theirs in self._ports):
            return False
        requirements = self._narrowed(ask, topology)
        if requirements is None:
            return False
        self.pods.append(key)
        self._requirements = requirements
        self._free = tuple(map(int.__sub__, self._free, ask.amounts))
        self._ports += ask.ports
        topology.record(ask.shape, NodeView(requirements, self.hostname, self.node.taints))
        return True

    def _narrowed(self, ask: Ask, topology: Topology) -> Requirements | None:
        """Return what the node is with the pod on it, None where its labels or rules between pods forbid that."""
        if ask.host is not None and not ask.host.has(self.hostname):
            return None
        if self._requirements.conflict(ask.wishes) is not None:
            return None
        base = self._requirements & ask.wishes
        for volumes in ask.volumes:
            if base.conflict(volumes) is not None:
                continue
            narrowed = base & volumes
            ruled = topology.narrowed(ask.shape, ask.hard, NodeView(narrowed, self.hostname, self.node.taints))
            if ruled is not None and narrowed.conflict(ruled) is None:
                return ruled
        return None
