"""Any workloads on any machines: prices are no debts, and a choice is never dearer than what is there."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.node import NodeGroup
from autoscaler.model.snapshot import DemandModel
from autoscaler.model.units import GIB, MIB
from autoscaler.planning.shapes import Sizing, choose_shapes
from autoscaler.testing.builders import make_group

groups = st.lists(
    st.builds(
        make_group,
        st.sampled_from(["a", "b", "c"]),
        cpu=st.integers(0, 64_000),
        memory=st.integers(0, 256).map(lambda gib: gib * GIB),
        usd_per_hour=st.floats(0, 10),
    ),
    max_size=5,
)
peaks = st.one_of(
    st.tuples(*[st.floats(0, 300)] * 4),
    st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 4),
)
numbers = st.one_of(st.floats(0, 1e10), st.floats(allow_nan=True, allow_infinity=True))
demands = st.one_of(
    st.just(DemandModel()),
    st.builds(
        DemandModel,
        idle_cores=st.one_of(st.floats(0, 1), numbers),
        base_bytes=numbers,
        bytes_per_core=numbers,
        peak_bytes=numbers,
    ),
)
sizings = st.lists(
    st.builds(
        Sizing,
        demand=demands,
        workload=st.text("abc", min_size=1, max_size=3),
        peaks=peaks,
        parallelism=st.one_of(st.floats(0.05, 16), st.just(math.nan)),
        slowdown=st.sampled_from([3.0, 4.0, 20.0]),
        memory=st.integers(0, 64_000).map(lambda mib: mib * MIB),
        cpu=st.integers(0, 20_000),
        low=st.integers(0, 5),
        high=st.sampled_from([1, 5, 2**31 - 1]),
        fixed=st.booleans(),
    ),
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(sizings, groups)
def test_prices_are_no_debts_and_choices_no_dearer(given_sizings: list[Sizing], offered: list[NodeGroup]) -> None:
    found = choose_shapes(given_sizings, offered)
    prices = found.prices
    for price in (prices.usd_per_core_hour, prices.usd_per_gib_hour, prices.usd_per_pod_hour):
        assert 0 <= price < math.inf
    wanted = {sizing.workload for sizing in given_sizings if not sizing.fixed}
    for name, shape in found.chosen:
        assert name in wanted
        assert 0 < shape.cpu <= 20_000
        assert 0 <= shape.usd_per_hour < math.inf
        assert shape.memory >= 0
    # No machine on offer gives more than it costs, at the prices found: else the programme would buy it without end.
    for group in offered:
        room = group.template.allocatable
        if group.usd_per_hour > 0 and room.cpu > 0 and room.memory > 0 and found.chosen:
            worth = (
                0.93 * (room.cpu / 1000 * prices.usd_per_core_hour + room.memory / GIB * prices.usd_per_gib_hour)
                + room.get("pods") * prices.usd_per_pod_hour
            )
            assert worth <= group.usd_per_hour * 1.0001 + 1e-6


@settings(max_examples=40, deadline=None)
@given(sizings, groups)
def test_choosing_is_deterministic_and_stable(given_sizings: list[Sizing], offered: list[NodeGroup]) -> None:
    unique = list({sizing.workload: sizing for sizing in given_sizings}.values())
    found = choose_shapes(unique, offered)
    assert choose_shapes(unique, offered[::-1]) == found
