from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.simulator.demand import share_cores, waiting

amounts = st.floats(0, 1e6, allow_nan=False)
pods = st.lists(st.tuples(amounts, st.floats(0.002, 1e4), st.integers(0, 4)), min_size=1, max_size=20)
nodes = st.lists(st.floats(0, 1e5), min_size=5, max_size=5)


@settings(max_examples=150, deadline=None)
@given(pods, nodes)
def test_shares_are_bounded_and_leave_nothing_that_is_wanted(
    given_pods: list[tuple[float, float, int]], capacity: list[float]
) -> None:
    wanted, weights = np.array([pod[0] for pod in given_pods]), np.array([pod[1] for pod in given_pods])
    node, cores = np.array([pod[2] for pod in given_pods], np.intp), np.array(capacity)
    got = share_cores(wanted, weights, node, cores)
    assert (got >= 0).all()
    assert (got <= wanted * (1 + 1e-9) + 1e-9).all()
    for row in range(5):
        here = node == row
        expected = min(float(wanted[here].sum()), float(cores[row]))
        assert got[here].sum() == pytest.approx(expected, rel=1e-6, abs=1e-6)
        # Max-min: nobody who got less than wanted has less per weight than another one has.
        level = got[here] / weights[here]
        short = got[here] < wanted[here] * (1 - 1e-9) - 1e-9
        if short.any():
            assert level.max() <= level[short].min() * (1 + 1e-6) + 1e-9


@settings(max_examples=100, deadline=None)
@given(pods, nodes)
def test_shares_do_not_depend_on_the_order_of_pods(
    given_pods: list[tuple[float, float, int]], capacity: list[float]
) -> None:
    order = np.argsort([hash((pod, place)) % 97 for place, pod in enumerate(given_pods)])
    columns = [np.array([pod[place] for pod in given_pods]) for place in range(3)]
    cores = np.array(capacity)
    straight = share_cores(columns[0], columns[1], columns[2].astype(np.intp), cores)
    shuffled = share_cores(columns[0][order], columns[1][order], columns[2][order].astype(np.intp), cores)
    assert shuffled == pytest.approx(straight[order], rel=1e-6, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 1e4), st.floats(0, 10), st.floats(0, 10))
def test_waiting_is_finite_and_grows_with_load(servers: float, one: float, other: float) -> None:
    low, high = waiting(np.array([servers, servers]), np.array(sorted((one, other))))
    assert 0 <= low <= high
    assert np.isfinite(high)
