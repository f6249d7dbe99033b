"""Like groups, even growth, and the bounds on the cluster."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.node import NodeTemplate
from autoscaler.model.placement import labels_of
from autoscaler.model.policy import NodeRules
from autoscaler.model.resources import Resources
from autoscaler.model.spec import Quantity
from autoscaler.model.units import GIB
from autoscaler.planning.cluster_autoscaler.limits import ResourceRoom, room_to_grow, room_to_shrink
from autoscaler.planning.cluster_autoscaler.params import ClusterAutoscalerParams
from autoscaler.planning.cluster_autoscaler.similar import are_similar, balance
from autoscaler.testing.builders import make_group, make_node

PARAMS = ClusterAutoscalerParams()
MACHINE = NodeTemplate(
    instance_type="m",
    allocatable=Resources.of(cpu=3900, memory=15 * GIB, pods=58),
    capacity=Resources.of(cpu=4000, memory=16 * GIB, pods=58),
    labels=labels_of({"topology.kubernetes.io/zone": "a", "pool": "web"}),
    overhead=Resources.of(cpu=100, memory=GIB, pods=2),
)


@pytest.mark.parametrize(
    ("changes", "alike"),
    [
        pytest.param({}, True, id="the-same"),
        pytest.param({"labels": labels_of({"topology.kubernetes.io/zone": "b", "pool": "web"})}, True, id="other-zone"),
        pytest.param({"labels": labels_of({"pool": "batch"})}, False, id="other-pool"),
        pytest.param(
            {"capacity": Resources.of(cpu=4000, memory=16 * GIB + 200 * 2**20, pods=58)}, True, id="memory-within-1.5"
        ),
        pytest.param({"capacity": Resources.of(cpu=4000, memory=17 * GIB, pods=58)}, False, id="memory-beyond"),
        pytest.param({"capacity": Resources.of(cpu=4001, memory=16 * GIB, pods=58)}, False, id="any-other-capacity"),
        pytest.param({"allocatable": Resources.of(cpu=3750, memory=15 * GIB, pods=58)}, True, id="allocatable-near"),
        pytest.param({"allocatable": Resources.of(cpu=3600, memory=15 * GIB, pods=58)}, False, id="allocatable-far"),
        pytest.param({"overhead": Resources.of(cpu=900, memory=GIB, pods=2)}, False, id="larger-daemons"),
        pytest.param({"overhead": Resources.of(cpu=100, memory=GIB, pods=9)}, True, id="slots-of-daemons"),
    ],
)
def test_are_similar(changes: dict[str, Any], alike: bool) -> None:
    other = msgspec.structs.replace(MACHINE, **changes)
    assert are_similar(MACHINE, other, PARAMS) is alike
    assert are_similar(other, MACHINE, PARAMS) is alike


def test_a_label_to_ignore() -> None:
    other = msgspec.structs.replace(MACHINE, labels=labels_of({"pool": "batch"}))
    assert are_similar(MACHINE, other, ClusterAutoscalerParams(balancing_ignore_label=("pool",)))


@pytest.mark.parametrize(
    ("sizes", "most", "nodes", "gains"),
    [
        pytest.param((1, 1), 9, 3, {"a": 2, "b": 1}, id="one-by-one"),
        pytest.param((4, 1), 9, 5, {"b": 4, "a": 1}, id="the-smaller-first"),
        pytest.param((3, 1), 3, 9, {"b": 2}, id="full-ones-get-none"),
        pytest.param((3, 3), 3, 2, {}, id="all-full"),
        pytest.param((1, 0), 9, 2, {"b": 2}, id="of-equals-the-one-that-was-smaller"),
    ],
)
def test_balance(sizes: tuple[int, int], most: int, nodes: int, gains: dict[str, int]) -> None:
    groups = [make_group(name, size=size, max_size=most) for name, size in zip("ab", sizes, strict=True)]
    assert balance(groups, nodes) == gains


def test_room_counts_whole_cores() -> None:
    room = ResourceRoom(cores=10, memory=100 * GIB)
    machine = Resources.of(cpu=3500, memory=GIB)
    assert room.allowed(machine, 5) == 2
    room.use(machine, 2)
    assert room.allowed(machine, 5) == 0


def test_the_policys_limits_count_besides_the_flags() -> None:
    nodes = [make_node(f"node-{number}") for number in range(3)]
    machine = nodes[0].capacity
    by_flag = room_to_grow(nodes, ClusterAutoscalerParams(cores_total="0:20"), NodeRules())
    by_policy = room_to_grow(nodes, ClusterAutoscalerParams(), NodeRules(limits={"memory": Quantity("64Gi")}))
    assert (by_flag.allowed(machine, 9), by_policy.allowed(machine, 9)) == (2, 1)


def test_room_to_shrink() -> None:
    nodes = [make_node(f"node-{number}") for number in range(3)]
    assert room_to_shrink(nodes, ClusterAutoscalerParams(memory_total="20:100")).allowed(nodes[0].capacity, 3) == 1
