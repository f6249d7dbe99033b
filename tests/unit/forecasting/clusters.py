"""A small simulated cluster with a past, and the policies over it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from autoscaler.controller.observe import Learned, Sources, observe_objects
from autoscaler.model.policy import Policies, ScalingPolicy, ScalingPolicySpec
from autoscaler.model.resources import NOTHING
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import decode_hook
from autoscaler.model.units import DAY, HOUR, MIB
from autoscaler.providers.memory import MemoryProvider
from autoscaler.simulator.cluster import SimCluster
from autoscaler.simulator.spec import InitialNodes
from autoscaler.simulator.world import World
from autoscaler.testing.builders import make_service, make_world

WEB, API = "default/Deployment/web", "default/Deployment/api"
STEP = 300.0
PER_DAY = int(DAY / STEP)


def a_world_with_a_past(days: int = 4) -> World:
    """Return a world of 5 min steps whose two services have a daily wave between 100 and 300 requests a second."""
    steps = days * PER_DAY + 12
    wave = 200 + 100 * np.sin(2 * np.pi * np.arange(steps) / PER_DAY)
    services = (
        make_service("web", load=list(wave), bytes_per_rps=30.0 * MIB, pod_limits=NOTHING),
        make_service("api", load=list(wave)),
    )
    spec = make_world(
        *services,
        step_seconds=STEP,
        period_seconds=STEP,
        length_seconds=HOUR,
        history_seconds=days * DAY,
        initial_nodes=(InitialNodes(instance_type="m.xl", count=4),),
    )
    world = World(spec)
    world.step()
    return world


async def snapshot_of(world: World) -> ClusterSnapshot:
    sources = Sources(cluster=SimCluster(world), metrics=_NoMetrics(), provider=MemoryProvider(world.cloud))
    return (await observe_objects(sources, at=world.now, learned=Learned())).snapshot


def all_under(engine: str, *, mode: str = "Auto", **policy: Any) -> Policies:
    """Return policies that put every workload under *engine*."""
    document = {
        "workloads": {"namespaceSelector": {}},
        "mode": mode,
        "defaults": {"policy": {"updateMode": mode, "engine": engine, **policy}},
    }
    spec = msgspec.convert(document, ScalingPolicySpec, dec_hook=decode_hook)
    return Policies(scaling=(ScalingPolicy(name="all", spec=spec),))


class _NoMetrics:
    async def read(self, signals: Any, at: float) -> Any:
        return {}

    async def history(self, signal: Any, start: float, end: float, step: float) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        return None
