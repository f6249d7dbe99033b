from __future__ import annotations

from typing import Any

import pytest

from autoscaler.interfaces import Recommender
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import SignalKind
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.units import MIB
from autoscaler.recommend.mpa import HpaVpaRecommender, MpaMemory, MpaParams, MpaRecommender, scaling_resources
from tests.unit.recommend.vpa_views import NOW, pods, spec, used, view

PARAMS = MpaParams()
BOUNDS = {"minReplicas": 1, "maxReplicas": 50}


def on(name: str, percent: int = 50) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def advise(
    engine: HpaVpaRecommender, rules: MpaSpec, *, cpu: int | None = 500, memory: int | None = 300
) -> Recommendation:
    seen = pods(4)
    readings = used(NOW, seen, cpu=cpu, memory=None if memory is None else memory * MIB)
    return engine.recommend(view(rules, readings, seen), PARAMS, MpaMemory())[0]


@pytest.mark.parametrize("engine", [HpaVpaRecommender(), MpaRecommender()])
def test_they_are_recommenders(engine: HpaVpaRecommender) -> None:
    assert isinstance(engine, Recommender)
    workload = view(spec(), {}, pods(1)).workload
    kinds = {signal.kind for signal in engine.signals(workload, spec(), PARAMS)}
    assert kinds == {SignalKind.POD_CPU, SignalKind.POD_MEMORY}


@pytest.mark.parametrize("engine", [HpaVpaRecommender(), MpaRecommender()])
def test_replicas_by_cpu_and_requests_by_memory(engine: HpaVpaRecommender) -> None:
    found = advise(engine, spec(engine.name, [on("cpu")], **{"global": BOUNDS}))
    assert found.engine == engine.name
    assert found.replicas == 8
    assert [size.target.names() for size in found.containers] == [("memory",)]
    assert not found.held
    kinds = [condition.type for condition in found.conditions]
    assert kinds[0] == "RecommendationProvided"
    assert "ScalingActive" in kinds


def test_mpa_takes_cpu_alone_to_scale_on() -> None:
    rules = spec("mpa", [on("memory", 1), on("cpu")], containerControlledResources=["cpu"], **{"global": BOUNDS})
    found = advise(MpaRecommender(), rules)
    assert found.replicas == 8
    assert found.containers[0].target.names() == ("memory",)


@pytest.mark.parametrize(
    ("metrics", "controlled", "sized"),
    [
        pytest.param([], None, ("memory",), id="memory-by-default"),
        pytest.param([on("memory")], None, (), id="not-what-a-metric-scales-on"),
        pytest.param([on("memory")], ["cpu", "memory"], ("cpu",), id="what-no-metric-scales-on"),
        pytest.param([], ["cpu", "memory"], ("memory",), id="the-default-metric-is-cpu"),
    ],
)
def test_what_is_sized(metrics: list[Any], controlled: list[str] | None, sized: tuple[str, ...]) -> None:
    rules = spec("hpa+vpa", metrics, **({} if controlled is None else {"containerControlledResources": controlled}))
    found = advise(HpaVpaRecommender(), rules)
    assert [size.target.names() for size in found.containers] == ([sized] if sized else [])
    assert found.reasons


def test_missing_memory_does_not_hold_replicas_but_shrinks_nothing() -> None:
    engine, rules = HpaVpaRecommender(), spec("hpa+vpa", [on("cpu")], **{"global": BOUNDS})
    seen = pods(4)
    _, memory = engine.recommend(view(rules, used(NOW, seen), seen), PARAMS, MpaMemory())
    at = NOW + 15.0
    readings = used(at, seen, cpu=500, memory=None)
    found, _ = engine.recommend(view(rules, readings, seen, at=at), PARAMS, memory)
    assert found.replicas == 8
    assert not found.held
    assert found.containers == ()


def test_missing_cpu_holds() -> None:
    found = advise(HpaVpaRecommender(), spec("hpa+vpa", [on("cpu")], **{"global": BOUNDS}), cpu=None)
    assert found.held
    assert found.replicas == 4


def test_which_resources_are_scaled_on() -> None:
    assert scaling_resources(spec()) == {"cpu"}
    assert scaling_resources(spec(metrics=[on("memory")])) == {"memory"}
