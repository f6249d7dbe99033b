"""The development cluster itself: what the other integration tests stand on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from autoscaler.errors import AccessError, TransientError
from autoscaler.kube.client import STRATEGIC, ApiServer
from tests.cluster.cluster import COMPONENTS, Cluster
from tests.cluster.control_plane import Options
from tests.cluster.emulator_client import OrderError
from tests.cluster.objects import deployment, is_ready, node
from tests.cluster.processes import resident_bytes
from tests.cluster.scenario import create_workloads
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


async def test_the_real_autoscaler_reads_the_metrics_api(cluster: Cluster, machine: str) -> None:
    await run(cluster, machine, count=2, cpu="100m")
    await cluster.admin.send(
        "POST",
        f"/apis/autoscaling/v2/namespaces/{machine}/horizontalpodautoscalers",
        {
            "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 1,
                "maxReplicas": 9,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                    }
                ],
            },
        },
    )
    # 20 requests a second at 10 milli-cores each are 200m; half of 100m a pod makes 4 pods.
    await cluster.emulator.set_load(machine, "web", requests=20.0, cores_per_request=0.01)
    await wait_for(cluster, machine, 4)


async def test_prometheus_has_the_series_of_the_pods(cluster: Cluster, machine: str) -> None:
    await cluster.emulator.set_load(machine, "web", requests=20.0, cores_per_request=0.01)
    await run(cluster, machine, count=2)

    queries = [
        f'sum(rate({metric}{{namespace="{machine}"}}[5s]))'
        for metric in ("http_requests_total", "container_cpu_usage_seconds_total")
    ]

    async def rates() -> list[float]:
        found = [value for query in queries for value in await ask(cluster, query)]
        return found if found == [pytest.approx(20, rel=0.05), pytest.approx(0.2, rel=0.05)] else []

    await eventually(rates, what="the rates of both pods", every=0.5)


async def test_a_container_over_its_limit_is_killed_and_comes_back(cluster: Cluster, machine: str) -> None:
    annotations = {"podnode.io/restart-seconds": "0.5"}
    [pod] = await run(cluster, machine, count=1, limits={"memory": "128Mi"}, annotations=annotations)
    path = f"/api/v1/namespaces/{machine}/pods/{pod['metadata']['name']}"
    await cluster.emulator.set_load(machine, "web", memory_bytes=200e6)

    async def killed() -> dict[str, Any]:
        [status] = json.loads(await cluster.admin.get(path))["status"]["containerStatuses"]
        return status if status["restartCount"] else {}

    status = await eventually(killed, what="an OOM kill")
    assert status["lastState"]["terminated"]["reason"] == "OOMKilled"
    await cluster.emulator.set_load(machine, "web", memory_bytes=64e6)
    await wait_for(cluster, machine, 1)


async def test_components_can_be_restarted_and_paused(cluster: Cluster, namespace: str) -> None:
    await cluster.restart("kube-apiserver")
    await cluster.admin.get(f"/api/v1/namespaces/{namespace}")
    cluster.pause("etcd")
    with pytest.raises(TransientError):
        await cluster.admin.get(NODES, params={"resourceVersion": "", "limit": "1"}, timeout=0.5)
    cluster.resume("etcd")
    await cluster.wait_ready("kube-apiserver")
    await cluster.admin.get(NODES)


async def ask(cluster: Cluster, query: str) -> list[float]:
    """Return the values of an instant query."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.get(f"{cluster.prometheus_url}/api/v1/query", params={"query": query}) as answer,
    ):
        return [float(each["value"][1]) for each in (await answer.json())["data"]["result"]]


SCENARIO = """
name: small
length: 1h
step: 60s
workloads:
- name: web
  namespace: {namespace}
  load: {{constant: {{rate: 40}}}}
  cpuPerRequest: 10m
  startTime: 60s
  requests: {{cpu: 200m, memory: 256Mi}}
  replicas: {{min: 1, max: 5, initial: 2}}
  placement: {{nodeSelector: {{node.kubernetes.io/instance-type: m-{namespace}}}}}
nodes:
  types:
  - {{name: m-{namespace}, cpu: 4, memory: 16Gi, price: 0.2}}
  initial: {{m-{namespace}: 1}}
"""


async def test_a_scenario_plays_on_real_pods(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SCENARIO.format(namespace=namespace), encoding="utf-8")
    await cluster.emulator.play(str(file), speed=60.0)
    assert await create_workloads(cluster.admin, str(file), speed=60.0) == 3
    assert await create_workloads(cluster.admin, str(file), speed=60.0) == 0
    pods = await wait_for(cluster, namespace, 2)

    async def used() -> list[float]:
        answer = await cluster.admin.get(f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods")
        usages = [container["usage"]["cpu"] for pod in json.loads(answer)["items"] for container in pod["containers"]]
        total = sum(int(usage.removesuffix("n")) for usage in usages) / 1e9
        return [total] if total == pytest.approx(0.4, rel=0.1) else []

    await eventually(used, what="40 requests a second at 10 milli-cores")
    # 60 s of the trace are 1 s here.
    assert {pod["metadata"]["annotations"]["podnode.io/start-seconds"] for pod in pods} == {"1"}
    with pytest.raises(OrderError, match="speed: 0 is not valid; allowed: above 0"):
        await cluster.emulator.play(str(file), speed=0.0)


async def test_nothing_is_left_of_a_cluster() -> None:
    own = await Cluster.up(name=f"once-{os.getpid()}", options=Options(metrics=False), say=lambda text: None)
    folder = own.layout.folder
    ids = [own.process(name).pid for name in COMPONENTS if name not in ("emulator", "prometheus")]
    assert all(map(resident_bytes, ids))
    own.close()
    assert not any(map(resident_bytes, ids))
    assert not folder.exists()
