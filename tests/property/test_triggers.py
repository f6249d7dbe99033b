"""Whatever comes when: no pod waits longer than ten seconds for a turn, and no turn comes before a second of quiet."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.clock import ManualClock
from autoscaler.controller.triggers import MOST_SECONDS, QUIET_SECONDS, Trigger, Triggers

GAPS = st.lists(st.floats(min_value=0.01, max_value=5.0), min_size=1, max_size=30)


@given(gaps=GAPS, period=st.floats(min_value=1.0, max_value=60.0))
@settings(max_examples=60)
def test_waits_are_bounded(gaps: list[float], period: float) -> None:
    clock = ManualClock(0.0)
    triggers = asyncio.run(_made(clock, period))
    first: float | None = None
    last = 0.0
    for gap in gaps:
        clock.advance(gap)
        at, trigger = triggers.due()
        if first is not None:
            assert at <= first + MOST_SECONDS
            assert trigger is Trigger.PERIOD or at >= min(last + QUIET_SECONDS, first + MOST_SECONDS)
        if at <= clock.monotonic():
            asyncio.run(_next(triggers))
            first = None
        triggers.poke()
        last = clock.monotonic()
        first = last if first is None else first


async def _made(clock: ManualClock, period: float) -> Triggers:
    return Triggers(clock, period=period)


async def _next(triggers: Triggers) -> None:
    await triggers.next()
    triggers.take()
