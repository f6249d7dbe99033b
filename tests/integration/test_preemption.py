"""Preemption by the real kube-scheduler, and a real DaemonSet, as node planners see them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from autoscaler.kube.client import NotFoundError
from autoscaler.kube.store import ClusterStore
from autoscaler.model.placement import labels_of
from autoscaler.model.plan import SetGroupSize
from autoscaler.model.pod import Pod
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.model.units import MIB
from autoscaler.planning.daemon_share import with_daemon_share
from autoscaler.planning.decide import decide
from autoscaler.planning.explain import explain_pod
from autoscaler.testing.builders import make_group
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment, node
from tests.cluster.waiting import eventually
from tests.integration.test_store import create, running, seen
from tests.unit.planning.decisions import policies

HOLD = "podnode.io/hold"
"""A finalizer: a victim that has it is seen while it goes."""
OLD_SECONDS = 60.0
"""Pods that have just come are left to the scheduler by some engines: they are looked at a minute later."""


async def test_a_pod_that_preempts_is_not_bought_a_node(cluster: Cluster, namespace: str) -> None:
    api, name = cluster.admin, f"{namespace}-n"
    own = {"only-for": namespace}
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    await create(api, "/api/v1/nodes", node(name, labels=own))
    async with running(api) as store:
        await create(api, f"{apps}/daemonsets", agent(own))
        low = deployment("low", cpu="3", nodeSelector=own)
        low["spec"]["template"]["metadata"]["finalizers"] = [HOLD]
        await create(api, f"{apps}/deployments", low)
        victim = await seen(store, lambda snapshot: placed(snapshot, namespace, "low"), "the victim's node")
        await important(cluster, namespace)
        high = deployment("high", cpu="3", nodeSelector=own, priorityClassName=namespace)
        await create(api, f"{apps}/deployments", high)
        await check(store, namespace, own)
        await release(cluster, namespace, victim)
        await seen(store, lambda snapshot: placed(snapshot, namespace, "high"), "the important pod's node")
    for path in (f"{apps}/deployments/low", f"{apps}/deployments/high", f"{apps}/daemonsets/agent"):
        await api.send("DELETE", path)
    await eventually(lambda: is_empty(cluster, namespace), what="no pod left")
    await api.send("DELETE", f"/apis/scheduling.k8s.io/v1/priorityclasses/{namespace}")
    await api.send("DELETE", f"/api/v1/nodes/{name}")


async def check(store: ClusterStore, namespace: str, labels: dict[str, str]) -> None:
    """Wait until the victim goes and its successor waits, and look at what is decided then."""

    def preempting(snapshot: ClusterSnapshot) -> Any:
        high = [pod for pod in of(snapshot, namespace, "high") if pod.nominated_node]
        successors = [pod for pod in of(snapshot, namespace, "low") if pod.unschedulable_since is not None]
        return high and successors and snapshot

    snapshot = only(await seen(store, preempting, "a nominated pod, and one that waits"), namespace, labels)
    (group,) = with_daemon_share(snapshot).node_groups
    assert group.template.overhead == Resources.of(cpu=500, memory=64 * MIB, pods=1)
    # The successor of the victim gets a node, the pod that preempted it has one.
    for engine in ("joint", "cluster-autoscaler", "karpenter"):
        decision = decide(snapshot, policies(mode="Auto", nodes={"engine": engine}), DecisionState())
        assert [each.size for each in decision.plan.actions if isinstance(each, SetGroupSize)] == [2], engine
    (high,) = of(snapshot, namespace, "high")
    assert f"the scheduler has chosen node {high.nominated_node}" in explain_pod(snapshot, high).summary


def only(snapshot: ClusterSnapshot, namespace: str, labels: dict[str, str]) -> ClusterSnapshot:
    """Return what concerns the namespace, and a group of one node like the one that is there."""
    group = make_group("m", size=1)
    template = replace(group.template, labels=labels_of(labels))
    return replace(
        snapshot,
        observed_at=snapshot.observed_at + OLD_SECONDS,
        pods=tuple(pod for pod in snapshot.pods if pod.namespace == namespace),
        workloads=tuple(each for each in snapshot.workloads if each.namespace == namespace),
        nodes=tuple(replace(each, group="m") for each in snapshot.nodes if each.name == f"{namespace}-n"),
        node_groups=(replace(group, template=template),),
    )


def of(snapshot: ClusterSnapshot, namespace: str, name: str) -> list[Pod]:
    return [pod for pod in snapshot.pods if pod.workload == f"{namespace}/Deployment/{name}"]


def placed(snapshot: ClusterSnapshot, namespace: str, name: str) -> str:
    """Return the name of a pod of a Deployment that has a node, "" if none has."""
    return next((pod.name for pod in of(snapshot, namespace, name) if pod.node), "")


def agent(labels: dict[str, str]) -> dict[str, Any]:
    """Return a DaemonSet for the nodes with these labels."""
    document = deployment("agent", cpu="500m", nodeSelector=labels)
    document["kind"] = "DaemonSet"
    del document["spec"]["replicas"]
    return document


async def important(cluster: Cluster, name: str) -> None:
    document = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": 1000,
    }
    await create(cluster.admin, "/apis/scheduling.k8s.io/v1/priorityclasses", document)


async def release(cluster: Cluster, namespace: str, name: str) -> None:
    """Take the finalizer off a pod."""
    patch, path = {"metadata": {"finalizers": None}}, f"/api/v1/namespaces/{namespace}/pods/{name}"
    await cluster.admin.send("PATCH", path, patch, content_type="application/merge-patch+json")


async def is_empty(cluster: Cluster, namespace: str) -> bool:
    """Tell whether all pods are gone; those that are held are let go."""
    listed = json.loads(await cluster.admin.get(f"/api/v1/namespaces/{namespace}/pods"))["items"]
    for each in listed:
        if each["metadata"].get("finalizers"):
            with suppress(NotFoundError):
                await release(cluster, namespace, each["metadata"]["name"])
    return not listed
