"""Time for the shell: the system's, or one that tests and the simulator move by hand."""

from __future__ import annotations

import time


class SystemClock:
    """Wall time, and the only place that reads it."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)


class ManualClock:
    """Stands still until it is moved; `sleep` moves it, so loops run at full speed."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move forward; raises ValueError for a negative step."""
        if seconds < 0:
            raise ValueError(f"seconds must be at least 0, got {seconds}")
        self._now += seconds
