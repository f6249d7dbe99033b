"""
Could this node's pods run elsewhere: Cluster Autoscaler's simulation of a node's removal.

Source: `simulator/cluster.go` (RemovalSimulator), 1.36. While the pods look
for a place the node stays, tainted and empty: its zone still counts for spread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from autoscaler.model.arrays import Bools
from autoscaler.model.node import Node
from autoscaler.model.placement import Effect, Taint
from autoscaler.model.pod import Pod, PodShape
from autoscaler.planning.cluster_autoscaler.first_fit import RoundRobin
from autoscaler.scheduling.simulation import Simulation

GOING = Taint("ToBeDeletedByClusterAutoscaler", Effect.NO_SCHEDULE)


Moved = list[tuple[Pod, int]]
"""Pods, and the row that each would go to."""


def remove_if_possible(
    node: Node, residents: Sequence[Pod], moving: Sequence[Pod], *, search: RoundRobin, destinations: Bools
) -> Moved | None:
    """
    Move *moving* off *node* in the simulation of *search*, and the node out of it; return where they went.

    None, with nothing changed, means that one of them fits nowhere.

    Args:
        node: what is to go.
        residents: all pods on it.
        moving: those of them that need another place, in order.
        search: where the others are; its simulation may be replaced by a changed copy.
        destinations: rows that may take pods; that of the node itself is not used.
    """
    simulation = search.simulation
    row = simulation.row(node.name)
    elsewhere = destinations.copy()
    elsewhere[row] = False
    last = search.last
    if _mind_nobody(simulation, residents, moving):
        moved = _place_all(search, moving, elsewhere)
        if len(moved) == len(moving):
            simulation.remove_node(row)
            return moved
        for pod, place in moved:
            simulation.remove_pod(pod.shape, place)
        search.last = last
        return None
    search.simulation = simulation.fork()
    search.simulation.remove_node(row)
    ghost = search.simulation.add_observed_node(msgspec.structs.replace(node, taints=(*node.taints, GOING)))
    moved = _place_all(search, moving, elsewhere)
    if len(moved) == len(moving):
        search.simulation.remove_node(ghost)
        return moved
    search.simulation, search.last = simulation, last
    return None


def _mind_nobody(simulation: Simulation, residents: Iterable[Pod], moving: Iterable[Pod]) -> bool:
    """Tell whether places can be tried with the node as it is: no pod's place hangs on the pods that leave it."""
    return all(map(simulation.is_independent, _shapes(moving))) and not any(
        shape.affinity.pod_anti_required for shape in _shapes(residents)
    )


def _shapes(pods: Iterable[Pod]) -> Iterable[PodShape]:
    return {id(pod.shape): pod.shape for pod in pods}.values()


def _place_all(search: RoundRobin, moving: Sequence[Pod], elsewhere: Bools) -> Moved:
    """Place pods in order, runs of equal ones at once, up to the first that fits nowhere."""
    moved: Moved = []
    while len(moved) < len(moving):
        shape, at = moving[len(moved)].shape, len(moved)
        end = at + 1
        while end < len(moving) and moving[end].shape is shape:
            end += 1
        for row, pods in search.place(shape, end - at, elsewhere):
            moved += [(pod, row) for pod in moving[len(moved) : len(moved) + pods]]
        if len(moved) < end:
            break
    return moved
