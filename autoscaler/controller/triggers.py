"""
When to decide next: every period, and soon after pods became unschedulable.

A burst of pods that fit nowhere is waited out until it was quiet for a second,
for ten seconds at most, so that nodes are bought once for all of them.
"""

from __future__ import annotations

import asyncio
import enum
import math

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

    `poke` is called, on the event loop, whenever a pod became unschedulable,
    and `take` when the pods that wait are looked at. The period counts from
    the start of the last turn that was due to it; a turn that lasts longer
    than a period is followed at once.
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
        return min((self._next_at, Trigger.PERIOD), (self._pending_at(), Trigger.PENDING))

    def take(self) -> float | None:
        """Wait no longer for the pods that are there now: a turn sees them. Return when the first was seen, if any."""
        since, self._poked_first = self._poked_first, None
        return since

    async def next(self) -> Trigger:
        """Wait until a turn is due; return for what."""
        while True:
            self._poked.clear()
            at, trigger = self.due()
            wait = at - self._clock.monotonic()
            if wait <= 0.0:
                break
            await unless_set(self._poked, self._clock.sleep(wait))
        if trigger is Trigger.PERIOD:
            self._next_at = self._clock.monotonic() + self._period
        return trigger

    async def pending(self) -> bool:
        """Wait until a turn for pods that fit nowhere is due, however long: true."""
        while True:
            self._poked.clear()
            wait = math.inf if self._poked_first is None else self._pending_at() - self._clock.monotonic()
            if wait <= 0.0:
                return True
            if math.isinf(wait):
                await self._poked.wait()
            else:
                await unless_set(self._poked, self._clock.sleep(wait))

    def _pending_at(self) -> float:
        first = self._poked_last if self._poked_first is None else self._poked_first
        return min(self._poked_last + self._quiet, first + self._most)
