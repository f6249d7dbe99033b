from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from autoscaler.interfaces import SeedsMemory
from autoscaler.model.pod import Pod
from autoscaler.model.readings import Series, SignalKind
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.units import DAY, GIB, HOUR, MIB
from autoscaler.recommend.crane import CATALOGUE, CraneMemory, CraneParams, CraneRecommender, from_catalogue, oom_need
from tests.unit.recommend.vpa_views import NOW, kill, pods, spec, used, view

ENGINE = CraneRecommender()


def play(
    samples: list[tuple[int, int]],
    *,
    params: CraneParams | None = None,
    seen: list[Pod] | None = None,
    rules: Any = None,
    memory: CraneMemory | None = None,
    at: float = NOW,
) -> tuple[Recommendation, CraneMemory]:
    """Feed (CPU, memory) of all pods, one a minute."""
    memory, advice, found = memory or CraneMemory(), None, seen or pods(2)
    for turn, (cpu, size) in enumerate(samples):
        now = at + 60.0 * turn
        shown = view(rules or spec(), used(now, found, cpu=cpu, memory=size), found, at=now)
        advice, memory = ENGINE.recommend(shown, params or CraneParams(run_seconds=60), memory)
    assert advice is not None
    return advice, memory


def target(advice: Recommendation) -> Resources:
    (size,) = advice.containers
    return size.target


def test_it_is_a_recommender_that_can_be_seeded() -> None:
    assert isinstance(ENGINE, SeedsMemory)
    assert ENGINE.Params() == CraneParams()
    assert ENGINE.Memory() == CraneMemory()


def test_the_end_of_the_percentiles_bucket_and_a_margin() -> None:
    # 0.25 cores lie in 0.2 to 0.3, 350 MiB in 300 to 400.
    advice, _ = play([(250, 350 * MIB)] * 5)
    assert target(advice) == Resources.of(cpu=345, memory=int(400 * MIB * (1 + 0.15)))


def test_the_target_utilisation_is_a_divisor() -> None:
    params = CraneParams(run_seconds=60, cpu_target_utilization=0.5, memory_margin=0.0)
    advice, _ = play([(250, 350 * MIB)] * 5, params=params)
    assert target(advice) == Resources.of(cpu=690, memory=400 * MIB)


def test_a_sample_weighs_as_much_as_it_is_large() -> None:
    # One sample in a hundred, a hundred times as large: more than 1 % of the weight.
    params = CraneParams(run_seconds=60, cpu_margin=0.0)
    advice, _ = play([(60, 50 * MIB)] * 99 + [(6000, 50 * MIB)], params=params)
    assert target(advice).cpu == 6100


def test_a_kill_needs_more_than_was_asked_for() -> None:
    killed = [msgspec.structs.replace(pod, terminations=(kill(NOW - 60),)) for pod in pods(2)]
    assert target(play([(250, 350 * MIB)], seen=killed)[0]).memory == oom_need(GIB, 1.2)
    unprotected = CraneParams(run_seconds=60, oom_protection=False)
    assert target(play([(250, 350 * MIB)], seen=killed, params=unprotected)[0]).memory < GIB


def test_an_old_kill_does_not_count() -> None:
    killed = [msgspec.structs.replace(pod, terminations=(kill(NOW - 8 * DAY),)) for pod in pods(2)]
    assert target(play([(250, 350 * MIB)], seen=killed)[0]).memory < GIB


def test_a_kill_is_remembered_when_the_pod_is_gone() -> None:
    killed = [msgspec.structs.replace(pod, terminations=(kill(NOW - 60),)) for pod in pods(2)]
    _, memory = play([(250, 350 * MIB)], seen=killed)
    advice, _ = play([(250, 350 * MIB)], memory=memory, at=NOW + HOUR)
    assert target(advice).memory == oom_need(GIB, 1.2)


def test_sizes_stand_until_the_next_run() -> None:
    advice, memory = play([(250, 350 * MIB), (950, 350 * MIB)], params=CraneParams())
    assert target(advice).cpu == 345
    advice, _ = play([(950, 350 * MIB)] * 2, params=CraneParams(), memory=memory, at=NOW + DAY)
    assert target(advice).cpu > 1000


def test_what_is_older_than_the_history_is_forgotten() -> None:
    _, memory = play([(5000, 350 * MIB)] * 3)
    advice, memory = play([(250, 350 * MIB)] * 3, memory=memory, at=NOW + 8 * DAY)
    assert target(advice).cpu == 345
    assert len({day.day for day in memory.days}) == 1


def test_before_anything_was_measured_nothing_is_said() -> None:
    advice, _ = ENGINE.recommend(view(spec(), {}, pods(2)), CraneParams(), CraneMemory())
    assert advice.containers == ()
    assert advice.held
    assert Code.HISTORY_TOO_SHORT in {reason.code for reason in advice.reasons}


def test_only_what_is_controlled_is_sized() -> None:
    advice, _ = play([(250, 350 * MIB)], rules=spec(containerControlledResources=["memory"]))
    (size,) = advice.containers
    assert size.target.names() == size.upper.names() == ("memory",)


def test_without_metrics_nothing_shrinks() -> None:
    _, memory = play([(250, 350 * MIB)] * 3)
    advice, _ = ENGINE.recommend(view(spec(), {}, pods(2), at=NOW + DAY), CraneParams(), memory)
    assert advice.held
    assert advice.containers != ()


def test_history_counts_by_the_minutes_it_covers() -> None:
    hours = np.array([250.0, np.nan, *[250.0] * 98])
    history = {
        "app": {
            SignalKind.POD_CPU: Series(NOW - 100 * HOUR, HOUR, hours),
            SignalKind.POD_MEMORY: Series(NOW - 100 * HOUR, HOUR, hours * MIB),
        }
    }
    memory = ENGINE.seed(history, CraneParams())
    advice, _ = play([(3000, 900 * MIB)], memory=memory)
    # Two pods' minute of 3 cores weighs 6 against 99 hours of a quarter core: less than 1 %.
    assert target(advice) == Resources.of(cpu=345, memory=int(300 * MIB * (1 + 0.15)))


@pytest.mark.parametrize(
    ("cpu", "size", "usual"),
    [
        pytest.param(250, GIB // 4, (250, GIB // 4), id="the-smallest"),
        pytest.param(251, GIB // 4, (500, GIB // 2), id="more-cpu"),
        pytest.param(100, 2 * GIB, (1000, 2 * GIB), id="more-memory-than-that-cpu-comes-with"),
        pytest.param(65_000, GIB, (65_000, GIB), id="larger-than-any"),
    ],
)
def test_the_catalogue_holds_both(cpu: int, size: int, usual: tuple[int, int]) -> None:
    assert from_catalogue(cpu, size) == usual


def test_the_catalogue_is_used_where_it_is_asked_for() -> None:
    advice, _ = play([(250, 350 * MIB)], params=CraneParams(run_seconds=60, catalogue=True))
    assert target(advice) == Resources.of(cpu=500, memory=GIB // 2)
    assert list(CATALOGUE) == sorted(CATALOGUE)
    assert len(CATALOGUE) == 29
