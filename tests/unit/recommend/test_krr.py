from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from autoscaler.interfaces import SeedsMemory, WorkloadView
from autoscaler.model.pod import Container, Pod
from autoscaler.model.readings import PodSample, PodSamples, Reading, Series, Signal, SignalKind
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.units import DAY, GIB, HOUR, MIB
from autoscaler.recommend.krr import KrrMemory, KrrParams, KrrRecommender, cpu_request, memory_request, percentile_of
from tests.unit.recommend.hpa_views import CPU_70
from tests.unit.recommend.vpa_views import KEY, NOW, kill, pods, spec, used, view

ENGINE = KrrRecommender()
SOON = KrrParams(span_required_seconds=60, points_required=4)


def readings(cpu: dict[str, int], memory: dict[str, int], at: float) -> dict[Signal, Reading]:
    kinds = {SignalKind.POD_CPU: cpu, SignalKind.POD_MEMORY: memory}
    return {
        Signal(KEY, kind): PodSamples(tuple(PodSample(pod, value, at, 30.0, "app") for pod, value in values.items()))
        for kind, values in kinds.items()
    }


def play(
    samples: list[tuple[dict[str, int], dict[str, int]]],
    *,
    params: KrrParams = SOON,
    rules: Any = None,
    seen: list[Pod] | None = None,
) -> tuple[Recommendation, KrrMemory]:
    """Feed (CPU, memory) by pod, one a step."""
    memory, advice = KrrMemory(), None
    for turn, (cpu, used_bytes) in enumerate(samples):
        at = NOW + turn * params.step_seconds
        shown: WorkloadView = view(rules or spec(), readings(cpu, used_bytes, at), seen or pods(2), at=at)
        advice, memory = ENGINE.recommend(shown, params, memory)
    assert advice is not None
    return advice, memory


def target(advice: Recommendation) -> Resources:
    (size,) = advice.containers
    return size.target


def test_it_is_a_recommender_that_can_be_seeded() -> None:
    assert isinstance(ENGINE, SeedsMemory)
    assert ENGINE.Params() == KrrParams()
    assert ENGINE.Memory() == KrrMemory()


def test_cpu_is_the_busiest_pods_percentile_and_memory_the_peak_with_a_buffer() -> None:
    steady = [({"web-0": 100, "web-1": 400}, {"web-0": 300 * MIB, "web-1": 200 * MIB})] * 40
    advice, _ = play(steady, params=msgspec.structs.replace(SOON, run_seconds=60))
    # Kept in steps of 1 %, never below.
    assert 400 <= target(advice).cpu <= 404
    assert target(advice).memory == 345 * MIB
    (size,) = advice.containers
    assert size.lower == size.target == size.upper
    assert size.limits == Resources.of(memory=345 * MIB)


def test_a_rare_burst_is_above_the_percentile() -> None:
    calm, burst = ({"web-0": 100}, {"web-0": 300 * MIB}), ({"web-0": 900}, {"web-0": 300 * MIB})
    advice, _ = play([calm] * 39 + [burst], params=msgspec.structs.replace(SOON, run_seconds=60))
    assert target(advice).cpu <= 101


def test_there_is_a_least_of_both() -> None:
    advice, _ = play([({"web-0": 0}, {"web-0": MIB})] * 5)
    assert target(advice) == Resources.of(cpu=10, memory=100 * MIB)


def test_too_few_samples_or_hours_recommend_nothing() -> None:
    one = ({"web-0": 100}, {"web-0": 300 * MIB})
    for params in (KrrParams(span_required_seconds=0), KrrParams(points_required=1)):
        advice, _ = play([one] * 20, params=params)
        assert advice.containers == ()
        assert advice.held
        assert advice.reasons[0].code is Code.HISTORY_TOO_SHORT
    enough = play([({f"web-{n}": 100 for n in range(2)}, {"web-0": 300 * MIB, "web-1": MIB})] * 146, params=KrrParams())
    assert enough[0].containers != ()


def test_sizes_stand_until_the_next_run() -> None:
    low, high = ({"web-0": 100}, {"web-0": 300 * MIB}), ({"web-0": 100}, {"web-0": 900 * MIB})
    advice, memory = play([low] * 5 + [high] * 5)
    assert target(advice).memory == 345 * MIB
    at = NOW + DAY + 600
    later, _ = ENGINE.recommend(view(spec(), readings(*high, at), pods(2), at=at), SOON, memory)
    assert target(later).memory == math.ceil(900 * 1.15) * MIB


def test_what_an_hpa_scales_on_is_left_alone() -> None:
    steady = [({"web-0": 100}, {"web-0": 300 * MIB})] * 6
    rules = spec(metrics=[CPU_70])
    assert target(play(steady, rules=rules)[0]).names() == ("memory",)
    allowed = msgspec.structs.replace(SOON, allow_hpa=True)
    assert target(play(steady, rules=rules, params=allowed)[0]).names() == ("cpu", "memory")


