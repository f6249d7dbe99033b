"""Wait for a state of the world, with a deadline, and never longer than it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from autoscaler.clock import SystemClock
from autoscaler.interfaces import Clock

Found = TypeVar("Found")
DEADLINE_SECONDS = 30.0
POLL_SECONDS = 0.05
PATIENCE = 3.0
"""How much longer than a quiet machine a busy one may take: it is slow then, not wrong."""


async def eventually(
    look: Callable[[], Awaitable[Found]],
    *,
    what: str,
    within: float = DEADLINE_SECONDS,
    every: float = POLL_SECONDS,
    clock: Clock | None = None,
) -> Found:
    """
    Call *look* until it returns something true, and return that.

    Args:
        what: what is waited for, as the message says it.
        within: seconds that it may take on a quiet machine; after `PATIENCE` times as
            long AssertionError is raised, with what *look* returned last.
        every: seconds between two looks.
    """
    clock = clock or SystemClock()
    deadline = clock.monotonic() + PATIENCE * within
    while True:
        found = await look()
        if found:
            return found
        if clock.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {PATIENCE * within:g} s; last seen: {found!r}")
        await clock.sleep(every)
