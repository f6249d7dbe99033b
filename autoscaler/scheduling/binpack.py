"""
Which nodes to buy for these pods, and how far that is from the cheapest there can be.

The method: prune offers; solve the divisible relaxation, whose dual is the
certified bound and the price of each class; generate whole nodes around it and
take those that the optimum uses in whole; pour the rest evenly over the mix of
its own relaxation; finish node by node; move each node to the cheapest offer
that holds it. Few pods never load the solver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from autoscaler.model.arrays import Floats, Ints
from autoscaler.scheduling.packing_bound import Values, certify, quick_values, whole_node_bound
from autoscaler.scheduling.packing_fill import Batch, downsize, spread, top_up, trim
from autoscaler.scheduling.packing_problem import PackInput, Problem, canonical
from autoscaler.scheduling.packing_tail import finish

if TYPE_CHECKING:
    from autoscaler.scheduling.packing_lp import Mix, NodeMixProgram

__all__ = ["NodePattern", "PackInput", "Packing", "Unplaced", "pack"]

FEW_PODS = 50
"""Up to so many pods the solver is not loaded."""
MOST_ROUNDS = 36
_PODS_A_ROUND = 60
_BY_HAND = 1000
"""Up to so many pods, packing node by node is tried beside the column program."""
_POURS = 3

Found = tuple[list[Batch], Ints]
"""Nodes, and pods that found no room (C)."""


class NodePattern(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`repeat` nodes of `offer`, each with `pods`: (class, count) by class. All are indexes of the input."""

    offer: int
    pods: tuple[tuple[int, int], ...]
    repeat: int


