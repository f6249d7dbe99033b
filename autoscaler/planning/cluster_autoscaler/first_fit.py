"""
Placement as Cluster Autoscaler simulates it: the next node that takes the pod, going round.

The search for a node starts after the one that took the last pod. Sources:
`simulator/clustersnapshot/scheduling_opts.go` (lastIndexOrderMapping) and
`predicate/plugin_runner.go` (RunFiltersUntilPassingNode), 1.36. The peer asks
several nodes at once and may then stop a little later; the order here is the
one that it aims at.
"""

from __future__ import annotations

import numpy as np

from autoscaler.model.arrays import Bools, Ints, Rows
from autoscaler.model.pod import PodShape
from autoscaler.scheduling.requests import node_demand
from autoscaler.scheduling.simulation import MAX_PODS, Simulation

Placed = list[tuple[int, int]]
"""(row, pods) of a placement."""


class RoundRobin:
    """Places pods on one simulation, which it changes, and remembers where the next search starts."""

    def __init__(self, simulation: Simulation, *, last: int = 0) -> None:
        self.simulation, self.last = simulation, last

    def place(self, shape: PodShape, count: int, within: Bools) -> Placed:
        """Place up to *count* equal pods on the nodes *within*, until one fits on none of them."""
        if not self.simulation.is_independent(shape):
            return self._one_by_one(shape, count, within)
        rows = self._rows(shape, within)
        room = self.room(shape, rows)
        takes = _in_turns(room, count)
        placed = [(row, pods) for row, pods in zip(rows.tolist(), takes.tolist(), strict=True) if pods]
        for row, pods in placed:
            self.put(shape, row, pods)
        if placed:
            self.last = int(rows[_last_turn(takes)])
        return placed

    def put(self, shape: PodShape, row: int, pods: int) -> None:
        """Put pods on a node, however many."""
        while pods > 0:
            self.simulation.add_pod(shape, row, pods=min(pods, MAX_PODS))
            pods -= MAX_PODS

    def room(self, shape: PodShape, rows: Rows) -> Ints:
        """Return how many pods of an independent shape each of the *rows*, which take one, can take."""
        room: Ints = np.full(len(rows), np.iinfo(np.int64).max)
        for name, amount in node_demand(shape).items():
            room = np.minimum(room, self.simulation.free(name)[rows] // amount)
        return np.maximum(room, 1)

    def _one_by_one(self, shape: PodShape, count: int, within: Bools) -> Placed:
        placed: Placed = []
        while len(placed) < count:
            rows = self._rows(shape, within)
            if not rows.size:
                break
            self.last = int(rows[0])
            self.simulation.add_pod(shape, self.last)
            placed.append((self.last, 1))
        return placed

    def _rows(self, shape: PodShape, within: Bools) -> Rows:
        """Return the rows that take one more pod, from the one after the last match round to it."""
        rows = np.flatnonzero(self.simulation.feasible(shape) & within)
        start = int(np.searchsorted(rows, self.last, side="right"))
        return np.concatenate((rows[start:], rows[:start]))


def _in_turns(room: Ints, count: int) -> Ints:
    """
    Return how many each gets when *count* are dealt one at a time, round and round, to those with room.

    >>> _in_turns(np.array([1, 3, 3]), 6).tolist()
    [1, 3, 2]
    """
    most: Ints = np.minimum(room, count)
    if count >= int(most.sum()):
        return most
    levels = np.sort(room)
    before = np.concatenate(([0], np.cumsum(levels)[:-1]))
    filled = before + levels * (len(levels) - np.arange(len(levels)))
    at = int(np.searchsorted(filled, count, side="right"))
    rounds = (count - int(before[at])) // (len(levels) - at)
    takes: Ints = np.minimum(room, rounds)
    further = np.flatnonzero(room > rounds)[: count - int(takes.sum())]
    takes[further] += 1
    return takes


def _last_turn(takes: Ints) -> int:
    """Return the position that was dealt the last one: of those with most, the last."""
    return int(np.flatnonzero(takes == takes.max())[-1])
