"""What `--sweep` may say: knobs of engines, and the values that each takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from autoscaler.backtest.engines import ENGINES, Engine
from autoscaler.errors import InputError

Value = float | int | str
Knobs = Mapping[str, tuple[Value, ...]]

MOST_VALUES = 50
_SHARES = ("target", "safe", "fill", "quantile", "share")
"""Knobs above 0, at most 1."""


def read_knobs(texts: Iterable[str], engines: Sequence[str]) -> Knobs:
    """
    Return what texts such as `target=0.5,0.7` ask for.

    Raises:
        InputError: one is not of this form, no engine has such a knob, or a value does not suit it.
    """
    knobs: dict[str, tuple[Value, ...]] = {}
    chosen = [ENGINES[name] for name in engines if name in ENGINES]
    known = sorted({knob for engine in chosen for knob in engine.knobs})
    for text in texts:
        name, sign, rest = text.partition("=")
        values = [each.strip() for each in rest.split(",") if each.strip()]
        if not sign or not 1 <= len(values) <= MOST_VALUES or len(set(values)) != len(values):
            raise InputError("--sweep", "", text, f"knob=value,value with 1 to {MOST_VALUES} different values")
        if name not in known or name in knobs:
            allowed = f"each once of {', '.join(known)}" if known else "no knob: the engines have none"
            raise InputError("--sweep", "", name, allowed)
        knobs[name] = tuple(_value(name, each, chosen) for each in values)
    return knobs


def _value(name: str, text: str, engines: Sequence[Engine]) -> Value:
    """Return a value of the type that the knob has elsewhere."""
    settings = (each for engine in engines for each in (engine.settings, *engine.sweep))
    sample = next(each[name] for each in settings if name in each)
    if isinstance(sample, bool):
        if text not in ("true", "false"):
            raise InputError("--sweep", name, text, "true or false")
        return text == "true"
    if not isinstance(sample, (int, float)):
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    low, high = (0.0, 1.0) if name in _SHARES else (-math.inf, 1e9)
    if not low < number <= high:
        raise InputError("--sweep", name, text, "a number above 0, at most 1" if name in _SHARES else "a number")
    return int(number) if number.is_integer() and (isinstance(sample, int) or "." not in text) else number
