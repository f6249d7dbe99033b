"""Which statuses are written, and when: an API server must bear thousands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from autoscaler.clock import ManualClock
from autoscaler.errors import AutoscalerError, TransientError
from autoscaler.kube.client import NotFoundError, RefusedError
from autoscaler.kube.scale import OURS
from autoscaler.kube.status import News, Published, StatusWriter, news_of
from autoscaler.kube.status_text import ObjectStatus


def status(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mode": "Auto",
        "observedGeneration": 1,
        "replicas": {"current": 2, "desired": 3, "lower": 20, "upper": 40},
        "pod": {"current": {"cpu": "500m"}, "target": {"cpu": "350m"}},
        "containers": [{"name": "app", "current": {"cpu": "500m"}, "target": {"cpu": "350m"}, "lower": {"cpu": "1"}}],
        "cost": {"currentPerDay": "11.20", "desiredPerDay": "6.90", "currency": "USD"},
        "conditions": [
            {"type": "Valid", "status": "True", "reason": "Valid", "message": "", "observedGeneration": 1},
        ],
        "reasons": [{"code": "LoadNeedsMore", "message": "3 serve the 0.97 quantile at 6.90 a day"}],
        "lastDecision": {"digest": "a", "time": "2026-01-01T00:00:00Z"},
    }
    return {**found, **changes}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """Return the status with another value at *path*."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(status()))
    inner: Any = found
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = to
    return found


@pytest.mark.parametrize(
    ("path", "value", "news"),
    [
        pytest.param(("lastDecision", "time"), "2026-01-01T01:00:00Z", News.NONE, id="another-decision"),
        pytest.param(("lastDecision", "digest"), "b", News.NONE, id="of-other-inputs"),
        pytest.param(("reasons", 0, "message"), "3 serve it at 6.95 a day", News.NONE, id="other-words"),
        pytest.param(("conditions", 0, "message"), "x", News.NONE, id="other-words-of-a-condition"),
        pytest.param(("cost", "desiredPerDay"), "7.20", News.NONE, id="cost-by-four-percent"),
        pytest.param(("containers", 0, "lower", "cpu"), "1040m", News.NONE, id="a-bound-by-four-percent"),
        pytest.param(("replicas", "lower"), 21, News.NONE, id="a-count-s-bound-by-a-twentieth"),
        pytest.param(("cost", "desiredPerDay"), "7.30", News.DRIFT, id="cost-by-six-percent"),
        pytest.param(("containers", 0, "target", "cpu"), "400m", News.DRIFT, id="a-size"),
        pytest.param(("containers", 0, "target", "memory"), "1Gi", News.DRIFT, id="one-more-size"),
        pytest.param(("reasons", 0, "code"), "ForecastRise", News.DRIFT, id="another-reason"),
        pytest.param(("replicas", "desired"), 4, News.CHANGE, id="another-count"),
        pytest.param(("nodes",), {"current": 1, "desired": 2}, News.CHANGE, id="a-count-of-nodes"),
        pytest.param(("replicas", "current"), 3, News.CHANGE, id="more-pods"),
        pytest.param(("mode",), "Off", News.CHANGE, id="another-mode"),
        pytest.param(("conditions", 0, "status"), "False", News.CHANGE, id="a-condition"),
        pytest.param(("conditions", 0, "observedGeneration"), 2, News.CHANGE, id="the-document-was-read-anew"),
        pytest.param(("containers",), [], News.CHANGE, id="no-containers"),
    ],
)
def test_what_is_news(path: tuple[Any, ...], value: Any, news: News) -> None:
    assert news_of(changed(*path, to=value), status()) is news
    assert news_of(status(), status()) is News.NONE


