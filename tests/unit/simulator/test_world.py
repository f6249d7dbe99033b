from __future__ import annotations

import numpy as np
import pytest

from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB, HOUR, MIB
from autoscaler.simulator import controllers
from autoscaler.simulator.spec import (
    ApiErrors,
    BadDeploy,
    Delays,
    InitialNodes,
    NodeLoss,
    SlowStarts,
    StockOut,
)
from autoscaler.simulator.tables import READY
from autoscaler.simulator.world import World
from autoscaler.testing.builders import make_pool, make_service, make_world
from tests.unit.simulator.worlds import a_world, look, play, pods_of

GROUP = "m.xl-a-on-demand"


def test_a_run_starts_with_its_pods_ready_on_the_initial_nodes() -> None:
    world = a_world()
    step = world.step()
    assert step.ready.tolist() == [2]
    assert step.cores[0] == pytest.approx(10 * 0.02 + 2 * 0.02)
    assert (step.slow[0], step.dropped[0]) == (0, 0)
    assert world.counters.pod_starts == 0


def test_load_without_a_ready_pod_is_lost() -> None:
    step = a_world(nodes=0).step()
    assert (step.slow[0], step.dropped[0]) == (1, 1)


def test_no_load_loses_nothing() -> None:
    step = a_world(make_service(load=0.0), nodes=0).step()
    assert (step.slow[0], step.dropped[0]) == (0, 0)
    assert np.isnan(step.latency[0])


def test_a_new_pod_is_ready_after_its_start_time_and_burns_cpu_until_then() -> None:
    world = a_world(make_service(load=0.0, start_seconds=60, idle_cores=0.0))
    controllers.scale(world, world.fleets[0], 3)
    first, second, third = world.step(), world.step(), world.step()
    assert [step.ready[0] for step in (first, second, third)] == [2, 2, 3]
    assert [round(float(step.cores[0]), 3) for step in (first, second, third)] == [0.25, 0.25, 0]


def test_a_machine_joins_after_its_boot_and_waiting_pods_move_in() -> None:
    world = a_world(nodes=0)
    play(world, 1)
    world.cloud.resize(GROUP, 1, expected=0)
    # Asked for at second 30, so 90 s of boot end at second 120, with the fourth step.
    play(world, 2)
    assert not world.nodes.row_of
    play(world, 1)
    assert list(world.nodes.row_of) == [f"{GROUP}-00001"]
    play(world, 1)
    assert not world.waiting_since
    assert world.counters.pending_seconds == 2 * 30 * 4


def test_machines_are_billed_by_the_second_and_a_minute_at_least() -> None:
    world = a_world(make_service(replicas=0), nodes=1)
    play(world, 1)
    assert world.cloud.usd == pytest.approx(0.2 * 30 / HOUR)
    world.cloud.delete(GROUP, ["i-00000001"], expected=1)
    play(world, 4)
    assert world.cloud.usd == pytest.approx(0.2 * 60 / HOUR)
    assert world.cloud.usd_per_hour == 0


async def test_scale_in_takes_what_is_not_placed_then_not_ready_then_newest() -> None:
    world = a_world(make_service(start_seconds=300, pod_requests=Resources.of(cpu=1500, memory=MIB)))
    play(world, 20)
    controllers.scale(world, world.fleets[0], 5)
    play(world, 1)
    before = {pod.name: (pod.is_ready, bool(pod.node)) for pod in await pods_of(world, "web")}
    assert sorted(before.values()) == [(False, False), (False, True), (False, True), (True, True), (True, True)]
    controllers.scale(world, world.fleets[0], 4)
    play(world, 1)
    assert all(placed for name, (_, placed) in before.items() if world.row_of(f"default/{name}") is not None)
    controllers.scale(world, world.fleets[0], 1)
    play(world, 1)
    left = await pods_of(world, "web")
    assert [(pod.is_ready, pod.name) for pod in left] == [(True, "web-" + world.fleets[0].revision + "-00001")]


async def test_deletion_cost_decides_among_ready_pods() -> None:
    world = a_world()
    play(world, 2)
    first, second = await pods_of(world, "web")
    row = world.row_of(second.key)
    assert row is not None
    world.pods.deletion_cost[row] = -100
    world.pods.deletion_cost[world.row_of(first.key)] = 100
    controllers.scale(world, world.fleets[0], 1)
    play(world, 1)
    assert [pod.name for pod in await pods_of(world, "web")] == [first.name]


