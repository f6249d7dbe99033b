"""The store on a real API server: objects come, change and go, and the server fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from autoscaler.clock import SystemClock
from autoscaler.kube.client import ApiServer
from autoscaler.kube.store import ClusterStore
from autoscaler.model.pod import Pod
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.workload import Workload
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment, node
from tests.cluster.waiting import eventually

CLOCK = SystemClock()
GROUP = "store.example.com"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@asynccontextmanager
async def running(api: ApiServer, **options: Any) -> AsyncIterator[ClusterStore]:
    """Give a store that is ready; it ends with the block."""
    store = ClusterStore(api, CLOCK, **options)
    task = asyncio.create_task(store.run())
    try:
        await store.wait_ready(30.0)
        yield store
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[ClusterStore]:
    async with running(cluster.admin) as ready:
        yield ready


async def create(api: ApiServer, path: str, document: Any) -> Any:
    return json.loads(await api.send("POST", path, document))


async def seen(store: ClusterStore, holds: Callable[[ClusterSnapshot], Any], what: str, within: float = 30.0) -> Any:
    """Wait until a snapshot shows something, and return that."""

    async def look() -> Any:
        return holds(await store.observe(CLOCK.now()))

    return await eventually(look, what=what, within=within)


def pods_of(snapshot: ClusterSnapshot, workload: str) -> list[Pod]:
    return [pod for pod in snapshot.pods if pod.workload == workload]


def workload_in(snapshot: ClusterSnapshot, key: str) -> Workload | None:
    return next((each for each in snapshot.workloads if each.key == key), None)


async def test_objects_appear_change_and_vanish(cluster: Cluster, store: ClusterStore, namespace: str) -> None:
    api = cluster.admin
    name = f"{namespace}-n"
    await create(api, "/api/v1/nodes", node(name))
    await create(api, f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment("web", replicas=3))
    key = f"{namespace}/Deployment/web"

    def all_ready(snapshot: ClusterSnapshot) -> Any:
        pods = pods_of(snapshot, key)
        return len(pods) == 3 and all(pod.is_ready for pod in pods) and pods

    pods = await seen(store, all_ready, "three ready pods")
    assert len({id(pod.shape) for pod in pods}) == 1
    workload = await seen(store, lambda snapshot: workload_in(snapshot, key), "the deployment")
    assert (workload.replicas, workload.template.containers[0].requests.cpu) == (3, 100)
    assert 0 < workload.start_seconds < 30
    assert name in {each.name for each in (await store.observe(0.0)).nodes}

    size = {"spec": {"replicas": 1}}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    await api.send("PATCH", path, size, content_type="application/merge-patch+json")
    await seen(store, lambda snapshot: len(pods_of(snapshot, key)) == 1, "one pod")
    await api.send("DELETE", path)
    await seen(store, lambda snapshot: not pods_of(snapshot, key) and not workload_in(snapshot, key), "nothing left")
    await api.send("DELETE", f"/api/v1/nodes/{name}")
    await seen(store, lambda snapshot: name not in {each.name for each in snapshot.nodes}, "no node")


async def test_a_pod_that_fits_nowhere_calls_back(cluster: Cluster, namespace: str) -> None:
    called = asyncio.Event()
    async with running(cluster.admin, on_unschedulable=called.set) as store:
        called.clear()
        big = deployment("big", cpu="900")
        await create(cluster.admin, f"/apis/apps/v1/namespaces/{namespace}/deployments", big)
        async with asyncio.timeout(20):
            await called.wait()
        waiting = await seen(store, lambda snapshot: pods_of(snapshot, f"{namespace}/Deployment/big"), "the pod")
        assert waiting[0].unschedulable_since
