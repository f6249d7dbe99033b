"""An API server on loopback that answers as it is told, for faults that a real one cannot be made to show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.clock import ManualClock, SystemClock
from autoscaler.kube.client import ApiServer

Query = Mapping[str, str]


class FastClock(ManualClock):
    """Sleeps no time at all, lets others run meanwhile, and keeps the pauses."""

    def __init__(self) -> None:
        super().__init__(1000.0)
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.pauses.append(seconds)
        await SystemClock().sleep(0)
        self.advance(seconds)


class Refusal:
    """An answer with a status code and a Status object."""

    def __init__(self, code: int, message: str = "no", **headers: str) -> None:
        self.code, self.message = code, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Page:
    """A list, or a part of one: *rest* is the continue token."""

    def __init__(self, *items: Any, version: str = "10", rest: str = "") -> None:
        self.items, self.version, self.rest = items, version, rest


class Lines:
    """A stream of lines, and how it ends: *cut* is sent without a line break; *hold* keeps it open."""

    def __init__(self, *lines: Any, cut: bytes = b"", hold: bool = False) -> None:
        self.lines, self.cut, self.hold = lines, cut, hold


HELD = Lines(hold=True)
NO_STREAM = Refusal(422, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
Answer = Refusal | Page | Lines


class ScriptedApi:
    """
    Gives each kind of request its answers in turn; the last one again and again.

    `requests` has the query of each, in order.
    """

    def __init__(
        self,
        *,
        streams: Sequence[Answer] = (NO_STREAM,),
        lists: Sequence[Answer] = (Page(),),
        watches: Sequence[Answer] = (HELD,),
    ) -> None:
        self._answers = {"stream": list(streams), "list": list(lists), "watch": list(watches)}
        self.requests: list[tuple[str, Query]] = []
        self._end = asyncio.Event()

    def asked(self, kind: str) -> list[Query]:
        """Return the queries of the requests of one kind: stream, list or watch."""
        return [query for each, query in self.requests if each == kind]

    @asynccontextmanager
    async def connected(self, folder: Path) -> AsyncIterator[ApiServer]:
        """Serve, and give a connection."""
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        async with TestServer(application) as server:
            api = await ApiServer.connect(kubeconfig=kubeconfig_of(folder, str(server.make_url("/"))))
            try:
                yield api
            finally:
                self._end.set()
                await api.aclose()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        kind = "stream" if "sendInitialEvents" in query else "watch" if "watch" in query else "list"
        self.requests.append((kind, query))
        answers = self._answers[kind]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Refusal):
            status = {"kind": "Status", "code": answer.code, "message": answer.message}
            return web.json_response(status, status=answer.code, headers=answer.headers)
        if isinstance(answer, Page):
            meta = {"resourceVersion": answer.version, "continue": answer.rest}
            return web.json_response({"kind": "List", "metadata": meta, "items": list(answer.items)})
        return await self._stream(request, answer)

    async def _stream(self, request: web.Request, answer: Lines) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in answer.lines:
            await response.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
        if answer.cut:
            await response.write(answer.cut)
        if answer.hold:
            await self._end.wait()
        return response


def thing(name: str, value: str = "a", *, version: str = "1", **meta: Any) -> dict[str, Any]:
    """Return a small object; *value* is what a test looks at."""
    return {
        "kind": "Thing",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"value": value},
            "resourceVersion": version,
            **meta,
        },
    }


def event(kind: str, *args: Any, **meta: Any) -> dict[str, Any]:
    """Return a watch event of a `thing`."""
    return {"type": kind, "object": thing(*args, **meta)}


def bookmark(version: str, *, last: bool = False) -> dict[str, Any]:
    """Return a bookmark; *last* says that a streamed list is complete."""
    notes = {"k8s.io/initial-events-end": "true"} if last else {}
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version, "annotations": notes}}}


def kubeconfig_of(folder: Path, url: str) -> str:
    """Write a kubeconfig for the server at *url*, and return its path."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url.rstrip("/")}}],
        "users": [{"name": "test", "user": {}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    return str(path)