async def test_a_stateful_set_goes_by_ordinal() -> None:
    world = a_world(make_service(kind="StatefulSet", replicas=3))
    play(world, 1)
    assert [pod.name for pod in await pods_of(world, "web")] == ["web-0", "web-1", "web-2"]
    controllers.scale(world, world.fleets[0], 1)
    play(world, 1)
    assert [pod.name for pod in await pods_of(world, "web")] == ["web-0"]


def test_a_recorded_job_follows_its_series() -> None:
    series = np.array([2] * 5 + [4] * 5 + [1] * 110, np.int32)
    world = a_world(make_service(requests=None, replica_series=series), nodes=3)
    counts = [int(world.step().pods[0]) for _ in range(12)]
    assert counts == [2] * 5 + [4] * 5 + [1] * 2


def test_a_container_above_its_limit_is_killed_and_backs_off() -> None:
    hungry = make_service(base_bytes=600.0 * MIB, start_seconds=10, pod_limits=Resources.of(memory=512 * MIB))
    world = a_world(hungry)
    assert world.step().oom_kills == 2
    assert all(kills.oom_kills >= 0 for kills in (world.step(), world.step()))
    play(world, 30)
    restarts = int(world.pods.restarts[0])
    # 10 + 10 s, then 10 s of start and a back-off that doubles to 300 s: far fewer than one a step.
    assert 4 <= restarts <= 12
    assert world.terminations[0].reason == "OOMKilled"


def test_memory_falls_back_only_slowly() -> None:
    load = [100.0] * 20 + [0.0] * 100
    world = a_world(make_service(load=load, bytes_per_rps=4.0 * MIB, memory_half_life_seconds=600), nodes=2)
    play(world, 20)
    high = world.step().peak_bytes[0]
    play(world, 20)
    low = world.step().peak_bytes[0]
    assert high == pytest.approx((256 + 50 * 4) * MIB, rel=0.1)
    assert low == pytest.approx(256 * MIB, rel=0.1)


def test_a_leak_grows_until_the_pod_is_killed() -> None:
    world = a_world(make_service(leak_bytes_per_hour=1024.0 * MIB))
    peaks = [float(world.step().peak_bytes[0]) for _ in range(30)]
    assert peaks[25] > peaks[0] + 150 * MIB
    play(world, 20)
    assert world.counters.oom_kills >= 2


def test_a_node_short_of_memory_kills_what_is_most_above_its_request() -> None:
    # Without limits two services overcommit the node; the one with the small request goes.
    greedy = make_service(
        "greedy", base_bytes=10.0 * GIB, pod_requests=Resources.of(cpu=100, memory=GIB), pod_limits=Resources(),
        replicas=1, load=0.0,
    )  # fmt: skip
    fair = make_service(
        "fair", base_bytes=8.0 * GIB, pod_requests=Resources.of(cpu=100, memory=9 * GIB), pod_limits=Resources(),
        replicas=1, load=0.0,
    )  # fmt: skip
    world = a_world(greedy, fair, nodes=1)
    assert world.step().oom_kills == 1
    assert world.pods.restarts[: world.pods.top].tolist() == [1, 0]


async def test_eviction_makes_a_new_pod_and_honours_the_budget() -> None:
    world = a_world(make_service(replicas=2, max_unavailable="1", start_seconds=120))
    play(world, 1)
    snapshot = await look(world)
    assert [budget.allowed for budget in snapshot.disruption_budgets] == [1]
    controllers.evict(world, 0)
    with pytest.raises(Exception, match="allows no eviction"):
        controllers.evict(world, 1)
    play(world, 1)
    assert world.pods.count(0) == 2
    assert world.counters.evictions == 1
    assert [budget.allowed for budget in (await look(world)).disruption_budgets] == [0]


@pytest.mark.parametrize(
    ("budget", "replicas", "unavailable"),
    [
        pytest.param("25%", 2, 1, id="a-percentage-rounds-up"),
        pytest.param("25%", 8, 2, id="a-percentage-that-is-whole"),
        pytest.param("0", 4, 0, id="none"),
        pytest.param("3", 4, 3, id="a-count"),
        pytest.param("", 4, None, id="no-budget"),
    ],
)
def test_max_unavailable(budget: str, replicas: int, unavailable: int | None) -> None:
    world = a_world(make_service(replicas=replicas, max_unavailable=budget))
    assert world.fleets[0].max_unavailable() == unavailable


