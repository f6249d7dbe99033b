"""What is told of turns is told by the leader alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.controller.publish import LeadersCalls
from autoscaler.errors import ConflictError
from tests.unit.controller.servers import connected


async def test_who_does_not_lead_reads_and_sends_nothing(tmp_path: Path) -> None:
    calls: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        calls.append(request.method)
        return web.json_response({})

    application = web.Application()
    application.router.add_route("*", "/api/v1/x", answer)
    leads = True
    async with TestServer(application) as server:
        api = await connected(server, tmp_path)
        leaders = LeadersCalls(api, lambda: leads)
        await leaders.send("POST", "/api/v1/x", {})
        leads = False
        await leaders.get("/api/v1/x")
        with pytest.raises(ConflictError, match="does not lead"):
            await leaders.send("PATCH", "/api/v1/x", {})
        await api.aclose()
    assert calls == ["POST", "GET"]
