from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoscaler.errors import AccessError, TransientError
from autoscaler.model.metric_query import query_name
from autoscaler.model.readings import Missing, MissingReason, PodSamples, Sample, Signal, SignalKind
from autoscaler.model.spec import MetricName, Selector, TargetRef
from autoscaler.sources.metrics_api import POD_METRICS
from autoscaler.testing.builders import NOW
from tests.unit.sources.fake_api_server import CUSTOM, EXTERNAL, metrics_api, pod_metrics, stamp
from tests.unit.sources.fake_prometheus import PODS, WEB

CPU, POD_CPU = Signal(WEB, SignalKind.CPU), Signal(WEB, SignalKind.POD_CPU)
QPS = Signal(WEB, SignalKind.PODS_METRIC, "qps")
QPS_PATH = f"{CUSTOM}/v1beta2/namespaces/default/pods/*/qps"


async def test_one_list_serves_all_workloads(tmp_path: Path) -> None:
    kinds = (SignalKind.CPU, SignalKind.MEMORY_PEAK, SignalKind.READY, SignalKind.POD_CPU, SignalKind.POD_MEMORY)
    async with metrics_api(tmp_path) as (source, fake):
        readings = await source.read([Signal(WEB, kind) for kind in kinds], NOW)
        assert fake.asked == [POD_METRICS]
    assert readings[CPU] == Sample(4 * 0.251, NOW - 12, 30.0), "rounded up as the HPA does"
    assert readings[Signal(WEB, SignalKind.MEMORY_PEAK)] == Sample(65536.0 * 1024, NOW - 12, 30.0)
    assert readings[Signal(WEB, SignalKind.READY)] == Sample(4.0, NOW)
    of_pods = readings[POD_CPU]
    assert isinstance(of_pods, PodSamples)
    assert [each.pod for each in of_pods.samples] == [pod.name for pod in PODS]
    assert {(each.value, each.at, each.window, each.container) for each in of_pods.samples} == {
        (251, NOW - 12, 15.5, "app")
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"cpu": "-5m"}, MissingReason.NEGATIVE, id="negative"),
        pytest.param({"cpu": "NaN"}, MissingReason.NOT_A_NUMBER, id="no-quantity"),
        pytest.param({"cpu": ""}, MissingReason.NOT_A_NUMBER, id="no-cpu"),
        pytest.param({"at": NOW - 120}, MissingReason.STALE, id="old"),
        pytest.param({"at": NOW + 120}, MissingReason.STALE, id="from-the-future"),
    ],
)
async def test_a_bad_value_is_missing(tmp_path: Path, fields: dict[str, Any], reason: MissingReason) -> None:
    async with metrics_api(tmp_path) as (source, fake):
        fake.answers[POD_METRICS] = {"items": [pod_metrics(pod, **fields) for pod in PODS]}
        readings = await source.read([CPU, POD_CPU], NOW)
        assert source.missing[reason] == 2
    assert {getattr(reading, "reason", None) for reading in readings.values()} == {reason}


async def test_a_pod_listed_twice_is_a_duplicate(tmp_path: Path) -> None:
    async with metrics_api(tmp_path) as (source, fake):
        fake.answers[POD_METRICS]["items"] *= 2
        assert getattr((await source.read([CPU], NOW))[CPU], "reason", None) is MissingReason.DUPLICATE


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(403, AccessError, id="no-right"),
        pytest.param(503, TransientError, id="the-backend-is-down"),
        pytest.param("<html>", TransientError, id="no-json"),
        pytest.param({"items": [{"metadata": 5}]}, TransientError, id="another-form"),
    ],
)
async def test_no_answer_is_an_error(tmp_path: Path, answer: Any, error: type[Exception]) -> None:
    async with metrics_api(tmp_path) as (source, fake):
        fake.answers[POD_METRICS] = answer
        with pytest.raises(error):
            await source.read([CPU], NOW)


async def test_a_cluster_without_metrics_server_says_so(tmp_path: Path) -> None:
    async with metrics_api(tmp_path) as (source, fake):
        del fake.answers[POD_METRICS]
        reading = (await source.read([CPU], NOW))[CPU]
    assert isinstance(reading, Missing)
    assert "metrics-server" in reading.detail


async def test_what_the_apis_do_not_have_is_missing(tmp_path: Path) -> None:
    kinds = (SignalKind.REQUESTS, SignalKind.LATENCY, SignalKind.PROMETHEUS)
    async with metrics_api(tmp_path) as (source, fake):
        readings = await source.read([Signal(WEB, kind) for kind in kinds], NOW)
        series = await source.history(CPU, NOW - 600, NOW, 60.0)
        assert not fake.asked
    assert {getattr(reading, "reason", None) for reading in readings.values()} == {MissingReason.ABSENT}
    assert np.isnan(series.values).tolist() == [True] * 10


