from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from autoscaler.interfaces import Recommender, SeedsMemory, WorkloadView
from autoscaler.model.pod import Termination
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import PodSample, PodSamples, Reading, Signal, SignalKind
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import CPU, Resources
from autoscaler.model.units import DAY, MIB
from autoscaler.recommend.season_floor import (
    LADDER,
    SeasonFloorRecommender,
    SeasonMemory,
    SeasonParams,
    cpu_target,
    matched_request,
    pod_work,
)
from autoscaler.testing.builders import NOW
from tests.unit.recommend.joint_views import GAP, KEY, SEEN, later, model, readings, season, sidecar, spec, view

ENGINE = SeasonFloorRecommender()
FIXED: Any = {"containerControlledResources": ["memory"]}


def rules(
    percent: int | None = 80, *, parallelism: str = "2", policy: Mapping[str, Any] | None = None, **more: Any
) -> MpaSpec:
    """Return a spec that holds CPU at *percent* of the requests, with 2 to 50 replicas."""
    target = {"type": "Utilization", "averageUtilization": percent}
    queue = {
        "type": "Prometheus",
        "prometheus": {"name": "queue", "query": "q", "target": {"type": "AverageValue", "averageValue": "5"}},
    }
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}} if percent is not None else queue
    return spec(
        goals={"metrics": [metric], "slo": {"parallelism": parallelism}},
        constraints={"global": {"minReplicas": 2, "maxReplicas": 50}, **more},
        policy={"engine": "hpa+season", **(policy or {})},
    )


def used(count: int, millicores: int, memory: int = 250 * MIB) -> dict[Signal, Reading]:
    """Return what *count* pods use each, and of CPU together."""
    by_pod: dict[Signal, Reading] = {
        Signal(KEY, kind): PodSamples(
            tuple(PodSample(f"web-{number}", value, NOW - 30, 60.0, "app") for number in range(count))
        )
        for kind, value in ((SignalKind.POD_CPU, millicores), (SignalKind.POD_MEMORY, memory))
    }
    return by_pod | readings(**{**SEEN, "Cpu": count * millicores / 1000, "Ready": float(count)})


def ask(given: WorkloadView, memory: SeasonMemory | None = None, **params: Any) -> tuple[Recommendation, SeasonMemory]:
    return ENGINE.recommend(given, SeasonParams(**params), memory or SeasonMemory())


def cpu_of(advice: Recommendation) -> list[int]:
    return [size.target.get(CPU) for size in advice.containers if size.target.has(CPU)]


def test_it_is_a_recommender_that_learns_from_the_past() -> None:
    assert isinstance(ENGINE, Recommender)
    assert isinstance(ENGINE, SeedsMemory)
    kinds = {signal.kind for signal in ENGINE.signals(view().workload, rules(), SeasonParams())}
    assert kinds >= {SignalKind.POD_CPU, SignalKind.POD_MEMORY, SignalKind.CPU, SignalKind.READY, SignalKind.REQUESTS}


def test_without_a_model_it_is_an_hpa_with_a_vpa() -> None:
    advice, _ = ask(view(used(4, 500), replicas=4, spec=rules(50)))
    assert advice.replicas == 8
    assert advice.engine == "hpa+season"
    assert cpu_of(advice) == []
    assert [size.target.names() for size in advice.containers] == [("memory",)]


@pytest.mark.parametrize(
    ("season_peak", "replicas"),
    [
        pytest.param(1.0, 4, id="below-what-the-hpa-wants"),
        pytest.param(4.0, 10, id="four-cores-at-four-tenths-a-pod"),
        pytest.param(100.0, 50, id="not-above-the-maximum"),
    ],
)
def test_replicas_are_never_below_what_the_season_brings(season_peak: float, replicas: int) -> None:
    learned = model(season=season(base=1.6, peak=season_peak, at=0, history_max=100.0))
    # Load is as usual for the half hour before: the level is 1.
    given = view(used(4, 400), replicas=4, spec=rules(80, **FIXED), model=learned)
    advice, _ = ask(given)
    assert advice.replicas == replicas
    assert (Code.FORECAST_RISE in {reason.code for reason in advice.reasons}) is (replicas > 4)


def test_the_season_is_scaled_to_todays_level() -> None:
    learned = model(season=season(base=1.6, peak=3.2, at=0, history_max=100.0))
    busy = view(used(4, 800), replicas=4, spec=rules(100, **FIXED), model=learned, cpu=800)
    # Twice the usual load now, so twice the usual peak to come: 6.4 cores at 0.8 a pod.
    advice, _ = ask(busy)
    assert advice.replicas == 8


