"""What a run was like: series step by step, and the totals that engines are compared by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from autoscaler.model.arrays import Floats
from autoscaler.model.plan import Decision
from autoscaler.model.units import DAY, HOUR
from autoscaler.simulator.serving import ServiceStep
from autoscaler.simulator.spec import WorldSpec

if TYPE_CHECKING:
    from autoscaler.simulator.world import Counters, World

_BY_SERVICE = (
    "load", "replicas", "pods", "ready", "cpu_request", "memory_request", "cores", "bytes_used",
    "slow", "dropped", "latency",
)  # fmt: skip


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """
    Totals of the counted part of a run.

    Shares are 0-1. `slo_violation_share` is the share of service-intervals in
    which more than the allowed share of requests was slower than the objective
    or failed; `slow_share` and `dropped_share` are shares of all load;
    `slack_cpu` and `slack_memory` are the shares of what pods requested that
    they did not use (below 0 where they used more); `cpu_utilisation` is cores
    used over cores that nodes have for pods. `bound_gap` is the mean over
    decisions that bought nodes, NaN when none did. `cpu_seconds` is this
    process's own, the only figure that differs from run to run.
    """

    usd: float
    usd_per_day: float
    node_hours_by_type: dict[str, float]
    slo_violation_share: float
    dropped_share: float
    slow_share: float
    oom_kills: int
    evictions: int
    lost_pods: int
    pod_starts: int
    node_launches: int
    pending_pod_minutes: float
    slack_cpu: float
    slack_memory: float
    cpu_utilisation: float
    bound_gap: float
    cpu_seconds: float
    decisions: int
    failed_actions: int


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """
    A whole run. `times` are the steps' ends (epoch seconds), the warm-up left out.

    Service arrays are float32 of shape [steps, services]: `load` in requests a
    second (or cores), `cpu_request` and `memory_request` those of a new pod
    (cores, bytes), `cores` and `bytes_used` of all pods together, `slow` and
    `dropped` shares of load, `latency` in seconds (NaN without load).
    `nodes` is [steps, types] with nodes in service, `usd_per_hour` [steps].
    """

    spec_name: str
    seed: int
    services: tuple[str, ...]
    instance_types: tuple[str, ...]
    times: Floats
    by_service: dict[str, npt.NDArray[np.float32]]
    nodes: npt.NDArray[np.float32]
    usd_per_hour: npt.NDArray[np.float32]
    violations: Floats
    """By service: the share of intervals that missed the objective."""
    metrics: Metrics


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """
    A glance at a run for a live view: arrays are by service; `decision` is None
    where none was due. `step` counts from 0 and is below 0 in the warm-up.
    """

    step: int
    steps: int
    time: float
    services: tuple[str, ...]
    load: Floats
    replicas: Floats
    ready: Floats
    slow: Floats
    latency: Floats
    nodes_by_type: dict[str, int]
    usd_per_hour: float
    usd: float
    slo_violation_share: float
    pending_pods: int
    decision: Decision | None = None


class Recorder:
    """Collects a run step by step."""

    def __init__(self, spec: WorldSpec) -> None:
        steps, services = spec.length_steps, len(spec.services)
        self.instance_types = tuple(sorted({pool.instance.name for pool in spec.pools}))
        self._spec = spec
        self._type_row = {name: row for row, name in enumerate(self.instance_types)}
        self._by_service = {name: np.zeros((steps, services), np.float32) for name in _BY_SERVICE}
        self._nodes = np.zeros((steps, len(self.instance_types)), np.float32)
        self._usd_per_hour = np.zeros(steps, np.float32)
        self._allowed = np.array([service.allowed_share for service in spec.services])
        self._violations = np.zeros(services)
        self._judged = max(1, sum(not service.is_placeholder for service in spec.services))
        self._sums = dict.fromkeys(("load", "slow", "dropped", "cores", "asked", "bytes", "asked_bytes", "room"), 0.0)
        self._gaps: list[float] = []
        self._before: tuple[Counters, float, int] | None = None
        self.steps = 0
        self.decisions = 0
        self.failed_actions = 0

    @property
    def slo_violation_share(self) -> float:
        return float(self._violations.sum()) / (max(1, self.steps) * self._judged)

    def begin(self, world: World) -> None:
        """Start to count: what the world's counters and bill say now is zero."""
        self._before = (msgspec.structs.replace(world.counters), world.cloud.usd, world.cloud.launches)

    def step(self, world: World, step: ServiceStep) -> None:
        """Note one counted step, after it was played."""
        row = self.steps
        values = {
            "load": step.load,
            "replicas": np.array([fleet.replicas for fleet in world.fleets]),
            "pods": step.pods,
            "ready": step.ready,
            "cpu_request": np.array([fleet.template.containers[0].requests.cpu / 1000 for fleet in world.fleets]),
            "memory_request": np.array([fleet.template.containers[0].requests.memory for fleet in world.fleets]),
            "cores": step.cores,
            "bytes_used": step.used_bytes,
            "slow": step.slow,
            "dropped": step.dropped,
            "latency": step.latency,
        }
        for name, column in values.items():
            self._by_service[name][row] = column
        for name, count in world.nodes_by_type().items():
            self._nodes[row, self._type_row[name]] = count
        self._usd_per_hour[row] = world.cloud.usd_per_hour
        self._violations += step.slow > self._allowed
        amounts = {
            "load": step.load.sum(),
            "slow": (step.slow * step.load).sum(),
            "dropped": (step.dropped * step.load).sum(),
            "cores": step.cores.sum(),
            "asked": step.requested.sum(),
            "bytes": step.used_bytes.sum(),
            "asked_bytes": step.requested_bytes.sum(),
            "room": world.nodes.cores.sum(),
        }
        for name, amount in amounts.items():
            self._sums[name] += float(amount)
        self.steps += 1

    def decision(self, decision: Decision, *, failed: int) -> None:
        self.decisions += 1
        self.failed_actions += failed
        if decision.plan.bound_gap is not None:
            self._gaps.append(decision.plan.bound_gap)

    def result(self, world: World, *, cpu_seconds: float) -> RunResult:
        """Return the run; raises ValueError before `begin`."""
        if self._before is None:
            raise ValueError("nothing was counted: the run has not begun")
        counters, usd, launches = self._before
        now, sums = world.counters, self._sums
        spent = world.cloud.usd - usd
        hours = self._nodes.sum(axis=0, dtype=np.float64) * self._spec.step_seconds / HOUR
        metrics = Metrics(
            usd=spent,
            usd_per_day=spent * DAY / self._spec.length_seconds,
            node_hours_by_type={
                name: float(value) for name, value in zip(self.instance_types, hours, strict=True) if value
            },
            slo_violation_share=self.slo_violation_share,
            dropped_share=_share(sums["dropped"], sums["load"]),
            slow_share=_share(sums["slow"], sums["load"]),
            oom_kills=now.oom_kills - counters.oom_kills,
            evictions=now.evictions - counters.evictions,
            lost_pods=now.lost_pods - counters.lost_pods,
            pod_starts=now.pod_starts - counters.pod_starts,
            node_launches=world.cloud.launches - launches,
            pending_pod_minutes=(now.pending_seconds - counters.pending_seconds) / 60,
            slack_cpu=_share(sums["asked"] - sums["cores"], sums["asked"]),
            slack_memory=_share(sums["asked_bytes"] - sums["bytes"], sums["asked_bytes"]),
            cpu_utilisation=_share(sums["cores"], sums["room"]),
            bound_gap=float(np.mean(self._gaps)) if self._gaps else float("nan"),
            cpu_seconds=cpu_seconds,
            decisions=self.decisions,
            failed_actions=self.failed_actions,
        )
        return RunResult(
            spec_name=self._spec.name,
            seed=self._spec.seed,
            services=tuple(service.key for service in self._spec.services),
            instance_types=self.instance_types,
            times=self._spec.start + self._spec.step_seconds * np.arange(1, self.steps + 1, dtype=np.float64),
            by_service=self._by_service,
            nodes=self._nodes,
            usd_per_hour=self._usd_per_hour,
            violations=self._violations / max(1, self.steps),
            metrics=metrics,
        )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
