from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.buffer import Buffer
from autoscaler.model.plan import CordonNode, DeleteInstances, SetGroupSize
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.effective import cluster_rules
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.node_layer import NodePlan, pending_pods, plan_nodes
from autoscaler.planning.workload_actions import WorkloadActions
from autoscaler.testing.builders import NOW, make_group, make_node
from tests.unit.planning.decisions import GROUP, cluster, key, later, policies

ROOM = DisruptionRoom(nodes=10, pods=100)
CALM = DecisionState(last_consolidation_at=NOW)


def planned(
    snapshot: ClusterSnapshot,
    *,
    wanted: dict[str, int] | None = None,
    ahead: dict[str, int] | None = None,
    possible: dict[str, int] | None = None,
    held: int = 0,
    state: DecisionState = CALM,
    **document: Any,
) -> NodePlan:
    """Plan nodes where workloads want replicas, expect so many when a node is ready, and may need yet more."""
    workloads = {each.name: each for each in snapshot.workloads}
    parts, advice = {}, []
    for number, (name, workload) in enumerate(sorted(workloads.items())):
        replicas = (wanted or {}).get(name, workload.replicas)
        parts[workload.key] = WorkloadActions(shape=workload.template, replicas=replicas)
        advice.append(
            Recommendation(
                workload=workload.key,
                engine="joint",
                replicas=replicas,
                forecast_replicas=(ahead or {}).get(name, 0),
                headroom_replicas=(possible or {}).get(name, 0),
                held=number < held,
            )
        )
    _, rules = cluster_rules(policies(**document))
    return plan_nodes(SnapshotIndex(snapshot), rules, state, parts=parts, advice=advice, room=ROOM)


def sizes(plan: NodePlan) -> dict[str, int]:
    return {action.group: action.size for action in plan.actions if isinstance(action, SetGroupSize)}


def test_pods_that_wait_get_nodes() -> None:
    # Seven pods of 500m fill a node of 4 cores less one: eight do.
    assert sizes(planned(cluster({"web": (20, 5.0)}, nodes=1, waiting=12))) == {GROUP: 3}


def test_pods_that_this_decision_adds_get_nodes_at_once() -> None:
    assert sizes(planned(cluster({"web": (8, 5.0)}, nodes=1), wanted={"web": 24})) == {GROUP: 3}
    assert sizes(planned(cluster({"web": (8, 5.0)}, nodes=1), wanted={"web": 8})) == {}


def test_free_room_is_used_first() -> None:
    assert sizes(planned(cluster({"web": (8, 5.0)}, nodes=3), wanted={"web": 24})) == {}


@pytest.mark.parametrize("registered", [True, False], ids=["registered", "asked-for"])
def test_a_node_on_its_way_is_not_bought_twice(*, registered: bool) -> None:
    coming = make_node("node-1", ready=False, registered=registered, created_at=NOW - 30)
    snapshot = cluster({"web": (16, 5.0)}, nodes=1, waiting=8, node_groups=[make_group(size=2)])
    assert sizes(planned(msgspec.structs.replace(snapshot, nodes=(*snapshot.nodes, coming)))) == {}


def test_a_node_that_is_going_is_no_room() -> None:
    going = make_node("node-1", deleting=True)
    snapshot = cluster({"web": (16, 5.0)}, nodes=1, waiting=8, node_groups=[make_group(size=1)])
    assert sizes(planned(msgspec.structs.replace(snapshot, nodes=(*snapshot.nodes, going)))) == {GROUP: 2}


def test_a_forecast_rise_gets_nodes_before_the_pods_are_asked_for() -> None:
    snapshot = cluster({"web": (8, 3.0)}, nodes=1)
    assert sizes(planned(snapshot, ahead={"web": 16})) == {GROUP: 2}
    off = {"headroom": {"nodes": "Off"}}
    assert sizes(planned(snapshot, ahead={"web": 16}, objective=off)) == {}


