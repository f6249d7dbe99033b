from __future__ import annotations

from typing import Any

import pytest

from autoscaler.model.pod import Container, Phase, Pod, PodShape, Resize, Termination
from autoscaler.model.policy import ResizeMode
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.units import MIB
from autoscaler.model.workload import Workload
from autoscaler.recommend.updater import (
    Qos,
    UpdaterParams,
    Way,
    disruptable,
    pods_to_resize,
    priority_of,
    qos_class,
    way_for,
)

NOW = 1_700_000_000.0
HOUR = 3600.0
SIZE = ContainerSize(
    container="app",
    target=Resources.of(cpu=400, memory=400 * MIB),
    lower=Resources.of(cpu=300, memory=300 * MIB),
    upper=Resources.of(cpu=600, memory=600 * MIB),
)
WORKLOAD = Workload(namespace="shop", kind="Deployment", name="web", replicas=3, template=PodShape(namespace="shop"))


def pod(
    cpu: int | None = 400, memory: int = 400, *, name: str = "web-0", limits: Resources = NOTHING, **fields: Any
) -> Pod:
    requests = {"memory": memory * MIB} | ({} if cpu is None else {"cpu": cpu})
    container = Container(name="app", requests=Resources.of(requests), limits=limits)
    fields.setdefault("started_at", NOW - HOUR)
    return Pod(name=name, shape=PodShape(namespace="shop", containers=(container,)), **fields)


def killed(*, ran: float, ago: float, reason: str = "OOMKilled") -> Any:
    return (Termination(container="app", reason=reason, started_at=NOW - ago - ran, finished_at=NOW - ago),)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        pytest.param(pod(), None, id="what-is-right-is-left"),
        pytest.param(pod(cpu=310), None, id="young-and-in-range-is-left"),
        pytest.param(pod(cpu=299), Code.USAGE_ABOVE_REQUEST, id="below-the-lower-bound"),
        pytest.param(pod(cpu=601), Code.USAGE_BELOW_REQUEST, id="above-the-upper-bound"),
        pytest.param(pod(cpu=None), Code.USAGE_ABOVE_REQUEST, id="no-request-at-all"),
        pytest.param(pod(cpu=310, started_at=NOW - 12 * HOUR), Code.USAGE_ABOVE_REQUEST, id="old-and-a-tenth-off"),
        pytest.param(pod(cpu=430, started_at=NOW - 12 * HOUR), None, id="old-and-less-than-a-tenth-off"),
        pytest.param(pod(cpu=310, started_at=None), None, id="not-started"),
        pytest.param(pod(cpu=390, terminations=killed(ran=60, ago=60)), Code.OOM_KILLED, id="killed-soon-after-start"),
        pytest.param(pod(terminations=killed(ran=60, ago=60)), None, id="killed-yet-nothing-would-change"),
        pytest.param(pod(cpu=390, terminations=killed(ran=600, ago=60)), None, id="killed-after-ten-minutes"),
        pytest.param(pod(cpu=390, terminations=killed(ran=60, ago=600)), None, id="killed-ten-minutes-ago"),
        pytest.param(pod(cpu=390, terminations=killed(ran=60, ago=60, reason="Error")), None, id="failed-otherwise"),
        pytest.param(pod(cpu=299, deleted_at=NOW), None, id="on-its-way-out"),
    ],
)
def test_which_pods_are_resized(given: Pod, code: Code | None) -> None:
    chosen = pods_to_resize(WORKLOAD, [given], [SIZE], now=NOW)
    assert [reason.code for _, reason in chosen] == ([code] if code else [])


def test_those_that_grow_come_first_then_those_further_off() -> None:
    given = [
        pod(cpu=4000, name="shrinks"),
        pod(cpu=200, name="grows"),
        pod(cpu=100, name="grows-more"),
        pod(cpu=200, name="grows-alike"),
    ]
    names = [one.name for one, _ in pods_to_resize(WORKLOAD, given, [SIZE], now=NOW)]
    assert names == ["grows-more", "grows", "grows-alike", "shrinks"]


def test_the_difference_is_summed_over_resources() -> None:
    assert priority_of(pod(cpu=200, memory=800).shape, {"app": SIZE}).difference == pytest.approx(1.0 + 0.5)
    assert priority_of(pod().shape, {}).difference == 0.0


