"""Builds what the hpa engine looks at, with as little said as a case needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.pod import Container, Phase, Pod, PodShape, ReadyCondition
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import PodSample, PodSamples, Reading, Signal, SignalKind
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import Prices
from autoscaler.model.spec import decode_hook
from autoscaler.model.workload import Workload

NOW = 1_700_000_000.0
KEY = "shop/Deployment/web"
SHAPE = PodShape(namespace="shop", containers=(Container(name="app", requests=Resources.of(cpu=1000, memory=1 << 30)),))
CPU_70: Mapping[str, Any] = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
}
QUEUE_10: Mapping[str, Any] = {
    "type": "External",
    "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}},
}


def queries_per_pod(**fields: Any) -> Mapping[str, Any]:
    """Return a Prometheus metric `requests` with 50 per pod as target."""
    target = {"type": "AverageValue", "averageValue": "50"}
    return {"type": "Prometheus", "prometheus": {"name": "requests", "query": "q", "target": target, **fields}}


def pod(name: str, **fields: Any) -> Pod:
    given: dict[str, Any] = {"started_at": NOW - 3600, "ready": ReadyCondition("True", NOW - 3590), **fields}
    return Pod(name=name, shape=given.pop("shape", SHAPE), phase=given.pop("phase", Phase.RUNNING), **given)


def pods(count: int) -> tuple[Pod, ...]:
    return tuple(pod(f"web-{number}") for number in range(count))


def spec(*metrics: Mapping[str, Any], **fields: Any) -> MpaSpec:
    """Return a spec with these metrics; fields are minReplicas, maxReplicas, behavior, formula, updateMode."""
    document = {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "goals": {"metrics": list(metrics), "formula": fields.pop("formula", "")},
        "policy": {"engine": "hpa", "updateMode": fields.pop("updateMode", "Auto")},
    }
    if "behavior" in fields:
        document["policy"]["behavior"] = fields.pop("behavior")
    document["constraints"] = {"global": {"maxReplicas": 100, **fields}}
    return msgspec.convert(document, MpaSpec, dec_hook=decode_hook)


def cpu(*millicores: int) -> dict[Signal, Reading]:
    """Return the CPU of pods `web-0`, `web-1` and so on."""
    samples = (PodSample(f"web-{number}", used, NOW - 5, 30.0, "app") for number, used in enumerate(millicores))
    return {Signal(KEY, SignalKind.POD_CPU): PodSamples(tuple(samples))}


def queue(reading: Reading) -> dict[Signal, Reading]:
    return {Signal(KEY, SignalKind.EXTERNAL_METRIC, "queue"): reading}


def query(reading: Reading) -> dict[Signal, Reading]:
    return {Signal(KEY, SignalKind.PROMETHEUS, "q"): reading}


def view(
    rules: MpaSpec,
    readings: Mapping[Signal, Reading],
    *,
    replicas: int,
    at: float = 0.0,
    seen: Sequence[Pod] | None = None,
) -> WorkloadView:
    """Return the view *at* seconds after NOW, with as many ready pods as replicas unless *seen* names others."""
    return WorkloadView(
        now=NOW + at,
        workload=Workload(
            namespace="shop",
            kind="Deployment",
            name="web",
            replicas=replicas,
            status_replicas=replicas,
            template=SHAPE,
        ),
        spec=rules,
        pods=pods(replicas) if seen is None else seen,
        readings=readings,
        model=None,
        prices=Prices(),
        reaction_seconds=60.0,
        node_seconds=120.0,
        largest_node=Resources(),
        period=15.0,
    )
