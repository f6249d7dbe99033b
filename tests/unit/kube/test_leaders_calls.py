"""Only the leader's writes are sent, and no call sooner again than the server asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.clock import ManualClock
from autoscaler.errors import ConflictError, TransientError
from autoscaler.kube.leaders_calls import LeadersCalls
from tests.unit.controller.servers import connected


class Site:
    """A server that refuses what is in `refuses`; `calls` has what reached it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refuses: set[str] = set()
        self.leads = True
        self.clock = ManualClock()
        self.leaders: LeadersCalls

    async def answer(self, request: web.Request) -> web.Response:
        self.calls.append(f"{request.method} {request.path}")
        if request.path in self.refuses:
            return web.Response(status=429, headers={"Retry-After": "3"})
        return web.json_response({})


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site, application = Site(), web.Application()
    application.router.add_route("*", "/{path:.*}", site.answer)
    async with TestServer(application) as server:
        api = await connected(server, tmp_path)
        site.leaders = LeadersCalls(api, lambda: site.leads, site.clock)
        yield site
        await api.aclose()


async def test_who_does_not_lead_reads_and_sends_nothing(site: Site) -> None:
    await site.leaders.send("POST", "/x", {})
    site.leads = False
    await site.leaders.get("/x")
    with pytest.raises(ConflictError, match="does not lead"):
        await site.leaders.send("PATCH", "/x", {})
    assert site.calls == ["POST /x", "GET /x"]


async def test_a_call_waits_as_long_as_the_server_asked_and_others_do_not(site: Site) -> None:
    site.refuses = {"/x"}
    with pytest.raises(TransientError, match="429"):
        await site.leaders.send("POST", "/x", {})
    site.clock.advance(1.0)
    with pytest.raises(TransientError, match=r"POST /x: not sent, .* in 2\.0 s") as caught:
        await site.leaders.send("POST", "/x", {})
    assert caught.value.retry_after_seconds == 2.0
    await site.leaders.send("POST", "/y", {})
    site.refuses = set()
    await site.leaders.get("/x")
    site.clock.advance(2.0)
    await site.leaders.send("POST", "/x", {})
    assert site.calls == ["POST /x", "POST /y", "GET /x", "POST /x"]
