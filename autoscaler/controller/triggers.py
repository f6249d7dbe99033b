"""
When to decide next: every period, and soon after pods became unschedulable.

A burst of pods that fit nowhere is waited out until it was quiet for a second,
for ten seconds at most, so that nodes are bought once for all of them.
"""

from __future__ import annotations

import asyncio
import enum

from autoscaler.controller.waiting import unless_set
from autoscaler.interfaces import Clock

QUIET_SECONDS = 1.0
MOST_SECONDS = 10.0


class Trigger(enum.StrEnum):
    """What a turn was for."""

    PERIOD = "period"
    PENDING = "pending"


class Triggers:
    """
    Says when the next turn is due.

    `poke` is called, on the event loop, whenever a pod became unschedulable.
    The period counts from the start of the last turn that was due to it; a
    turn that lasts longer than a period is followed at once.
    """

    def __init__(
        self, clock: Clock, *, period: float, quiet: float = QUIET_SECONDS, most: float = MOST_SECONDS
    ) -> None:
        self._clock = clock
        self._period = period
        self._quiet = quiet
        self._most = most
        self._next_at = clock.monotonic()
        self._poked_first: float | None = None
        self._poked_last = 0.0
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """Note that pods became unschedulable now."""
        now = self._clock.monotonic()
        self._poked_first = now if self._poked_first is None else self._poked_first
        self._poked_last = now
        self._poked.set()

    def due(self) -> tuple[float, Trigger]:
        """Return when (on the monotonic clock) the next turn is due as things are, and for what."""
        if self._poked_first is None:
            return self._next_at, Trigger.PERIOD
        pending_at = min(self._poked_last + self._quiet, self._poked_first + self._most)
        return min((self._next_at, Trigger.PERIOD), (pending_at, Trigger.PENDING))

    async def next(self) -> tuple[Trigger, float | None]:
        """
        Wait until a turn is due; return for what, and when the first of the pods it is for was seen, if any.

        The turn that is due sees all pods that are there now: they are no longer waited for.
        """
        while True:
            self._poked.clear()
            at, trigger = self.due()
            wait = at - self._clock.monotonic()
            if wait <= 0.0:
                break
            await unless_set(self._poked, self._clock.sleep(wait))
        since, self._poked_first = self._poked_first, None
        if trigger is Trigger.PERIOD:
            self._next_at = self._clock.monotonic() + self._period
        return trigger, since
