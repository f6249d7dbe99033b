"""
Writes the status of our objects, but only news: an API server must bear thousands of them.

A change of a condition, of the mode or of a count is written at once. A size,
a cost or a reason that moved is written at most once a minute, one that drifted
by less than a twentieth not at all. What one `publish` cannot write in its
limits waits for the next.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from autoscaler.errors import AutoscalerError, ConflictError, TransientError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import APPLY
from autoscaler.kube.edits import FIELD_MANAGER
from autoscaler.kube.status_text import ObjectStatus
from autoscaler.model.units import parse_quantity

DRIFT = 0.05
"""Share by which an amount may differ from what is told."""
_CALL_SECONDS = 5.0
_LAG_SECONDS = 10.0
"""For so long after a write the object that was read may be older than it."""
_PARAMS = {"fieldManager": FIELD_MANAGER, "force": "true"}


class News(enum.IntEnum):
    """How much a status differs from what is told."""

    NONE = 0
    DRIFT = 1
    CHANGE = 2


class StatusCalls(Protocol):
    """What of `kube.client.ApiServer` a writer of statuses uses."""

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = ...,
        params: Mapping[str, str] | None = ...,
        timeout: float = ...,
    ) -> bytes: ...


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """How many statuses were written, wait for their turn, and failed; `problem` is the first failure's text."""

    written: int = 0
    waiting: int = 0
    failed: int = 0
    problem: str = ""


class _Known(msgspec.Struct, frozen=True):
    at: float
    status: Mapping[str, Any]


class StatusWriter:
    """
    Applies statuses (server-side apply, forced: they are ours alone).

    Args:
        drift_seconds: least time between two writes of an object for drifts.
        most: writes in one `publish`.
        at_once: calls under way at the same time.
        deadline_seconds: how long one `publish` may take.
    """

    def __init__(
        self,
        api: StatusCalls,
        clock: Clock,
        *,
        drift_seconds: float = 60.0,
        most: int = 300,
        at_once: int = 8,
        deadline_seconds: float = 30.0,
    ) -> None:
        self._api, self._clock = api, clock
        self._drift_seconds, self._deadline = drift_seconds, deadline_seconds
        self._most, self._at_once = most, at_once
        self._known: dict[tuple[str, str], _Known] = {}

    async def publish(self, statuses: Sequence[ObjectStatus]) -> Published:
        """Write what is news, changes first, then what was written longest ago. Never raises for one object."""
        now = self._clock.monotonic()
        present = {_key(each) for each in statuses}
        self._known = {key: known for key, known in self._known.items() if key in present}
        # Thousands of comparisons would hold up the event loop.
        due = await asyncio.to_thread(self._due, statuses, now)
        chosen = due[: self._most]
        tally = _Tally()
        left = iter(chosen)
        try:
            async with asyncio.timeout(self._deadline), asyncio.TaskGroup() as group:
                for _ in range(min(self._at_once, len(chosen))):
                    group.create_task(self._work(left, tally))
        except TimeoutError:
            tally.problem = tally.problem or f"no answer within {self._deadline:g} s"
        waiting = len(due) - tally.written - tally.failed
        return Published(written=tally.written, waiting=waiting, failed=tally.failed, problem=tally.problem)

    def _due(self, statuses: Sequence[ObjectStatus], now: float) -> list[ObjectStatus]:
        """Return what is to be written, in the order to write it."""
        news = [(self._news(each, now), each) for each in statuses]
        due = [(-what, self._written_at(each), number) for number, (what, each) in enumerate(news) if what]
        return [statuses[number] for _, _, number in sorted(due)]

    def _written_at(self, each: ObjectStatus) -> float:
        known = self._known.get(_key(each))
        return known.at if known is not None else float("-inf")

    def _news(self, each: ObjectStatus, now: float) -> News:
        """Tell what of *each* is to be written now."""
        known = self._known.get(_key(each))
        fresh = known is not None and now - known.at < _LAG_SECONDS
        news = news_of(each.status, known.status if known is not None and fresh else each.before)
        if news is News.DRIFT and known is not None and now - known.at < self._drift_seconds:
            return News.NONE
        return news

    async def _work(self, left: Iterator[ObjectStatus], tally: _Tally) -> None:
        for each in left:
            if tally.stop:
                return
            try:
                await self._write(each)
                tally.written += 1
            except TransientError as error:
                # The server is unwell, or asks for patience: all others wait, too.
                tally.fail(error, stop=True)
            except ConflictError:
                tally.failed += 1  # the object is gone, or is another one now
            except AutoscalerError as error:
                tally.fail(error)

    async def _write(self, each: ObjectStatus) -> None:
        metadata = {"name": each.name}
        metadata |= {"namespace": each.namespace} if each.namespace else {}
        body = {
            "apiVersion": each.resource.api_version,
            "kind": each.kind,
            "metadata": metadata,
            "status": each.status,
        }
        await self._api.send("PATCH", each.path, body, content_type=APPLY, params=_PARAMS, timeout=_CALL_SECONDS)
        self._known[_key(each)] = _Known(self._clock.monotonic(), each.status)


