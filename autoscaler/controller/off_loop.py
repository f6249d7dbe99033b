"""
Runs slow learning in a thread with an event loop of its own, so that turns, watches and the lease go on.

The work's own waits for metrics are handed to the main loop, where their connections live.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar, cast

from autoscaler.interfaces import MetricsSource
from autoscaler.model.readings import Reading, Series, Signal

_Result = TypeVar("_Result")
_Given = ParamSpec("_Given")


def off_loop(work: Callable[_Given, Awaitable[_Result]]) -> Callable[_Given, Awaitable[_Result]]:
    """Return *work* (a Refit or a Seed) as a coroutine function that runs it in a thread of its own."""

    async def elsewhere(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        main = asyncio.get_running_loop()
        handed: Any = [_OnLoop(cast(MetricsSource, each), main) if _is_source(each) else each for each in args]
        return await _in_thread(main, lambda: _awaited(work(*handed, **kwargs)))

    return elsewhere


def _is_source(value: object) -> bool:
    return hasattr(value, "history") and hasattr(value, "read")


async def _awaited(work: Awaitable[_Result]) -> _Result:
    return await work


async def _in_thread(main: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    done: asyncio.Future[_Result] = main.create_future()

    def tell(result: _Result | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = asyncio.run(make())
        except BaseException as problem:  # it is raised where the result is awaited
            error = problem
        # At the end of the process nobody waits any more, and the main loop is closed.
        with suppress(RuntimeError):
            main.call_soon_threadsafe(tell, result, error)

    # A daemon: a fit that takes minutes must not hold up the end of the process.
    threading.Thread(target=run, name="learning", daemon=True).start()
    return await done


class _OnLoop:
    """A metrics source whose calls run on another loop."""

    def __init__(self, source: MetricsSource, loop: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._loop = loop

    async def read(self, signals: Sequence[Signal], at: float) -> Mapping[Signal, Reading]:
        return await self._there(self._source.read(signals, at))

    async def history(self, signal: Signal, start: float, end: float, step: float) -> Series:
        return await self._there(self._source.history(signal, start, end, step))

    async def aclose(self) -> None:
        """Leave it open: it belongs to others."""

    async def _there(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
