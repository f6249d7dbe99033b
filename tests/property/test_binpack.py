"""Properties of packing: exact, bounded, deterministic, order-free, and honest about bad numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoscaler.scheduling.binpack import Packing, PackInput, pack

AMOUNTS = st.one_of(st.integers(0, 20), st.sampled_from([0, 1, 1 << 40, 1 << 52, (1 << 62)]))
CAPACITIES = st.one_of(st.integers(-2, 40), st.sampled_from([0, 1 << 41, 1 << 53, (1 << 62)]))


@st.composite
def instances(draw: st.DrawFn, *, most_pods: int = 40) -> PackInput:
    classes, offers, resources = draw(st.integers(0, 5)), draw(st.integers(0, 5)), draw(st.integers(1, 3))
    prices = st.one_of(st.just(0.0), st.floats(0.01, 10.0))
    return PackInput(
        requests=draw(arrays(np.int64, (classes, resources), elements=AMOUNTS)),
        counts=draw(arrays(np.int64, classes, elements=st.integers(0, most_pods))),
        capacity=draw(arrays(np.int64, (offers, resources), elements=CAPACITIES)),
        usd_per_hour=draw(arrays(np.float64, offers, elements=prices)),
        room=draw(arrays(np.float64, offers, elements=st.sampled_from([0.0, 0.5, 1.0, 3.0, 100.0, np.inf]))),
        compatible=draw(arrays(np.bool_, (classes, offers))),
        max_per_node=draw(arrays(np.int64, classes, elements=st.sampled_from([0, 0, 1, 2]))),
    )


def assert_exact(instance: PackInput, packing: Packing) -> None:
    """Every pod is on one node that may hold it, or told of; no node, limit or room is exceeded."""
    counted = [0] * len(instance.counts)
    nodes = [0] * len(instance.usd_per_hour)
    requests, capacity = instance.requests.tolist(), instance.capacity.tolist()
    for pattern in packing.patterns:
        assert pattern.repeat > 0
        nodes[pattern.offer] += pattern.repeat
        used = [0] * len(capacity[pattern.offer])
        for row, count in pattern.pods:
            assert count > 0
            assert instance.compatible[row, pattern.offer]
            assert instance.max_per_node[row] in (0, *range(count, 1000))
            counted[row] += count * pattern.repeat
            used = [held + count * amount for held, amount in zip(used, requests[row], strict=True)]
        assert all(held <= max(room, 0) for held, room in zip(used, capacity[pattern.offer], strict=True))
    for each in packing.unplaced:
        assert each.count > 0
        counted[each.class_] += each.count
    assert counted == instance.counts.tolist()
    assert all(count <= room for count, room in zip(nodes, instance.room.tolist(), strict=True))
    cost = sum(price * count for price, count in zip(instance.usd_per_hour.tolist(), nodes, strict=True))
    assert abs(packing.usd_per_hour - cost) <= 1e-9 * max(1.0, cost)
    assert 0.0 <= packing.bound <= packing.usd_per_hour


@settings(max_examples=120, deadline=None)
@given(instances())
def test_packing_is_exact_without_the_solver(instance: PackInput) -> None:
    packing = pack(instance, rounds=0)
    assert_exact(instance, packing)
    assert packing == pack(instance, rounds=0)


@settings(max_examples=60, deadline=None)
@given(instances(most_pods=3000))
def test_packing_is_exact_with_the_solver(instance: PackInput) -> None:
    assert_exact(instance, pack(instance, rounds=3))


@settings(max_examples=40, deadline=None)
@given(instances(most_pods=200), st.randoms(use_true_random=False))
def test_the_order_of_classes_and_offers_does_not_matter(instance: PackInput, random: object) -> None:
    rows = list(range(len(instance.counts)))
    columns = list(range(len(instance.usd_per_hour)))
    random.shuffle(rows)  # type: ignore[attr-defined]
    random.shuffle(columns)  # type: ignore[attr-defined]
    shuffled = PackInput(
        requests=instance.requests[rows],
        counts=instance.counts[rows],
        capacity=instance.capacity[columns],
        usd_per_hour=instance.usd_per_hour[columns],
        room=instance.room[columns],
        compatible=instance.compatible[np.ix_(rows, columns)],
        max_per_node=instance.max_per_node[rows],
    )
    one, other = pack(instance, rounds=2), pack(shuffled, rounds=2)
    assert abs(one.usd_per_hour - other.usd_per_hour) <= 1e-9 * max(1.0, one.usd_per_hour)
    assert sum(each.count for each in one.unplaced) == sum(each.count for each in other.unplaced)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 4)), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(4, 12), st.integers(4, 12), st.floats(0.5, 4.0)), min_size=1, max_size=3),
)
def test_the_bound_holds_for_the_best_plan(
    pods: list[tuple[int, int, int]], offers: list[tuple[int, int, float]]
) -> None:
    """No plan of single-class nodes, nor the trivial one of a node a pod, is below the bound."""
    instance = PackInput(
        requests=np.array([pod[:2] for pod in pods], dtype=np.int64),
        counts=np.array([pod[2] for pod in pods], dtype=np.int64),
        capacity=np.array([offer[:2] for offer in offers], dtype=np.int64),
        usd_per_hour=np.array([offer[2] for offer in offers]),
        room=np.full(len(offers), np.inf),
        compatible=np.ones((len(pods), len(offers)), dtype=bool),
        max_per_node=np.zeros(len(pods), dtype=np.int64),
    )
    best = _best_by_search(pods, offers)
    for rounds in (0, 3):
        packing = pack(instance, rounds=rounds)
        if not packing.unplaced:
            assert packing.bound <= best * (1 + 1e-9)
            assert packing.usd_per_hour >= best * (1 - 1e-9)


def _best_by_search(pods: list[tuple[int, int, int]], offers: list[tuple[int, int, float]]) -> float:
    """Return the least cost over all plans, by dynamic programming over what is left of each class."""
    fits = []
    for cpu, memory, price in offers:
        contents: list[tuple[int, ...]] = [()]
        for _, _, count in pods:
            contents = [(*content, more) for content in contents for more in range(count + 1)]
        fits += [
            (content, price)
            for content in contents
            if any(content)
            and sum(n * pod[0] for n, pod in zip(content, pods, strict=True)) <= cpu
            and sum(n * pod[1] for n, pod in zip(content, pods, strict=True)) <= memory
        ]
    best = {(0,) * len(pods): 0.0}
    states: list[tuple[int, ...]] = [()]
    for _, _, count in pods:
        states = [(*state, more) for state in states for more in range(count + 1)]
    for state in states:
        found = [
            best[tuple(max(0, left - n) for left, n in zip(state, content, strict=True))] + price
            for content, price in fits
            if any(left and n for left, n in zip(state, content, strict=True))
        ]
        if any(state):
            best[state] = min(found, default=float("inf"))
    return best[tuple(pod[2] for pod in pods)]


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, (2, 2), elements=st.floats(allow_nan=True, allow_infinity=True)),
    arrays(np.float64, 2, elements=st.floats(allow_nan=True, allow_infinity=True)),
    arrays(np.float64, (2, 2), elements=st.floats(allow_nan=True, allow_infinity=True)),
)
def test_bad_numbers_raise_nothing_but_value_error(
    requests: np.ndarray, prices: np.ndarray, capacity: np.ndarray
) -> None:
    instance = PackInput(
        requests=requests,
        counts=np.array([1, 70]),
        capacity=capacity,
        usd_per_hour=prices,
        room=np.abs(prices),
        compatible=np.ones((2, 2), dtype=bool),
        max_per_node=np.zeros(2, dtype=np.int64),
    )
    try:
        packing = pack(instance)
    except ValueError:
        return
    assert packing.usd_per_hour >= packing.bound >= 0.0
