from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from autoscaler.clock import SystemClock
from autoscaler.errors import AccessError, InputError, TransientError
from autoscaler.model.pod import Phase, ReadyCondition
from autoscaler.model.readings import Missing, MissingReason, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.sources.asking import MOST_QUERIES
from autoscaler.sources.prometheus import ASKS, PrometheusSource
from autoscaler.sources.promql import Question
from autoscaler.sources.settings import PrometheusSettings
from autoscaler.testing.builders import NOW, make_pod, make_shape
from tests.unit.sources.fake_prometheus import (
    BYTES,
    CORES,
    GONE,
    PODS,
    SCRAPED,
    WEB,
    FakePrometheus,
    by_pod,
    labels_of,
    prometheus,
    refusal,
    success,
    young_pod,
)

CPU = Signal(WEB, SignalKind.CPU)
POD_CPU = Signal(WEB, SignalKind.POD_CPU)
REQUESTS = Signal(WEB, SignalKind.REQUESTS)


async def read_one(source: PrometheusSource, signal: Signal, at: float = NOW) -> Reading:
    return (await source.read([signal], at))[signal]


@pytest.mark.parametrize(
    ("kind", "value", "at", "window"),
    [
        pytest.param(SignalKind.CPU, 4 * CORES, SCRAPED, 30.0, id="cores-of-all-ready-pods"),
        pytest.param(SignalKind.MEMORY_PEAK, 1.1 * BYTES, SCRAPED, 120.0, id="the-largest-working-set"),
        pytest.param(SignalKind.READY, 4.0, NOW, 0.0, id="ready-pods-as-the-cluster-shows-them"),
        pytest.param(SignalKind.REQUESTS, 28.0, NOW, 30.0, id="requests-of-all-ready-pods"),
        pytest.param(SignalKind.SLOW_SHARE, 0.02, NOW, 120.0, id="share-of-slow-requests"),
        pytest.param(SignalKind.LATENCY, 0.3, NOW, 120.0, id="latency-of-the-slowest-pod"),
        pytest.param(SignalKind.THROTTLED, 0.1, SCRAPED, 120.0, id="share-of-throttled-periods"),
    ],
)
async def test_what_a_workloads_signal_holds(kind: SignalKind, value: float, at: float, window: float) -> None:
    async with prometheus() as (source, _):
        reading = await read_one(source, Signal(WEB, kind))
    assert isinstance(reading, Sample)
    assert reading.value == pytest.approx(value)
    assert (reading.at, reading.window) == (at, window)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param(SignalKind.POD_CPU, 250, id="millicores-by-pod"),
        pytest.param(SignalKind.POD_MEMORY, 200_000_000, id="bytes-by-pod"),
    ],
)
async def test_what_a_pods_signal_holds(kind: SignalKind, value: int) -> None:
    async with prometheus() as (source, _):
        reading = await read_one(source, Signal(WEB, kind))
    assert isinstance(reading, PodSamples)
    assert [sample.pod for sample in reading.samples] == [pod.name for pod in PODS]
    assert {(each.value, each.at, each.window, each.container) for each in reading.samples} == {
        (value, SCRAPED, 30.0, "app")
    }


async def test_zero_is_a_measurement() -> None:
    async with prometheus() as (source, fake):
        fake.figures[Question.CPU] = by_pod(0, container="app")
        assert await read_one(source, CPU) == Sample(0.0, SCRAPED, 30.0)


@pytest.mark.parametrize("workloads", [pytest.param(1, id="one-workload"), pytest.param(300, id="300-workloads")])
async def test_the_number_of_queries_does_not_depend_on_the_workloads(workloads: int) -> None:
    pods = [
        make_pod(
            f"w{number}-6fb786454b-mrr52", shape=make_shape(f"w{number}"), workload=f"default/Deployment/w{number}"
        )
        for number in range(workloads)
    ]
    signals = [Signal(pod.workload, kind) for pod in pods for kind in (*ASKS, SignalKind.READY)]
    signals += [Signal(pod.workload, SignalKind.PROMETHEUS, f"sum(up{{w='{pod.name}'}})") for pod in pods]
    async with prometheus(pods=pods) as (source, fake):
        await source.read(signals, NOW)
        assert len(fake.asked) == source.last_queries == 11
        assert source.last_queries <= MOST_QUERIES


