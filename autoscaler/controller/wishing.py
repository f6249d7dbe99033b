"""
Sizes that go to new pods by the webhook, templates left alone.

The plan sees such a workload's template as its next pod will be; whoever
answers the webhook reads the sizes from the workload itself, so that every
replica of this program can, and a restart forgets nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from autoscaler.interfaces import Clock, ClusterReader, Outcome
from autoscaler.kube.client import ApiServer
from autoscaler.kube.scale import ResourceOf
from autoscaler.kube.wishes import Wishes, read_wishes
from autoscaler.model.plan import SetRequests
from autoscaler.model.pod import PodShape
from autoscaler.model.policy import Policies, UpdateMode
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.planning.effective import effective_policies
from autoscaler.recommend.updater import resized

KNOWN_SECONDS = 5.0
"""How long an answer is used again: a roll-out creates many pods of one workload at once."""
_CALL_SECONDS = 0.5
_ACTING = (UpdateMode.AUTO, UpdateMode.INITIAL)


class WishedTemplates:
    """
    A ClusterReader that shows templates with the sizes that were wished for.

    What a former process wished for is not known here: such a wish is made
    once more, and changes nothing.
    """

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster
        self._wished: dict[str, tuple[ContainerSize, ...]] = {}
        self._shapes: dict[str, tuple[PodShape, PodShape]] = {}

    def told(self, outcome: Outcome) -> None:
        """Hear of an outcome: a wish that was noted counts from now on."""
        action = outcome.action
        if isinstance(action, SetRequests) and outcome.result == "done":
            self._wished[action.workload] = action.containers
            self._shapes.pop(action.workload, None)

    async def observe(self, at: float) -> ClusterSnapshot:
        snapshot = await self._cluster.observe(at)
        if not self._wished:
            return snapshot
        workloads = tuple(
            msgspec.structs.replace(each, template=self._shape(each.key, each.template))
            if each.key in self._wished
            else each
            for each in snapshot.workloads
        )
        return msgspec.structs.replace(snapshot, workloads=workloads)

    def _shape(self, workload: str, template: PodShape) -> PodShape:
        """Return the template resized; the same object while nothing changes, as the planner expects."""
        known = self._shapes.get(workload)
        if known is None or known[0] is not template:
            known = self._shapes[workload] = (template, resized(template, self._wished[workload]))
        return known[1]


class WishesAsked:
    """
    Answers the webhook: what new pods of a workload should get, {} where its policy lets us do nothing.

    Args:
        api: where workloads are.
        clock: tells how old an answer is.
        cluster: gives workloads, to tell which policy governs one.
        policies: those in force now.
        resources: where workloads of custom kinds are served.
    """

    def __init__(
        self,
        api: ApiServer,
        clock: Clock,
        *,
        cluster: ClusterReader,
        policies: Callable[[], Policies],
        resources: ResourceOf | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._cluster = cluster
        self._policies = policies
        self._resources = resources
        self._acting: frozenset[str] = frozenset()
        self._acting_until = -float("inf")
        self._known: dict[str, tuple[float, Wishes]] = {}

    async def __call__(self, workload: str) -> Wishes:
        now = self._clock.monotonic()
        if now >= self._acting_until:
            self._acting = await self._governed()
            self._acting_until = now + KNOWN_SECONDS
            self._known = {key: entry for key, entry in self._known.items() if entry[0] > now}
        if workload not in self._acting:
            return {}
        known = self._known.get(workload)
        if known is None or known[0] <= now:
            wishes = await read_wishes(self._api, workload, resources=self._resources, timeout=_CALL_SECONDS)
            known = self._known[workload] = (now + KNOWN_SECONDS, wishes)
        return known[1]

    async def _governed(self) -> frozenset[str]:
        snapshot = await self._cluster.observe(self._clock.now())
        governed = effective_policies(snapshot, self._policies())
        return frozenset(key for key, effective in governed.items() if effective.mode in _ACTING)
