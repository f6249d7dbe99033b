from __future__ import annotations

from typing import Any

import pytest

from autoscaler.controller.actuate import ApplyActuator, RecordActuator
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
from autoscaler.providers.memory import MemoryProvider
from autoscaler.simulator.cluster import SimCluster
from autoscaler.simulator.spec import InitialNodes
from autoscaler.simulator.world import World
from autoscaler.simulator.writing import SimWriter
from autoscaler.testing.builders import make_service, make_world
from autoscaler.testing.contracts import ACTUATOR, ActuatorCase, ActuatorRule

WEB = "default/Deployment/web"
GROUP = "m.xl-a-on-demand"


async def _case(*, writes: bool) -> ActuatorCase:
    world = World(make_world(make_service(), initial_nodes=(InitialNodes(instance_type="m.xl", count=3),)))
    world.step()
    snapshot = await SimCluster(world).observe(world.now)
    pods = [pod for pod in snapshot.pods if pod.workload == WEB]
    used = {pod.node for pod in pods}
    idle, busy = next(n.name for n in snapshot.nodes if n.name not in used), sorted(used)
    size = ContainerSize(container="app", target=Resources.of(cpu=700))
    good: tuple[AnyAction, ...] = (
        SetGroupSize(group=GROUP, size=5, expected=3),
        SetRequests(workload=WEB, containers=(size,)),
        ResizePod(pod=pods[0].key, workload=WEB, containers=(size,)),
        EvictPod(pod=pods[1].key, uid=pods[1].uid, workload=WEB),
        SetReplicas(workload=WEB, replicas=6, expected=2),
        CordonNode(node=busy[0]),
        UncordonNode(node=busy[-1]),
        DeleteInstances(group=GROUP, nodes=(idle,), expected=5),
    )
    bad = SetReplicas(workload="default/Deployment/gone", replicas=3, expected=2)
    provider = MemoryProvider(world.cloud)

    async def state() -> Any:
        seen = await SimCluster(world).observe(0.0)
        return (
            seen.pods,
            seen.nodes,
            seen.workloads,
            await provider.list_node_groups(),
            len(world.cloud.machines(GROUP)),
        )

    return ActuatorCase(
        actuator=ApplyActuator(SimWriter(world), provider, nodes=snapshot.nodes) if writes else RecordActuator(),
        good=Plan(actions=good),
        mixed=Plan(actions=(bad, *good)),
        state=state,
        writes=writes,
    )


@pytest.mark.parametrize("rule", ACTUATOR.values(), ids=ACTUATOR)
async def test_the_apply_actuator(rule: ActuatorRule) -> None:
    await rule(await _case(writes=True))


@pytest.mark.parametrize("rule", ACTUATOR.values(), ids=ACTUATOR)
async def test_the_record_actuator(rule: ActuatorRule) -> None:
    await rule(await _case(writes=False))