async def test_only_what_is_wanted_is_asked() -> None:
    async with prometheus() as (source, fake):
        await source.read([CPU, Signal(WEB, SignalKind.READY)], NOW)
        assert len(fake.asked) == 3
        await source.read([Signal(WEB, SignalKind.READY)], NOW)
        assert len(fake.asked) == 3


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param("NaN", MissingReason.NOT_A_NUMBER, id="nan"),
        pytest.param("+Inf", MissingReason.INFINITE, id="infinite"),
        pytest.param("-Inf", MissingReason.INFINITE, id="minus-infinite"),
        pytest.param("-0.5", MissingReason.NEGATIVE, id="negative"),
        pytest.param("much", MissingReason.NOT_A_NUMBER, id="a-word"),
    ],
)
async def test_a_bad_value_is_missing_and_counted(value: str, reason: MissingReason) -> None:
    async with prometheus() as (source, fake):
        fake.figures[Question.CPU] = by_pod(value, container="app")
        readings = await source.read([CPU, POD_CPU], NOW)
        assert {getattr(reading, "reason", None) for reading in readings.values()} == {reason}
        assert source.missing[reason] == 2
        assert source.flaws[reason] == len(PODS)


@pytest.mark.parametrize(
    "taken",
    [
        pytest.param(NOW - 91.0, id="too-old"),
        pytest.param(NOW + 30.0, id="from-the-future"),
    ],
)
async def test_a_sample_that_is_not_fresh_is_stale(taken: float) -> None:
    async with prometheus() as (source, fake):
        fake.figures[Question.CPU_TIME] = by_pod(taken)
        readings = await source.read([CPU, POD_CPU], NOW)
    assert {getattr(reading, "reason", None) for reading in readings.values()} == {MissingReason.STALE}


async def test_a_pod_that_ended_within_the_window_does_not_count() -> None:
    ended = make_pod("web-6fb786454b-mrr59", phase=Phase.SUCCEEDED)
    async with prometheus() as (source, fake):
        fake.figures[Question.CPU] += by_pod(9.0, pods=[ended], container="app")
        assert getattr(await read_one(source, CPU), "value", None) == pytest.approx(4 * CORES)
        fake.figures[Question.CPU_TIME] = fake.figures[Question.CPU_TIME][:3]
        reading = await read_one(source, POD_CPU)
    assert isinstance(reading, PodSamples)
    assert len(reading.samples) == 3


async def test_two_series_for_one_container_are_duplicates() -> None:
    async with prometheus() as (source, fake):
        fake.figures[Question.DUPLICATES] = by_pod(2, container="app")
        for kind in (SignalKind.CPU, SignalKind.POD_CPU, SignalKind.POD_MEMORY, SignalKind.MEMORY_PEAK):
            reading = await read_one(source, Signal(WEB, kind))
            assert isinstance(reading, Missing), kind
            assert reading.reason is MissingReason.DUPLICATE
            assert "matchers" in reading.detail


async def test_ready_pods_without_a_sample_count_as_average_ones() -> None:
    pods = [young_pod(f"web-6fb786454b-mrr5{sign}", ready_for=3600.0) for sign in "2456789bcd"]
    async with prometheus(pods=pods) as (source, fake):
        fake.figures[Question.CPU] = by_pod(CORES, pods=pods[:8], container="app")
        fake.figures[Question.CPU_TIME] = by_pod(SCRAPED, pods=pods)
        assert getattr(await read_one(source, CPU), "value", None) == pytest.approx(10 * CORES)
        fake.figures[Question.CPU] = by_pod(CORES, pods=pods[:7], container="app")
        reading = await read_one(source, CPU)
    assert isinstance(reading, Missing)
    assert reading.reason is MissingReason.PARTIAL
    assert "7 of 10" in reading.detail


async def test_a_pod_that_was_not_ready_yet_when_measured_is_not_missed() -> None:
    pods = [*PODS, *(young_pod(f"web-6fb786454b-xxxx{sign}", ready_for=5.0) for sign in "2456")]
    async with prometheus(pods=pods) as (source, fake):
        fake.figures[Question.CPU] += by_pod(9.0, pods=pods[4:5], container="app")
        fake.figures[Question.CPU_TIME] += by_pod(SCRAPED, pods=pods[4:5])
        assert getattr(await read_one(source, CPU), "value", None) == pytest.approx(4 * CORES)