@pytest.mark.parametrize(
    ("running", "configured", "touched", "room"),
    [
        pytest.param(10, 10, 0, 5, id="half-may-go"),
        pytest.param(10, 10, 5, 0, id="half-is-gone"),
        pytest.param(7, 10, 0, 2, id="those-that-do-not-run-count"),
        pytest.param(3, 3, 0, 1, id="the-tolerance-is-truncated"),
        pytest.param(1, 1, 0, 0, id="too-few-replicas"),
        pytest.param(2, 0, 0, 0, id="none-is-asked-for"),
    ],
)
def test_how_many_may_be_disrupted(running: int, configured: int, touched: int, room: int) -> None:
    given = [pod(name=f"web-{n}") for n in range(running)]
    assert disruptable(given, configured=configured, touched=touched) == room


def test_with_no_tolerance_one_at_a_time_while_all_run() -> None:
    params = UpdaterParams(eviction_tolerance=0.1)
    given = [pod(name=f"web-{n}") for n in range(3)]
    assert disruptable(given, configured=3, touched=0, params=params) == 1
    assert disruptable(given, configured=3, touched=1, params=params) == 0
    assert disruptable([*given[:2], pod(phase=Phase.PENDING)], configured=3, touched=0, params=params) == 0


@pytest.mark.parametrize(
    ("resize", "in_place", "recreate"),
    [
        pytest.param(None, Way.IN_PLACE, Way.IN_PLACE, id="not-tried-yet"),
        pytest.param(Resize(state="Deferred", since=NOW - 300), Way.WAIT, Way.WAIT, id="deferred-for-five-minutes"),
        pytest.param(Resize(state="Deferred", since=NOW - 301), Way.WAIT, Way.RECREATE, id="deferred-for-longer"),
        pytest.param(Resize(state="InProgress", since=NOW - HOUR), Way.WAIT, Way.WAIT, id="in-progress-for-an-hour"),
        pytest.param(Resize(state="InProgress", since=NOW - 3601), Way.WAIT, Way.RECREATE, id="in-progress-for-longer"),
        pytest.param(Resize(state="Infeasible", since=NOW), Way.WAIT, Way.RECREATE, id="infeasible"),
    ],
)
def test_which_way_a_pod_gets_its_sizes(resize: Resize | None, in_place: Way, recreate: Way) -> None:
    given = pod(cpu=200, resize=resize)
    assert way_for(given, [SIZE], mode=ResizeMode.IN_PLACE, now=NOW) is in_place
    assert way_for(given, [SIZE], mode=ResizeMode.IN_PLACE_OR_RECREATE, now=NOW) is recreate
    assert way_for(given, [SIZE], mode=ResizeMode.RECREATE, now=NOW) is Way.RECREATE
    assert way_for(given, [SIZE], mode=ResizeMode.ON_RESTART, now=NOW) is Way.WAIT


def test_in_place_alone_tries_again_when_less_is_asked_for_than_was_infeasible() -> None:
    stuck = Resize(state="Infeasible", since=NOW)
    assert way_for(pod(memory=4000, resize=stuck), [SIZE], mode=ResizeMode.IN_PLACE, now=NOW) is Way.IN_PLACE


def test_a_change_of_the_qos_class_needs_a_new_pod() -> None:
    given = pod(limits=Resources.of(cpu=400, memory=400 * MIB))
    assert qos_class(given.shape) is Qos.GUARANTEED
    bigger = ContainerSize(container="app", target=Resources.of(cpu=300))
    assert way_for(given, [bigger], mode=ResizeMode.IN_PLACE_OR_RECREATE, now=NOW) is Way.RECREATE


def test_a_lower_memory_limit_needs_a_restart() -> None:
    given = pod(limits=Resources.of(memory=800 * MIB))
    lower = ContainerSize(container="app", target=Resources.of(memory=300 * MIB), limits=Resources.of(memory=600 * MIB))
    assert way_for(given, [lower], mode=ResizeMode.IN_PLACE_OR_RECREATE, now=NOW) is Way.RECREATE


@pytest.mark.parametrize(
    ("requests", "limits", "expected"),
    [
        pytest.param({}, {}, Qos.BEST_EFFORT, id="nothing-asked"),
        pytest.param({"cpu": 1}, {}, Qos.BURSTABLE, id="a-request"),
        pytest.param({}, {"cpu": 1, "memory": 1}, Qos.GUARANTEED, id="limits-are-requests-too"),
        pytest.param({"cpu": 1, "memory": 1}, {"cpu": 2, "memory": 1}, Qos.BURSTABLE, id="a-limit-above"),
    ],
)
def test_the_qos_class(requests: dict[str, int], limits: dict[str, int], expected: Qos) -> None:
    container = Container(name="app", requests=Resources.of(requests), limits=Resources.of(limits))
    assert qos_class(PodShape(namespace="shop", containers=(container,))) is expected
