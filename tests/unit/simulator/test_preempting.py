from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.backtest.balloons import with_balloons
from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB
from autoscaler.simulator import controllers
from autoscaler.simulator.spec import InitialNodes, Service
from autoscaler.simulator.world import World
from autoscaler.testing.builders import make_pool, make_service, make_world
from tests.unit.simulator.worlds import a_world, play

STEPS = 40


def service(name: str, replicas: int, cpu: int, **fields: Any) -> Service:
    return make_service(
        name=name,
        steps=STEPS,
        load=0.0,
        replicas=replicas,
        pod_requests=Resources.of(cpu=cpu, memory=GIB // 2),
        **fields,
    )


def placed(world: World, index: int) -> list[int]:
    """Return the node of each pod of a service, -1 for one that waits."""
    return sorted(int(world.pods.node[row]) for row in world.pods.of_service(index))


def test_a_pod_that_fits_nowhere_takes_the_place_of_one_of_lower_priority() -> None:
    world = a_world(service("web", 1, 1500), service("filler", 1, 1500, priority=-10), nodes=1, steps=STEPS)
    play(world, 1)
    assert placed(world, 1) == [0]
    controllers.scale(world, world.fleets[0], 2)
    world.step()
    assert (placed(world, 0), placed(world, 1)) == ([0, 0], [])
    world.step()
    assert placed(world, 1) == [-1]


def test_equal_priority_preempts_nothing() -> None:
    world = a_world(service("web", 1, 1500), service("filler", 1, 2000), nodes=1, steps=STEPS)
    play(world, 1)
    controllers.scale(world, world.fleets[0], 2)
    play(world, 2)
    assert (placed(world, 0), placed(world, 1)) == ([-1, 0], [0])


def test_nothing_is_preempted_where_that_does_not_help() -> None:
    world = a_world(service("web", 1, 1500), service("filler", 1, 1500, priority=-10), nodes=1, steps=STEPS)
    play(world, 1)
    controllers.scale(world, world.fleets[0], 3)
    play(world, 2)
    assert placed(world, 0) == [-1, 0, 0]


def test_of_several_nodes_the_one_with_the_lowest_victim_is_taken() -> None:
    world = a_world(
        service("web", 0, 2000, priority=5),
        service("low", 1, 3000, priority=1),
        service("lowest", 1, 3000),
        nodes=2,
        steps=STEPS,
    )
    play(world, 1)
    controllers.scale(world, world.fleets[0], 1)
    world.step()
    assert len(placed(world, 1)) == 1
    assert placed(world, 2) == []


def test_no_more_victims_go_than_are_needed() -> None:
    world = a_world(service("web", 0, 1500, priority=1), service("filler", 3, 1000), nodes=1, steps=STEPS)
    play(world, 1)
    assert placed(world, 1) == [0, 0, 0]
    controllers.scale(world, world.fleets[0], 1)
    world.step()
    assert (len(placed(world, 0)), len(placed(world, 1))) == (1, 2)


@pytest.mark.parametrize("cores", [1.0, 3.0])
def test_balloons_hold_room_and_count_for_nothing(cores: float) -> None:
    spec = make_world(
        service("web", 1, 1000), steps=STEPS, initial_nodes=(InitialNodes(instance_type="m.xl", count=1),)
    )
    world = World(with_balloons(spec, cores=cores))
    balloon = world.fleets[-1]
    assert balloon.replicas == cores
    play(world, 2)
    controllers.scale(world, world.fleets[0], 3)
    play(world, 2)
    assert -1 not in placed(world, 0)
    assert world.counters.evictions == 0
    assert world.counters.pending_seconds == 0
    assert world.counters.pod_starts == 2


def test_without_anything_to_scale_there_are_no_balloons() -> None:
    spec = make_world(service("web", 1, 1000, scalable=False), steps=STEPS, pools=(make_pool(),))
    assert with_balloons(spec, cores=4) is spec


def test_a_balloon_asks_for_the_most_of_each_resource() -> None:
    gpu = service("gpu", 1, 500)
    gpu = msgspec.structs.replace(gpu, pod_requests=gpu.pod_requests.with_(**{"nvidia.com/gpu": 1}))
    spec = with_balloons(make_world(service("web", 1, 1000), gpu, steps=STEPS), cores=1)
    assert spec.services[-1].pod_requests == Resources.of({"cpu": 1000, "memory": GIB // 2, "nvidia.com/gpu": 1})