def test_a_lower_season_waits_for_the_window_of_scaling_down() -> None:
    high = view(used(4, 400), replicas=4, spec=rules(80, **FIXED), model=model(season=season(base=1.6, peak=4.0)))
    low = msgspec.structs.replace(high, model=model(season=season(base=1.6, peak=1.6)))
    _, memory = ask(high)
    held, memory = ask(later(low, 299.0), memory)
    assert held.replicas == 10
    freed, memory = ask(later(low, 301.0), memory)
    assert freed.replicas == 4
    assert len(memory.floors) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"policy": {"forecast": "Off"}}, id="the-policy-says-so"),
        pytest.param({"trusted": False}, id="it-does-not-beat-persistence"),
    ],
)
def test_a_season_that_does_not_count_raises_nothing(changes: dict[str, Any]) -> None:
    learned = model(season=season(base=1.6, peak=8.0, trusted=changes.pop("trusted", True)))
    advice, _ = ask(view(used(4, 400), replicas=4, spec=rules(**changes, **FIXED), model=learned))
    assert advice.replicas == 4


def test_a_workload_scaled_to_zero_by_hand_stays_there() -> None:
    learned = model(season=season(base=1.6, peak=8.0))
    advice, _ = ask(view(readings(Cpu=1.6), replicas=0, spec=rules(), model=learned))
    assert advice.replicas in (0, None)


@pytest.mark.parametrize(
    ("safe", "peak", "target", "fill", "at_peak", "expected"),
    [
        pytest.param(1.6, 12.0, 0.8, 0.9, 4, 1500, id="the-safe-load-binds"),
        pytest.param(1.6, 2.0, 0.8, 0.9, 4, 500, id="the-replicas-at-the-peak-bind"),
        pytest.param(1.6, 2.0, 0.8, 0.9, 2, 1000, id="fewer-larger-pods"),
        pytest.param(1.6, 0.01, 0.8, 0.9, 4, 100, id="the-smallest-step"),
        pytest.param(99.0, 999.0, 0.5, 1.0, 1, 8000, id="the-largest-step"),
        pytest.param(1.0, 9.0, 0.9, 0.9, 4, 1000, id="a-step-is-met-exactly"),
    ],
)
def test_requests_that_fit_the_objective(
    safe: float, peak: float, target: float, fill: float, at_peak: int, expected: int
) -> None:
    found = matched_request(safe, peak, target, SeasonParams(fill=fill, replicas_at_peak=at_peak))
    assert found == expected
    assert found in LADDER


def test_the_cpu_request_is_set_and_said_again_until_it_may_change() -> None:
    first = view(used(4, 300), replicas=4, spec=rules(), model=model(season=season(base=1.2, peak=8.0, at=100)))
    advice, memory = ask(first)
    # Safe are 1.62 of 2 cores: 0.9 of them at 80 % is 1.8, the peak of 8 for 4 pods would be 2.5.
    assert cpu_of(advice) == [1500]
    assert memory.sized_at == NOW
    quieter = msgspec.structs.replace(first, model=model(season=season(base=1.2, peak=2.0, at=100)))
    kept, memory = ask(later(quieter, DAY - 60), memory)
    assert cpu_of(kept) == [500]
    changed, memory = ask(later(quieter, DAY), memory)
    assert memory.sized_at == NOW
    assert cpu_of(changed) == [500]


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        pytest.param({"spec": rules(**FIXED)}, [], id="cpu-is-not-controlled"),
        pytest.param({"spec": rules(None)}, [], id="no-cpu-utilisation-to-hold"),
        pytest.param({"model": None}, [], id="nothing-was-learned"),
        pytest.param({"readings": readings(Cpu=GAP)}, [], id="nothing-was-read"),
        pytest.param({"spec": rules(parallelism="0.5")}, [250], id="less-parallelism"),
    ],
)
def test_what_the_cpu_request_depends_on(fields: dict[str, Any], sizes: list[int]) -> None:
    given = view(used(4, 300), replicas=4, spec=rules(), model=model(season=season(base=1.2, peak=8.0)))
    advice, _ = ask(msgspec.structs.replace(given, **fields))
    assert cpu_of(advice) == sizes


