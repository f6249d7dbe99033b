"""The clouds' reservation rules, against worked examples from their own documentation."""

from __future__ import annotations

import pytest

from autoscaler.model.units import GIB, MIB
from autoscaler.providers.allocatable import GPU, eks_allocatable, gke_allocatable, reserved_cpu


@pytest.mark.parametrize(
    ("cores", "millicores"),
    [
        pytest.param(0, 0, id="no-core"),
        pytest.param(1, 60, id="first-core"),
        pytest.param(2, 70, id="second-core"),
        pytest.param(3, 75, id="third-core"),
        pytest.param(8, 90, id="rest-at-a-quarter-percent"),
        pytest.param(16, 110, id="gke-documentation-16-cores"),
    ],
)
def test_reserved_cpu(cores: int, millicores: int) -> None:
    assert reserved_cpu(cores) == millicores


def test_eks_keeps_memory_for_each_possible_pod() -> None:
    small = eks_allocatable(cores=4, memory_bytes=16 * GIB, max_pods=29, memory_overhead=0.0)
    dense = eks_allocatable(cores=4, memory_bytes=16 * GIB, max_pods=58, memory_overhead=0.0)
    assert small.memory - dense.memory == 29 * 11 * MIB
    assert small.memory == 16 * GIB - (255 + 11 * 29 + 100) * MIB


def test_gpus_are_counted_only_where_there_are_some() -> None:
    assert eks_allocatable(cores=4, memory_bytes=16 * GIB, max_pods=29, gpus=1).get(GPU) == 1
    assert not eks_allocatable(cores=4, memory_bytes=16 * GIB, max_pods=29).has(GPU)


@pytest.mark.parametrize(
    ("gib", "reserved_gib"),
    [
        pytest.param(4, 1.0, id="a-quarter-of-the-first-four"),
        pytest.param(8, 1.8, id="a-fifth-of-the-next-four"),
        pytest.param(16, 2.6, id="a-tenth-of-the-next-eight"),
        pytest.param(128, 9.32, id="six-percent-up-to-128"),
        pytest.param(256, 11.88, id="two-percent-beyond"),
    ],
)
def test_gke_memory_bands(gib: int, reserved_gib: float) -> None:
    left = gke_allocatable(cores=4, memory_bytes=gib * GIB).memory
    assert left == pytest.approx((gib - reserved_gib) * GIB - 100 * MIB, abs=2)


def test_a_machine_smaller_than_its_reservation_leaves_nothing() -> None:
    tiny = eks_allocatable(cores=0, memory_bytes=0, max_pods=4)
    assert (tiny.cpu, tiny.memory, tiny.get("pods")) == (0, 0, 4)
    assert gke_allocatable(cores=1, memory_bytes=GIB, shared_core=True).cpu == 0


@pytest.mark.parametrize("wrong", [{"cores": -1}, {"memory_bytes": -1}, {"max_pods": -1}, {"gpus": -1}])
def test_negative_machines_are_refused(wrong: dict[str, int]) -> None:
    machine = {"cores": 1, "memory_bytes": GIB, "max_pods": 8, "gpus": 0} | wrong
    with pytest.raises(ValueError, match=next(iter(wrong))):
        eks_allocatable(**machine)


def test_the_hypervisors_share_must_be_a_share() -> None:
    with pytest.raises(ValueError, match="memory_overhead"):
        eks_allocatable(cores=1, memory_bytes=GIB, max_pods=8, memory_overhead=7.5)
