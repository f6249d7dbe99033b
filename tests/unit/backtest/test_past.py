"""Hours of the week as windows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from autoscaler.backtest.past import weekly_schedules
from autoscaler.model.policy import Schedule
from autoscaler.model.units import DAY, HOUR
from autoscaler.planning.windows import window_of_schedule
from autoscaler.simulator.spec import Service, WorldSpec

MONDAY = 1_767_571_200.0
"""Midnight of 5 January 2026."""


def schedules(cores: npt.NDArray[np.float64], *, days: int = 14, most: int = 200) -> tuple[Schedule, ...]:
    """Return the windows that a history of *days* with a value an hour makes, with one core a pod."""
    service = Service(name="web", cores=np.append(cores, 0.0).astype(np.float32), min_replicas=1, max_replicas=most)
    world = WorldSpec(
        services=(service,),
        pools=(),
        start=MONDAY,
        history_seconds=days * DAY,
        length_seconds=HOUR,
        step_seconds=HOUR,
    )
    return weekly_schedules(service, world, cores_a_pod=1.0, quantile=1.0)


def hours(days: int) -> npt.NDArray[np.int64]:
    return np.arange(days * 24) % 24


def test_days_alike_are_one_line_that_opens_ten_minutes_early() -> None:
    office = np.where((hours(14) >= 8) & (hours(14) < 18), 5.0, 1.0)
    (window,) = schedules(office)
    assert window_of_schedule(window) == ("50 7 * * *", "UTC", 10 * HOUR + 600)
    assert window.min_replicas == 5


def test_a_quiet_weekend_is_left_out() -> None:
    day = np.arange(14 * 24) // 24 % 7
    office = np.where((hours(14) >= 8) & (hours(14) < 18) & (day < 5), 5.0, 1.0)
    (window,) = schedules(office)
    assert window.schedule == "50 7 * * 1,2,3,4,5"


def test_a_window_at_midnight_opens_the_day_before() -> None:
    day = np.arange(14 * 24) // 24 % 7
    (window,) = schedules(np.where((hours(14) < 2) & (day == 0), 3.0, 1.0))
    assert window.schedule == "50 23 * * 0"


def test_the_largest_is_last() -> None:
    levels = [window.min_replicas or 0 for window in schedules(1.0 + hours(14) / 4)]
    assert levels == sorted(levels)


@pytest.mark.parametrize(
    ("cores", "days"),
    [
        pytest.param(np.full(14 * 24, 0.5), 14, id="never-above-the-minimum"),
        pytest.param(np.zeros(0), 0, id="without-a-history"),
    ],
)
def test_no_windows(cores: npt.NDArray[np.float64], days: int) -> None:
    assert schedules(cores, days=days) == ()


def test_a_week_of_one_level_is_one_window() -> None:
    (window,) = schedules(np.full(14 * 24, 4.0))
    assert window.duration.seconds == 7 * DAY + 600


def test_a_short_history_stands_for_all_days() -> None:
    (window,) = schedules(np.where((hours(2) >= 8) & (hours(2) < 18), 5.0, 1.0), days=2)
    assert window.schedule == "50 7 * * *"


def test_levels_stay_within_the_bounds() -> None:
    assert {window.min_replicas for window in schedules(np.full(14 * 24, 40.0), most=7)} == {7}


def test_only_what_lies_before_the_run_counts() -> None:
    quiet = np.full(7 * 24, 0.5)
    service = Service(name="web", cores=np.append(quiet, np.full(24, 50.0)).astype(np.float32), min_replicas=1)
    world = WorldSpec(
        services=(service,), pools=(), start=MONDAY, history_seconds=7 * DAY, length_seconds=DAY, step_seconds=HOUR
    )
    assert weekly_schedules(service, world, cores_a_pod=1.0, quantile=1.0) == ()