async def test_pods_that_are_not_ready_do_not_count_as_demand() -> None:
    waiting = make_pod("web-6fb786454b-xxxx2", ready=ReadyCondition("False", NOW - 3600))
    async with prometheus(pods=[*PODS, waiting]) as (source, fake):
        fake.figures[Question.CPU] += by_pod(9.0, pods=[waiting], container="app")
        fake.figures[Question.CPU_TIME] += by_pod(SCRAPED, pods=[waiting])
        readings = await source.read([CPU, POD_CPU], NOW)
    assert getattr(readings[CPU], "value", None) == pytest.approx(4 * CORES)
    assert len(getattr(readings[POD_CPU], "samples", ())) == 5


async def test_an_unknown_workload_is_missing_but_has_no_ready_pods() -> None:
    async with prometheus() as (source, _):
        readings = await source.read([Signal(GONE, SignalKind.CPU), Signal(GONE, SignalKind.READY)], NOW)
    assert [type(reading) for reading in readings.values()] == [Missing, Sample]


async def test_missing_says_since_when() -> None:
    async with prometheus() as (source, fake):
        await source.read([CPU, POD_CPU], NOW)
        fake.figures[Question.CPU] = []
        readings = await source.read([CPU, POD_CPU], NOW + 15)
    assert {reading.since for reading in readings.values() if isinstance(reading, Missing)} == {SCRAPED}


async def test_slow_is_not_known_without_an_objective() -> None:
    async with prometheus(slow_seconds=None) as (source, _):
        reading = await read_one(source, Signal(WEB, SignalKind.SLOW_SHARE))
    assert isinstance(reading, Missing)
    assert reading.reason is MissingReason.ABSENT
    assert "slow_seconds" in reading.detail


async def test_series_by_workload_are_taken_as_they_are() -> None:
    whole = {"namespace": "default", "workload_kind": "Deployment", "workload": "web"}
    async with prometheus(queries={"requests": "podnode:workload_requests_per_second:sum"}) as (source, fake):
        fake.figures[Question.REQUESTS] = [(whole, "123")]
        assert await read_one(source, REQUESTS) == Sample(123.0, NOW, 30.0)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        pytest.param({"warnings": ["store eu-2 does not answer"]}, MissingReason.PARTIAL, id="a-store-is-missing"),
        pytest.param({"isPartial": True}, MissingReason.PARTIAL, id="victoria-metrics-says-partial"),
        pytest.param({"warnings": ["PromQL warning: quantile is odd"]}, None, id="a-remark-on-the-query"),
        pytest.param({"infos": ["PromQL info: might not be a counter"]}, None, id="an-info"),
    ],
)
async def test_a_partial_answer_is_missing(extra: Mapping[str, Any], reason: MissingReason | None) -> None:
    async with prometheus() as (source, fake):
        fake.extra = dict(extra)
        readings = await source.read([CPU, Signal(WEB, SignalKind.PROMETHEUS, "up")], NOW)
    assert getattr(readings[CPU], "reason", None) is reason


async def _answer_late(call: str, form: Mapping[str, str]) -> web.StreamResponse | None:
    await asyncio.Event().wait()
    return None


def _always(response: web.Response) -> Any:
    async def answer(call: str, form: Mapping[str, str]) -> web.StreamResponse | None:
        return web.Response(body=response.body, status=response.status, headers=response.headers)

    return answer


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(web.Response(text="oh", status=500), id="500"),
        pytest.param(web.Response(text="later", status=429, headers={"Retry-After": "7"}), id="429"),
        pytest.param(web.Response(text="<html>not here</html>", status=404), id="wrong-path"),
        pytest.param(web.Response(text="", status=302, headers={"Location": "/login"}), id="redirected-to-a-login"),
        pytest.param(web.Response(text="<html>hello</html>"), id="no-json"),
        pytest.param(web.Response(body=b"\xff\xfe"), id="no-text"),
        pytest.param(web.Response(text='{"status":"success","data":{"resultType":"vec'), id="cut-off"),
        pytest.param(web.Response(text='{"status":"success","data":{"resultType":"matrix","result":[]}}'), id="matrix"),
        pytest.param(refusal("query timed out in expression evaluation", status=503, kind="timeout"), id="timed-out"),
    ],
)
async def test_no_usable_answer_at_all_is_an_error_that_passes(response: web.Response) -> None:
    async with prometheus() as (source, fake):
        fake.answer = _always(response)
        with pytest.raises(TransientError) as caught:
            await source.read([CPU], NOW)
    assert caught.value.retry_after_seconds > 0


