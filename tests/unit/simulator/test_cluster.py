from __future__ import annotations

from typing import Any

import pytest

from autoscaler.errors import ConflictError, InputError, TransientError
from autoscaler.model.placement import TopologySpread
from autoscaler.model.pod import Phase
from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB, MIB
from autoscaler.simulator import controllers
from autoscaler.simulator.cluster import SimCluster
from autoscaler.simulator.spec import InitialNodes
from autoscaler.simulator.world import World
from autoscaler.simulator.writing import SimWriter
from autoscaler.testing.builders import make_pool, make_service, make_world
from tests.unit.simulator.worlds import a_world, look, play, pods_of


async def test_a_snapshot_is_sorted_and_complete() -> None:
    world = a_world(make_service("web", namespace="shop"), make_service("api", namespace="zoo"), nodes=2)
    play(world, 1)
    snapshot = await look(world)
    assert [(pod.namespace, pod.name) for pod in snapshot.pods] == sorted(
        (pod.namespace, pod.name) for pod in snapshot.pods
    )
    assert [workload.key for workload in snapshot.workloads] == ["shop/Deployment/web", "zoo/Deployment/api"]
    assert [node.name for node in snapshot.nodes] == ["m.xl-a-on-demand-00001", "m.xl-a-on-demand-00002"]
    assert [each.name for each in snapshot.namespaces] == ["kube-system", "shop", "zoo"]
    daemons = [pod for pod in snapshot.pods if pod.shape.owner_kind == "DaemonSet"]
    assert [pod.node for pod in daemons] == [node.name for node in snapshot.nodes]
    assert {pod.name for pod in snapshot.pods if pod.workload == "shop/Deployment/web"} == {
        f"web-{world.fleets[0].revision}-0000{number}" for number in (1, 2)
    }


async def test_what_did_not_change_is_the_same_object() -> None:
    world = a_world()
    reader = SimCluster(world)
    play(world, 2)
    before = await reader.observe(world.now)
    controllers.scale(world, world.fleets[0], 3)
    play(world, 1)
    after = await reader.observe(world.now)
    old = {pod.name: pod for pod in before.pods}
    assert len(after.pods) == len(before.pods) + 1
    assert all(pod is old[pod.name] for pod in after.pods if pod.name in old)
    assert all(one is other for one, other in zip(before.nodes, after.nodes, strict=True))


async def test_a_pods_life_shows() -> None:
    world = a_world(make_service(start_seconds=60, replicas=0), nodes=0)
    controllers.scale(world, world.fleets[0], 1)
    play(world, 1)
    (pending,) = await pods_of(world, "web")
    assert (pending.phase, pending.node, pending.ready) == (Phase.PENDING, "", None)
    assert pending.unschedulable_since == pending.created_at
    world.cloud.resize("m.xl-a-on-demand", 1, expected=0)
    play(world, 5)
    (starting,) = await pods_of(world, "web")
    assert (starting.phase, starting.is_ready, starting.unschedulable_since) == (Phase.RUNNING, False, None)
    assert starting.started_at is not None
    play(world, 3)
    (ready,) = await pods_of(world, "web")
    assert ready.is_ready
    assert ready.ready is not None
    assert ready.ready.since - ready.started_at == 60 if ready.started_at else False


async def test_an_oom_kill_shows() -> None:
    world = a_world(make_service(base_bytes=600.0 * MIB))
    play(world, 1)
    pod = (await pods_of(world, "web"))[0]
    assert (pod.restarts, pod.is_ready) == (1, False)
    assert [(each.container, each.reason) for each in pod.terminations] == [("app", "OOMKilled")]


async def test_scale_is_conditional() -> None:
    world = a_world()
    writer = SimWriter(world)
    await writer.scale("default/Deployment/web", 4, expected=2)
    with pytest.raises(ConflictError, match="expected 2"):
        await writer.scale("default/Deployment/web", 4, expected=2)
    with pytest.raises(ConflictError, match="does not exist"):
        await writer.scale("default/Deployment/gone", 4, expected=2)
    assert (await look(world)).workloads[0].replicas == 4


async def test_eviction_is_of_one_pod_by_uid() -> None:
    world = a_world()
    play(world, 1)
    writer = SimWriter(world)
    pod, other = await pods_of(world, "web")
    with pytest.raises(ConflictError, match="uid"):
        await writer.evict(pod.key, uid=other.uid)
    await writer.evict(pod.key, uid=pod.uid)
    with pytest.raises(ConflictError, match="does not exist"):
        await writer.evict(pod.key, uid=pod.uid)
    with pytest.raises(TransientError):
        await writer.evict(other.key, uid=other.uid)


async def test_there_are_no_quotas_to_write() -> None:
    with pytest.raises(InputError):
        await SimWriter(a_world()).set_quota("default", "q", [("pods", 1)])


@pytest.mark.parametrize(
    ("fields", "placed"),
    [
        pytest.param({}, 3, id="no-constraint"),
        pytest.param({"anti_affinity": ("kubernetes.io/hostname",)}, 2, id="one-a-node"),
        pytest.param({"anti_affinity": ("topology.kubernetes.io/zone",)}, 2, id="one-a-zone"),
        pytest.param({"node_selector": (("disk", "ssd"),)}, 0, id="no-node-has-the-label"),
        pytest.param({"pod_requests": Resources.of({"cpu": 100, "nvidia.com/gpu": 1})}, 0, id="no-node-has-a-gpu"),
        pytest.param({"pod_requests": Resources.of(cpu=100, memory=9 * GIB)}, 2, id="memory-for-one-a-node"),
        pytest.param(
            {"spread": (TopologySpread(max_skew=1, topology_key="topology.kubernetes.io/zone"),)}, 3, id="spread"
        ),
    ],
)
async def test_pods_go_where_they_may(fields: dict[str, Any], placed: int) -> None:
    initial = tuple(InitialNodes(instance_type="m.xl", count=1, zone=zone) for zone in ("a", "b"))
    service = make_service(replicas=3, **fields)
    world = World(make_world(service, pools=(make_pool(zones=("a", "b")),), initial_nodes=initial))
    play(world, 1)
    pods = await pods_of(world, "web")
    assert sum(bool(pod.node) for pod in pods) == placed
    if placed == 3 and fields:
        zones = [pod.node.split("-")[1] for pod in pods]
        assert {zones.count("a"), zones.count("b")} == {1, 2}
