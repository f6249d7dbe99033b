"""What a pod counts for."""

from __future__ import annotations

from autoscaler.kube.decode import with_api_defaults
from autoscaler.model.pod import Container, ContainerStatus, Pod, PodShape, Resize
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.scheduling.requests import (
    DEFAULT_CPU,
    DEFAULT_MEMORY,
    effective_limits,
    effective_requests,
    node_demand,
    nonzero_requests,
    placed_requests,
    scoring_requests,
)


def cores(name: str, cpu: int, *, sidecar: bool = False) -> Container:
    return Container(name=name, requests=Resources.of(cpu=cpu), restart_always=sidecar)


def test_sidecars_add_up_and_an_init_container_counts_with_those_before_it() -> None:
    early, late = cores("early", 200, sidecar=True), cores("late", 300, sidecar=True)
    shape = PodShape(namespace="a", containers=(cores("app", 400),), init_containers=(early, cores("init", 900), late))
    assert effective_requests(shape) == Resources.of(cpu=1100)


def test_pod_level_requests_replace_the_sum_but_not_extended_resources() -> None:
    container = Container(name="app", requests=Resources.of({"cpu": 4000, "nvidia.com/gpu": 1}))
    pod_level = Resources.of({"cpu": 1000, "nvidia.com/gpu": 9})
    shape = PodShape(namespace="a", containers=(container,), pod_requests=pod_level, overhead=Resources.of({"cpu": 50}))
    assert effective_requests(shape) == Resources.of({"cpu": 1050, "nvidia.com/gpu": 1})


def test_demand_takes_a_pod_slot_and_no_zeros() -> None:
    assert node_demand(PodShape(namespace="a", containers=(cores("app", 0),))) == Resources.of(pods=1)


def test_a_shrinking_pod_counts_what_it_still_has() -> None:
    status = ContainerStatus(name="app", allocated=Resources.of(cpu=800), actual=Resources.of(cpu=900))
    pod = Pod(name="p", shape=PodShape(namespace="a", containers=(cores("app", 500),)))
    shrinking = Pod(name="p", shape=pod.shape, resize=Resize(state="InProgress", containers=(status,)))
    assert placed_requests(pod) == Resources.of(cpu=500)
    assert placed_requests(shrinking) == Resources.of(cpu=900)


def test_an_infeasible_resize_counts_what_is_in_use_only() -> None:
    status = ContainerStatus(name="app", allocated=Resources.of(cpu=300))
    shape = PodShape(namespace="a", containers=(cores("app", 5000), cores("unknown", 100)))
    pod = Pod(name="p", shape=shape, resize=Resize(state="Infeasible", containers=(status,)))
    assert placed_requests(pod) == Resources.of(cpu=300)


def test_scoring_counts_defaults_for_what_a_container_does_not_name() -> None:
    pod = Pod(name="p", shape=PodShape(namespace="a", containers=(cores("app", 0), Container(name="log"))))
    wanted = Resources.of(cpu=DEFAULT_CPU, memory=2 * DEFAULT_MEMORY)
    assert nonzero_requests(pod) == scoring_requests(pod.shape) == wanted


def test_overhead_is_added_to_limits_that_are_set() -> None:
    container = Container(name="app", limits=Resources.of(cpu=1000))
    shape = PodShape(namespace="a", containers=(container,), overhead=Resources.of(cpu=100, memory=5))
    assert effective_limits(Pod(name="p", shape=shape)) == Resources.of(cpu=1100)


def test_defaults_fill_requests_from_limits_and_change_nothing_twice() -> None:
    container = Container(name="app", requests=Resources.of(cpu=1), limits=Resources.of(cpu=2, memory=3))
    once = with_api_defaults(PodShape(namespace="a", containers=(container,)))
    assert once.containers[0].requests == Resources.of(cpu=1, memory=3)
    assert with_api_defaults(once) == once


def test_a_pod_without_containers_counts_for_nothing() -> None:
    assert effective_requests(PodShape(namespace="a")) == NOTHING
