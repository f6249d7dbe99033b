from __future__ import annotations

import pytest

from autoscaler.model.cron import parse_cron


@pytest.mark.parametrize(
    ("line", "field", "values"),
    [
        pytest.param("5 * * * *", "minutes", (5,), id="one"),
        pytest.param("*/20 * * * *", "minutes", (0, 20, 40), id="step"),
        pytest.param("50/5 * * * *", "minutes", (50, 55), id="step-from"),
        pytest.param("* 8-10,22 * * *", "hours", (8, 9, 10, 22), id="range-and-list"),
        pytest.param("* * * jan-MAR *", "months", (1, 2, 3), id="month-names"),
        pytest.param("* * * * mon-fri", "weekdays", (1, 2, 3, 4, 5), id="day-names"),
        pytest.param("@hourly", "minutes", (0,), id="word"),
    ],
)
def test_fields(line: str, field: str, values: tuple[int, ...]) -> None:
    assert getattr(parse_cron(line), field) == values


@pytest.mark.parametrize(
    "line",
    [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "*/0 * * * *",
        "10-5 * * * *", "a * * * *", "1,,2 * * * *", "@never", "- * * * *", "٣ * * * *", "* " * 500,
    ],
)  # fmt: skip
def test_not_a_line(line: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_cron(line)


@pytest.mark.parametrize(
    ("line", "day", "weekday", "named"),
    [
        pytest.param("0 0 13 * *", 13, 2, True, id="only-the-day-is-given"),
        pytest.param("0 0 * * fri", 13, 2, False, id="only-the-weekday-is-given"),
        pytest.param("0 0 13 * fri", 13, 2, True, id="both-given-the-day-matches"),
        pytest.param("0 0 13 * fri", 14, 5, True, id="both-given-the-weekday-matches"),
        pytest.param("0 0 13 * fri", 14, 2, False, id="both-given-neither-matches"),
        pytest.param("0 0 */2 * fri", 14, 5, True, id="a-step-restricts"),
        pytest.param("0 0 */1 * fri", 14, 2, False, id="a-step-of-one-does-not"),
        pytest.param("0 0 13,* * fri", 14, 2, False, id="a-star-in-a-list-does-not"),
    ],
)
def test_either_day_will_do_when_both_are_given(line: str, day: int, weekday: int, named: bool) -> None:
    assert parse_cron(line).names(minute=0, hour=0, day=day, month=6, weekday=weekday) is named
