from __future__ import annotations

import pytest

from autoscaler.model.plan import CordonNode, EvictPod
from autoscaler.model.policy import BudgetWindow, Disruption, ScalingPolicySpec
from autoscaler.model.spec import Duration
from autoscaler.model.state import DecisionState
from autoscaler.planning.budgets import DisruptionRoom, amount, disruption_room, forget_old, note_disruptions
from autoscaler.testing.builders import NOW, make_node, make_pod, make_snapshot

SEEN = make_snapshot(
    nodes=[make_node(f"node-{n}") for n in range(25)], pods=[make_pod(f"web-{n:03d}") for n in range(100)]
)


def rules(*budgets: BudgetWindow) -> ScalingPolicySpec:
    return ScalingPolicySpec(disruption=Disruption(budgets=budgets))


@pytest.mark.parametrize(
    ("text", "total", "expected"),
    [
        ("10%", 25, 3),
        ("0%", 25, 0),
        ("100%", 25, 25),
        pytest.param("7%", 100, 7, id="a-whole-number-stays-it"),
        pytest.param("1%", 1, 1, id="rounded-up"),
        ("3", 25, 3),
        ("0", 25, 0),
        ("10%", 0, 0),
    ],
)
def test_amounts(text: str, total: int, expected: int) -> None:
    assert amount(text, total) == expected


@pytest.mark.parametrize("text", ["", "%", "many", "1.5", "5 %%"])
def test_an_amount_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        amount(text, 10)


@pytest.mark.parametrize(
    ("budgets", "room"),
    [
        pytest.param([BudgetWindow()], DisruptionRoom(nodes=3, pods=5), id="the-default"),
        pytest.param([BudgetWindow(nodes="1"), BudgetWindow(pods="2")], DisruptionRoom(nodes=1, pods=2), id="tightest"),
        pytest.param([], DisruptionRoom(nodes=25, pods=100), id="none-limits-nothing"),
        pytest.param(
            [BudgetWindow(nodes="0", schedule="0 9 * * *", duration=Duration("8h"))],
            DisruptionRoom(nodes=25, pods=100),
            id="a-closed-window-does-not-count",
        ),
    ],
)
def test_room(budgets: list[BudgetWindow], room: DisruptionRoom) -> None:
    assert disruption_room(rules(*budgets), SEEN, DecisionState()) == room


def test_recent_evictions_have_used_the_room() -> None:
    past = ((NOW - 900, "old"), (NOW - 500, "a"), (NOW - 5, "b"))
    assert disruption_room(rules(BudgetWindow()), SEEN, DecisionState(disruptions=past)).pods == 3
    many = tuple((NOW - 5, str(n)) for n in range(50))
    assert disruption_room(rules(BudgetWindow()), SEEN, DecisionState(disruptions=many)).pods == 0


def test_evictions_are_noted_and_forgotten() -> None:
    noted = note_disruptions(
        NOW, ((NOW - 900, "x"),), [EvictPod(pod="a/b", uid="1", workload="w"), CordonNode(node="n")]
    )
    assert noted == ((NOW - 900, "x"), (NOW, "w"))
    assert forget_old(NOW, noted) == ((NOW, "w"),)