class Unplaced(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`count` pods of `class_` are not placed: `no-offer-fits`, or `no-room-left` in offers that would."""

    class_: int
    count: int
    reason: str


class Packing(msgspec.Struct, frozen=True, kw_only=True):
    """
    The nodes to buy. `usd_per_hour` is their price, `bound` a certified lower
    bound of what the placed pods must cost on these offers, both USD an hour.
    `usd_per_unit` is what a unit of each resource of the input is worth.
    """

    patterns: tuple[NodePattern, ...] = ()
    usd_per_hour: float = 0.0
    bound: float = 0.0
    unplaced: tuple[Unplaced, ...] = ()
    usd_per_unit: tuple[float, ...] = ()

    @property
    def gap(self) -> float:
        """How far the price is above the bound, as a share; 0 where both are 0."""
        return self.usd_per_hour / self.bound - 1.0 if self.bound > 0 else 0.0

    @property
    def nodes(self) -> int:
        return sum(pattern.repeat for pattern in self.patterns)


def pack(given: PackInput, *, rounds: int | None = None) -> Packing:
    """
    Return a cheap set of nodes for the pods, with its certified bound.

    No node is overfilled, no pod is split, room is kept. Equal input gives
    equal output, in whatever order classes and offers come, but for the choice
    among equals.

    *rounds* is how long to improve (rounds of column generation); 0 never
    loads the solver; None takes 0 for few pods and more for many, enough for
    about 2 % over the bound.

    Raises:
        ValueError: the input's shapes disagree, or an amount is negative or not a number.
    """
    problem = canonical(given)
    if not len(problem.count):
        return Packing(unplaced=tuple(_homeless(given, problem)), usd_per_unit=(0.0,) * np.shape(given.requests)[1])
    if rounds is None:
        rounds = _fitting_rounds(int(problem.count.sum()))
    values = quick_values(problem)
    if rounds > 0:
        values, found = _solve(problem, values, rounds)
    else:
        found = _small(problem, finish(problem, values.usd_per_pod, problem.count, room=problem.room))
    return _packing(given, problem, values, found)


def _fitting_rounds(pods: int) -> int:
    return 0 if pods <= FEW_PODS else min(MOST_ROUNDS, 1 + pods // _PODS_A_ROUND)


def _solve(problem: Problem, values: Values, rounds: int) -> tuple[Values, Found]:
    from autoscaler.scheduling.packing_lp import NodeMixProgram

    relaxed = NodeMixProgram(problem, values)
    mix = relaxed.solve(problem.count)
    found = _small(problem, _by_columns(problem, relaxed, mix, rounds))
    if problem.count.sum() <= _BY_HAND:
        # Whole numbers matter most where there are few: node by node is often better then.
        by_hand = _small(problem, finish(problem, mix.values.usd_per_pod, problem.count, room=problem.room))
        found = min(found, by_hand, key=lambda each: (int(each[1].sum()), _price(problem, each[0])))
    return mix.values, found


def _by_columns(problem: Problem, relaxed: NodeMixProgram, mix: Mix, rounds: int) -> Found:
    """Take the whole nodes of the column program, pour the rest over its own relaxation, finish node by node."""
    from autoscaler.scheduling.packing_columns import ColumnProgram

    columns = ColumnProgram(problem, mix.values.usd_per_pod)
    seeds = _pour(problem, mix.nodes, mix.wanted(problem), problem.room)
    if seeds:
        columns.add(np.array([batch.offer for batch in seeds]), np.array([batch.pods for batch in seeds]))
    columns.improve(rounds, bound=mix.values.bound)
    batches = columns.whole_nodes()
    placed = _placed(batches, problem)
    batches = trim(batches, np.maximum(placed - problem.count, 0))
    batches, left = top_up(problem, batches, np.maximum(problem.count - placed, 0))
    for _ in range(_POURS):
        room = _room_after(problem, batches)
        rest = relaxed.solve(left, room=room)
        if rest.nodes.max(initial=0.0) < 1.0:
            break
        poured = _pour(problem, rest.nodes, rest.wanted(problem), room)
        batches, left = top_up(problem, [*batches, *poured], left - _placed(poured, problem))
    last, left = finish(problem, mix.values.usd_per_pod, left, room=_room_after(problem, batches))
    return [*batches, *last], left


def _small(problem: Problem, found: Found) -> Found:
    """Return the same nodes, each on the cheapest offer that holds its pods."""
    return downsize(problem, found[0], _room_after(problem, found[0])), found[1]


def _price(problem: Problem, batches: list[Batch]) -> float:
    return float(sum(problem.price[batch.offer] * batch.repeat for batch in batches))


def _pour(problem: Problem, nodes: Floats, wanted: Ints, room: Floats) -> list[Batch]:
    """Fill the whole nodes of each offer evenly with what the mix puts there (`wanted`, T x C)."""
    batches: list[Batch] = []
    for offer in np.flatnonzero(nodes >= 1.0).tolist():
        whole = int(min(np.floor(nodes[offer] + 1e-9), room[offer]))
        batches += spread(problem, offer, whole, wanted[offer])
    return batches


def _placed(batches: list[Batch], problem: Problem) -> Ints:
    total = np.zeros(len(problem.count), dtype=np.int64)
    for batch in batches:
        total += batch.pods * batch.repeat
    return total


def _room_after(problem: Problem, batches: list[Batch]) -> Floats:
    room = problem.room.copy()
    for batch in batches:
        room[batch.offer] -= batch.repeat
    return room


def _packing(given: PackInput, problem: Problem, values: Values, found: Found) -> Packing:
    batches, left = found
    placed = problem.count - left
    if left.any():
        again = certify(problem, values.weights, placed)
        values = max(again, certify(problem, quick_values(problem).weights, placed), key=lambda each: each.bound)
    cost = float(sum(problem.usd[batch.offer] * batch.repeat for batch in batches))
    patterns, unplaced = _expand(problem, batches)
    return Packing(
        patterns=patterns,
        usd_per_hour=cost,
        bound=min(max(values.bound, whole_node_bound(problem, placed)), cost),
        unplaced=tuple(sorted([*unplaced, *_homeless(given, problem)], key=lambda each: each.class_)),
        usd_per_unit=_usd_per_unit(given, problem, values, batches),
    )


def _homeless(given: PackInput, problem: Problem) -> list[Unplaced]:
    return [Unplaced(class_=row, count=int(given.counts[row]), reason="no-offer-fits") for row in problem.homeless]


def _expand(problem: Problem, batches: list[Batch]) -> tuple[tuple[NodePattern, ...], list[Unplaced]]:
    """Turn batches of merged classes into patterns of the original ones, member after member; the rest is unplaced."""
    queues = [[list(member) for member in reversed(members)] for members in problem.members]
    patterns = []
    for batch in sorted(batches, key=lambda batch: (batch.offer, batch.pods.tolist(), batch.repeat)):
        rows, todo = np.flatnonzero(batch.pods).tolist(), batch.repeat
        while todo:
            run = min(todo, *(max(1, queues[row][-1][1] // int(batch.pods[row])) for row in rows))
            pods: list[tuple[int, int]] = []
            for row in rows:
                pods += _take(queues[row], int(batch.pods[row]), run)
            patterns.append(NodePattern(offer=int(problem.offers[batch.offer]), pods=tuple(sorted(pods)), repeat=run))
            todo -= run
    left = [
        Unplaced(class_=member, count=count, reason="no-room-left")
        for queue in queues
        for member, count in queue
        if count
    ]
    return tuple(patterns), left


def _take(queue: list[list[int]], each: int, run: int) -> list[tuple[int, int]]:
    """Take *each* pods for each of *run* nodes off the end of *queue*; several members only where *run* is 1."""
    if queue[-1][1] >= each * run:
        queue[-1][1] -= each * run
        taken = [(queue[-1][0], each)]
    else:
        taken = []
        while each:
            part = min(each, queue[-1][1])
            queue[-1][1] -= part
            each -= part
            taken.append((queue[-1][0], part))
            if not queue[-1][1] and len(queue) > 1:
                queue.pop()
    if not queue[-1][1] and len(queue) > 1:
        queue.pop()
    return taken


def _usd_per_unit(given: PackInput, problem: Problem, values: Values, batches: list[Batch]) -> tuple[float, ...]:
    """Average the certified weights over the capacity bought; 0 for a resource that nobody asks for."""
    nodes = np.zeros(len(problem.offers))
    for batch in batches:
        nodes[batch.offer] += batch.repeat
    bought = problem.capacity * nodes[:, None]
    total = bought.sum(axis=0)
    average = np.divide((bought * values.weights).sum(axis=0), total, out=np.zeros(len(total)), where=total > 0)
    result = np.zeros(np.shape(given.requests)[1])
    result[problem.resources] = average
    return tuple(result.tolist())
