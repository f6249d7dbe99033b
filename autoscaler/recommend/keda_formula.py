"""
The formula of KEDA's scalingModifiers: one number from those of the named triggers.

Source: KEDA 2.21 `pkg/scaling/modifiers/formula.go` and its documentation
(concepts, scaling-deployments), in the language of expr-lang/expr: of it
numbers, names, nil, lists, + - * / % **, comparisons, && || !, `? :`, `??`,
and the functions below, of which count, any and all take a test such as `{# > 1}`.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

Value = float | bool | tuple["Value", ...] | None
"""What a part comes to; None is nil, the value of a trigger that failed for too long."""
Node = float | bool | str | tuple[str, tuple["Node", ...]] | None
"""A constant, a name (`#`: the element that is tested), or (operation, operands)."""

MAX_LENGTH = 1000
_MAX_DEPTH = 50
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*|#)"
    r"|(?P<sign>\?\?|\*\*|&&|\|\||[=!<>]=|[-+*/%^<>!?:(),\[\]{}]))"
)
_WORDS = {"or": "||", "and": "&&", "not": "!"}
_CONSTANTS: Mapping[str, bool | None] = {"nil": None, "true": True, "false": False}
_LEVELS = (("||",), ("&&",), ("==", "!=", "<", ">", "<=", ">="), ("+", "-"), ("*", "/", "%"))
"""Operators from the loosest to the tightest; `**` and `??` bind tighter."""
_OPERATORS = frozenset(sign for level in _LEVELS for sign in level) | {"**", "^"}
_LAZY = frozenset({"?:", "??", "&&", "||"})


def _divided(left: float, right: float) -> float:
    if right == 0:
        raise ValueError("the formula divides by zero")
    return left / right


def _rest(left: float, right: float) -> float:
    if right == 0:
        raise ValueError("the formula divides by zero")
    return math.fmod(left, right)


def _raised(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except (ValueError, OverflowError) as cause:
        raise ValueError(f"the formula cannot raise {left:g} to {right:g}") from cause


_ARITHMETIC: Mapping[str, Callable[[float, float], float | bool]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divided,
    "%": _rest,
    "**": _raised,
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
    "<=": lambda left, right: left <= right,
    ">=": lambda left, right: left >= right,
}
_NUMBERS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "max": max,
    "sum": math.fsum,
    "mean": statistics.fmean,
    "avg": statistics.fmean,
    "median": statistics.median,
    "abs": lambda values: abs(values[0]),
    "ceil": lambda values: float(math.ceil(values[0])),
    "floor": lambda values: float(math.floor(values[0])),
    "round": lambda values: math.copysign(math.floor(abs(values[0]) + 0.5), values[0]),
    "int": lambda values: float(math.trunc(values[0])),
    "float": lambda values: values[0],
}
_OF_ONE = frozenset({"abs", "ceil", "floor", "round", "int", "float"})
_TESTS: Mapping[str, Callable[[Sequence[bool]], float | bool]] = {
    "count": lambda found: float(sum(found)),
    "any": any,
    "all": all,
}
_FUNCTIONS = (*sorted(_NUMBERS), *sorted(_TESTS))


def evaluate_modifiers(text: str, values: Mapping[str, float | None]) -> float | None:
    """
    Return what *text* comes to, None for nil; a trigger whose value is None is nil.

    Raises:
        ValueError: it cannot be read, names something unknown, counts with nil, divides by zero, or is no number.

    >>> evaluate_modifiers("queue ?? backup", {"queue": None, "backup": 7.0})
    7.0
    >>> evaluate_modifiers("count([a, b], {# > 1}) > 1 ? 5 : 0", {"a": 2.0, "b": 3.0})
    5.0
    """
    result = _value(_parse(text), values, None)
    if result is None:
        return None
    number = _number(result)
    if not math.isfinite(number):
        raise ValueError(f"the formula {text!r} does not come to a finite number")
    return number


def modifier_names(text: str) -> frozenset[str]:
    """
    Return the triggers that *text* names.

    Raises:
        ValueError: it cannot be read; the message says where.
    """
    return frozenset(_names(_parse(text)) - {"#"})


def _names(node: Node) -> set[str]:
    if isinstance(node, str):
        return {node}
    if not isinstance(node, tuple):
        return set()
    return {name for operand in node[1] for name in _names(operand)}


def _value(node: Node, values: Mapping[str, float | None], element: Value) -> Value:
    if isinstance(node, str):
        if node == "#":
            return element
        if node not in values:
            known = ", ".join(sorted(values)) or "none"
            raise ValueError(f"the formula names {node!r}, which is no trigger with a number; those are: {known}")
        return values[node]
    if not isinstance(node, tuple):
        return node
    operation, operands = node
    if operation in _LAZY:
        return _lazy(operation, operands, values, element)
    if operation in _TESTS:
        tested = _list(_value(operands[0], values, element))
        return _TESTS[operation]([_truth(_value(operands[1], values, one)) for one in tested])
    found = [_value(operand, values, element) for operand in operands]
    return _applied(operation, found)


def _lazy(operation: str, operands: tuple[Node, ...], values: Mapping[str, float | None], element: Value) -> Value:
    """Evaluate of the operands only those that count: what is not chosen may be nil."""
    first = _value(operands[0], values, element)
    if operation == "??":
        return _value(operands[1], values, element) if first is None else first
    if operation == "?:":
        return _value(operands[1 if _truth(first) else 2], values, element)
    if _truth(first) is (operation == "||"):
        return first
    return _truth(_value(operands[1], values, element))


def _applied(operation: str, found: list[Value]) -> Value:
    if operation == "[]":
        return tuple(found)
    if operation == "!":
        return not _truth(found[0])
    if operation in ("==", "!="):
        return (found[0] == found[1]) is (operation == "==")
    if operation in _ARITHMETIC:
        return _ARITHMETIC[operation](_number(found[0]), _number(found[1]))
    listed = [one for value in found for one in (value if isinstance(value, tuple) else (value,))]
    if not listed:
        raise ValueError(f"the formula gives {operation} an empty list")
    return _NUMBERS[operation]([_number(one) for one in listed])


def _number(value: Value) -> float:
    if isinstance(value, (bool, tuple)) or value is None:
        shown = "nil" if value is None else "a list" if isinstance(value, tuple) else str(value).lower()
        raise ValueError(f"the formula has {shown} where a number is needed")
    return float(value)


def _truth(value: Value) -> bool:
    if not isinstance(value, bool):
        raise ValueError("the formula has no true or false where one is needed: compare first")
    return value


def _list(value: Value) -> tuple[Value, ...]:
    if not isinstance(value, tuple):
        raise ValueError("the formula has no list where one is needed, such as [a, b]")
    return value


@lru_cache(maxsize=1 << 10)
def _parse(text: str) -> Node:
    return _Parser(text).read()


class _Parser:
    """Reads by recursive descent, the loosest operator first."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise ValueError(f"the formula has {len(text)} characters; allowed: at most {MAX_LENGTH}")
        self._text = text
        self._tokens = _split(text)
        self._next = 0
        self._depth = 0

    def read(self) -> Node:
        node = self._choice()
        if self._peek():
            raise self._error("the end or an operator")
        return node

    def _choice(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError(f"the formula is nested too deeply; allowed: {_MAX_DEPTH} levels")
        node = self._binary(0)
        if self._peek() == "?":
            self._take()
            yes = self._choice()
            self._expect(":")
            node = ("?:", (node, yes, self._choice()))
        self._depth -= 1
        return node

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        node = self._binary(level + 1)
        while self._peek() in _LEVELS[level]:
            operation = self._take()
            node = (operation, (node, self._binary(level + 1)))
        return node

    def _unary(self) -> Node:
        if self._peek() in ("-", "+", "!"):
            sign = self._take()
            operand = self._nested_unary()
            return ("!", (operand,)) if sign == "!" else (sign, (0.0, operand))
        node = self._coalesced()
        if self._peek() in ("**", "^"):
            self._take()
            return ("**", (node, self._nested_unary()))
        return node

    def _nested_unary(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError(f"the formula is nested too deeply; allowed: {_MAX_DEPTH} levels")
        node = self._unary()
        self._depth -= 1
        return node

    def _coalesced(self) -> Node:
        node = self._atom()
        coalesces = self._peek() == "??"
        while self._peek() == "??":
            self._take()
            node = ("??", (node, self._atom()))
        if coalesces and self._peek() in _OPERATORS:
            # The peer's language refuses the mix, too: nobody knows which is meant.
            raise self._error("parentheses around what has ??")
        return node

    def _atom(self) -> Node:
        kind = self._tokens[self._next][0] if self._next < len(self._tokens) else ""
        if kind == "number":
            return float(self._take())
        if kind == "name":
            name = self._take()
            if self._peek() == "(":
                return self._call(name)
            return _CONSTANTS.get(name) if name in _CONSTANTS else name
        if self._peek() == "(":
            self._take()
            node = self._choice()
            self._expect(")")
            return node
        if self._peek() == "[":
            self._take()
            return ("[]", self._listed("]"))
        raise self._error("a number, a name, ( or [")

    def _call(self, name: str) -> Node:
        if name not in _FUNCTIONS:
            raise ValueError(f"the formula calls {name!r}; allowed: {', '.join(_FUNCTIONS)}")
        self._expect("(")
        if name in _TESTS:
            tested = self._choice()
            self._expect(",")
            self._expect("{")
            test = self._choice()
            self._expect("}")
            self._expect(")")
            return (name, (tested, test))
        operands = self._listed(")")
        if not operands or (name in _OF_ONE and len(operands) > 1):
            raise ValueError(f"the formula gives {name} {len(operands)} values")
        return (name, operands)

    def _listed(self, end: str) -> tuple[Node, ...]:
        nodes: list[Node] = []
        while self._peek() != end:
            if nodes:
                self._expect(",")
            nodes.append(self._choice())
        self._take()
        return tuple(nodes)

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


def _split(text: str) -> list[tuple[str, str, int]]:
    """Return (kind, text, position) of each token."""
    tokens, end = [], 0
    stripped = text.rstrip()
    while end < len(stripped):
        match = _TOKEN.match(stripped, end)
        if match is None:
            raise ValueError(f"the formula {text!r} cannot be read at position {end + 1}")
        kind = match.lastgroup or ""
        word = match.group(kind)
        sign = _WORDS.get(word)
        tokens.append(("sign", sign, match.start(kind)) if sign else (kind, word, match.start(kind)))
        end = match.end()
    return tokens