def test_a_lost_node_takes_its_pods_along_and_they_come_back() -> None:
    world = a_world(faults=(NodeLoss(start=60.0),), nodes=2)
    play(world, 2)
    assert len(world.nodes.row_of) == 2
    play(world, 1)
    assert len(world.nodes.row_of) == 1
    assert world.counters.lost_nodes == 1
    assert world.counters.lost_pods == 1
    assert world.pods.count(0) == 2
    assert world.cloud.group(GROUP).target_size == 1


def test_a_spot_node_gets_notice_and_goes() -> None:
    pool = make_pool(capacity_type="spot", interruptions_per_hour=1000.0)
    initial = (InitialNodes(instance_type="m.xl", capacity_type="spot", count=1),)
    world = World(make_world(make_service(), pools=(pool,), initial_nodes=initial))
    play(world, 3)
    node = world.nodes.node(next(iter(world.nodes.row_of.values())))
    assert node.interrupt_at is not None
    play(world, 6)
    assert not world.nodes.row_of
    assert world.counters.lost_nodes == 1


def test_a_failed_launch_is_given_up_and_not_billed() -> None:
    world = a_world(nodes=0, delays=Delays(launch_failure_share=1.0, launch_timeout_seconds=120))
    world.cloud.resize(GROUP, 1, expected=0)
    play(world, 6)
    group = world.cloud.group(GROUP)
    assert group.target_size == 0
    assert group.backoff_until > world.now
    assert world.cloud.usd == pytest.approx(0)


def test_stock_outs_and_api_errors_are_in_force_for_their_time() -> None:
    faults = (StockOut(start=0.0, end=60.0, zone="a"), ApiErrors(start=30.0, end=90.0, share=0.5))
    world = a_world(faults=faults)
    seen = []
    for _ in range(4):
        play(world, 1)
        seen.append((GROUP in world.cloud.stocked_out, world.cloud.error_share))
    assert seen == [(True, 0.0), (True, 0.5), (False, 0.5), (False, 0.0)]


def test_a_bad_deploy_rolls_out_and_back() -> None:
    world = a_world(
        make_service(replicas=4, start_seconds=20, idle_cores=0.0, steps=60),
        faults=(BadDeploy(start=60.0, end=900.0, service="web", cores_factor=3.0),),
        steps=60,
    )
    play(world, 2)
    first = world.fleets[0].revision
    steps = [world.step() for _ in range(20)]
    assert world.fleets[0].revision != first
    assert min(step.ready[0] for step in steps) >= 3
    assert steps[-1].cores[0] == pytest.approx(3 * 10 * 0.02)
    play(world, 30)
    assert world.step().cores[0] == pytest.approx(10 * 0.02)


def test_slow_starts_last_as_long_as_the_fault() -> None:
    world = a_world(make_service(start_seconds=30), faults=(SlowStarts(start=0.0, end=30.0, factor=4.0),))
    controllers.scale(world, world.fleets[0], 3)
    assert [int(world.step().ready[0]) for _ in range(5)] == [2, 2, 2, 2, 3]


async def test_cordoned_nodes_take_no_pods() -> None:
    world = a_world(nodes=2)
    name = min(world.nodes.row_of)
    world.cordon(name, unschedulable=True)
    controllers.scale(world, world.fleets[0], 5)
    play(world, 2)
    snapshot = await look(world)
    assert sum(pod.node == name and pod.workload != "" for pod in snapshot.pods) == 1
    world.cordon(name, unschedulable=False)
    controllers.scale(world, world.fleets[0], 8)
    play(world, 2)
    assert sum(pod.node == name and pod.workload != "" for pod in (await look(world)).pods) > 1


def test_a_run_ends() -> None:
    world = a_world(make_service(steps=2), steps=2)
    play(world, 2)
    assert world.is_over
    with pytest.raises(ValueError, match="ended"):
        world.step()


def test_equal_specs_give_equal_worlds() -> None:
    def digest() -> list[float]:
        load = (20 + 15 * np.sin(np.arange(120) / 9)).astype(np.float32)
        world = a_world(make_service(requests=load), load_noise=0.05, faults=(NodeLoss(start=600.0),), seed=7)
        out: list[float] = []
        while not world.is_over:
            step = world.step()
            out += [*step.cores.tolist(), *step.peak_bytes.tolist(), *step.slow.tolist(), world.cloud.usd]
        return out

    assert digest() == digest()


def test_ready_pods_are_what_the_table_says() -> None:
    world = a_world()
    step = world.step()
    assert step.ready[0] == np.count_nonzero(world.pods.state == READY)
