"""
What the load will be within the reaction time: a daily profile, its level now,
and the error it has made so far (algorithms, section 3).

A forecast may raise a target over the reactive need and never lowers it below.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from autoscaler.model.arrays import Floats
from autoscaler.model.snapshot import SeasonalModel
from autoscaler.model.units import DAY
from autoscaler.recommend.demand import measured

SLOT_SECONDS = 300.0
_SLOTS = int(DAY // SLOT_SECONDS)
_RECENT_DAYS = 7
"""Days of each kind that a profile is the median of."""
_TAUS = (0.5, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99)
_LEVEL_SLOTS = 6
_EPOCH_WEEKDAY, _SATURDAY = 3, 5
"""Days since Monday: the epoch began on a Thursday."""
_MIN_DAYS = 2.0
_TRUST_RATIO = 0.95
"""Pinball loss against persistence below which the season is believed."""


def is_rest_day(at: float) -> bool:
    """
    Tell whether the UTC day of *at* is a Saturday or Sunday.

    >>> is_rest_day(0.0), is_rest_day(2 * 86400.0)
    (False, True)
    """
    return int(at // DAY + _EPOCH_WEEKDAY) % 7 >= _SATURDAY


def slot_of(at: float) -> int:
    """Return the slot of the day, 0 to 287."""
    return int((at % DAY) // SLOT_SECONDS)


def fit_season(values: Floats, *, start: float, step: float, horizons: tuple[float, ...]) -> SeasonalModel:
    """
    Fit a daily profile to a history of work.

    Args:
        values: one per step, in cores; NaN is a gap.
        start: epoch seconds of the first value.
        step: seconds between values, at most a slot.
        horizons: seconds ahead for which error quantiles are wanted.

    Raises:
        ValueError: *start* is not finite, or *step* is not within 0 (exclusive) to a slot.
    """
    if not math.isfinite(start) or not 0 < step <= SLOT_SECONDS:
        raise ValueError(f"start must be finite and step within 0 to {SLOT_SECONDS:.0f} s, got {start} and {step}")
    values = measured(values)
    peaks, means, first_day = _by_slot(values, start=start, step=step)
    days = len(peaks)
    history_max = float(np.nanmax(values)) if np.any(np.isfinite(values)) else 0.0
    if days < _MIN_DAYS or not np.any(np.isfinite(peaks)):
        return SeasonalModel(history_max=history_max, days=float(days))
    peak, mean = _profiles(peaks, first_day), _profiles(means, first_day)
    quantiles, trusted = _residuals(peaks, means, first_day=first_day, horizons=horizons)
    return SeasonalModel(
        slot_seconds=SLOT_SECONDS,
        peak=peak.astype("<f4").tobytes(),
        mean=mean.astype("<f4").tobytes(),
        quantiles=quantiles,
        trusted=trusted,
        history_max=history_max,
        days=float(days),
    )


def profile(packed: bytes) -> npt.NDArray[np.float32]:
    """Return a packed profile as 2 x slots (work days, rest days); empty where there is none."""
    flat = np.frombuffer(packed, dtype="<f4")
    return flat.reshape(2, -1) if len(flat) else np.zeros((2, 0), dtype=np.float32)


def level(model: SeasonalModel, recent_mean: float, *, now: float, span: float = 1800.0) -> float:
    """
    Return how today's load compares to the profile (0.2-5; 1 where unknown).

    *recent_mean* is the mean work over the *span* seconds before *now*.
    """
    if not model.mean or not 0 <= recent_mean < math.inf or not math.isfinite(now) or math.isnan(span):
        return 1.0
    slots = _slots(now - min(max(span, 1.0), DAY), now - 1)
    expected = _mean_within(model.mean, slots.start, slots.stop)
    if not expected > 1e-9:
        return 1.0
    return min(max(recent_mean / expected, 0.2), 5.0)


def season_peak(model: SeasonalModel, *, start: float, end: float) -> float:
    """Return the profile's usual maximum within start..end (epoch seconds, a day at most), 0 without a profile."""
    if not model.peak or not math.isfinite(start) or math.isnan(end):
        return 0.0
    slots = _slots(start, min(end, start + DAY))
    return _peak_within(model.peak, slots.start, slots.stop)


def day_peaks(model: SeasonalModel, parts: int) -> Floats:
    """
    Return the larger of both day types' peaks in each of *parts* equal parts of the day.

    Raises:
        ValueError: *parts* does not divide the slots of a day (288).
    """
    usual = profile(model.peak)
    if not usual.shape[1]:
        return np.full(parts, model.history_max)
    worst = usual.max(axis=0).astype(np.float64)
    return np.asarray(worst.reshape(parts, -1).max(axis=1), dtype=np.float64)


def error_quantile(model: SeasonalModel, *, horizon: float, share: float) -> float:
    """Return log(actual / forecast) at quantile *share* for the nearest fitted horizon, 0 where unknown."""
    rows = [row for row in model.quantiles if row[1] >= share - 1e-9]
    if not rows:
        return 0.0
    best = min(rows, key=lambda row: (abs(row[0] - horizon), row[1]))
    return best[2]


