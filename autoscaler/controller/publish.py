"""Tells the cluster's users what was decided and done: statuses of our objects, and events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from autoscaler.controller.in_force import PoliciesInForce
from autoscaler.controller.loop import Cycle
from autoscaler.errors import TransientError
from autoscaler.interfaces import Clock, Outcome
from autoscaler.kube.buffers import BufferRow, buffer_statuses
from autoscaler.kube.client import ApiServer
from autoscaler.kube.event_text import events_of
from autoscaler.kube.events import EventRecorder, ObjectEvent
from autoscaler.kube.policies import PolicyProblem
from autoscaler.kube.status import StatusWriter
from autoscaler.kube.status_text import ObjectStatus, Told, statuses_of
from autoscaler.model.policy import NodeEngine, UpdateMode
from autoscaler.planning.effective import cluster_rules
from autoscaler.telemetry.record import digest_of

RETRY_SECONDS = 10.0


class Publisher:
    """
    Publishes turns; *documents* gives the objects whose status is ours.

    *buffers* gives the CapacityBuffers where it is us who keep room for them, and so write their status.
    """

    def __init__(
        self,
        calls: ApiServer,
        clock: Clock,
        *,
        documents: Callable[[], Iterable[Mapping[str, Any]]],
        policies: PoliciesInForce,
        instance: str,
        buffers: Callable[[], Sequence[BufferRow]] = tuple,
    ) -> None:
        self._buffers = buffers
        self._documents = documents
        self._policies = policies
        self._statuses = StatusWriter(calls, clock)
        self._events = EventRecorder(calls, clock, instance=instance)

    async def publish(self, cycle: Cycle, outcomes: Sequence[Outcome]) -> None:
        """
        Write what is news.

        Raises:
            TransientError: not all could be written; the next turn tries again.
        """
        documents, problems = tuple(self._documents()), self._policies.problems
        statuses, events = await asyncio.to_thread(_texts, documents, cycle, outcomes, problems=problems)
        counts = await self._events.publish(events)
        published = await self._statuses.publish((*statuses, *_of_buffers(self._buffers(), cycle)))
        if published.failed or counts.failed:
            message = f"{published.failed} statuses and {counts.failed} events not written: {published.problem}"
            raise TransientError(message.rstrip(": "), retry_after_seconds=RETRY_SECONDS)


def _of_buffers(rows: Sequence[BufferRow], cycle: Cycle) -> Sequence[ObjectStatus]:
    snapshot = cycle.snapshot
    if not rows:
        return ()
    rules, why_not = cluster_rules(cycle.policies)[1], ""
    if not snapshot.node_groups:
        why_not = "there is no node group to keep room in"
    elif rules.nodes.engine is not NodeEngine.JOINT:
        why_not = f"node engine {rules.nodes.engine.value} keeps no room for buffers; joint does"
    elif rules.mode in (UpdateMode.OFF, UpdateMode.RECOMMEND):
        why_not = f"mode {rules.mode.value}: nodes are planned, not changed"
    return buffer_statuses(rows, snapshot.buffers, snapshot.workloads, why_not=why_not, now=snapshot.observed_at)


def _texts(
    documents: Sequence[Mapping[str, Any]],
    cycle: Cycle,
    outcomes: Sequence[Outcome],
    *,
    problems: Sequence[PolicyProblem],
) -> tuple[Sequence[ObjectStatus], Sequence[ObjectEvent]]:
    # The digest says which record a deed came of; it takes in the whole cluster, so it is made only for deeds.
    digest = digest_of(cycle.snapshot, cycle.policies, cycle.before) if cycle.outcomes else ""
    told = Told(
        snapshot=cycle.snapshot,
        policies=cycle.policies,
        decision=cycle.decision,
        problems=problems,
        digest=digest,
    )
    statuses = statuses_of(documents, told)
    return statuses, events_of(outcomes, statuses, told.policies)
