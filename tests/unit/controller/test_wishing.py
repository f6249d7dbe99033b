"""The plan sees templates as the webhook will make them; the webhook asks only where a policy lets it act."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.clock import ManualClock
from autoscaler.controller.wishing import KNOWN_SECONDS, WishedTemplates, WishesAsked
from autoscaler.interfaces import Outcome
from autoscaler.model.plan import SetRequests
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.policy_files import parse_policies
from autoscaler.testing.builders import make_snapshot, make_workload
from tests.unit.controller.servers import connected

WEB = make_workload("web")
SIZE = ContainerSize(container=WEB.template.containers[0].name, target=Resources.of(cpu=777))
MODES = """
apiVersion: podnode.io/v1alpha1
kind: MultidimPodAutoscaler
metadata: {name: web, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  policy: {updateMode: MODE}
"""


class _Cluster:
    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self.snapshot = snapshot

    async def observe(self, at: float) -> ClusterSnapshot:
        return self.snapshot


async def test_a_wish_that_was_noted_shows_in_the_template() -> None:
    other = make_workload("other")
    cluster = _Cluster(make_snapshot(workloads=[WEB, other]))
    wished = WishedTemplates(cluster)
    assert await wished.observe(1.0) is cluster.snapshot
    action = SetRequests(workload=WEB.key, containers=(SIZE,))
    wished.told(Outcome(action=action, result="failed", message="no"))
    assert await wished.observe(1.0) is cluster.snapshot
    wished.told(Outcome(action=action, result="done"))
    first, second = (await wished.observe(1.0)).workloads, (await wished.observe(2.0)).workloads
    shapes = {workload.name: workload.template for workload in first}
    assert shapes["web"].containers[0].requests.get("cpu") == 777
    assert shapes["other"] is other.template
    assert [one.template is two.template for one, two in zip(first, second, strict=True)] == [True, True]


async def test_only_policies_that_act_are_asked_about_and_answers_are_used_again(tmp_path: Path) -> None:
    calls: list[str] = []
    text = '{"app": {"requests": {"cpu": "250m"}}}'

    async def get(request: web.Request) -> web.Response:
        calls.append(request.path)
        return web.json_response({"metadata": {"annotations": {"podnode.io/requests": text}}})

    application = web.Application()
    application.router.add_get("/apis/apps/v1/namespaces/default/deployments/web", get)
    clock, cluster = ManualClock(), _Cluster(make_snapshot(workloads=[WEB]))
    async with TestServer(application) as server:
        api = await connected(server, tmp_path)
        documents = {"mode": "Auto"}
        wishes = WishesAsked(
            api, clock, cluster=cluster, policies=lambda: parse_policies(MODES.replace("MODE", documents["mode"]), "x")
        )
        assert await wishes(WEB.key) == {"app": {"requests": {"cpu": "250m"}}}
        assert await wishes(WEB.key) == {"app": {"requests": {"cpu": "250m"}}}
        assert await wishes("default/Deployment/unknown") == {}
        assert len(calls) == 1
        clock.advance(KNOWN_SECONDS)
        assert await wishes(WEB.key)
        assert len(calls) == 2
        for documents["mode"] in ("Recommend", "Off"):
            clock.advance(KNOWN_SECONDS)
            assert await wishes(WEB.key) == {}
        await api.aclose()
    assert len(calls) == 2
