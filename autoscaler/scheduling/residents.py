"""
Which pods are on which node, by class, and running answers to questions about them.

A tally is a sum by node over the classes that a `TallySpec` weighs. It is
made when first asked for and then kept up to date, so that placing a pod
costs only the tallies which its class is in.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from autoscaler.model.arrays import Rows
from autoscaler.scheduling.classes import ClassBook, PodClass, TallySpec


class Tally:
    """`by_row` has the sum for each node with a class in it (some may be 0); `seen` is how many classes it knows."""

    __slots__ = ("by_row", "seen")

    def __init__(self, by_row: dict[int, int], seen: int) -> None:
        self.by_row = by_row
        self.seen = seen


class Residents:
    """Pods on nodes as (class, row) counts. Begins with the placements given, one entry a pod."""

    def __init__(self, book: ClassBook, class_of_pod: Rows, row_of_pod: Rows) -> None:
        self._book = book
        order = np.argsort(class_of_pod, kind="stable")
        self._first_rows: Rows = row_of_pod[order]
        self._starts: list[int] = np.searchsorted(class_of_pod[order], np.arange(len(book.classes) + 1)).tolist()
        # A class's counts are made from the arrays when first needed: most classes never are.
        self._counts: dict[int, dict[int, int]] = {}
        self._tallies: dict[TallySpec, Tally] = {}
        self._watchers: dict[int, list[tuple[TallySpec, int]]] = {}

    def fork(self) -> Residents:
        twin = Residents.__new__(Residents)
        twin._book, twin._first_rows, twin._starts = self._book, self._first_rows, self._starts
        twin._counts = {index: counts.copy() for index, counts in self._counts.items()}
        twin._tallies = {spec: Tally(tally.by_row.copy(), tally.seen) for spec, tally in self._tallies.items()}
        twin._watchers = {index: watchers[:] for index, watchers in self._watchers.items()}
        return twin

    def counts(self, index: int) -> dict[int, int]:
        """Return the number of pods of class *index* by row; the caller may not change it."""
        found = self._counts.get(index)
        if found is None:
            found = {}
            if index + 1 < len(self._starts):
                for row in self._first_rows[self._starts[index] : self._starts[index + 1]].tolist():
                    found[row] = found.get(row, 0) + 1
            self._counts[index] = found
        return found

    def add(self, pod_class: PodClass, row: int, *, pods: int) -> None:
        """Put *pods* more of a class on a node, fewer if negative."""
        counts = self.counts(pod_class.index)
        left = counts.get(row, 0) + pods
        if left:
            counts[row] = left
        else:
            counts.pop(row, None)
        for spec, weight in self._watchers.get(pod_class.index, ()):
            by_row = self._tallies[spec].by_row
            by_row[row] = by_row.get(row, 0) + weight * pods

    def tally(self, spec: TallySpec) -> dict[int, int]:
        """Return the sum by row that *spec* asks for; rows that are absent have 0."""
        tally = self._tallies.get(spec)
        if tally is None:
            tally = self._tallies[spec] = Tally({}, 0)
        if tally.seen != len(self._book.classes):
            self._update(spec, tally)
        return tally.by_row

    def drop_row(self, row: int) -> None:
        """Forget what is on a node that goes away."""
        first = np.flatnonzero(self._first_rows == row)
        for position in np.unique(np.searchsorted(self._starts, first, side="right") - 1).tolist():
            self.counts(position)
        for counts in self._counts.values():
            counts.pop(row, None)
        for tally in self._tallies.values():
            tally.by_row.pop(row, None)

    def _update(self, spec: TallySpec, tally: Tally) -> None:
        """Take in the classes that came after the tally last looked."""
        fresh: dict[int, PodClass] = {}
        for name in spec.streams:
            stream = self._book.streams.get(name, [])
            for pod_class in stream[bisect_left(stream, tally.seen, key=lambda each: each.index) :]:
                fresh[pod_class.index] = pod_class
        for index, pod_class in fresh.items():
            weight = spec.weigh(pod_class)
            if weight:
                self._watchers.setdefault(index, []).append((spec, weight))
                for row, pods in self.counts(index).items():
                    tally.by_row[row] = tally.by_row.get(row, 0) + weight * pods
        tally.seen = len(self._book.classes)
