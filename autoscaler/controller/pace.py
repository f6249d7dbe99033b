"""When to learn anew: soon after something new was seen, and less and less often after that."""

from __future__ import annotations

from collections.abc import Set

FIRST_SECONDS = 900.0
"""A workload that is new has something to teach after a quarter of an hour."""
RETRY_SECONDS = 300.0
_LEAST_SHARE = 20.0
"""Learning takes at most one part in so many of the time."""


class Pace:
    """
    Says when to learn next: at once, then as the last time plus `FIRST_SECONDS`, twice that, and so on up to *longest*.

    A workload that was not there before begins the row anew. All times are of the monotonic clock.
    """

    def __init__(self, now: float, *, longest: float) -> None:
        self.at = now
        """When it is time to learn."""
        self._longest = longest
        self._wait = min(FIRST_SECONDS, longest)
        self._known: Set[str] = frozenset()

    def adopt(self, workloads: Set[str], *, now: float, age: float) -> None:
        """Take over what was learned of these *workloads* *age* seconds ago."""
        self._known, self._wait = workloads, self._longest
        self.at = now + self._longest - max(0.0, age)

    def sees(self, workloads: Set[str], *, now: float) -> None:
        """Note which workloads there are to learn of."""
        if not workloads <= self._known:
            self._wait = min(FIRST_SECONDS, self._longest)
            self.at = min(self.at, now + self._wait)
        self._known = workloads

    def learned(self, *, answered: bool, began: float, seconds: float) -> None:
        """Note that learning *began* and took so many *seconds*, and whether there was an answer."""
        if not answered:
            self.at = began + RETRY_SECONDS
            return
        self.at = began + min(self._longest, max(self._wait, _LEAST_SHARE * seconds))
        self._wait = min(self._longest, 2 * self._wait)
