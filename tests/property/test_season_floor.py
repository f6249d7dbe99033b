"""What holds for the engine hpa+season whatever was read, learned or asked for."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.model.snapshot import DemandModel, SeasonalModel, WorkloadModel
from autoscaler.recommend.season_floor import (
    LADDER,
    SeasonFloorRecommender,
    SeasonMemory,
    SeasonParams,
    matched_request,
)
from autoscaler.testing.builders import NOW
from tests.unit.recommend.joint_views import KEY, later, spec, view

FEW = settings(max_examples=60, deadline=None)
ENGINE = SeasonFloorRecommender()
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
AMOUNT = st.integers(-(10**20), 10**20)
LOW, HIGH = 2, 40
RULES = spec(
    goals={
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
            }
        ]
    },
    constraints={"global": {"minReplicas": LOW, "maxReplicas": HIGH}},
    policy={"engine": "hpa+season"},
)

PLAIN: st.SearchStrategy[Reading] = st.one_of(
    st.builds(Sample, value=ANY_FLOAT, at=ANY_FLOAT | st.just(NOW), window=ANY_FLOAT),
    st.sampled_from(MissingReason).map(Missing),
)
BY_POD: st.SearchStrategy[Reading] = st.one_of(
    st.lists(
        st.builds(
            PodSample,
            pod=st.sampled_from(["web-0", "web-1", "gone"]),
            value=AMOUNT,
            at=ANY_FLOAT | st.just(NOW),
            window=st.just(60.0),
            container=st.sampled_from(["app", ""]),
        ),
        max_size=4,
    ).map(lambda samples: PodSamples(tuple(samples))),
    st.sampled_from(MissingReason).map(Missing),
)
READINGS = st.fixed_dictionaries(
    {},
    optional={
        Signal(KEY, SignalKind.CPU): PLAIN,
        Signal(KEY, SignalKind.READY): PLAIN,
        Signal(KEY, SignalKind.REQUESTS): PLAIN,
        Signal(KEY, SignalKind.POD_CPU): BY_POD,
        Signal(KEY, SignalKind.POD_MEMORY): BY_POD,
    },
)
CORES = st.floats(0.0, 1e6) | st.just(0.0) | st.floats(width=32)


def _model(peak: float, idle: float, cost: float, trusted: bool) -> WorkloadModel:
    usual = np.full((2, 288), peak, dtype="<f4").tobytes()
    return WorkloadModel(
        workload=KEY,
        fitted_at=NOW,
        demand=DemandModel(cores_per_request=cost, idle_cores=idle),
        season=SeasonalModel(peak=usual, mean=usual, trusted=trusted, history_max=peak),
    )


MODELS = st.none() | st.builds(_model, CORES, CORES, CORES, st.booleans())


@FEW
@given(READINGS, READINGS, MODELS, st.integers(0, 60), st.integers(0, 20_000))
def test_no_reading_breaks_it_and_bounds_hold(
    first: dict[Signal, Reading], then: dict[Signal, Reading], model: WorkloadModel | None, replicas: int, cpu: int
) -> None:
    given_view = view(first, spec=RULES, model=model, replicas=replicas, cpu=cpu)
    advice, memory = ENGINE.recommend(given_view, SeasonParams(), SeasonMemory())
    assert (advice, memory) == ENGINE.recommend(given_view, SeasonParams(), SeasonMemory())
    for seen in (
        advice,
        ENGINE.recommend(later(msgspec.structs.replace(given_view, readings=then), 60.0), SeasonParams(), memory)[0],
    ):
        assert seen.reasons
        if seen.replicas is not None and replicas:
            assert LOW <= seen.replicas <= HIGH
        assert all(amount >= 0 for size in seen.containers for _, amount in size.target.items())


@FEW
@given(MODELS, st.integers(LOW, HIGH), st.integers(0, 20_000), st.sampled_from(MissingReason))
def test_nothing_shrinks_on_missing_data(
    model: WorkloadModel | None, replicas: int, cpu: int, reason: MissingReason
) -> None:
    missing: dict[Signal, Reading] = {
        Signal(KEY, kind): Missing(reason) for kind in (SignalKind.CPU, SignalKind.POD_CPU, SignalKind.POD_MEMORY)
    }
    given_view = view(missing, spec=RULES, model=model, replicas=replicas, cpu=cpu)
    advice, _ = ENGINE.recommend(given_view, SeasonParams(), SeasonMemory())
    assert advice.replicas is None or advice.replicas >= replicas
    now = given_view.workload.template.containers[0].requests
    assert all(amount >= now.get(name) for size in advice.containers for name, amount in size.target.items())


@FEW
@given(st.floats(0.01, 1e4), st.floats(0.01, 1e4), st.floats(0.01, 2.0), st.integers(1, 50))
def test_requests_rise_with_the_load_and_fall_with_the_target(
    safe: float, peak: float, target: float, pods: int
) -> None:
    params = SeasonParams(replicas_at_peak=pods)
    found = matched_request(safe, peak, target, params)
    assert found in LADDER
    assert matched_request(safe * 2, peak, target, params) >= found
    assert matched_request(safe, peak * 2, target, params) >= found
    assert matched_request(safe, peak, target * 2, params) <= found


@pytest.mark.parametrize(
    "given_params", [{"fill": 0}, {"fill": 2}, {"replicas_at_peak": 0}, {"level_seconds": 1}, {"x": 1}]
)
def test_parameters_out_of_range_are_refused(given_params: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given_params, SeasonParams)
