"""Pods wait, an Auto Scaling group grows, machines join, load falls, and the empty machines are the ones that go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from autoscaler.clock import SystemClock
from autoscaler.kube.client import MERGE
from autoscaler.providers.machines import machines
from tests.aws.fixtures import World, aws, aws_session, moto
from tests.aws.moto import CLUSTER, DISCOVERED, Account
from tests.cluster.cluster import Cluster
from tests.cluster.objects import Object, deployment, is_ready, node
from tests.cluster.waiting import eventually
from tests.integration.crds import install, path_of
from tests.integration.running import autoscaler_run, remove

__all__ = ["aws", "aws_session", "moto"]
LABEL = "podnode.io/test"
TEMPLATE = "k8s.io/cluster-autoscaler/node-template"
KIND = "m5.large"
LOOK_SECONDS = 0.3


class Kubelets:
    """Let each instance of a group be a node, as the machine's kubelet and the cloud's controller do."""

    def __init__(self, cluster: Cluster, account: Account, *, group: str, owner: str) -> None:
        self._api, self._account, self._group, self._owner = cluster.admin, account, group, owner
        self.nodes: dict[str, str] = {}
        """Node by instance id."""

    @asynccontextmanager
    async def joining(self) -> AsyncIterator[None]:
        """Keep nodes and instances the same, until the block ends."""
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow())
            try:
                yield
            finally:
                following.cancel()
        for name in self.nodes.values():
            await remove(self._api, f"/api/v1/nodes/{name}")

    async def _follow(self) -> None:
        clock = SystemClock()
        while True:
            instances = await self._account.instances(self._group)
            for instance in self.nodes.keys() - instances.keys():
                await remove(self._api, f"/api/v1/nodes/{self.nodes.pop(instance)}")
            for instance in instances.keys() - self.nodes.keys():
                self.nodes[instance] = f"ip-{instance}"
                await self._api.send("POST", "/api/v1/nodes", self._node(instance, instances[instance]))
            await clock.sleep(LOOK_SECONDS)

    def _node(self, instance: str, zone: str) -> Object:
        room = machines()[KIND].allocatable.quantities()
        body = node(f"ip-{instance}", zone=zone, instance_type=KIND, labels={LABEL: self._owner}, boot_seconds=0.5)
        body["spec"] = {
            "providerID": f"aws:///{zone}/{instance}",
            "taints": [{"key": LABEL, "value": self._owner, "effect": "NoSchedule"}],
        }
        body["status"] = {"capacity": room, "allocatable": room}
        return body


async def test_a_group_serves_pods_and_gives_back_what_is_empty(
    aws: World, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    api, group = cluster.admin, f"web-{namespace}"
    tags = {
        **DISCOVERED,
        f"{TEMPLATE}/label/{LABEL}": namespace,
        f"{TEMPLATE}/taint/{LABEL}": f"{namespace}:NoSchedule",
    }
    await aws.account.group(group, size=(0, 0, 6), kinds=(KIND,), tags=tags)
    kubelets = Kubelets(cluster, aws.account, group=group, owner=namespace)
    toleration = {"key": LABEL, "operator": "Equal", "value": namespace, "effect": "NoSchedule"}
    web = deployment("web", replicas=3, cpu="1500m", nodeSelector={LABEL: namespace}, tolerations=[toleration])
    flags = ("--provider", "aws", "--cluster-name", CLUSTER, "--actuate", "apply")
    async with policy(cluster, namespace), kubelets.joining():
        await api.send("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", web)
        async with autoscaler_run(cluster, tmp_path / "log", *flags) as running:
            await running.logged("action", action="SetGroupSize", group=group, result="done")
            pods = await ready(cluster, namespace, count=3)
            assert {pod["spec"]["nodeName"] for pod in pods} <= set(kubelets.nodes.values())
            await api.send(
                "PATCH",
                f"/apis/apps/v1/namespaces/{namespace}/deployments/web",
                {"spec": {"replicas": 1}},
                content_type=MERGE,
            )

            async def is_alone() -> set[str]:
                left = await aws.account.running()
                return left if len(left) == 1 else set()

            left = await eventually(is_alone, what="one instance left", within=40.0)
            (pod,) = await ready(cluster, namespace, count=1)
            assert [kubelets.nodes[instance] for instance in left] == [pod["spec"]["nodeName"]]
            assert running.events("action", result="failed") == []
            assert await running.stop() == 0
    assert len(await aws.account.states()) == 3


@asynccontextmanager
async def policy(cluster: Cluster, namespace: str) -> AsyncIterator[None]:
    """Let everything be done, and empty nodes go soon."""
    await install(cluster.admin)
    document = {
        "apiVersion": "podnode.io/v1alpha1",
        "kind": "ScalingPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "mode": "Auto",
            "nodes": {"consolidateAfter": "1s"},
            "disruption": {"budgets": [{"nodes": "100%", "pods": "100"}]},
        },
    }
    await cluster.admin.send("POST", path_of(document), document)
    try:
        yield
    finally:
        await remove(cluster.admin, f"{path_of(document)}/{namespace}")


async def ready(cluster: Cluster, namespace: str, *, count: int) -> list[dict[str, Any]]:
    """Wait until there are *count* pods, all Ready; return them."""

    async def look() -> list[dict[str, Any]]:
        found = json.loads(await cluster.admin.get(f"/api/v1/namespaces/{namespace}/pods"))["items"]
        there = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return there if len(there) == count and all(map(is_ready, there)) else []

    return await eventually(look, what=f"{count} pods Ready", within=40.0)
