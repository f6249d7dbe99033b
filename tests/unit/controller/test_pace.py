"""When history is looked at anew."""

from __future__ import annotations

import pytest

from autoscaler.controller.pace import FIRST_SECONDS, RETRY_SECONDS, Pace

HOURS = 3600.0


def times(pace: Pace, count: int, *, seconds: float = 1.0) -> list[float]:
    """Return how long it waits from one time to the next, *count* times."""
    waits = []
    for _ in range(count):
        began = pace.at
        pace.learned(answered=True, began=began, seconds=seconds)
        waits.append(pace.at - began)
    return waits


def test_it_learns_at_once_and_then_less_and_less_often() -> None:
    pace = Pace(5.0, longest=6 * HOURS)
    pace.sees({"a"}, now=5.0)
    assert pace.at == 5.0
    assert times(pace, 7) == [900.0, 1800.0, 3600.0, 7200.0, 14400.0, 21600.0, 21600.0]


def test_what_is_new_is_learned_of_soon_and_what_is_known_or_gone_changes_nothing() -> None:
    pace = Pace(0.0, longest=6 * HOURS)
    pace.sees({"a", "b"}, now=0.0)
    times(pace, 8)
    settled = pace.at
    for now, seen in ((settled - 9000.0, {"a", "b"}), (settled - 8000.0, {"a"})):
        pace.sees(seen, now=now)
        assert pace.at == settled
    pace.sees({"a", "c"}, now=settled - 7000.0)
    assert pace.at == settled - 7000.0 + FIRST_SECONDS
    assert times(pace, 2) == [900.0, 1800.0]


def test_a_newcomer_does_not_put_off_what_is_due() -> None:
    pace = Pace(0.0, longest=6 * HOURS)
    pace.adopt({"a"}, now=0.0, age=6 * HOURS - 60.0)
    pace.sees({"a", "b"}, now=0.0)
    assert pace.at == 60.0


@pytest.mark.parametrize(
    ("age", "at"), [(0.0, 6 * HOURS), (HOURS, 5 * HOURS), (-5.0, 6 * HOURS), (9 * HOURS, -3 * HOURS)]
)
def test_models_of_a_former_process_are_good_until_they_are_old(age: float, at: float) -> None:
    pace = Pace(0.0, longest=6 * HOURS)
    pace.adopt({"a"}, now=0.0, age=age)
    pace.sees({"a"}, now=0.0)
    assert pace.at == at


def test_a_failure_is_tried_again_and_slow_learning_is_rare() -> None:
    pace = Pace(0.0, longest=6 * HOURS)
    pace.learned(answered=False, began=10.0, seconds=1.0)
    assert pace.at == 10.0 + RETRY_SECONDS
    assert times(pace, 1, seconds=120.0) == [2400.0]
    assert times(Pace(0.0, longest=60.0), 3, seconds=120.0) == [60.0, 60.0, 60.0]
