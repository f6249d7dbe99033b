"""Builds what the joint engine looks at, with as little said as a case needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from autoscaler.interfaces import WorkloadView
from autoscaler.model.pod import Container, Pod
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import Missing, MissingReason, Reading, Sample, Signal, SignalKind
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import DemandModel, Prices, SeasonalModel, ShapeOption, WorkloadModel
from autoscaler.model.spec import decode_hook
from autoscaler.model.units import GIB, MIB
from autoscaler.recommend.joint import JointRecommender
from autoscaler.recommend.joint_view import JointMemory, JointParams
from autoscaler.testing.builders import NOW, make_pod, make_shape, make_workload

KEY = "default/Deployment/web"
GAP = Missing(MissingReason.ABSENT)
SEEN: Mapping[str, float] = {"Cpu": 0.8, "Ready": 2.0, "MemoryPeak": 250.0 * MIB}
LEARNED = DemandModel(cores_per_request=0.0, peak_bytes=300.0 * MIB, weak=False, samples=20_000)


def readings(**values: float | Missing) -> dict[Signal, Reading]:
    """Return readings by kind; a number is a Sample."""
    return {
        Signal(KEY, SignalKind(kind)): value if isinstance(value, Missing) else Sample(value, NOW - 30, 60.0)
        for kind, value in values.items()
    }


def season(*, base: float = 1.0, peak: float = 1.0, at: int = 0, **fields: Any) -> SeasonalModel:
    """Return a trusted profile of *base* cores, and of *peak* from slot *at* on for one hour, on every day."""
    usual = np.full((2, 288), base, dtype="<f4")
    usual[:, at : at + 12] = peak
    defaults: dict[str, Any] = {"trusted": True, "history_max": max(base, peak), "days": 14.0}
    return SeasonalModel(peak=usual.tobytes(), mean=usual.tobytes(), **{**defaults, **fields})


def model(*, cpu: int | None = None, demand: DemandModel = LEARNED, **fields: Any) -> WorkloadModel:
    shape = ShapeOption(cpu=cpu, memory=512 * MIB, usd_per_hour=0.1) if cpu is not None else None
    return WorkloadModel(workload=KEY, fitted_at=NOW - 600, demand=demand, shape=shape, **fields)


def spec(**document: Any) -> MpaSpec:
    """Return a spec; keys are `goals`, `constraints`, `policy`."""
    whole = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, **document}
    return msgspec.convert(whole, MpaSpec, dec_hook=decode_hook)


def view(values: Mapping[Signal, Reading] | None = None, **fields: Any) -> WorkloadView:
    """Return two pods of 500m and 384Mi under 0.8 cores of load, with what *fields* changes."""
    shape = make_shape(
        cpu=fields.pop("cpu", 500), memory=fields.pop("memory", 384 * MIB), limits=fields.pop("limits", {})
    )
    replicas = fields.pop("replicas", 2)
    shape = msgspec.structs.replace(shape, containers=(*shape.containers, *fields.pop("sidecars", ())))
    pods: tuple[Pod, ...] = tuple(make_pod(f"web-{n}", shape=shape) for n in range(replicas))
    defaults: dict[str, Any] = {
        "now": NOW,
        "workload": make_workload(replicas=replicas, template=shape),
        "spec": spec(),
        "pods": pods,
        "readings": readings(**SEEN) if values is None else values,
        "model": None,
        "prices": Prices(),
        "reaction_seconds": 165.0,
        "node_seconds": 255.0,
        "largest_node": Resources.of(cpu=16_000, memory=64 * GIB),
        "period": 15.0,
    }
    return WorkloadView(**{**defaults, **fields})


def sidecar(cpu: int = 100, memory: int = 128 * MIB) -> Container:
    return Container(name="proxy", requests=Resources.of(cpu=cpu, memory=memory))


def ask(given: WorkloadView, memory: JointMemory | None = None, **params: Any) -> tuple[Recommendation, JointMemory]:
    return JointRecommender().recommend(given, JointParams(**params), memory or JointMemory())


def later(given: WorkloadView, seconds: float) -> WorkloadView:
    """Return the same sight, *seconds* later; samples stay as fresh as they were."""
    moved = {
        signal: Sample(reading.value, reading.at + seconds, reading.window) if isinstance(reading, Sample) else reading
        for signal, reading in given.readings.items()
    }
    return msgspec.structs.replace(given, now=given.now + seconds, readings=moved)


def settled(given: WorkloadView, *, minutes: int = 10, **params: Any) -> tuple[Recommendation, JointMemory]:
    """Look at the same every minute and return what is said in the end."""
    advice, memory = ask(given, **params)
    for minute in range(1, minutes + 1):
        advice, memory = ask(later(given, 60.0 * minute), memory, **params)
    return advice, memory
