"""Who may act when, and what probes are told."""

from __future__ import annotations

import pytest

from autoscaler.clock import ManualClock
from autoscaler.controller.gate import Gate
from autoscaler.controller.health import Health
from tests.unit.controller.controllers import Fresh, Lead


@pytest.mark.parametrize(
    ("ready", "age", "leads", "closed", "why"),
    [
        pytest.param(True, 30.0, True, False, "", id="a-leader-with-a-fresh-view-acts"),
        pytest.param(True, 31.0, True, False, "31 s ago", id="a-stale-view-forbids"),
        pytest.param(True, float("inf"), True, False, "inf s ago", id="so-does-one-never-heard-of"),
        pytest.param(False, 0.0, True, False, "not fully read", id="so-does-one-that-is-not-complete"),
        pytest.param(True, 0.0, False, False, "another process leads", id="only-the-leader-acts"),
        pytest.param(True, 0.0, True, True, "shutting down", id="nothing-is-begun-at-the-end"),
    ],
)
def test_why_nothing_may_be_done(ready: bool, age: float, leads: bool, closed: bool, why: str) -> None:
    fresh = Fresh()
    fresh.is_ready, fresh.age = ready, age
    gate = Gate(ManualClock(), lead=Lead(leads=leads), fresh=fresh, most_stale=30.0)
    if closed:
        gate.close()
    found = gate.why_not()
    assert why in found
    assert bool(why) == bool(found)


def test_a_loop_that_hangs_is_told_to_start_anew() -> None:
    clock = ManualClock()
    health = Health(clock, gate=Gate(clock), period=30.0)
    clock.advance(10_000.0)
    assert health.why_dead() == ""
    assert health.why_not_ready() == ""
    health.begins()
    assert health.why_not_ready() == "no turn is done yet"
    clock.advance(240.0)
    assert health.why_dead() == ""
    health.came_round(whole=False)
    assert health.why_not_ready() == "no turn is done yet"
    health.came_round(whole=True)
    assert health.why_not_ready() == ""
    clock.advance(240.5)
    assert health.why_dead() == "the last turn ended 240 s ago, at most 240 s are allowed"
    health.stands_by()
    assert health.why_dead() == ""


def test_who_stands_by_is_ready_when_it_knows_the_cluster() -> None:
    clock, fresh = ManualClock(), Fresh()
    health = Health(clock, gate=Gate(clock, fresh=fresh), period=15.0)
    fresh.is_ready = False
    assert health.why_not_ready() == "the cluster is not fully read yet"
    fresh.is_ready = True
    assert health.why_not_ready() == ""
