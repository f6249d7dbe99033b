"""
Checks that several kinds of document share.

Each yields what is wrong as (path, found, allowed).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from autoscaler.mismatch import NOTHING, Mismatch
from autoscaler.model.cron import CRON_FORM, parse_cron
from autoscaler.model.spec import Quantity, Selector

Found = Iterator[Mismatch]
OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
"""Those of a label selector, and whether each takes values."""


def check_selector(selector: Selector | None, path: str) -> Found:
    """Yield what is wrong with a label selector (meta/v1 LabelSelector)."""
    for index, term in enumerate(selector.match_expressions if selector else ()):
        at = f"{path}.matchExpressions[{index}]"
        yield from word(term.operator, tuple(OPERATORS), f"{at}.operator")
        yield from values_of(term.operator, term.values, f"{at}.values")


def values_of(operator: str, values: Sequence[str], path: str) -> Found:
    """Yield values where the operator takes none, and none where it takes some."""
    takes = OPERATORS.get(operator)
    if takes is True and not values:
        yield path, NOTHING, f"at least one value, the operator being {operator}"
    if takes is False and values:
        yield path, list(values), f"nothing, the operator being {operator}"


def word(found: str, allowed: Iterable[str], path: str) -> Found:
    if found not in allowed:
        yield path, found, one_of(allowed)


def cron(line: str, path: str) -> Found:
    try:
        parse_cron(line)
    except ValueError:
        yield path, line, CRON_FORM


def amounts(quantities: Mapping[str, Quantity], path: str) -> Found:
    """Yield the negative ones, and names that no resource has."""
    for name, quantity in quantities.items():
        yield from at_least(quantity, 0, f"{path}.{name}")
        if not name or len(name) > 253:
            yield path, name, "the name of a resource such as cpu, memory or nvidia.com/gpu"


def at_least(quantity: Quantity | None, low: int, path: str) -> Found:
    if quantity is not None and quantity.value < low:
        yield path, quantity.text, f"a quantity of at least {low}"


def within(quantity: Quantity | None, low: int, high: int, path: str) -> Found:
    if quantity is not None and not low <= quantity.value <= high:
        yield path, quantity.text, f"a number from {low} to {high}"


def ordered(low: int | None, high: int | None, path: str, above: str) -> Found:
    if low is not None and high is not None and low > high:
        yield path, low, f"at most {above}, {high}"


def once(found: Sequence[str], path: str, key: str) -> Found:
    for index, name in enumerate(found):
        if name in found[:index]:
            yield f"{path}[{index}].{key}", name, f"each {key} once"


def one_of(allowed: Iterable[str]) -> str:
    return f"one of {', '.join(allowed)}"
