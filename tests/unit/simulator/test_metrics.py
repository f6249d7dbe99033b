from __future__ import annotations

import numpy as np
import pytest

from autoscaler.model.readings import Missing, MissingReason, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.simulator.metrics import SimMetrics
from autoscaler.simulator.spec import Delays, DirtyMetrics, MetricsOutage
from autoscaler.simulator.world import World
from autoscaler.testing.builders import NOW, make_service, make_world
from tests.unit.simulator.worlds import a_world, play

KEY = "default/Deployment/web"


async def _read(world: World, kind: SignalKind, name: str = "") -> Reading:
    signal = Signal(KEY, kind, name)
    return (await SimMetrics(world).read([signal], world.now))[signal]


async def test_readings_are_as_old_as_the_delay() -> None:
    world = a_world(make_service(load=[float(number) for number in range(120)]), nodes=4)
    play(world, 10)
    # At second 300 the newest sample is that of the step that ended at 240, the eighth.
    assert await _read(world, SignalKind.REQUESTS) == Sample(7.0, NOW + 240, 30.0)


async def test_nothing_is_known_before_the_delay_has_passed() -> None:
    world = a_world()
    play(world, 1)
    reading = await _read(world, SignalKind.CPU)
    assert isinstance(reading, Missing)
    assert reading.reason is MissingReason.ABSENT


async def test_pod_signals_name_pods_and_containers() -> None:
    world = a_world(make_service(replicas=3), nodes=2)
    play(world, 5)
    cpu, memory = await _read(world, SignalKind.POD_CPU), await _read(world, SignalKind.POD_MEMORY)
    assert isinstance(cpu, PodSamples)
    assert isinstance(memory, PodSamples)
    assert [sample.pod for sample in cpu.samples] == [world.pods.names[row] for row in range(3)]
    assert {sample.container for sample in cpu.samples} == {"app"}
    assert sum(sample.value for sample in cpu.samples) == pytest.approx(260, abs=3)
    assert all(sample.value > 200 << 20 for sample in memory.samples)


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        pytest.param(SignalKind.PROMETHEUS, 'sum(rate(http_requests_total{app="web"}[2m]))', 10.0, id="requests"),
        pytest.param(SignalKind.PROMETHEUS, "histogram_quantile(0.95, request_duration)", 0.05, id="latency"),
        pytest.param(SignalKind.OBJECT_METRIC, "requests-per-second", 10_000.0, id="object-metrics-are-in-milli-units"),
    ],
)
async def test_a_users_own_query_is_answered(kind: SignalKind, name: str, expected: float) -> None:
    world = a_world()
    play(world, 5)
    reading = await _read(world, kind, name)
    assert isinstance(reading, Sample)
    assert reading.value == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(SignalKind.REQUESTS, "", id="requests-not-exported"),
        pytest.param(SignalKind.SLOW_SHARE, "", id="latency-not-exported"),
        pytest.param(SignalKind.THROTTLED, "", id="no-cpu-limit-no-throttling-metric"),
        pytest.param(SignalKind.PROMETHEUS, "queue_depth", id="unknown-query"),
    ],
)
async def test_what_is_not_exported_is_absent(kind: SignalKind, name: str) -> None:
    world = a_world(make_service(exports_requests=False, exports_latency=False))
    play(world, 5)
    reading = await _read(world, kind, name)
    assert isinstance(reading, Missing)
    assert reading.reason is MissingReason.ABSENT


async def test_an_outage_is_missing_with_the_time_it_began() -> None:
    world = a_world(faults=(MetricsOutage(start=300.0, end=900.0),))
    play(world, 14)
    reading = await _read(world, SignalKind.CPU)
    assert reading == Missing(MissingReason.ABSENT, "the source does not answer", since=NOW + 270)
    play(world, 20)
    assert isinstance(await _read(world, SignalKind.CPU), Sample)


async def test_an_outage_of_one_service_is_only_its_own() -> None:
    world = a_world(make_service("web"), make_service("api"), faults=(MetricsOutage(start=0.0, service="api"),))
    play(world, 5)
    signals = [Signal(f"default/Deployment/{name}", SignalKind.CPU) for name in ("web", "api")]
    readings = await SimMetrics(world).read(signals, world.now)
    assert [type(readings[signal]) for signal in signals] == [Sample, Missing]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        pytest.param("nan", MissingReason.NOT_A_NUMBER, id="nan"),
        pytest.param("negative", MissingReason.NEGATIVE, id="negative"),
        pytest.param("gaps", MissingReason.STALE, id="a-gap-that-lasts"),
    ],
)
async def test_a_wrong_value_is_missing_never_a_number(kind: str, reason: MissingReason) -> None:
    world = a_world(faults=(DirtyMetrics(start=120.0, kind=kind, share=1.0),))
    play(world, 20)
    reading = await _read(world, SignalKind.CPU)
    assert isinstance(reading, Missing)
    assert reading.reason is reason
    assert reading.since == NOW + 90


