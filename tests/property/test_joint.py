"""Any load, history and policy: bounded, monotone in the load, and no smaller on missing data."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.bounds import MAX_REPLICAS
from autoscaler.model.readings import Missing, MissingReason, Sample, Signal, SignalKind
from autoscaler.model.snapshot import DemandModel, SeasonalModel, ShapeOption, WorkloadModel
from autoscaler.model.units import MIB
from autoscaler.recommend.joint_view import JointMemory
from autoscaler.testing.builders import NOW
from tests.unit.recommend.joint_views import KEY, ask, later, spec, view

anything = st.floats(allow_nan=True, allow_infinity=True)
sane = st.floats(0, 1e4)
numbers = st.one_of(sane, anything)
values = st.one_of(numbers, st.just(Missing(MissingReason.STALE)), st.none())
KINDS = ("Cpu", "Ready", "MemoryPeak", "Requests", "SlowShare")
seen = st.fixed_dictionaries(dict.fromkeys(KINDS, values))
demands = st.builds(
    DemandModel,
    cores_per_request=numbers,
    idle_cores=numbers,
    base_bytes=numbers,
    bytes_per_core=numbers,
    peak_bytes=numbers,
    parallelism=numbers,
)
seasons = st.builds(
    lambda height, trusted, most: SeasonalModel(
        peak=np.full((2, 288), height, dtype="<f4").tobytes(),
        mean=np.full((2, 288), height, dtype="<f4").tobytes(),
        quantiles=((165.0, 0.95, 0.3), (255.0, 0.95, 0.5)),
        trusted=trusted,
        history_max=most,
    ),
    st.floats(0, 1e6, width=32),
    st.booleans(),
    sane,
)
shapes = st.one_of(st.none(), st.builds(ShapeOption, cpu=st.integers(0, 10**6), memory=st.just(MIB), usd_per_hour=sane))
models = st.one_of(
    st.none(),
    st.builds(WorkloadModel, workload=st.just(KEY), fitted_at=sane, demand=demands, season=seasons, shape=shapes),
)
bounds = st.tuples(st.integers(0, 30), st.integers(1, 60)).map(
    lambda pair: {"minReplicas": min(pair), "maxReplicas": max(pair)}
)


def read(given_values: dict[str, float | Missing | None]) -> dict[Signal, Sample | Missing]:
    return {
        Signal(KEY, SignalKind(kind)): value if isinstance(value, Missing) else Sample(value, NOW - 30, 60.0)
        for kind, value in given_values.items()
        if value is not None
    }


@settings(max_examples=150, deadline=None)
@given(seen, models, st.integers(0, 40), bounds)
def test_any_sight_gives_a_recommendation_within_the_bounds(
    found: dict[str, float | Missing | None], model: WorkloadModel | None, replicas: int, limits: dict[str, int]
) -> None:
    sight = view(read(found), model=model, replicas=replicas, spec=spec(constraints={"global": limits}))
    memory = JointMemory()
    for minutes in range(8):
        advice, memory = ask(later(sight, 60.0 * minutes), memory)
        if advice.replicas is not None:
            by_hand = replicas == 0 and limits["minReplicas"] > 0
            low, high = (0, 0) if by_hand else (limits["minReplicas"], limits["maxReplicas"])
            assert min(low, replicas) <= advice.replicas <= max(high, replicas)
            assert advice.replicas <= advice.forecast_replicas <= advice.headroom_replicas <= MAX_REPLICAS
        if advice.held:
            assert advice.replicas is None or advice.replicas >= min(replicas, limits["maxReplicas"])
        for size in advice.containers:
            assert all(0 < amount < 2**63 for _, amount in size.target.items())
        assert all(math.isfinite(cores) for _, cores in memory.work)


@settings(max_examples=60, deadline=None)
@given(sane, sane, models, st.integers(1, 40))
def test_more_load_never_gets_fewer_replicas(
    less: float, more: float, model: WorkloadModel | None, replicas: int
) -> None:
    low, high = sorted((less, more))
    answers = []
    for load in (low, high):
        advice, _ = ask(view(read({"Cpu": load, "Ready": float(replicas)}), model=model, replicas=replicas))
        answers.append(advice.replicas or 0)
    assert answers[0] <= answers[1]


@settings(max_examples=60, deadline=None)
@given(models, st.integers(1, 40), st.sampled_from(["Missing", "absent", "nan"]), st.integers(1, 8))
def test_nothing_shrinks_on_missing_data(model: WorkloadModel | None, replicas: int, how: str, minutes: int) -> None:
    blind: dict[str, float | Missing | None] = dict.fromkeys(KINDS)
    if how != "absent":
        blind = dict.fromkeys(KINDS, Missing(MissingReason.ABSENT) if how == "Missing" else math.nan)
    _, memory = ask(view(read({"Cpu": 0.1, "Ready": float(replicas)}), replicas=replicas))
    sight = view(read(blind), model=model, replicas=replicas)
    for minute in range(minutes):
        advice, memory = ask(later(sight, 60.0 * minute + 60), memory)
        assert advice.held
        assert advice.replicas is None or advice.replicas >= replicas
        for size in advice.containers:
            assert size.target.get("cpu", 500) >= 500
            assert size.target.get("memory", 384 * MIB) >= 384 * MIB
