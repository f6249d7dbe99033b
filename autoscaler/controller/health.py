"""What probes ask: is the loop alive, and does it know the cluster."""

from __future__ import annotations

from autoscaler.controller.gate import Gate
from autoscaler.interfaces import Clock

MOST_PERIODS = 8
_LEAST_SECONDS = 180.0
"""A first turn may wait a minute for history."""


class Health:
    """
    Answers `why_dead` and `why_not_ready`; "" is good.

    A process that stands by is alive: it only has to know the cluster.
    """

    def __init__(self, clock: Clock, *, gate: Gate, period: float) -> None:
        self._clock = clock
        self._gate = gate
        self._most_seconds = max(_LEAST_SECONDS, MOST_PERIODS * period)
        self._standing_by = True
        self._seen_at = clock.monotonic()
        self._turned = False

    def begins(self) -> None:
        """Note that turns begin now."""
        self._standing_by = False
        self._seen_at = self._clock.monotonic()

    def stands_by(self) -> None:
        """Note that no turns are to be expected."""
        self._standing_by = True

    def came_round(self, *, whole: bool) -> None:
        """Note the end of a turn, *whole* or cut short by what is outside: starting anew would not mend that."""
        self._turned = self._turned or whole
        self._seen_at = self._clock.monotonic()

    def why_dead(self) -> str:
        """Return why this process should be started anew, "" if it should not."""
        age = self._clock.monotonic() - self._seen_at
        if self._standing_by or age <= self._most_seconds:
            return ""
        return f"the last turn ended {age:.0f} s ago, at most {self._most_seconds:.0f} s are allowed"

    def why_not_ready(self) -> str:
        """Return what is still to come before the cluster is looked after, "" if nothing."""
        stale = self._gate.why_stale()
        if stale or self._standing_by:
            return stale
        return "" if self._turned else "no turn is done yet"
