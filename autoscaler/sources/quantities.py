"""Amounts and times in the answers of metrics APIs, read fast: there are two of each for every container."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from autoscaler.model.readings import MissingReason
from autoscaler.model.units import parse_duration, parse_quantity

_NANO = 10**9
_PLAIN = {"n": 1, "u": 10**3, "m": 10**6, "": _NANO, "Ki": _NANO << 10, "Mi": _NANO << 20}
"""Nanos in the units that metrics-server prints; others take the long way."""


def thousandths(text: str) -> int | MissingReason:
    """
    Return a quantity in thousandths, rounded up as HPA and VPA do (`MilliValue`), or what is wrong with it.

    >>> thousandths("1500001n"), thousandths("64Mi"), thousandths("-1"), thousandths("x").value
    (2, 67108864000, <MissingReason.NEGATIVE: 'Negative'>, 'NotANumber')
    """
    digits = text.rstrip("numKiM")
    unit = _PLAIN.get(text[len(digits) :])
    if unit is not None and digits.isdecimal():
        return -(-int(digits) * unit // 10**6)
    try:
        milli = parse_quantity(text) * 1000
    except ValueError:
        return MissingReason.NOT_A_NUMBER
    return MissingReason.NEGATIVE if milli < 0 else -(-milli.numerator // milli.denominator)


@lru_cache(maxsize=1 << 14)
def epoch(text: str) -> float | None:
    """
    Return an RFC 3339 time in seconds since the epoch, None for what is none; without a zone it is UTC.

    >>> epoch("1970-01-01T00:01:00Z"), epoch("soon")
    (60.0, None)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


@lru_cache(maxsize=1 << 12)
def window_seconds(text: str) -> float:
    """
    Return a window in seconds, 0 for what is no duration.

    >>> window_seconds("30s"), window_seconds("")
    (30.0, 0.0)
    """
    try:
        return parse_duration(text)
    except ValueError:
        return 0.0
