from __future__ import annotations

import pytest

from autoscaler.policy_files import find_problems
from autoscaler.policy_files.promql import check_promql
from tests.unit.policy_files.documents import FULL_MPA


@pytest.mark.parametrize(
    "query",
    [
        'sum(rate(http_requests_total{namespace="shop", service="web"}[2m]))',
        "histogram_quantile(0.95, sum by (le) (rate(x_bucket[5m])))",
        "max_over_time(rate(x[5m])[1h:])",
        "x offset 5m + on (a) group_left y @ end()",
        "-(x)",
        "3",
        "+".join(["x"] * 2000),
    ],
)
def test_queries_of_one_number_pass(query: str) -> None:
    assert check_promql(query) is None


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("sum(", "unclosed left parenthesis"),
        ("rate(x)", "expected type matrix in call to function 'rate', got vector"),
        ("nonsense(x)", "unknown function with name 'nonsense'"),
        ("x[5m]", "it gives a range of values: put a function such as rate() around it"),
        ("((x[5m:1m]))", "it gives a range of values: put a function such as rate() around it"),
        ('"x"', "it gives text"),
        ("", "no expression found in input"),
        ("abs(" * 1000 + "x" + ")" * 1000, "longer than 4096 characters"),
        ("abs(" * 101 + "x" + ")" * 101, "nested more than 100 deep"),
        ("- " * 1000 + "x", "nested more than 100 deep"),
    ],
)
def test_what_is_wrong_is_said(query: str, problem: str) -> None:
    assert check_promql(query) == problem


@pytest.mark.parametrize(
    ("right", "path"),
    [
        ('sum(rate(http_requests_total{namespace="shop", service="web"}[2m]))', "goals.metrics[1].prometheus.query"),
        ("'histogram_quantile(0.95, x)'", "goals.slo.latency.query"),
    ],
)
def test_documents_are_checked(right: str, path: str) -> None:
    (problem,) = find_problems(FULL_MPA.replace(right, "'sum(x'"), "f.yaml")
    allowed = "PromQL that gives one number for each moment (unclosed left parenthesis)"
    assert (
        str(problem) == f"f.yaml: MultidimPodAutoscaler shop/web: spec.{path}: 'sum(x' is not valid; allowed: {allowed}"
    )
