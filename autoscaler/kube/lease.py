"""
Who leads: one Lease (coordination.k8s.io/v1), so that at most one process acts at a time.

The rules are client-go's (tools/leaderelection): each side trusts its own
monotonic clock alone. A candidate takes over when *it* has seen no renewal for
the lease's whole duration. The holder may act for `renew_seconds` after it
*began* its last successful renewal; that began before anybody could see it, so
the holder stops at least `duration_seconds - renew_seconds` before another
may begin. That gap is for calls under way and for clocks of different speed.

Unlike client-go's, a process that loses the lease goes on as a candidate.
A Lease that was deleted counts as held until it would have run out. Only
emptying its holder by hand hands over at once: then two may act until the old
holder's next renewal is refused.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol

import msgspec

from autoscaler.errors import AutoscalerError, ConflictError, TransientError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import RETRY_SECONDS, NotFoundError
from autoscaler.kube.scale import LEASES

_JITTER = 0.2
"""Share by which candidates' waits differ, so that they do not all ask at once."""


class LeaseCalls(Protocol):
    """What of `kube.client.ApiServer` a lease uses."""

    async def get(self, path: str, *, timeout: float) -> bytes: ...
    async def send(self, method: str, path: str, body: Any = None, *, timeout: float = ...) -> bytes: ...


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None
    renew_time: datetime | None = None


class _Record(msgspec.Struct, rename="camel"):
    """A Lease as the server has it; every write changes `version`."""

    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    document: dict[str, Any] = {}
    """All of it, so that a write keeps what others put there."""

    @property
    def version(self) -> str:
        return self.metadata.resource_version

    @property
    def holder(self) -> str:
        return self.spec.holder_identity or ""


_ABSENT = _Record()


