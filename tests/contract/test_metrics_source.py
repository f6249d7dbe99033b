from __future__ import annotations

import pytest

from autoscaler.model.readings import Signal, SignalKind
from autoscaler.simulator.metrics import SimMetrics
from autoscaler.simulator.world import World
from autoscaler.testing.builders import make_service, make_world
from autoscaler.testing.contracts import METRICS_SOURCE, MetricsCase, MetricsRule

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
