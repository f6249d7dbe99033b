"""Packing: nothing is overfilled, small purchases are near the best, the bound is a bound."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import linprog  # type: ignore[import-untyped]

from autoscaler.scheduling.binpack import Packing, PackInput, pack
from tests.bench.instances import packing_instance

GIB = 1 << 30


def instance(
    pods: list[tuple[int, int, int]],
    offers: list[tuple[int, int, float]],
    *,
    room: list[float] | None = None,
    compatible: list[list[bool]] | None = None,
    limit: list[int] | None = None,
) -> PackInput:
    """Build from (millicores, GiB, count) and (millicores, GiB, USD an hour); 110 pods a node."""
    return PackInput(
        requests=np.array([[cpu, gib * GIB, 1] for cpu, gib, _ in pods], dtype=np.int64).reshape(-1, 3),
        counts=np.array([count for _, _, count in pods], dtype=np.int64),
        capacity=np.array([[cpu, gib * GIB, 110] for cpu, gib, _ in offers], dtype=np.int64).reshape(-1, 3),
        usd_per_hour=np.array([usd for _, _, usd in offers], dtype=np.float64),
        room=np.array(room or [np.inf] * len(offers), dtype=np.float64),
        compatible=np.array(compatible or [[True] * len(offers)] * len(pods), dtype=bool).reshape(
            len(pods), len(offers)
        ),
        max_per_node=np.array(limit or [0] * len(pods), dtype=np.int64),
    )


def bought(packing: Packing) -> dict[int, int]:
    nodes: dict[int, int] = {}
    for pattern in packing.patterns:
        nodes[pattern.offer] = nodes.get(pattern.offer, 0) + pattern.repeat
    return nodes


SMALL, MEDIUM, LARGE = (2000, 8, 0.10), (4000, 16, 0.20), (8000, 32, 0.40)


@pytest.mark.parametrize(
    ("pods", "offers", "nodes", "usd"),
    [
        pytest.param(
            [(500, 1, 1)], [SMALL, MEDIUM, LARGE], {0: 1}, 0.10, id="one-pod-takes-the-cheapest-that-holds-it"
        ),
        pytest.param([(3000, 1, 1)], [SMALL, MEDIUM, LARGE], {1: 1}, 0.20, id="a-node-too-small-is-passed-over"),
        pytest.param([(1000, 1, 8)], [SMALL, (8000, 32, 0.39)], {1: 1}, 0.39, id="one-large-node-where-it-is-cheaper"),
        pytest.param([(1000, 1, 8)], [SMALL, (8000, 32, 0.41)], {0: 4}, 0.40, id="small-nodes-where-they-are-cheaper"),
        pytest.param([(1000, 1, 9)], [SMALL, (8000, 32, 0.38)], {0: 1, 1: 1}, 0.48, id="a-small-node-for-the-rest"),
        pytest.param(
            [(1900, 1, 2), (100, 7, 2)], [SMALL, (2000, 8, 0.30)], {0: 2}, 0.20, id="cpu-heavy-and-memory-heavy-share"
        ),
        pytest.param([(1000, 1, 3)], [SMALL, MEDIUM, (3000, 12, 0.15)], {2: 1}, 0.15, id="the-right-size-exists"),
        pytest.param([(100, 1, 4)], [(2000, 8, 0.0), (8000, 32, 0.0)], {0: 1}, 0.0, id="free-offers-are-not-wasted"),
    ],
)
def test_small_purchases(
    pods: list[tuple[int, int, int]], offers: list[tuple[int, int, float]], nodes: dict[int, int], usd: float
) -> None:
    packing = pack(instance(pods, offers))
    assert bought(packing) == nodes
    assert packing.usd_per_hour == pytest.approx(usd)
    assert packing.bound <= packing.usd_per_hour
    assert not packing.unplaced


def test_pods_of_a_class_with_a_limit_are_spread() -> None:
    packing = pack(instance([(100, 1, 6)], [SMALL, LARGE], limit=[2]))
    assert bought(packing) == {0: 3}
    assert all(pattern.pods == ((0, 2),) for pattern in packing.patterns)
    assert packing.gap < 1e-6


@pytest.mark.parametrize("rounds", [0, 5])
def test_a_limit_holds_beside_other_classes(rounds: int) -> None:
    given = instance([(100, 1, 30), (500, 1, 60)], [SMALL, LARGE], limit=[1, 0])
    packing = pack(given, rounds=rounds)
    assert all(count <= 1 for pattern in packing.patterns for row, count in pattern.pods if row == 0)
    assert packing.bound >= 3.0 - 1e-6
    assert not packing.unplaced


@pytest.mark.parametrize("rounds", [0, 5])
def test_room_is_kept_and_the_rest_is_told(rounds: int) -> None:
    packing = pack(instance([(1000, 1, 100)], [SMALL, MEDIUM], room=[3.0, 2.0]), rounds=rounds)
    assert bought(packing) == {0: 3, 1: 2}
    assert [(each.count, each.reason) for each in packing.unplaced] == [(86, "no-room-left")]
    assert packing.bound <= packing.usd_per_hour


def test_room_taken_by_the_cheap_leaves_the_dear() -> None:
    packing = pack(instance([(1000, 1, 100)], [(2000, 8, 0.05), MEDIUM], room=[10.0, np.inf]), rounds=5)
    assert bought(packing) == {0: 10, 1: 20}
    assert packing.gap < 1e-3


def test_masks_are_kept() -> None:
    given = instance(
        [(1000, 1, 4), (1000, 1, 4)], [(4000, 16, 0.10), (4000, 16, 0.30)], compatible=[[True, True], [False, True]]
    )
    packing = pack(given)
    assert bought(packing) == {0: 1, 1: 1}


def test_a_class_that_fits_on_nothing_stops_nobody() -> None:
    packing = pack(instance([(64000, 1, 2), (500, 1, 1)], [SMALL]))
    assert [(each.class_, each.count, each.reason) for each in packing.unplaced] == [(0, 2, "no-offer-fits")]
    assert bought(packing) == {0: 1}


@pytest.mark.parametrize(
    ("pods", "offers"),
    [
        pytest.param([], [SMALL], id="no-pods"),
        pytest.param([(100, 1, 0)], [SMALL], id="classes-without-pods"),
        pytest.param([(100, 1, 1)], [], id="no-offers"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_nothing_to_do(pods: list[tuple[int, int, int]], offers: list[tuple[int, int, float]]) -> None:
    packing = pack(instance(pods, offers))
    assert packing.patterns == ()
    assert packing.usd_per_hour == packing.bound == packing.gap == 0.0


def test_equal_classes_keep_their_own_pods() -> None:
    packing = pack(instance([(1000, 1, 3), (1000, 1, 5)], [SMALL]))
    totals = {0: 0, 1: 0}
    for pattern in packing.patterns:
        for row, count in pattern.pods:
            totals[row] += count * pattern.repeat
    assert totals == {0: 3, 1: 5}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("requests", np.array([[np.nan, 1.0, 1.0]]), id="not-a-number"),
        pytest.param("requests", np.array([[-1.0, 1.0, 1.0]]), id="negative-request"),
        pytest.param("counts", np.array([-1]), id="negative-count"),
        pytest.param("usd_per_hour", np.array([np.inf]), id="infinite-price"),
        pytest.param("usd_per_hour", np.array([-0.1]), id="negative-price"),
        pytest.param("room", np.array([np.nan]), id="room-not-a-number"),
        pytest.param("compatible", np.array([[True, False]]), id="wrong-shape"),
        pytest.param("counts", np.array([1 << 41]), id="more-pods-than-can-be"),
    ],
)
def test_bad_input_is_refused(field: str, value: np.ndarray) -> None:
    good = instance([(100, 1, 1)], [SMALL])
    fields = {name: getattr(good, name) for name in PackInput.__struct_fields__}
    with pytest.raises(ValueError, match=field):
        pack(PackInput(**{**fields, field: value}))


def test_the_bound_is_the_value_of_the_relaxation() -> None:
    """The certified bound meets the linear program handed whole to another solver, on large counts."""
    given = packing_instance(pods=20_000, classes=25, seed=5, gpu_share=0.0)
    fits = given.compatible & (given.requests[:, None, :] <= given.capacity[None]).all(axis=2)
    classes, offers = (axis.tolist() for axis in np.nonzero(fits))
    types, resources = given.capacity.shape
    upper = np.zeros((types * resources, len(classes) + types))
    equal = np.zeros((len(given.counts), len(classes) + types))
    for column, (row, offer) in enumerate(zip(classes, offers, strict=True)):
        upper[offer * resources : (offer + 1) * resources, column] = given.requests[row] / given.capacity.max(axis=0)
        equal[row, column] = 1.0
    for offer in range(types):
        rows = slice(offer * resources, (offer + 1) * resources)
        upper[rows, len(classes) + offer] = -given.capacity[offer] / given.capacity.max(axis=0)
    costs = np.concatenate([np.zeros(len(classes)), given.usd_per_hour])
    keep = upper.any(axis=1)
    reference = linprog(costs, A_ub=upper[keep], b_ub=np.zeros(keep.sum()), A_eq=equal, b_eq=given.counts)
    packing = pack(given, rounds=2)
    assert packing.bound >= reference.fun * 0.999
    assert packing.usd_per_hour >= packing.bound


def test_standard_output_stays_clean_and_few_pods_load_no_solver() -> None:
    code = (
        "import sys; from tests.unit.scheduling.test_binpack import instance, SMALL, LARGE, pack\n"
        "pack(instance([(500, 1, 20)], [SMALL, LARGE])); assert 'highspy' not in sys.modules\n"
        "pack(instance([(500, 1, 2000)], [SMALL, LARGE])); assert 'highspy' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