class Server:
    """Keeps what is applied, and counts; refuses as it is told."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.writes = self.under_way = self.most_at_once = 0
        self.refuse: Callable[[str], AutoscalerError | None] = lambda path: None

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "",
        params: Mapping[str, str] | None = None,
        timeout: float = 0.0,
    ) -> bytes:
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        await asyncio.to_thread(int)
        self.under_way -= 1
        self.writes += 1
        error = self.refuse(path)
        if error is not None:
            raise error
        self.kept[path] = body["status"]
        return b"{}"


def mpa(name: str, wanted: dict[str, Any], server: Server | None = None) -> ObjectStatus:
    """Return an object as it is read from *server*."""
    resource = OURS["MultidimPodAutoscaler"]
    found = ObjectStatus(
        resource=resource, kind="MultidimPodAutoscaler", namespace="shop", name=name, uid=f"uid-{name}", status=wanted
    )
    before = server.kept.get(found.path, {}) if server is not None else {}
    return msgspec.structs.replace(found, before=before)


async def test_a_status_is_written_once_until_there_is_news() -> None:
    server, clock = Server(), ManualClock()
    writer = StatusWriter(server, clock)
    assert await writer.publish([mpa("a", status())]) == Published(written=1)
    # The object that is read may still be the one of before.
    assert await writer.publish([mpa("a", status())]) == Published()
    clock.advance(3600)
    assert await writer.publish([mpa("a", changed("lastDecision", "digest", to="b"), server)]) == Published()
    assert await writer.publish([mpa("a", changed("mode", to="Off"), server)]) == Published(written=1)
    assert server.kept[mpa("a", {}).path]["mode"] == "Off"


async def test_drifts_are_written_once_a_minute_changes_at_once() -> None:
    server, clock = Server(), ManualClock()
    writer, written = StatusWriter(server, clock), []
    for second in range(0, 180, 15):
        cost = f"{10 + second}.00"
        await writer.publish([mpa("a", changed("cost", "desiredPerDay", to=cost), server)])
        written.append(server.writes)
        clock.advance(15)
    assert written == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    await writer.publish([mpa("a", changed("replicas", "desired", to=9), server)])
    assert server.writes == 4


async def test_many_are_written_a_few_at_a_time_and_none_is_forgotten() -> None:
    server, clock = Server(), ManualClock()
    writer = StatusWriter(server, clock, most=50, at_once=4)
    rounds = []
    for _ in range(4):
        result = await writer.publish([mpa(f"m{number}", status(), server) for number in range(120)])
        rounds.append((result.written, result.waiting))
        clock.advance(15)
    assert rounds == [(50, 70), (50, 20), (20, 0), (0, 0)]
    assert server.most_at_once <= 4
    assert len(server.kept) == 120


async def test_changes_go_before_drifts() -> None:
    server, clock = Server(), ManualClock()
    writer = StatusWriter(server, clock)
    await writer.publish([mpa("a", status()), mpa("b", status())])
    clock.advance(120)
    drifted, moved = changed("cost", "desiredPerDay", to="9"), changed("mode", to="Off")
    few = StatusWriter(server, clock, most=1)
    await few.publish([mpa("a", drifted, server), mpa("b", moved, server)])
    assert server.kept[mpa("b", {}).path]["mode"] == "Off"
    assert server.kept[mpa("a", {}).path] == status()


async def test_one_that_is_refused_or_gone_does_not_stop_the_others() -> None:
    server = Server()
    errors = {"bad": RefusedError("PATCH", "422 no"), "gone": NotFoundError("404")}
    server.refuse = lambda path: next((error for name, error in errors.items() if f"/{name}/" in path), None)
    result = await StatusWriter(server, ManualClock()).publish(
        [mpa(name, status()) for name in ("bad", "gone", "good")]
    )
    assert result == Published(written=1, failed=2, problem="PATCH: 422 no")
    assert list(server.kept) == [mpa("good", {}).path]


async def test_a_server_that_is_unwell_is_left_alone() -> None:
    server = Server()
    server.refuse = lambda path: TransientError("429 too many", retry_after_seconds=5)
    result = await StatusWriter(server, ManualClock(), at_once=1).publish([mpa(f"m{n}", status()) for n in range(50)])
    assert (result.written, result.failed, result.waiting, server.writes) == (0, 1, 49, 1)
    assert result.problem == "429 too many"


async def test_a_server_that_does_not_answer_holds_nobody_up() -> None:
    class Silent(Server):
        async def send(self, *args: Any, **options: Any) -> bytes:
            await asyncio.Event().wait()
            raise AssertionError

    result = await StatusWriter(Silent(), ManualClock(), deadline_seconds=0.05).publish([mpa("a", status())])
    assert result == Published(waiting=1, problem="no answer within 0.05 s")


async def test_an_object_that_was_made_anew_is_told_anew() -> None:
    server, clock = Server(), ManualClock()
    writer = StatusWriter(server, clock)
    await writer.publish([mpa("a", status())])
    again = msgspec.structs.replace(mpa("a", status()), uid="another")
    assert await writer.publish([again]) == Published(written=1)