def test_possible_errors_are_pooled() -> None:
    # Each of nine workloads may need 4 pods more; all at once they do not: 3 x 4 are kept room for.
    loads = {f"w{number}": (4, 1.0) for number in range(9)}
    nine = cluster(dict(loads), nodes=5)
    spare = 5 * 8 - 36
    extra = dict.fromkeys(loads, 8)
    bought = sizes(planned(nine, possible=extra, ahead=dict.fromkeys(loads, 4)))
    assert bought == {GROUP: 5 + -(-(12 - spare) // 8)}
    alone = sizes(planned(nine, possible={"w0": 16}, ahead=dict.fromkeys(loads, 4)))
    assert alone == {GROUP: 6}


def test_growth_and_removal_do_not_start_in_one_cycle() -> None:
    idle = make_node("node-9", cpu=200, group="small")
    groups = [make_group(size=1, max_size=20), make_group("small", cpu=200, size=1)]
    snapshot = cluster({"web": (20, 5.0)}, nodes=1, waiting=12, node_groups=groups)
    snapshot = msgspec.structs.replace(snapshot, nodes=(*snapshot.nodes, idle))
    found = planned(later(snapshot, 3600.0), state=DecisionState())
    assert sizes(found) == {GROUP: 3}
    assert not [action for action in found.actions if isinstance(action, (CordonNode, DeleteInstances))]


@pytest.mark.parametrize(
    ("held", "given_back"), [(0, True), (1, False)], ids=["all-is-seen", "more-than-a-fifth-is-not"]
)
def test_no_node_is_given_up_blindly(held: int, *, given_back: bool) -> None:
    idle = cluster({"web": (2, 0.5)}, nodes=4)
    state = DecisionState(nodes=planned(idle).memory)
    found = planned(later(idle, 600.0), state=state, held=held)
    assert bool([action for action in found.actions if isinstance(action, CordonNode)]) is given_back


def test_the_consolidation_of_the_policy_is_obeyed() -> None:
    idle = cluster({"web": (2, 0.5)}, nodes=4)
    state = DecisionState(nodes=planned(idle).memory)
    found = planned(later(idle, 600.0), state=state, nodes={"consolidation": "Off"})
    assert found.actions == ()


@pytest.mark.parametrize(
    ("after", "seconds", "grown_seconds", "gone"),
    [
        pytest.param("1m", 60.0, 1e6, True, id="a-minute-is-over"),
        pytest.param("1m", 59.0, 1e6, False, id="a-minute-is-not-over"),
        pytest.param("3s", 3.0, 1e6, True, id="three-seconds-are-over"),
        pytest.param("3s", 30.0, 5.0, False, id="growth-was-less-than-twice-as-long-ago"),
        pytest.param("3s", 30.0, 6.0, True, id="growth-was-twice-as-long-ago"),
    ],
)
def test_an_empty_node_stays_for_as_long_as_the_policy_says(
    after: str, seconds: float, grown_seconds: float, *, gone: bool
) -> None:
    rules = {"consolidateAfter": after, "consolidation": "WhenEmpty"}
    idle = cluster({"web": (2, 0.5)}, nodes=4)
    state = DecisionState(nodes=planned(idle, nodes=rules).memory, last_scale_up_at=NOW + seconds - grown_seconds)
    found = planned(later(idle, seconds), state=state, nodes=rules)
    assert bool([action for action in found.actions if isinstance(action, CordonNode)]) is gone


@pytest.mark.parametrize("mode", ["Off", "Recommend"])
def test_in_other_modes_nodes_are_planned_and_not_changed(mode: str) -> None:
    found = planned(cluster({"web": (20, 5.0)}, nodes=1, waiting=12), mode=mode)
    assert found.actions == ()
    assert [action.size for action in found.advised if isinstance(action, SetGroupSize)] == [3]
    assert found.notes[0].reasons[0].code is Code.MODE_RECOMMEND


def test_nodes_that_another_system_owns_are_left_alone() -> None:
    snapshot = cluster({"web": (20, 5.0)}, nodes=1, waiting=12)
    assert planned(snapshot, nodes={"engine": "none"}) == NodePlan(last_consolidation_at=NOW)
    assert planned(msgspec.structs.replace(snapshot, node_groups=())).actions == ()


@pytest.mark.parametrize(
    ("document", "size"),
    [
        pytest.param({"nodes": {"limits": {"cpu": "9"}}}, 2, id="cores"),
        pytest.param({"nodes": {"limits": {"memory": "33Gi"}}}, 2, id="memory"),
        pytest.param({"objective": {"money": {"perDay": "9.7"}}}, 2, id="money"),
        pytest.param({"nodes": {"limits": {"cpu": "4"}}}, None, id="all-used-up"),
    ],
)
def test_limits_of_the_policy(document: dict[str, Any], size: int | None) -> None:
    found = planned(cluster({"web": (24, 5.0)}, nodes=1, waiting=16), **document)
    assert sizes(found).get(GROUP) == size
    assert found.notes[0].target == "pods/default/web"
    assert {reason.code for reason in found.notes[0].reasons} <= {Code.LIMIT_REACHED, Code.BUDGET_REACHED}


def test_pods_that_wait_in_vain_are_told_of_and_ghosts_are_not() -> None:
    full = [make_group(size=1, max_size=1)]
    snapshot = cluster({"web": (20, 5.0)}, nodes=1, waiting=12, node_groups=full)
    found = planned(snapshot, ahead={"web": 60})
    assert [note.target for note in found.notes] == ["pods/default/web"]
    assert found.notes[0].reasons[0].code is Code.GROUP_AT_MAXIMUM


def test_pending_pods_come_by_priority_then_namespace() -> None:
    snapshot = cluster({"api": (4, 1.0), "web": (6, 1.0)}, nodes=1, waiting=2)
    urgent = msgspec.structs.replace(snapshot.workloads[1].template, priority=1000)
    pods = tuple(
        msgspec.structs.replace(pod, shape=urgent) if pod.workload == key("web") else pod for pod in snapshot.pods
    )
    index = SnapshotIndex(msgspec.structs.replace(snapshot, pods=pods))
    parts = {each.key: WorkloadActions(shape=each.template, replicas=each.replicas + 3) for each in snapshot.workloads}
    found = [(shape.priority, dict(shape.labels)["app"], count) for shape, count in pending_pods(index, parts)]
    assert found == [(1000, "web", 2), (0, "api", 5), (0, "web", 3)]


def test_room_is_bought_for_buffers_and_not_given_back() -> None:
    snapshot = cluster({"web": (8, 5.0)}, nodes=1)
    spare = Buffer(namespace="default", name="spare", workload=key("web"), replicas=10)
    snapshot = msgspec.structs.replace(snapshot, buffers=(spare,))
    off = {"headroom": {"nodes": "Off"}}
    assert sizes(planned(snapshot, objective=off)) == {GROUP: 3}
    idle = cluster({"web": (8, 0.5)}, nodes=4)
    for buffers, given_back in (((), True), ((msgspec.structs.replace(spare, replicas=24),), False)):
        kept = msgspec.structs.replace(idle, buffers=buffers)
        state = DecisionState(nodes=planned(kept).memory)
        found = planned(later(kept, 600.0), state=state)
        assert bool([action for action in found.actions if isinstance(action, CordonNode)]) is given_back
