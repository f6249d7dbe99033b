"""Few events, those that repeat as one series, and none that stops the loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autoscaler.clock import ManualClock
from autoscaler.errors import AccessError, AutoscalerError, TransientError
from autoscaler.kube.client import NotFoundError
from autoscaler.kube.events import Counts, EventRecorder, ObjectEvent, Regarding

WEB = Regarding("podnode.io/v1alpha1", "MultidimPodAutoscaler", "web", "shop", "uid-1")


class Server:
    """Keeps events by path; forgets them, or refuses, as it is told."""

    def __init__(self) -> None:
        self.events: dict[str, Any] = {}
        self.writes = 0
        self.refuse: AutoscalerError | None = None

    async def send(
        self, method: str, path: str, body: Any = None, *, content_type: str = "", timeout: float = 0.0
    ) -> bytes:
        self.writes += 1
        if self.refuse is not None:
            raise self.refuse
        if method == "POST":
            self.events[f"{path}/{body['metadata']['name']}"] = body
        elif path not in self.events:
            raise NotFoundError("404")
        else:
            self.events[path] |= body
        return b"{}"

    @property
    def counts(self) -> list[int]:
        return [event.get("series", {}).get("count", 1) for event in self.events.values()]


def event(note: str = "2 → 4 replicas", **fields: Any) -> ObjectEvent:
    return ObjectEvent(**{"regarding": WEB, "reason": "ScaledUp", "action": "Scale", "note": note, **fields})


async def test_an_event_says_what_happened_to_what() -> None:
    server, clock = Server(), ManualClock(1_700_000_000.25)
    assert await EventRecorder(server, clock, instance="pod-1").publish([event()]) == Counts(written=1)
    ((path, body),) = server.events.items()
    assert path.startswith("/apis/events.k8s.io/v1/namespaces/shop/events/web.")
    assert body["eventTime"] == "2023-11-14T22:13:20.250000Z"
    assert body["regarding"] == {
        "apiVersion": "podnode.io/v1alpha1", "kind": "MultidimPodAutoscaler", "name": "web", "namespace": "shop",
        "uid": "uid-1",
    }  # fmt: skip
    said = {name: body[name] for name in ("reason", "action", "note", "type", "reportingInstance")}
    assert said == {
        "reason": "ScaledUp", "action": "Scale", "note": "2 → 4 replicas", "type": "Normal",
        "reportingInstance": "pod-1",
    }  # fmt: skip


async def test_an_event_about_the_cluster_is_in_the_default_namespace() -> None:
    server = Server()
    node = event(regarding=Regarding("v1", "Node", "a" * 253), warning=True)
    await EventRecorder(server, ManualClock()).publish([node])
    ((path, body),) = server.events.items()
    assert "/namespaces/default/" in path
    assert len(body["metadata"]["name"]) == 253
    assert body["type"] == "Warning"


async def test_what_repeats_is_one_series_and_trouble_is_so_whatever_its_numbers() -> None:
    server, clock = Server(), ManualClock()
    recorder = EventRecorder(server, clock, refresh_seconds=60.0)
    for number in range(10):
        await recorder.publish([event(), event(f"held: no metric for {number} s", reason="Held", warning=True)])
        clock.advance(30.0)
    assert len(server.events) == 2
    assert server.counts == [9, 9], "counted each time, written each minute"


async def test_each_deed_is_told_with_its_own_numbers() -> None:
    server, clock = Server(), ManualClock()
    recorder = EventRecorder(server, clock)
    for number in range(3):
        await recorder.publish([event(f"{number} → {number + 1} replicas")])
    assert [body["note"] for body in server.events.values()] == ["0 → 1 replicas", "1 → 2 replicas", "2 → 3 replicas"]


async def test_what_was_silent_for_long_begins_anew() -> None:
    server, clock = Server(), ManualClock()
    recorder = EventRecorder(server, clock)
    await recorder.publish([event()])
    clock.advance(400.0)
    await recorder.publish([event()])
    assert server.counts == [1, 1]


async def test_what_the_server_forgot_begins_anew() -> None:
    server, clock = Server(), ManualClock()
    recorder = EventRecorder(server, clock, refresh_seconds=60.0)
    await recorder.publish([event()])
    server.events.clear()
    clock.advance(100.0)
    assert await recorder.publish([event()]) == Counts(written=1)
    assert server.counts == [1]


async def test_a_storm_is_cut_to_so_many_a_minute() -> None:
    server, clock = Server(), ManualClock()
    recorder = EventRecorder(server, clock, per_minute=20)
    storm = [event(regarding=Regarding("v1", "Node", f"n{number}")) for number in range(100)]
    assert await recorder.publish(storm) == Counts(written=20, dropped=80)
    clock.advance(30.0)
    assert await recorder.publish(storm[50:]) == Counts(written=10, dropped=40)
    assert server.writes == 30


@pytest.mark.parametrize(
    ("error", "writes"),
    [
        pytest.param(TransientError("503", retry_after_seconds=1), 1, id="no-answer-gives-up-the-rest"),
        pytest.param(AccessError("403"), 3, id="a-refusal-is-of-one-event"),
    ],
)
async def test_what_cannot_be_written_stops_nobody(error: AutoscalerError, writes: int) -> None:
    server = Server()
    server.refuse = error
    events = [event(regarding=Regarding("v1", "Node", name)) for name in "abc"]
    recorder = EventRecorder(server, ManualClock())
    assert (await recorder.publish(events)).failed == writes
    assert server.writes == writes
    server.refuse = None
    assert await recorder.publish(events) == Counts(written=3)


async def test_a_server_that_does_not_answer_holds_nobody_up() -> None:
    class Silent(Server):
        async def send(self, *args: Any, **options: Any) -> bytes:
            await asyncio.Event().wait()
            raise AssertionError

    recorder = EventRecorder(Silent(), ManualClock(), deadline_seconds=0.05)
    assert await recorder.publish([event()]) == Counts(failed=1)


async def test_a_long_note_is_cut_to_the_api_s_bytes() -> None:
    server = Server()
    await EventRecorder(server, ManualClock()).publish([event("→" * 1000)])
    (body,) = server.events.values()
    assert len(body["note"].encode()) <= 1024
    assert body["note"].endswith("…")
