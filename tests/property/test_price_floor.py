"""Whatever is asked for and on offer: no purchase is cheaper than its floor, and the floor is a number or infinite."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.planning.price_floor import PriceFloor
from autoscaler.planning.scale_up import buy_for
from autoscaler.testing.builders import NOW, make_group, make_shape

GIB = 1 << 30
cores, gib, prices = st.integers(0, 40), st.integers(0, 64), st.one_of(st.just(0.0), st.floats(0.001, 5))
amounts = st.one_of(st.integers(0, 50_000), st.sampled_from([1 << 53, 10**20, 10**30]))
money = st.sampled_from([0.0, 0.1, 1.0, 1e9, -1.0, 1e300, math.nan, math.inf])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(cores, gib, prices), min_size=1, max_size=4),
    st.lists(st.tuples(cores, gib, st.integers(0, 30)), max_size=4),
)
def test_no_purchase_is_cheaper(offers: list[tuple[int, int, float]], asked: list[tuple[int, int, int]]) -> None:
    groups = [
        make_group(f"g{number}", cpu=cpu * 1000, memory=memory * GIB, usd_per_hour=usd, max_size=50)
        for number, (cpu, memory, usd) in enumerate(offers)
    ]
    demand = [
        (make_shape(f"s{number}", cpu=cpu * 200, memory=memory * GIB // 4), count)
        for number, (cpu, memory, count) in enumerate(asked)
    ]
    bought = buy_for(groups, now=NOW)(demand)
    assert bought is None or PriceFloor(groups).of(demand) <= bought[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(amounts, amounts, money), max_size=3), st.lists(st.tuples(amounts, amounts, st.integers())))
def test_any_numbers(offers: list[tuple[int, int, float]], asked: list[tuple[int, int, int]]) -> None:
    groups = [
        make_group(f"g{number}", cpu=cpu, memory=memory, usd_per_hour=usd)
        for number, (cpu, memory, usd) in enumerate(offers)
    ]
    demand = [(make_shape(cpu=cpu, memory=memory), count) for cpu, memory, count in asked]
    floor = PriceFloor(groups)
    assert floor.of(demand) >= 0
    assert floor.of([*demand, (make_shape(cpu=100), 1)]) >= floor.of(demand)
