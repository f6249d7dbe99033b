from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from autoscaler.interfaces import Recommender
from autoscaler.model.pod import Container, PodShape
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.spec import MetricSpec, decode_hook
from autoscaler.recommend.hpa import HpaMemory, HpaParams, HpaRecommender
from autoscaler.recommend.hpa_metrics import metric_signals
from tests.unit.recommend.hpa_views import (
    CPU_70,
    KEY,
    NOW,
    QUEUE_10,
    cpu,
    pod,
    queries_per_pod,
    query,
    queue,
    spec,
    view,
)

ENGINE = HpaRecommender()
GONE = Missing(MissingReason.ABSENT)
FAILED = Missing(MissingReason.FAILED, "api down")
AT_ONCE = HpaParams(downscale_stabilization_seconds=0)
MET_BEFORE = HpaMemory(recommendations=((NOW - 900, 1),))
"""Of a workload seen before: a first sight holds the size whatever the window is."""


def one(rules: Any, readings: Mapping[Signal, Reading], *, replicas: int, **fields: Any) -> Recommendation:
    recommendation, _ = ENGINE.recommend(view(rules, readings, replicas=replicas, **fields), AT_ONCE, MET_BEFORE)
    return recommendation


def condition(recommendation: Recommendation, kind: str) -> tuple[str, str]:
    return next((each.status, each.reason) for each in recommendation.conditions if each.type == kind)


def test_it_is_a_recommender() -> None:
    assert isinstance(ENGINE, Recommender)
    assert ENGINE.name == "hpa"
    assert ENGINE.Params() == HpaParams()
    assert ENGINE.Memory() == HpaMemory()


def test_signals_name_what_the_metrics_need_once() -> None:
    container = {
        "type": "ContainerResource",
        "containerResource": {"name": "cpu", "container": "app", "target": {"averageUtilization": 50}},
    }
    rules = spec(CPU_70, container, QUEUE_10, queries_per_pod())
    assert ENGINE.signals(view(rules, {}, replicas=1).workload, rules, HpaParams()) == (
        Signal(KEY, SignalKind.POD_CPU),
        Signal(KEY, SignalKind.EXTERNAL_METRIC, "queue"),
        Signal(KEY, SignalKind.PROMETHEUS, "q"),
    )


def test_without_metrics_cpu_at_80_percent_is_the_goal() -> None:
    assert one(spec(), cpu(870, 870), replicas=2).replicas == 2
    assert one(spec(), cpu(900, 900), replicas=2).replicas == 3


