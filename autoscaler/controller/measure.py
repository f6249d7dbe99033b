"""What one turn adds to the controller's own metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from autoscaler.controller.loop import Cycle
from autoscaler.interfaces import Clock, CloudProvider, KnowsMembers, Outcome, ReportsProblems
from autoscaler.model.node import InstanceType, Node, NodeGroup
from autoscaler.model.readings import Missing
from autoscaler.telemetry.metrics import Metrics, set_by_label

_Result = TypeVar("_Result")


def measure_cycle(metrics: Metrics, cycle: Cycle) -> None:
    """Count and set everything that a whole turn says; actions are counted as they come (`count_action`)."""
    for phase, seconds in cycle.seconds:
        metrics.phase_seconds.labels(phase).observe(seconds)
    for problem in cycle.problems:
        metrics.problems.labels(problem.partition(":")[0]).inc()
    _measure_cluster(metrics, cycle)
    _measure_decision(metrics, cycle)


def count_action(metrics: Metrics, outcome: Outcome) -> None:
    metrics.actions.labels(type(outcome.action).__name__, outcome.result).inc()


def _measure_cluster(metrics: Metrics, cycle: Cycle) -> None:
    snapshot = cycle.snapshot
    waiting = [pod for pod in snapshot.pods if not pod.node and pod.is_active]
    unschedulable = sum(pod.unschedulable_since is not None for pod in waiting)
    metrics.pods.labels("placed").set(len(snapshot.pods) - len(waiting))
    metrics.pods.labels("pending").set(len(waiting) - unschedulable)
    metrics.pods.labels("unschedulable").set(unschedulable)
    nodes = Counter(map(_node_state, snapshot.nodes))
    for state in ("ready", "not_ready", "upcoming"):
        metrics.nodes.labels(state).set(nodes[state])
    governed = len(cycle.decision.recommendations)
    metrics.workloads.labels("governed").set(governed)
    metrics.workloads.labels("other").set(max(0, len(snapshot.workloads) - governed))
    missing = Counter(str(reading.reason) for _, reading in snapshot.readings if isinstance(reading, Missing))
    metrics.readings.set(len(snapshot.readings) - missing.total())
    set_by_label(metrics.missing, missing)
    trusted = sum(model.season.trusted for model in snapshot.models)
    metrics.models.labels("trusted").set(trusted)
    metrics.models.labels("untrusted").set(len(snapshot.models) - trusted)


def _measure_decision(metrics: Metrics, cycle: Cycle) -> None:
    plan = cycle.decision.plan
    set_by_label(metrics.advised, Counter(type(action).__name__ for action in plan.advised))
    set_by_label(metrics.held, Counter(str(note.reasons[0].code) for note in cycle.decision.held if note.reasons))
    metrics.cost.labels("now").set(plan.usd_per_hour_now)
    metrics.cost.labels("after").set(plan.usd_per_hour_after)
    if plan.bound_gap is not None:
        metrics.bound_gap.set(plan.bound_gap)


def _node_state(node: Node) -> str:
    if not node.registered:
        return "upcoming"
    return "ready" if node.ready else "not_ready"


class MeasuredProvider:
    """A CloudProvider that counts and times the calls of another."""

    def __init__(self, provider: CloudProvider, metrics: Metrics, clock: Clock) -> None:
        self.name = provider.name
        self._provider = provider
        self._metrics = metrics
        self._clock = clock

    @property
    def problems(self) -> Sequence[str]:
        """What the other left out when it last listed its groups."""
        return self._provider.problems if isinstance(self._provider, ReportsProblems) else ()

    @property
    def members(self) -> Mapping[str, str]:
        """Whose instances are whose, as far as the other knows."""
        return self._provider.members if isinstance(self._provider, KnowsMembers) else {}

    async def list_node_groups(self) -> Sequence[NodeGroup]:
        return await self._measured("list_node_groups", self._provider.list_node_groups())

    async def list_instance_types(self, group: str) -> Sequence[InstanceType]:
        return await self._measured("list_instance_types", self._provider.list_instance_types(group))

    async def set_target_size(self, group: str, size: int, *, expected: int) -> None:
        await self._measured("set_target_size", self._provider.set_target_size(group, size, expected=expected))

    async def delete_instances(self, group: str, ids: Sequence[str], *, expected: int) -> None:
        await self._measured("delete_instances", self._provider.delete_instances(group, ids, expected=expected))

    async def aclose(self) -> None:
        await self._provider.aclose()

    async def _measured(self, call: str, work: Coroutine[Any, Any, _Result]) -> _Result:
        began, result = self._clock.monotonic(), "failed"
        try:
            answer = await work
            result = "done"
            return answer
        finally:
            self._metrics.provider_calls.labels(call, result).inc()
            self._metrics.provider_seconds.labels(call).observe(self._clock.monotonic() - began)


async def watch_loop_lag(metrics: Metrics, clock: Clock, *, every: float = 0.5) -> None:
    """Sample, until cancelled, how late the event loop is."""
    while True:
        due = clock.monotonic() + every
        await clock.sleep(every)
        metrics.loop_lag.observe(max(0.0, clock.monotonic() - due))
