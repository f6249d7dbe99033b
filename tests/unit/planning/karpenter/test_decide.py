"""Disruption within whole decisions: the guard lets it pass, and the state carries it from cycle to cycle."""

from __future__ import annotations

import msgspec

from autoscaler.model.plan import Decision
from autoscaler.model.policy import Policies
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.planning.decide import decide
from autoscaler.testing.builders import NOW
from tests.unit.planning.decisions import policies
from tests.unit.planning.karpenter.turns import cluster, group, kinds, later, node_of, pods_on

SMALL, LARGE = group("small", 2000, 0.10), group("large", 8000, 0.38)


def on_karpenter(mode: str = "Auto") -> Policies:
    return policies(
        mode=mode,
        nodes={"engine": "karpenter", "consolidateAfter": "1s"},
        disruption={"budgets": [{"nodes": "100%", "pods": "100%"}]},
    )


def decided(seen: ClusterSnapshot, state: DecisionState, rules: Policies) -> Decision:
    """Return what is decided, by a state that has been written down and read again."""
    written = msgspec.json.decode(msgspec.json.encode(state), type=DecisionState)
    return decide(seen, rules, written)


def test_a_replacement_from_proposal_to_deletion() -> None:
    old, rules, pods = node_of(LARGE, "old"), on_karpenter(), pods_on("old", 2)
    seen = cluster([old], pods, (SMALL, LARGE))
    found = decided(seen, DecisionState(), rules)
    assert not found.plan.actions
    began = decided(later(seen, 15.0), found.state, rules)
    assert kinds(began.plan.actions) == ["SetGroupSize small", "CordonNode old"]
    assert began.plan.usd_per_hour_after < began.plan.usd_per_hour_now
    old = msgspec.structs.replace(old, unschedulable=True)
    new = node_of(SMALL, "new", created_at=NOW + 20, ready_since=NOW + 70)
    drains = decided(later(cluster([new, old], pods, (SMALL, LARGE)), 75.0), began.state, rules)
    assert kinds(drains.plan.actions) == ["EvictPod default/old-0", "EvictPod default/old-1"]
    moved = cluster([new, old], pods_on("new", 2), (SMALL, LARGE))
    gone = decided(later(moved, 90.0), drains.state, rules)
    assert kinds(gone.plan.actions) == ["DeleteInstances ('old',)"]
    left = decided(later(cluster([new], pods_on("new", 2), (SMALL, LARGE)), 105.0), gone.state, rules)
    assert not left.plan.actions
    assert not left.state.nodes


def test_in_mode_recommend_it_is_only_told() -> None:
    seen, rules = cluster([node_of(LARGE, "old")], pods_on("old", 2), (SMALL, LARGE)), on_karpenter("Recommend")
    found = decided(seen, DecisionState(), rules)
    told = decided(later(seen, 15.0), found.state, rules)
    assert not told.plan.actions
    assert kinds(told.plan.advised) == ["SetGroupSize small", "CordonNode old"]
    assert all(each.drain_since == 0 for each in told.state.nodes)