def _slots(start: float, end: float) -> range:
    return range(int(start // SLOT_SECONDS), int(end // SLOT_SECONDS) + 1)


@lru_cache(maxsize=1 << 14)
def _mean_within(packed: bytes, first: int, stop: int) -> float:
    """Return a profile's mean over slots; for minutes on end it is asked for the same ones."""
    usual = profile(packed)
    return sum(float(usual[_at(slot)]) for slot in range(first, stop)) / max(stop - first, 1)


@lru_cache(maxsize=1 << 14)
def _peak_within(packed: bytes, first: int, stop: int) -> float:
    """Return a profile's maximum over slots, 0 over none."""
    usual = profile(packed)
    return max((float(usual[_at(slot)]) for slot in range(first, stop)), default=0.0)


def _at(slot: int) -> tuple[int, int]:
    day, place = divmod(slot, _SLOTS)
    return int((day + _EPOCH_WEEKDAY) % 7 >= _SATURDAY), place


def _by_slot(values: Floats, *, start: float, step: float) -> tuple[Floats, Floats, int]:
    """Return the maximum and mean in each slot as days x slots (whole UTC days, NaN where empty)."""
    per_slot = max(1, round(SLOT_SECONDS / step))
    first_day = int(start // DAY)
    lead = round((start - first_day * DAY) / step)
    per_day = per_slot * _SLOTS
    days = -(-(lead + len(values)) // per_day)
    padded = np.full(days * per_day, np.nan)
    padded[lead : lead + len(values)] = values
    cube = padded.reshape(days, _SLOTS, per_slot)
    empty = ~np.isfinite(cube)
    peaks = np.where(empty, -np.inf, cube).max(axis=2)
    counts = (~empty).sum(axis=2)
    means = np.where(empty, 0.0, cube).sum(axis=2) / np.maximum(counts, 1)
    peaks[counts == 0] = np.nan
    means[counts == 0] = np.nan
    keep = np.isfinite(peaks).any(axis=1)
    start_row = int(np.argmax(keep)) if keep.any() else 0
    return peaks[start_row:], means[start_row:], first_day + start_row


def _profiles(table: Floats, first_day: int) -> Floats:
    """Median over the latest days of each kind; a kind with fewer than two days takes all days."""
    rest = np.array([is_rest_day((first_day + row) * DAY) for row in range(len(table))])
    overall = _median(table[-_RECENT_DAYS:])
    rows = []
    for kind in (False, True):
        days = table[rest == kind][-_RECENT_DAYS:]
        usual = _median(days) if len(days) >= 2 else overall
        rows.append(np.where(np.isfinite(usual), usual, overall))
    result = np.stack(rows)
    return np.where(np.isfinite(result), result, 0.0)


def _median(days: Floats) -> Floats:
    if not len(days):
        return np.full(_SLOTS, np.nan)
    filled = np.isfinite(days).any(axis=0)
    result = np.full(days.shape[1], np.nan)
    if filled.any():
        result[filled] = np.nanmedian(days[:, filled], axis=0)
    return result


def _residuals(
    peaks: Floats, means: Floats, *, first_day: int, horizons: tuple[float, ...]
) -> tuple[tuple[tuple[float, float, float], ...], bool]:
    """
    Replay the forecast on the last days and return quantiles of log(actual /
    forecast) by horizon, and whether it beat persistence (pinball loss at 0.9).
    """
    usual_peak, usual_mean = _profiles(peaks, first_day), _profiles(means, first_day)
    days = np.arange(max(0, len(peaks) - 5), len(peaks))
    kinds = np.array([int(is_rest_day((first_day + day) * DAY)) for day in days])
    actual, mean = peaks[days].ravel(), means[days].ravel()
    expected, expected_mean = usual_peak[kinds].ravel(), usual_mean[kinds].ravel()
    rows: list[tuple[float, float, float]] = []
    trusted = False
    for horizon in sorted(set(horizons)):
        ahead = max(1, int(np.ceil(horizon / SLOT_SECONDS)))
        ours, theirs, real = _replay(actual, mean, expected, expected_mean, ahead=ahead)
        if not len(real):
            continue
        ratios = np.log(np.maximum(real, 1e-6) / np.maximum(np.maximum(ours, theirs), 1e-6))
        rows.extend((horizon, tau, float(np.quantile(ratios, tau))) for tau in _TAUS)
        trusted = trusted or _pinball(ours, real) < _TRUST_RATIO * _pinball(theirs, real)
    return tuple(rows), trusted


def _replay(
    actual: Floats, mean: Floats, expected: Floats, expected_mean: Floats, *, ahead: int
) -> tuple[Floats, Floats, Floats]:
    """Return the seasonal forecast, persistence and what came, at each slot from which all three are known."""
    count = len(actual)
    if count <= _LEVEL_SLOTS + ahead:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    origins = np.arange(_LEVEL_SLOTS, count - ahead)
    recent = np.stack([mean[origins - lag] for lag in range(1, _LEVEL_SLOTS + 1)]).mean(axis=0)
    usual = np.stack([expected_mean[origins - lag] for lag in range(1, _LEVEL_SLOTS + 1)]).mean(axis=0)
    ratio = np.clip(recent / np.maximum(usual, 1e-9), 0.2, 5.0)
    ours = ratio * np.stack([expected[origins + k] for k in range(ahead + 1)]).max(axis=0)
    theirs = actual[origins - 1]
    real = np.stack([actual[origins + k] for k in range(ahead + 1)]).max(axis=0)
    known = np.isfinite(ours) & np.isfinite(theirs) & np.isfinite(real)
    return ours[known], theirs[known], real[known]


def _pinball(forecast: Floats, real: Floats, tau: float = 0.9) -> float:
    """Loss after each forecast is shifted to its own quantile, so that shape is judged and not bias."""
    ratios = np.log(np.maximum(real, 1e-6) / np.maximum(forecast, 1e-6))
    error = real - forecast * np.exp(np.quantile(ratios, tau))
    return float(np.mean(np.where(error > 0, tau * error, (tau - 1) * error)))
