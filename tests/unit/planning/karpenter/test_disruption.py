"""Which nodes go by the rules of nodes.engine karpenter, and how."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.node import SPOT, Node
from autoscaler.model.placement import LabelSelector
from autoscaler.model.plan import SetGroupSize
from autoscaler.model.pod import Pod
from autoscaler.model.state import DecisionState, NodeProposal
from autoscaler.model.units import GIB
from autoscaler.model.workload import DisruptionBudget
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.testing.builders import NOW, make_pod, make_shape
from tests.unit.planning.karpenter.turns import (
    after,
    cluster,
    confirmed,
    cordoned,
    group,
    kinds,
    later,
    node_of,
    pods_on,
    rules,
    turn,
    why,
)

SMALL = group("small", 2000, 0.10)
LARGE = group("large", 8000, 0.38)
GROUPS = (SMALL, LARGE)


def small(*names: str, **fields: Any) -> list[Node]:
    return [node_of(SMALL, name, **fields) for name in names]


class TestEmptiness:
    def test_all_empty_nodes_go_together_fifteen_seconds_after_they_were_found(self) -> None:
        seen = cluster(small("a", "b", "c"), pods_on("c", 3), GROUPS)
        first = turn(seen, rules())
        assert not first.actions
        assert first.proposal == NodeProposal(at=NOW, method="Empty", nodes=("a", "b"))
        assert cordoned(turn(later(seen, 15.0), rules(), after(first))) == ["a", "b"]

    def test_until_then_nothing_else_is_looked_for(self) -> None:
        seen = cluster(small("a", "b"), pods_on("b", 3), GROUPS)
        first = turn(seen, rules())
        again = turn(later(seen, 14.0), rules(), after(first))
        assert not again.actions
        assert again.proposal == first.proposal

    def test_one_that_is_not_empty_any_more_stays_and_the_others_go(self) -> None:
        seen = cluster(small("a", "b", "c"), pods_on("c", 3), GROUPS)
        first = turn(seen, rules())
        fresh = later(cluster(small("a", "b", "c"), [*pods_on("c", 3), *pods_on("a", 3)], GROUPS), 15.0)
        assert cordoned(turn(fresh, rules(), after(first))) == ["b"]

    def test_pods_of_daemonsets_and_those_that_cost_nothing_to_evict_do_not_count(self) -> None:
        agent = msgspec.structs.replace(make_shape("agent", cpu=100), owner_kind="DaemonSet")
        cheap = pods_on("b", 1, deletion_cost=-(2**27), cpu=1500)
        seen = cluster(small("a", "b", "c"), [*pods_on("a", 1, shape=agent), *cheap, *pods_on("c", 4)], GROUPS)
        assert turn(seen, rules()).proposal == NodeProposal(at=NOW, method="Empty", nodes=("a", "b"))

    def test_a_cordoned_one_is_deleted_next(self) -> None:
        seen = cluster(small("a", "b"), pods_on("b", 4), GROUPS)
        began = confirmed(seen, rules())
        gone = [msgspec.structs.replace(node, unschedulable=node.name == "a") for node in seen.nodes]
        plan = turn(later(cluster(gone, pods_on("b", 4), GROUPS), 30.0), rules(), after(began))
        assert kinds(plan.actions) == ["DeleteInstances ('a',)"]

    def test_a_node_whose_pods_have_just_left_waits(self) -> None:
        seen = cluster(small("a", "b"), pods_on("b", 4), GROUPS)
        ending = pods_on("a", 1, deleted_at=NOW - 5)
        leaving = cluster(small("a", "b"), [*pods_on("b", 4), *ending], GROUPS)
        policy = rules(consolidateAfter="1m", consolidation="WhenEmpty")
        state = after(turn(leaving, policy))
        assert turn(later(seen, 30.0), policy, state).proposal is None
        assert turn(later(seen, 60.0), policy, state).proposal is not None


class TestBudgets:
    def test_ten_percent_of_few_nodes_is_one(self) -> None:
        seen = cluster(small("a", "b", "c"), pods_on("c", 4), GROUPS)
        assert cordoned(confirmed(seen, rules(budgets=[{"nodes": "10%"}]))) == ["a"]

    def test_nodes_that_are_not_ready_are_taken_off(self) -> None:
        nodes = [*small("a", "b"), *small("c", ready=False)]
        seen = cluster(nodes, pods_on("b", 4), GROUPS)
        assert turn(seen, rules(budgets=[{"nodes": "1"}])).proposal is None

    @pytest.mark.parametrize(
        ("reason", "goes"),
        [
            pytest.param("Empty", False, id="for-this"),
            pytest.param("Consolidation", False, id="our-own-word-for-both"),
            pytest.param("Drifted", True, id="for-something-else"),
        ],
    )
    def test_a_budget_may_be_for_one_reason(self, reason: str, goes: bool) -> None:
        seen = cluster(small("a", "b"), pods_on("b", 4), GROUPS)
        plan = turn(seen, rules(budgets=[{"nodes": "0", "reasons": [reason]}], consolidation="WhenEmpty"))
        assert (plan.proposal is not None) == goes

    def test_a_window_that_is_not_open_bounds_nothing(self) -> None:
        window = {"nodes": "0", "schedule": "0 9 * * *", "duration": "1h"}
        seen = cluster(small("a", "b"), pods_on("b", 4), GROUPS)
        assert turn(seen, rules(budgets=[window])).proposal is not None
        shut = msgspec.structs.replace(seen, open_windows=("0 9 * * * UTC 3600s",))
        assert turn(shut, rules(budgets=[window])).proposal is None


class TestConsolidation:
    def test_a_node_whose_pods_fit_elsewhere_goes(self) -> None:
        seen = cluster(small("a", "b"), [*pods_on("a", 1), *pods_on("b", 3)], GROUPS)
        plan = confirmed(seen, rules())
        assert kinds(plan.actions) == ["CordonNode a", "EvictPod default/a-0"]

    def test_a_node_gives_way_to_a_cheaper_one_which_must_be_ready_first(self) -> None:
        nodes = [node_of(LARGE, "a")]
        seen = cluster(nodes, pods_on("a", 2), GROUPS)
        began = confirmed(seen, rules())
        assert kinds(began.actions) == ["SetGroupSize small", "CordonNode a"]
        nodes = [node_of(LARGE, "a", unschedulable=True)]
        coming = node_of(SMALL, "b", ready=False, registered=False, created_at=NOW + 20)
        waits = turn(later(cluster([*nodes, coming], pods_on("a", 2), GROUPS), 30.0), rules(), after(began))
        assert not waits.actions
        there = node_of(SMALL, "b", created_at=NOW + 20, ready_since=NOW + 60)
        goes = turn(later(cluster([*nodes, there], pods_on("a", 2), GROUPS), 75.0), rules(), after(waits))
        assert kinds(goes.actions) == ["EvictPod default/a-0", "EvictPod default/a-1"]

    def test_where_the_replacement_does_not_come_pods_are_let_on_again(self) -> None:
        seen = cluster([node_of(LARGE, "a")], pods_on("a", 2), GROUPS)
        began = confirmed(seen, rules())
        coming = node_of(SMALL, "b", ready=False, registered=False, created_at=NOW + 20)
        still = cluster([node_of(LARGE, "a", unschedulable=True), coming], pods_on("a", 2), GROUPS)
        assert not turn(later(still, 615.0), rules(), after(began)).actions
        plan = turn(later(still, 616.0), rules(), after(began))
        assert kinds(plan.actions) == ["UncordonNode a"]

    def test_nothing_dearer_or_as_dear_replaces(self) -> None:
        seen = cluster([node_of(SMALL, "a")], pods_on("a", 3), GROUPS)
        plan = turn(seen, rules())
        assert plan.proposal is None
        assert why(plan, "a") == ["nothing cheaper could replace it"]

    def test_several_nodes_give_way_to_one(self) -> None:
        nodes = small("a", "b", "c", "d", "e")
        cheap = group("cheap", 9000, 0.30)
        pods = [pod for node in nodes for pod in pods_on(node.name, 3)]
        seen = cluster(nodes, pods, [SMALL, cheap])
        first = turn(seen, rules())
        assert first.proposal is not None
        assert (first.proposal.method, len(first.proposal.nodes)) == ("MultiNode", 5)
        plan = turn(later(seen, 15.0), rules(), after(first))
        assert [(each.group, each.size) for each in plan.actions if isinstance(each, SetGroupSize)] == [("cheap", 1)]
        assert cordoned(plan) == ["a", "b", "c", "d", "e"]

    def test_a_node_of_a_type_that_would_come_again_stays(self) -> None:
        nodes = small("a", "b")
        seen = cluster(nodes, [*pods_on("a", 2), *pods_on("b", 1)], [SMALL])
        first = turn(seen, rules())
        assert first.proposal is not None
        assert first.proposal.method == "SingleNode"
        assert not first.proposal.types

    def test_an_unready_node_is_not_counted_on(self) -> None:
        coming = node_of(SMALL, "b", ready=False, registered=False, created_at=NOW - 30)
        seen = cluster([node_of(SMALL, "a"), coming], pods_on("a", 2), [SMALL])
        plan = turn(seen, rules())
        assert plan.proposal is None
        assert why(plan, "a") == ["its pods would wait for node b to be ready"]

    def test_while_pods_wait_nothing_begins(self) -> None:
        waits = make_pod("new", shape=make_shape(cpu=1900), node="")
        pods = [*pods_on("a", 1), *pods_on("b", 3), waits]
        assert turn(cluster(small("a", "b"), pods, GROUPS), rules()).proposal is None

    def test_a_node_that_pods_are_about_to_get_stays(self) -> None:
        waits = make_pod("new", shape=make_shape(cpu=100), node="")
        plan = turn(cluster(small("a"), [waits], GROUPS), rules())
        assert plan.proposal is None
        assert why(plan, "a") == ["Nominated"]

    def test_without_evictions_left_only_empty_nodes_go(self) -> None:
        none_left = DisruptionRoom(nodes=100, pods=0)
        seen = cluster(small("a", "b"), [*pods_on("a", 1), *pods_on("b", 3)], GROUPS)
        assert turn(seen, rules(), room=none_left).proposal is None
        seen = cluster(small("a", "b"), pods_on("b", 3), GROUPS)
        assert turn(seen, rules(), room=none_left).proposal is not None

    @pytest.mark.parametrize("policy", ["WhenEmpty", "Off"])
    def test_other_policies_leave_nodes_with_pods(self, policy: str) -> None:
        seen = cluster(small("a", "b"), [*pods_on("a", 1), *pods_on("b", 3)], GROUPS)
        assert turn(seen, rules(consolidation=policy)).proposal is None

    def test_off_leaves_empty_nodes_too(self) -> None:
        assert turn(cluster(small("a"), [], GROUPS), rules(consolidation="Off")).proposal is None
        assert turn(cluster(small("a"), [], GROUPS), rules(consolidation="WhenEmpty")).proposal is not None

    def test_what_changed_in_between_is_not_done(self) -> None:
        first = turn(cluster(small("a", "b"), [*pods_on("a", 1), *pods_on("b", 3)], GROUPS), rules())
        assert first.proposal is not None
        full = later(cluster(small("a", "b"), [*pods_on("a", 1), *pods_on("b", 4)], GROUPS), 15.0)
        assert not turn(full, rules(), after(first)).actions

    def test_as_advice_the_same_is_told_again_and_again(self) -> None:
        seen = cluster(small("a", "b"), [*pods_on("a", 1), *pods_on("b", 3)], GROUPS)
        policy = rules(mode="Recommend")
        plan = confirmed(seen, policy)
        for number in range(2, 4):
            assert not plan.actions
            assert kinds(plan.advised) == ["CordonNode a", "EvictPod default/a-0"]
            plan = turn(later(seen, 15.0 * number), policy, after(plan))


class TestBalanced:
    def test_a_small_saving_for_much_disruption_is_refused(self) -> None:
        # The pool costs 0.58; to save 0.10 of it (17 %) half of all pods would have to move.
        other = group("other", 4000, 0.48)
        nodes = [node_of(SMALL, "a"), node_of(other, "b")]
        pods = [*pods_on("a", 8, cpu=100), *pods_on("b", 7, cpu=100)]
        seen = cluster(nodes, pods, [msgspec.structs.replace(SMALL, max_size=1), other])
        # With nothing to replace b by, and a not worth its 9 of 17 units of disruption, all stays.
        aggressive, balanced = turn(seen, rules()), turn(seen, rules(consolidation="Balanced"))
        assert aggressive.proposal is not None
        assert balanced.proposal is None or balanced.proposal.nodes != ("a",)

    def test_a_large_saving_for_little_is_made(self) -> None:
        seen = cluster(small("a", "b"), [*pods_on("a", 1), *pods_on("b", 3)], GROUPS)
        plan = confirmed(seen, rules(consolidation="Balanced"))
        assert cordoned(plan) == ["a"]
        assert "score" in dict(plan.actions[0].reasons[0].detail)


class TestBlockers:
    def test_a_pod_that_must_not_be_disturbed(self) -> None:
        keep = pods_on("a", 1, do_not_evict="karpenter.sh/do-not-disrupt")
        plan = turn(cluster(small("a", "b"), [*keep, *pods_on("b", 3)], GROUPS), rules())
        assert why(plan, "a") == ["PodBlockEviction"]

    def test_also_where_it_is_a_daemonsets(self) -> None:
        agent = msgspec.structs.replace(make_shape("agent", cpu=100), owner_kind="DaemonSet")
        keep = pods_on("a", 1, shape=agent, do_not_evict="karpenter.sh/do-not-disrupt")
        assert turn(cluster(small("a"), keep, GROUPS), rules()).proposal is None

    def test_a_disruption_budget_that_is_spent(self) -> None:
        budget = DisruptionBudget(namespace="default", name="web", allowed=0, selector=LabelSelector((("app", "web"),)))
        pods = [*pods_on("a", 1), *pods_on("b", 3)]
        plan = turn(cluster(small("a", "b"), pods, GROUPS, disruption_budgets=[budget]), rules())
        assert plan.proposal is None
        assert why(plan, "a") == ["NotEnoughPdb"]

    def test_a_node_that_must_stay(self) -> None:
        nodes = [node_of(SMALL, "a", do_not_remove="karpenter.sh/do-not-disrupt"), *small("b")]
        plan = turn(cluster(nodes, pods_on("b", 3), GROUPS), rules(consolidation="WhenEmpty"))
        assert plan.proposal is None
        assert why(plan, "a") == ["DoNotDisrupt"]

    def test_a_group_at_its_minimum(self) -> None:
        least = msgspec.structs.replace(SMALL, min_size=1)
        plan = turn(cluster(small("a"), [], [least, LARGE]), rules())
        assert plan.proposal is None
        assert why(plan, "a") == ["NodeGroupMinSizeReached"]


def spot_ladder(count: int) -> list[Any]:
    """Return groups of spot machines, each a cent dearer than the one before."""
    return [group(f"s{number:02d}", 2000, 0.01 * (number + 1), capacity_type=SPOT) for number in range(count)]


class TestSpot:
    @pytest.mark.parametrize(
        ("cheaper", "types"),
        [pytest.param(14, 0, id="too-few"), pytest.param(15, 15, id="enough"), pytest.param(19, 15, id="cut-to-15")],
    )
    def test_a_spot_node_gives_way_to_one_of_fifteen_cheaper(self, cheaper: int, types: int) -> None:
        ladder = spot_ladder(cheaper + 1)
        seen = cluster([node_of(ladder[-1], "a")], pods_on("a", 2), ladder)
        plan = turn(seen, rules(params={"spot-to-spot-consolidation": True}))
        assert len(plan.proposal.types if plan.proposal else ()) == types

    def test_not_by_default(self) -> None:
        ladder = spot_ladder(20)
        plan = turn(cluster([node_of(ladder[-1], "a")], pods_on("a", 2), ladder), rules())
        assert plan.proposal is None
        assert why(plan, "a") == ["a spot node is not replaced by a spot node"]

    def test_on_demand_gives_way_to_spot(self) -> None:
        cheap = msgspec.structs.replace(SMALL, name="spot", capacity_type=SPOT, usd_per_hour=0.03)
        seen = cluster(small("a"), pods_on("a", 2), [SMALL, cheap])
        plan = confirmed(seen, rules())
        assert [each.group for each in plan.actions if isinstance(each, SetGroupSize)] == ["spot"]


class TestDrift:
    def changed(self, state: DecisionState) -> DecisionState:
        """Return a memory in which the small group was made of something else until a minute ago."""
        small_first = msgspec.structs.replace(
            state.templates[1], templates=((0.0, "before"), (NOW - 60, state.templates[1].templates[-1][1]))
        )
        return DecisionState(templates=(state.templates[0], small_first))

    def seen(self, pods: list[Pod]) -> Any:
        return cluster(small("a", "b"), pods, GROUPS)

    def test_a_node_from_before_the_change_is_replaced_at_once(self) -> None:
        seen = self.seen([*pods_on("a", 3), *pods_on("b", 3)])
        state = self.changed(after(turn(seen, rules())))
        plan = turn(seen, rules(), state)
        assert kinds(plan.actions) == ["SetGroupSize small", "CordonNode a"]

    def test_an_empty_one_goes_first(self) -> None:
        seen = self.seen(pods_on("a", 3))
        state = self.changed(after(turn(seen, rules())))
        policy = rules(budgets=[{"nodes": "0", "reasons": ["Empty"]}, {"nodes": "1"}])
        assert cordoned(turn(seen, policy, state)) == ["b"]

    def test_a_node_from_after_it_stays(self) -> None:
        nodes = small("a", "b", created_at=NOW - 30)
        seen = cluster(nodes, [*pods_on("a", 4), *pods_on("b", 4)], GROUPS)
        state = self.changed(after(turn(seen, rules())))
        assert not turn(seen, rules(), state).actions

    def test_its_budget_binds(self) -> None:
        seen = self.seen([*pods_on("a", 4), *pods_on("b", 4)])
        state = self.changed(after(turn(seen, rules())))
        assert not turn(seen, rules(budgets=[{"nodes": "0", "reasons": ["Drifted"]}]), state).actions

    def test_a_pod_that_must_not_be_disturbed_holds_it_without_a_grace_period(self) -> None:
        keep = pods_on("a", 3, do_not_evict="karpenter.sh/do-not-disrupt")
        seen = cluster(small("a"), keep, GROUPS)
        state = self.changed(after(turn(seen, rules())))
        assert not turn(seen, rules(), state).actions
        plan = turn(seen, rules(params={"termination-grace-period": "1h"}), state)
        assert cordoned(plan) == ["a"]

    def test_a_type_that_is_not_offered_any_more_has_drifted(self) -> None:
        nodes = small("a", instance_type="old", created_at=NOW - 3700)
        seen = cluster(nodes, pods_on("a", 3), GROUPS)
        assert kinds(turn(seen, rules()).actions) == ["SetGroupSize small", "CordonNode a"]


class TestForced:
    def test_an_old_node_goes_whatever_the_budgets_say(self) -> None:
        nodes = [*small("a", created_at=NOW - 720 * 3600), *small("b")]
        seen = cluster(nodes, [*pods_on("a", 3), *pods_on("b", 4)], GROUPS)
        plan = turn(seen, rules(budgets=[{"nodes": "0"}]))
        assert kinds(plan.actions)[:2] == ["SetGroupSize small", "CordonNode a"]
        assert "EvictPod default/a-0" in kinds(plan.actions)

    def test_unless_nodes_may_be_of_any_age(self) -> None:
        seen = cluster(small("a", created_at=NOW - 720 * 3600), pods_on("a", 3), GROUPS)
        assert not turn(seen, rules(params={"expire-after": "0s"})).actions

    def test_an_interrupted_node_is_drained_and_replaced(self) -> None:
        nodes = [node_of(SMALL, "a", interrupt_at=NOW + 100)]
        plan = turn(cluster(nodes, pods_on("a", 3), GROUPS), rules(budgets=[{"nodes": "0"}]))
        assert kinds(plan.actions)[:2] == ["SetGroupSize small", "CordonNode a"]

    def test_a_machine_that_never_came_is_given_back(self) -> None:
        lost = node_of(SMALL, "a", registered=False, ready=False, created_at=NOW - 900)
        plan = turn(cluster([lost], [], GROUPS), rules())
        assert kinds(plan.actions) == ["DeleteInstances ('a',)"]
        late = msgspec.structs.replace(lost, created_at=NOW - 899)
        assert not turn(cluster([late], [], GROUPS), rules()).actions


def test_memory_that_is_needed_no_more_is_dropped() -> None:
    seen = cluster(small("a"), pods_on("a", 4, shape=make_shape(cpu=500, memory=GIB)), GROUPS)
    assert not turn(seen, rules()).memory
