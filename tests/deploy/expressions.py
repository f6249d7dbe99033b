"""Which series an expression of PromQL reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import promql_parser


def series_of(expression: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name of each series that *expression* selects, and the labels it demands."""
    found: list[tuple[str, dict[str, str]]] = []

    def look(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append((str(node.name), {each.name: each.value for each in node.matchers.matchers}))
        return True

    # Grafana fills in this one.
    promql_parser.walk(promql_parser.parse(expression.replace("$__rate_interval", "5m")), look)
    yield from found


def grouped_by(expression: str) -> set[str]:
    """Return all labels that *expression* groups by."""
    found: set[str] = set()

    def look(node: Any) -> bool:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            found.update(node.modifier.labels)
        return True

    promql_parser.walk(promql_parser.parse(expression.replace("$__rate_interval", "5m")), look)
    return found
