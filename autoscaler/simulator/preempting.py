"""
What kube-scheduler does for a pod that fits nowhere: it makes room by removing pods of lower priority.

Source: `pkg/scheduler/framework/preemption/preemption.go` (SelectCandidate,
pickOneNodeForPreemption) and `plugins/defaultpreemption` (SelectVictimsOnNode).
Victims end at once, as pods of the pause image do, and disruption budgets are
not looked at, which the peer may override too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoscaler.model.pod import PodShape
from autoscaler.scheduling.requests import node_demand

if TYPE_CHECKING:
    from autoscaler.simulator.world import World

Candidate = tuple[int, int, int, int, tuple[int, ...]]
"""Priority of the highest victim, sum of priorities, number of victims, node, victims: the least is taken."""


def place_by_preemption(world: World, shape: PodShape) -> int | None:
    """Take a place for one pod by removing pods of lower priority; return its node, None where that does not help."""
    if shape.preemption_policy == "Never":
        return None
    for *_, node, victims in sorted(_candidates(world, shape)):
        shapes = [world.allocated_shape(row) for row in victims]
        for victim in shapes:
            world.placer.give_back(node, victim)
        found = world.placer.place(shape, 1)
        for victim in shapes:
            world.placer.take(node, victim)
        if found:
            for row in victims:
                world.delete_pod(row)
            return found[0]
    return None


def _candidates(world: World, shape: PodShape) -> list[Candidate]:
    """Return what each node would have to give up: the lowest priorities first, of equal ones the newest."""
    below = {fleet.index for fleet in world.fleets if fleet.service.priority < shape.priority}
    by_node: dict[int, list[int]] = {}
    for index in sorted(below):
        for row in world.pods.of_service(index).tolist():
            if world.pods.node[row] >= 0:
                by_node.setdefault(int(world.pods.node[row]), []).append(row)
    found = []
    for node, rows in by_node.items():
        rows.sort(key=lambda row: (world.pods.shape_of(row).priority, -world.pods.placed_at[row], -row))
        victims = _enough(world, shape, node, rows)
        if victims:
            priorities = [world.pods.shape_of(row).priority for row in victims]
            # Priorities may be negative: as in the peer each victim adds to the sum.
            found.append((max(priorities), sum(each + 2**31 for each in priorities), len(victims), node, victims))
    return found


def _enough(world: World, shape: PodShape, node: int, rows: list[int]) -> tuple[int, ...]:
    """Return the first of *rows* whose requests, with what is free, are enough; none if all are not."""
    short = {name: amount - world.placer.free(node, name) for name, amount in node_demand(shape).items()}
    victims: list[int] = []
    for row in rows:
        victims.append(row)
        had = node_demand(world.allocated_shape(row))
        short = {name: amount - had.get(name) for name, amount in short.items()}
        if all(amount <= 0 for amount in short.values()):
            return tuple(victims)
    return ()
