"""Plays the keda engine on one workload, cycle by cycle, as if its advice were followed at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import Missing, MissingReason, Reading, Sample, Signal, SignalKind
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.spec import decode_hook
from autoscaler.recommend.keda import KedaMemory, KedaRecommender
from autoscaler.recommend.keda_params import KedaParams
from tests.unit.recommend.hpa_views import KEY, NOW, view

ENGINE = KedaRecommender()
FAILED = Missing(MissingReason.FAILED, "server down")
PERIOD = 30.0


def trigger(name: str = "queue", threshold: str = "10", **fields: Any) -> Mapping[str, Any]:
    """Return a Prometheus trigger; its query is its name if not given."""
    kind = fields.pop("kind", "AverageValue")
    target = {"type": kind, "value" if kind == "Value" else "averageValue": threshold}
    return {"type": "Prometheus", "prometheus": {"name": name, "query": name, "target": target, **fields}}


def spec(*metrics: Mapping[str, Any], schedules: Iterable[Mapping[str, Any]] = (), **fields: Any) -> MpaSpec:
    """Return a spec from 0 to 100 replicas; fields are minReplicas, maxReplicas and behavior."""
    rules = {"engine": "keda", "updateMode": "Auto", "schedules": list(schedules)}
    if "behavior" in fields:
        rules["behavior"] = fields.pop("behavior")
    document = {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "goals": {"metrics": list(metrics)},
        "constraints": {"global": {"minReplicas": 0, "maxReplicas": 100, **fields}},
        "policy": rules,
    }
    return msgspec.convert(document, MpaSpec, dec_hook=decode_hook)


def params(**fields: Any) -> KedaParams:
    return msgspec.convert(fields, KedaParams)


def seen(**values: float | Reading) -> dict[Signal, Reading]:
    """Return what the queries of these names came to."""
    return {
        Signal(KEY, SignalKind.PROMETHEUS, name): Sample(value, NOW) if isinstance(value, (int, float)) else value
        for name, value in values.items()
    }


class Played:
    """One workload from *replicas* on; `at` counts the seconds."""

    def __init__(self, rules: MpaSpec, settings: KedaParams | None = None, *, replicas: int = 0) -> None:
        self.rules, self.settings, self.replicas = rules, settings or KedaParams(), replicas
        self.memory, self.at = KedaMemory(), 0.0
        self.advice: Recommendation | None = None

    def shown(self, readings: Mapping[Signal, Reading], *, open_schedules: tuple[str, ...] = ()) -> WorkloadView:
        found = view(self.rules, readings, replicas=self.replicas, at=self.at)
        return msgspec.structs.replace(found, open_schedules=open_schedules, period=PERIOD)

    def turn(
        self, *, open_schedules: tuple[str, ...] = (), also: Mapping[Signal, Reading] | None = None, **values: Any
    ) -> int:
        """Decide on these readings, do it, and let a period pass; return the replicas."""
        readings = {**seen(**values), **(also or {})}
        found = self.shown(readings, open_schedules=open_schedules)
        self.advice, self.memory = ENGINE.recommend(found, self.settings, self.memory)
        assert self.advice.replicas is not None
        self.replicas = self.advice.replicas
        self.at += PERIOD
        return self.replicas

    def turns(self, count: int, **values: Any) -> list[int]:
        return [self.turn(**values) for _ in range(count)]

    def condition(self, kind: str) -> tuple[str, str]:
        assert self.advice is not None
        return next((each.status, each.reason) for each in self.advice.conditions if each.type == kind)