async def test_a_false_zero_is_a_number_like_any_other() -> None:
    world = a_world(faults=(DirtyMetrics(start=0.0, kind="zeros", share=1.0),))
    play(world, 5)
    cpu, pods = await _read(world, SignalKind.CPU), await _read(world, SignalKind.POD_CPU)
    assert isinstance(cpu, Sample)
    assert cpu.value == 0
    assert isinstance(pods, PodSamples)
    assert {sample.value for sample in pods.samples} == {0}


async def test_a_short_gap_shows_the_last_sample() -> None:
    world = a_world(faults=(DirtyMetrics(start=270.0, end=330.0, kind="gaps", share=1.0),))
    play(world, 12)
    reading = await _read(world, SignalKind.CPU)
    assert isinstance(reading, Sample)
    assert reading.at == NOW + 240


async def test_history_goes_from_the_past_into_the_run_without_a_seam() -> None:
    load = np.full(240, 10.0, np.float32)
    world = World(make_world(make_service(requests=load), steps=120, history=120))
    play(world, 40)
    series = await SimMetrics(world).history(Signal(KEY, SignalKind.REQUESTS), NOW - 1800, world.now, 60.0)
    assert len(series.values) == (1800 + 1200) / 60
    known = series.values[~np.isnan(series.values)]
    assert known == pytest.approx(10.0)
    # The newest minute is not known yet: the metrics' delay.
    assert np.isnan(series.values).sum() == 0
    late = await SimMetrics(world).history(Signal(KEY, SignalKind.REQUESTS), NOW, world.now + 300, 30.0)
    assert np.isnan(late.values[-11:]).all()
    assert not np.isnan(late.values[1:39]).any()


async def test_history_averages_and_takes_the_peak_of_memory() -> None:
    load = np.tile(np.array([10, 30], np.float32), 120)
    service = make_service(requests=load, bytes_per_rps=float(1 << 20), memory_half_life_seconds=0.0, replicas=2)
    world = World(make_world(service, steps=120, history=120))
    source = SimMetrics(world)
    requests = await source.history(Signal(KEY, SignalKind.REQUESTS), NOW - 1200, NOW - 600, 60.0)
    memory = await source.history(Signal(KEY, SignalKind.MEMORY_PEAK), NOW - 1200, NOW - 600, 60.0)
    assert requests.values == pytest.approx(20.0)
    assert memory.values.min() > (256 + 14) * (1 << 20)


async def test_an_outage_is_a_gap_in_history() -> None:
    world = World(
        make_world(make_service(steps=240), steps=120, history=120, faults=(MetricsOutage(start=-1200.0, end=-600.0),))
    )
    series = await SimMetrics(world).history(Signal(KEY, SignalKind.CPU), NOW - 1800, NOW, 60.0)
    assert np.flatnonzero(np.isnan(series.values)).tolist() == list(range(11, 20))


async def test_the_past_scales_as_an_hpa_would() -> None:
    load = np.concatenate([np.full(60, 10.0), np.full(60, 200.0), np.full(10, 10.0)]).astype(np.float32)
    world = World(make_world(make_service(requests=load), steps=10, history=120))
    series = await SimMetrics(world).history(Signal(KEY, SignalKind.READY), NOW - 3600, NOW, 30.0)
    assert series.values[50] == 1
    # 200 requests a second are 4 cores; at 70 % of half a core that is 12 pods.
    assert series.values[-4] == 12
    cores = await SimMetrics(world).history(Signal(KEY, SignalKind.CPU), NOW - 3600, NOW, 30.0)
    assert cores.values[-4] == pytest.approx(4 + 12 * 0.02, rel=0.05)


async def test_unknown_workloads_have_no_history() -> None:
    world = a_world(delays=Delays(metrics_seconds=0.0))
    series = await SimMetrics(world).history(Signal("x/Deployment/y", SignalKind.CPU), NOW, NOW + 60, 30.0)
    assert np.isnan(series.values).all()


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        pytest.param(float("nan"), 1.0, 1.0, id="nan"),
        pytest.param(0.0, float("inf"), 1.0, id="infinite"),
        pytest.param(0.0, 1.0, 0.0, id="no-step"),
    ],
)
async def test_times_that_are_none_are_a_callers_bug(start: float, end: float, step: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        await SimMetrics(a_world()).history(Signal(KEY, SignalKind.CPU), start, end, step)
