from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import DemandModel
from autoscaler.model.units import GIB, MIB
from autoscaler.planning.shapes import Shapes, Sizing, choose_shapes, cores_at, memory_of, pods_for
from autoscaler.recommend.demand import LADDER
from autoscaler.testing.builders import make_group

FLAT = (4.0,) * 4


def sizing(name: str = "web", *, peaks: tuple[float, ...] = FLAT, **fields: Any) -> Sizing:
    defaults: dict[str, Any] = {
        "parallelism": 4.0,
        "slowdown": 4.0,
        "memory": 512 * MIB,
        "cpu": 1000,
    }
    return Sizing(workload=name, peaks=peaks, **{**defaults, **fields})


MACHINES = [
    make_group("c", cpu=4000, memory=8 * GIB, usd_per_hour=0.17),
    make_group("m", cpu=4000, memory=16 * GIB, usd_per_hour=0.2),
    make_group("r", cpu=4000, memory=32 * GIB, usd_per_hour=0.25),
]


def chosen(shapes: Shapes) -> dict[str, int]:
    return {name: shape.cpu for name, shape in shapes.chosen}


def test_a_shape_of_the_ladder_or_the_present_one_is_chosen() -> None:
    found = chosen(choose_shapes([sizing("a"), sizing("b", cpu=333)], MACHINES))
    assert set(found) == {"a", "b"}
    assert all(cpu in LADDER or cpu == 333 for cpu in found.values())


def test_a_poor_shape_is_left_for_one_that_is_much_cheaper() -> None:
    # Pods of 100m with 4 GiB each: forty times the memory that the load needs.
    wasteful = sizing("web", cpu=100, memory=4 * GIB)
    found = choose_shapes([wasteful], MACHINES)
    assert chosen(found)["web"] >= 1000
    assert "USD/day" in found.chosen[0][1].runner_up


def test_a_good_shape_is_kept_against_a_slightly_better_one() -> None:
    best = chosen(choose_shapes([sizing(cpu=50)], MACHINES))["web"]
    near = best + 20
    assert chosen(choose_shapes([sizing(cpu=near)], MACHINES)) == {"web": near}


def test_choosing_again_changes_nothing() -> None:
    first = chosen(choose_shapes([sizing("a", cpu=100), sizing("b", cpu=4000)], MACHINES))
    again = choose_shapes([sizing(name, cpu=cpu) for name, cpu in first.items()], MACHINES)
    assert chosen(again) == first


def test_prices_are_those_of_the_machines_that_the_load_fills() -> None:
    # Little memory: cores alone are scarce, and the cheapest core is 0.17 / 4, of which packing fills 93 %.
    lean = choose_shapes([sizing(memory=16 * MIB)], MACHINES).prices
    assert lean.usd_per_core_hour == pytest.approx(0.17 / (4 * 0.93), rel=0.01)
    assert lean.usd_per_gib_hour == pytest.approx(0.0, abs=1e-6)
    # Much memory: both are scarce, and some machine is bought, which is worth exactly what it costs.
    fat = choose_shapes([sizing(memory=6 * GIB)], MACHINES).prices
    assert fat.usd_per_gib_hour > 0
    worths = [
        0.93 * (room.cpu / 1000 * fat.usd_per_core_hour + room.memory / GIB * fat.usd_per_gib_hour) / group.usd_per_hour
        for group in MACHINES
        for room in (group.template.allocatable,)
    ]
    assert max(worths) == pytest.approx(1.0, rel=0.001)


def test_a_fixed_workload_keeps_its_shape_but_counts() -> None:
    found = choose_shapes([sizing("a", fixed=True, cpu=100), sizing("b")], MACHINES)
    assert set(chosen(found)) == {"b"}
    assert found.prices.usd_per_core_hour > 0


