"""Whatever is fed to the HPA's functions, they answer within bounds or with their documented errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.interfaces import WorkloadView
from autoscaler.model.bounds import MAX_REPLICAS
from autoscaler.model.pod import Container, Phase, Pod, PodShape, ReadyCondition
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.model.resources import Resources
from autoscaler.recommend.formula import evaluate_formula
from autoscaler.recommend.horizontal import (
    MetricError,
    Proposal,
    Readiness,
    Tolerance,
    Usage,
    group_pods,
    propose_by_average,
    propose_by_utilization,
    propose_by_value,
    propose_per_pod,
    sum_series,
)
from autoscaler.recommend.hpa import HpaMemory, HpaParams, HpaRecommender
from autoscaler.recommend.hpa_readings import pod_usage, total_usage
from autoscaler.recommend.stabilize import (
    BehaviorRules,
    Bounds,
    DirectionRules,
    History,
    RateRule,
    allow,
    first_sight,
    record_change,
)
from tests.unit.recommend.hpa_views import CPU_70, KEY, NOW, QUEUE_10, queries_per_pod, spec, view

FEW = settings(max_examples=60, deadline=None)
NAMES = [f"web-{number}" for number in range(4)]
ANY_INT = st.integers() | st.sampled_from([0, -1, 2**31, 2**63, -(2**63), 10**400])
ANY_FLOAT = st.floats() | st.floats(NOW - 1000, NOW)
AMOUNT = st.integers(0, 10_000)
CONTAINERS = st.builds(
    Container,
    name=st.sampled_from(["app", "log"]),
    requests=st.dictionaries(st.sampled_from(["cpu", "memory"]), ANY_INT, max_size=2).map(Resources.of),
    restart_always=st.booleans(),
)
SHAPES = st.builds(
    PodShape,
    namespace=st.just("shop"),
    containers=st.lists(CONTAINERS, max_size=2).map(tuple),
    init_containers=st.lists(CONTAINERS, max_size=2).map(tuple),
    pod_requests=st.none() | st.dictionaries(st.sampled_from(["cpu", "memory", "x"]), ANY_INT).map(Resources.of),
)
PODS = st.lists(
    st.builds(
        Pod,
        name=st.sampled_from(NAMES),
        shape=SHAPES,
        phase=st.sampled_from(Phase),
        started_at=st.none() | ANY_FLOAT,
        ready=st.none() | st.builds(ReadyCondition, status=st.sampled_from(["True", "False", "x"]), since=ANY_FLOAT),
        deleted_at=st.none() | ANY_FLOAT,
    ),
    max_size=4,
    unique_by=lambda pod: pod.name,
)
USAGE = st.dictionaries(st.sampled_from([*NAMES, "other"]), st.builds(Usage, ANY_INT, ANY_FLOAT, ANY_FLOAT), max_size=4)
READINESS = st.builds(Readiness, now=ANY_FLOAT)
TOLERANCE = st.builds(Tolerance, up=st.floats(0, 1), down=st.floats(0, 1))
SAMPLES = st.lists(
    st.builds(PodSample, st.sampled_from(NAMES), ANY_INT, ANY_FLOAT, ANY_FLOAT, st.sampled_from(["", "app", "log"])),
    max_size=5,
).map(lambda samples: PodSamples(tuple(samples)))
MISSING = st.builds(Missing, st.sampled_from(MissingReason))
READINGS = MISSING | st.builds(Sample, ANY_FLOAT, ANY_FLOAT) | SAMPLES


def is_a_size(proposal: Proposal) -> bool:
    return 0 <= proposal.replicas <= MAX_REPLICAS


@FEW
@given(st.data(), PODS, USAGE, READINESS)
def test_proposals_are_sizes_or_errors(
    data: st.DataObject, pods: list[Pod], usage: dict[str, Usage], readiness: Readiness
) -> None:
    target, total, status = data.draw(ANY_INT), data.draw(ANY_INT), data.draw(ANY_INT)
    current = data.draw(st.integers(0, MAX_REPLICAS))
    tolerance, resource = data.draw(TOLERANCE), data.draw(st.sampled_from(["cpu", "memory"]))
    calls: tuple[Callable[[], Proposal], ...] = (
        lambda: propose_by_utilization(
            pods, usage, readiness, resource=resource, target_percent=target, current=current, tolerance=tolerance
        ),
        lambda: propose_by_average(pods, usage, readiness, target=target, current=current, tolerance=tolerance),
        lambda: propose_by_value(total, pods, target=target, current=current, tolerance=tolerance),
        lambda: propose_per_pod(total, target=target, status_replicas=status, tolerance=tolerance),
    )
    for call in calls:
        with suppress(ValueError):
            assert is_a_size(call())


@FEW
@given(PODS, USAGE, READINESS)
def test_every_pod_is_in_one_group(pods: list[Pod], usage: dict[str, Usage], readiness: Readiness) -> None:
    groups = group_pods(pods, usage, readiness, resource="cpu")
    named = [*groups.unready, *groups.missing, *groups.ignored]
    assert groups.ready + len(named) == len(pods)
    assert len(set(named)) == len(named)


@FEW
@given(st.lists(AMOUNT, min_size=1, max_size=6), st.integers(1, 5000), TOLERANCE, st.randoms())
def test_an_average_proposal_is_monotone_and_free_of_order(
    amounts: list[int], target: int, tolerance: Tolerance, shuffle: Any
) -> None:
    pods = [
        Pod(name=f"p{n}", shape=PodShape(namespace="shop"), ready=ReadyCondition("True", 0.0))
        for n in range(len(amounts))
    ]

    def replicas(used: list[int], order: list[Pod]) -> int:
        usage = {f"p{n}": Usage(amount) for n, amount in enumerate(used)}
        readiness = Readiness(now=NOW)
        return propose_by_average(
            order, usage, readiness, target=target, current=len(pods), tolerance=tolerance
        ).replicas

    shuffled = list(pods)
    shuffle.shuffle(shuffled)
    assert replicas(amounts, pods) == replicas(amounts, shuffled)
    assert replicas([amount + 100 for amount in amounts], pods) >= replicas(amounts, pods)


@FEW
@given(st.integers(1, 6), st.integers(0, 6), AMOUNT, st.integers(1, 5000))
def test_a_pod_without_metrics_is_never_a_reason_to_shrink(measured: int, missing: int, used: int, target: int) -> None:
    pods = [
        Pod(name=f"p{n}", shape=PodShape(namespace="shop"), ready=ReadyCondition("True", 0.0))
        for n in range(measured + missing)
    ]
    usage = {f"p{n}": Usage(used) for n in range(measured)}
    current = len(pods)
    proposal = propose_by_average(
        pods, usage, Readiness(now=NOW), target=target, current=current, tolerance=Tolerance()
    )
    as_if_at_target = usage | {f"p{n}": Usage(target) for n in range(measured, current)}
    known = propose_by_average(
        pods, as_if_at_target, Readiness(now=NOW), target=target, current=current, tolerance=Tolerance()
    )
    assert proposal.replicas >= min(known.replicas, current)


@FEW
@given(READINGS, PODS, st.sampled_from([1, 1000]), st.sampled_from(["", "app"]))
def test_readings_are_numbers_or_errors(reading: Reading, pods: list[Pod], unit: int, container: str) -> None:
    with suppress(MetricError):
        usage = pod_usage(reading, pods, api="an API", unit=unit, container=container)
        assert all(each.milli >= 0 for each in usage.values())
    with suppress(MetricError):
        assert isinstance(total_usage(reading, api="an API", unit=unit), int)


@FEW
@given(st.lists(ANY_INT))
def test_a_sum_of_series_has_64_bits(values: list[int]) -> None:
    assert -(2**63) <= sum_series(values) < 2**63


RATES = st.builds(RateRule, st.sampled_from(["Pods", "Percent"]), st.integers(1, 2**31), st.floats(1, 1800))
DIRECTIONS = st.builds(
    DirectionRules,
    policies=st.lists(RATES, max_size=3).map(tuple),
    window=st.floats(0, 3600),
    select=st.sampled_from(["Max", "Min", "Disabled"]),
)
ENTRIES = st.lists(st.tuples(ANY_FLOAT, st.integers(0, MAX_REPLICAS)), max_size=4).map(tuple)
HISTORIES = st.builds(History, recommendations=ENTRIES, ups=ENTRIES, downs=ENTRIES)


@FEW
@given(
    st.integers(0, MAX_REPLICAS),
    HISTORIES,
    st.none() | st.builds(BehaviorRules, up=DIRECTIONS, down=DIRECTIONS),
    st.tuples(st.integers(0, 1000), st.integers(1, 1000)).map(sorted),
    st.data(),
)
def test_what_is_allowed_is_within_bounds_and_between_now_and_the_wish(
    desired: int, history: History, rules: BehaviorRules | None, ends: list[int], data: st.DataObject
) -> None:
    bounds = Bounds(minimum=ends[0], maximum=ends[1])
    current = data.draw(st.integers(*ends))
    seen = first_sight(history, current, NOW)
    allowed, after = allow(desired, seen, rules, current=current, bounds=bounds, window=300.0, now=NOW)
    assert bounds.minimum <= allowed.replicas <= bounds.maximum
    assert (NOW, desired) in after.recommendations
    assert len(after.recommendations) <= len(seen.recommendations) + 1
    if rules is not None:
        assert min(current, desired) <= allowed.replicas <= max(current, desired) or not ends[0] <= desired <= ends[1]
    recorded = record_change(after, rules, before=current, after=allowed.replicas, now=NOW)
    assert len(recorded.ups) + len(recorded.downs) <= len(after.ups) + len(after.downs) + 1


ENGINE = HpaRecommender()
SIGNALS = {
    "cpu": Signal(KEY, SignalKind.POD_CPU),
    "queue": Signal(KEY, SignalKind.EXTERNAL_METRIC, "queue"),
    "requests": Signal(KEY, SignalKind.PROMETHEUS, "q"),
}
METRICS = {
    "cpu": CPU_70,
    "queue": QUEUE_10,
    "requests": queries_per_pod(),
    "last": queries_per_pod(absent="LastFor", lastFor="5m"),
}
BEHAVIORS: list[dict[str, Any]] = [
    {},
    {"behavior": {}},
    {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
    {"behavior": {"scaleUp": {"selectPolicy": "Disabled"}}},
]
FORMULAS = ["", "cpu + queue", "max(cpu, requests) * 0.5", "1", "nonsense("]
MEMORIES = st.builds(
    HpaMemory,
    recommendations=ENTRIES,
    ups=ENTRIES,
    downs=ENTRIES,
    last_values=st.lists(st.tuples(st.just("q"), st.integers(0, 10**6), ANY_FLOAT), max_size=1).map(tuple),
    seen=st.integers(-1, 9),
    asked=st.integers(-1, 9),
)


@st.composite
def views(draw: st.DrawFn) -> WorkloadView:
    chosen = draw(st.lists(st.sampled_from(sorted(METRICS)), min_size=1, max_size=3, unique=True))
    rules = spec(
        *(METRICS[name] for name in chosen),
        formula=draw(st.sampled_from(FORMULAS)),
        minReplicas=draw(st.integers(0, 3)),
        **draw(st.sampled_from(BEHAVIORS)),
    )
    readings = {signal: draw(READINGS) for signal in SIGNALS.values() if draw(st.booleans())}
    pods = draw(st.none() | PODS)
    return view(rules, readings, replicas=draw(st.integers(0, 9)), seen=pods)


@settings(max_examples=150, deadline=None)
@given(views(), MEMORIES)
def test_the_engine_answers_within_bounds_and_repeats_itself(seen: WorkloadView, memory: HpaMemory) -> None:
    recommendation, after = ENGINE.recommend(seen, HpaParams(), memory)
    assert recommendation.replicas is not None
    assert 0 <= recommendation.replicas <= 100
    assert recommendation.reasons
    assert (recommendation, after) == ENGINE.recommend(seen, HpaParams(), memory)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(["cpu", "queue", "requests", "last"]), min_size=2, max_size=3, unique=True),
    st.data(),
    MEMORIES,
)
def test_with_a_missing_metric_the_size_is_never_below_the_present_one(
    chosen: list[str], data: st.DataObject, memory: HpaMemory
) -> None:
    absent = data.draw(st.sampled_from(chosen))
    rules = spec(
        *(METRICS[name] for name in chosen),
        formula=data.draw(st.sampled_from(["", "min(cpu, 1) * 0", "max(cpu, queue) - 5"])),
        **data.draw(st.sampled_from(BEHAVIORS)),
    )
    gone = SIGNALS["requests" if absent == "last" else absent]
    readings: dict[Signal, Reading] = {
        SIGNALS["cpu"]: PodSamples(tuple(PodSample(name, data.draw(AMOUNT), NOW, 30.0, "app") for name in NAMES)),
        SIGNALS["queue"]: Sample(data.draw(AMOUNT), NOW),
        SIGNALS["requests"]: Sample(data.draw(AMOUNT), NOW),
        gone: data.draw(MISSING),
    }
    current = data.draw(st.integers(1, 9))
    # A value that still stands in for a missing one is not missing.
    memory = msgspec.structs.replace(memory, last_values=())
    # A remembered event may have used the rates up; it can hold the size but not lower it.
    recommendation, _ = ENGINE.recommend(view(rules, readings, replicas=current), HpaParams(), memory)
    assert recommendation.replicas is not None
    assert recommendation.replicas >= current


@FEW
@given(st.text(alphabet="abx0129.eE+-*/(), ", max_size=40), st.dictionaries(st.sampled_from("abx"), st.floats()))
def test_a_formula_is_a_finite_number_or_a_value_error(text: str, values: dict[str, float]) -> None:
    with suppress(ValueError):
        assert math.isfinite(evaluate_formula(text, values))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_steady_load_settles(name: str) -> None:
    """Fed its own answers under a fixed amount of work, the engine comes to rest."""
    rules, memory, replicas, sizes = spec(METRICS[name]), HpaMemory(), 3, []
    for step in range(60):
        work = 20_000 if name != "cpu" else 6_000
        each = PodSamples(
            tuple(PodSample(f"web-{n}", work // replicas, NOW + step * 15, 0.0, "app") for n in range(replicas))
        )
        total = Sample(work / (1 if name == "queue" else 100), NOW)
        readings: dict[Signal, Reading] = {SIGNALS["cpu"]: each, SIGNALS["queue"]: total, SIGNALS["requests"]: total}
        seen = view(rules, readings, replicas=replicas, at=step * 15)
        recommendation, memory = ENGINE.recommend(seen, HpaParams(), memory)
        replicas = recommendation.replicas or 0
        sizes.append(replicas)
    assert len(set(sizes[-10:])) == 1
    assert memory == msgspec.json.decode(msgspec.json.encode(memory), type=HpaMemory)
