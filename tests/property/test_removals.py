"""Whatever the numbers: no node goes that pods still need, and no budget is overdrawn."""

from __future__ import annotations

import math

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.node import Node
from autoscaler.model.placement import LabelSelector
from autoscaler.model.plan import DeleteInstances, EvictPod
from autoscaler.model.policy import Consolidation
from autoscaler.model.snapshot import ClusterSnapshot, Prices
from autoscaler.model.state import DecisionState, NodeMemory
from autoscaler.model.workload import DisruptionBudget
from autoscaler.planning.blockers import must_move
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.drain import nothing_to_remove, plan_removals
from autoscaler.planning.removals import RemovalPlan, RemovalRules
from autoscaler.planning.upcoming import planning_simulation
from autoscaler.testing.builders import NOW, make_group, make_node, make_pod, make_shape, make_snapshot

GROUP = "m.xl-a-on-demand"
moments = st.sampled_from([0.0, NOW - 5000, NOW - 100, NOW, NOW + 100, math.nan, math.inf, -math.inf])
money = st.sampled_from([0.2, 0.0, 1.0, -1.0, 1e300, math.nan, math.inf])
seldom = st.integers(0, 4).map(lambda number: number == 0)
nodes = st.builds(
    lambda fields: make_node(**fields),
    st.fixed_dictionaries(
        {"usd_per_hour": money},
        optional={
            "ready": st.booleans(),
            "registered": st.booleans(),
            "unschedulable": st.booleans(),
            "deleting": seldom,
            "created_at": moments,
            "ready_since": moments,
            "interrupt_at": moments,
            "do_not_remove": st.just("keep"),
            "group": st.just("gone"),
        },
    ),
)
shapes = st.sampled_from(
    [make_shape(cpu=500), make_shape(cpu=3500), make_shape(claims=("data",)), make_shape(local_storage=True)]
)
memories = st.builds(
    lambda since, drain, awaits: NodeMemory(node="", unneeded_since=since, drain_since=drain, replaced_by=awaits),
    moments,
    moments,
    st.sampled_from([(), (), ((GROUP, 2),), (("gone", 1),)]),
)


@st.composite
def snapshots(draw: st.DrawFn) -> tuple[ClusterSnapshot, DecisionState]:
    names = [f"n{number}" for number in range(draw(st.integers(0, 5)))]
    present: list[Node] = [msgspec.structs.replace(draw(nodes), name=name) for name in names]
    pods = [
        make_pod(
            f"p{number}",
            node=draw(st.sampled_from(names)),
            shape=draw(shapes),
            deleted_at=draw(moments) if draw(seldom) else None,
            do_not_evict="keep" if draw(seldom) else "",
        )
        for number in range(draw(st.integers(0, 8)) if names else 0)
    ]
    budget = DisruptionBudget(
        namespace="default",
        name="web",
        allowed=draw(st.integers(-1, 3)),
        selector=LabelSelector((("app", "web"),)),
    )
    snapshot = make_snapshot(
        at=draw(st.sampled_from([NOW, math.nan])),
        nodes=present,
        pods=pods,
        node_groups=[make_group(size=len(names), min_size=draw(st.integers(0, 2)))],
        disruption_budgets=[budget],
        prices=Prices(usd_per_core_hour=draw(money)),
    )
    remembered = tuple(msgspec.structs.replace(draw(memories), node=name) for name in names if draw(st.booleans()))
    state = DecisionState(nodes=remembered, last_scale_up_at=draw(moments), last_consolidation_at=draw(moments))
    return snapshot, state


rules_ = st.builds(
    RemovalRules,
    consolidation=st.sampled_from(list(Consolidation)),
    hold_seconds=st.sampled_from([3600.0, math.nan, math.inf, -1.0]),
    min_savings_per_eviction=money,
)


@settings(max_examples=120, deadline=None)
@given(
    given_=snapshots(), rules=rules_, room=st.builds(DisruptionRoom, nodes=st.integers(-1, 9), pods=st.integers(-1, 9))
)
def test_removals_are_safe(
    given_: tuple[ClusterSnapshot, DecisionState], rules: RemovalRules, room: DisruptionRoom
) -> None:
    snapshot, state = given_
    found = plan_removals(
        snapshot,
        planning_simulation(snapshot),
        state,
        rules=rules,
        budget=room,
        ghosts=[(make_shape(cpu=900), 2)],
        buy=lambda demand: (((GROUP, 1),), 0.01),
    )
    assert found == RemovalPlan() or not nothing_to_remove(snapshot, state, rules)
    by_name = {node.name: node for node in snapshot.nodes}
    groups = {group.name: group for group in snapshot.node_groups}
    occupied = {pod.node for pod in snapshot.pods if must_move(pod)}
    evicted = [action for action in found.actions if isinstance(action, EvictPod)]
    for action in found.actions:
        if isinstance(action, DeleteInstances):
            assert not occupied & set(action.nodes)
            assert action.expected - len(action.nodes) >= groups[action.group].min_size
    forced = {
        name for name, node in by_name.items() if node.interrupt_at is not None or not node.ready or not node.registered
    }
    assert sum(action.node not in forced for action in evicted) <= max(0, room.pods)
    assert len(evicted) <= max(0, snapshot.disruption_budgets[0].allowed)
    assert not any(pod.do_not_evict for pod in snapshot.pods if pod.key in {action.pod for action in evicted})
    assert {memory.node for memory in found.memory} <= by_name.keys()
    if math.isnan(snapshot.observed_at):
        assert all(
            by_name[action.node].interrupt_at is not None or action.node in _draining(state) for action in evicted
        )
    again = plan_removals(
        snapshot,
        planning_simulation(snapshot),
        state,
        rules=rules,
        budget=room,
        ghosts=[(make_shape(cpu=900), 2)],
        buy=lambda demand: (((GROUP, 1),), 0.01),
    )
    assert again.actions == found.actions


def _draining(state: DecisionState) -> set[str]:
    return {memory.node for memory in state.nodes if memory.drain_since > 0 or memory.replaced_by}