@pytest.mark.parametrize(
    ("cpu", "fields", "pods"),
    [
        pytest.param(1000, {}, (5, 5, 5, 5), id="by-the-request"),
        pytest.param(8000, {"parallelism": 1.0}, (6, 6, 6, 6), id="by-the-safe-load"),
        pytest.param(1000, {"peaks": (0.0, 1.0, 8.8, 0.1)}, (1, 2, 10, 1), id="part-by-part"),
        pytest.param(1000, {"low": 7}, (7, 7, 7, 7), id="the-minimum-binds"),
        pytest.param(1000, {"high": 4}, (), id="more-than-the-maximum"),
        pytest.param(1000, {"demand": DemandModel(idle_cores=0.08)}, (5, 5, 5, 5), id="idling-counts"),
        pytest.param(50, {"demand": DemandModel(idle_cores=0.05)}, (), id="idling-leaves-nothing"),
    ],
)
def test_pods_in_each_part_of_the_day(cpu: int, fields: dict[str, Any], pods: tuple[int, ...]) -> None:
    assert pods_for(sizing(**fields), cpu) == pods


def test_capacity_and_memory_of_a_shape() -> None:
    assert cores_at(sizing(), 1000) == pytest.approx(0.88)
    assert memory_of(sizing(), 1000) == 512 * MIB
    learned = DemandModel(base_bytes=100.0 * MIB, bytes_per_core=400.0 * MIB, peak_bytes=200.0 * MIB)
    small, large = (memory_of(sizing(demand=learned), cpu) for cpu in (250, 4000))
    assert small < large


def test_no_shape_is_larger_than_every_machine() -> None:
    busy = sizing(peaks=(400.0,) * 4, parallelism=16.0, cpu=500)
    assert chosen(choose_shapes([busy], MACHINES))["web"] <= 4000
    # What is there stays representable all the same.
    huge = sizing(peaks=(400.0,) * 4, parallelism=16.0, cpu=9000, fixed=True)
    assert choose_shapes([huge, sizing("b")], MACHINES).prices.usd_per_core_hour > 0


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"cpu": 0, "high": 1, "peaks": (900.0,) * 4}, id="no-option-serves-it"),
        pytest.param({"peaks": (math.nan,) * 4}, id="not-a-number"),
        pytest.param({"peaks": (math.inf,) * 4}, id="infinite"),
        pytest.param({"peaks": (-1.0,) * 4}, id="negative"),
        pytest.param({"parallelism": math.nan}, id="parallelism-unknown"),
        pytest.param({"memory": 1 << 70}, id="absurd-memory"),
        pytest.param({"peaks": ()}, id="no-day-at-all"),
    ],
)
def test_one_odd_workload_takes_no_shape_from_the_others(odd: dict[str, Any]) -> None:
    expected = choose_shapes([sizing("b")], MACHINES)
    found = choose_shapes([sizing("a", **odd), sizing("b")], MACHINES)
    assert chosen(found) == chosen(expected)
    assert found.prices.usd_per_core_hour == pytest.approx(expected.prices.usd_per_core_hour)


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param([], id="none"),
        pytest.param([make_group(usd_per_hour=0.0)], id="without-a-price"),
        pytest.param([make_group(max_size=0)], id="that-may-not-grow"),
        pytest.param([make_group(cpu=0)], id="without-room"),
    ],
)
def test_without_machines_there_is_no_choice(groups: list[Any]) -> None:
    assert choose_shapes([sizing()], groups) == Shapes()
    assert choose_shapes([], MACHINES) == Shapes()


def test_daemon_sets_take_their_share_of_each_machine() -> None:
    template = msgspec.structs.replace(MACHINES[1].template, overhead=Resources.of(cpu=1000))
    group = msgspec.structs.replace(MACHINES[1], template=template)
    price = choose_shapes([sizing(memory=16 * MIB)], [group]).prices.usd_per_core_hour
    assert price == pytest.approx(0.2 / (3 * 0.93), rel=0.01)


def test_parts_of_the_day_must_agree() -> None:
    with pytest.raises(ValueError, match="same parts of the day"):
        choose_shapes([sizing("a"), sizing("b", peaks=(1.0,))], MACHINES)
