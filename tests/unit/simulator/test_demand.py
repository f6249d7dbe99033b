from __future__ import annotations

import numpy as np
import pytest

from autoscaler.simulator.demand import safe_utilisation, serve, share_cores, waiting

ONE_NODE = np.zeros(3, np.intp)


@pytest.mark.parametrize(
    ("wanted", "weights", "cores", "granted"),
    [
        pytest.param([1, 1, 1], [1, 1, 1], 4.0, [1, 1, 1], id="room-for-all"),
        pytest.param([2, 2, 2], [1, 1, 1], 3.0, [1, 1, 1], id="equal-weights-share-evenly"),
        pytest.param([0.5, 5, 5], [1, 1, 1], 4.5, [0.5, 2, 2], id="what-one-leaves-the-others-share"),
        pytest.param([9, 9, 9], [1, 2, 3], 6.0, [1, 2, 3], id="a-full-node-goes-by-weight"),
        pytest.param([0.1, 9, 9], [3, 1, 2], 3.1, [0.1, 1, 2], id="a-heavy-one-that-wants-little-gets-it"),
        pytest.param([1, 0, 1], [1, 1, 1], 1.0, [0.5, 0, 0.5], id="one-that-wants-nothing-gets-nothing"),
    ],
)
def test_share_cores(wanted: list[float], weights: list[float], cores: float, granted: list[float]) -> None:
    got = share_cores(np.array(wanted, float), np.array(weights, float), ONE_NODE, np.array([cores]))
    assert got == pytest.approx(np.array(granted))


def test_nodes_share_on_their_own() -> None:
    got = share_cores(np.array([2.0, 2, 2, 2]), np.ones(4), np.array([1, 0, 1, 1]), np.array([8.0, 3.0]))
    assert got == pytest.approx(np.array([1.0, 2, 1, 1]))


@pytest.mark.parametrize(
    ("servers", "slowdown", "utilisation"),
    [
        pytest.param(1, 3, 0.67, id="one-core"),
        pytest.param(2, 3, 0.81, id="two-cores"),
        pytest.param(4, 3, 0.90, id="four-cores"),
        pytest.param(8, 3, 0.95, id="eight-cores"),
    ],
)
def test_safe_utilisation_is_that_of_the_reference(servers: float, slowdown: float, utilisation: float) -> None:
    assert safe_utilisation(servers, slowdown) == pytest.approx(utilisation, abs=0.01)


def test_waiting_without_load_is_zero_and_stays_finite_when_full() -> None:
    got = waiting(np.array([1.0, 1.0, 1.0]), np.array([0.0, 1.0, 9.0]))
    assert got[0] == 0
    assert np.isfinite(got).all()
    assert got[1] == got[2]


def _serve(work: float, *, limit: float = np.inf, ceiling: float = 2.0, cores: float = 8.0) -> tuple[float, ...]:
    served = serve(
        np.array([work]),
        np.array([0.1]),
        ceiling=np.array([ceiling]),
        limit=np.array([limit]),
        weights=np.array([1.0]),
        node=np.array([0]),
        cores=np.array([cores]),
    )
    return tuple(float(column[0]) for column in (served.used, served.slowdown, served.dropped, served.throttled))


def test_a_pod_with_room_serves_all() -> None:
    used, slowdown, dropped, throttled = _serve(0.5)
    assert used == pytest.approx(0.6)
    assert 1 < slowdown < 1.2
    assert (dropped, throttled) == (0, 0)


@pytest.mark.parametrize(
    ("ceiling", "limit", "cores"),
    [
        pytest.param(2.0, np.inf, 8.0, id="parallelism"),
        pytest.param(8.0, 2.0, 8.0, id="limit"),
        pytest.param(8.0, np.inf, 2.0, id="node"),
    ],
)
def test_what_a_pod_cannot_serve_is_dropped(ceiling: float, limit: float, cores: float) -> None:
    used, slowdown, dropped, throttled = _serve(3.9, ceiling=ceiling, limit=limit, cores=cores)
    assert used == pytest.approx(2.0)
    assert np.isinf(slowdown)
    assert dropped == pytest.approx(1 - 1.9 / 3.9)
    assert throttled == pytest.approx(0.5 if np.isfinite(limit) else 0.0)
