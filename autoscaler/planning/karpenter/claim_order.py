"""
In which order claims are tried: those with the fewest pods first.

The order among equals is the one that Karpenter's sorting leaves: see
`unstable_sort`. Only one claim changes between two sorts, so most are one
insertion.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from autoscaler.planning.karpenter.claims import Claim
from autoscaler.planning.karpenter.unstable_sort import INSERTION, SHIFTING, probes, sort_unstably


class ClaimOrder:
    """Claims as they are to be tried; say of each pod which claim has taken it."""

    def __init__(self) -> None:
        self._claims: list[Claim] = []
        self._pods: list[int] = []
        self._changed: int | None = None

    def __len__(self) -> int:
        return len(self._claims)

    def in_order(self) -> Sequence[Claim]:
        """Return the claims, those with the fewest pods first."""
        if self._changed is not None:
            self._settle(self._changed)
            self._changed = None
        return self._claims

    def took(self, position: int) -> None:
        """Count one more pod on the claim at *position* of the order last given."""
        self._pods[position] += 1
        self._changed = position

    def append(self, claim: Claim) -> None:
        """Add a new claim with its first pod."""
        self._claims.append(claim)
        self._pods.append(1)
        self._changed = len(self._claims) - 1

    def _settle(self, at: int) -> None:
        """Sort: all but the item at *at* is sorted."""
        pods, length = self._pods, len(self._pods)
        above = at + 1 < length and pods[at + 1] < pods[at]
        below = at > 0 and pods[at] < pods[at - 1]
        if not above and not below:
            return
        # Only a sequence in which no probe meets the misplaced item is taken as nearly sorted, and shifted.
        met = above and any(at in (middle - 1, middle) for middle in probes(length))
        if length <= INSERTION or (length >= SHIFTING and not met):
            self._shift(at)
        else:
            sort_unstably(pods, self._claims)

    def _shift(self, at: int) -> None:
        count, claim = self._pods.pop(at), self._claims.pop(at)
        # What has grown stays before its equals, what is new goes after them.
        place = bisect_right(self._pods, count) if at == len(self._pods) else bisect_left(self._pods, count, at)
        self._pods.insert(place, count)
        self._claims.insert(place, claim)
