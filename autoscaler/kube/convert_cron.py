"""How long the windows are that one cron line opens and another one closes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice

from autoscaler.model.cron import CronLine, parse_cron

_DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * _DAY_MINUTES
_FIRST_DAY = date(2024, 1, 1)
_DAYS = 2 * 366
_MOST_OPENINGS, _MOST_CLOSINGS = 60, 50_000


def window_minutes(start: str, end: str) -> int | None:
    """
    Return the length that all windows from *start* to *end* have, on the calendar of any time zone.

    None where they differ, last longer than a week, or never come.

    >>> window_minutes("0 8 * * mon-fri", "30 17 * * mon-fri")
    570
    >>> window_minutes("0 8 * * *", "0 17 * * mon-fri")

    Raises:
        ValueError: one of them is no cron line.
    """
    openings = list(islice(_minutes(parse_cron(start)), _MOST_OPENINGS))
    closings = list(islice(_minutes(parse_cron(end)), _MOST_CLOSINGS))
    lengths = set()
    for opening in openings:
        at = bisect_right(closings, opening)
        if at < len(closings):
            lengths.add(closings[at] - opening)
    if len(lengths) != 1:
        return None
    (length,) = lengths
    return length if length <= _WEEK_MINUTES else None


def _minutes(line: CronLine) -> Iterator[int]:
    """Yield the minutes that a line names, counted from the first day, for two years."""
    for number in range(_DAYS):
        day = _FIRST_DAY + timedelta(days=number)
        weekday = (day.weekday() + 1) % 7
        first = line.hours[0], line.minutes[0]
        if line.names(minute=first[1], hour=first[0], day=day.day, month=day.month, weekday=weekday):
            yield from (number * _DAY_MINUTES + hour * 60 + minute for hour in line.hours for minute in line.minutes)
