"""What holds of disruption by Karpenter's rules whatever the cluster."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.plan import CordonNode, EvictPod, SetGroupSize
from autoscaler.model.policy import ScalingPolicySpec
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.planning.karpenter.balanced import THRESHOLD, PoolTotals, score_move
from autoscaler.planning.karpenter.disruption_budgets import (
    NO_LIMIT,
    DisruptionReason,
    NodeBudget,
    allowed_disruptions,
)
from tests.unit.planning.karpenter.turns import after, cluster, confirmed, group, later, node_of, pods_on, rules, turn

SMALL, MIDDLE, LARGE = group("small", 2000, 0.10), group("middle", 4000, 0.19), group("large", 8000, 0.40)
GROUPS = (SMALL, MIDDLE, LARGE)


@st.composite
def clusters(draw: st.DrawFn) -> ClusterSnapshot:
    """Return nodes of three sizes with pods that fit on them, some of which must stay."""
    nodes, pods = [], []
    for number in range(draw(st.integers(1, 5))):
        of = draw(st.sampled_from(GROUPS))
        node = node_of(of, f"n{number}", ready=draw(st.integers(0, 9)) > 0)
        nodes.append(node)
        size = draw(st.sampled_from([300, 900, 1500]))
        count = draw(st.integers(0, min(4, of.template.allocatable.cpu // size)))
        ban = "karpenter.sh/do-not-disrupt" if draw(st.integers(0, 9)) == 0 else ""
        pods += pods_on(node.name, count, cpu=size, do_not_evict=ban)
    return cluster(nodes, pods, GROUPS)


budgets = st.builds(
    NodeBudget,
    nodes=st.sampled_from(["0", "1", "3", "7%", "10%", "50%", "100%"]),
    reasons=st.none() | st.sets(st.sampled_from([each.value for each in DisruptionReason])).map(tuple),
    is_open=st.sampled_from([True, True, False]),
)
policies: st.SearchStrategy[ScalingPolicySpec] = st.builds(
    lambda mode, share: rules(consolidation=mode, budgets=[{"nodes": share}]),
    st.sampled_from(["Joint", "Balanced", "WhenEmpty"]),
    st.sampled_from(["1", "50%", "100%"]),
)


@given(st.lists(budgets, max_size=4), st.integers(0, 200), st.sampled_from(list(DisruptionReason)))
def test_budgets_are_bounded_by_each_and_grow_with_the_pool(
    given_budgets: list[NodeBudget], count: int, reason: DisruptionReason
) -> None:
    allowed = allowed_disruptions(given_budgets, node_count=count, reason=reason)
    assert 0 <= allowed <= NO_LIMIT
    assert all(allowed <= each.allowed(count) for each in given_budgets if each.covers(reason))
    assert allowed <= allowed_disruptions(given_budgets, node_count=count + 1, reason=reason)
    assert allowed == allowed_disruptions(given_budgets[::-1], node_count=count, reason=reason)


@given(st.floats(0, 10), st.floats(0.1, 10), st.floats(1, 50), st.floats(1, 50))
def test_more_savings_never_turn_a_move_down(savings: float, more: float, disruption: float, rest: float) -> None:
    totals = PoolTotals(usd_per_hour=20.0, disruption=disruption + rest)
    less, better = score_move(savings, disruption, totals), score_move(savings + more, disruption, totals)
    assert less.value <= better.value
    assert less.approved == (less.value >= THRESHOLD)


@given(clusters(), policies)
@settings(max_examples=40, deadline=None)
def test_what_begins_saves_money_and_disturbs_only_what_it_may(
    seen: ClusterSnapshot, policy: ScalingPolicySpec
) -> None:
    plan = confirmed(seen, policy)
    nodes = {node.name: node for node in seen.nodes}
    begun = [nodes[each.node] for each in plan.actions if isinstance(each, CordonNode)]
    bought = sum(each.usd_per_hour for each in plan.actions if isinstance(each, SetGroupSize))
    if begun:
        assert bought < sum(node.usd_per_hour for node in begun)
    assert all(node.ready for node in begun)
    kept = {pod.node for pod in seen.pods if pod.do_not_evict}
    assert kept.isdisjoint(node.name for node in begun)
    going = {node.name for node in begun}
    assert all(each.node in going for each in plan.actions if isinstance(each, EvictPod))
    if policy.nodes.consolidation == "WhenEmpty":
        assert not any(isinstance(each, (EvictPod, SetGroupSize)) for each in plan.actions)


@given(clusters(), policies, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_nodes_and_groups_does_not_matter(
    seen: ClusterSnapshot, policy: ScalingPolicySpec, random: Any
) -> None:
    nodes, groups = list(seen.nodes), list(seen.node_groups)
    random.shuffle(nodes)
    random.shuffle(groups)
    other = msgspec.structs.replace(seen, nodes=tuple(nodes), node_groups=tuple(groups))
    assert turn(seen, policy).proposal == turn(other, policy).proposal


@given(clusters(), policies)
@settings(max_examples=30, deadline=None)
def test_a_proposal_is_kept_until_it_is_due_and_then_done_or_dropped(
    seen: ClusterSnapshot, policy: ScalingPolicySpec
) -> None:
    first = turn(seen, policy)
    early = turn(later(seen, 14.0), policy, after(first))
    if first.proposal is not None:
        assert early.proposal == first.proposal
        due = turn(later(seen, 15.0), policy, after(first))
        assert due.actions
        assert due.proposal != first.proposal


@given(clusters(), st.sampled_from(["1", "2", "50%"]))
@settings(max_examples=30, deadline=None)
def test_no_more_nodes_than_the_budget_are_away(seen: ClusterSnapshot, share: str) -> None:
    policy = rules(budgets=[{"nodes": share}])
    count = len(seen.nodes)
    most = -(-count // 2) if share == "50%" else int(share)
    away = sum(1 for node in seen.nodes if not node.ready)
    plan = turn(seen, policy)
    if plan.proposal is not None:
        assert len(plan.proposal.nodes) <= most - away
