"""
Cron lines: which minutes a schedule names.

Five fields (minute, hour, day of month, month, day of week) with `*`, lists,
ranges, steps and English names, and the usual `@` words, as Kubernetes
CronJobs and Karpenter's disruption budgets take them (github.com/robfig/cron,
`ParseStandard`). When both days are restricted, either may match.
"""

from __future__ import annotations

import re

import msgspec


class _Field(msgspec.Struct, frozen=True):
    """`words` are the English names, from `low` upwards."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    _Field("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_PART = re.compile(r"(\*|\?|[0-9a-z]{1,3}(?:-[0-9a-z]{1,3})?)(?:/([0-9]{1,4}))?")
CRON_FORM = 'a cron line of five fields such as "0 8 * * mon-fri", or one of ' + ", ".join(_WORDS)


class CronLine(msgspec.Struct, frozen=True, kw_only=True):
    """
    The values that each field allows, sorted; `weekdays` count from Sunday, 0.

    `any_day` tells that the day of month is unrestricted, `any_weekday` the same of the day of week.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    any_day: bool
    any_weekday: bool

    def names(self, *, minute: int, hour: int, day: int, month: int, weekday: int) -> bool:
        """Tell whether the line names this minute of the calendar."""
        if minute not in self.minutes or hour not in self.hours or month not in self.months:
            return False
        if self.any_day or self.any_weekday:
            return day in self.days and weekday in self.weekdays
        return day in self.days or weekday in self.weekdays


def parse_cron(text: str) -> CronLine:
    """
    Return what a cron line names.

    >>> parse_cron("*/20 8-10 * * mon,fri").minutes
    (0, 20, 40)

    Raises:
        ValueError: it is not one; the message says which field.
    """
    line = _WORDS.get(text.strip().lower(), text.lower()) if len(text) <= 200 else ""
    parts = line.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"{text[:80]!r} is not {CRON_FORM}")
    minutes, hours, days, months, weekdays = (_values(part, field) for part, field in zip(parts, _FIELDS, strict=True))
    return CronLine(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=weekdays,
        any_day=_is_any(parts[2]),
        any_weekday=_is_any(parts[4]),
    )


def _values(text: str, field: _Field) -> tuple[int, ...]:
    values: set[int] = set()
    wrong = f"values from {field.low} to {field.high}, ranges and steps"
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not a {field.name}: {wrong}")
        span, step = match.group(1), int(match.group(2) or 1)
        first, _, last = (f"{field.low}-{field.high}" if span in "*?" else span).partition("-")
        begin = _number(first, field)
        end = _number(last, field) if last else field.high if match.group(2) else begin
        if step < 1 or not field.low <= begin <= end <= field.high:
            raise ValueError(f"{part!r} is not a {field.name}: {wrong}")
        values.update(range(begin, end + 1, step))
    return tuple(sorted(values))


def _is_any(text: str) -> bool:
    """Tell whether a field is unrestricted: `*` among its parts, with no step above 1 (robfig/cron 3.0.1, getRange)."""
    parts = (part.partition("/") for part in text.split(","))
    return any(span in ("*", "?") and int(step or 1) <= 1 for span, _, step in parts)


def _number(text: str, field: _Field) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    return field.words.index(text) + field.low if text in field.words else -1
