"""Builds what the vpa engine looks at, with as little said as a case needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.pod import Container, Pod, PodShape, ReadyCondition, Termination
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import PodSample, PodSamples, Reading, Signal, SignalKind
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import Prices
from autoscaler.model.spec import decode_hook
from autoscaler.model.units import GIB, MIB
from autoscaler.model.workload import Workload

NOW = 1_700_000_000.0
KEY = "shop/Deployment/web"
APP = Container(name="app", requests=Resources.of(cpu=500, memory=GIB))


def shape(*containers: Container) -> PodShape:
    return PodShape(namespace="shop", containers=containers or (APP,))


def pods(count: int, *containers: Container, **fields: Any) -> list[Pod]:
    given: dict[str, Any] = {"started_at": NOW - 86400, "ready": ReadyCondition("True", NOW - 86390), **fields}
    return [Pod(name=f"web-{n}", shape=shape(*containers), workload=KEY, node="n1", **given) for n in range(count)]


def kill(at: float, *, after: float = 60.0, container: str = "app") -> Termination:
    """An OOM kill at *at* of a container that had run for *after* seconds."""
    return Termination(container=container, reason="OOMKilled", started_at=at - after, finished_at=at)


def spec(engine: str = "vpa", metrics: Sequence[Any] = (), **constraints: Any) -> MpaSpec:
    """Return a spec with these constraints, as a user writes them."""
    document = {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "goals": {"metrics": list(metrics)},
        "policy": {"engine": engine},
        "constraints": constraints,
    }
    return msgspec.convert(document, MpaSpec, dec_hook=decode_hook)


def used(
    at: float, seen: Sequence[Pod], *, cpu: int | None = 200, memory: int | None = 300 * MIB
) -> dict[Signal, Reading]:
    """Return readings in which every container of every pod used the same; None was not read."""
    readings: dict[Signal, Reading] = {}
    for kind, value in ((SignalKind.POD_CPU, cpu), (SignalKind.POD_MEMORY, memory)):
        if value is not None:
            samples = (
                PodSample(pod.name, value, at, 30.0, container.name)
                for pod in seen
                for container in pod.shape.containers
            )
            readings[Signal(KEY, kind)] = PodSamples(tuple(samples))
    return readings


def view(
    rules: MpaSpec, readings: Mapping[Signal, Reading], seen: Sequence[Pod], *, at: float = NOW, **fields: Any
) -> WorkloadView:
    template = seen[0].shape if seen else shape()
    return WorkloadView(
        now=at,
        workload=Workload(namespace="shop", kind="Deployment", name="web", replicas=len(seen), template=template),
        spec=rules,
        pods=seen,
        readings=readings,
        model=None,
        prices=Prices(),
        reaction_seconds=120.0,
        node_seconds=210.0,
        largest_node=fields.pop("largest_node", Resources.of(cpu=16_000, memory=64 * GIB)),
        period=fields.pop("period", 15.0),
    )
