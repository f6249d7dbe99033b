"""Which of the policies' schedules are open at a moment, by the calendar of their time zone."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from autoscaler.model.cron import CronLine, parse_cron
from autoscaler.model.policy import Policies
from autoscaler.planning.windows import Window, window_key, windows_of

_LONGEST_MINUTES = 7 * 24 * 60
"""A window is at most a week: what lasts longer is a bound, not a schedule."""
_QUARTER = 15
"""Minutes: clocks of time zones differ by whole quarters of an hour."""


def open_windows(policies: Policies, at: float) -> tuple[str, ...]:
    """Return the keys of the windows that are open at *at* (epoch seconds), sorted."""
    minute = int(at // 60)
    return tuple(sorted(window_key(window) for window in windows_of(policies) if _is_open(window, minute)))


@lru_cache(maxsize=4096)
def _is_open(window: Window, minute: int) -> bool:
    """Tell whether the line names one of the minutes since which the window's length has not passed."""
    text, zone, seconds = window
    length = min(max(1, -(-int(seconds) // 60)), _LONGEST_MINUTES)
    first = minute - length + 1
    quarters = range(minute // _QUARTER, first // _QUARTER - 1, -1)
    return any(first <= named <= minute for quarter in quarters for named in _named(text, zone, quarter))


@lru_cache(maxsize=65_536)
def _named(text: str, zone: str, quarter: int) -> tuple[int, ...]:
    """Return the minutes that the line names in a quarter of an hour, in which hour and day are the same anywhere."""
    try:
        line, calendar = _line(text), _calendar(zone)
    except ValueError:
        # The documents were checked when they were read; one that cannot be read here opens nothing.
        return ()
    then = datetime.fromtimestamp(quarter * _QUARTER * 60, calendar)
    weekday = (then.weekday() + 1) % 7
    return tuple(
        quarter * _QUARTER + more
        for more in range(_QUARTER)
        if line.names(minute=then.minute + more, hour=then.hour, day=then.day, month=then.month, weekday=weekday)
    )


@lru_cache(maxsize=256)
def _line(text: str) -> CronLine:
    return parse_cron(text)


@lru_cache(maxsize=64)
def _calendar(zone: str) -> tzinfo:
    try:
        return UTC if zone == "UTC" else ZoneInfo(zone)
    except (ZoneInfoNotFoundError, OSError) as problem:
        raise ValueError(f"{zone!r} is not a time zone") from problem
