"""Quantities and durations: what is printed is read back, and nothing but ValueError is raised."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.units import (
    canonical_quantity,
    format_bytes,
    format_decimal,
    format_duration,
    format_milli,
    parse_duration,
    parse_quantity,
    quantity_milli,
    quantity_value,
)

MOST = 2**63 - 1
amounts = st.integers(-MOST, MOST)
anything: st.SearchStrategy[Any] = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="0123456789.eE+-numkMGTPEi", max_size=12),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=2),
)
FEW = settings(max_examples=150, deadline=None)


@FEW
@given(amounts)
def test_what_is_printed_is_read_back(amount: int) -> None:
    assert quantity_value(format_bytes(amount)) == amount
    assert quantity_value(format_decimal(amount)) == amount


@FEW
@given(st.integers(-(MOST // 1000), MOST // 1000))
def test_thousandths_are_read_back(milli: int) -> None:
    assert quantity_milli(format_milli(milli)) == milli


@FEW
@given(anything)
def test_a_quantity_or_a_value_error(text: Any) -> None:
    try:
        value = parse_quantity(text)
    except ValueError:
        return
    assert -MOST <= value <= MOST
    assert (value * 10**9).denominator == 1


@FEW
@given(st.integers(-(10**18), 10**18), st.sampled_from(["", "m", "k", "Ki", "Mi", "Gi", "e3", "n", "u"]))
def test_the_canonical_form_has_the_same_value_and_is_its_own(digits: int, suffix: str) -> None:
    text = f"{digits}{suffix}"
    canonical = canonical_quantity(text)
    assert parse_quantity(canonical) == parse_quantity(text)
    assert canonical_quantity(canonical) == canonical


@FEW
@given(st.fractions(min_value=0, max_value=10**6))
def test_rounding_is_never_down(value: Fraction) -> None:
    text = f"{float(value):.9f}"
    assert quantity_value(text) >= parse_quantity(text)
    assert quantity_milli(text) >= parse_quantity(text) * 1000


@FEW
@given(st.one_of(anything, st.text(alphabet="0123456789.hmsdnuµ", max_size=12)))
def test_a_duration_or_a_value_error(text: Any) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert seconds >= 0


@FEW
@given(st.floats(min_value=0, max_value=10**9))
def test_a_printed_duration_is_near(seconds: float) -> None:
    # Two units are printed, so that what is left out is less than the smaller of them.
    assert abs(parse_duration(format_duration(seconds)) - seconds) <= max(1.0, seconds / 24)
