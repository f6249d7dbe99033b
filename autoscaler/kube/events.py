"""
Events (events.k8s.io/v1) for people: few, and those that repeat as one series.

Two events are of one series when object, reason and note are equal; in the note
of a warning numbers may differ, for what is in trouble is so each cycle. A
series ends when it was silent for six minutes (client-go tools/events). Nothing here raises into the loop: an event
that cannot be written is counted and forgotten.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from autoscaler.errors import AutoscalerError, TransientError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import MERGE, NotFoundError
from autoscaler.kube.scale import EVENTS

CONTROLLER = "podnode.io/autoscaler"
SERIES_ENDS_SECONDS = 360.0
_REMEMBERED = 4096
"""Series kept in mind; the one silent for longest is forgotten first."""
_CALL_SECONDS = 5.0
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")
# Limits of the API: pkg/apis/core/validation/events.go.
_MOST_NOTE, _MOST_WORD, _MOST_NAME = 1024, 128, 253


class Regarding(msgspec.Struct, frozen=True, gc=False):
    """The object that an event is about; `namespace` is "" for one of the cluster."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""


class ObjectEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Something that happened to an object.

    `reason` and `action` are single words (`ScaledUp`, `Scale`); `note` is a sentence.
    """

    regarding: Regarding
    reason: str
    action: str
    note: str
    warning: bool = False

    @property
    def series(self) -> tuple[Regarding, str, str]:
        """What events of one series have in common."""
        return self.regarding, self.reason, _NUMBERS.sub("#", self.note) if self.warning else self.note


class EventCalls(Protocol):
    """What of `kube.client.ApiServer` a recorder uses."""

    async def send(
        self, method: str, path: str, body: Any = None, *, content_type: str = ..., timeout: float = ...
    ) -> bytes: ...


class Counts(msgspec.Struct, frozen=True):
    """What became of events: written (or added to a series), dropped by the limit, refused or not answered."""

    written: int = 0
    dropped: int = 0
    failed: int = 0


class _Series(msgspec.Struct):
    path: str
    count: int
    seen_at: float
    """When it last happened, by the monotonic clock."""
    told_at: float


class EventRecorder:
    """
    Writes events.

    Args:
        instance: which process writes, for people.
        per_minute: most writes in a minute; what is more is dropped.
        refresh_seconds: at most this often the count of a series is written.
        deadline_seconds: how long one `publish` may take.
    """

    def __init__(
        self,
        api: EventCalls,
        clock: Clock,
        *,
        instance: str = "podnode-autoscaler",
        per_minute: int = 60,
        refresh_seconds: float = 300.0,
        deadline_seconds: float = 10.0,
    ) -> None:
        self._api, self._clock = api, clock
        self._instance = instance[:_MOST_WORD]
        self._per_minute = per_minute
        self._refresh, self._deadline = refresh_seconds, deadline_seconds
        self._series: OrderedDict[tuple[Regarding, str, str], _Series] = OrderedDict()
        self._budget, self._budget_at = float(per_minute), clock.monotonic()
        self._number = 0

    async def publish(self, events: Sequence[ObjectEvent]) -> Counts:
        """Write *events*; where the server does not answer the rest is given up. Never raises."""
        written = dropped = failed = 0
        try:
            async with asyncio.timeout(self._deadline):
                for event in events:
                    if not self._is_news(event):
                        continue
                    if not self._may_write():
                        dropped += 1
                        continue
                    if await self._is_taken(event):
                        written += 1
                    else:
                        failed += 1
        except (TransientError, TimeoutError):
            failed += 1
        return Counts(written, dropped, failed)

    def _is_news(self, event: ObjectEvent) -> bool:
        """Count the event, and tell whether it is to be written now."""
        series, now = self._series.get(event.series), self._clock.monotonic()
        if series is None or now - series.seen_at > SERIES_ENDS_SECONDS:
            self._series.pop(event.series, None)
            return True
        series.count, series.seen_at = series.count + 1, now
        self._series.move_to_end(event.series)
        return now - series.told_at >= self._refresh

    def _may_write(self) -> bool:
        """Take one write out of the minute's budget, which fills up as time passes."""
        now = self._clock.monotonic()
        gained = (now - self._budget_at) * self._per_minute / 60.0
        self._budget, self._budget_at = min(float(self._per_minute), self._budget + gained), now
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True

    async def _is_taken(self, event: ObjectEvent) -> bool:
        try:
            await self._write(event)
        except TransientError:
            raise
        except AutoscalerError:  # this one, for its namespace goes away, say
            return False
        return True

    async def _write(self, event: ObjectEvent) -> None:
        series, now = self._series.get(event.series), self._clock.monotonic()
        if series is not None:
            body = {"series": {"count": series.count, "lastObservedTime": self._time()}}
            try:
                await self._api.send("PATCH", series.path, body, content_type=MERGE, timeout=_CALL_SECONDS)
                series.told_at = now
            except NotFoundError:
                pass  # the server forgets events after an hour: begin anew
            else:
                return
        self._number += 1
        document = self._document(event)
        namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]
        await self._api.send("POST", EVENTS.to(namespace=namespace), document, timeout=_CALL_SECONDS)
        self._series[event.series] = _Series(EVENTS.to(name, namespace=namespace), 1, now, now)
        while len(self._series) > _REMEMBERED:
            self._series.popitem(last=False)

    def _document(self, event: ObjectEvent) -> dict[str, Any]:
        about, time = event.regarding, self._time()
        # As client-go names them; the number keeps two of one moment apart.
        end = f".{int(self._clock.now() * 1e6):x}{self._number:x}"
        regarding = {"apiVersion": about.api_version, "kind": about.kind, "name": about.name}
        regarding |= {"namespace": about.namespace} if about.namespace else {}
        regarding |= {"uid": about.uid} if about.uid else {}
        return {
            "apiVersion": EVENTS.api_version,
            "kind": "Event",
            "metadata": {
                "name": about.name[: _MOST_NAME - len(end)] + end,
                # Events about objects of the cluster belong into the default namespace.
                "namespace": about.namespace or "default",
            },
            "eventTime": time,
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": event.action[:_MOST_WORD],
            "reason": event.reason[:_MOST_WORD],
            "regarding": regarding,
            "note": _shortened(event.note),
            "type": "Warning" if event.warning else "Normal",
        }

    def _time(self) -> str:
        return datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _shortened(note: str) -> str:
    """Cut a note to what the API takes, in bytes."""
    data = note.encode()
    if len(data) <= _MOST_NOTE:
        return note
    return data[: _MOST_NOTE - 3].decode(errors="ignore") + "…"