def test_a_kill_counts_by_its_limit_where_it_is_asked_for() -> None:
    limited = Container(name="app", requests=Resources.of(cpu=500, memory=GIB), limits=Resources.of(memory=GIB))
    killed = [msgspec.structs.replace(pod, terminations=(kill(NOW - 60),)) for pod in pods(2, limited)]
    steady = [({"web-0": 100}, {"web-0": 300 * MIB})] * 6
    assert target(play(steady, seen=killed)[0]).memory == 345 * MIB
    params = msgspec.structs.replace(SOON, use_oom_data=True)
    assert target(play(steady, seen=killed, params=params)[0]).memory == 1280 * MIB


def test_bounds_of_the_policy_hold() -> None:
    rules = spec(container=[{"name": "*", "requests": {"maxAllowed": {"memory": "320Mi"}}}])
    assert target(play([({"web-0": 100}, {"web-0": 300 * MIB})] * 6, rules=rules)[0]).memory == 320 * MIB


def test_without_metrics_nothing_shrinks() -> None:
    _, memory = play([({"web-0": 100}, {"web-0": 300 * MIB})] * 6)
    advice, _ = ENGINE.recommend(view(spec(), {}, pods(2), at=NOW + 2 * DAY), SOON, memory)
    assert advice.held
    assert advice.containers != ()
    assert Code.SIGNAL_MISSING in {reason.code for reason in advice.reasons}


def test_pods_gone_for_two_weeks_are_forgotten() -> None:
    _, memory = play([({"web-0": 100, "web-1": 900}, {"web-0": MIB})] * 6)
    at = NOW + 15 * DAY
    _, memory = ENGINE.recommend(view(spec(), readings({"web-0": 100}, {}, at), pods(1), at=at), SOON, memory)
    assert [use.pod for use in memory.uses] == ["web-0"]


def test_of_a_pod_that_is_gone_only_numbers_are_kept() -> None:
    _, memory = play([({"web-0": 100, "web-1": 900}, {"web-0": MIB, "web-1": 500 * MIB})] * 6)
    at = NOW + DAY
    seen = readings({"web-0": 100}, {"web-0": MIB}, at)
    advice, memory = ENGINE.recommend(view(spec(), seen, pods(1), at=at), SOON, memory)
    there, gone = memory.uses
    assert there.cpu
    assert not gone.cpu
    assert 900 <= target(advice).cpu <= 910
    assert target(advice).memory == 575 * MIB


def test_history_is_one_pod_of_average_use() -> None:
    hours = np.full(200, 250.0)
    history = {
        "app": {
            SignalKind.POD_CPU: Series(NOW - 200 * HOUR, HOUR, hours),
            SignalKind.POD_MEMORY: Series(NOW - 200 * HOUR, HOUR, hours * MIB),
        }
    }
    memory = ENGINE.seed(history, KrrParams())
    advice, _ = ENGINE.recommend(view(spec(), used(NOW, pods(2), cpu=200), pods(2)), KrrParams(), memory)
    assert 250 <= target(advice).cpu <= 253
    assert target(advice).memory == math.ceil(300 * 1.15) * MIB


def test_a_damaged_memory_is_a_mistake() -> None:
    _, memory = play([({"web-0": 100}, {"web-0": MIB})] * 6)
    broken = msgspec.structs.replace(memory, uses=tuple(msgspec.structs.replace(use, first=-5) for use in memory.uses))
    with pytest.raises(ValueError, match="begins at step -5"):
        cpu_request(broken.uses, SOON)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99, 1.0])
def test_what_is_remembered_is_at_most_one_percent_above_the_truth(share: float) -> None:
    random = np.random.default_rng(3)
    values = {pod: random.lognormal(5, 1, 200).astype(int) for pod in ("web-0", "web-1")}
    memory = KrrMemory()
    for turn in range(200):
        at = NOW + turn * 75.0
        seen = readings({pod: int(found[turn]) for pod, found in values.items()}, {}, at)
        _, memory = ENGINE.recommend(view(spec(), seen, pods(2), at=at), KrrParams(), memory)
    exact = percentile_of([found.astype(float) for found in values.values()], share)
    found = cpu_request(memory.uses, KrrParams(cpu_percentile=share))
    assert math.floor(exact) <= found <= math.ceil(exact * 1.01) + 1


def test_memory_is_rounded_up_to_a_mebibyte() -> None:
    assert memory_request(1000 * MIB + 1, 0, KrrParams()) == 1151 * MIB
    assert memory_request(0, 0, KrrParams()) == 100 * MIB
