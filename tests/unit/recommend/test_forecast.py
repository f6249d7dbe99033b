from __future__ import annotations

import math

import numpy as np
import pytest

from autoscaler.model.arrays import Floats
from autoscaler.model.snapshot import SeasonalModel
from autoscaler.model.units import DAY
from autoscaler.recommend.forecast import (
    day_peaks,
    error_quantile,
    fit_season,
    is_rest_day,
    level,
    profile,
    season_peak,
    slot_of,
)
from autoscaler.testing.builders import NOW

# NOW is a Wednesday, 00:00 UTC: the history below is the ten days before it.
DAYS = 10
STEP = 60.0
START = NOW - DAYS * DAY
HORIZONS = (165.0, 255.0)


def daily(*, days: int = DAYS, low: float = 1.0, high: float = 5.0, rest: float = 1.0) -> Floats:
    """Return a wave with its top at noon; *rest* scales Saturdays and Sundays."""
    at = START + np.arange(int(days * DAY / STEP)) * STEP
    wave = low + (high - low) * (1 - np.cos(2 * np.pi * (at % DAY) / DAY)) / 2
    return np.array([v * (rest if is_rest_day(t) else 1.0) for t, v in zip(at, wave, strict=True)])


def fit(values: Floats, *, start: float = START) -> SeasonalModel:
    return fit_season(values, start=start, step=STEP, horizons=HORIZONS)


def test_a_daily_wave_is_learned_and_believed() -> None:
    found = fit(daily())
    assert found.trusted
    assert season_peak(found, start=NOW + DAY / 2, end=NOW + DAY / 2 + 60) == pytest.approx(5.0, rel=0.01)
    assert season_peak(found, start=NOW, end=NOW + 60) == pytest.approx(1.0, rel=0.01)
    assert found.history_max == pytest.approx(5.0)


def test_the_season_of_a_flat_load_is_flat() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, int(DAYS * DAY / STEP))
    usual = profile(fit(3.0 + noise).peak)
    assert 2.95 < usual.min() <= usual.max() < 3.2


@pytest.mark.parametrize("seed", range(3))
def test_a_load_that_wanders_has_no_season_to_believe(seed: int) -> None:
    steps = np.random.default_rng(seed).normal(0, 0.02, int(DAYS * DAY / STEP))
    assert not fit(np.exp(np.cumsum(steps))).trusted


def test_rest_days_have_a_profile_of_their_own() -> None:
    found = fit(daily(rest=0.2))
    usual = profile(found.peak)
    assert usual[1].max() == pytest.approx(0.2 * usual[0].max(), rel=0.02)
    # Saturday is three days after NOW.
    assert season_peak(found, start=NOW + 3.5 * DAY, end=NOW + 3.5 * DAY + 60) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("days", [0, 1], ids=["none", "one-day"])
def test_few_days_give_no_profile(days: int) -> None:
    found = fit(daily(days=days))
    assert (found.peak, found.trusted) == (b"", False)
    assert season_peak(found, start=NOW, end=NOW + 60) == 0.0
    assert list(day_peaks(found, 4)) == [found.history_max] * 4


def test_gaps_are_left_out() -> None:
    values = daily()
    values[5000:6500] = np.nan
    values[::11] = np.nan
    found = fit(values)
    assert profile(found.peak) == pytest.approx(profile(fit(daily()).peak), rel=0.05)


def test_all_gaps() -> None:
    found = fit(np.full(1000, np.nan))
    assert (found.peak, found.history_max, found.trusted) == (b"", 0.0, False)


@pytest.mark.parametrize("value", [np.inf, -np.inf, -3.0], ids=str)
def test_what_cannot_be_is_a_gap(value: float) -> None:
    values = daily()
    values[::97] = value
    found = fit(values)
    assert found.history_max <= 5.0
    assert np.isfinite(profile(found.peak)).all()


