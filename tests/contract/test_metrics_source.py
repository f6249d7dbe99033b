from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.model.readings import Signal, SignalKind
from autoscaler.simulator.metrics import SimMetrics
from autoscaler.simulator.world import World
from autoscaler.testing.builders import NOW, make_service, make_world
from autoscaler.testing.contracts import METRICS_SOURCE, MetricsCase, MetricsRule
from tests.unit.sources.fake_api_server import metrics_api
from tests.unit.sources.fake_prometheus import GONE, WEB, prometheus

KEY = "default/Deployment/web"


@pytest.mark.parametrize("rule", METRICS_SOURCE.values(), ids=METRICS_SOURCE)
async def test_the_simulated_clusters_metrics(rule: MetricsRule) -> None:
    world = World(make_world(make_service(steps=180), steps=120, history=60))
    for _ in range(40):
        world.step()
    kinds = (
        SignalKind.CPU,
        SignalKind.MEMORY_PEAK,
        SignalKind.REQUESTS,
        SignalKind.SLOW_SHARE,
        SignalKind.READY,
    )
    case = MetricsCase(
        source=SimMetrics(world),
        at=world.now,
        present=tuple(Signal(KEY, kind) for kind in kinds),
        absent=Signal("default/Deployment/gone", SignalKind.CPU),
    )
    await rule(case)


@pytest.mark.parametrize("rule", METRICS_SOURCE.values(), ids=METRICS_SOURCE)
async def test_prometheus(rule: MetricsRule) -> None:
    # Ready pods are the cluster's to know, at any time.
    kinds = (
        SignalKind.POD_CPU,
        SignalKind.POD_MEMORY,
        SignalKind.CPU,
        SignalKind.MEMORY_PEAK,
        SignalKind.REQUESTS,
        SignalKind.SLOW_SHARE,
        SignalKind.LATENCY,
        SignalKind.THROTTLED,
    )
    async with prometheus() as (source, fake):
        labels = {"namespace": "default", "workload_kind": "Deployment", "workload": "web"}
        fake.ranges = [(labels, lambda time: time % 7 - 1)]
        present = tuple(Signal(WEB, kind) for kind in kinds)
        await rule(MetricsCase(source=source, at=NOW, present=present, absent=Signal(GONE, SignalKind.CPU)))


@pytest.mark.parametrize("rule", METRICS_SOURCE.values(), ids=METRICS_SOURCE)
async def test_the_metrics_apis(rule: MetricsRule, tmp_path: Path) -> None:
    kinds = (SignalKind.POD_CPU, SignalKind.POD_MEMORY, SignalKind.CPU, SignalKind.MEMORY_PEAK)
    async with metrics_api(tmp_path) as (source, _):
        present = tuple(Signal(WEB, kind) for kind in kinds)
        await rule(MetricsCase(source=source, at=NOW, present=present, absent=Signal(GONE, SignalKind.CPU)))
