"""
Nodes as NumPy columns: what each has left, and which classes its labels and taints admit.

Everything that hangs on labels or taints alone is worked out once for each
distinct combination of the labels that a class looks at, so 5,000 nodes of 20
kinds cost 20 checks. A row stays a node's until the node is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from autoscaler.model.arrays import Bools, Codes, Ints, Rows
from autoscaler.model.node import Node
from autoscaler.model.placement import Effect, NodeSelectorTerm, Taint
from autoscaler.model.resources import Resources
from autoscaler.scheduling.classes import MAX_AMOUNT, ClassBook, PodClass
from autoscaler.scheduling.requirements import (
    label_map,
    matches_node_affinity,
    node_term_matches,
    node_terms_match,
    tolerates,
    untolerated_taint,
)

T = TypeVar("T")

_FIRST_ROWS = 64


class NodeColumns:
    """
    Nodes as rows; every array that it gives out has one entry a row, removed nodes' rows included.

    Arrays are int64 by (resource column, row). `alive`: the row holds a node;
    `reachable`: it takes pods; `open`: also pods that do not tolerate a cordon.
    """

    def __init__(self, book: ClassBook) -> None:
        self._book = book
        self.names: list[str] = []
        self._labels: list[Mapping[str, str]] = []
        self._taints: list[tuple[Taint, ...]] = []
        self._allocatable = np.zeros((len(book.columns), _FIRST_ROWS), np.int64)
        self._free = np.zeros_like(self._allocatable)
        self._scored = np.zeros((2, _FIRST_ROWS), np.int64)
        self._flags = np.zeros((3, _FIRST_ROWS), np.bool_)
        self._vacant: list[int] = []
        self._cache: dict[Any, Any] = {}
        self.version = 0
        """Changes whenever a node comes or goes."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def free(self) -> Ints:
        """What is left, by (resource column, row); below zero where a node is over-committed."""
        self._widen()
        return self._free[:, : len(self.names)]

    @property
    def allocatable(self) -> Ints:
        self._widen()
        return self._allocatable[:, : len(self.names)]

    @property
    def scored(self) -> Ints:
        """Cpu and memory that LeastAllocated counts as taken, by (2, row)."""
        return self._scored[:, : len(self.names)]

    @property
    def alive(self) -> Bools:
        return self._flags[0, : len(self.names)]

    @property
    def reachable(self) -> Bools:
        return self._flags[1, : len(self.names)]

    @property
    def open(self) -> Bools:
        return self._flags[2, : len(self.names)]

    def add(self, name: str, labels: Mapping[str, str], taints: tuple[Taint, ...], *, allocatable: Resources) -> int:
        """Give a node a row and return it; it is open and empty."""
        amounts = self._book.amounts(allocatable, pods=0)
        self._widen()
        row = self._vacant.pop() if self._vacant else len(self.names)
        if row == len(self.names):
            self._grow(row + 1)
            self.names.append(name)
            self._labels.append(labels)
            self._taints.append(taints)
        else:
            self.names[row], self._labels[row], self._taints[row] = name, labels, taints
        self._allocatable[:, row] = 0
        for column, amount in amounts:
            self._allocatable[column, row] = min(amount, MAX_AMOUNT)
        self._free[:, row] = self._allocatable[:, row]
        self._scored[:, row] = 0
        self._flags[:, row] = True
        self._changed()
        return row

    def add_all(self, nodes: Sequence[Node]) -> None:
        """Give each node the next row, in order; the columns must still be empty."""
        kinds: dict[tuple[tuple[int, int], ...], int] = {}
        amounts = [self._book.amounts(node.allocatable, pods=0) for node in nodes]
        kind_of = np.array([kinds.setdefault(each, len(kinds)) for each in amounts], np.intp)
        self._widen()
        self._grow(len(nodes))
        room = np.zeros((len(self._free), len(kinds)), np.int64)
        for each, kind in kinds.items():
            for column, amount in each:
                room[column, kind] = min(amount, MAX_AMOUNT)
        self.names = [node.name for node in nodes]
        self._labels = [label_map(node.labels) for node in nodes]
        self._taints = [node.taints for node in nodes]
        self._allocatable[:, : len(nodes)] = self._free[:, : len(nodes)] = room[:, kind_of]
        self._flags[:, : len(nodes)] = True
        self.open[:] = [not node.unschedulable for node in nodes]
        self._changed()

    def take(self, pod_class: PodClass, row: int, *, pods: int) -> None:
        """Take off what so many pods of a class use on a node; fewer than none give it back."""
        free, scored = self.free, self._scored
        for column, amount in pod_class.takes:
            free[column, row] -= amount * pods
        scored[0, row] += pod_class.scored[0] * pods
        scored[1, row] += pod_class.scored[1] * pods

    def take_all(self, classes: Sequence[PodClass], kinds: Rows, rows: Rows) -> None:
        """Take off what pods use, given as class index and row of each pod."""
        self._widen()
        takes = np.zeros((len(self._free), len(classes)), np.int64)
        for position, pod_class in enumerate(classes):
            for column, amount in pod_class.takes:
                takes[column, position] = amount
        for column in np.flatnonzero(takes.any(axis=1)).tolist():
            np.subtract.at(self._free[column], rows, takes[column, kinds])
        for size in (0, 1):
            np.add.at(self._scored[size], rows, np.array([each.scored[size] for each in classes], np.int64)[kinds])

    def drop(self, row: int) -> None:
        """Take a node away; its row may be given to another one later."""
        self._flags[:, row] = False
        self._free[:, row] = 0
        self._allocatable[:, row] = 0
        self._labels[row], self._taints[row], self.names[row] = {}, (), ""
        self._vacant.append(row)
        self._changed()

    def fork(self) -> NodeColumns:
        """Return a copy that shares nothing which either side changes."""
        twin = NodeColumns.__new__(NodeColumns)
        twin._book = self._book
        twin.names, twin._labels, twin._taints = self.names[:], self._labels[:], self._taints[:]
        twin._allocatable, twin._free = self._allocatable.copy(), self._free.copy()
        twin._scored, twin._flags = self._scored.copy(), self._flags.copy()
        twin._vacant, twin._cache, twin.version = self._vacant[:], self._cache, self.version
        return twin

    def codes(self, key: str) -> tuple[Codes, tuple[str, ...]]:
        """Return each row's value of a label as a number, -1 where it has none, and the values in first-seen order."""

        def number() -> tuple[Codes, tuple[str, ...]]:
            numbers: dict[str, int] = {}
            found = (labels.get(key) for labels in self._labels)
            codes = [-1 if value is None else numbers.setdefault(value, len(numbers)) for value in found]
            return np.array(codes, np.int32), tuple(numbers)

        return self.once(("codes", key), number)

    def ranks(self) -> Ints:
        """Return each row's place in the order of node names."""

        def rank() -> Ints:
            ranks = np.empty(len(self), np.int64)
            ranks[sorted(range(len(self)), key=self.names.__getitem__)] = np.arange(len(self))
            return ranks

        return self.once("ranks", rank)

    def admits(self, pod_class: PodClass) -> Bools:
        """Return where nodeName, nodeSelector, required node affinity, volumes and taints let the class go."""

        def test() -> Bools:
            mask: Bools = self.matches_affinity(pod_class) & self.tolerated(pod_class)
            for terms in pod_class.shape.volume_terms:
                mask = mask & self._meets(terms)
            wanted = pod_class.shape.node_name
            return mask & np.array([name == wanted for name in self.names], np.bool_) if wanted else mask

        return self.once(("admits", pod_class.signature), test)

    def matches_affinity(self, pod_class: PodClass) -> Bools:
        """Return where nodeSelector and required node affinity hold."""
        shape = pod_class.shape
        required = shape.affinity.node_required

        def test() -> Bools:
            if not shape.node_selector and required is None:
                return np.ones(len(self), np.bool_)
            keys = {key for key, _ in shape.node_selector}
            keys |= {test.key for term in required or () for test in term.match_expressions}
            by_name = any(term.match_fields for term in required or ())
            return self._by_kind(
                keys, lambda labels, name: matches_node_affinity(shape, labels, name), by_name=by_name
            ).astype(np.bool_)

        return self.once(("affinity", shape.node_selector, required), test)

    def tolerated(self, pod_class: PodClass) -> Bools:
        """Return where the class tolerates every NoSchedule and NoExecute taint."""
        shape = pod_class.shape

        def test() -> Bools:
            return self._by_taints(lambda taints: untolerated_taint(shape, taints) is None).astype(np.bool_)

        return self.once(("tolerated", shape.tolerations), test)

    def _meets(self, terms: tuple[NodeSelectorTerm, ...]) -> Bools:
        """Return where a volume with these terms can be used: names of nodes do not count for it."""
        keys = {test.key for term in terms for test in term.match_expressions}
        found = self._by_kind(keys, lambda labels, name: node_terms_match(terms, labels, ""), by_name=False)
        return found.astype(np.bool_)

    def disliked_taints(self, pod_class: PodClass) -> Ints:
        """Return how many PreferNoSchedule taints of each node the class does not tolerate."""
        covers = [each for each in pod_class.shape.tolerations if each.effect in (None, Effect.PREFER_NO_SCHEDULE)]

        def count(taints: tuple[Taint, ...]) -> int:
            soft = [taint for taint in taints if taint.effect is Effect.PREFER_NO_SCHEDULE]
            return sum(not any(tolerates(each, taint) for each in covers) for taint in soft)

        return self.once(("disliked", pod_class.shape.tolerations), lambda: self._by_taints(count))

    def liked_labels(self, pod_class: PodClass) -> Ints:
        """Return the weight of the preferred node affinity terms that hold on each node."""
        preferred = pod_class.shape.affinity.node_preferred

        def weigh(labels: Mapping[str, str], name: str) -> int:
            return sum(each.weight for each in preferred if node_term_matches(each.term, labels, name))

        def test() -> Ints:
            keys = {test.key for each in preferred for test in each.term.match_expressions}
            by_name = any(each.term.match_fields for each in preferred)
            return self._by_kind(keys, weigh, by_name=by_name)

        return self.once(("liked", preferred), test)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what *make* gave for *key* since nodes last came or went."""
        if key not in self._cache:
            self._cache[key] = make()
        found: T = self._cache[key]
        return found

    def _by_kind(self, keys: Collection[str], test: Callable[[Mapping[str, str], str], int], *, by_name: bool) -> Ints:
        """Return *test* of each row's labels and name, made once for each combination of the labels in *keys*."""
        if by_name:
            return np.array(
                [test(labels, name) for labels, name in zip(self._labels, self.names, strict=True)], np.int64
            )
        columns = [self.codes(key)[0] for key in sorted(keys)]
        if not columns:
            return np.full(len(self), test({}, ""), np.int64)
        _, rows, kinds = np.unique(np.stack(columns), axis=1, return_index=True, return_inverse=True)
        answers = np.array([test(self._labels[row], "") for row in rows.tolist()], np.int64)
        found: Ints = answers[kinds.reshape(-1)]
        return found

    def _by_taints(self, test: Callable[[tuple[Taint, ...]], int]) -> Ints:
        kinds = self.once("taints", self._taint_kinds)
        found: Ints = np.array([test(taints) for taints in kinds[1]], np.int64)[kinds[0]]
        return found

    def _taint_kinds(self) -> tuple[Codes, tuple[tuple[Taint, ...], ...]]:
        numbers: dict[tuple[Taint, ...], int] = {}
        codes = [numbers.setdefault(taints, len(numbers)) for taints in self._taints]
        return np.array(codes, np.int32), tuple(numbers)

    def _changed(self) -> None:
        # A new dictionary: forks may still read the old one.
        self._cache = {}
        self.version += 1

    def _widen(self) -> None:
        """Add rows of zeros for resources that the book has learned of since."""
        missing = len(self._book.columns) - len(self._free)
        if missing > 0:
            room = np.zeros((missing, self._free.shape[1]), np.int64)
            self._allocatable = np.vstack((self._allocatable, room))
            self._free = np.vstack((self._free, room))

    def _grow(self, rows: int) -> None:
        short = rows - self._free.shape[1]
        if short > 0:
            more = ((0, 0), (0, max(short, self._free.shape[1])))
            self._allocatable = np.pad(self._allocatable, more)
            self._free = np.pad(self._free, more)
            self._scored = np.pad(self._scored, more)
            self._flags = np.pad(self._flags, more)
