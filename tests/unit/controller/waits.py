"""What the tests of this folder wait with: a state of the world, by a deadline."""

from __future__ import annotations

from collections.abc import Callable

from autoscaler.clock import SystemClock

_CLOCK = SystemClock()


async def eventually(condition: Callable[[], object], *, within: float = 10.0) -> None:
    """Return when *condition* holds; fails when it does not within so many seconds."""
    until = _CLOCK.monotonic() + within
    while not condition():
        assert _CLOCK.monotonic() < until, "it did not come to be in time"
        await _CLOCK.sleep(0.005)
