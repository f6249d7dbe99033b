"""Worker processes: what is left of them when a run is stopped."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from multiprocessing import active_children
from multiprocessing.connection import wait
from threading import Event

from autoscaler.backtest.workers import submitted

Call = tuple[Callable[..., int], tuple[object, ...]]


def _handler_in_worker() -> int:
    return int(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)


def test_results_come_in_order_and_workers_leave_ctrl_c_to_their_parent() -> None:
    calls: list[Call] = [(_handler_in_worker, ()), (abs, (-5,))]
    # A shell without job control starts what runs in the background with Ctrl-C ignored.
    before = signal.getsignal(signal.SIGINT)
    with submitted(calls, workers=1) as futures:
        assert [future.result() for future in futures] == [1, 5]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_ends_workers_that_are_still_busy() -> None:
    calls: list[tuple[Callable[..., bool], tuple[object, ...]]] = [(_wait_for_ever, ())]
    children = []
    with contextlib.suppress(KeyboardInterrupt), submitted(calls, workers=1):
        children = active_children()
        raise KeyboardInterrupt
    assert children
    # The pool reaps its processes too: a second wait for one would find nothing and call it alive.
    assert wait([child.sentinel for child in children], timeout=10)


def _wait_for_ever() -> bool:
    return Event().wait()