class Lease:
    """
    Takes part in an election while `run` runs.

    Args:
        identity: who we are, for people; a random end makes it unique.
        duration_seconds: how long others wait after the last renewal they saw.
        renew_seconds: how long we may act after we began a renewal that succeeded.
        retry_seconds: between two renewals, and between two looks of a candidate.

    Raises:
        ValueError: not duration > renew > 2 × retry > 0.
    """

    def __init__(
        self,
        api: LeaseCalls,
        clock: Clock,
        *,
        name: str,
        namespace: str,
        identity: str,
        duration_seconds: float = 15.0,
        renew_seconds: float = 10.0,
        retry_seconds: float = 2.0,
    ) -> None:
        if not duration_seconds > renew_seconds > 2 * retry_seconds > 0:
            raise ValueError(
                "a lease needs duration > renew > 2 × retry > 0 seconds, "
                f"got {duration_seconds:g}, {renew_seconds:g} and {retry_seconds:g}"
            )
        self.holder = f"{identity}_{uuid.uuid4().hex[:8]}"
        """What we write as `holderIdentity`."""
        self.leader = ""
        """Who was last seen to hold the lease, "" for nobody."""
        self.problem = ""
        """Why the last try failed, "" if it did not."""
        self._api = api
        self._clock = clock
        self._names = (namespace, name)
        self._path = LEASES.to(name, namespace=namespace)
        self._duration, self._renew, self._retry = duration_seconds, renew_seconds, retry_seconds
        self._call_seconds = (renew_seconds - retry_seconds) / 2
        self._random = Random(identity)  # noqa: S311  (spreads load, guards nothing)
        self._act_until = float("-inf")
        self._seen, self._seen_at = _ABSENT, float("-inf")
        self._renewed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._released = False

    def may_act(self) -> bool:
        """Tell whether we lead: no other process can, now."""
        return self._clock.monotonic() < self._act_until

    async def wait_leader(self) -> None:
        """Wait until `may_act`."""
        while not self.may_act():
            self._renewed.clear()
            await self._renewed.wait()

    async def run(self) -> None:
        """Take part until cancelled or released; what goes wrong is in `problem`, and tried again."""
        while not self._released:
            async with self._turn:
                try:
                    await self._try()
                    self.problem = ""
                except AutoscalerError as error:
                    self.problem = str(error)
            await self._clock.sleep(self._pause())

    async def release(self) -> None:
        """Stop acting and let others take over at once; where the server does not answer they wait as usual."""
        self._released = True
        self._act_until = float("-inf")
        async with self._turn:
            try:
                await self._look()
                if self._seen.holder == self.holder:
                    await self._write(holder="", duration=1)
            except AutoscalerError as error:
                self.problem = str(error)

    async def _try(self) -> None:
        """Renew what is ours, take what is free; else only look."""
        if self._seen.holder == self.holder:
            try:
                await self._take()
            except ConflictError:
                pass  # somebody wrote meanwhile, or deleted it: look who
            else:
                return
        await self._look()
        if self._is_free():
            await self._take()
        elif self._seen.holder != self.holder:
            self._act_until = float("-inf")

    def _is_free(self) -> bool:
        holder = self._seen.holder
        return holder in ("", self.holder) or self._clock.monotonic() >= self._expires_at()

    def _expires_at(self) -> float:
        """Return when, on our clock, the lease that we saw runs out: its holder's promise counts, not our setting."""
        return self._seen_at + (self._seen.spec.lease_duration_seconds or self._duration)

    async def _look(self) -> None:
        try:
            self._note(_record(await self._api.get(self._path, timeout=self._call_seconds)))
        except NotFoundError:
            if self._is_free():
                self._note(_ABSENT)

    def _note(self, record: _Record) -> None:
        """Remember the record, and when each version of it was first seen."""
        if record.version != self._seen.version:
            self._seen_at = self._clock.monotonic()
        self._seen = record
        self.leader = record.holder

    async def _take(self) -> None:
        """Write ourselves as the holder; from when we began on, we may act."""
        began = self._clock.monotonic()
        await self._write(holder=self.holder, duration=math.ceil(self._duration))
        if not self._released:
            self._act_until = began + self._renew
            self._renewed.set()

    async def _write(self, *, holder: str, duration: int) -> None:
        old, now = self._seen, _micro_time(self._clock.now())
        spec: dict[str, Any] = {"holderIdentity": holder, "leaseDurationSeconds": duration, "renewTime": now}
        if holder != old.holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = (old.spec.lease_transitions or 0) + (1 if holder and old.version else 0)
        document = {**old.document, "spec": {**old.document.get("spec", {}), **spec}}
        if old.version:
            answer = await self._api.send("PUT", self._path, document, timeout=self._call_seconds)
        else:
            namespace, name = self._names
            document["metadata"] = {"name": name, "namespace": namespace}
            path = LEASES.to(namespace=namespace)
            answer = await self._api.send("POST", path, document, timeout=self._call_seconds)
        self._note(_record(answer))

    def _pause(self) -> float:
        """Return how long to wait: as holder a fixed time, as candidate until the lease may be free at the latest."""
        if self._seen.holder == self.holder:
            return self._retry
        pause = self._retry * (1 + _JITTER * self._random.random())
        if self._seen.holder:
            left = self._expires_at() - self._clock.monotonic()
            if left > 0:
                return min(pause, left + self._retry * _JITTER * self._random.random())
        return pause


def _record(answer: bytes) -> _Record:
    try:
        record = msgspec.json.decode(answer, type=_Record)
        record.document = msgspec.json.decode(answer)
    except msgspec.MsgspecError as error:
        raise TransientError(f"the answer is no Lease: {error}", retry_after_seconds=RETRY_SECONDS) from error
    return record


def holder_of(answer: bytes, *, now: float) -> str:
    """
    Return who holds a Lease as a GET of it tells, "" where nobody or only a process that is long gone.

    For people's commands: *now* is compared with the time that the holder
    wrote, with as much leeway as the lease is long for clocks that differ.
    """
    spec = _record(answer).spec
    if spec.renew_time is None or spec.lease_duration_seconds is None:
        return spec.holder_identity or ""
    gone = now > spec.renew_time.timestamp() + 2 * spec.lease_duration_seconds
    return "" if gone else spec.holder_identity or ""


def _micro_time(now: float) -> str:
    """Return a MicroTime: UTC, always with six digits."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
