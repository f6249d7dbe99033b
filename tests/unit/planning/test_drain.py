"""Nodes leave over several cycles: nothing is deleted that pods still need, and nothing is begun that cannot end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from autoscaler.model.node import Node
from autoscaler.model.placement import LabelSelector
from autoscaler.model.plan import AnyAction, CordonNode, DeleteInstances, EvictPod, SetGroupSize, UncordonNode
from autoscaler.model.pod import Pod
from autoscaler.model.policy import Consolidation
from autoscaler.model.reasons import Code
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState, NodeMemory
from autoscaler.model.workload import DisruptionBudget
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.drain import nothing_to_remove, plan_removals
from autoscaler.planning.removals import RemovalPlan, RemovalRules
from autoscaler.planning.upcoming import planning_simulation
from autoscaler.testing.builders import NOW, make_group, make_node, make_pod, make_shape, make_snapshot

GROUP = "m.xl-a-on-demand"
AMPLE = DisruptionRoom(nodes=100, pods=100)
LARGE = make_shape(cpu=3000)
RECENT = DecisionState(last_consolidation_at=NOW - 100)


def plan(
    snapshot: ClusterSnapshot, state: DecisionState | None = None, *, room: DisruptionRoom = AMPLE, **fields: Any
) -> RemovalPlan:
    rules = fields.pop("rules", RemovalRules())
    simulation = planning_simulation(snapshot)
    return plan_removals(snapshot, simulation, state or DecisionState(), rules=rules, budget=room, **fields)


def kinds(found: RemovalPlan) -> list[str]:
    return [type(action).__name__ for action in found.actions]


def codes(found: RemovalPlan) -> dict[str, Code]:
    return {note.target: note.reasons[0].code for note in found.notes}


def state_of(found: RemovalPlan, at: float) -> DecisionState:
    return DecisionState(nodes=found.memory, last_consolidation_at=at if found.consolidated else 0.0)


def two_nodes(*, first: int = 2, second: int = 3, **fields: Any) -> ClusterSnapshot:
    pods = [make_pod(f"a{number}", node="a") for number in range(first)]
    pods += [make_pod(f"b{number}", node="b") for number in range(second)]
    given = {"nodes": [make_node("a"), make_node("b")], "pods": pods, "node_groups": [make_group(size=2)]}
    return make_snapshot(**{**given, **fields})


def carry_out(snapshot: ClusterSnapshot, actions: Sequence[AnyAction], *, seconds: float = 15.0) -> ClusterSnapshot:
    """Do what was planned as a cluster with instant pods would: evicted pods run elsewhere at once."""
    nodes = {node.name: node for node in snapshot.nodes}
    pods = {pod.key: pod for pod in snapshot.pods}
    sizes = {group.name: group.target_size for group in snapshot.node_groups}
    for action in actions:
        match action:
            case CordonNode(node=name):
                nodes[name] = msgspec.structs.replace(nodes[name], unschedulable=True)
            case UncordonNode(node=name):
                nodes[name] = msgspec.structs.replace(nodes[name], unschedulable=False)
            case EvictPod(pod=key):
                moved = _elsewhere(pods.pop(key), list(nodes.values()), list(pods.values()))
                pods[moved.key] = moved
            case DeleteInstances(group=group, nodes=names, expected=expected):
                assert sizes[group] == expected
                sizes[group] -= len(names)
                for name in names:
                    assert not any(pod.node == name for pod in pods.values())
                    del nodes[name]
            case SetGroupSize(group=group, size=size, expected=expected):
                assert sizes[group] == expected
                sizes[group] = size
            case _:
                raise AssertionError(action)
    groups = [msgspec.structs.replace(each, target_size=sizes[each.name]) for each in snapshot.node_groups]
    return make_snapshot(
        at=snapshot.observed_at + seconds,
        nodes=list(nodes.values()),
        pods=list(pods.values()),
        node_groups=groups,
        disruption_budgets=snapshot.disruption_budgets,
    )


def _elsewhere(pod: Pod, nodes: list[Node], pods: list[Pod]) -> Pod:
    simulation = planning_simulation(make_snapshot(nodes=nodes, pods=pods))
    row = simulation.place_pod(pod.shape)
    return msgspec.structs.replace(
        pod, name=f"{pod.name}-again", node="" if row is None else simulation.names[row], ready=pod.ready
    )


def test_a_drain_cordons_evicts_and_deletes_and_then_is_forgotten() -> None:
    snapshot, state, seen = two_nodes(), DecisionState(), []
    for _ in range(8):
        found = plan(snapshot, state)
        seen += kinds(found)
        snapshot = carry_out(snapshot, found.actions)
        state = state_of(found, snapshot.observed_at)
    assert seen == ["CordonNode", "EvictPod", "EvictPod", "DeleteInstances"]
    assert [node.name for node in snapshot.nodes] == ["b"]
    assert len(snapshot.pods) == 5
    assert state.nodes == ()


def test_nothing_is_deleted_in_the_cycle_of_its_cordon() -> None:
    snapshot = two_nodes(first=0)
    waiting = plan(snapshot)
    assert (kinds(waiting), waiting.memory) == ([], (NodeMemory(node="a", unneeded_since=NOW),))
    later = msgspec.structs.replace(snapshot, observed_at=NOW + 60)
    cordoned = plan(later, state_of(waiting, NOW))
    assert kinds(cordoned) == ["CordonNode"]
    assert cordoned.actions[0].reasons[0].code is Code.EMPTY_NODE
    deleted = plan(carry_out(later, cordoned.actions), state_of(cordoned, NOW + 60))
    (action,) = deleted.actions
    assert isinstance(action, DeleteInstances)
    assert (action.nodes, action.expected, action.usd_per_hour) == (("a",), 2, -0.2)


def test_a_cordoned_node_that_still_ends_a_pod_is_waited_for() -> None:
    leaving = make_pod("a0", node="a", deleted_at=NOW - 5)
    daemon = make_pod("ds", node="a", shape=make_shape(namespace="kube-system"))
    daemon = msgspec.structs.replace(daemon, shape=msgspec.structs.replace(daemon.shape, owner_kind="DaemonSet"))
    nodes = [make_node("a", unschedulable=True), make_node("b")]
    snapshot = two_nodes(nodes=nodes, pods=[leaving, daemon])
    state = DecisionState(nodes=(NodeMemory(node="a", drain_since=NOW - 30),))
    assert kinds(plan(snapshot, state)) == []
    assert kinds(plan(msgspec.structs.replace(snapshot, observed_at=NOW + 600), state)) == ["DeleteInstances"]


def test_a_drain_is_given_up_when_the_pods_no_longer_fit() -> None:
    nodes = [make_node("a", unschedulable=True), make_node("b")]
    pods = [make_pod("a0", node="a", shape=LARGE), make_pod("b0", node="b", shape=LARGE)]
    state = DecisionState(nodes=(NodeMemory(node="a", drain_since=NOW - 30),))
    found = plan(two_nodes(nodes=nodes, pods=pods), state, rules=RemovalRules(consolidation=Consolidation.OFF))
    assert found.actions[0] == UncordonNode(node="a", reasons=found.notes[0].reasons)
    assert codes(found) == {"node/a": Code.NODE_IN_USE}
    assert found.memory == ()


@pytest.mark.parametrize(
    ("node", "pod", "since"),
    [
        pytest.param({"do_not_remove": "keep"}, {}, 30.0, id="node-told-to-stay"),
        pytest.param({}, {"do_not_evict": "keep"}, 30.0, id="pod-told-to-stay"),
        pytest.param({}, {}, 4000.0, id="too-long"),
    ],
)
def test_a_drain_is_given_up_when_something_forbids_it(node: dict[str, Any], pod: dict[str, Any], since: float) -> None:
    snapshot = two_nodes(
        nodes=[make_node("a", unschedulable=True, **node), make_node("b")], pods=[make_pod("a0", node="a", **pod)]
    )
    state = DecisionState(nodes=(NodeMemory(node="a", drain_since=NOW - since),))
    found = plan(snapshot, state, rules=RemovalRules(consolidation=Consolidation.OFF))
    assert kinds(found) == ["UncordonNode"]
    assert codes(found)["node/a"] is Code.NODE_BLOCKED


def test_evictions_keep_to_the_pdb_and_to_the_room_of_the_cycle() -> None:
    budget = DisruptionBudget(namespace="default", name="web", allowed=2, selector=LabelSelector((("app", "web"),)))
    snapshot = two_nodes(first=3, second=4, disruption_budgets=[budget])
    rules = RemovalRules(workload_share=1.0)
    assert kinds(plan(snapshot, rules=rules)).count("EvictPod") == 2
    assert codes(plan(snapshot, rules=rules))["node/a"] is Code.NODE_BLOCKED
    assert kinds(plan(snapshot, rules=rules, room=DisruptionRoom(nodes=5, pods=1))).count("EvictPod") == 1
    assert kinds(plan(snapshot, rules=rules, room=DisruptionRoom(nodes=0, pods=9))) == []


def test_no_drain_is_begun_while_no_pod_may_be_moved_and_one_that_was_says_what_it_waits_for() -> None:
    spent = DisruptionRoom(nodes=5, pods=0)
    found = plan(two_nodes(), room=spent)
    assert (kinds(found), found.memory, found.consolidated) == ([], (), False)
    nodes = [make_node("a", unschedulable=True), make_node("b")]
    begun = DecisionState(nodes=(NodeMemory(node="a", drain_since=NOW - 30),))
    found = plan(two_nodes(nodes=nodes), begun, room=spent)
    assert (kinds(found), found.memory) == ([], begun.nodes)
    (note,) = found.notes
    assert (note.target, note.reasons[0].code) == ("node/a", Code.NODE_BLOCKED)
    assert "disruption budget allows no more evictions" in note.reasons[0].message


def test_a_workload_loses_a_quarter_of_its_pods_at_most() -> None:
    assert kinds(plan(two_nodes(first=3, second=4))).count("EvictPod") == 1
    unready = [make_pod("b9", node="b", ready=None)]
    assert kinds(plan(two_nodes(first=3, second=4, pods=[*two_nodes(first=3, second=4).pods, *unready]))) == [
        "CordonNode",
        "EvictPod",
    ]


def test_an_interrupted_node_goes_first_and_whatever_it_costs() -> None:
    nodes = [make_node("a", interrupt_at=NOW + 120), make_node("b")]
    pods = [make_pod(f"a{number}", node="a", shape=LARGE) for number in range(1)] + [
        make_pod("b0", node="b", shape=LARGE)
    ]
    rules = RemovalRules(consolidation=Consolidation.OFF)
    found = plan(two_nodes(nodes=nodes, pods=pods), rules=rules, room=DisruptionRoom(nodes=0, pods=0))
    assert kinds(found) == ["CordonNode", "EvictPod"]
    assert found.actions[1].reasons[0].code is Code.SPOT_INTERRUPTION
    assert found.memory == (NodeMemory(node="a", drain_since=NOW),)


def test_a_node_not_ready_for_long_is_replaced_but_not_when_many_are() -> None:
    names = "abcde"
    sick = make_node("a", ready=False, ready_since=0.0)
    nodes = [sick, *(make_node(name) for name in names[1:])]
    snapshot = make_snapshot(nodes=nodes, pods=[make_pod(node="a")], node_groups=[make_group(size=5)])
    rules = RemovalRules(consolidation=Consolidation.OFF)
    first = plan(snapshot, rules=rules)
    assert [memory for memory in first.memory if memory.node == "a"] == [NodeMemory(node="a", unneeded_since=NOW)]
    state = DecisionState(nodes=(NodeMemory(node="a", unneeded_since=NOW - 1300),))
    assert kinds(plan(snapshot, state, rules=rules)) == ["EvictPod"]
    gone = msgspec.structs.replace(snapshot, pods=(make_pod(node="a", deleted_at=NOW - 5),))
    assert kinds(plan(gone, state, rules=rules)) == ["DeleteInstances"]
    many = msgspec.structs.replace(snapshot, nodes=(*(make_node(name, ready=False) for name in "abc"), *nodes[3:]))
    assert kinds(plan(many, state, rules=rules)) == []


def test_a_node_that_never_came_is_deleted() -> None:
    lost = make_node("a", registered=False, ready=False, created_at=NOW - 1000)
    found = plan(two_nodes(nodes=[lost, make_node("b")], pods=[]), rules=RemovalRules(consolidation=Consolidation.OFF))
    assert kinds(found) == ["DeleteInstances"]
    booting = make_node("a", registered=False, ready=False, created_at=NOW - 60)
    assert kinds(plan(two_nodes(nodes=[booting, make_node("b")], pods=[]))) == []


def test_a_group_at_its_minimum_keeps_even_a_lost_node() -> None:
    nodes = [make_node("a", registered=False, ready=False, created_at=NOW - 1000), make_node("b")]
    found = plan(two_nodes(nodes=nodes, pods=[], node_groups=[make_group(size=2, min_size=2)]))
    assert kinds(found) == []
    assert codes(found)["node/a"] is Code.NODE_BLOCKED


def test_nothing_new_is_begun_right_after_growth() -> None:
    state = DecisionState(last_scale_up_at=NOW - 100)
    assert kinds(plan(two_nodes(), state)) == []
    idle = DecisionState(last_scale_up_at=NOW - 100, nodes=(NodeMemory(node="a", unneeded_since=NOW - 500),))
    found = plan(two_nodes(first=0), idle)
    assert codes(found) == {"node/a": Code.COOLING_DOWN}
    assert found.memory == idle.nodes
    assert kinds(plan(two_nodes(), group_sizes={GROUP: 3})) == []


def test_rounds_keep_their_distance_and_one_is_under_way_at_most() -> None:
    assert not plan(two_nodes(), DecisionState(last_consolidation_at=NOW - 100)).consolidated
    assert plan(two_nodes(), DecisionState(last_consolidation_at=NOW - 300)).consolidated
    draining = DecisionState(nodes=(NodeMemory(node="a", drain_since=NOW - 5),))
    assert not plan(two_nodes(), draining).consolidated


@pytest.mark.parametrize(
    ("snapshot", "state", "mode", "nothing"),
    [
        pytest.param(two_nodes(), RECENT, Consolidation.JOINT, True, id="all-is-in-use-and-no-round-is-due"),
        pytest.param(two_nodes(), DecisionState(), Consolidation.JOINT, False, id="a-round-is-due"),
        pytest.param(two_nodes(), DecisionState(), Consolidation.WHEN_EMPTY, True, id="rounds-are-not-wanted"),
        pytest.param(two_nodes(first=0), RECENT, Consolidation.JOINT, False, id="a-node-is-empty"),
        pytest.param(
            two_nodes(nodes=[make_node("a", ready=False), make_node("b")]),
            RECENT,
            Consolidation.JOINT,
            False,
            id="a-node-is-not-ready",
        ),
        pytest.param(
            two_nodes(),
            msgspec.structs.replace(RECENT, nodes=(NodeMemory(node="a", drain_since=NOW - 5),)),
            Consolidation.JOINT,
            False,
            id="a-drain-is-under-way",
        ),
    ],
)
def test_it_is_quick_to_see_that_there_is_nothing_to_remove(
    snapshot: ClusterSnapshot, state: DecisionState, mode: Consolidation, nothing: bool
) -> None:
    rules = RemovalRules(consolidation=mode)
    assert nothing_to_remove(snapshot, state, rules) is nothing
    assert (plan(snapshot, state, rules=rules) == RemovalPlan()) is nothing


def test_a_node_that_pending_pods_were_planned_on_is_not_empty() -> None:
    snapshot = two_nodes(first=0)
    state = DecisionState(nodes=(NodeMemory(node="a", unneeded_since=NOW - 500),))
    simulation = planning_simulation(snapshot)
    simulation.add_pod(make_shape(), simulation.row("a"))
    rules = RemovalRules(consolidation=Consolidation.WHEN_EMPTY)
    found = plan_removals(snapshot, simulation, state, rules=rules, budget=AMPLE)
    assert (kinds(found), found.memory) == ([], ())


def test_a_repack_buys_first_and_drains_when_the_new_nodes_are_there() -> None:
    nodes = [make_node(name, usd_per_hour=1.0, group="old") for name in "abc"]
    pods = [make_pod(f"{name}0", node=name, shape=LARGE) for name in "abc"]
    groups = [make_group("old", size=3, usd_per_hour=1.0), make_group("new", size=0, cpu=16_000, usd_per_hour=0.5)]
    snapshot = make_snapshot(nodes=nodes, pods=pods, node_groups=groups)
    bought = plan(snapshot, buy=lambda demand: ((("new", 1),), 0.5))
    (grow,) = bought.actions
    assert isinstance(grow, SetGroupSize)
    assert (grow.group, grow.size, grow.expected, grow.usd_per_hour) == ("new", 1, 0, 0.5)
    # Of three nodes two may go at once.
    assert [memory.replaced_by for memory in bought.memory] == [(("new", 1),)] * 2
    waiting = carry_out(snapshot, bought.actions)
    state = state_of(bought, NOW)
    assert kinds(plan(waiting, state)) == []
    late = msgspec.structs.replace(waiting, observed_at=NOW + 1000)
    assert set(codes(plan(late, state, rules=RemovalRules(consolidation=Consolidation.OFF))).values()) == {
        Code.NODE_IN_USE
    }
    come = make_node("new-1", cpu=16_000, memory=64 << 30, group="new", created_at=NOW, ready_since=NOW + 10)
    there = msgspec.structs.replace(waiting, nodes=(*waiting.nodes, come))
    assert kinds(plan(there, state)) == ["CordonNode"] * 2 + ["EvictPod"]
    assert [memory.node for memory in plan(there, state).memory if memory.drain_since] == ["a", "b"]


def test_sizes_count_what_this_cycle_has_already_added() -> None:
    snapshot = two_nodes(nodes=[make_node("a", unschedulable=True), make_node("b")], pods=[])
    state = DecisionState(nodes=(NodeMemory(node="a", drain_since=NOW - 30),))
    found = plan(snapshot, state, group_sizes={GROUP: 5})
    (action,) = found.actions
    assert isinstance(action, DeleteInstances)
    assert action.expected == 5


def test_the_simulation_that_was_given_is_left_alone() -> None:
    snapshot = two_nodes()
    simulation = planning_simulation(snapshot)
    before = simulation.free("cpu").tolist(), simulation.open.tolist()
    plan_removals(snapshot, simulation, DecisionState(), rules=RemovalRules(), budget=AMPLE, ghosts=[(make_shape(), 2)])
    assert (simulation.free("cpu").tolist(), simulation.open.tolist()) == before
