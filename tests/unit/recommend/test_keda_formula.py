from __future__ import annotations

import pytest

from autoscaler.recommend.keda_formula import MAX_LENGTH, evaluate_modifiers, modifier_names

SEEN: dict[str, float | None] = {"one": 2.0, "two": 3.0, "three": 0.5, "gone": None}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("one + two * three", 3.5, id="products-before-sums"),
        pytest.param("(one + two) / 2", 2.5, id="the-average-of-the-documentation"),
        pytest.param("one > 2 ? one + two : 1", 1.0, id="a-choice"),
        pytest.param("one >= 2 && two > 2 ? 7 : 1", 7.0, id="and"),
        pytest.param("one > 2 || !(two < 2) ? 7 : 1", 7.0, id="or-not"),
        pytest.param("one > 2 or not (two < 2) ? 7 : 1", 7.0, id="the-same-in-words"),
        pytest.param("count([one, two, three], {# > 1}) > 1 ? 5 : 0", 5.0, id="a-count-with-a-test"),
        pytest.param("any([one, two], {# > 2.5}) ? 1 : 0", 1.0, id="any"),
        pytest.param("all([one, two], {# > 2.5}) ? 1 : 0", 0.0, id="all"),
        pytest.param("sum([one, two, three])", 5.5, id="sum-of-a-list"),
        pytest.param("avg([one, two])", 2.5, id="avg"),
        pytest.param("median([one, two, three])", 2.0, id="median"),
        pytest.param("max(one, two) - min(one, two)", 1.0, id="functions-of-several"),
        pytest.param("2 ** 3 ** 1", 8.0, id="powers"),
        pytest.param("-2 ** 2", -4.0, id="a-sign-is-looser-than-a-power"),
        pytest.param("2 ^ -1", 0.5, id="a-negative-power"),
        pytest.param("7 % 4", 3.0, id="remainder"),
        pytest.param("round(2.5) + ceil(0.1) + floor(0.9) + int(1.9) + abs(-1)", 6.0, id="functions-of-one"),
        pytest.param("gone ?? one", 2.0, id="a-failed-trigger-is-replaced"),
        pytest.param("two + (gone ?? one)", 5.0, id="in-parentheses"),
        pytest.param("gone ?? gone ?? 4", 4.0, id="one-after-the-other"),
        pytest.param("gone == nil ? 1 : 2", 1.0, id="nil-can-be-asked-for"),
        pytest.param("one > 1 ? one : gone + 1", 2.0, id="what-is-not-chosen-may-be-nil"),
        pytest.param("one > 9 && gone > 1 ? 1 : 3", 3.0, id="and-stops-early"),
        pytest.param("true ? 1 : 0", 1.0, id="constants"),
    ],
)
def test_a_formula_comes_to_a_number(text: str, number: float) -> None:
    assert evaluate_modifiers(text, SEEN) == pytest.approx(number)


def test_nil_is_an_answer() -> None:
    assert evaluate_modifiers("gone ?? gone", SEEN) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("gone + 1", "nil where a number is needed", id="no-sum-with-nil"),
        pytest.param("one > two", "false where a number is needed", id="no-truth-as-a-result"),
        pytest.param("[one]", "a list where a number is needed", id="no-list-as-a-result"),
        pytest.param("one ? 1 : 2", "no true or false", id="no-number-as-a-condition"),
        pytest.param("count(one, {# > 1})", "no list", id="no-number-to-count"),
        pytest.param("one / 0", "divides by zero", id="division-by-zero"),
        pytest.param("one % 0", "divides by zero", id="remainder-by-zero"),
        pytest.param("0 ** -1", "cannot raise", id="a-power-without-a-value"),
        pytest.param("1e300 * 1e300", "finite", id="overflow"),
        pytest.param("four", "one, three, two", id="an-unknown-name"),
        pytest.param("len([one])", "allowed: abs", id="an-unknown-function"),
        pytest.param("abs(one, two)", "2 values", id="too-many-values"),
        pytest.param("max()", "0 values", id="no-values"),
        pytest.param("max([])", "an empty list", id="an-empty-list"),
        pytest.param("gone ?? one + 1", "parentheses", id="a-mix-that-nobody-understands"),
        pytest.param("one +", "the end", id="cut-off"),
        pytest.param("one two", "expected the end", id="two-names"),
        pytest.param("(one", "expected ')'", id="an-open-parenthesis"),
        pytest.param("one $ two", "position 4", id="a-foreign-sign"),
        pytest.param("(" * 60 + "1" + ")" * 60, "nested too deeply", id="nested-parentheses"),
        pytest.param("-" * 60 + "1", "nested too deeply", id="nested-signs"),
        pytest.param("1" * (MAX_LENGTH + 1), "characters", id="too-long"),
    ],
)
def test_what_cannot_be_evaluated_says_why(text: str, problem: str) -> None:
    seen = {name: value for name, value in SEEN.items() if name != "gone" or "gone" in text}
    with pytest.raises(ValueError, match=problem.replace("(", r"\(").replace(")", r"\)")):
        evaluate_modifiers(text, seen)


def test_names_are_those_of_triggers() -> None:
    assert modifier_names("count([one, two], {# > 1}) > 1 ? (gone ?? 5) : max(three, 0)") == {
        "one",
        "two",
        "three",
        "gone",
    }
