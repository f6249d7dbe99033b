"""
Checks the PromQL that users write, before a server is asked.

The grammar and the types are Prometheus' own, by promql-parser; what other
back ends add to the language (MetricsQL) is refused.
"""

from __future__ import annotations

from typing import Any

MOST_CHARACTERS = 4096
MOST_NESTED = 100
"""The parser is recursive: text of thousands of brackets would end the process."""
PROMQL_FORM = "PromQL that gives one number for each moment"


def check_promql(query: str) -> str | None:
    """
    Say what is wrong with *query*, None where nothing is.

    >>> check_promql('sum(rate(http_requests_total[2m]))')
    >>> check_promql("sum(rate(http_requests_total))")
    "expected type matrix in call to function 'rate', got vector"
    """
    # Imported here: most commands see no query.
    import promql_parser

    if len(query) > MOST_CHARACTERS:
        return f"longer than {MOST_CHARACTERS} characters"
    if _nested(query) > MOST_NESTED:
        return f"nested more than {MOST_NESTED} deep"
    try:
        tree = promql_parser.parse(query)
    except ValueError as cause:
        return str(cause)
    if _holds(tree, (promql_parser.MatrixSelector, promql_parser.SubqueryExpr)):
        return "it gives a range of values: put a function such as rate() around it"
    if _holds(tree, promql_parser.StringLiteral):
        return "it gives text"
    return None


def _nested(query: str) -> int:
    """Return how deep brackets are nested, those in text counted too, and signs in a row."""
    deepest = depth = signs = 0
    for sign in query:
        depth += (sign in "([{") - (sign in ")]}")
        signs = signs + 1 if sign in "+-" else 0 if not sign.isspace() else signs
        deepest = max(deepest, depth, signs)
    return deepest


def _holds(tree: Any, kinds: Any) -> bool:
    """Tell whether the outermost expression is of one of *kinds*; brackets change nothing."""
    while type(tree).__name__ == "ParenExpr":
        tree = tree.expr
    return isinstance(tree, kinds)