async def test_a_server_that_hangs_is_given_up() -> None:
    async with prometheus(timeout_seconds=0.2) as (source, fake):
        fake.answer = _answer_late
        with pytest.raises(TransientError, match=r"0\.2 s"):
            await source.read([CPU], NOW)


async def test_nobody_listens() -> None:
    settings = PrometheusSettings(url="http://127.0.0.1:9", timeout_seconds=2.0)
    source = PrometheusSource(settings, pods=lambda: PODS, clock=SystemClock())
    with pytest.raises(TransientError):
        await source.read([CPU], NOW)
    assert source.outcomes["no answer"] == 3
    await source.aclose()


@pytest.mark.parametrize("status", [401, 403])
async def test_no_access_is_an_operators_to_mend(status: int) -> None:
    async with prometheus() as (source, fake):
        fake.answer = _always(web.Response(text="no", status=status))
        with pytest.raises(AccessError, match=str(status)):
            await source.read([CPU, REQUESTS], NOW)


async def test_one_query_that_fails_harms_only_its_kind() -> None:
    async with prometheus() as (source, fake):

        async def answer(call: str, form: Mapping[str, str]) -> web.StreamResponse | None:
            return (
                refusal("too many samples", status=422, kind="execution") if "http_requests" in form["query"] else None
            )

        fake.answer = answer
        readings = await source.read([CPU, REQUESTS], NOW)
    requests = readings[REQUESTS]
    assert isinstance(readings[CPU], Sample)
    assert isinstance(requests, Missing)
    assert requests.reason is MissingReason.FAILED
    assert "too many samples" in requests.detail


async def test_custom_metrics_are_another_sources() -> None:
    custom = Signal(WEB, SignalKind.PODS_METRIC, "qps")
    async with prometheus() as (alone, _):
        assert getattr(await read_one(alone, custom), "reason", None) is MissingReason.ABSENT
    async with prometheus() as (first, fake), prometheus(other=first) as (second, _):
        fake.answer = _always(web.Response(status=500))
        readings = await second.read([CPU, custom], NOW)
    assert isinstance(readings[CPU], Sample)
    assert isinstance(readings[custom], Missing)


async def test_each_query_asks_for_complete_and_timely_answers(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n", encoding="utf-8")
    settings: dict[str, Any] = {
        "headers": (("X-Scope-OrgID", "shop"),),
        "token_file": str(token),
        "prefix": "/prometheus",
    }
    async with prometheus(path="/prometheus", **settings) as (source, fake):
        await source.read([REQUESTS], NOW)
        (form,), (headers,) = fake.asked, fake.headers
        assert (form["timeout"], form["partial_response"], form["lookback_delta"]) == ("5s", "false", "90s")
        assert (headers["X-Scope-OrgID"], headers["Authorization"]) == ("shop", "Bearer one")
        token.write_text("another", encoding="utf-8")
        await source.read([REQUESTS], NOW)
        assert fake.headers[1]["Authorization"] == "Bearer another"
        token.unlink()
        with pytest.raises(AccessError, match="token"):
            await source.read([REQUESTS], NOW)


async def test_basic_authentication(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret", encoding="utf-8")
    async with prometheus(user="me", password_file=str(password)) as (source, fake):
        await source.read([REQUESTS], NOW)
        assert fake.headers[0]["Authorization"] == "Basic bWU6czNjcmV0"


async def test_a_setting_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(InputError, match="queries: 'nonsense'"):
        PrometheusSource(
            PrometheusSettings(url="http://p", queries={"nonsense": "up"}), pods=lambda: PODS, clock=SystemClock()
        )


async def test_a_scalar_answers_no_fixed_question_by_pod() -> None:
    async with prometheus() as (source, fake):

        async def answer(call: str, form: Mapping[str, str]) -> web.StreamResponse | None:
            return success({"resultType": "scalar", "result": [NOW, "5"]})

        fake.answer = answer
        assert getattr(await read_one(source, CPU), "reason", None) is MissingReason.ABSENT


async def test_one_container_with_a_bad_value_leaves_its_pod_out() -> None:
    async with prometheus() as (source, fake):
        fake.figures[Question.CPU] += [(labels_of(PODS[0], "sidecar"), "NaN")]
        reading = await read_one(source, POD_CPU)
    assert isinstance(reading, PodSamples)
    assert [sample.pod for sample in reading.samples] == [pod.name for pod in PODS[1:]]


def user(query: str) -> Signal:
    return Signal(WEB, SignalKind.PROMETHEUS, query)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param([({}, "NaN")], MissingReason.NOT_A_NUMBER, id="nan"),
        pytest.param([({}, "+Inf")], MissingReason.INFINITE, id="infinite"),
        pytest.param([({}, "-3")], MissingReason.NEGATIVE, id="negative"),
        pytest.param([], MissingReason.ABSENT, id="nothing"),
        pytest.param([({"a": "1"}, "1"), ({"a": "2"}, "2")], MissingReason.DUPLICATE, id="two-series"),
        pytest.param("1:3: parse error: unknown function", MissingReason.FAILED, id="refused"),
    ],
)
async def test_a_users_query_that_gives_no_one_number_is_missing(given: Any, reason: MissingReason) -> None:
    async with prometheus() as (source, fake):
        fake.users = {"bad": given, "good": [({}, "42")]}
        readings = await source.read([user("bad"), user("good"), CPU], NOW)
    assert getattr(readings[user("bad")], "reason", None) is reason
    assert readings[user("good")] == Sample(42.0, NOW)
    assert isinstance(readings[CPU], Sample)


