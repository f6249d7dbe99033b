"""The estimator's limits, which the vectors do not reach, and the peer's own benchmark."""

from __future__ import annotations

import pytest

from autoscaler.model.node import NodeTemplate
from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB
from autoscaler.planning.cluster_autoscaler.estimator import estimate
from autoscaler.planning.cluster_autoscaler.pod_groups import PodGroup, pod_groups
from autoscaler.scheduling.simulation import Simulation
from autoscaler.testing.builders import make_pod, make_shape

MACHINE = NodeTemplate(instance_type="m", allocatable=Resources.of(cpu=4000, memory=16 * GIB, pods=58))


def group(name: str = "web", count: int = 1, *, cpu: int = 500, memory: int = GIB) -> PodGroup:
    return PodGroup(shape=make_shape(name, cpu=cpu, memory=memory), count=count)


@pytest.mark.parametrize("fast", [False, True])
def test_as_many_nodes_as_in_the_peers_benchmark(fast: bool) -> None:
    """`estimator/binpacking_estimator_test.go`, BenchmarkBinpackingEstimate: 2,595 nodes for 51,000 pods."""
    machine = NodeTemplate(instance_type="m", allocatable=Resources.of(cpu=1000, memory=5000, pods=100))
    groups = [group("one", 50_000, cpu=50, memory=100), group("two", 1_000, cpu=95, memory=190)]
    found = estimate(groups, machine, Simulation.of(()), max_nodes=3000, fast_path=fast)
    assert (found.nodes, found.pods) == (2595, (50_000, 1_000))


@pytest.mark.parametrize(
    ("most", "nodes", "pods"),
    [
        pytest.param(0, 3, 20, id="no-limit"),
        pytest.param(2, 2, 16, id="the-limit-binds"),
        pytest.param(-1, 0, 0, id="no-node-at-all"),
    ],
)
@pytest.mark.parametrize("fast", [False, True])
def test_limit_on_nodes(most: int, nodes: int, pods: int, fast: bool) -> None:
    found = estimate([group(count=20)], MACHINE, Simulation.of(()), max_nodes=most, fast_path=fast)
    assert (found.nodes, found.pods) == (nodes, (pods,))


def test_an_empty_node_is_kept_for_the_next_group() -> None:
    too_large = group("large", 3, cpu=5000)
    found = estimate([too_large, group(count=2)], MACHINE, Simulation.of(()), max_nodes=1)
    assert (found.nodes, found.pods, found.order) == (1, (0, 2), (1,))


def test_nothing_is_changed_that_was_given() -> None:
    simulation = Simulation.of(())
    estimate([group(count=20)], MACHINE, simulation)
    assert list(simulation.names) == []


def test_pods_of_one_controller_are_one_group() -> None:
    shape = make_shape()
    pods = [make_pod(f"web-{number}", shape=shape, node="") for number in range(3)]
    alone = [make_pod(f"bare-{number}", shape=shape, node="", workload="") for number in range(2)]
    assert [each.count for each in pod_groups([*pods, *alone])] == [3, 1, 1]


def test_an_eleventh_kind_of_pod_of_one_controller_is_not_grouped() -> None:
    shapes = [make_shape(cpu=100 + number) for number in range(11)]
    pods = [make_pod(f"web-{number}", shape=shapes[number % 11], node="") for number in range(22)]
    assert [each.count for each in pod_groups(pods)] == [2] * 10 + [1, 1]
