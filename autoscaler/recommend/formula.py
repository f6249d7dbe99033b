"""
Small arithmetic over named metrics: `goals.formula`, such as `max(requests, queue * 0.8)`.

Numbers, names, + - * /, parentheses and min, max, ceil, floor, abs; nothing
else can be written, so nothing else can happen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

MAX_LENGTH = 500
_MAX_DEPTH = 50
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<sign>[-+*/(),]))"
)
_ALLOWED = "numbers, names, + - * / ( ) , and min, max, ceil, floor, abs"

Node = float | str | tuple[str, tuple["Node", ...]]
"""A number, a name, or (operation, operands)."""


def _quotient(left: float, right: float) -> float:
    if right == 0:
        raise ValueError("the formula divides by zero")
    return left / right


_BINARY: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _quotient,
}
_FUNCTIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "max": max,
    "ceil": lambda values: float(math.ceil(values[0])),
    "floor": lambda values: float(math.floor(values[0])),
    "abs": lambda values: abs(values[0]),
}
_MANY = frozenset({"min", "max"})


def evaluate_formula(text: str, values: Mapping[str, float]) -> float:
    """
    Return what *text* comes to with *values* for its names.

    Raises:
        ValueError: it cannot be read, names something unknown, divides by zero, or is not finite.

    >>> evaluate_formula("max(requests, queue * 0.8)", {"requests": 3, "queue": 5})
    4.0
    """
    result = _value(_parse(text), values)
    if not math.isfinite(result):
        raise ValueError(f"the formula {text!r} does not come to a finite number")
    return result


def formula_names(text: str) -> frozenset[str]:
    """
    Return the names that *text* refers to.

    Raises:
        ValueError: it cannot be read; the message says where and what is allowed.
    """
    return frozenset(_names(_parse(text)))


def metric_identifier(name: str) -> str:
    """
    Return *name* as a formula spells it: what is not a letter or digit becomes `_`.

    >>> metric_identifier("http-requests.total")
    'http_requests_total'
    """
    plain = re.sub(r"\W", "_", name)
    return f"_{plain}" if plain[:1].isdigit() else plain


def _names(node: Node) -> list[str]:
    if isinstance(node, str):
        return [node]
    if isinstance(node, float):
        return []
    return [name for operand in node[1] for name in _names(operand)]


def _value(node: Node, values: Mapping[str, float]) -> float:
    if isinstance(node, float):
        return node
    if isinstance(node, str):
        if node not in values:
            known = ", ".join(sorted(values)) or "none"
            raise ValueError(f"the formula names {node!r}, which is no metric with a value; those are: {known}")
        return float(values[node])
    operation, operands = node
    numbers = [_value(operand, values) for operand in operands]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("the formula meets a number that is not finite")
    if operation in _BINARY:
        return _BINARY[operation](numbers[0], numbers[1])
    return _FUNCTIONS[operation](numbers)


@lru_cache(maxsize=1 << 10)
def _parse(text: str) -> Node:
    return _Parser(text).read()


class _Parser:
    """Reads by recursive descent: a sum of products of factors."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise ValueError(f"the formula has {len(text)} characters; allowed: at most {MAX_LENGTH}")
        self._text = text
        self._tokens = self._split(text)
        self._next = 0
        self._depth = 0

    def read(self) -> Node:
        node = self._sum()
        if self._peek():
            raise self._error("the end or an operator")
        return node

    def _split(self, text: str) -> list[tuple[str, str, int]]:
        tokens, end = [], 0
        stripped = text.rstrip()
        while end < len(stripped):
            match = _TOKEN.match(stripped, end)
            if match is None:
                raise ValueError(f"the formula {text!r} cannot be read at position {end + 1}; allowed: {_ALLOWED}")
            kind = match.lastgroup or ""
            tokens.append((kind, match.group(kind), match.start(kind)))
            end = match.end()
        return tokens

    def _sum(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError(f"the formula is nested too deeply; allowed: {_MAX_DEPTH} levels")
        node = self._product()
        while self._peek() in ("+", "-"):
            operation = self._take()
            node = (operation, (node, self._product()))
        self._depth -= 1
        return node

    def _product(self) -> Node:
        node = self._factor()
        while self._peek() in ("*", "/"):
            operation = self._take()
            node = (operation, (node, self._factor()))
        return node

    def _factor(self) -> Node:
        negative = False
        while self._peek() in ("-", "+"):
            negative ^= self._take() == "-"
        node = self._atom()
        return ("-", (0.0, node)) if negative else node

    def _atom(self) -> Node:
        kind = self._tokens[self._next][0] if self._next < len(self._tokens) else ""
        if kind == "number":
            return float(self._take())
        if kind == "name":
            name = self._take()
            return self._call(name) if self._peek() == "(" else name
        if self._peek() == "(":
            self._take()
            node = self._sum()
            self._expect(")")
            return node
        raise self._error("a number, a name or (")

    def _call(self, name: str) -> Node:
        if name not in _FUNCTIONS:
            raise ValueError(f"the formula calls {name!r}; allowed: {', '.join(_FUNCTIONS)}")
        self._expect("(")
        operands = [self._sum()]
        while self._peek() == ",":
            self._take()
            operands.append(self._sum())
        self._expect(")")
        if len(operands) > 1 and name not in _MANY:
            raise ValueError(f"the formula gives {name} {len(operands)} values; allowed: 1")
        return (name, tuple(operands))

    def _peek(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        text = self._tokens[self._next][1]
        self._next += 1
        return text

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            raise self._error(f"{sign!r}")
        self._take()

    def _error(self, expected: str) -> ValueError:
        at = self._tokens[self._next][2] + 1 if self._next < len(self._tokens) else len(self._text) + 1
        found = repr(self._peek()) if self._peek() else "the end"
        return ValueError(f"the formula {self._text!r} has {found} at position {at}; expected {expected}")
