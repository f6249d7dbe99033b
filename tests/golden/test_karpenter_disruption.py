"""Karpenter's disruption budgets and its score for Balanced against its own answers."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import msgspec

from autoscaler.controller.open_windows import open_windows
from autoscaler.model.cron import parse_cron
from autoscaler.model.policy import BudgetWindow, Disruption, Policies, ScalingPolicy, ScalingPolicySpec
from autoscaler.model.spec import Duration
from autoscaler.planning.karpenter.balanced import THRESHOLD, scores_of, totals_by_pool
from autoscaler.planning.karpenter.candidates import Candidate
from autoscaler.planning.karpenter.disruption_budgets import (
    NO_LIMIT,
    DisruptionReason,
    NodeBudget,
    allowed_disruptions,
    budgets_of,
)
from autoscaler.planning.node_worth import disruption_cost, eviction_cost
from autoscaler.testing.builders import make_node, make_pod, make_shape
from tests.golden.vectors import Case, check_set


def test_budgets() -> None:
    check_set("karpenter_budgets", _check_budgets)


def test_balanced() -> None:
    check_set("karpenter_balanced", _check_balanced)


def _check_budgets(case: Case) -> str:
    given = case["input"]
    now = datetime.fromisoformat(given["now"]).timestamp()
    budgets = [_budget(each, now) for each in given["budgets"]]
    got = {
        "allowed_by_reason": {
            reason.value: allowed_disruptions(budgets, node_count=given["node_count"], reason=reason)
            for reason in DisruptionReason
        },
        "per_budget": [
            {
                "active": bool(budget.is_open),
                "allowed": budget.allowed(given["node_count"]),
                "error": budget.is_open is None,
            }
            for budget in budgets
        ],
    }
    return "" if got == case["expected"] else f"{got}, expected {case['expected']}"


def _budget(given: dict[str, Any], now: float) -> NodeBudget:
    """Return a budget as the engine gets it: its window is judged where calendars are read."""
    reasons = tuple(given.get("reasons", ()))
    window = BudgetWindow(
        nodes=given["nodes"],
        reasons=reasons,
        schedule=given.get("schedule", ""),
        duration=Duration(given["duration"]) if "duration" in given else None,
    )
    if window.schedule:
        try:
            parse_cron(window.schedule)
        except ValueError:
            return NodeBudget(nodes=window.nodes, reasons=reasons or None, is_open=None)
    spec = ScalingPolicySpec(disruption=Disruption(budgets=(window,)))
    found = budgets_of((window,), open_windows(Policies(scaling=(ScalingPolicy(name="p", spec=spec),)), now))
    closed = NodeBudget(nodes=window.nodes, reasons=reasons or None, is_open=False)
    return found[0] if found else closed


def _check_balanced(case: Case) -> str:
    given = case["input"]
    pools = {each["name"]: each["consolidation_policy"] for each in given["nodepools"]}
    nodes = {each["name"]: _candidate(each) for each in given["nodes"]}
    chosen = [nodes[name] for name in given["candidates"]]
    savings = sum(each.usd_per_hour for each in chosen) - given.get("replacement_price_usd_per_hour", 0.0)
    totals = totals_by_pool(nodes.values())
    balanced = {name for name, policy in pools.items() if policy == "Balanced"}
    scores = scores_of(chosen, savings, totals, balanced=balanced)
    got = {
        "approved": all(score.approved for score in scores.values()),
        "savings_usd_per_hour": savings,
        "per_nodepool": {
            pool: {
                "savings_fraction": score.savings_share,
                "disruption_fraction": score.disruption_share,
                "score": score.value,
                "threshold": THRESHOLD,
                "approved": score.approved,
            }
            for pool, score in scores.items()
        },
        "nodepool_totals": {
            pool: {"cost_usd_per_hour": each.usd_per_hour, "disruption_cost": each.disruption}
            for pool, each in totals.items()
        },
        "nodes": [
            {
                "name": name,
                "eviction_costs": [eviction_cost(pod) for pod in each.pods],
                "disruption_cost": each.disruption,
            }
            for name, each in nodes.items()
        ],
    }
    return "" if _same(got, case["expected"]) else f"{got}, expected {case['expected']}"


def _candidate(given: dict[str, Any]) -> Candidate:
    pods = tuple(
        make_pod(
            each["name"],
            shape=msgspec.structs.replace(make_shape(), priority=each.get("priority", 0)),
            deletion_cost=_deletion_cost(each.get("pod_deletion_cost", "")),
        )
        for each in given["pods"]
    )
    return Candidate(
        node=make_node(given["name"]),
        pool=given["nodepool"],
        usd_per_hour=given["price_usd_per_hour"],
        pods=pods,
        disruption=disruption_cost(pods),
    )


def _deletion_cost(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def test_no_limit_is_the_peers() -> None:
    assert allowed_disruptions((), node_count=5, reason=DisruptionReason.EMPTY) == NO_LIMIT


def _same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and not isinstance(got, bool):
        return math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(_same, got, wanted))
    if isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(_same(got[name], wanted[name]) for name in wanted)
    return bool(got == wanted)
