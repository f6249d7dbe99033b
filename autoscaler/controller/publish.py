"""Tells the cluster's users what was decided and done: statuses of our objects, and events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from autoscaler.controller.in_force import PoliciesInForce
from autoscaler.controller.loop import Cycle
from autoscaler.errors import TransientError
from autoscaler.interfaces import Clock, Outcome
from autoscaler.kube.client import ApiServer
from autoscaler.kube.event_text import events_of
from autoscaler.kube.events import EventRecorder, ObjectEvent
from autoscaler.kube.policies import PolicyProblem
from autoscaler.kube.status import StatusWriter
from autoscaler.kube.status_text import ObjectStatus, Told, statuses_of
from autoscaler.telemetry.record import digest_of

RETRY_SECONDS = 10.0


class Publisher:
    """Publishes turns; *documents* gives the objects whose status is ours."""

    def __init__(
        self,
        calls: ApiServer,
        clock: Clock,
        *,
        documents: Callable[[], Iterable[Mapping[str, Any]]],
        policies: PoliciesInForce,
        instance: str,
    ) -> None:
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
        published = await self._statuses.publish(statuses)
        if published.failed or counts.failed:
            message = f"{published.failed} statuses and {counts.failed} events not written: {published.problem}"
            raise TransientError(message.rstrip(": "), retry_after_seconds=RETRY_SECONDS)


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
