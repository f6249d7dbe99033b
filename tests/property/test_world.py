"""Whatever is done to a simulated cluster, and whatever befalls it, what must hold holds."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.controller.actuate import ApplyActuator
from autoscaler.model.plan import (
    AnyAction,
    CordonNode,
    DeleteInstances,
    EvictPod,
    Plan,
    ResizePod,
    SetGroupSize,
    SetReplicas,
    SetRequests,
    UncordonNode,
)
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.units import MIB
from autoscaler.providers.memory import MemoryProvider
from autoscaler.simulator.cluster import SimCluster
from autoscaler.simulator.spec import (
    BadDeploy,
    Delays,
    InitialNodes,
    NodeLoss,
    SlowStarts,
    StockOut,
    WorldSpec,
)
from autoscaler.simulator.world import World
from autoscaler.simulator.writing import SimWriter
from autoscaler.testing.builders import make_pool, make_service, make_world

FAULTS = st.sampled_from(
    [
        (),
        (NodeLoss(start=90.0, count=2),),
        (StockOut(start=0.0, end=300.0),),
        (BadDeploy(start=60.0, end=240.0, service="web", cores_factor=3.0, memory_factor=2.0),),
        (SlowStarts(start=0.0, factor=5.0),),
    ]
)
LOADS = st.lists(st.floats(0, 2000, width=32), min_size=12, max_size=12)


def _spec(loads: list[list[float]], faults: tuple[Any, ...], seed: int) -> WorldSpec:
    pools = (make_pool(zones=("a", "b")), make_pool("spot", capacity_type="spot", interruptions_per_hour=20.0))
    return make_world(
        make_service("web", load=loads[0]),
        make_service("api", load=loads[1], kind="StatefulSet", bytes_per_rps=float(MIB), max_unavailable="1"),
        steps=12,
        pools=pools,
        initial_nodes=(InitialNodes(instance_type="m.xl", count=2),),
        delays=Delays(launch_failure_share=0.2, launch_timeout_seconds=120),
        faults=faults,
        load_noise=0.1,
        seed=seed,
    )


def _action(snapshot: ClusterSnapshot, kind: int, number: int) -> AnyAction:
    """Turn two numbers into an action on whatever is there; some of these must be refused."""
    pod = snapshot.pods[number % len(snapshot.pods)] if snapshot.pods else None
    node = snapshot.nodes[number % len(snapshot.nodes)] if snapshot.nodes else None
    workload = snapshot.workloads[number % len(snapshot.workloads)]
    size = ContainerSize(container="app", target=Resources.of(cpu=50 * (1 + number % 90), memory=64 * MIB))
    if kind == 0 and pod is not None:
        return EvictPod(pod=pod.key, uid=pod.uid)
    if kind == 1 and pod is not None:
        return ResizePod(pod=pod.key, workload=pod.workload, containers=(size,))
    if kind == 2 and node is not None:
        return CordonNode(node=node.name) if number % 2 else UncordonNode(node=node.name)
    if kind == 3 and node is not None:
        there = sum(other.group == node.group for other in snapshot.nodes)
        return DeleteInstances(group=node.group, nodes=(node.name,), expected=there)
    if kind == 4:
        return SetGroupSize(group="m.xl-b-on-demand", size=number % 6, expected=number % 3)
    if kind == 5:
        return SetRequests(workload=workload.key, containers=(size,))
    return SetReplicas(workload=workload.key, replicas=number % 15, expected=workload.replicas)


def _check(world: World, snapshot: ClusterSnapshot, billed: float) -> None:
    taken: dict[str, Resources] = {}
    for pod in snapshot.pods:
        if pod.node:
            allocated = pod.shape.containers[0].requests
            if pod.resize is not None and pod.resize.containers[0].allocated is not None:
                allocated = pod.resize.containers[0].allocated
            taken[pod.node] = taken.get(pod.node, Resources()) + allocated
    for node in snapshot.nodes:
        used = taken.pop(node.name, Resources())
        assert used.cpu <= node.allocatable.cpu
        assert used.memory <= node.allocatable.memory
    assert not taken, "a pod is on a node that is not there"
    assert len({pod.key for pod in snapshot.pods}) == len(snapshot.pods)
    assert len(world.order) == sum(world.pods.count(index) for index in range(len(world.fleets)))
    assert world.cloud.usd >= billed - 0.2 * 120 / 3600


async def _play(spec: WorldSpec, script: list[tuple[int, int]]) -> list[bytes]:
    world = World(spec)
    reader, provider = SimCluster(world), MemoryProvider(world.cloud)
    trail = []
    for kind, number in script:
        billed = world.cloud.usd
        step = world.step()
        snapshot = await reader.observe(world.now)
        _check(world, snapshot, billed)
        assert ((step.slow >= 0) & (step.slow <= 1)).all()
        assert ((step.dropped >= 0) & (step.dropped <= 1)).all()
        assert (step.cores <= world.nodes.cores.sum() + 1e-6).all() or not len(snapshot.nodes)
        actuator = ApplyActuator(SimWriter(world), provider, nodes=snapshot.nodes)
        await actuator.apply(Plan(actions=(_action(snapshot, kind, number),)))
        trail.append(np.concatenate([step.cores, step.slow, step.peak_bytes, [world.cloud.usd]]).tobytes())
    return trail


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(LOADS, LOADS),
    FAULTS,
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 100)), min_size=12, max_size=12),
    st.integers(0, 3),
)
def test_a_cluster_keeps_its_books(
    loads: tuple[list[float], list[float]], faults: tuple[Any, ...], script: list[tuple[int, int]], seed: int
) -> None:
    spec = _spec(list(loads), faults, seed)
    first = asyncio.run(_play(spec, script))
    assert asyncio.run(_play(spec, script)) == first
