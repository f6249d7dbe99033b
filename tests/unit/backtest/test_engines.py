import msgspec
import numpy as np
import pytest

from autoscaler.backtest.engines import ENGINES, LADDER, right_sized, settings_of, slo_class
from autoscaler.backtest.past import peak_cores
from autoscaler.backtest.scenario import load_scenario
from autoscaler.model.policy import Limits, Policies, SloClass, UpdateMode
from autoscaler.model.resources import Resources
from autoscaler.model.units import MIB
from autoscaler.simulator.spec import Service, WorldSpec

STEPS = 2880
WORLD = WorldSpec(
    services=(
        Service(
            name="web",
            requests=np.full(STEPS * 2, 1000, np.float32),
            cores_per_request=0.02,
            bytes_per_rps=1.0 * MIB,
            parallelism=2.0,
            pod_requests=Resources.of(cpu=500, memory=256 * MIB),
            pod_limits=Resources.of(memory=256 * MIB),
            replicas=10,
            min_replicas=2,
        ),
        Service(name="recorded", replica_series=np.full(STEPS * 2, 3, np.int32), replicas=3, scalable=False),
    ),
    pools=(),
    history_seconds=STEPS * 30.0,
    length_seconds=STEPS * 30.0,
)


def prepared(engine: str, **settings: float) -> tuple[WorldSpec, Policies]:
    entry = ENGINES[engine]
    return entry.prepare(WORLD, {**entry.settings, **settings})


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_every_engine_acts_on_nodes_and_leaves_recorded_workloads(engine: str) -> None:
    world, policies = prepared(engine)
    assert [policy.spec.mode for policy in policies.scaling] == [UpdateMode.AUTO]
    assert world.services[1] == WORLD.services[1]
    names = [mpa.name for mpa in policies.mpas]
    assert names == ([] if engine == "static" else ["web"])


@pytest.mark.parametrize("engine", sorted(set(ENGINES) - {"static"}))
def test_documents_keep_the_bounds_and_the_ratio_of_limits(engine: str) -> None:
    _, policies = prepared(engine)
    (mpa,) = policies.mpas
    assert mpa.spec.constraints.global_ is not None
    assert (mpa.spec.constraints.global_.min_replicas, mpa.spec.constraints.global_.max_replicas) == (2, 200)
    assert mpa.spec.constraints.container[0].limits is Limits.KEEP_RATIO
    # What follows is who decides on nodes.
    named = mpa.spec.policy.engine
    assert named is not None
    assert engine.removeprefix("cron+").startswith(named)


def test_static_stands_at_the_peak() -> None:
    world, _ = prepared("static")
    assert world.services[0].replicas == 58  # 20 cores at 70 % of half a core each


def test_a_tuned_target_is_never_above_what_the_objective_allows() -> None:
    world, policies = prepared("hpa", target=0.95, safe=0.5)
    metric = policies.mpas[0].spec.goals.metrics[0].resource
    assert metric is not None
    assert metric.target.average_utilization is not None
    assert metric.target.average_utilization < 95
    assert world.services[0].pod_requests.cpu == 2000


def test_right_sizing_gives_about_eight_replicas_at_the_peak() -> None:
    service = msgspec.structs.replace(WORLD.services[0], parallelism=8.0)
    sized = right_sized(service, WORLD)
    assert sized.pod_requests.cpu / 1000 in LADDER
    assert 5 <= peak_cores(service, WORLD) / 0.7 / (sized.pod_requests.cpu / 1000) <= 8
    assert sized.pod_requests.memory == sized.pod_limits.memory >= service.pod_requests.memory


def test_right_sizing_leaves_what_is_not_driven_by_requests() -> None:
    assert right_sized(WORLD.services[1], WORLD) is WORLD.services[1]


@pytest.mark.parametrize(
    ("slowdown", "expected"),
    [(1.5, SloClass.LATENCY_SENSITIVE), (4, SloClass.STANDARD), (50, SloClass.BATCH)],
)
def test_slo_class(slowdown: float, expected: SloClass) -> None:
    assert slo_class(slowdown) is expected


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_settings_are_different_and_begin_with_the_defaults(engine: str) -> None:
    settings = settings_of(ENGINES[engine], sweep=True, knobs={})
    assert settings[0] == ENGINES[engine].settings
    assert len({msgspec.json.encode(each) for each in settings}) == len(settings)
    assert settings_of(ENGINES[engine], sweep=False, knobs={}) == settings[:1]


def test_engines_prepare_a_real_scenario() -> None:
    world = load_scenario("tiny").world()
    for engine in ENGINES.values():
        changed, _ = engine.prepare(world, engine.settings)
        real = [service.key for service in changed.services if not service.is_placeholder]
        assert real == [service.key for service in world.services]
