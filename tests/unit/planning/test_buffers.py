from __future__ import annotations

from typing import Any

import pytest

from autoscaler.model.buffer import Buffer
from autoscaler.model.resources import Resources
from autoscaler.planning.buffers import buffer_demand, room_of
from autoscaler.testing.builders import make_shape, make_workload

SHAPE = make_shape("spare", cpu=500)
WEB = make_workload("web", replicas=10, template=make_shape("web", cpu=1000))
WORKLOADS = {WEB.key: WEB}


def buffer(**fields: Any) -> Buffer:
    return Buffer(namespace="default", name="b", **fields)


@pytest.mark.parametrize(
    ("fields", "pods"),
    [
        pytest.param({"template": SHAPE, "replicas": 3}, 3, id="replicas"),
        pytest.param({"workload": WEB.key, "percentage": 25}, 3, id="a-percentage-rounds-up"),
        pytest.param({"workload": WEB.key, "percentage": 0}, 1, id="a-percentage-is-one-pod-at-least"),
        pytest.param({"workload": WEB.key, "percentage": 20, "replicas": 5}, 5, id="of-both-the-larger-one"),
        pytest.param({"template": SHAPE, "replicas": 9, "limits": Resources.of(cpu=2200)}, 4, id="limits-bind"),
        pytest.param({"template": SHAPE, "limits": Resources.of(cpu=2200)}, 4, id="limits-alone"),
        pytest.param({"template": SHAPE, "replicas": 2, "limits": Resources.of({"gpu": 0})}, 2, id="not-asked-for"),
        pytest.param({"template": SHAPE, "replicas": 10**9}, 10_000, id="an-absurd-number-is-cut"),
    ],
)
def test_room(fields: dict[str, Any], pods: int) -> None:
    found = room_of(buffer(**fields), WORKLOADS)
    assert (found.pods, found.problem) == (pods, "")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"problem": "as read"}, "as read", id="what-reading-found"),
        pytest.param({"workload": "default/Deployment/no"}, "there is no default/Deployment/no", id="no-workload"),
        pytest.param({"template": SHAPE}, "nothing tells how many", id="no-number"),
    ],
)
def test_no_room_where_the_object_is_wrong(fields: dict[str, Any], problem: str) -> None:
    found = room_of(buffer(**fields), WORKLOADS)
    assert problem in found.problem
    assert found.pods == 0


def test_the_most_important_come_first_and_empty_ones_do_not_count() -> None:
    high = make_shape("high", priority=10)
    buffers = [
        buffer(template=SHAPE, replicas=1),
        buffer(template=SHAPE, replicas=0),
        buffer(template=high, replicas=2),
        buffer(problem="wrong"),
    ]
    assert buffer_demand(buffers, WORKLOADS) == [(high, 2), (SHAPE, 1)]
