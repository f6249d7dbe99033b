"""Alerts, recording rules and dashboard in a real Prometheus that scrapes the controller's own registry."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.clock import SystemClock
from autoscaler.telemetry.metrics import Metrics
from tests.cluster.binaries import find_programs
from tests.cluster.processes import Process
from tests.cluster.waiting import eventually
from tests.deploy.render import DEPLOY

OBSERVABILITY = DEPLOY / "observability"
RULES = [OBSERVABILITY / name for name in ("alerts.yaml", "recording-rules.yaml")]
ALERTS = {
    rule["alert"] for group in yaml.safe_load(RULES[0].read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
}
EVERY = "200ms"


class Controller:
    """Serves a controller's metrics: at first of one that is well, later of one that is not."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.is_well = True

    async def answer(self, _: web.Request) -> web.Response:
        (self._well if self.is_well else self._ill)()
        return web.Response(body=self.metrics.text(), content_type="text/plain")

    def _well(self) -> None:
        told = self.metrics
        told.leader.set(1)
        told.last_turn.set(SystemClock().now())
        told.staleness.set(3)
        told.readings.set(100)
        told.policy_problems.set(0)
        told.turns.labels("period", "done").inc()
        # A counter that is not there before it counts has no increase.
        told.turns.labels("pending", "failed")
        told.actions.labels("SetReplicas", "failed")
        told.provider_calls.labels("set_target_size", "failed")
        told.checkpoints.labels("failed")
        told.reaction_seconds.observe(1.5)
        for state in ("placed", "pending", "unschedulable"):
            told.pods.labels(state).set(0)
        for state in ("ready", "not_ready", "upcoming"):
            told.nodes.labels(state).set(0)

    def _ill(self) -> None:
        told = self.metrics
        told.last_turn.set(1)
        told.staleness.set(90)
        told.missing.labels("stale").set(60)
        told.policy_problems.set(2)
        told.pods.labels("unschedulable").set(4)
        told.nodes.labels("upcoming").set(2)
        for _ in range(5):
            told.turns.labels("pending", "failed").inc()
            told.actions.labels("SetReplicas", "failed").inc()
            told.provider_calls.labels("set_target_size", "failed").inc()
            told.checkpoints.labels("failed").inc()
            told.reaction_seconds.observe(40.0)


class Prometheus:
    """A server with the shipped rules, on a port of its own."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def get(self, path: str, **params: str) -> Any:
        async with self._session.get(f"{self._url}/api/v1/{path}", params=params) as answer:
            return json.loads(await answer.read())

    async def is_up(self) -> bool:
        try:
            async with self._session.get(f"{self._url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def rules(self) -> list[dict[str, Any]]:
        groups = (await self.get("rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def active(self) -> set[str]:
        """Return the alerts whose condition holds, whether they wait for their time or fire."""
        return {alert["labels"]["alertname"] for alert in (await self.get("alerts"))["data"]["alerts"]}


@pytest.fixture
async def controller() -> AsyncIterator[tuple[Controller, TestServer]]:
    controller = Controller()
    application = web.Application()
    application.router.add_get("/metrics", controller.answer)
    server = TestServer(application)
    await server.start_server()
    yield controller, server
    await server.close()


@pytest.fixture
async def prometheus(controller: tuple[Controller, TestServer], tmp_path: Path) -> AsyncIterator[Prometheus]:
    for path in RULES:
        rules = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in rules["groups"]:
            group["interval"] = EVERY
        (tmp_path / path.name).write_text(yaml.safe_dump(rules), encoding="utf-8")
    scraped = {"job_name": "autoscaler", "static_configs": [{"targets": [f"127.0.0.1:{controller[1].port}"]}]}
    configuration = {
        "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
        "rule_files": [path.name for path in RULES],
        "scrape_configs": [scraped],
    }
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(find_programs()["prometheus"]),
        f"--config.file={tmp_path / 'prometheus.yaml'}",
        f"--storage.tsdb.path={tmp_path / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = Process("prometheus", command, log=tmp_path / "log", environment=dict(os.environ))
    process.start()
    try:
        async with aiohttp.ClientSession() as session:
            server = Prometheus(session, f"http://127.0.0.1:{port}")

            async def is_up() -> bool:
                process.check()
                return await server.is_up()

            await eventually(is_up, what="Prometheus ready")
            yield server
    finally:
        process.kill()


async def test_alerts_tell_a_controller_that_is_ill_from_one_that_is_well(
    controller: tuple[Controller, TestServer], prometheus: Prometheus
) -> None:
    async def evaluated() -> bool:
        rules = await prometheus.rules()
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}, [rule.get("lastError") for rule in rules]
        scraped = (await prometheus.get("query", query="count_over_time(podnode_leader[1m])"))["data"]["result"]
        return bool(scraped) and int(scraped[0]["value"][1]) > 5 and all(rule["health"] == "ok" for rule in rules)

    await eventually(evaluated, what="all rules evaluated on scraped series")
    assert await prometheus.active() == set()
    controller[0].is_well = False

    async def active_are(alerts: set[str]) -> bool:
        return await prometheus.active() == alerts

    of_a_leader = ALERTS - {"AutoscalerNotActing"}
    await eventually(lambda: active_are(of_a_leader), what="all alerts active that a leader can cause")
    controller[0].metrics.leader.set(0)
    figures = {
        "AutoscalerReadingsMissing",
        "AutoscalerPoliciesUnusable",
        "AutoscalerPodsUnschedulable",
        "AutoscalerNodesDoNotCome",
    }
    await eventually(lambda: active_are(ALERTS - figures), what="no figures of one that does not lead")


async def test_each_panel_of_the_dashboard_shows_something(
    controller: tuple[Controller, TestServer], prometheus: Prometheus
) -> None:
    told = controller[0].metrics
    told.leader.set(1)
    told.queries.labels("ok").inc()
    for when in ("now", "after"):
        told.cost.labels(when).set(2.0)
    controller[0].is_well = False
    told.advised.labels("SetReplicas").set(1)
    told.workloads.labels("governed").set(3)
    told.held.labels("StaleReadings").set(1)
    told.models.labels("trusted").set(1)
    told.problems.labels("metrics").inc()
    told.phase_seconds.labels("decide").observe(0.2)
    told.provider_seconds.labels("set_target_size").observe(0.2)
    told.webhook.labels("resized").inc()
    told.loop_lag.observe(0.001)
    panels = json.loads((OBSERVABILITY / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    wanted = {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "5m")
        for panel in panels
        for target in panel.get("targets", ())
    }

    async def nothing_is_empty() -> bool:
        return not [name for name, query in wanted.items() if not await shown(query)]

    async def shown(query: str) -> bool:
        answer = await prometheus.get("query", query=query)
        assert answer["status"] == "success", answer
        return bool(answer["data"]["result"])

    await eventually(nothing_is_empty, what="a value in each panel", every=0.5)
