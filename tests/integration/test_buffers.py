"""CapacityBuffers on a real cluster: nodes are bought for them, and their status tells it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler.kube.buffers import BUFFERS
from tests.cluster.cluster import Cluster
from tests.cluster.waiting import eventually
from tests.integration import crds
from tests.integration.running import autoscaler_run, remove

APPLY = ("--provider", "kwok", "--actuate", "apply", "--metrics-source", "metrics-api")


@pytest.fixture
async def place(cluster: Cluster, namespace: str) -> AsyncIterator[str]:
    """Give a namespace with a PodTemplate of 1.5 cores, and a NodeGroup of its own of 4-core machines."""
    api = cluster.admin
    await crds.install(api)
    await crds.install_file(api, "capacitybuffers")
    taint = {"key": "podnode.io/test", "value": namespace, "effect": "NoSchedule"}
    group = {
        "provider": "kwok",
        "size": {"max": 5},
        "requirements": [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m7i.xlarge"]}],
        "template": {"labels": {"podnode.io/test": namespace}, "taints": [taint]},
    }
    documents: list[dict[str, Any]] = [
        {"kind": "NodeGroup", "spec": group},
        {"kind": "ScalingPolicy", "spec": {"mode": "Auto"}},
    ]
    for document in documents:
        document |= {"apiVersion": "podnode.io/v1alpha1", "metadata": {"name": namespace}}
        await api.send("POST", crds.path_of(document), document)
    requests = {"requests": {"cpu": "1500m", "memory": "128Mi"}}
    pod = {
        "nodeSelector": {"podnode.io/test": namespace},
        "tolerations": [{"key": "podnode.io/test", "value": namespace}],
        "containers": [{"name": "app", "image": "fake", "resources": requests}],
    }
    template = {"metadata": {"name": "spare"}, "template": {"spec": pod}}
    await api.send("POST", f"/api/v1/namespaces/{namespace}/podtemplates", template)
    yield namespace
    for document in documents:
        await remove(api, f"{crds.path_of(document)}/{namespace}")
    for node in await nodes(cluster, namespace):
        await remove(api, f"/api/v1/nodes/{node}")


async def nodes(cluster: Cluster, group: str) -> list[str]:
    answer = await cluster.admin.get("/api/v1/nodes", params={"labelSelector": f"podnode.io/group={group}"})
    return sorted(each["metadata"]["name"] for each in json.loads(answer)["items"])


async def create(cluster: Cluster, namespace: str, name: str, **spec: Any) -> None:
    document = {"apiVersion": BUFFERS.api_version, "kind": "CapacityBuffer", "metadata": {"name": name}, "spec": spec}
    await cluster.admin.send("POST", BUFFERS.to(namespace=namespace), document)


async def test_room_is_bought_and_told(cluster: Cluster, place: str, tmp_path: Path) -> None:
    await create(cluster, place, "good", podTemplateRef={"name": "spare"}, replicas=4)
    await create(cluster, place, "wrong", podTemplateRef={"name": "none"}, replicas=4)
    await create(cluster, place, "theirs", podTemplateRef={"name": "spare"}, replicas=9, provisioningStrategy="other")

    async def status(name: str) -> dict[str, Any]:
        found = json.loads(await cluster.admin.get(BUFFERS.to(name, namespace=place))).get("status", {})
        conditions = {each["type"]: (each["status"], each["message"]) for each in found.pop("conditions", ())}
        return {**found, **conditions}

    async with autoscaler_run(cluster, tmp_path / "log", *APPLY) as running:
        await running.logged("cycle")

        async def is_bought() -> bool:
            return len(await nodes(cluster, place)) == 2 and bool(await status("good"))

        await eventually(is_bought, what="two nodes for four pods of 1.5 cores")
        assert await status("good") == {
            "replicas": 4,
            "podTemplateRef": {"name": "spare"},
            "provisioningStrategy": "buffer.x-k8s.io/active-capacity",
            "ReadyForProvisioning": ("True", ""),
            "Provisioning": ("True", ""),
        }
        problem = f"spec.podTemplateRef.name: there is no PodTemplate {place}/none"
        wrong = await status("wrong")
        assert wrong["ReadyForProvisioning"] == wrong["Provisioning"] == ("False", problem)
        assert await status("theirs") == {}
        cycles = len(running.events("cycle"))
        await running.logged("cycle", count=cycles + 5)
        assert len(await nodes(cluster, place)) == 2
        assert await running.stop() == 0
