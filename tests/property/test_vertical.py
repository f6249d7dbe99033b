"""What holds for every history, size and bound, and for input that cannot be true."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.pod import Container, Pod
from autoscaler.model.policy import Limits, ResizeMode
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Series, Signal, SignalKind
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.recommend.capping import LimitRange, SizeBounds, apply_policy, fit_to_pod, fit_to_total
from autoscaler.recommend.histogram import CPU_BUCKETS, Histogram
from autoscaler.recommend.limits import limits_for
from autoscaler.recommend.mpa import HpaVpaRecommender, MpaMemory, MpaParams
from autoscaler.recommend.updater import disruptable, pods_to_resize, way_for
from autoscaler.recommend.usage_history import VpaMemory, seed_from_history
from autoscaler.recommend.vertical import (
    ContainerHistory,
    PodWindow,
    VpaParams,
    estimate,
    observe_cpu,
    observe_memory,
    observe_oom,
)
from autoscaler.recommend.vpa import VpaRecommender
from tests.unit.recommend.vpa_views import KEY, NOW, kill, pods, spec, view

FEW = settings(max_examples=40, deadline=None)
DAY = 86400.0
PARAMS = VpaParams()
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
TIMES = st.floats(NOW - 400 * DAY, NOW + 400 * DAY)
CORES = st.floats(0.0, 1e4)
HUGE = st.integers(-(10**30), 10**30)
AMOUNT = st.integers(0, 2**62)


def resources(amount: st.SearchStrategy[int] = AMOUNT) -> st.SearchStrategy[Resources]:
    return st.dictionaries(st.sampled_from(["cpu", "memory", "gpu"]), amount, max_size=3).map(Resources.of)


def sizes(amount: st.SearchStrategy[int] = AMOUNT) -> st.SearchStrategy[ContainerSize]:
    amounts = resources(amount)
    names = st.sampled_from(["app", "log", "gone"])
    return st.builds(ContainerSize, container=names, target=amounts, lower=amounts, upper=amounts, uncapped=amounts)


def containers(amount: st.SearchStrategy[int] = AMOUNT) -> st.SearchStrategy[list[Container]]:
    one = st.builds(Container, name=st.just(""), requests=resources(amount), limits=resources(amount))
    return st.tuples(one, one).map(
        lambda pair: [
            Container(name=name, requests=each.requests, limits=each.limits)
            for name, each in zip(("app", "log"), pair, strict=True)
        ]
    )


@FEW
@given(st.lists(st.tuples(CORES, TIMES), min_size=1, max_size=30))
def test_percentiles_rise_with_their_share_and_bracket_the_samples(samples: list[tuple[float, float]]) -> None:
    histogram = Histogram(CPU_BUCKETS, half_life=DAY)
    histogram.add_samples(np.array([v for v, _ in samples]), 0.1, np.array([t for _, t in samples]))
    found = histogram.percentiles((0.0, 0.25, 0.5, 0.75, 0.9, 1.0))
    assert found == sorted(found)
    assert found[-1] <= max(*(v for v, _ in samples), 0.01) * 1.05 + 0.011


@FEW
@given(st.lists(st.tuples(CORES, st.floats(NOW, NOW + 60 * DAY)), min_size=1, max_size=20), st.randoms())
def test_the_order_of_samples_does_not_matter(samples: list[tuple[float, float]], shuffle: Any) -> None:
    first = Histogram(CPU_BUCKETS, half_life=DAY)
    other = Histogram(CPU_BUCKETS, half_life=DAY)
    for value, at in samples:
        first.add(value, 0.1, at)
    shuffled = list(samples)
    shuffle.shuffle(shuffled)
    for value, at in shuffled:
        other.add(value, 0.1, at)
    moved = 2.0 ** ((first.freeze().reference - other.freeze().reference) / DAY)
    assert math.isclose(first.freeze().total * moved, other.freeze().total, rel_tol=1e-9)


@FEW
@given(st.lists(st.tuples(CORES, TIMES), max_size=20))
def test_freezing_and_thawing_changes_nothing(samples: list[tuple[float, float]]) -> None:
    histogram = Histogram(CPU_BUCKETS, half_life=DAY)
    for value, at in samples:
        histogram.add(value, 0.1, at)
    frozen = histogram.freeze()
    again = Histogram.thaw(frozen, CPU_BUCKETS, half_life=DAY)
    assert again.freeze() == frozen
    assert again.is_empty == histogram.is_empty


@FEW
@given(ANY_FLOAT, ANY_FLOAT, ANY_FLOAT)
def test_a_histogram_refuses_what_is_no_sample(value: float, weight: float, at: float) -> None:
    for operation in ("add", "subtract"):
        histogram = Histogram(CPU_BUCKETS, half_life=DAY)
        try:
            getattr(histogram, operation)(value, weight, at)
        except ValueError:
            assert not (math.isfinite(value) and math.isfinite(weight) and weight >= 0 and abs(at) < 1e15)
        assert 0.0 <= histogram.percentile(0.9) < 1100.0


@FEW
@given(st.lists(st.tuples(st.sampled_from(["cpu", "memory", "oom"]), HUGE, ANY_FLOAT | TIMES), max_size=25))
def test_bounds_enclose_the_target_whatever_comes_in(events: list[tuple[str, int, float]]) -> None:
    history, window = ContainerHistory(PARAMS), PodWindow(pod="web-0", container="app")
    for kind, value, at in events:
        try:
            if kind == "cpu":
                window = observe_cpu(window, value, at, history)
            elif kind == "memory":
                window = observe_memory(window, value, at, history, interval=DAY)
            else:
                window = observe_oom(window, value, at, history, params=PARAMS)
        except ValueError:
            assert not abs(at) < 1e15
    found = estimate(history, PARAMS, containers=1)
    for name in ("cpu", "memory"):
        assert found.lower.get(name) <= found.target.get(name) <= 2 * 10**14
        assert found.lower.get(name) <= found.upper.get(name)
    assert found.target.cpu >= PARAMS.pod_min_cpu_millicores


@FEW
@given(sizes(HUGE), resources(HUGE), resources(HUGE))
def test_a_policy_binds_and_binds_only_once(size: ContainerSize, low: Resources, high: Resources) -> None:
    bounds = [SizeBounds(min_allowed=low, max_allowed=high)]
    (fitted,) = apply_policy([size], bounds)
    assert apply_policy([fitted], bounds) == (fitted,)
    assert fitted.uncapped == size.uncapped
    for name, amount in fitted.target.items():
        assert not high.get(name) or amount <= high.get(name)
        assert not low.get(name) or amount >= low.get(name) or amount == high.get(name)


@FEW
@given(st.lists(sizes(), max_size=3), containers(), resources(), st.sampled_from(Limits))
def test_sizes_fit_any_pod(
    given_sizes: list[ContainerSize], pod: list[Container], bound: Resources, limits: Limits
) -> None:
    for ranges in (LimitRange(max=bound), LimitRange(min=bound, default=bound)):
        fitted = fit_to_pod(given_sizes, pod, container_range=ranges, pod_range=ranges)
        for size in fitted.sizes:
            assert all(amount >= 0 for field in (size.target, size.lower, size.upper) for _, amount in field.items())
    for size in fit_to_total(given_sizes, bound):
        assert size.target.names() in [one.target.names() for one in given_sizes]
    for name, most in bound.only(("cpu", "memory")).items():
        assert sum(size.target.get(name) for size in fit_to_total(given_sizes, bound)) <= most
    for container in pod:
        limits_for(limits, container.limits, container.requests, bound)


@FEW
@given(st.lists(sizes(HUGE), max_size=3), containers(HUGE), ANY_FLOAT, ANY_FLOAT, ANY_FLOAT)
def test_the_updater_never_raises(
    given_sizes: list[ContainerSize], shape: list[Container], now: float, started: float, ended: float
) -> None:
    seen = pods(2, *shape, started_at=started, terminations=(kill(ended),))
    workload = view(spec(), {}, seen).workload
    chosen = pods_to_resize(workload, seen, given_sizes, now=now)
    assert [pod for pod, _ in chosen] == [pod for pod, _ in pods_to_resize(workload, seen, given_sizes, now=now)]
    assert disruptable(seen, configured=2, touched=0) <= 2
    for mode in ResizeMode:
        way_for(seen[0], given_sizes, mode=mode, now=now)


SAMPLE = st.builds(
    PodSample,
    pod=st.sampled_from(["web-0", "web-1", "gone"]),
    value=HUGE,
    at=st.one_of(ANY_FLOAT, st.floats(NOW - 2 * DAY, NOW)),
    window=ANY_FLOAT,
    container=st.sampled_from(["app", "", "other"]),
)
READING: st.SearchStrategy[Reading] = st.one_of(
    st.lists(SAMPLE, max_size=4).map(lambda samples: PodSamples(tuple(samples))),
    st.sampled_from(MissingReason).map(Missing),
)


@FEW
@given(READING, READING, ANY_FLOAT, st.floats(NOW - 3 * DAY, NOW))
def test_no_reading_breaks_the_engines(cpu: Reading, memory: Reading, ended: float, killed: float) -> None:
    readings = {Signal(KEY, SignalKind.POD_CPU): cpu, Signal(KEY, SignalKind.POD_MEMORY): memory}
    for end in (ended, killed):
        seen = pods(2, terminations=(kill(end),))
        found, state = VpaRecommender().recommend(view(spec(), readings, seen), PARAMS, VpaMemory())
        assert found.reasons
        assert found.held or all(set(size.target.names()) == {"cpu", "memory"} for size in found.containers)
        again, _ = VpaRecommender().recommend(view(spec(), readings, seen), PARAMS, VpaMemory())
        assert again == found
        VpaRecommender().recommend(view(spec(), readings, seen, at=NOW + 60.0), PARAMS, state)


@FEW
@given(READING, st.integers(0, 10**6), st.integers(0, 10**10))
def test_nothing_shrinks_on_missing_data(cpu: Reading, used_cpu: int, used_memory: int) -> None:
    rules, engine = spec("hpa+vpa"), HpaVpaRecommender()
    seen: list[Pod] = pods(2)
    samples = tuple(PodSample(pod.name, used_memory, NOW, 30.0, "app") for pod in seen)
    cores = tuple(PodSample(pod.name, used_cpu, NOW, 30.0, "app") for pod in seen)
    known: dict[Signal, Reading] = {
        Signal(KEY, SignalKind.POD_CPU): PodSamples(cores),
        Signal(KEY, SignalKind.POD_MEMORY): PodSamples(samples),
    }
    _, memory = engine.recommend(view(rules, known, seen), MpaParams(), MpaMemory())
    later = {Signal(KEY, SignalKind.POD_CPU): cpu}
    found, _ = engine.recommend(view(rules, later, seen, at=NOW + 60.0), MpaParams(), memory)
    for size in found.containers:
        assert size.target.memory >= seen[0].shape.containers[0].requests.memory
    sized, _ = VpaRecommender().recommend(view(spec(), later, seen, at=NOW + 60.0), PARAMS, memory.vpa)
    assert sized.held


@FEW
@given(st.lists(ANY_FLOAT, max_size=30), ANY_FLOAT | TIMES, st.sampled_from([1.0, 60.0, 3600.0, 0.0, math.nan]))
def test_any_history_seeds_or_is_refused(values: list[float], start: float, step: float) -> None:
    series = Series(start, step, np.array(values, dtype=np.float64))
    by_container = {"app": {SignalKind.POD_CPU: series, SignalKind.POD_MEMORY: series}}
    try:
        memory = seed_from_history(by_container, PARAMS)
    except ValueError:
        assert not (step > 0.0 and abs(start) < 1e15)
        return
    assert memory.containers[0].samples >= 0
