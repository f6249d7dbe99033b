"""
Pairs of Deployments that are alike, one scaled by the HorizontalPodAutoscaler controller, one by us.

Each twin exercises one part of the HPA; all play the same load, so that one
run compares them all.
"""

from __future__ import annotations

from typing import Any

import msgspec

from autoscaler.model.units import MIB
from tests.cluster.control_plane import Options
from tests.cluster.objects import Object, deployment
from tests.e2e.shop import Shop

REAL, OURS = "real", "ours"
SIDES = (REAL, OURS)


class Twin(msgspec.Struct, frozen=True, kw_only=True):
    """One pair. `start_seconds` is how long its pods take to become Ready; `blind`: measurements may be taken away."""

    name: str
    metrics: tuple[Object, ...]
    behavior: Object | None = None
    start_seconds: float = 0.0
    blind: bool = False

    def workload(self, side: str) -> str:
        return f"{self.name}-{side}"


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """
    A load that is held until nothing changes any more.

    `requests` a second for each Deployment as a whole, which need `mib_per_request`
    of memory; `measured` is the share of pods of blind twins that are measured.
    """

    requests: float
    mib_per_request: float = 4.0
    measured: float = 1.0


def cpu(percent: int = 50) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def memory(average: str) -> Object:
    return {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": average}},
    }


def container_cpu(percent: int = 50) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "app", "target": target}}


def _rules(*policies: tuple[str, int, int], **more: Any) -> Object:
    return {"policies": [{"type": t, "value": value, "periodSeconds": s} for t, value, s in policies], **more}


# Periods and windows are no multiples of the sync period: an entry would be at the edge of its window, and count or
# not by milliseconds.
TWINS = (
    Twin(name="plain", metrics=(cpu(),)),
    Twin(
        name="behavior",
        metrics=(cpu(),),
        behavior={
            "scaleUp": _rules(("Pods", 3, 3), ("Percent", 50, 3), selectPolicy="Max", stabilizationWindowSeconds=3),
            "scaleDown": _rules(("Pods", 4, 3), ("Percent", 50, 5), selectPolicy="Min", stabilizationWindowSeconds=5),
        },
    ),
    Twin(name="two-metrics", metrics=(cpu(), memory("100Mi"))),
    Twin(
        name="tolerance",
        metrics=(cpu(),),
        behavior={"scaleUp": {"tolerance": "0.5"}, "scaleDown": {"tolerance": "0.3"}},
    ),
    Twin(name="blind", metrics=(cpu(),), blind=True),
    Twin(name="slow", metrics=(container_cpu(),), start_seconds=6.5),
)
LEVELS = (
    Level(requests=31),
    Level(requests=21, mib_per_request=34, measured=0.5),
    Level(requests=43, measured=0.5),
    Level(requests=13, mib_per_request=20, measured=0.0),
    Level(requests=6),
)
FIRST = Level(requests=8)
REPLICAS, MAXIMUM = 2, 12


async def create_workloads(shop: Shop) -> None:
    """Create both Deployments of each twin, with as many pods as the first level needs."""
    for twin in TWINS:
        slow = {"podnode.io/start-seconds": f"{twin.start_seconds:g}"} if twin.start_seconds else None
        for side in SIDES:
            await shop.run(deployment(twin.workload(side), replicas=REPLICAS, annotations=slow, **shop.placement))


async def create_autoscalers(shop: Shop) -> None:
    """Give one of each twin an HPA, the other an mpa that says the same."""
    for twin in TWINS:
        path = f"/apis/autoscaling/v2/namespaces/{shop.name}/horizontalpodautoscalers"
        await shop.cluster.admin.send("POST", path, _hpa(twin))
        await shop.autoscale(twin.workload(OURS), **_mpa(twin, shop.cluster.layout.options))


async def set_level(shop: Shop, level: Level) -> None:
    """Let all Deployments play *level*."""
    for twin in TWINS:
        for side in SIDES:
            await shop.cluster.emulator.set_load(
                shop.name,
                twin.workload(side),
                requests=level.requests,
                memory_bytes=20.0 * MIB,
                bytes_per_request=level.mib_per_request * MIB,
                measured=level.measured if twin.blind else 1.0,
            )


def _hpa(twin: Twin) -> Object:
    spec: Object = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": twin.workload(REAL)},
        "minReplicas": 1,
        "maxReplicas": MAXIMUM,
        "metrics": list(twin.metrics),
    }
    if twin.behavior is not None:
        spec["behavior"] = twin.behavior
    return {"metadata": {"name": twin.workload(REAL)}, "spec": spec}


def _mpa(twin: Twin, options: Options) -> Object:
    """Return the spec of an mpa; its parameters are the flags of the controller manager beside us."""
    params = {
        "cpu_initialization_period_seconds": options.hpa_cpu_initialization_seconds,
        "initial_readiness_delay_seconds": options.hpa_readiness_delay_seconds,
        "downscale_stabilization_seconds": options.hpa_downscale_stabilization_seconds,
    }
    policy: Object = {"engine": "hpa", "params": params}
    if twin.behavior is not None:
        policy["behavior"] = twin.behavior
    bounds = {"minReplicas": 1, "maxReplicas": MAXIMUM}
    return {"goals": {"metrics": list(twin.metrics)}, "constraints": {"global": bounds}, "policy": policy}
