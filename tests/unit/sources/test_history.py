from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from autoscaler.clock import ManualClock
from autoscaler.errors import AccessError, TransientError
from autoscaler.model.readings import Signal, SignalKind
from autoscaler.sources.history import ANSWER_POINTS, BATCH, MOST_POINTS
from autoscaler.testing.builders import NOW, make_pod, make_shape
from tests.unit.sources.fake_prometheus import GONE, PODS, WEB, prometheus, refusal

CPU = Signal(WEB, SignalKind.CPU)
START = NOW - 600.0
LABELS = {"namespace": "default", "workload_kind": "Deployment", "workload": "web"}


def steady(value: float) -> Any:
    return lambda time: value


async def test_a_history_is_on_its_grid() -> None:
    async with prometheus() as (source, fake):
        fake.ranges = [(LABELS, lambda time: (time - START) / 60)]
        series = await source.history(CPU, START, NOW, 60.0)
        assert (series.start, series.step) == (START, 60.0)
        assert series.values.tolist() == list(range(10))
        assert {form["start"] for form in fake.asked} == {f"{START:.3f}"}
        assert {form["end"] for form in fake.asked} == {f"{NOW - 60:.3f}"}


async def test_gaps_and_what_is_no_amount_are_nan() -> None:
    amounts = {0: 1.0, 1: float("nan"), 2: float("inf"), 3: -1.0, 5: 0.0}
    async with prometheus() as (source, fake):
        fake.ranges = [(LABELS, lambda time: amounts.get(round((time - START) / 60)))]
        values = (await source.history(CPU, START, NOW, 60.0)).values
    assert np.isnan(values).tolist() == [False, True, True, True, True, False, True, True, True, True]
    assert (values[0], values[5]) == (1.0, 0.0)


async def test_pods_are_told_by_container_in_whole_units() -> None:
    async with prometheus() as (source, fake):
        fake.ranges = [({**LABELS, "container": "app"}, steady(0.25)), ({**LABELS, "container": "proxy"}, steady(0.5))]
        one = await source.history(Signal(WEB, SignalKind.POD_CPU, container="app"), START, NOW, 60.0)
        both = await source.history(Signal(WEB, SignalKind.POD_CPU), START, NOW, 60.0)
    assert set(one.values.tolist()) == {250.0}
    assert set(both.values.tolist()) == {750.0}


async def test_one_fetch_serves_a_batch_of_workloads() -> None:
    names = [f"w{number:03}" for number in range(2 * BATCH)]
    pods = [
        make_pod(f"{name}-6fb786454b-mrr52", shape=make_shape(name), workload=f"default/Deployment/{name}")
        for name in names
    ]
    async with prometheus(pods=pods) as (source, fake):
        fake.ranges = [({**LABELS, "workload": name}, steady(float(n))) for n, name in enumerate(names)]
        for number, pod in enumerate(pods):
            for kind in (SignalKind.CPU, SignalKind.MEMORY_PEAK):
                series = await source.history(Signal(pod.workload, kind), START, NOW, 60.0)
                assert set(series.values.tolist()) == {float(number)}
        assert len(fake.asked) == 4


async def test_what_was_fetched_is_let_go_when_nobody_asks_any_more() -> None:
    clock = ManualClock(0.0)
    async with prometheus(clock=clock) as (source, fake):
        fake.ranges = [(LABELS, steady(1.0))]
        asked = []
        for wait in (0.0, 50.0, 70.0):
            clock.advance(wait)
            await source.read([Signal(WEB, SignalKind.READY)], NOW)
            await source.history(CPU, START, NOW, 60.0)
            asked.append(len(fake.asked))
    assert asked[1] == asked[0]
    assert asked[2] == 2 * asked[0]


async def test_a_long_history_comes_in_pieces() -> None:
    start = NOW - 14 * 86400.0
    async with prometheus() as (source, fake):
        fake.ranges = [(LABELS, steady(1.0))]
        series = await source.history(CPU, start, NOW, 60.0)
    assert np.isfinite(series.values).all()
    assert len(fake.asked) == 2
    for form in fake.asked:
        points = (float(form["end"]) - float(form["start"])) / 60 + 1
        assert points <= min(MOST_POINTS, ANSWER_POINTS)


async def test_names_tell_owners_where_nothing_is_recorded() -> None:
    async with prometheus() as (source, fake):

        async def answer(call: str, form: Mapping[str, str]) -> web.StreamResponse | None:
            recorded = "podnode:" in form["query"]
            fake.ranges = [] if recorded else [(LABELS, steady(2.0))]
            return None

        fake.answer = answer
        series = await source.history(CPU, START, NOW, 60.0)
    assert set(series.values.tolist()) == {2.0}
    recorded, raw = (form["query"] for form in fake.asked)
    assert "podnode:workload_cpu_cores:sum" in recorded
    (pattern,) = re.findall(r'pod=~"([^"]*)"', raw)
    assert all(re.fullmatch(pattern, pod.name) for pod in PODS)


