"""Any history and any profile: bounded, monotone, and no error but the documented ones."""

from __future__ import annotations

import math
from random import Random

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoscaler.model.arrays import Floats
from autoscaler.model.snapshot import SeasonalModel
from autoscaler.model.units import DAY
from autoscaler.recommend.demand import fit_demand, queue_wait, safe_utilisation
from autoscaler.recommend.forecast import day_peaks, error_quantile, fit_season, level, profile, season_peak

anything = st.floats(allow_nan=True, allow_infinity=True)
numbers = st.one_of(st.floats(0, 1e4), st.just(math.nan), anything)
series = arrays(np.float64, st.integers(0, 1500), elements=numbers, fill=st.just(math.nan))
profiles = arrays(np.float32, (2, 288), elements=st.floats(0, 1e6, width=32), fill=st.just(1.0))


@settings(max_examples=60, deadline=None)
@given(series, st.floats(-1e9, 2e9), st.sampled_from([30.0, 60.0, 300.0]))
def test_any_history_gives_a_usable_season(values: Floats, start: float, step: float) -> None:
    found = fit_season(values, start=start, step=step, horizons=(165.0, 255.0))
    assert np.isfinite(profile(found.peak)).all()
    assert (profile(found.peak) >= 0).all()
    assert math.isfinite(found.history_max)
    assert 0.2 <= level(found, 1.0, now=start) <= 5.0
    assert season_peak(found, start=start, end=start + DAY) <= found.history_max * 1.001 + 1e-9
    assert all(math.isfinite(value) for row in found.quantiles for value in row)
    asked = [error_quantile(found, horizon=165.0, share=share) for share in (0.5, 0.8, 0.95, 0.99)]
    assert asked == sorted(asked)


@settings(max_examples=60, deadline=None)
@given(profiles, anything, anything, anything)
@example(np.ones((2, 288), dtype=np.float32), 1.0, 0.0, math.nan)
def test_any_question_to_a_profile_has_an_answer(
    usual: np.ndarray[tuple[int, int], np.dtype[np.float32]], recent: float, now: float, span: float
) -> None:
    model = SeasonalModel(peak=usual.tobytes(), mean=usual.tobytes(), history_max=float(usual.max()))
    assert 0.2 <= level(model, recent, now=now if abs(now) < 1e15 else math.inf, span=span) <= 5.0
    start = now if abs(now) < 1e15 else math.nan
    assert 0 <= season_peak(model, start=start, end=start + abs(span)) <= usual.max()
    assert day_peaks(model, 12).max() == usual.max()


@settings(max_examples=100, deadline=None)
@given(st.floats(0.05, 1e4), st.floats(0.05, 1e4), anything, anything)
def test_the_more_a_pod_can_do_at_once_the_fuller_it_may_run(
    less: float, more: float, slowdown: float, other: float
) -> None:
    low, high = sorted((less, more))
    assert 0 <= safe_utilisation(low, slowdown) <= safe_utilisation(high, slowdown) + 1e-9 <= 0.97 + 1e-9
    assert 0 <= safe_utilisation(other, slowdown) <= 0.97
    assert queue_wait(other, slowdown) >= 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 80), st.randoms(use_true_random=False), st.lists(anything, max_size=6))
def test_any_series_gives_a_finite_model(length: int, random: Random, odd: list[float]) -> None:
    pool = [*odd, 0.0, 1.0, 2.5, 1e8]
    cpu, requests, ready, memory = (
        np.array([random.choice(pool) for _ in range(length)], dtype=np.float64) for _ in range(4)
    )
    found = fit_demand(cpu, requests, ready, memory)
    amounts = (found.cores_per_request, found.idle_cores, found.base_bytes, found.bytes_per_core, found.peak_bytes)
    assert all(0 <= amount < math.inf for amount in (*amounts, found.parallelism))
