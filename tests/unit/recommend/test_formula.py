from __future__ import annotations

import pytest

from autoscaler.recommend.formula import MAX_LENGTH, evaluate_formula, formula_names, metric_identifier

VALUES = {"requests": 3.0, "queue": 5.0, "_2xx": 1.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("max(requests, queue * 0.8)", 4.0, id="the-documented-one"),
        pytest.param("1 + 2 * 3 - 4 / 2", 5.0, id="products-before-sums"),
        pytest.param("8 / 4 / 2 - 1 - 1", -1.0, id="left-to-right"),
        pytest.param("-(requests - queue)", 2.0, id="signs"),
        pytest.param("--2", 2.0, id="two-signs"),
        pytest.param("min(queue, 2, requests)", 2.0, id="many-values"),
        pytest.param("ceil(2.1) + floor(2.9) + abs(-1)", 6.0, id="functions-of-one"),
        pytest.param(" .5e1+_2xx ", 6.0, id="numbers-and-spaces"),
    ],
)
def test_value(text: str, value: float) -> None:
    assert evaluate_formula(text, VALUES) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "the end at position 1; expected a number", id="empty"),
        pytest.param("1 +", "the end at position 4", id="unfinished"),
        pytest.param("1 2", "'2' at position 3; expected the end", id="two-values"),
        pytest.param("max(1", r"the end at position 6; expected '\)'", id="not-closed"),
        pytest.param("open(1)", "calls 'open'; allowed: min, max, ceil", id="unknown-function"),
        pytest.param("a.b", "cannot be read at position 2", id="attribute"),
        pytest.param("a[0]", "cannot be read at position 2", id="index"),
        pytest.param("2 ** 3", "'\\*' at position 4", id="power"),
        pytest.param("nothing + 1", "names 'nothing'.*those are: _2xx, queue, requests", id="unknown-name"),
        pytest.param("queue / (requests - 3)", "divides by zero", id="division-by-zero"),
        pytest.param("1e308 * 10", "finite", id="infinite"),
        pytest.param("ceil(1, 2)", "gives ceil 2 values; allowed: 1", id="too-many-values"),
        pytest.param("(" * 60 + "1" + ")" * 60, "nested too deeply; allowed: 50", id="too-deep"),
        pytest.param("1" * (MAX_LENGTH + 1), "allowed: at most 500", id="too-long"),
    ],
)
def test_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_formula(text, VALUES)


def test_names() -> None:
    assert formula_names("max(requests, queue * 0.8) + requests") == {"requests", "queue"}


@pytest.mark.parametrize(("name", "identifier"), [("http-requests.total", "http_requests_total"), ("2xx", "_2xx")])
def test_metric_names_are_spelled_as_identifiers(name: str, identifier: str) -> None:
    assert metric_identifier(name) == identifier
