"""Learning runs beside the event loop, and its metrics are read on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from autoscaler.controller.off_loop import off_loop
from autoscaler.interfaces import MetricsSource
from autoscaler.model.readings import Reading, Series, Signal, SignalKind


class _Source:
    """Says on which thread it was read."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    async def read(self, signals: Sequence[Signal], at: float) -> Mapping[Signal, Reading]:
        return {}

    async def history(self, signal: Signal, start: float, end: float, step: float) -> Series:
        self.threads.append(threading.get_ident())
        return Series(start=start, step=step, values=np.zeros(1))

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_work_runs_on_a_thread_and_reads_on_the_loop() -> None:
    source, ran_on = _Source(), []

    async def work(metrics: MetricsSource, *, at: float) -> float:
        ran_on.append(threading.get_ident())
        return (await metrics.history(Signal("w", SignalKind.CPU), at, at, 1.0)).start

    async with asyncio.timeout(10):
        assert await off_loop(work)(source, at=7.0) == 7.0
    assert source.threads == [threading.get_ident()]
    assert ran_on != source.threads


async def test_its_error_is_raised() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await off_loop(work)()
