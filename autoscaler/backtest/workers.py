"""Processes that do runs, and that end at once when the run is stopped from the keyboard."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import TypeVar

_Result = TypeVar("_Result")


@contextmanager
def submitted(
    calls: Sequence[tuple[Callable[..., _Result], tuple[object, ...]]], *, workers: int
) -> Iterator[list[Future[_Result]]]:
    """
    Submit all calls, each a function and its arguments, to new processes and yield their futures, in order.

    Left by an exception, Ctrl-C included, the processes are ended and nothing
    is waited for. They leave Ctrl-C to this process: a terminal sends it to all
    of them, and each would print a traceback.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(max_workers=max(1, min(workers, len(calls))), mp_context=get_context("spawn"))
    try:
        with _interrupts_ignored():
            futures = [pool.submit(function, *arguments) for function, arguments in calls]
        yield futures
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in active_children():
            if process not in others:
                process.terminate()
        raise
    pool.shutdown()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C for a moment: processes started meanwhile inherit that for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
