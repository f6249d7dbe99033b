"""Small worlds that the tests of this folder share."""

from __future__ import annotations

from typing import Any

from autoscaler.model.pod import Pod
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.simulator.cluster import SimCluster
from autoscaler.simulator.spec import InitialNodes, Service
from autoscaler.simulator.world import World
from autoscaler.testing.builders import make_service, make_world


def a_world(*services: Service, nodes: int = 2, steps: int = 120, **fields: Any) -> World:
    """Return a world with ready nodes of 4 cores and the services' pods on them."""
    initial = (InitialNodes(instance_type="m.xl", count=nodes),) if nodes else ()
    spec = make_world(*(services or (make_service(steps=steps),)), steps=steps, initial_nodes=initial, **fields)
    return World(spec)


def play(world: World, steps: int) -> None:
    for _ in range(steps):
        world.step()


async def look(world: World) -> ClusterSnapshot:
    return await SimCluster(world).observe(world.now)


async def pods_of(world: World, name: str) -> list[Pod]:
    return [pod for pod in (await look(world)).pods if dict(pod.shape.labels).get("app") == name]
