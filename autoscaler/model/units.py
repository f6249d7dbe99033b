"""
Units, quantities and durations, exactly as Kubernetes reads and prints them.

Inside the program a type carries the unit; text appears only at the edges.
Sources: k8s.io/apimachinery `pkg/api/resource/quantity.go` and `suffix.go`
(grammar, canonical form, rounding up); Go `time.ParseDuration`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NewType

Millicores = NewType("Millicores", int)
Bytes = NewType("Bytes", int)
Timestamp = NewType("Timestamp", float)
"""Seconds since the Unix epoch."""
Seconds = NewType("Seconds", float)
UsdPerHour = NewType("UsdPerHour", float)

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
HOUR, DAY = 3600.0, 86400.0

_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_QUANTITY = re.compile(r"^([+-]?)(\d+(?:\.\d*)?|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d+|[numkMGTPE]?)$")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")
_DURATION_SECONDS = {
    "ns": Fraction(1, 10**9), "us": Fraction(1, 10**6), "µs": Fraction(1, 10**6), "ms": Fraction(1, 1000),
    "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600), "d": Fraction(86400),
}  # fmt: skip
_MAX_INT64 = 2**63 - 1
QUANTITY_FORM = "a quantity such as 250m, 1.5, 64Mi, 2Gi or 1e3"
DURATION_FORM = "a duration such as 30s, 5m, 1h30m or 2d"


def parse_quantity(text: str | int | float) -> Fraction:
    """
    Return the exact value of a Kubernetes quantity, in its own unit.

    Values finer than a nano are rounded away from zero to a nano and values
    beyond 2**63-1 are cut to it, as the API server does.

    Raises:
        ValueError: *text* is not a quantity; the message says what one looks like.

    >>> parse_quantity("250m")
    Fraction(1, 4)
    >>> parse_quantity("1Ki")
    Fraction(1024, 1)
    """
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ValueError(f"{text!r} is not {QUANTITY_FORM}")
    match = _QUANTITY.match(str(text))
    if match is None or len(str(text)) > 64:
        raise ValueError(f"{text!r} is not {QUANTITY_FORM}")
    sign, digits, suffix = match.groups()
    value = Fraction(digits + "0" if digits.endswith(".") else digits) * (-1 if sign == "-" else 1)
    if suffix in _BINARY:
        value *= 1 << _BINARY[suffix]
    elif suffix in _DECIMAL:
        value *= Fraction(10) ** _DECIMAL[suffix]
    else:
        exponent = int(suffix[1:])
        if abs(exponent) > 400:
            raise ValueError(f"{text!r} is not {QUANTITY_FORM}: the exponent is out of range")
        value *= Fraction(10) ** exponent
    nano = _away_from_zero(value * 10**9)
    limit = _MAX_INT64 * 10**9
    return Fraction(max(-limit, min(limit, nano)), 10**9)


def quantity_milli(text: str | int | float) -> int:
    """
    Return a quantity in thousandths, rounded up as the API server does.

    >>> quantity_milli("100u")
    1
    """
    return _ceil(parse_quantity(text) * 1000)


def quantity_value(text: str | int | float) -> int:
    """
    Return a quantity in whole units, rounded up.

    >>> quantity_value("1.5Gi")
    1610612736
    """
    return _ceil(parse_quantity(text))


def format_milli(milli: int) -> str:
    """
    Print thousandths in canonical decimal form.

    >>> format_milli(1500), format_milli(2000), format_milli(3_000_000)
    ('1500m', '2', '3k')
    """
    if milli % 1000:
        return f"{milli}m"
    return format_decimal(milli // 1000)


def format_decimal(value: int) -> str:
    """Print whole units in canonical decimal form: the largest suffix that stays whole."""
    for suffix in ("E", "P", "T", "G", "M", "k"):
        step = 10 ** _DECIMAL[suffix]
        if value and value % step == 0:
            return f"{value // step}{suffix}"
    return str(value)


def format_bytes(value: int) -> str:
    """
    Print bytes in canonical binary form: the largest suffix that stays whole.

    >>> format_bytes(1610612736), format_bytes(1000)
    ('1536Mi', '1000')
    """
    for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
        step = 1 << _BINARY[suffix]
        if value and value % step == 0:
            return f"{value // step}{suffix}"
    return str(value)


def canonical_quantity(text: str) -> str:
    """
    Return *text* as Kubernetes would print it back.

    >>> canonical_quantity("1024Mi"), canonical_quantity("0.5"), canonical_quantity("1e3")
    ('1Gi', '500m', '1e3')
    """
    value = parse_quantity(text)
    match = _QUANTITY.match(str(text))
    suffix = match.group(3) if match else ""
    if suffix in _BINARY and value.denominator == 1 and abs(value) >= 1024:
        return format_bytes(int(value))
    if suffix[:1] in ("e", "E") and suffix != "E":
        return _format_exponent(value)
    return _format_nano(value)


def parse_duration(text: str | int | float) -> float:
    """
    Return seconds; plain numbers are seconds already.

    >>> parse_duration("1h30m"), parse_duration("250ms"), parse_duration(15)
    (5400.0, 0.25, 15.0)

    Raises:
        ValueError: not a duration, negative, or not finite.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        if not 0 <= text < 1e12:
            raise ValueError(f"{text!r} is not {DURATION_FORM}")
        return float(text)
    if not isinstance(text, str) or not text or len(text) > 64:
        raise ValueError(f"{text!r} is not {DURATION_FORM}")
    if text == "0":
        return 0.0
    total, end = Fraction(0), 0
    for match in _DURATION_PART.finditer(text):
        if match.start() != end:
            break
        total += (
            Fraction(match.group(1) + "0" if match.group(1).endswith(".") else match.group(1))
            * (_DURATION_SECONDS[match.group(2)])
        )
        end = match.end()
    if end != len(text):
        raise ValueError(f"{text!r} is not {DURATION_FORM}")
    return float(total)


def format_duration(seconds: float) -> str:
    """
    Print seconds for people.

    >>> format_duration(5400), format_duration(90), format_duration(0.25)
    ('1h30m', '1m30s', '250ms')
    """
    if 0 < seconds < 1:
        return f"{round(seconds * 1000)}ms"
    rest, parts = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"


def _format_nano(value: Fraction) -> str:
    for suffix in ("E", "P", "T", "G", "M", "k", "", "m", "u", "n"):
        scaled = value / Fraction(10) ** _DECIMAL[suffix]
        if scaled.denominator == 1 and (value or suffix == ""):
            return f"{scaled.numerator}{suffix}"
    raise AssertionError("a quantity is a whole number of nanos")


def _format_exponent(value: Fraction) -> str:
    for power in range(18, -10, -3):
        scaled = value / Fraction(10) ** power
        if scaled.denominator == 1 and (value or power == 0):
            return f"{scaled.numerator}e{power}" if power else str(scaled.numerator)
    raise AssertionError("a quantity is a whole number of nanos")


def _ceil(value: Fraction) -> int:
    return -((-value.numerator) // value.denominator)


def _away_from_zero(value: Fraction) -> int:
    return _ceil(value) if value >= 0 else -_ceil(-value)
