"""Who is up, who is broken, and which groups are left alone after a failure."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.model.state import GroupMemory
from autoscaler.planning.cluster_autoscaler.params import ClusterAutoscalerParams
from autoscaler.planning.cluster_autoscaler.readiness import (
    Standing,
    backed_off,
    cluster_problem,
    note_failures,
    standing_of,
    unhealthy_groups,
)
from autoscaler.testing.builders import NOW, make_group, make_node

PARAMS = ClusterAutoscalerParams()
GROUP = make_group(size=3)


@pytest.mark.parametrize(
    ("fields", "standing"),
    [
        pytest.param({}, Standing.READY, id="ready"),
        pytest.param({"ready": False, "created_at": NOW - 60}, Standing.NOT_STARTED, id="coming-up"),
        pytest.param({"ready": False, "created_at": NOW - 900}, Standing.UNREADY, id="broken-after-15-minutes"),
        pytest.param({"registered": False, "created_at": NOW - 900}, Standing.UNREGISTERED, id="asked-for"),
        pytest.param({"registered": False, "created_at": NOW - 901}, Standing.LONG_UNREGISTERED, id="never-came"),
        pytest.param({"registered": False, "created_at": 0.0}, Standing.UNREGISTERED, id="no-one-knows-since-when"),
    ],
)
def test_standing_of(fields: dict[str, Any], standing: Standing) -> None:
    assert standing_of(make_node(**fields), PARAMS, NOW) is standing


@pytest.mark.parametrize(
    ("unready", "ready", "acts"),
    [
        pytest.param(3, 0, True, id="three-may-always-be-broken"),
        pytest.param(4, 4, False, id="more-than-45-percent"),
        pytest.param(4, 5, True, id="less-than-45-percent"),
    ],
)
def test_cluster_problem(unready: int, ready: int, acts: bool) -> None:
    standings = [Standing.UNREADY] * unready + [Standing.READY] * ready
    assert (cluster_problem(standings, PARAMS) == "") == acts


def test_unhealthy_groups() -> None:
    nodes = [make_node(f"node-{number}", group="bad" if number < 4 else "good") for number in range(8)]
    standings = {node.name: Standing.UNREADY if node.group == "bad" else Standing.READY for node in nodes}
    assert unhealthy_groups(nodes, standings, PARAMS) == {"bad"}


def failures(*memory: GroupMemory, at: float, told: float = 0.0, lost: bool = False) -> tuple[GroupMemory, ...]:
    group = make_group(size=3, backoff_until=told)
    return note_failures([group], frozenset({group.name} if lost else ()), memory, PARAMS, now=at)


def test_back_off_doubles_up_to_half_an_hour() -> None:
    memory: tuple[GroupMemory, ...] = ()
    at, waits = NOW, []
    for _ in range(5):
        memory = failures(*memory, at=at, lost=True)
        waits.append(memory[0].backoff_seconds)
        at = memory[0].backoff_until + 1
    assert waits == [300, 600, 1200, 1800, 1800]


def test_failures_during_a_back_off_count_once() -> None:
    first = failures(at=NOW, lost=True)
    again = failures(*first, at=NOW + 60, lost=True)
    assert (again[0].backoff_seconds, again[0].backoff_until) == (300, NOW + 360)


def test_one_back_off_of_the_provider_is_one_failure() -> None:
    first = failures(at=NOW, told=NOW + 1000)
    assert failures(*first, at=NOW + 500, told=NOW + 1000) == first


def test_a_failure_is_forgotten_after_three_hours() -> None:
    first = failures(at=NOW, lost=True)
    assert failures(*first, at=NOW + 3 * 3600) == first
    assert failures(*first, at=NOW + 3 * 3600 + 1) == ()


def test_backed_off_until_the_later_of_both() -> None:
    memory = failures(at=NOW, lost=True)
    group = make_group(size=3, backoff_until=NOW + 20)
    assert backed_off([group], memory, now=NOW) == {group.name: NOW + 300}
    assert backed_off([GROUP], memory, now=NOW + 301) == {}