async def test_a_users_query_may_give_a_scalar() -> None:
    async with prometheus() as (source, fake):
        fake.users = {"scalar(up)": "expected type instant vector in aggregation expression, got scalar"}
        assert await read_one(source, user("scalar(up)")) == Sample(5.0, NOW)


async def test_a_query_that_would_answer_for_another_is_never_sent() -> None:
    forged = 'vector(9)), "podnode_query", "1", "", "") or (vector(1)'
    async with prometheus() as (source, fake):
        fake.users = {"good": [({}, "42")]}
        readings = await source.read([user(forged), user("good")], NOW)
        assert all("vector(9)" not in form["query"] for form in fake.asked)
    assert getattr(readings[user(forged)], "reason", None) is MissingReason.FAILED
    assert readings[user("good")] == Sample(42.0, NOW)


async def test_bad_queries_are_told_from_good_ones_within_the_cycles_queries() -> None:
    bad = {f"bad{number}" for number in range(3)}
    signals = [user(f"good{number}") for number in range(60)] + [user(query) for query in bad]
    async with prometheus() as (source, fake):
        fake.users = {signal.name: "parse error" if signal.name in bad else [({}, "1")] for signal in signals}
        for _ in range(3):
            await source.read([*signals, CPU], NOW)
            assert source.last_queries <= MOST_QUERIES
        readings = await source.read([*signals, CPU], NOW)
        assert {signal.name for signal, reading in readings.items() if isinstance(reading, Missing)} == bad
        await source.read([*signals, CPU], NOW)
        assert source.last_queries == 4, "what was found out is remembered"
        fake.users = {query: [({}, "1")] for query in fake.users}
        readings = await source.read([*signals, CPU], NOW + 3600)
    assert not any(isinstance(reading, Missing) for signal, reading in readings.items() if signal is not CPU)


async def test_a_slow_server_is_not_blamed_on_users_queries() -> None:
    async with prometheus(timeout_seconds=0.2) as (source, fake):
        fake.users = {"one": [({}, "1")], "two": [({}, "2")]}
        fake.answer = _answer_late
        with pytest.raises(TransientError):
            await source.read([user("one"), user("two"), CPU], NOW)
        fake.answer = None
        readings = await source.read([user("one"), user("two"), CPU], NOW)
        assert source.last_queries == 4
    assert all(isinstance(readings[user(name)], Sample) for name in ("one", "two"))


def test_fake_and_source_agree_on_the_queries() -> None:
    assert len(FakePrometheus(PrometheusSettings(url="http://p", slow_seconds=0.5)).figures) == len(Question)
