"""A lease's world in virtual time: a server, slow and lossy lines to it, processes that stall, die and start anew."""

from __future__ import annotations

import asyncio
import heapq
import json
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import count, cycle
from types import coroutine
from typing import Any

from autoscaler.errors import AutoscalerError, ConflictError, TransientError
from autoscaler.kube.client import AlreadyExistsError, NotFoundError
from autoscaler.kube.lease import Lease

LOST = math.inf
"""A delay: the message never arrives."""
_TURNS = 12
"""Turns of the event loop after which all that woke up waits again."""


@coroutine
def _turn() -> Generator[None, None, None]:
    yield


class VirtualTime:
    """Moves to the next thing that is due whenever everybody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def call_at(self, at: float, what: Callable[[], None]) -> None:
        if at < math.inf:
            heapq.heappush(self._due, (at, next(self._numbers), what))

    async def sleep_until(self, at: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self.call_at(at, lambda: None if woken.done() else woken.set_result(None))
        await woken

    async def run(self, until: float, *, check: Callable[[], None] = lambda: None) -> None:
        """Let time pass; *check* is called after each thing that happened."""
        await self._settle()
        while self._due and self._due[0][0] <= until:
            self.now, _, what = heapq.heappop(self._due)
            what()
            await self._settle()
            check()
        self.now = until

    async def _settle(self) -> None:
        for _ in range(_TURNS):
            await _turn()


class Process:
    """A candidate's own machine: its clock's offset and speed, and when it stood still (start, end)."""

    def __init__(
        self, time: VirtualTime, *, offset: float = 0.0, rate: float = 1.0, stalls: Sequence[tuple[float, float]] = ()
    ) -> None:
        self._time, self._offset, self._rate, self._stalls = time, offset, rate, stalls

    def now(self) -> float:
        return 1_700_000_000.0 + self.monotonic()

    def monotonic(self) -> float:
        return self._offset + self._time.now * self._rate

    async def sleep(self, seconds: float) -> None:
        await self.wait(seconds / self._rate)

    async def wait(self, seconds: float) -> None:
        """Wait by true time, and longer while the process stands still."""
        await self._time.sleep_until(self._time.now + seconds)
        for start, end in self._stalls:
            if start <= self._time.now < end:
                await self._time.sleep_until(end)


class LeaseServer:
    """Keeps one Lease as the API server does: a write needs the version that is there."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.writes = 0
        self._versions = count(1)

    def read(self) -> bytes:
        if self.lease is None:
            raise NotFoundError("no such lease")
        return json.dumps(self.lease).encode()

    def write(self, method: str, body: Any) -> bytes:
        if method == "POST":
            if self.lease is not None:
                raise AlreadyExistsError("it exists")
        elif self.lease is None:
            raise NotFoundError("no such lease")
        elif body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ConflictError("it was changed")
        self.writes += 1
        metadata = {**body.get("metadata", {}), "resourceVersion": str(next(self._versions))}
        self.lease = {**body, "metadata": metadata}
        return self.read()

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        spec: dict[str, Any] = self.lease["spec"]
        return spec


class Line:
    """
    A candidate's connection. *delays* (there, back) in seconds are used in turn.

    A request that the candidate gave up may still arrive, and count.
    """

    def __init__(
        self,
        server: LeaseServer,
        time: VirtualTime,
        process: Process,
        delays: Iterable[tuple[float, float]] = ((0.0, 0.0),),
    ) -> None:
        self._delays = cycle(delays)
        self._server, self._time, self._process = server, time, process

    def use(self, *delays: tuple[float, float]) -> None:
        """From now on take these delays."""
        self._delays = cycle(delays)

    async def get(self, path: str, *, timeout: float) -> bytes:
        return await self._call(self._server.read, timeout)

    async def send(self, method: str, path: str, body: Any = None, *, timeout: float = 0.0) -> bytes:
        sent = json.loads(json.dumps(body))
        return await self._call(lambda: self._server.write(method, sent), timeout)

    async def _call(self, serve: Callable[[], bytes], timeout: float) -> bytes:
        there, back = next(self._delays)
        answers: list[bytes | AutoscalerError] = []

        def arrive() -> None:
            try:
                answers.append(serve())
            except AutoscalerError as error:
                answers.append(error)

        if there == 0:
            arrive()
        else:
            self._time.call_at(self._time.now + there, arrive)
        await self._process.wait(min(there + back, timeout))
        if there + back >= timeout:
            raise TransientError("no answer in time", retry_after_seconds=1)
        (answer,) = answers
        if isinstance(answer, AutoscalerError):
            raise answer
        return answer


class Candidate:
    """One process that takes part in the election, until it is killed."""

    def __init__(self, server: LeaseServer, time: VirtualTime, *, name: str = "a", **options: Any) -> None:
        delays = options.pop("delays", ((0.01, 0.01),))
        self.process = Process(time, **options)
        self.line = Line(server, time, self.process, delays)
        self.lease = Lease(self.line, self.process, name="leader", namespace="system", identity=name)
        self.alive = True
        self._task = asyncio.create_task(self.lease.run())

    @property
    def leads(self) -> bool:
        return self.alive and self.lease.may_act()

    async def kill(self) -> None:
        """End the process without a word, as kill -9 does."""
        self.alive = False
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        """End the process in order."""
        self._task.cancel()
        await asyncio.gather(self._task, self.lease.release(), return_exceptions=True)
        self.alive = False
