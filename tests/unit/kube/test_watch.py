"""The list-watch against a server that misbehaves in every way the protocol knows, and some that it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from autoscaler.errors import InputError
from autoscaler.kube import decode_wire as wire
from autoscaler.kube.table import Table
from autoscaler.kube.watch import BACKOFF_SECONDS, LOOK_AGAIN_SECONDS, WATCH_SECONDS, ListWatch
from tests.cluster.waiting import eventually
from tests.unit.kube.scripted_api import (
    HELD,
    NO_STREAM,
    FastClock,
    Lines,
    Page,
    Refusal,
    ScriptedApi,
    bookmark,
    event,
    thing,
)


class Followed:
    """A running list-watch, its table and its clock."""

    def __init__(self, api: Any) -> None:
        self.clock = FastClock()
        self.seen: set[tuple[str, ...]] = set()
        self.table: Table[wire.Any, str] = Table(value_of, changed=self._look)
        self.told: list[str] = []
        self.follow = ListWatch(
            api,
            self.clock,
            path="/apis/example.com/v1/things",
            kind=wire.Any,
            sink=self.table,
            random=Random(1),
            tell=self.told.append,
        )

    async def until(self, holds: Callable[[], Any], what: str) -> None:
        async def look() -> Any:
            return holds()

        await eventually(look, what=what, within=10.0, every=0.002)

    def _look(self, key: str, old: str | None, new: str | None) -> None:
        self.seen.add(self.table.values())

    async def shows(self, *values: str) -> None:
        await self.until(lambda: self.follow.is_synced and self.table.values() == values, f"the values {values}")


def value_of(thing: wire.Any) -> str | None:
    labels = thing.metadata.labels or {}
    value = labels.get("value", "")
    if value == "wrong":
        raise InputError(f"Thing {thing.metadata.name}", "metadata.labels.value", value, "another value")
    return f"{thing.metadata.name}={value}" if value != "none" else None


@asynccontextmanager
async def following(script: ScriptedApi, folder: Path) -> AsyncIterator[Followed]:
    async with script.connected(folder) as api:
        followed = Followed(api)
        task = asyncio.create_task(followed.follow.run())
        try:
            yield followed
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_pages_are_joined_and_the_watch_goes_on_from_their_version(tmp_path: Path) -> None:
    script = ScriptedApi(lists=[Page(thing("a"), rest="more"), Page(thing("b"), version="11")])
    async with following(script, tmp_path) as it:
        await it.shows("a=a", "b=a")
        await it.until(lambda: script.asked("watch"), "a watch")
    first, second = script.asked("list")
    assert (first["limit"], second["continue"]) == ("500", "more")
    (watch,) = script.asked("watch")
    assert watch["resourceVersion"] == "11"
    assert watch["allowWatchBookmarks"] == "true"
    assert WATCH_SECONDS[0] <= int(watch["timeoutSeconds"]) <= WATCH_SECONDS[1]


async def test_a_list_that_expires_between_pages_is_never_used(tmp_path: Path) -> None:
    gone = Page(thing("old"), rest="more"), Refusal(410, "The provided continue parameter is too old")
    script = ScriptedApi(lists=[*gone, Page(thing("new"))])
    async with following(script, tmp_path) as it:
        await it.shows("new=a")
    assert it.seen == {()}
    assert "continue" not in script.asked("list")[-1]


async def test_the_list_can_be_streamed(tmp_path: Path) -> None:
    stream = Lines(
        event("ADDED", "a"),
        event("ADDED", "b"),
        event("MODIFIED", "a", "z"),
        event("DELETED", "b"),
        bookmark("7"),
        bookmark("20", last=True),
        event("ADDED", "never"),
    )
    script = ScriptedApi(streams=[stream])
    async with following(script, tmp_path) as it:
        await it.shows("a=z")
        await it.until(lambda: script.asked("watch"), "a watch")
    assert script.asked("stream")[0]["resourceVersionMatch"] == "NotOlderThan"
    assert script.asked("watch")[0]["resourceVersion"] == "20"
    assert not script.asked("list")


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(NO_STREAM, id="refused"),
        pytest.param(Lines(event("ADDED", "half")), id="ended-early"),
        pytest.param(Lines(b"what is this"), id="not-understood"),
    ],
)
async def test_a_server_that_cannot_stream_lists_is_asked_for_pages_from_then_on(
    stream: Refusal | Lines, tmp_path: Path
) -> None:
    script = ScriptedApi(streams=[stream], lists=[Page(thing("a"))], watches=[Refusal(410), HELD])
    async with following(script, tmp_path) as it:
        await it.until(lambda: len(script.asked("watch")) == 2, "a second watch")
        await it.shows("a=a")
    assert len(script.asked("stream")) == 1
    assert len(script.asked("list")) == 2


async def test_events_change_the_table_and_a_cut_line_is_read_again(tmp_path: Path) -> None:
    first = Lines(
        event("ADDED", "b", version="11"),
        event("MODIFIED", "a", "z", version="12"),
        event("DELETED", "c", version="13"),
        cut=b'{"type":"MODIFIED","object":{"metadata":{"name":"b","resourceVersion":"14"',
    )
    second = Lines(event("MODIFIED", "b", "y", version="14"), hold=True)
    script = ScriptedApi(lists=[Page(thing("a"), thing("c"))], watches=[first, second])
    async with following(script, tmp_path) as it:
        await it.shows("a=z", "b=y")
    assert [query["resourceVersion"] for query in script.asked("watch")] == ["10", "13"]
    assert len(script.asked("list")) == 1


async def test_a_bookmark_moves_the_version(tmp_path: Path) -> None:
    script = ScriptedApi(watches=[Lines(bookmark("50")), HELD])
    async with following(script, tmp_path) as it:
        await it.until(lambda: len(script.asked("watch")) == 2, "a second watch")
    assert script.asked("watch")[1]["resourceVersion"] == "50"


@pytest.mark.parametrize(
    "watch",
    [
        pytest.param(Refusal(410, "too old resource version"), id="410-as-answer"),
        pytest.param(Lines({"type": "ERROR", "object": {"kind": "Status", "code": 410}}), id="410-as-event"),
        pytest.param(Lines(b'{"type":"ADDED","object":{"metadata":'), id="malformed-line"),
        pytest.param(Lines({"type": "SPLIT", "object": thing("a")}), id="unknown-event"),
        pytest.param(Lines({"type": "ADDED", "object": "text"}), id="no-object"),
    ],
)
async def test_what_cannot_be_gone_on_from_is_listed_anew(watch: Refusal | Lines, tmp_path: Path) -> None:
    script = ScriptedApi(lists=[Page(thing("a")), Page(thing("b"), version="30")], watches=[watch, HELD])
    async with following(script, tmp_path) as it:
        await it.shows("b=a")
        await it.until(lambda: len(script.asked("watch")) == 2, "a second watch")
    assert script.asked("watch")[1]["resourceVersion"] == "30"


async def test_too_many_requests_waits_as_long_as_the_server_says(tmp_path: Path) -> None:
    script = ScriptedApi(watches=[Refusal(429, "slow down", Retry_After="17"), HELD])
    async with following(script, tmp_path) as it:
        await it.until(lambda: len(script.asked("watch")) == 2, "a second watch")
        assert it.clock.pauses == [17.0]
    assert len(script.asked("list")) == 1


@pytest.mark.parametrize(
    "watch", [pytest.param(Lines(), id="empty"), pytest.param(Lines(bookmark("11")), id="one-bookmark")]
)
async def test_watches_that_end_at_once_are_no_storm(watch: Lines, tmp_path: Path) -> None:
    script = ScriptedApi(watches=[watch])
    async with following(script, tmp_path) as it:
        began = it.clock.monotonic()
        await it.until(lambda: len(script.asked("watch")) >= 12, "twelve watches")
        pauses = it.clock.pauses[:11]
        assert it.clock.monotonic() - began >= sum(pauses) > 100.0
    assert all(pause <= BACKOFF_SECONDS[1] for pause in pauses)
    assert pauses[0] <= BACKOFF_SECONDS[0]


async def test_errors_of_the_server_keep_what_is_known(tmp_path: Path) -> None:
    script = ScriptedApi(lists=[Page(thing("a"))], watches=[*[Refusal(500)] * 3, Lines(event("ADDED", "b")), HELD])
    async with following(script, tmp_path) as it:
        await it.shows("a=a", "b=a")
        assert it.told == []
    assert len(script.asked("list")) == 1


async def test_a_kind_that_is_not_installed_is_empty_and_looked_for_again(tmp_path: Path) -> None:
    script = ScriptedApi(streams=[Refusal(404), NO_STREAM], lists=[Page(thing("a"))])
    async with following(script, tmp_path) as it:
        await it.until(lambda: it.follow.is_synced, "synced")
        await it.shows("a=a")
        assert it.follow.is_installed
        assert 0.75 * LOOK_AGAIN_SECONDS <= it.clock.pauses[0] <= LOOK_AGAIN_SECONDS


async def test_a_kind_that_is_removed_becomes_empty(tmp_path: Path) -> None:
    script = ScriptedApi(lists=[Page(thing("a")), Refusal(404)], watches=[Refusal(404)])
    async with following(script, tmp_path) as it:
        await it.shows()
        assert not it.follow.is_installed
        assert it.told == []


async def test_a_missing_permission_is_told_once_and_taken_back(tmp_path: Path) -> None:
    message = 'things.example.com is forbidden: User "x" cannot list resource "things" in API group "example.com"'
    script = ScriptedApi(streams=[*[Refusal(403, message)] * 3, NO_STREAM], lists=[Page(thing("a"))])
    async with following(script, tmp_path) as it:
        await it.until(lambda: it.told, "a problem")
        await it.shows("a=a")
        assert [bool(problem) for problem in it.told] == [True, False]
        assert 'cannot list resource "things"' in it.told[0]
        assert not it.follow.is_refused


async def test_a_server_that_starts_and_does_not_know_its_roles_yet_is_no_missing_permission(tmp_path: Path) -> None:
    script = ScriptedApi(streams=[*[Refusal(403, "no")] * 2, NO_STREAM], lists=[Page(thing("a"))])
    async with following(script, tmp_path) as it:
        await it.shows("a=a")
        assert it.told == []


async def test_an_object_that_cannot_be_read_is_named_and_harms_no_other(tmp_path: Path) -> None:
    wrong_type = {"metadata": {"name": "w", "namespace": "shop", "labels": {"value": 3}}}
    script = ScriptedApi(
        lists=[Page(thing("a"), wrong_type, thing("b", "wrong"), thing("c", "none"))],
        watches=[
            Lines(
                {"type": "MODIFIED", "object": {"metadata": {**wrong_type["metadata"], "resourceVersion": "12"}}},
                event("MODIFIED", "a", "wrong", version="13"),
                event("ADDED", "d", version="14"),
                hold=True,
            )
        ],
    )
    async with following(script, tmp_path) as it:
        await it.shows("a=a", "d=a")
        assert [problem.split(":")[0] for problem in it.table.problems] == ["Thing a", "Thing b", "object shop/w"]
        assert "metadata.labels" in it.table.problems[2]


async def test_what_is_right_again_is_no_problem_any_more(tmp_path: Path) -> None:
    watch = Lines(event("MODIFIED", "a", "b", version="12"), event("DELETED", "w", version="13"), hold=True)
    script = ScriptedApi(lists=[Page(thing("a", "wrong"), thing("w", "wrong"))], watches=[watch])
    async with following(script, tmp_path) as it:
        await it.shows("a=b")
        await it.until(lambda: not it.table.problems, "no problem")


async def test_a_list_without_a_version_is_not_used(tmp_path: Path) -> None:
    script = ScriptedApi(lists=[Page(thing("a"), version=""), Page(thing("b"))])
    async with following(script, tmp_path) as it:
        await it.shows("b=a")
