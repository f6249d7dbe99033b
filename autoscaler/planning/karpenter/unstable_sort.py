"""
Sorting with the order of equals that Go's `sort.Slice` gives.

Karpenter sorts the claims by their number of pods before every pod, unstably,
so which of many equally filled claims comes first follows from the sorting
algorithm: pattern-defeating quicksort (O. Peters, arXiv:2106.05123) with the
constants of Go's package `sort` (1.26). Up to 12 items it is an insertion sort.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any

INSERTION, SHIFTING = 12, 50
"""Up to so many items are sorted by insertion; from so many on a few misplaced ones are shifted in place."""
_STEPS, _MOST_SWAPS = 5, 12
_BREAKABLE = 8
_WORD = (1 << 64) - 1


def sort_unstably(keys: MutableSequence[int], items: MutableSequence[Any]) -> None:
    """Sort *items* by *keys*, both in place, equals in Go's order."""
    _Sorter(keys, items).sort(0, len(keys), len(keys).bit_length())


def probes(length: int) -> tuple[int, ...]:
    """Return the middles of the neighbours that are compared to tell whether a long sequence is sorted already."""
    return tuple(length // 4 * quarter for quarter in (1, 2, 3))


class _Sorter:
    def __init__(self, keys: MutableSequence[int], items: MutableSequence[Any]) -> None:
        self.keys, self.items = keys, items

    def sort(self, low: int, high: int, bad_choices: int) -> None:
        balanced = partitioned = True
        while high - low > INSERTION:
            if bad_choices == 0:
                self._heap_sort(low, high)
                return
            if not balanced:
                self._scatter(low, high)
                bad_choices -= 1
            pivot, swaps = self._choose_pivot(low, high)
            if swaps == _MOST_SWAPS:
                self._reverse(low, high)
                pivot, swaps = high - 1 - (pivot - low), 0
            if balanced and partitioned and not swaps and self._shift_few(low, high):
                return
            if low > 0 and self.keys[low - 1] >= self.keys[pivot]:
                low = self._split_equal(low, high, pivot)
                continue
            middle, partitioned = self._split(low, high, pivot)
            balanced = min(middle - low, high - middle) >= (high - low) // 8
            if middle - low < high - middle:
                self.sort(low, middle, bad_choices)
                low = middle + 1
            else:
                self.sort(middle + 1, high, bad_choices)
                high = middle
        self._insertion_sort(low, high)

    def _swap(self, one: int, other: int) -> None:
        keys, items = self.keys, self.items
        keys[one], keys[other] = keys[other], keys[one]
        items[one], items[other] = items[other], items[one]

    def _insertion_sort(self, low: int, high: int) -> None:
        for at in range(low + 1, high):
            self._sink(at, low)

    def _sink(self, at: int, lowest: int) -> None:
        """Move an item to the left past all greater ones."""
        while at > lowest and self.keys[at] < self.keys[at - 1]:
            self._swap(at, at - 1)
            at -= 1

    def _rise(self, at: int, high: int) -> None:
        """Move the item before *at* to the right past all lesser ones."""
        while at < high and self.keys[at] < self.keys[at - 1]:
            self._swap(at, at - 1)
            at += 1

    def _heap_sort(self, low: int, high: int) -> None:
        for root in range((high - low - 1) // 2, -1, -1):
            self._sift(root, high - low, low)
        for end in range(high - low - 1, -1, -1):
            self._swap(low, low + end)
            self._sift(0, end, low)

    def _sift(self, root: int, end: int, first: int) -> None:
        keys = self.keys
        while (child := 2 * root + 1) < end:
            if child + 1 < end and keys[first + child] < keys[first + child + 1]:
                child += 1
            if keys[first + root] >= keys[first + child]:
                return
            self._swap(first + root, first + child)
            root = child

    def _shift_few(self, low: int, high: int) -> bool:
        """Put a few misplaced items right; tell whether all is sorted then."""
        at = low + 1
        for _ in range(_STEPS):
            while at < high and self.keys[at] >= self.keys[at - 1]:
                at += 1
            if at == high:
                return True
            if high - low < SHIFTING:
                return False
            self._swap(at, at - 1)
            if at - low > 1:
                self._sink(at - 1, 0)
            if high - at > 1:
                self._rise(at + 1, high)
        return False

    def _scatter(self, low: int, high: int) -> None:
        """Swap three items in the middle with others, by a fixed pseudo-random sequence."""
        length = high - low
        if length < _BREAKABLE:
            return
        state, mask = length, (1 << length.bit_length()) - 1
        middle = low + length // 4 * 2
        for at in range(middle - 1, middle + 2):
            state ^= state << 13 & _WORD
            state ^= state >> 7
            state ^= state << 17 & _WORD
            other = state & mask
            self._swap(at, low + (other - length if other >= length else other))

    def _choose_pivot(self, low: int, high: int) -> tuple[int, int]:
        """Return a median's place and how many comparisons found a disorder."""
        length, swaps = high - low, 0
        places = [low + at for at in probes(length)]
        if length >= SHIFTING:
            for number, at in enumerate(places):
                places[number], found = self._median(at - 1, at, at + 1)
                swaps += found
        pivot, found = self._median(*places)
        return pivot, swaps + found

    def _median(self, a: int, b: int, c: int) -> tuple[int, int]:
        keys, swaps = self.keys, 0
        if keys[b] < keys[a]:
            a, b, swaps = b, a, swaps + 1
        if keys[c] < keys[b]:
            b, c, swaps = c, b, swaps + 1
        if keys[b] < keys[a]:
            a, b, swaps = b, a, swaps + 1
        return b, swaps

    def _reverse(self, low: int, high: int) -> None:
        for offset in range((high - low) // 2):
            self._swap(low + offset, high - 1 - offset)

    def _split(self, low: int, high: int, pivot: int) -> tuple[int, bool]:
        """Put lesser items before the pivot and the others after it; return its place, and whether none had to move."""
        self._swap(low, pivot)
        left, right = self._closing(low, low + 1, high - 1)
        settled = left > right
        while left <= right:
            self._swap(left, right)
            left, right = self._closing(low, left + 1, right - 1)
        self._swap(right, low)
        return right, settled

    def _closing(self, pivot: int, left: int, right: int) -> tuple[int, int]:
        keys, value = self.keys, self.keys[pivot]
        while left <= right and keys[left] < value:
            left += 1
        while left <= right and keys[right] >= value:
            right -= 1
        return left, right

    def _split_equal(self, low: int, high: int, pivot: int) -> int:
        """Put the pivot's equals, of which nothing is less, first; return where greater ones begin."""
        self._swap(low, pivot)
        keys, value = self.keys, self.keys[low]
        left, right = low + 1, high - 1
        while True:
            while left <= right and value >= keys[left]:
                left += 1
            while left <= right and value < keys[right]:
                right -= 1
            if left > right:
                return left
            self._swap(left, right)
            left, right = left + 1, right - 1
