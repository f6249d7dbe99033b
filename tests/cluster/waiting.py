"""Wait for a state of the world, with a deadline, and never longer than it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from autoscaler.clock import SystemClock
from autoscaler.interfaces import Clock

Found = TypeVar("Found")
DEADLINE_SECONDS = 30.0
POLL_SECONDS = 0.05


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
        within: seconds after which AssertionError is raised, with what *look* returned last.
        every: seconds between two looks.
    """
    clock = clock or SystemClock()
    deadline = clock.monotonic() + within
    while True:
        found = await look()
        if found:
            return found
        if clock.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {within:g} s; last seen: {found!r}")
        await clock.sleep(every)
