"""Waits that end early: for a stop, or for whichever of two things comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def unless_set(stop: asyncio.Event, work: Coroutine[Any, Any, _Result], *, grace: float = 0.0) -> _Result | None:
    """
    Return what *work* returns; None when *stop* is set before, and *grace* seconds more were not enough.

    Work that is cut off is cancelled, and has ended when this returns.
    """
    task = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and grace > 0.0:
            await asyncio.wait({task}, timeout=grace)
        return task.result() if task.done() else None
    finally:
        await ended(stopping)
        await ended(task)


async def unless_done(other: asyncio.Task[Any], work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """Return what *work* returns; None when *other* is done before: the work is cancelled then."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task, other}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        await ended(task)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel *task* and wait until it has ended; what became of it is not told."""
    task.cancel()
    await asyncio.wait({task})