def test_bounds_of_the_policy_hold_and_sidecars_keep_theirs() -> None:
    bounded = [{"name": "app", "requests": {"maxAllowed": {"cpu": "1200m"}}}]
    given = view(
        used(4, 300), replicas=4, spec=rules(container=bounded), sidecars=(sidecar(cpu=100),),
        model=model(season=season(base=1.2, peak=8.0)),
    )  # fmt: skip
    advice, _ = ask(given)
    assert cpu_of(advice) == [1200]
    unbounded, _ = ask(msgspec.structs.replace(given, spec=rules()))
    assert cpu_of(unbounded) == [1400]
    assert Code.CAPPED_BY_POLICY in {reason.code for reason in advice.reasons}


def test_limits_keep_their_ratio() -> None:
    given = view(
        used(4, 300), replicas=4, limits={"cpu": 1000, "memory": 768 * MIB},
        spec=rules(container=[{"limits": "KeepRatio"}]), model=model(season=season(base=1.2, peak=8.0)),
    )  # fmt: skip
    advice, _ = ask(given)
    (size,) = advice.containers
    assert size.limits is not None
    assert size.limits.cpu == 2 * size.target.cpu
    assert size.limits.memory == 2 * size.target.memory


def test_what_a_pod_can_use_is_learned_before_its_request_is_changed() -> None:
    large = view(used(4, 300), replicas=4, spec=rules(), model=model(season=season(base=1.2, peak=8.0)), cpu=4000)
    undeclared = msgspec.structs.replace(rules(), goals=msgspec.structs.replace(rules().goals, slo=None))
    first, memory = ask(msgspec.structs.replace(large, spec=undeclared))
    assert memory.parallelism == 4.0
    template = msgspec.structs.replace(
        large.workload.template.containers[0], requests=Resources.of(cpu=cpu_of(first)[0], memory=512 * MIB)
    )
    workload = msgspec.structs.replace(
        large.workload, template=msgspec.structs.replace(large.workload.template, containers=(template,))
    )
    again, memory = ask(later(msgspec.structs.replace(large, spec=undeclared, workload=workload), 2 * DAY), memory)
    assert cpu_of(again) == cpu_of(first)
    assert memory.parallelism == 4.0


def test_a_kill_counts_for_all_pods_and_is_forgotten_with_the_history() -> None:
    given = view(used(4, 300), replicas=4, spec=rules())
    kill = Termination(container="app", reason="OOMKilled", started_at=NOW - 7200, finished_at=NOW - 60)
    pods = [msgspec.structs.replace(pod, terminations=(kill,) if pod.name == "web-0" else ()) for pod in given.pods]
    hurt, memory = ask(msgspec.structs.replace(given, pods=pods))
    # 384 MiB was asked for: 96 MiB more, the lesser of 100 MiB and a quarter. Pods with less are out of range.
    assert hurt.containers[0].lower.memory == 480 * MIB
    assert hurt.containers[0].target.memory >= 480 * MIB
    again, memory = ask(later(given, 3600.0), memory)
    assert again.containers[0].lower.memory == 480 * MIB
    _, memory = ask(later(given, 8 * DAY), memory)
    assert memory.memory_floor == 0
    uncontrolled = msgspec.structs.replace(given, pods=pods, spec=rules(containerControlledResources=["cpu"]))
    assert ask(uncontrolled)[0].containers == ()


def test_work_of_a_pod_is_within_its_safe_load_and_its_target() -> None:
    given = view(used(4, 300), spec=rules(80), cpu=1000)
    assert pod_work(given, SeasonParams(), SeasonMemory(), coming=None) == pytest.approx(0.8)
    assert pod_work(given, SeasonParams(), SeasonMemory(), coming=500) == pytest.approx(0.4)
    tight = msgspec.structs.replace(given, spec=rules(80, parallelism="0.5"))
    assert pod_work(tight, SeasonParams(), SeasonMemory(), coming=None) < 0.4


@pytest.mark.parametrize(
    ("document", "target"),
    [
        pytest.param(rules(65), 0.65, id="a-cpu-metric"),
        pytest.param(rules(None), None, id="another-metric"),
        pytest.param(spec(), 0.8, id="the-default-metric"),
    ],
)
def test_the_share_at_which_cpu_is_held(document: MpaSpec, target: float | None) -> None:
    assert cpu_target(document) == target


def test_missing_cpu_holds_and_lowers_nothing() -> None:
    given = view(used(4, 300), replicas=4, spec=rules(), model=model(season=season(base=1.2, peak=1.3)), cpu=4000)
    _, memory = ask(given)
    blind, _ = ask(later(msgspec.structs.replace(given, readings={}), 3600.0), memory)
    assert blind.held
    assert blind.replicas in (4, None)
    assert cpu_of(blind) == []