def test_one_odd_day_does_not_move_the_median() -> None:
    values = daily()
    values[-1440:] *= 8
    assert season_peak(fit(values), start=NOW + DAY / 2, end=NOW + DAY / 2) < 6.0


@pytest.mark.parametrize(
    ("recent", "expected"),
    [
        pytest.param(2.0, 2.0, id="twice-the-usual"),
        pytest.param(1.0, 1.0, id="as-usual"),
        pytest.param(0.0, 0.2, id="bounded-below"),
        pytest.param(1e9, 5.0, id="bounded-above"),
        pytest.param(math.nan, 1.0, id="unknown"),
        pytest.param(math.inf, 1.0, id="infinite"),
        pytest.param(-1.0, 1.0, id="negative"),
    ],
)
def test_level_compares_with_the_usual_mean(recent: float, expected: float) -> None:
    flat = np.ones((2, 288), dtype="<f4").tobytes()
    assert level(SeasonalModel(mean=flat), recent, now=NOW) == pytest.approx(expected)


def test_level_is_one_without_a_profile_or_where_it_is_zero() -> None:
    nothing = np.zeros((2, 288), dtype="<f4").tobytes()
    assert level(SeasonalModel(), 3.0, now=NOW) == 1.0
    assert level(SeasonalModel(mean=nothing), 3.0, now=NOW) == 1.0


def test_the_peak_of_the_season_covers_the_whole_horizon_and_midnight() -> None:
    usual = np.ones((2, 288), dtype="<f4")
    usual[:, 0] = 9.0
    night = SeasonalModel(peak=usual.tobytes())
    assert season_peak(night, start=NOW - 60, end=NOW - 30) == 1.0
    assert season_peak(night, start=NOW - 60, end=NOW + 30) == 9.0
    assert season_peak(night, start=NOW, end=NOW - 3600) == 0.0
    assert season_peak(night, start=NOW + 600, end=math.inf) == 9.0


def test_error_quantiles_grow_with_the_share() -> None:
    noisy = daily() * np.exp(np.random.default_rng(3).normal(0, 0.2, int(DAYS * DAY / STEP)))
    found = fit(noisy)
    for horizon in HORIZONS:
        asked = [error_quantile(found, horizon=horizon, share=share) for share in (0.5, 0.8, 0.95, 0.99)]
        assert asked == sorted(asked)
    assert error_quantile(found, horizon=HORIZONS[0], share=1.5) == 0.0
    assert error_quantile(SeasonalModel(), horizon=60, share=0.5) == 0.0


def test_the_nearest_horizon_is_taken() -> None:
    rows = ((100.0, 0.9, 0.1), (1000.0, 0.9, 0.7))
    assert error_quantile(SeasonalModel(quantiles=rows), horizon=800.0, share=0.9) == 0.7


def test_day_peaks_are_the_worse_of_both_kinds_of_day() -> None:
    usual = np.ones((2, 288), dtype="<f4")
    usual[0, 0], usual[1, 287] = 3.0, 4.0
    found = day_peaks(SeasonalModel(peak=usual.tobytes()), 4)
    assert list(found) == [3.0, 1.0, 1.0, 4.0]
    with pytest.raises(ValueError, match="reshape"):
        day_peaks(SeasonalModel(peak=usual.tobytes()), 7)


def test_slots_and_days() -> None:
    assert (slot_of(NOW), slot_of(NOW + 299), slot_of(NOW + 300), slot_of(NOW - 1)) == (0, 0, 1, 287)
    assert [is_rest_day(NOW + day * DAY) for day in range(7)] == [False, False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("start", "step"), [(math.nan, 60.0), (math.inf, 60.0), (START, 0.0), (START, 600.0), (START, math.nan)], ids=str
)
def test_a_grid_that_cannot_be_is_refused(start: float, step: float) -> None:
    with pytest.raises(ValueError, match="start must be finite"):
        fit_season(np.ones(10), start=start, step=step, horizons=())
