"""`autoscaler run` on real components: it decides, writes only what it may, ends in order, and survives a crash."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from autoscaler.clock import SystemClock
from autoscaler.kube.client import MERGE, ApiServer
from autoscaler.model.reasons import Code
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.telemetry.checkpoint import decode_checkpoint
from autoscaler.telemetry.record import decode_record
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment, is_ready, node
from tests.cluster.oom import kill
from tests.cluster.waiting import eventually
from tests.integration.crds import install, path_of
from tests.integration.running import (
    Running,
    account_of,
    asked,
    autoscaler_run,
    command,
    free_port,
    length_of_audit_log,
    remove,
)

READS = {"get", "list", "watch"}
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/podnode-autoscaler"
RECORD = ("--provider", "kwok")
APPLY = ("--provider", "kwok", "--actuate", "apply")


@pytest.fixture
async def shop(cluster: Cluster, namespace: str) -> AsyncIterator[str]:
    """
    Give a namespace whose Deployment `web` asks for nodes that are not there, with an mpa in mode Auto.

    Its nodes come from a NodeGroup of its own; no pod of another test fits there, nor these elsewhere.
    """
    api = cluster.admin
    await install(api)
    taint = {"key": "podnode.io/test", "value": namespace, "effect": "NoSchedule"}
    group = {
        "apiVersion": "podnode.io/v1alpha1",
        "kind": "NodeGroup",
        "metadata": {"name": namespace},
        "spec": {
            "provider": "kwok",
            "size": {"min": 0, "max": 5},
            "requirements": [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m7i.xlarge"]}],
            "template": {"labels": {"podnode.io/test": namespace}, "taints": [taint]},
        },
    }
    policy = {
        "apiVersion": "podnode.io/v1alpha1",
        "kind": "ScalingPolicy",
        "metadata": {"name": namespace},
        "spec": {"mode": "Auto"},
    }
    mpa = {
        "apiVersion": "podnode.io/v1alpha1",
        "kind": "MultidimPodAutoscaler",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "constraints": {"global": {"minReplicas": 3, "maxReplicas": 3}},
            "policy": {"updateMode": "Auto", "engine": "hpa"},
        },
    }
    web = deployment(
        "web",
        replicas=3,
        cpu="1500m",
        nodeSelector={"podnode.io/test": namespace},
        tolerations=[{key: value for key, value in taint.items() if key != "effect"}],
    )
    await api.send("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", web)
    for document in (policy, group, mpa):
        await api.send("POST", path_of(document), document)
    yield namespace
    for document in (policy, group):
        await remove(api, f"{path_of(document)}/{namespace}")
    for name in await _nodes_of(api, namespace):
        await remove(api, f"/api/v1/nodes/{name}")


async def test_recording_decides_and_writes_only_lease_events_and_status(
    cluster: Cluster, shop: str, tmp_path: Path
) -> None:
    before = length_of_audit_log(cluster)
    async with autoscaler_run(cluster, tmp_path / "log", *RECORD) as running:
        (action, *_) = await running.logged("action", action="SetGroupSize", group=shop)
        cycles = await running.logged("cycle", count=3)
        assert (await running.get("/healthz"))[0] == (await running.get("/readyz"))[0] == 200
        assert b'podnode_actions_total{kind="SetGroupSize",result="held"}' in (await running.get("/metrics"))[1]
        await _status_of(cluster.admin, shop)
        assert await running.stop() == 0
    assert action["result"] == "held"
    assert all(cycle["failed"] == 0 and cycle["problems"] == [] for cycle in cycles)
    writes = [entry for entry in asked(cluster, after=before) if entry["verb"] not in READS]
    assert {_what(entry) for entry in writes} <= {
        ("create", "leases"),
        ("update", "leases"),
        ("create", "events"),
        ("patch", "events"),
        ("patch", "multidimpodautoscalers/status"),
        ("patch", "nodegroups/status"),
        ("patch", "scalingpolicies/status"),
        ("patch", "tenants/status"),
    }
    assert {entry["objectRef"]["name"] for entry in writes if entry["objectRef"]["resource"] == "leases"} <= {
        "podnode-autoscaler"
    }
    assert await _nodes_of(cluster.admin, shop) == []


async def test_validating_sends_nothing_but_dry_runs(cluster: Cluster, shop: str, tmp_path: Path) -> None:
    api = cluster.admin
    await _scale(api, shop, 4)
    before = length_of_audit_log(cluster)
    async with autoscaler_run(cluster, tmp_path / "log", *RECORD, "--actuate", "validate") as running:
        await running.logged("action", action="SetReplicas", workload=f"{shop}/Deployment/web", result="valid")
        await running.logged("action", action="SetGroupSize", group=shop, result="held")
        assert await running.stop() == 0
    others = [
        entry
        for entry in asked(cluster, after=before)
        if entry["verb"] not in READS
        and _what(entry)[1] not in ("leases", "events")
        and "/status" not in _what(entry)[1]
    ]
    assert others
    assert all("dryRun=All" in entry["requestURI"] for entry in others)
    found = await _get(api, f"/apis/apps/v1/namespaces/{shop}/deployments/web")
    assert found["spec"]["replicas"] == 4


async def test_applying_buys_nodes_survives_a_crash_and_ends_in_order(
    cluster: Cluster, shop: str, tmp_path: Path
) -> None:
    api, kept = cluster.admin, tmp_path / "memory"
    flags = (*APPLY, "--checkpoint", f"file:{kept}")
    async with autoscaler_run(cluster, tmp_path / "first", *flags) as running:
        await running.logged("action", action="SetGroupSize", group=shop, result="done", within=40.0)
        await _all_run(api, shop, pods=3)
        saved = decode_checkpoint(kept.read_bytes(), where="memory", engines=BUILT_IN)
        assert saved.state.last_scale_up_at > 0
        await running.kill()
    nodes = await _nodes_of(api, shop)
    assert len(nodes) == 2
    # The crash left the lease held: the next one waits it out, remembers, and buys nothing twice.
    async with autoscaler_run(cluster, tmp_path / "second", *flags) as running:
        (restored, *_) = await running.logged("checkpoint restored", within=40.0)
        assert restored["saved_by"] == saved.identity
        await running.logged("cycle", count=3)
        assert running.events("action", action="SetGroupSize", group=shop) == []
        assert await running.stop() == 0
        assert running.events("stopped")
    assert await _nodes_of(api, shop) == nodes
    assert (await _get(api, LEASE))["spec"]["holderIdentity"] == ""


async def test_two_run_and_one_acts(cluster: Cluster, shop: str, tmp_path: Path) -> None:
    async with (
        autoscaler_run(cluster, tmp_path / "one", *RECORD) as one,
        autoscaler_run(cluster, tmp_path / "two", *RECORD) as two,
    ):
        await asyncio.wait(
            {asyncio.create_task(one.logged("cycle", count=2)), asyncio.create_task(two.logged("cycle", count=2))},
            return_when=asyncio.FIRST_COMPLETED,
        )
        leader, other = (one, two) if one.events("cycle") else (two, one)
        await _ready(other)
        assert other.events("cycle") == []
        assert b"podnode_leader 0.0" in (await other.get("/metrics"))[1]
        # It gives up the lease at its end, so that the other need not wait for it to run out.
        assert await leader.stop() == 0
        await other.logged("cycle", within=10.0)
        assert await other.stop() == 0


async def test_a_look_at_a_live_cluster_writes_nothing(cluster: Cluster, shop: str, tmp_path: Path) -> None:
    before = length_of_audit_log(cluster)
    flags = ("--kubeconfig", str(await account_of(cluster)), "--provider", "kwok")
    code, shown = await command("plan", "--live", *flags, "--prometheus-url", cluster.prometheus_url)
    assert (code, "Nothing was changed" in shown) == (0, True), shown
    assert f"group {shop}" in shown
    code, snapshot = await command("snapshot", *flags)
    assert code == 0
    (tmp_path / "snapshot").write_text(snapshot, encoding="utf-8")
    code, shown = await command("explain", "deployment", f"{shop}/web", "--snapshot", str(tmp_path / "snapshot"))
    assert (code, f"deployment {shop}/web" in shown) == (0, True), shown
    entries = asked(cluster, after=before)
    assert entries
    assert {entry["verb"] for entry in entries} <= READS


async def test_an_oom_kill_raises_what_is_recommended(cluster: Cluster, shop: str, tmp_path: Path) -> None:
    api, port = cluster.admin, free_port()
    await api.send("POST", "/api/v1/nodes", node(f"{shop}-0", cpu="8", labels={"podnode.io/test": shop}))
    mpa = f"/apis/podnode.io/v1alpha1/namespaces/{shop}/multidimpodautoscalers/web"
    await api.send("PATCH", mpa, {"spec": {"policy": {"engine": "vpa"}}}, content_type=MERGE)
    await _all_run(api, shop, pods=3)
    async with autoscaler_run(cluster, tmp_path / "log", "--debug-port", str(port)) as running:
        await running.logged("cycle")
        pod = (await _items(api, f"/api/v1/namespaces/{shop}/pods"))[0]["metadata"]["name"]
        await kill(api, shop, pod, at=SystemClock().now())
        running.port = port

        async def raised() -> list[str]:
            status, data = await running.get("/debug/record")
            if status != 200:
                return []
            file = decode_record(data, where="record", engines=BUILT_IN)
            assert file.decision is not None
            advice = file.decision.recommendations
            return [one.workload for one in advice if Code.OOM_KILLED in {reason.code for reason in one.reasons}]

        assert await eventually(raised, what="a recommendation for the OOM kill") == [f"{shop}/Deployment/web"]
        assert await running.stop() == 0


async def test_new_pods_get_their_size_at_admission(cluster: Cluster, shop: str, tmp_path: Path) -> None:
    api, port = cluster.admin, free_port()
    await api.send("POST", "/api/v1/nodes", node(f"{shop}-0", cpu="8", labels={"podnode.io/test": shop}))
    wish = json.dumps({"app": {"requests": {"cpu": "250m", "memory": "300Mi"}}})
    path = f"/apis/apps/v1/namespaces/{shop}/deployments/web"
    await api.send("PATCH", path, {"metadata": {"annotations": {"podnode.io/requests": wish}}}, content_type=MERGE)
    folder = cluster.layout.folder
    certificate = ("--webhook-cert-file", str(folder / "server.crt"), "--webhook-key-file", str(folder / "server.key"))
    hooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    flags = ("--actuate", "apply", "--webhook-port", str(port), "--webhook-address", "127.0.0.1", *certificate)
    async with autoscaler_run(cluster, tmp_path / "log", *flags) as running:
        await running.logged("cycle")
        await api.send("POST", hooks, _hook(shop, port, (folder / "ca.crt").read_bytes()))
        try:
            pod = await _resized_pod(api, shop)
            assert await running.stop() == 0
            # Nobody answers any more: pods are created all the same.
            await _recreate(api, shop)
            await eventually(lambda: _untouched(api, shop), what="pods without the webhook")
        finally:
            await remove(api, f"{hooks}/{shop}")
    before = json.loads(pod["metadata"]["annotations"]["podnode.io/resized-from"])
    assert before == {"app": {"requests": {"cpu": "1500m", "memory": "64Mi"}}}


def _what(entry: dict[str, Any]) -> tuple[str, str]:
    about = entry["objectRef"]
    part = f"/{about['subresource']}" if about.get("subresource") else ""
    return entry["verb"], f"{about['resource']}{part}"


async def _get(api: ApiServer, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await api.get(path))
    return found


async def _items(api: ApiServer, path: str, **params: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(await api.get(path, params=params))["items"]
    return items


async def _nodes_of(api: ApiServer, shop: str) -> list[str]:
    found = await _items(api, "/api/v1/nodes", labelSelector=f"podnode.io/test={shop}")
    return sorted(each["metadata"]["name"] for each in found)


async def _all_run(api: ApiServer, shop: str, *, pods: int) -> None:
    async def run() -> bool:
        return sum(map(is_ready, await _items(api, f"/api/v1/namespaces/{shop}/pods"))) == pods

    await eventually(run, what=f"{pods} pods Ready on nodes that were bought", within=40.0)


async def _status_of(api: ApiServer, shop: str) -> None:
    path = f"/apis/podnode.io/v1alpha1/namespaces/{shop}/multidimpodautoscalers/web"

    async def told() -> Sequence[Any]:
        conditions: Sequence[Any] = (await _get(api, path)).get("status", {}).get("conditions", ())
        return conditions

    await eventually(told, what="a status on the mpa")


async def _ready(running: Running) -> None:
    async def ready() -> bool:
        return (await running.get("/readyz"))[0] == 200

    await eventually(ready, what="/readyz of the one that stands by")


async def _scale(api: ApiServer, shop: str, replicas: int) -> None:
    path = f"/apis/apps/v1/namespaces/{shop}/deployments/web"
    await api.send("PATCH", path, {"spec": {"replicas": replicas}}, content_type=MERGE)


async def _recreate(api: ApiServer, shop: str) -> None:
    await api.send("DELETE", f"/api/v1/namespaces/{shop}/pods")


async def _resized_pod(api: ApiServer, shop: str) -> dict[str, Any]:
    """Delete pods until one comes that the webhook resized: the API server takes a moment to learn of webhooks."""

    async def look() -> dict[str, Any] | None:
        for pod in await _items(api, f"/api/v1/namespaces/{shop}/pods"):
            if pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "250m", "memory": "300Mi"}:
                return pod
        await _recreate(api, shop)
        return None

    pod = await eventually(look, what="a pod with the size wished for", every=1.0)
    assert pod is not None
    return pod


async def _untouched(api: ApiServer, shop: str) -> bool:
    requests = [
        pod["spec"]["containers"][0]["resources"]["requests"]["cpu"]
        for pod in await _items(api, f"/api/v1/namespaces/{shop}/pods")
        if "deletionTimestamp" not in pod["metadata"]
    ]
    return len(requests) == 3 and set(requests) == {"1500m"}


def _hook(shop: str, port: int, authority: bytes) -> dict[str, Any]:
    import base64

    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    return {
        "metadata": {"name": shop},
        "webhooks": [
            {
                "name": "pods.podnode.io",
                "clientConfig": {
                    "url": f"https://127.0.0.1:{port}/mutate-pods",
                    "caBundle": base64.b64encode(authority).decode(),
                },
                "rules": [rule],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": shop}},
                "failurePolicy": "Ignore",
                "timeoutSeconds": 1,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
