"""Crane and KRR: bounded by what was used, free of order, and the same after a restart."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from autoscaler.model.readings import PodSample, PodSamples, Reading, Signal, SignalKind
from autoscaler.model.resources import Resources
from autoscaler.model.units import MIB
from autoscaler.recommend.crane import CraneMemory, CraneParams, CraneRecommender
from autoscaler.recommend.krr import KrrMemory, KrrParams, KrrRecommender
from tests.unit.recommend.vpa_views import KEY, NOW, pods, spec, view

NAMES = ("web-0", "web-1", "web-2")
uses = st.lists(
    st.tuples(
        st.lists(st.integers(0, 8000), min_size=3, max_size=3), st.lists(st.integers(1, 4000), min_size=3, max_size=3)
    ),
    min_size=4,
    max_size=10,
)
CASES = [
    pytest.param(
        KrrRecommender(),
        KrrParams(points_required=1, span_required_seconds=0, run_seconds=1, step_seconds=60),
        KrrMemory(),
        id="krr",
    ),
    pytest.param(CraneRecommender(), CraneParams(run_seconds=1), CraneMemory(), id="crane"),
]


def readings(cpu: list[int], mebibytes: list[int], at: float, *, backwards: bool) -> dict[Signal, Reading]:
    kinds = {SignalKind.POD_CPU: cpu, SignalKind.POD_MEMORY: [value * MIB for value in mebibytes]}
    found: dict[Signal, Reading] = {}
    for kind, values in kinds.items():
        samples = [PodSample(name, value, at, 30.0, "app") for name, value in zip(NAMES, values, strict=True)]
        found[Signal(KEY, kind)] = PodSamples(tuple(samples[::-1] if backwards else samples))
    return found


def played(engine: Any, params: Any, memory: Any, used: Any, *, backwards: bool = False) -> Resources:
    advice = None
    for turn, (cpu, mebibytes) in enumerate(used):
        at = NOW + 60.0 * turn
        shown = view(spec(), readings(cpu, mebibytes, at, backwards=backwards), pods(3), at=at)
        advice, memory = engine.recommend(shown, params, memory)
        memory = msgspec.json.decode(msgspec.json.encode(memory), type=engine.Memory)
    assert advice is not None
    (size,) = advice.containers
    return Resources(size.target.amounts)


@pytest.mark.parametrize(("engine", "params", "memory"), CASES)
@settings(max_examples=25, deadline=None)
@given(used=uses)
def test_sizes_are_between_nothing_and_the_peak_with_its_margin(
    engine: Any, params: Any, memory: Any, used: list[tuple[list[int], list[int]]]
) -> None:
    target = played(engine, params, memory, used)
    cpu, size = max(max(cpu) for cpu, _ in used), max(max(size) for _, size in used) * MIB
    # A bucket of Crane's is 100 millicores or 100 MiB wide, a step of KRR's 1 %.
    assert 0 < target.cpu <= max(10, (max(cpu, 1) * 1.011 + 101) * 1.15 + 1)
    assert 0 < target.memory <= max(100 * MIB, (size + 101 * MIB) * 1.15 + MIB)


@pytest.mark.parametrize(("engine", "params", "memory"), CASES)
@settings(max_examples=15, deadline=None)
@given(used=uses)
def test_the_order_of_pods_does_not_matter(
    engine: Any, params: Any, memory: Any, used: list[tuple[list[int], list[int]]]
) -> None:
    assert played(engine, params, memory, used) == played(engine, params, memory, used, backwards=True)
