from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoscaler.clock import ManualClock
from autoscaler.interfaces import Clock, MetricsSource
from autoscaler.model.metric_query import query_name, query_of
from autoscaler.model.readings import (
    Missing,
    MissingReason,
    PodSample,
    PodSamples,
    Reading,
    Sample,
    Series,
    Signal,
    SignalKind,
)
from autoscaler.model.spec import MetricName, Selector
from autoscaler.sources.scalers import Scalers
from autoscaler.testing.builders import NOW
from tests.unit.sources.fake_api_server import metrics_api
from tests.unit.sources.fake_prometheus import WEB

LAG = Signal(WEB, SignalKind.EXTERNAL_METRIC, "kafka/orders")
DEEP = Signal(WEB, SignalKind.EXTERNAL_METRIC, "sqs/jobs")


class Queue:
    """A scaler as its author would write it: it answers `amount` thousandths, or fails, or takes its time."""

    def __init__(self, clock: Clock, amount: Any = 7000) -> None:
        self.clock, self.amount, self.asked, self.closed = clock, amount, list[Signal](), False

    async def read(self, signals: Sequence[Signal], at: float) -> Mapping[Signal, Reading]:
        self.asked += signals
        if isinstance(self.amount, BaseException):
            raise self.amount
        if self.amount == "never":
            await asyncio.Event().wait()
        if isinstance(self.amount, (Sample, Missing)):
            return dict.fromkeys(signals, self.amount)
        return {signal: PodSamples((PodSample("", self.amount, at),)) for signal in signals}

    async def history(self, signal: Signal, start: float, end: float, step: float) -> Series:
        return Series(start, step, np.array([]))

    async def aclose(self) -> None:
        self.closed = True
        if isinstance(self.amount, BaseException):
            raise self.amount


class Installed:
    """Scalers by name; they are made when they are asked for."""

    def __init__(self, **amounts: Any) -> None:
        self.amounts, self.made = amounts, dict[str, Queue]()

    def load(self, name: str) -> Any:
        def make(*, clock: Clock) -> MetricsSource:
            self.made[name] = Queue(clock, self.amounts[name])
            return self.made[name]

        return make

    def scalers(self, **fields: Any) -> Scalers:
        return Scalers(ManualClock(NOW), known=(*self.amounts, "prometheus"), load=self.load, **fields)


def test_a_scaler_takes_external_metrics_of_its_name() -> None:
    scalers = Installed(kafka=1).scalers()
    taken = {
        LAG: True,
        DEEP: False,
        Signal(WEB, SignalKind.EXTERNAL_METRIC, "kafka"): False,
        Signal(WEB, SignalKind.PODS_METRIC, "kafka/orders"): False,
        Signal(WEB, SignalKind.EXTERNAL_METRIC, "prometheus/orders"): False,
        Signal(WEB, SignalKind.EXTERNAL_METRIC, "/orders"): False,
    }
    assert {signal: scalers.takes(signal) for signal in taken} == taken


async def test_each_is_made_once_and_asked_once_a_read() -> None:
    installed = Installed(kafka=7000, sqs=2000, idle=1)
    scalers = installed.scalers()
    narrowed = query_name(MetricName(name="kafka/orders", selector=Selector(match_labels={"topic": "orders"})))
    other = Signal(WEB, SignalKind.EXTERNAL_METRIC, narrowed)
    first, readings = [await scalers.read([LAG, other, DEEP], NOW) for _ in range(2)]
    assert first == readings
    assert readings[DEEP] == PodSamples((PodSample("", 2000, NOW),))
    assert readings[LAG] == readings[other] == PodSamples((PodSample("", 7000, NOW),))
    assert set(installed.made) == {"kafka", "sqs"}
    assert installed.made["kafka"].asked == [LAG, other] * 2
    assert query_of(installed.made["kafka"].asked[1].name).selector == "topic=orders"
    await scalers.aclose()
    assert all(scaler.closed for scaler in installed.made.values())


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        pytest.param(RuntimeError("broker gone"), MissingReason.FAILED, "RuntimeError: broker gone", id="it-raises"),
        pytest.param("never", MissingReason.FAILED, "did not answer within 0.01 s", id="it-takes-too-long"),
        pytest.param(-1, MissingReason.NEGATIVE, "-1", id="negative"),
        pytest.param(Sample(math.nan, NOW), MissingReason.NOT_A_NUMBER, "nan", id="not-a-number"),
        pytest.param(Missing(MissingReason.STALE, "old"), MissingReason.STALE, "old", id="it-says-so-itself"),
    ],
)
async def test_one_that_fails_fails_its_own_metrics_only(answer: Any, reason: MissingReason, text: str) -> None:
    scalers = Installed(kafka=answer, sqs=2000).scalers(timeout=0.01)
    readings = await scalers.read([LAG, DEEP], NOW)
    failed = readings[LAG]
    assert isinstance(failed, Missing)
    assert failed.reason is reason
    assert text in failed.detail
    assert isinstance(readings[DEEP], PodSamples)
    await scalers.aclose()


async def test_one_that_cannot_be_loaded_says_so() -> None:
    def lost(name: str) -> Any:
        raise ImportError(f"no module named {name}")

    reading = (await Scalers(ManualClock(NOW), known=("kafka",), load=lost).read([LAG], NOW))[LAG]
    assert isinstance(reading, Missing)
    assert "no module named kafka" in reading.detail


async def test_what_is_left_out_is_absent() -> None:
    class Empty(Queue):
        async def read(self, signals: Sequence[Signal], at: float) -> Mapping[Signal, Reading]:
            return {}

    reading = (await Scalers(ManualClock(NOW), known=("kafka",), load=lambda _: Empty).read([LAG], NOW))[LAG]
    assert reading == Missing(MissingReason.ABSENT, "the scaler left it out")


def test_without_plug_ins_nothing_is_taken() -> None:
    assert not Scalers(ManualClock(NOW)).takes(LAG)


async def test_the_cluster_is_asked_for_what_no_scaler_takes(tmp_path: Path) -> None:
    installed = Installed(kafka=7000)
    async with metrics_api(tmp_path, scalers=installed.scalers()) as (source, fake):
        readings = await source.read([LAG, DEEP], NOW)
        assert [path.rpartition("/namespaces/")[2] for path in fake.asked if "namespaces" in path] == [
            "default/sqs/jobs"
        ]
    assert readings[LAG] == PodSamples((PodSample("", 7000, NOW),))
    assert isinstance(readings[DEEP], Missing)
    assert source.missing.total() == 1