def news_of(status: Mapping[str, Any], told: Mapping[str, Any]) -> News:
    """Compare a status with what is told; messages and the time of the decision are never news by themselves."""
    if _gist(status) != _gist(told):
        return News.CHANGE
    if [each.get("code") for each in status.get("reasons", ())] != [
        each.get("code") for each in told.get("reasons", ())
    ]:
        return News.DRIFT
    mine, theirs = dict(_amounts(status)), dict(_amounts(told))
    if mine.keys() != theirs.keys() or any(_far(mine[name], theirs[name]) for name in mine):
        return News.DRIFT
    return News.NONE


class _Tally:
    """Counts, and whether to stop; shared by the workers of one `publish`."""

    def __init__(self) -> None:
        self.written = self.failed = 0
        self.stop = False
        self.problem = ""

    def fail(self, error: Exception, *, stop: bool = False) -> None:
        self.failed += 1
        self.stop = self.stop or stop
        self.problem = self.problem or str(error)


def _key(each: ObjectStatus) -> tuple[str, str]:
    return each.path, each.uid


def _gist(status: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what people act on."""
    replicas = _replicas(status)
    conditions = sorted(
        (each.get("type", ""), each.get("status"), each.get("reason"), each.get("observedGeneration"))
        for each in status.get("conditions") or ()
    )
    names = sorted(each.get("name", "") for each in status.get("containers") or ())
    nodes = status.get("nodes") or {}
    counts = (each.get(name) for each in (replicas, nodes) for name in ("current", "desired"))
    return status.get("mode"), *counts, conditions, names


def _replicas(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the counts of pods; a CapacityBuffer has but one."""
    found = status.get("replicas") or {}
    return found if isinstance(found, Mapping) else {"desired": found}


def _amounts(status: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every amount with its place."""
    replicas, cost = _replicas(status), status.get("cost") or {}
    yield from ((("replicas", name), replicas[name]) for name in ("lower", "upper") if name in replicas)
    yield from ((("cost", name), cost[name]) for name in ("currentPerDay", "desiredPerDay") if name in cost)
    sized = [("pod", status.get("pod") or {})]
    sized += [(f"container {each.get('name')}", each) for each in status.get("containers") or ()]
    for where, sizes in sized:
        for part in ("current", "target", "lower", "upper"):
            yield from (((where, part, name), amount) for name, amount in (sizes.get(part) or {}).items())


def _far(one: Any, other: Any) -> bool:
    if one == other:
        return False
    try:
        mine, theirs = parse_quantity(one), parse_quantity(other)
    except ValueError:
        return True
    return abs(mine - theirs) > DRIFT * abs(theirs)
