"""Turns come every period, and soon after pods that fit nowhere."""

from __future__ import annotations

import asyncio

import pytest

from autoscaler.clock import ManualClock, SystemClock
from autoscaler.controller.triggers import Trigger, Triggers
from autoscaler.controller.waiting import unless_set


async def test_the_first_turn_is_due_at_once_and_then_each_period() -> None:
    clock = ManualClock(100.0)
    triggers = Triggers(clock, period=15.0)
    seen = []
    for _ in range(3):
        seen.append((await triggers.next(), triggers.take(), clock.monotonic()))
        clock.advance(2.0)
    assert seen == [("period", None, 100.0), ("period", None, 115.0), ("period", None, 130.0)]


async def test_a_turn_longer_than_a_period_is_followed_at_once_and_only_once() -> None:
    clock = ManualClock(0.0)
    triggers = Triggers(clock, period=15.0)
    times = []
    for took in (40.0, 1.0, 1.0):
        await triggers.next()
        times.append(clock.monotonic())
        clock.advance(took)
    assert times == [0.0, 40.0, 55.0]


@pytest.mark.parametrize(
    ("pokes", "at"),
    [
        pytest.param([1.0], 2.0, id="a-second-after-the-only-one"),
        pytest.param([1.0, 1.5, 2.2], 3.2, id="a-second-after-the-last"),
        pytest.param([1.0 + 0.5 * n for n in range(24)], 11.0, id="ten-seconds-after-the-first-at-most"),
    ],
)
async def test_a_burst_of_pods_is_waited_out(pokes: list[float], at: float) -> None:
    clock = ManualClock(0.0)
    triggers = Triggers(clock, period=100.0)
    await triggers.next()
    for time in pokes:
        clock.advance(time - clock.monotonic())
        triggers.poke()
    due, trigger = triggers.due()
    assert due == pytest.approx(at)
    assert trigger is Trigger.PENDING
    assert await triggers.next() is Trigger.PENDING
    assert triggers.take() == 1.0
    assert triggers.due() == (100.0, Trigger.PERIOD)


async def test_a_turn_of_the_period_serves_pods_that_wait() -> None:
    clock = ManualClock(0.0)
    triggers = Triggers(clock, period=15.0)
    await triggers.next()
    clock.advance(14.5)
    triggers.poke()
    assert await triggers.next() is Trigger.PERIOD
    assert triggers.due() == (15.5, Trigger.PENDING), "until the turn looks at them"
    assert triggers.take() == 14.5
    assert triggers.due() == (30.0, Trigger.PERIOD)


async def test_pods_that_wait_are_told_from_the_period() -> None:
    clock = ManualClock(0.0)
    triggers = Triggers(clock, period=0.1)
    waiting = asyncio.create_task(triggers.pending())
    await asyncio.wait({waiting}, timeout=0)
    clock.advance(5.0)
    triggers.poke()
    assert await waiting
    assert clock.monotonic() == 6.0
    assert await triggers.next() is Trigger.PERIOD
    assert triggers.take() == 5.0


async def test_a_pod_that_comes_while_it_waits_is_heard() -> None:
    triggers = Triggers(SystemClock(), period=600.0, quiet=0.01)
    await triggers.next()
    waiting = asyncio.create_task(triggers.next())
    asyncio.get_running_loop().call_later(0.02, triggers.poke)
    async with asyncio.timeout(10):
        assert await waiting is Trigger.PENDING


async def test_work_goes_on_for_its_grace_and_is_then_cut_off() -> None:
    stop, ended = asyncio.Event(), []
    stop.set()

    async def work(seconds: float) -> str:
        try:
            await SystemClock().sleep(seconds)
        finally:
            ended.append(seconds)
        return "done"

    assert await unless_set(stop, work(0.01), grace=10.0) == "done"
    assert await unless_set(stop, work(60.0), grace=0.01) is None
    assert await unless_set(stop, work(60.0)) is None
    assert ended == [0.01, 60.0, 60.0]


async def test_the_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await unless_set(asyncio.Event(), work())
