"""The development cluster itself: what the other integration tests stand on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoscaler.errors import AccessError
from autoscaler.kube.client import STRATEGIC, ApiServer
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment, is_ready, node
from tests.cluster.waiting import eventually

NODES = "/api/v1/nodes"


async def ready_pods(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    pods = json.loads(await cluster.admin.get(f"/api/v1/namespaces/{namespace}/pods"))["items"]
    return [pod for pod in pods if is_ready(pod)]


@pytest.fixture
async def machine(cluster: Cluster, namespace: str) -> str:
    """One node of 4 cores that only this test's pods choose."""
    await cluster.admin.send("POST", NODES, node(namespace, labels={"test": namespace}))
    return namespace


async def run(cluster: Cluster, namespace: str, *, count: int, **options: Any) -> list[dict[str, Any]]:
    """Create a Deployment `web` on the test's node and wait for its pods."""
    body = deployment("web", replicas=count, nodeSelector={"test": namespace}, **options)
    await cluster.admin.send("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    return await wait_for(cluster, namespace, count)


async def wait_for(cluster: Cluster, namespace: str, count: int) -> list[dict[str, Any]]:
    async def found() -> list[dict[str, Any]]:
        pods = await ready_pods(cluster, namespace)
        return pods if len(pods) == count else []

    return await eventually(found, what=f"{count} pods ready")


async def test_a_deployment_becomes_ready_and_scales(cluster: Cluster, machine: str) -> None:
    await run(cluster, machine, count=1)
    scale = f"/apis/apps/v1/namespaces/{machine}/deployments/web/scale"
    await cluster.admin.send("PATCH", scale, {"spec": {"replicas": 5}}, content_type=STRATEGIC)
    pods = await wait_for(cluster, machine, 5)
    assert {pod["spec"]["nodeName"] for pod in pods} == {machine}


async def test_pods_are_resized_in_place(cluster: Cluster, machine: str) -> None:
    [pod] = await run(cluster, machine, count=1)
    path = f"/api/v1/namespaces/{machine}/pods/{pod['metadata']['name']}"
    body = {"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "250m", "memory": "96Mi"}}}]}}
    await cluster.admin.send("PATCH", f"{path}/resize", body, content_type=STRATEGIC)

    async def allocated() -> dict[str, Any]:
        [status] = json.loads(await cluster.admin.get(path))["status"]["containerStatuses"]
        return status if status["allocatedResources"] == {"cpu": "250m", "memory": "96Mi"} else {}

    status = await eventually(allocated, what="the resize")
    assert status["restartCount"] == 0


async def test_a_resize_can_be_refused(cluster: Cluster, machine: str) -> None:
    [pod] = await run(cluster, machine, count=1, annotations={"podnode.io/resize": "Infeasible"})
    path = f"/api/v1/namespaces/{machine}/pods/{pod['metadata']['name']}"
    body = {"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "3"}}}]}}
    await cluster.admin.send("PATCH", f"{path}/resize", body, content_type=STRATEGIC)

    async def pending() -> str:
        conditions = json.loads(await cluster.admin.get(path))["status"]["conditions"]
        return next((each["reason"] for each in conditions if each["type"] == "PodResizePending"), "")

    assert await eventually(pending, what="PodResizePending") == "Infeasible"


async def test_access_is_checked_and_requests_are_logged(cluster: Cluster, namespace: str) -> None:
    kubeconfig = await cluster.kubeconfig_for("default", namespace=namespace)
    stranger = await ApiServer.connect(kubeconfig=str(kubeconfig))
    try:
        with pytest.raises(AccessError, match="cannot list resource"):
            await stranger.get(f"/api/v1/namespaces/{namespace}/pods", params={"limit": "7"})
    finally:
        await stranger.aclose()

    async def logged() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in cluster.audit_log.read_text(encoding="utf-8").splitlines()]
        user = f"system:serviceaccount:{namespace}:default"
        return [line for line in lines if line["user"]["username"] == user]

    [entry] = await eventually(logged, what="the audit log's entry")
    assert (entry["verb"], entry["responseStatus"]["code"]) == ("list", 403)
    assert entry["requestURI"].endswith("?limit=7")
