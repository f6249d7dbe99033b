"""
The order in which kube-scheduler fills nodes: each pod on the best-scored one, many pods of a class at a time.

Only for classes whose pods bear on one another through resources alone. Then a
placement changes the score of one node, and a heap does the rest.
"""

from __future__ import annotations

import heapq

import numpy as np

from autoscaler.model.arrays import Ints, Rows
from autoscaler.scheduling.classes import CPU_COLUMN, MEMORY_COLUMN, PodClass
from autoscaler.scheduling.columns import NodeColumns
from autoscaler.scheduling.ranking import resource_score, resource_scores

_SIZES = slice(CPU_COLUMN, MEMORY_COLUMN + 1)


def sizes_scores(nodes: NodeColumns, pod_class: PodClass, rows: Rows) -> Ints:
    """Return LeastAllocated + BalancedAllocation of *rows* for one more pod of the class."""
    allocatable = nodes.allocatable[_SIZES, rows]
    scored = nodes.scored[:, rows] + np.array(pod_class.scored, np.int64)[:, None]
    return resource_scores(allocatable, scored, allocatable - nodes.free[_SIZES, rows], asks=pod_class.sizes)


def size_score(nodes: NodeColumns, pod_class: PodClass, row: int) -> int:
    """Return `sizes_scores` of one row, sooner."""
    filling = _Filling(nodes, pod_class, row)
    return resource_score(filling.allocatable, filling.scored, filling.taken, asks=pod_class.sizes)


def best_row(nodes: NodeColumns, rows: Rows, scores: Ints) -> int:
    """Return the one of *rows* with the highest score; ties go by node name."""
    return int(rows[_keys(nodes, rows, scores).argmin()])


def best_first(nodes: NodeColumns, pod_class: PodClass, *, rows: Rows, steady: Ints, wanted: int) -> list[int]:
    """
    Return the rows that up to *wanted* pods go to, in order; ties go by node name.

    *rows* are the nodes that are feasible for one pod, at least one; *steady*
    is the part of their scores that resources have no bearing on. Changes
    nothing. Stops early when a node fills up while the steady scores differ:
    they are relative to the nodes that are still feasible, so the caller must
    work them out anew and ask again.
    """
    scores = steady + sizes_scores(nodes, pod_class, rows)
    if wanted == 1:
        return [best_row(nodes, rows, scores)]
    ranks, keys = nodes.ranks()[rows], _keys(nodes, rows, scores)
    relative = bool(steady.min() != steady.max())
    if rows.size > wanted:
        # At every step one of the best `wanted` nodes is still untouched: no other is ever chosen.
        best = np.argpartition(keys, wanted - 1)[:wanted]
        rows, ranks, steady, keys = rows[best], ranks[best], steady[best], keys[best]
    heap = list(zip(keys.tolist(), range(len(rows)), strict=True))
    heapq.heapify(heap)
    filling: dict[int, _Filling] = {}
    placed: list[int] = []
    while heap and len(placed) < wanted:
        _, position = heap[0]
        row = int(rows[position])
        placed.append(row)
        if position not in filling:
            filling[position] = _Filling(nodes, pod_class, row)
        score = filling[position].add()
        if score is not None:
            key = int(ranks[position]) - (int(steady[position]) + score) * len(nodes)
            heapq.heapreplace(heap, (key, position))
        else:
            heapq.heappop(heap)
            if relative:
                break
    return placed


def _keys(nodes: NodeColumns, rows: Rows, scores: Ints) -> Ints:
    """Return one number for each row that orders by score, best first, and then by name."""
    keys: Ints = nodes.ranks()[rows] - scores * len(nodes)
    return keys


class _Filling:
    """One node while pods are put on it, in plain numbers."""

    __slots__ = ("allocatable", "asks", "class_", "room", "scored", "taken")

    def __init__(self, nodes: NodeColumns, pod_class: PodClass, row: int) -> None:
        self.class_ = pod_class
        cpu, memory = nodes.allocatable[_SIZES, row].tolist()
        free = nodes.free[:, row].tolist()
        self.allocatable = (cpu, memory)
        self.taken = [cpu - free[CPU_COLUMN], memory - free[MEMORY_COLUMN]]
        self.room = [free[column] for column, _ in pod_class.asks]
        self.asks = [ask for _, ask in pod_class.asks]
        own_cpu, own_memory = pod_class.scored
        cpu_scored, memory_scored = nodes.scored[:, row].tolist()
        self.scored = [cpu_scored + own_cpu, memory_scored + own_memory]

    def add(self) -> int | None:
        """Put one pod on it; return its score for the next one, None when that does not fit."""
        room, fits = self.room, True
        for position, ask in enumerate(self.asks):
            room[position] -= ask
            fits = fits and room[position] >= ask
        if not fits:
            return None
        sizes, scored = self.class_.sizes, self.class_.scored
        self.taken[0] += sizes[0]
        self.taken[1] += sizes[1]
        self.scored[0] += scored[0]
        self.scored[1] += scored[1]
        return resource_score(self.allocatable, self.scored, self.taken, asks=sizes)
