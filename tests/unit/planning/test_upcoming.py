"""What the planner counts on: a machine on its way is room already, or it would be bought twice."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.model.placement import Effect, Taint
from autoscaler.planning.upcoming import planning_simulation
from autoscaler.testing.builders import NOW, make_node, make_shape, make_snapshot

STARTING = (Taint("node.kubernetes.io/not-ready", Effect.NO_SCHEDULE),)
OWN = (Taint("team", Effect.NO_SCHEDULE, "a"),)
YOUNG, OLD = NOW - 60, NOW - 3600


@pytest.mark.parametrize(
    ("node", "has_room"),
    [
        pytest.param({"created_at": OLD}, True, id="up"),
        pytest.param({"created_at": YOUNG, "ready": False, "registered": False}, True, id="asked-for"),
        pytest.param({"created_at": YOUNG, "ready": False, "taints": STARTING}, True, id="registered-and-not-ready"),
        pytest.param({"created_at": YOUNG, "taints": STARTING}, True, id="ready-and-not-yet-rid-of-the-taint"),
        pytest.param({"created_at": YOUNG, "taints": (*STARTING, *OWN)}, False, id="with-a-taint-that-stays"),
        pytest.param({"created_at": OLD, "taints": STARTING}, False, id="tainted-for-too-long"),
        pytest.param({"created_at": OLD, "ready": False}, False, id="not-ready-for-too-long"),
        pytest.param({"created_at": YOUNG, "deleting": True}, False, id="on-its-way-out"),
    ],
)
def test_a_node_that_is_coming_is_room(node: dict[str, Any], has_room: bool) -> None:
    simulation = planning_simulation(make_snapshot(nodes=[make_node(**node)]))
    assert (simulation.place_pod(make_shape()) is not None) == has_room
