from __future__ import annotations

import pytest

from autoscaler.errors import ConflictError, InputError
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.units import MIB
from autoscaler.simulator import controllers
from autoscaler.simulator.writing import SimWriter
from autoscaler.testing.builders import make_service
from tests.unit.simulator.worlds import a_world, look, play, pods_of


def _size(*, limits: Resources | None = None, **target: int) -> tuple[ContainerSize, ...]:
    return (ContainerSize(container="app", target=Resources.of(target), limits=limits),)


async def test_a_resize_with_room_takes_effect_at_once_and_without_a_restart() -> None:
    world = a_world()
    play(world, 1)
    pod = (await pods_of(world, "web"))[0]
    await SimWriter(world).resize_pod(pod.key, _size(cpu=800))
    after = (await pods_of(world, "web"))[0]
    assert (after.name, after.uid, after.restarts, after.resize) == (pod.name, pod.uid, 0, None)
    assert after.shape.containers[0].requests == Resources.of(cpu=800, memory=512 * MIB)
    assert world.pods.cpu[0] == 0.8


async def test_a_resize_without_room_is_deferred_until_there_is_some() -> None:
    world = a_world(make_service(replicas=4, pod_requests=Resources.of(cpu=900, memory=64 * MIB)), nodes=1)
    play(world, 1)
    pod = (await pods_of(world, "web"))[0]
    await SimWriter(world).resize_pod(pod.key, _size(cpu=1500))
    waiting = (await pods_of(world, "web"))[0]
    assert waiting.resize is not None
    assert waiting.resize.state == "Deferred"
    assert waiting.shape.containers[0].requests.cpu == 1500
    assert waiting.resize.containers[0].allocated == Resources.of(cpu=900, memory=64 * MIB)
    assert world.pods.cpu[0] == 0.9
    controllers.scale(world, world.fleets[0], 3)
    play(world, 1)
    done = (await pods_of(world, "web"))[0]
    assert done.resize is None
    assert world.pods.cpu[0] == 1.5


async def test_a_resize_beyond_the_node_is_infeasible() -> None:
    world = a_world()
    play(world, 1)
    pod = (await pods_of(world, "web"))[0]
    await SimWriter(world).resize_pod(pod.key, _size(cpu=9000))
    resize = (await pods_of(world, "web"))[0].resize
    assert resize is not None
    assert resize.state == "Infeasible"
    await SimWriter(world).resize_pod(pod.key, _size(cpu=500))
    assert (await pods_of(world, "web"))[0].resize is None


async def test_a_memory_limit_below_what_is_used_waits() -> None:
    world = a_world()
    play(world, 1)
    pod = (await pods_of(world, "web"))[0]
    small = Resources.of(memory=100 * MIB)
    await SimWriter(world).resize_pod(pod.key, _size(memory=100 * MIB, limits=small))
    resize = (await pods_of(world, "web"))[0].resize
    assert resize is not None
    assert resize.state == "InProgress"
    assert world.step().oom_kills == 0


async def test_a_deleted_pod_gives_back_what_was_allocated_to_it() -> None:
    world = a_world(make_service(replicas=4, pod_requests=Resources.of(cpu=900, memory=64 * MIB)), nodes=1)
    play(world, 1)
    for pod in await pods_of(world, "web"):
        await SimWriter(world).resize_pod(pod.key, _size(cpu=1500))
    controllers.scale(world, world.fleets[0], 0)
    play(world, 1)
    controllers.scale(world, world.fleets[0], 4)
    play(world, 1)
    assert not world.waiting_since
    assert not world.resizes


async def test_a_pending_pod_cannot_be_resized() -> None:
    world = a_world(nodes=0)
    play(world, 1)
    pod = (await pods_of(world, "web"))[0]
    with pytest.raises(ConflictError, match="not on a node"):
        await SimWriter(world).resize_pod(pod.key, _size(cpu=800))


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(_size(memory=600 * MIB), id="above-the-limit"),
        pytest.param(_size(cpu=-1), id="negative"),
        pytest.param((ContainerSize(container="other", target=Resources.of(cpu=1)),), id="no-such-container"),
    ],
)
async def test_sizes_that_the_api_refuses(size: tuple[ContainerSize, ...]) -> None:
    world = a_world()
    play(world, 1)
    before = await look(world)
    with pytest.raises(InputError):
        await SimWriter(world).set_requests("default/Deployment/web", size)
    with pytest.raises(InputError):
        await SimWriter(world).resize_pod(before.pods[0].key, size)
    assert await look(world) == before


async def test_new_requests_are_for_new_pods() -> None:
    world = a_world()
    play(world, 1)
    await SimWriter(world).set_requests("default/Deployment/web", _size(cpu=250))
    controllers.scale(world, world.fleets[0], 3)
    play(world, 1)
    assert [pod.shape.containers[0].requests.cpu for pod in await pods_of(world, "web")] == [500, 500, 250]
    assert (await look(world)).workloads[0].template.containers[0].requests.cpu == 250


async def test_restored_requests_are_those_of_the_beginning() -> None:
    world = a_world()
    before = world.fleets[0].template
    writer = SimWriter(world)
    await writer.set_requests("default/Deployment/web", _size(cpu=250))
    assert world.fleets[0].template != before
    await writer.restore_requests("default/Deployment/web")
    assert world.fleets[0].template == before
