"""What probes, scrapes and debuggers get over HTTP."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from autoscaler.controller.server import debugging, probes, served
from autoscaler.errors import InputError
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.telemetry.record import decode_record
from tests.unit.controller.controllers import Fresh, Setting, running
from tests.unit.controller.waits import eventually


async def test_probes_tell_the_reason() -> None:
    fresh = Fresh()
    setting = Setting(fresh=fresh)
    controller = setting.controller()
    async with TestClient(TestServer(probes(controller))) as client, running(controller):
        await eventually(lambda: controller.last is not None)
        alive = await client.get("/healthz")
        assert (alive.status, await alive.text()) == (200, "ok\n")
        ready = await client.get("/readyz")
        assert (ready.status, await ready.text()) == (200, "ok\n")
        fresh.age = 99.0
        ready = await client.get("/readyz")
        assert ready.status == 503
        assert "99 s ago" in await ready.text()


async def test_metrics_are_those_of_the_controller() -> None:
    setting = Setting()
    controller = setting.controller()
    async with TestClient(TestServer(probes(controller))) as client, running(controller):
        await eventually(lambda: setting.replicas >= 4)
        answer = await client.get("/metrics")
        text = await answer.text()
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'podnode_nodes{state="ready"} 2.0' in text
    assert 'podnode_turn_phase_seconds_count{phase="decide"}' in text
    assert "podnode_leader 1.0" in text


async def test_a_record_replays() -> None:
    setting = Setting()
    controller = setting.controller()
    async with TestClient(TestServer(debugging(controller))) as client:
        assert (await client.get("/debug/record")).status == 404
        async with running(controller):
            await eventually(lambda: controller.last is not None)
            answer = await client.get("/debug/record")
            data = await answer.read()
    record = decode_record(data, where="record", engines=BUILT_IN)
    assert record.decision is not None
    assert record.decision.plan.actions
    assert len(record.snapshot.pods) >= 2


async def test_a_port_that_is_taken_is_named() -> None:
    application = probes(Setting().controller())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}"):
            async with served(application, "127.0.0.1", port):
                raise AssertionError
    async with served(probes(Setting().controller()), "127.0.0.1", 0) as port, aiohttp.ClientSession() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status == 200
