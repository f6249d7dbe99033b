"""
Where the simulated kube-scheduler puts pods: a placement model that lives as long as the cluster.

Filters and scores are `autoscaler.scheduling.simulation`'s. Every pod without
spread constraints of its own gets the scheduler's built-in soft ones, as if a
Service selected it. Preemption: `preempting`.
"""

from __future__ import annotations

from autoscaler.model.node import Node
from autoscaler.model.placement import LabelSelector, TopologySpread
from autoscaler.model.pod import PodShape
from autoscaler.scheduling.requests import node_demand
from autoscaler.scheduling.simulation import Simulation
from autoscaler.scheduling.topology import HOSTNAME

ZONE = "topology.kubernetes.io/zone"


class Placer:
    """
    Nodes by row and the pods on them.

    `change` grows with every change that might let a waiting pod fit.
    """

    def __init__(self) -> None:
        self.change = 0
        self._simulation = Simulation.of((), default_spread=_soft_spread)

    def add_node(self, node: Node) -> int:
        """Add a node; return its row, which may be one that a removed node had."""
        self.change += 1
        return self._simulation.add_observed_node(node)

    def remove_node(self, row: int) -> None:
        self._simulation.remove_node(row)

    def cordon(self, row: int, *, unschedulable: bool) -> None:
        if unschedulable:
            self._simulation.close_node(row)
        else:
            self._simulation.open_node(row)
            self.change += 1

    def take(self, row: int, shape: PodShape) -> None:
        """Put a pod on a node, whether it fits or not."""
        self._simulation.add_pod(shape, row)

    def give_back(self, row: int, shape: PodShape) -> None:
        self._simulation.remove_pod(shape, row)
        self.change += 1

    def place(self, shape: PodShape, count: int) -> list[int]:
        """Put up to *count* pods where the scheduler would; return their nodes, fewer where the rest fits nowhere."""
        return self._simulation.place(shape, count)

    def has_room(self, row: int, shape: PodShape, instead_of: PodShape) -> bool:
        """Tell whether a pod of one shape on the node could become one of the other where it is."""
        had = node_demand(instead_of)
        return all(
            amount <= had.get(name) or self._simulation.free(name)[row] + had.get(name) >= amount
            for name, amount in node_demand(shape).items()
        )

    def free(self, row: int, resource: str) -> int:
        """Return how much of a resource is not asked for on the node, below 0 where too much is."""
        return int(self._simulation.free(resource)[row])

    def could_ever_hold(self, row: int, shape: PodShape) -> bool:
        """Tell whether the node, were it empty, could hold the pod."""
        return all(self._simulation.allocatable(name)[row] >= amount for name, amount in node_demand(shape).items())


def _soft_spread(shape: PodShape) -> tuple[TopologySpread, ...]:
    """Return the scheduler's built-in constraints (`plugins/podtopologyspread/plugin.go`, systemDefaultConstraints)."""
    if shape.spread or not shape.labels:
        return ()
    selector = LabelSelector(match_labels=shape.labels)
    return (
        TopologySpread(max_skew=3, topology_key=HOSTNAME, when_unsatisfiable="ScheduleAnyway", selector=selector),
        TopologySpread(max_skew=5, topology_key=ZONE, when_unsatisfiable="ScheduleAnyway", selector=selector),
    )
