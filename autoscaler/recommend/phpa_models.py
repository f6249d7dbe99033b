"""
A line through past values, and triple exponential smoothing of them.

Sources: predictive-horizontal-pod-autoscaler `algorithms/`, which ask
statsmodels: ordinary least squares, and ExponentialSmoothing with given factors
and estimated beginnings, which are the heuristic of Hyndman and
Athanasopoulos, "Forecasting: principles and practice", 3rd edition. (The peer's
damped trend cannot be used: it gives the library no factor.)
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import numpy as np

from autoscaler.model.arrays import Floats

_LEVEL_VALUES = 10
"""Values that the first level and trend are fitted to."""
_MAX_CYCLES = 5


class Component(enum.StrEnum):
    """How a part of a series goes with the others."""

    ADDITIVE = "additive"
    MULTIPLICATIVE = "multiplicative"


def line_at(when: float, times: Sequence[float], values: Sequence[float]) -> float:
    """
    Return the value at *when* of the least-squares line through *values* at *times*; their mean if all are at once.

    >>> line_at(30.0, [0.0, 10.0, 20.0], [1, 2, 3])
    4.0
    """
    before = np.asarray(times, dtype=np.float64) - when
    known = np.asarray(values, dtype=np.float64)
    spread = before - before.mean()
    variance = float(spread @ spread)
    if not variance > 0.0:
        return float(known.mean())
    slope = float(spread @ (known - known.mean())) / variance
    return float(known.mean()) - slope * float(before.mean())


def enough_for_seasons(count: int, periods: int) -> bool:
    """Tell whether *count* values are enough to begin with: two seasons, and ten values of level."""
    return count >= 2 * periods and count >= _LEVEL_VALUES + 2 * (periods // 2)


def holt_winters_next(
    values: Sequence[float],
    *,
    periods: int,
    factors: tuple[float, float, float],
    trend: Component,
    seasonal: Component,
) -> float:
    """
    Return the next value; NaN where there is none, such as a multiplicative one of a series with 0.

    *periods* are the values of one season, at least 2; *factors* are those of level, trend and season, 0-1.

    Raises:
        ValueError: there are not enough values.
    """
    if not enough_for_seasons(len(values), periods):
        raise ValueError(f"{len(values)} values are not enough for seasons of {periods}")
    series = np.asarray(values, dtype=np.float64)
    multiplies = Component.MULTIPLICATIVE in (trend, seasonal)
    if multiplies and not np.all(series > 0.0):
        return math.nan
    with np.errstate(all="ignore"):
        level, slope, seasons = _beginning(series, periods, trend, seasonal)
    if trend is Component.MULTIPLICATIVE and not level:
        return math.nan
    try:
        return _smoothed(series.tolist(), level, slope, seasons, factors=factors, trend=trend, seasonal=seasonal)
    except (ZeroDivisionError, OverflowError):
        return math.nan


def _smoothed(
    series: Sequence[float],
    level: float,
    slope: float,
    seasons: list[float],
    *,
    factors: tuple[float, float, float],
    trend: Component,
    seasonal: Component,
) -> float:
    alpha, beta, gamma = factors
    grows, scales = trend is Component.MULTIPLICATIVE, seasonal is Component.MULTIPLICATIVE
    for place, value in enumerate(series):
        expected = level * slope if grows else level + slope
        season = seasons[place]
        adjusted = alpha * value / season if scales else alpha * value - alpha * season
        after = adjusted + (1 - alpha) * expected
        change = after / level if grows else after - level
        slope = beta * change + (1 - beta) * slope
        own = gamma * value / expected if scales else gamma * value - gamma * expected
        seasons.append(own + (1 - gamma) * season)
        level = after
    expected = level * slope if grows else level + slope
    season = seasons[len(series)]
    return expected * season if scales else expected + season


def _beginning(series: Floats, periods: int, trend: Component, seasonal: Component) -> tuple[float, float, list[float]]:
    """Return the first level, trend and seasons, by moving averages over at most five seasons."""
    needed = math.ceil((_LEVEL_VALUES + 2 * (periods // 2)) / periods)
    cycles = max(min(_MAX_CYCLES, len(series) // periods), needed)
    known = series[: periods * cycles]
    smooth = np.convolve(known, np.full(periods, 1.0 / periods), mode="valid")
    if periods % 2 == 0:
        # An even season has no middle value: two averages side by side.
        smooth = (smooth[:-1] + smooth[1:]) / 2.0
    first = periods // 2
    padded = np.full(periods * cycles, np.nan)
    middle = known[first : first + len(smooth)]
    padded[first : first + len(smooth)] = middle / smooth if seasonal is Component.MULTIPLICATIVE else middle - smooth
    usual = np.nanmean(padded.reshape(cycles, periods), axis=0)
    usual = usual / usual.mean() if seasonal is Component.MULTIPLICATIVE else usual - usual.mean()
    fitted = smooth[:_LEVEL_VALUES]
    places = np.arange(1, _LEVEL_VALUES + 1, dtype=np.float64)
    slope = float((places - places.mean()) @ (fitted - fitted.mean())) / float(((places - places.mean()) ** 2).sum())
    level = float(fitted.mean()) - slope * float(places.mean())
    if trend is Component.MULTIPLICATIVE:
        slope = 1.0 + slope / level if level else math.nan
    return level, slope, usual.tolist()
