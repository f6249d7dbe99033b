"""Statuses and events on a real API server: all of what is told is stored, and stored once."""

from __future__ import annotations

import json
from typing import Any

from autoscaler.clock import SystemClock
from autoscaler.kube.client import ApiServer
from autoscaler.kube.events import Counts, EventRecorder, ObjectEvent, Regarding
from autoscaler.kube.policies import read_documents
from autoscaler.kube.scale import EVENTS, OURS
from autoscaler.kube.status import Published, StatusWriter
from autoscaler.kube.status_text import ObjectStatus, Told, statuses_of
from autoscaler.model.plan import Decision, Plan
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.state import DecisionState
from autoscaler.model.units import MIB
from autoscaler.testing.builders import make_group, make_shape, make_snapshot, make_workload
from tests.cluster.cluster import Cluster
from tests.integration import crds

MPAS = OURS["MultidimPodAutoscaler"]
CLOCK = SystemClock()
MANY = 60


async def create(api: ApiServer, namespace: str, name: str) -> None:
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}}
    body = {"apiVersion": MPAS.api_version, "kind": "MultidimPodAutoscaler", "metadata": {"name": name}, "spec": spec}
    await api.send("POST", MPAS.to(namespace=namespace), body)


async def documents(api: ApiServer, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(await api.get(MPAS.to(namespace=namespace)))["items"]
    return found


def told(listed: list[dict[str, Any]], namespace: str, *, replicas: int = 4) -> tuple[ObjectStatus, ...]:
    """Return the statuses for a cluster in which each document's workload should have so many *replicas*."""
    size = ContainerSize(container="app", target=Resources.of(cpu=350, memory=640 * MIB), lower=Resources.of(cpu=300))
    names = [document["metadata"]["name"] for document in listed]
    shape = make_shape(namespace=namespace)
    workloads = [make_workload(name, namespace=namespace, template=shape) for name in names]
    advice = tuple(
        Recommendation(
            workload=workload.key,
            engine="joint",
            replicas=replicas,
            lower_replicas=2,
            upper_replicas=6,
            containers=(size,),
            reasons=(Reason(Code.LOAD_NEEDS_MORE, "the load needs more"),),
        )
        for workload in workloads
    )
    snapshot = make_snapshot(workloads=workloads, node_groups=[make_group()])
    policies, problems = read_documents(listed)
    decision = Decision(plan=Plan(), recommendations=advice, state=DecisionState())
    return statuses_of(
        listed, Told(snapshot=snapshot, policies=policies, decision=decision, problems=problems, digest="d")
    )


async def test_all_of_a_status_is_stored_and_what_is_gone_is_removed(cluster: Cluster, namespace: str) -> None:
    await crds.install(cluster.admin)
    await create(cluster.admin, namespace, "web")
    listed = await documents(cluster.admin, namespace)
    (wanted,) = told(listed, namespace)
    assert await StatusWriter(cluster.admin, CLOCK).publish([wanted]) == Published(written=1)
    (stored,) = await documents(cluster.admin, namespace)
    assert stored["status"] == wanted.status
    assert stored["metadata"]["generation"] == 1
    assert stored["spec"] == listed[0]["spec"]
    # Another leader, that read this: nothing is news to it.
    (again,) = told([stored], namespace)
    assert await StatusWriter(cluster.admin, CLOCK).publish([again]) == Published()
    (invalid,) = told([{**stored, "spec": {"scaleTargetRef": {}}}], namespace)
    assert await StatusWriter(cluster.admin, CLOCK).publish([invalid]) == Published(written=1)
    (after,) = await documents(cluster.admin, namespace)
    assert after["status"] == invalid.status
    assert "replicas" not in after["status"]


async def test_many_statuses_are_written_once(cluster: Cluster, namespace: str) -> None:
    await crds.install(cluster.admin)
    for number in range(MANY):
        await create(cluster.admin, namespace, f"web-{number}")
    writer = StatusWriter(cluster.admin, CLOCK)
    first = await writer.publish(told(await documents(cluster.admin, namespace), namespace))
    assert first == Published(written=MANY)
    before = await documents(cluster.admin, namespace)
    assert await writer.publish(told(before, namespace)) == Published()
    assert await documents(cluster.admin, namespace) == before
    assert (await writer.publish(told(before, namespace, replicas=5))).written == MANY


async def test_an_object_that_is_gone_is_not_made_by_its_status(cluster: Cluster, namespace: str) -> None:
    await crds.install(cluster.admin)
    await create(cluster.admin, namespace, "web")
    statuses = told(await documents(cluster.admin, namespace), namespace)
    await cluster.admin.send("DELETE", MPAS.to("web", namespace=namespace))
    assert await StatusWriter(cluster.admin, CLOCK).publish(statuses) == Published(failed=1)
    assert await documents(cluster.admin, namespace) == []


async def test_an_event_that_repeats_is_one_that_counts(cluster: Cluster, namespace: str) -> None:
    recorder = EventRecorder(cluster.admin, CLOCK, refresh_seconds=0.0)
    about = Regarding("apps/v1", "Deployment", "web", namespace, "uid-1")
    for count in range(3):
        note = f"no reading for {count} s"
        event = ObjectEvent(regarding=about, reason="Held", action="Hold", note=note, warning=True)
        assert await recorder.publish([event]) == Counts(written=1)
    (stored,) = json.loads(await cluster.admin.get(EVENTS.to(namespace=namespace)))["items"]
    assert stored["series"]["count"] == 3
    assert stored["note"] == "no reading for 0 s"
    # As kubectl sees it.
    (legacy,) = json.loads(await cluster.admin.get(f"/api/v1/namespaces/{namespace}/events"))["items"]
    assert legacy["involvedObject"]["uid"] == "uid-1"
    assert (legacy["reason"], legacy["reportingComponent"]) == ("Held", "podnode.io/autoscaler")


async def test_events_about_nodes_and_in_namespaces_that_are_gone(cluster: Cluster, namespace: str) -> None:
    recorder = EventRecorder(cluster.admin, CLOCK)
    node = Regarding("v1", "Node", f"node-of-{namespace}")
    gone = Regarding("apps/v1", "Deployment", "web", f"{namespace}-gone")
    events = [ObjectEvent(regarding=about, reason="Cordoned", action="Cordon", note="x") for about in (gone, node)]
    assert await recorder.publish(events) == Counts(written=1, failed=1)
    field = {"fieldSelector": f"regarding.name={node.name}"}
    (stored,) = json.loads(await cluster.admin.get(EVENTS.to(namespace="default"), params=field))["items"]
    await cluster.admin.send("DELETE", EVENTS.to(stored["metadata"]["name"], namespace="default"))
