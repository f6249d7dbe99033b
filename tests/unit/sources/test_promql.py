from __future__ import annotations

import pytest

from autoscaler.sources.promql import Question, fixed_queries, unbalanced, union
from autoscaler.sources.settings import PrometheusSettings


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("sum(rate(a[5m]))", id="nested"),
        pytest.param('a{b=")"}', id="a-bracket-in-a-text"),
        pytest.param('a{b="\\")"}', id="an-escaped-quote"),
        pytest.param("a{b=`\\`}", id="a-raw-text-has-no-escapes"),
        pytest.param("a{b='\\'}) or (c{d='}", id="a-text-that-seems-to-end"),
        pytest.param("a # )", id="a-comment"),
        pytest.param("a # (\n + (b)", id="a-comment-ends-with-its-line"),
    ],
)
def test_a_balanced_query_may_travel(query: str) -> None:
    assert unbalanced(query) is None


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("a) or (b", id="closes-what-it-did-not-open"),
        pytest.param("sum(a", id="open"),
        pytest.param("a[5m)", id="crossed"),
        pytest.param('a{b="', id="an-open-text"),
        pytest.param("a # (\n)", id="opened-in-a-comment"),
    ],
)
def test_a_query_that_could_break_out_may_not(query: str) -> None:
    assert unbalanced(query)


def test_a_union_of_many_is_not_deep() -> None:
    text = union(["up"] * 1000)
    depth = deepest = 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        deepest = max(deepest, depth)
    assert deepest < 20
    assert text.count('"podnode_query", "999"') == 1


def test_matchers_are_in_every_selector() -> None:
    settings = PrometheusSettings(url="http://p", matchers=('cluster="shop"',), slow_seconds=0.5)
    for question, text in fixed_queries(settings).items():
        assert text.count("{") == text.count('cluster="shop"'), question


def test_an_own_query_replaces_ours_and_an_empty_one_switches_off() -> None:
    queries = fixed_queries(PrometheusSettings(url="http://p", queries={"requests": "mine", "latency": ""}))
    assert queries[Question.REQUESTS] == "mine"
    assert Question.LATENCY not in queries
