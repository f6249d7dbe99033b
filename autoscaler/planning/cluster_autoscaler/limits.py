"""
The bounds on all nodes together: cores and memory that may still be added or taken away.

Source: `resourcequotas/tracker.go` (CheckQuota, ConsumeQuota), `core/utils/utils.go`
(GetNodeCoresAndMemory), 1.36. What counts is a machine's capacity, in whole cores.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from autoscaler.model.node import Node, NodeTemplate
from autoscaler.model.policy import NodeRules
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.planning.cluster_autoscaler.params import ClusterAutoscalerParams


class ResourceRoom:
    """
    How many cores and bytes may still come, or go.

    Counts what is used, so one object serves one cycle.
    """

    def __init__(self, cores: float, memory: float) -> None:
        self._cores, self._memory = cores, memory

    def allowed(self, machine: Resources, nodes: int) -> int:
        """Return how many of *nodes* such machines are within the bounds."""
        for left, each in ((self._cores, whole_cores(machine)), (self._memory, machine.memory)):
            if each > 0 and left < each * nodes:
                nodes = max(0, math.floor(left / each))
        return nodes

    def use(self, machine: Resources, nodes: int) -> None:
        """Count so many machines."""
        self._cores -= whole_cores(machine) * nodes
        self._memory -= machine.memory * nodes


def room_to_grow(nodes: Iterable[Node], params: ClusterAutoscalerParams, rules: NodeRules) -> ResourceRoom:
    """Return what may be added: up to the flags' maxima, and the policy's own limits."""
    most_cores, most_memory = float(params.cores[1]), float(params.memory_bytes[1])
    if CPU in rules.limits:
        most_cores = min(most_cores, rules.limits[CPU].milli / 1000)
    if MEMORY in rules.limits:
        most_memory = min(most_memory, float(rules.limits[MEMORY].whole))
    cores, memory = _totals(nodes)
    return ResourceRoom(most_cores - cores, most_memory - memory)


def room_to_shrink(nodes: Iterable[Node], params: ClusterAutoscalerParams) -> ResourceRoom:
    """Return what may be taken away: down to the flags' minima."""
    cores, memory = _totals(nodes)
    return ResourceRoom(cores - params.cores[0], memory - params.memory_bytes[0])


def whole_cores(machine: Resources) -> int:
    """Return cores, rounded up as the peer reads a quantity's value."""
    return -(-machine.cpu // 1000)


def machine_of(thing: Node | NodeTemplate) -> Resources:
    """Return all that a machine has; what pods can have of it where nothing else is known."""
    return thing.capacity if thing.capacity.amounts else thing.allocatable


def _totals(nodes: Iterable[Node]) -> tuple[int, int]:
    machines = [machine_of(node) for node in nodes if not node.deleting]
    return sum(map(whole_cores, machines)), sum(machine.memory for machine in machines)