async def test_what_was_scraped_fills_what_was_not_recorded() -> None:
    async with prometheus() as (source, fake):

        async def answer(call: str, form: Mapping[str, str]) -> web.StreamResponse | None:
            recorded = "podnode:" in form["query"]
            fake.ranges = [(LABELS, lambda time: (1.0 if time >= NOW - 300 else None) if recorded else 9.0)]
            return None

        fake.answer = answer
        series = await source.history(CPU, START, NOW, 60.0)
    assert series.values.tolist() == [9.0] * 5 + [1.0] * 5


async def test_a_piece_that_is_too_much_is_halved() -> None:
    async with prometheus() as (source, fake):
        fake.ranges = [(LABELS, steady(1.0))]

        async def answer(call: str, form: Mapping[str, str]) -> web.StreamResponse | None:
            points = (float(form["end"]) - float(form["start"])) / 60 + 1
            return refusal("too many samples", status=422, kind="execution") if points > 100 else None

        fake.answer = answer
        series = await source.history(CPU, NOW - 60.0 * 400, NOW, 60.0)
    assert np.isfinite(series.values).all()


@pytest.mark.parametrize(
    ("status", "error"), [pytest.param(500, TransientError, id="500"), pytest.param(403, AccessError, id="403")]
)
async def test_a_server_that_does_not_answer_is_an_error(status: int, error: type[Exception]) -> None:
    async with prometheus() as (source, fake):

        async def answer(call: str, form: Mapping[str, str]) -> web.StreamResponse | None:
            return web.Response(status=status)

        fake.answer = answer
        with pytest.raises(error):
            await source.history(CPU, START, NOW, 60.0)


async def test_a_partial_answer_teaches_nothing() -> None:
    async with prometheus() as (source, fake):
        fake.ranges, fake.extra = [(LABELS, steady(1.0))], {"warnings": ["a store does not answer"]}
        assert np.isnan((await source.history(CPU, START, NOW, 60.0)).values).all()


@pytest.mark.parametrize(
    ("ranges", "known"),
    [
        pytest.param([({}, steady(4.0))], True, id="one-series"),
        pytest.param([({"a": "1"}, steady(4.0)), ({"a": "2"}, steady(5.0))], False, id="two-series-are-a-gap"),
        pytest.param([], False, id="none"),
    ],
)
async def test_a_users_query_has_a_history(ranges: Any, known: bool) -> None:
    async with prometheus() as (source, fake):
        fake.ranges = ranges
        series = await source.history(Signal(WEB, SignalKind.PROMETHEUS, "up"), START, NOW, 60.0)
        assert [form["query"] for form in fake.asked] == ["up"]
    assert np.isfinite(series.values).all() == known


async def test_a_users_query_that_is_refused_is_all_gaps() -> None:
    async with prometheus() as (source, fake):

        async def answer(call: str, form: Mapping[str, str]) -> web.StreamResponse | None:
            return refusal("parse error")

        fake.answer = answer
        series = await source.history(Signal(WEB, SignalKind.PROMETHEUS, "up("), START, NOW, 60.0)
    assert np.isnan(series.values).all()


@pytest.mark.parametrize("kind", [SignalKind.PODS_METRIC, SignalKind.SLOW_SHARE, SignalKind.CPU])
async def test_an_unknown_history_is_all_gaps(kind: SignalKind) -> None:
    async with prometheus(slow_seconds=None) as (source, _):
        series = await source.history(Signal(GONE, kind), START, NOW, 60.0)
    assert len(series.values) == 10
    assert np.isnan(series.values).all()


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        pytest.param(NOW, NOW + 60, 0.0, id="no-step"),
        pytest.param(float("nan"), NOW, 60.0, id="no-start"),
        pytest.param(NOW, float("inf"), 60.0, id="no-end"),
    ],
)
async def test_times_that_are_none_are_a_bug_of_the_caller(start: float, end: float, step: float) -> None:
    async with prometheus() as (source, _):
        with pytest.raises(ValueError, match="finite times"):
            await source.history(CPU, start, end, step)


async def test_an_empty_span_costs_nothing() -> None:
    async with prometheus() as (source, fake):
        assert not len((await source.history(CPU, NOW, NOW, 60.0)).values)
        assert not fake.asked