def value(amount: str, *, pod: str = "", at: float = NOW - 5, **fields: Any) -> dict[str, Any]:
    return {"describedObject": {"name": pod}, "timestamp": stamp(at), "value": amount, **fields}


async def test_pods_metrics_are_in_thousandths_and_of_the_workloads_pods(tmp_path: Path) -> None:
    async with metrics_api(tmp_path) as (source, fake):
        fake.answers[QPS_PATH] = {
            "items": [value("1500m", pod=PODS[0].name, windowSeconds=60), value("7", pod="another-pods")]
        }
        reading = (await source.read([QPS], NOW))[QPS]
    assert isinstance(reading, PodSamples)
    assert [(each.pod, each.value, each.at, each.window) for each in reading.samples] == [
        (PODS[0].name, 1500, NOW - 5, 60.0)
    ]


async def test_workloads_of_a_namespace_share_a_call(tmp_path: Path) -> None:
    async with metrics_api(tmp_path) as (source, fake):
        fake.answers[QPS_PATH] = {"items": [value("1", pod=PODS[0].name)]}
        other = Signal("default/Deployment/api", SignalKind.PODS_METRIC, "qps")
        readings = await source.read([QPS, other], NOW)
        assert fake.asked == [CUSTOM, QPS_PATH]
        await source.read([QPS], NOW)
        assert fake.asked == [CUSTOM, QPS_PATH, QPS_PATH], "the API's version is remembered"
    assert isinstance(readings[QPS], PodSamples)
    assert getattr(readings[other], "reason", None) is MissingReason.ABSENT


async def test_an_object_metric_is_one_value(tmp_path: Path) -> None:
    ingress = TargetRef(kind="Ingress", name="main", api_version="networking.k8s.io/v1")
    narrowed = MetricName(name="rps", selector=Selector(match_labels={"verb": "GET"}))
    signal = Signal(WEB, SignalKind.OBJECT_METRIC, query_name(narrowed, ingress))
    path = f"{CUSTOM}/v1beta2/namespaces/default/ingresses.networking.k8s.io/main/rps"
    async with metrics_api(tmp_path) as (source, fake):
        fake.answers[path] = {"items": [value("2k")]}
        assert (await source.read([signal], NOW))[signal] == Sample(2_000_000.0, NOW - 5)
        assert fake.params[-1] == {"metricLabelSelector": "verb=GET"}
        fake.answers[path]["items"] *= 2
        assert getattr((await source.read([signal], NOW))[signal], "reason", None) is MissingReason.DUPLICATE


async def test_an_external_metric_is_a_value_for_each_series(tmp_path: Path) -> None:
    signal = Signal(WEB, SignalKind.EXTERNAL_METRIC, "queue")
    path = f"{EXTERNAL}/v1beta1/namespaces/default/queue"
    async with metrics_api(tmp_path) as (source, fake):
        fake.answers[path] = {"items": [value("3"), value("4")]}
        reading = (await source.read([signal], NOW))[signal]
        assert isinstance(reading, PodSamples)
        assert [each.value for each in reading.samples] == [3000, 4000]
        fake.answers[path]["items"][1]["timestamp"] = stamp(NOW - 500)
        assert getattr((await source.read([signal], NOW))[signal], "reason", None) is MissingReason.STALE


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        pytest.param({CUSTOM: 404}, MissingReason.ABSENT, id="no-such-api"),
        pytest.param({CUSTOM: 503}, MissingReason.FAILED, id="the-api-is-down"),
        pytest.param({}, MissingReason.ABSENT, id="no-such-metric"),
        pytest.param({QPS_PATH: "{"}, MissingReason.FAILED, id="cut-off"),
        pytest.param({QPS_PATH: 403}, MissingReason.FAILED, id="no-right"),
        pytest.param({QPS_PATH: {"items": []}}, MissingReason.ABSENT, id="no-value"),
        pytest.param({QPS_PATH: {"items": [value("-1", pod=PODS[0].name)]}}, MissingReason.NEGATIVE, id="negative"),
    ],
)
async def test_a_custom_metric_that_fails_harms_only_itself(
    tmp_path: Path, answers: dict[str, Any], reason: MissingReason
) -> None:
    async with metrics_api(tmp_path) as (source, fake):
        fake.answers |= answers
        readings = await source.read([CPU, QPS], NOW)
    assert isinstance(readings[CPU], Sample)
    assert getattr(readings[QPS], "reason", None) is reason
