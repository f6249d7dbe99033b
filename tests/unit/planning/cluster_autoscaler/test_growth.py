"""When and how the cluster grows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.plan import SetGroupSize
from autoscaler.model.reasons import Code
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState, GroupMemory
from autoscaler.testing.builders import NOW, make_group, make_node, make_pod, make_shape, make_snapshot
from tests.unit.planning.cluster_autoscaler.turns import after, kinds, rules, turn

SMALL, LARGE = "a-small", "b-large"


def crowd(waiting: int = 9, *, cpu: int = 1000, **fields: Any) -> ClusterSnapshot:
    """Return a full node and pods that wait; groups of 4 and of 16 cores are on offer."""
    shape = make_shape(cpu=cpu)
    there = [make_pod(f"old-{number}", shape=make_shape("old", cpu=2000)) for number in range(2)]
    defaults: dict[str, Any] = {
        "nodes": [make_node("node-1", group=SMALL)],
        "node_groups": [
            make_group(SMALL, size=1, max_size=20),
            make_group(LARGE, cpu=16000, memory=64 * 2**30, size=0, max_size=20, usd_per_hour=0.9),
        ],
        "pods": there + [make_pod(f"web-{number}", shape=shape, node="") for number in range(waiting)],
    }
    return make_snapshot(**{**defaults, **fields})


def sizes(snapshot: ClusterSnapshot, state: DecisionState = DecisionState(), **params: Any) -> dict[str, int]:  # noqa: B008 (frozen)
    """Return what groups grow by."""
    plan = turn(snapshot, rules(params=params), state)
    return {each.group: each.size - each.expected for each in plan.actions if isinstance(each, SetGroupSize)}


@pytest.mark.parametrize(
    ("params", "grown"),
    [
        pytest.param({}, {SMALL: 3}, id="least-waste-by-default"),
        pytest.param({"expander": "least-nodes"}, {LARGE: 1}, id="least-nodes"),
        pytest.param({"expander": "priority", "expander-priorities": {"5": ["large"]}}, {LARGE: 1}, id="priority"),
        pytest.param({"expander": "most-pods,least-nodes"}, {LARGE: 1}, id="a-chain"),
        pytest.param({"max-nodes-per-scaleup": 2, "expander": "random"}, {SMALL: 2}, id="so-many-at-once"),
        pytest.param({"max-nodes-total": 2, "expander": "random"}, {SMALL: 1}, id="nodes-in-all"),
        pytest.param({"max-nodes-total": 1}, {}, id="no-more-nodes"),
        pytest.param({"cores-total": "0:12", "expander": "random"}, {SMALL: 2}, id="cores-in-all"),
        pytest.param({"memory-total": "0:32", "expander": "random"}, {SMALL: 1}, id="memory-in-all"),
        pytest.param({"new-pod-scale-up-delay": "2h"}, {}, id="pods-too-young"),
        pytest.param({"expendable-pods-priority-cutoff": 1}, {}, id="pods-not-important-enough"),
    ],
)
def test_growth(params: dict[str, Any], grown: dict[str, int]) -> None:
    assert sizes(crowd(), **params) == grown


def test_only_one_kind_of_machine_at_a_time() -> None:
    """Pods that only the other group takes wait for the next turn."""
    snapshot = crowd()
    big = [make_pod(f"big-{number}", shape=make_shape("big", cpu=8000), node="") for number in range(2)]
    assert sizes(msgspec.structs.replace(snapshot, pods=(*snapshot.pods, *big)), expander="most-pods") == {LARGE: 2}


def test_growth_is_spread_over_like_groups() -> None:
    groups = [make_group(name, size=size, max_size=5) for name, size in (("a", 1), ("b", 0))]
    snapshot = crowd(waiting=12, node_groups=groups, nodes=[make_node("node-1", group="a")])
    assert sizes(snapshot) == {"a": 3}
    assert sizes(snapshot, DecisionState(), **{"balance-similar-node-groups": True}) == {"a": 1, "b": 2}


def test_pods_that_a_node_on_its_way_takes_do_not_count() -> None:
    coming = [
        make_node(f"new-{number}", group=SMALL, ready=False, registered=False, created_at=NOW - 60) for number in "123"
    ]
    assert sizes(crowd(nodes=[make_node("node-1", group=SMALL), *coming])) == {}


def test_what_a_group_that_backs_off_owes_does_not_count() -> None:
    coming = [
        make_node(f"new-{number}", group=SMALL, ready=False, registered=False, created_at=NOW - 60) for number in "123"
    ]
    snapshot = crowd(nodes=[make_node("node-1", group=SMALL), *coming])
    memory = GroupMemory(group=SMALL, failed_at=NOW - 1, backoff_seconds=300, backoff_until=NOW + 299)
    assert sizes(snapshot, DecisionState(groups=(memory,))) == {LARGE: 1}


def test_pods_that_are_not_tried_by_the_scheduler_yet_do_not_count() -> None:
    fresh = [make_pod("fresh", node="", unschedulable_since=None)]
    assert sizes(crowd(waiting=0, pods=fresh, nodes=[])) == {}


def test_very_new_pods_wait_for_more() -> None:
    pods = [make_pod("web-1", node="", shape=make_shape(cpu=3000), created_at=NOW - 1)]
    assert sizes(crowd(waiting=0, pods=pods, nodes=[])) == {}
    old = make_pod("web-0", node="", shape=make_shape(cpu=3000), created_at=NOW - 3)
    assert sizes(crowd(waiting=0, pods=[*pods, old], nodes=[])) == {SMALL: 2}


def test_pods_that_this_decision_asks_for_do_not_count() -> None:
    """The engine waits to see them: `parts` is not looked at."""
    assert sizes(crowd(waiting=0)) == {}


def test_why_pods_wait_in_vain() -> None:
    plan = turn(crowd(waiting=1, cpu=99_000), rules())
    (note,) = plan.notes
    assert note.target == "pods/default/web"
    assert note.reasons[0].code is Code.NO_GROUP_FITS


def test_a_group_that_failed_is_left_alone_and_said_so() -> None:
    snapshot = crowd(node_groups=[make_group(SMALL, size=1, max_size=20, backoff_until=NOW + 60)])
    plan = turn(snapshot, rules())
    assert plan.actions == ()
    assert Code.GROUP_BACKING_OFF in [reason.code for note in plan.notes for reason in note.reasons]
    assert [each.backoff_seconds for each in after(plan).groups] == [300]


def test_machines_that_never_came_are_given_back_and_their_group_backs_off() -> None:
    lost = make_node("lost", group=SMALL, ready=False, registered=False, created_at=NOW - 1000)
    groups = crowd().node_groups
    plan = turn(
        crowd(
            nodes=[make_node("node-1", group=SMALL), lost],
            node_groups=[msgspec.structs.replace(groups[0], target_size=2), groups[1]],
        ),
        rules(),
    )
    assert kinds(plan.actions) == ["SetGroupSize b-large", "DeleteInstances ('lost',)"]


def test_groups_below_their_minimum_grow_where_that_is_asked_for() -> None:
    groups = [make_group(SMALL, size=1, min_size=3, max_size=20)]
    assert sizes(crowd(waiting=0, node_groups=groups)) == {}
    assert sizes(crowd(waiting=0, node_groups=groups), DecisionState(), **{"enforce-node-group-min-size": True}) == {
        SMALL: 2
    }


def test_nothing_is_done_while_too_much_is_broken() -> None:
    broken = [make_node(f"bad-{number}", group=SMALL, ready=False, created_at=NOW - 9999) for number in range(4)]
    plan = turn(crowd(nodes=[make_node("node-1", group=SMALL), *broken]), rules())
    assert plan.actions == ()
    assert [note.target for note in plan.notes] == ["policy/nodes"]


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"expander": "cheapest"}, id="unknown-expander"),
        pytest.param({"cores-total": "9:1"}, id="bounds-crossed"),
        pytest.param({"no-such-flag": 1}, id="unknown-flag"),
        pytest.param({"scale-down-unneeded-time": "soon"}, id="not-a-duration"),
    ],
)
def test_with_wrong_parameters_nothing_is_done(params: dict[str, Any]) -> None:
    state = DecisionState(last_removal_failed_at=7.0)
    plan = turn(crowd(), rules(params=params), state)
    assert plan.actions == ()
    assert plan.notes[0].reasons[0].code is Code.POLICY_INVALID
    assert after(plan, state) == state


def test_advice_alone_in_mode_recommend() -> None:
    plan = turn(crowd(), rules(mode="Recommend"))
    assert (kinds(plan.actions), kinds(plan.advised)) == ([], [f"SetGroupSize {SMALL}"])
