"""The store on a real API server: objects come, change and go, and the server fails."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from autoscaler.clock import SystemClock
from autoscaler.errors import AutoscalerError, TransientError
from autoscaler.kube import decode, kinds
from autoscaler.kube.client import ApiServer, NotFoundError
from autoscaler.kube.store import ClusterStore
from autoscaler.model.pod import Pod
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.workload import Workload
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment, node
from tests.cluster.waiting import eventually
from tests.integration import crds

CLOCK = SystemClock()
GROUP = "store.example.com"
WAITS = {"cpu": "900"}
"""A request that no node can meet: the pods stay as they are."""
PARTS = (
    "pods",
    "nodes",
    "workloads",
    "disruption_budgets",
    "namespaces",
    "quotas",
    "limit_ranges",
    "rivals",
    "services",
)


@asynccontextmanager
async def running(api: ApiServer, **options: Any) -> AsyncIterator[ClusterStore]:
    """Give a store that is ready; it ends with the block."""
    store = ClusterStore(api, CLOCK, **options)
    task = asyncio.create_task(store.run())
    try:
        await store.wait_ready(30.0)
        yield store
    finally:
        await ended(task)


async def ended(task: asyncio.Task[None]) -> None:
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


def noted_less(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """Return what objects alone tell: without what was learned by watching them."""
    return replace(
        snapshot,
        workloads=tuple(replace(each, start_seconds=0.0, changed_at=each.created_at) for each in snapshot.workloads),
    )


async def listed_anew(api: ApiServer) -> ClusterSnapshot:
    """List all kinds without the store and decode them as files are."""
    documents = []
    for kind in kinds.WATCHED:
        with suppress(NotFoundError):
            items = json.loads(await api.get(kind.path))["items"]
            documents += [{**item, "kind": kind.kind, "apiVersion": kind.api_version} for item in items]
    return decode.decode_objects(documents, observed_at=0.0)


async def test_every_kind_is_as_a_fresh_list_has_it(cluster: Cluster, store: ClusterStore, namespace: str) -> None:
    api, meta = cluster.admin, {"name": "one"}
    template = deployment("x", cpu=WAITS["cpu"])["spec"]["template"]
    select = {"selector": {"matchLabels": {"app": "x"}}, "template": template}
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "one"}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    local = {"hostPath": {"path": "/x"}, "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
    within: dict[str, dict[str, Any]] = {
        "v1": {
            "services": {"spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}},
            "resourcequotas": {"spec": {"hard": {"requests.cpu": "9000"}}},
            "limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "950"}}]}},
            "persistentvolumeclaims": {"spec": claim},
            "replicationcontrollers": {"spec": {"selector": {"app": "x"}, "template": template}},
        },
        "apps/v1": {
            "statefulsets": {"spec": {**select, "serviceName": "one", "replicas": 2}},
            "daemonsets": {"spec": select},
            "replicasets": {"spec": select},
        },
        "batch/v1": {
            "jobs": {"spec": {"template": {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}}}
        },
        "policy/v1": {
            "poddisruptionbudgets": {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "x"}}}}
        },
        "autoscaling/v2": {"horizontalpodautoscalers": {"spec": {"scaleTargetRef": target, "maxReplicas": 3}}},
    }
    alone: dict[str, Any] = {
        "storage.k8s.io/v1/storageclasses": {"provisioner": "example.com/disk"},
        "scheduling.k8s.io/v1/priorityclasses": {"value": 12},
        "v1/persistentvolumes": {"spec": local},
    }
    for path, document in alone.items():
        prefix = "/api/" if path.startswith("v1/") else "/apis/"
        await create(api, prefix + path, {"metadata": {"name": namespace}, **document})
    for version, resources in within.items():
        for resource, document in resources.items():
            path = f"{kinds.resource_path(version, 'namespaces')}/{namespace}/{resource}"
            await create(api, path, {"metadata": meta, **document})

    async def agrees() -> bool:
        fresh, held = await listed_anew(api), noted_less(await store.observe(0.0))
        same = all(getattr(fresh, part) == getattr(held, part) for part in PARTS)
        has_all = len([each for each in fresh.workloads if each.namespace == namespace]) == 5
        return same and has_all and fresh.volumes == held.volumes and bool(fresh.rivals)

    try:
        await eventually(agrees, what="the store as a fresh list", every=0.25)
        assert store.problems() == ()
        # This server streams lists, so none was asked for in pages.
        lines = cluster.audit_log.read_text(encoding="utf-8").splitlines()
        asked = [line for line in lines if '"userAgent":"tests/' in line and "/services?" in line]
        assert any("sendInitialEvents=true" in line for line in asked)
        assert not any("limit=500" in line for line in asked)
    finally:
        for path in alone:
            prefix = "/api/" if path.startswith("v1/") else "/apis/"
            await api.send("DELETE", f"{prefix}{path}/{namespace}")


async def test_a_custom_workload_is_found_by_the_document_that_names_it(cluster: Cluster, namespace: str) -> None:
    api = cluster.admin
    await crds.install(api)
    await create_definition(api)
    async with running(api) as store:
        assert (await store.observe(0.0)).observed_at == 0.0
        target = {"apiVersion": f"{GROUP}/v1", "kind": "Roll", "name": "web"}
        mpa = {
            "apiVersion": "podnode.io/v1alpha1",
            "kind": "MultidimPodAutoscaler",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"scaleTargetRef": target},
        }
        await create(api, crds.path_of(mpa), mpa)
        roll = {"apiVersion": f"{GROUP}/v1", "kind": "Roll", "metadata": {"name": "web"}, "spec": {"size": 3}}
        made = await create(api, f"/apis/{GROUP}/v1/namespaces/{namespace}/rolls", roll)
        key = f"{namespace}/Roll/web"
        owner = {**target, "uid": made["metadata"]["uid"], "controller": True}
        replica_set = deployment("web", replicas=1)
        replica_set |= {"kind": "ReplicaSet", "metadata": {"name": "web-1a", "ownerReferences": [owner]}}
        await create(api, f"/apis/apps/v1/namespaces/{namespace}/replicasets", replica_set)
        workload = await seen(store, lambda snapshot: workload_in(snapshot, key), "the custom workload")
        assert (workload.replicas, workload.template.containers[0].requests.cpu) == (3, 100)
        assert [pod.name.startswith("web-1a-") for pod in pods_of(await store.observe(0.0), key)] == [True]
        assert [
            each["metadata"]["name"] for each in store.documents() if each["metadata"]["namespace"] == namespace
        ] == ["web"]
        await api.send("DELETE", f"{crds.path_of(mpa)}/web")
        await seen(store, lambda snapshot: not workload_in(snapshot, key), "nobody names it")


async def create_definition(api: ApiServer) -> None:
    """Install a kind with a scale subresource at paths of its own."""
    paths = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": schema, "status": schema}}},
        "subresources": {"scale": paths},
    }
    names = {"kind": "Roll", "plural": "rolls", "singular": "roll", "listKind": "RollList"}
    spec = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]}
    await create(api, crds.DEFINITIONS, {"metadata": {"name": f"rolls.{GROUP}"}, "spec": spec})

    async def is_served() -> bool:
        try:
            found = await api.get(f"/apis/{GROUP}/v1")
            return b"rolls/scale" in found and bool(await api.get(f"/apis/{GROUP}/v1/rolls"))
        except AutoscalerError:
            # Not found at first, then not quite ready (429).
            return False

    await eventually(is_served, what="rolls served")


async def test_a_missing_permission_is_named_and_only_what_may_be_absent_is_done_without(
    cluster: Cluster, namespace: str
) -> None:
    api, told = cluster.admin, list[tuple[str, str]]()
    await create(api, f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "reader"}})
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterrole"
    rules = [
        {"apiGroups": [kind.group], "resources": [kind.resource], "verbs": ["list", "watch"]}
        for kind in kinds.WATCHED
        if kind.kind not in ("HorizontalPodAutoscaler", "PodDisruptionBudget")
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace}
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": namespace}
    await create(api, f"{roles}s", {"metadata": {"name": namespace}, "rules": rules})
    bound = {"metadata": {"name": namespace}, "roleRef": role, "subjects": [subject]}
    await create(api, f"{roles}bindings", bound)
    reader = await ApiServer.connect(kubeconfig=str(await cluster.kubeconfig_for("reader", namespace=namespace)))
    store = ClusterStore(reader, CLOCK, on_problem=lambda kind, problem: told.append((kind, problem)))
    task = asyncio.create_task(store.run())
    try:

        async def missing() -> bool:
            with pytest.raises(TransientError) as error:
                await store.wait_ready(0.0)
            said = str(error.value)
            return (
                said.startswith("not listed yet: poddisruptionbudgets (")
                and 'cannot watch resource "poddisruptionbudgets"' in said
            )

        await eventually(missing, what="only budgets missing, and why")
        assert {kind for kind, _ in told} == {"horizontalpodautoscalers.autoscaling", "poddisruptionbudgets.policy"}
        rules.append({"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["list", "watch"]})
        await api.send("PUT", f"{roles}s/{namespace}", {"metadata": {"name": namespace}, "rules": rules})
        await store.wait_ready(30.0)
        assert [problem.split(":")[0] for problem in store.problems()] == [
            "GET /apis/autoscaling/v2/horizontalpodautoscalers"
        ]
    finally:
        await ended(task)
        await reader.aclose()
        await api.send("DELETE", f"{roles}bindings/{namespace}")
        await api.send("DELETE", f"{roles}s/{namespace}")


async def test_a_server_that_dies_is_followed_again_when_it_is_back(cluster: Cluster, namespace: str) -> None:
    async with running(cluster.admin) as store:
        maps = f"/api/v1/namespaces/{namespace}/services"
        await create(cluster.admin, maps, {"metadata": {"name": "before"}, "spec": {"ports": [{"port": 80}]}})
        await seen(store, lambda snapshot: services_of(snapshot, namespace) == ["before"], "the first service")
        lists = sum(each.lists for each in store.counts())
        cluster.kill("kube-apiserver")

        async def is_old() -> bool:
            return store.staleness(CLOCK.monotonic()) > 1.5

        await eventually(is_old, what="the view getting old")
        assert services_of(await store.observe(0.0), namespace) == ["before"]
        await cluster.stop("kube-apiserver")
        await compact(cluster.layout.url("etcd"))
        await cluster.start("kube-apiserver")
        await create(cluster.admin, maps, {"metadata": {"name": "while"}, "spec": {"ports": [{"port": 80}]}})
        await seen(
            store, lambda snapshot: services_of(snapshot, namespace) == ["before", "while"], "the second service"
        )

        async def is_fresh() -> bool:
            return store.staleness(CLOCK.monotonic()) < 20.0

        await eventually(is_fresh, what="all kinds followed again", within=60.0)
        # The versions of before are gone from etcd (410).
        assert sum(each.lists for each in store.counts()) > lists


@pytest.mark.parametrize("component", ["kube-apiserver", "etcd"])
async def test_what_stands_still_makes_the_view_old_and_nothing_is_lost(
    component: str, cluster: Cluster, namespace: str
) -> None:
    async with running(cluster.admin) as store:
        services = f"/api/v1/namespaces/{namespace}/services"
        lists = sum(each.lists for each in store.counts())
        cluster.pause(component)
        try:
            writing = asyncio.create_task(
                create(cluster.admin, services, {"metadata": {"name": "late"}, "spec": {"ports": [{"port": 80}]}})
            )

            async def is_old() -> bool:
                return store.staleness(CLOCK.monotonic()) > 3.0

            await eventually(is_old, what="the view getting old")
            assert services_of(await store.observe(0.0), namespace) == []
        finally:
            cluster.resume(component)
        await writing
        await seen(store, lambda snapshot: services_of(snapshot, namespace) == ["late"], "the service")
        assert sum(each.lists for each in store.counts()) == lists


async def compact(etcd: str) -> None:
    """Let etcd forget its history."""
    async with aiohttp.ClientSession(etcd, raise_for_status=True) as session:
        found = await session.post("/v3/kv/range", json={"key": b64encode(b"/registry").decode()})
        revision = (await found.json())["header"]["revision"]
        await session.post("/v3/kv/compaction", json={"revision": revision, "physical": True})


def services_of(snapshot: ClusterSnapshot, namespace: str) -> list[str]:
    return [each.name for each in snapshot.services if each.namespace == namespace]