def test_growth_says_why() -> None:
    recommendation = one(spec(CPU_70), cpu(1400, 1400), replicas=2)
    assert (recommendation.replicas, recommendation.held) == (4, False)
    assert recommendation.reasons[0].code is Code.LOAD_NEEDS_MORE
    assert recommendation.reasons[0].message == (
        "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    )
    assert [(each.type, each.status, each.reason) for each in recommendation.conditions] == [
        ("AbleToScale", "True", "SucceededRescale"),
        ("ScalingActive", "True", "ValidMetricFound"),
        ("ScalingLimited", "False", "DesiredWithinRange"),
        ("ScaledToZero", "False", "NotScaledToZero"),
    ]


def test_the_largest_of_several_metrics_wins() -> None:
    readings = cpu(700, 700) | queue(PodSamples((PodSample("", 45_000, NOW), PodSample("", 5_000, NOW))))
    assert one(spec(CPU_70, QUEUE_10), readings, replicas=2).replicas == 4
    assert one(spec(QUEUE_10, CPU_70), readings, replicas=2).replicas == 4


@pytest.mark.parametrize(
    ("reading", "text"),
    [
        pytest.param(GONE, "no metrics returned from external metrics API", id="absent"),
        pytest.param(PodSamples(()), "no metrics returned from external metrics API", id="empty"),
        pytest.param(FAILED, "unable to fetch metrics from external metrics API: api down", id="failed"),
        pytest.param(
            Missing(MissingReason.STALE), "unable to fetch metrics from external metrics API: Stale", id="stale"
        ),
        pytest.param(
            Sample(float("nan"), NOW), "external metrics API returned nan, which is not a finite number", id="nan"
        ),
        pytest.param(PodSamples((PodSample("", -5, NOW),)), "the metric is negative", id="negative"),
    ],
)
def test_a_bad_only_metric_holds(reading: Reading, text: str) -> None:
    recommendation = one(spec(QUEUE_10), queue(reading), replicas=7)
    assert (recommendation.replicas, recommendation.held) == (7, True)
    assert condition(recommendation, "ScalingActive") == ("False", "FailedGetExternalMetric")
    assert recommendation.reasons[0].code is Code.SIGNAL_MISSING
    assert recommendation.reasons[0].message.startswith(
        "failed to compute desired number of replicas based on listed metrics for Deployment/shop/web: "
        "invalid metrics (1 invalid out of 1), first error is: failed to get queue external metric value: "
        "failed to get queue external metric: "
    )
    assert text in recommendation.reasons[0].message


@pytest.mark.parametrize(
    ("used", "replicas", "active"),
    [
        pytest.param(1400, 8, "ValidMetricFound", id="the-others-may-grow-it"),
        pytest.param(100, 4, "FailedGetExternalMetric", id="but-not-shrink-it"),
    ],
)
def test_one_of_two_metrics_missing(used: int, replicas: int, active: str) -> None:
    recommendation = one(spec(CPU_70, QUEUE_10), cpu(*[used] * 4) | queue(FAILED), replicas=4)
    assert (recommendation.replicas, recommendation.held) == (replicas, True)
    assert condition(recommendation, "ScalingActive")[1] == active


def test_a_pod_with_an_unmeasured_container_is_not_measured() -> None:
    app, log = (Container(name=name, requests=Resources.of(cpu=500)) for name in ("app", "log"))
    seen = [pod(f"web-{n}", shape=PodShape(namespace="shop", containers=(app, log))) for n in range(2)]
    recommendation = one(spec(CPU_70), cpu(100, 100), replicas=2, seen=seen)
    assert (recommendation.replicas, recommendation.held) == (2, True)


@pytest.mark.parametrize(
    ("replicas", "expected", "code"),
    [
        pytest.param(120, 100, Code.AT_MAXIMUM, id="above-the-maximum"),
        pytest.param(1, 3, Code.AT_MINIMUM, id="below-the-minimum"),
    ],
)
def test_bounds_hold_without_metrics(replicas: int, expected: int, code: Code) -> None:
    recommendation = one(spec(CPU_70, minReplicas=3), {}, replicas=replicas)
    assert (recommendation.replicas, recommendation.reasons[0].code) == (expected, code)


def test_what_was_put_to_zero_by_hand_stays_there() -> None:
    recommendation = one(spec(QUEUE_10, minReplicas=0), queue(Sample(90_000, NOW)), replicas=0)
    assert recommendation.replicas == 0
    assert condition(recommendation, "ScalingActive") == ("False", "ScalingDisabled")


def test_to_zero_and_back() -> None:
    rules = spec(QUEUE_10, minReplicas=0)
    rested, memory = ENGINE.recommend(view(rules, queue(Sample(0, NOW)), replicas=2), AT_ONCE, MET_BEFORE)
    assert (rested.replicas, condition(rested, "ScaledToZero")) == (0, ("True", "ScaledToZero"))
    idle, memory = ENGINE.recommend(view(rules, queue(Sample(0, NOW)), replicas=0, at=15), AT_ONCE, memory)
    assert (idle.replicas, condition(idle, "ScaledToZero")) == (0, ("True", "ScaledToZero"))
    blind, memory = ENGINE.recommend(view(rules, queue(FAILED), replicas=0, at=30), AT_ONCE, memory)
    assert (blind.replicas, blind.held) == (0, True)
    woken, memory = ENGINE.recommend(view(rules, queue(Sample(25_000, NOW)), replicas=0, at=45), AT_ONCE, memory)
    assert (woken.replicas, condition(woken, "ScaledToZero")) == (3, ("False", "NotScaledToZero"))


def test_a_raised_minimum_wakes_what_rests_at_zero() -> None:
    resting = spec(QUEUE_10, minReplicas=0)
    _, memory = ENGINE.recommend(view(resting, queue(Sample(0, NOW)), replicas=2), AT_ONCE, MET_BEFORE)
    raised = spec(QUEUE_10, minReplicas=2)
    woken, _ = ENGINE.recommend(view(raised, queue(Sample(0, NOW)), replicas=0, at=15), AT_ONCE, memory)
    assert woken.replicas == 2


def test_pods_metrics_alone_cannot_rest_at_zero() -> None:
    assert one(spec(CPU_70, minReplicas=0), cpu(0, 0), replicas=2).replicas == 1


def test_scale_down_waits_for_the_window() -> None:
    rules, params, memory = spec(CPU_70), HpaParams(), HpaMemory()
    found = []
    for at in range(0, 360, 30):
        recommendation, memory = ENGINE.recommend(view(rules, cpu(*[100] * 6), replicas=6, at=at), params, memory)
        found.append((recommendation.replicas, condition(recommendation, "AbleToScale")[1]))
    assert found == [(6, "ScaleDownStabilized")] * 11 + [(1, "SucceededRescale")]


def test_a_first_sight_holds_the_size() -> None:
    recommendation, _ = ENGINE.recommend(view(spec(CPU_70), cpu(1, 1), replicas=2), AT_ONCE, HpaMemory())
    assert recommendation.replicas == 2


def test_tolerance_of_the_object_wins() -> None:
    rules = spec(CPU_70, behavior={"scaleUp": {"tolerance": "200m"}, "scaleDown": {"tolerance": "0"}})
    assert one(rules, cpu(800, 800), replicas=2).replicas == 2
    _, memory = ENGINE.recommend(view(rules, cpu(800, 800), replicas=2), AT_ONCE, MET_BEFORE)
    assert memory.ups == ()


@pytest.mark.parametrize(
    ("mode", "kept"), [pytest.param("Auto", 1, id="as-the-peer"), pytest.param("Recommend", 0, id="it-never-happened")]
)
def test_an_advised_change_that_nobody_makes_is_no_event(mode: str, kept: int) -> None:
    rules = spec(CPU_70, behavior={}, updateMode=mode)
    _, memory = ENGINE.recommend(view(rules, cpu(1400, 1400), replicas=2), AT_ONCE, MET_BEFORE)
    assert len(memory.ups) == 1
    _, memory = ENGINE.recommend(view(rules, cpu(700, 700), replicas=2, at=1), AT_ONCE, memory)
    assert len(memory.ups) == kept


@pytest.mark.parametrize(
    ("fields", "reading", "replicas", "held"),
    [
        pytest.param({}, Sample(480, NOW), 10, False, id="per-pod"),
        pytest.param({}, GONE, 6, True, id="absent-holds"),
        pytest.param({"absent": "Zero"}, GONE, 1, False, id="absent-means-zero"),
        pytest.param({"absent": "Zero"}, FAILED, 6, True, id="a-failure-is-not-absence"),
        pytest.param({"absent": "LastFor", "lastFor": "5m"}, GONE, 6, True, id="nothing-remembered-yet"),
        pytest.param({"activation": "5"}, Sample(5, NOW), 1, False, id="not-activated"),
    ],
)
def test_prometheus(fields: dict[str, Any], reading: Reading, replicas: int, held: bool) -> None:
    recommendation = one(spec(queries_per_pod(**fields)), query(reading), replicas=6)
    assert (recommendation.replicas, recommendation.held) == (replicas, held)


@pytest.mark.parametrize(
    ("work", "at", "replicas", "held"),
    [
        pytest.param(480, 60, 10, False, id="may-grow-it"),
        pytest.param(100, 60, 6, False, id="never-shrinks-it"),
        pytest.param(480, 301, 6, True, id="only-for-so-long"),
    ],
)
def test_a_remembered_value(work: float, at: float, replicas: int, held: bool) -> None:
    rules = spec(queries_per_pod(absent="LastFor", lastFor="5m"))
    _, memory = ENGINE.recommend(view(rules, query(Sample(work, NOW)), replicas=6), AT_ONCE, MET_BEFORE)
    recommendation, _ = ENGINE.recommend(view(rules, query(GONE), replicas=6, at=at), AT_ONCE, memory)
    assert (recommendation.replicas, recommendation.held) == (replicas, held)


def test_activation_decides_between_none_and_some() -> None:
    rules = spec(queries_per_pod(activation="5"), minReplicas=0)
    rested, memory = ENGINE.recommend(view(rules, query(Sample(5, NOW)), replicas=1), AT_ONCE, MET_BEFORE)
    woken, _ = ENGINE.recommend(view(rules, query(Sample(5.1, NOW)), replicas=0, at=15), AT_ONCE, memory)
    assert (rested.replicas, woken.replicas) == (0, 1)


@pytest.mark.parametrize(
    ("formula", "replicas", "held"),
    [
        pytest.param("cpu + queue", 8, False, id="adds-what-each-asks-for-up-to-the-rate-limit"),
        pytest.param("max(cpu, queue * 0.7)", 4, False, id="rounds-up"),
        pytest.param("cpu * 0", 1, False, id="bounds-hold"),
        pytest.param("memory", 4, True, id="unknown-name"),
        pytest.param("cpu / (queue - 5)", 4, True, id="no-number"),
    ],
)
def test_formula(formula: str, replicas: int, held: bool) -> None:
    readings = cpu(*[700] * 4) | queue(Sample(50_000, NOW))
    recommendation = one(spec(CPU_70, QUEUE_10, formula=formula), readings, replicas=4)
    assert (recommendation.replicas, recommendation.held) == (replicas, held)


def test_a_formula_over_a_missing_metric_holds() -> None:
    readings = cpu(*[1400] * 4) | queue(FAILED)
    recommendation = one(spec(CPU_70, QUEUE_10, formula="cpu + queue"), readings, replicas=4)
    assert (recommendation.replicas, recommendation.held) == (4, True)


@pytest.mark.parametrize(
    ("document", "reading", "text"),
    [
        pytest.param(
            {
                "type": "Object",
                "object": {
                    "describedObject": {"kind": "Ingress", "name": "main"},
                    "metric": {"name": "rps"},
                    "target": {"type": "Value", "value": "10"},
                },
            },
            FAILED,
            "failed to get object metric value: unable to get metric rps on Ingress shop/main: "
            "unable to fetch metrics from custom metrics API: api down",
            id="object",
        ),
        pytest.param(
            {"type": "Pods", "pods": {"metric": {"name": "qps"}, "target": {"averageValue": "1"}}},
            FAILED,
            "failed to get pods metric value: unable to get metric qps: "
            "unable to fetch metrics from custom metrics API: api down",
            id="pods",
        ),
        pytest.param(
            {
                "type": "ContainerResource",
                "containerResource": {"name": "cpu", "container": "app", "target": {"averageUtilization": 5}},
            },
            FAILED,
            "failed to get app container metric value: failed to get cpu utilization: "
            "unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: api down",
            id="container",
        ),
        pytest.param(
            {
                "type": "External",
                "external": {
                    "metric": {"name": "queue", "selector": {"matchLabels": {"app": "x"}}},
                    "target": {"type": "Value", "value": "10"},
                },
            },
            FAILED,
            "failed to get queue external metric value: failed to get external metric queue: "
            "unable to get external metric shop/queue/&LabelSelector{MatchLabels:map[string]string{app: x,},"
            "MatchExpressions:[]LabelSelectorRequirement{},}: "
            "unable to fetch metrics from external metrics API: api down",
            id="external-with-a-selector",
        ),
        pytest.param(
            {"type": "External", "external": {"metric": {"name": "queue"}, "target": {}}},
            Sample(1, NOW),
            "invalid external metric source: neither a value target nor an average value target was set",
            id="no-target",
        ),
        pytest.param(
            {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"value": "0"}}},
            Sample(1, NOW),
            "the target 0 must be above 0",
            id="target-of-zero",
        ),
        pytest.param({"type": "Object"}, FAILED, "a metric of type Object needs the field object", id="malformed"),
        pytest.param(
            {"type": "Resource", "resource": {"name": "nvidia.com/gpu", "target": {"averageUtilization": 5}}},
            FAILED,
            "unable to get metrics for resource nvidia.com/gpu: no metrics returned from resource metrics API",
            id="no-such-resource",
        ),
    ],
)
def test_what_a_failure_says(document: Mapping[str, Any], reading: Reading, text: str) -> None:
    metric = msgspec.convert(document, MetricSpec, dec_hook=decode_hook)
    rules = spec(document)
    readings = dict.fromkeys(metric_signals(view(rules, {}, replicas=1).workload, [metric]), reading)
    recommendation = one(rules, readings, replicas=3)
    assert (recommendation.replicas, recommendation.held) == (3, True)
    assert text in recommendation.reasons[0].message


def test_memory_survives_a_checkpoint() -> None:
    rules = spec(CPU_70, behavior={})
    _, memory = ENGINE.recommend(view(rules, cpu(1400, 1400), replicas=2), AT_ONCE, MET_BEFORE)
    assert msgspec.json.decode(msgspec.json.encode(memory), type=HpaMemory) == memory


def test_a_workload_without_scale_is_held() -> None:
    seen = view(spec(CPU_70), cpu(100), replicas=1)
    seen = msgspec.structs.replace(seen, workload=msgspec.structs.replace(seen.workload, scalable=False))
    recommendation, _ = ENGINE.recommend(seen, AT_ONCE, MET_BEFORE)
    assert (recommendation.replicas, recommendation.held) == (1, True)
    assert condition(recommendation, "AbleToScale") == ("False", "FailedGetScale")
