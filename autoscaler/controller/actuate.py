"""
The only code that changes anything: it carries out a plan through a `Writer` and a `CloudProvider`.

`RecordActuator`, the default, has neither. Actions are tried in the plan's
order, those that are alike a few at a time; one that fails does not stop the
rest, and says why in its outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Protocol, assert_never

import msgspec

from autoscaler.errors import AutoscalerError, ConflictError
from autoscaler.interfaces import Actuator, CloudProvider, Outcome
from autoscaler.model.node import Node
from autoscaler.model.plan import (
    AnyAction,
    CordonNode,
    DeleteInstances,
    EvictPod,
    GiveBack,
    Plan,
    ResizePod,
    SetAside,
    SetGroupSize,
    SetQuota,
    SetReplicas,
    SetRequests,
    UncordonNode,
)
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.snapshot import ClusterSnapshot

if TYPE_CHECKING:
    from autoscaler.kube.client import ApiServer
    from autoscaler.kube.scale import ResourceOf

ObjectAction = (
    SetReplicas | SetRequests | ResizePod | EvictPod | CordonNode | UncordonNode | SetQuota | SetAside | GiveBack
)

DONE, VALID, HELD, FAILED = "done", "valid", "held", "failed"
_SIDE_BY_SIDE = SetGroupSize | SetReplicas | SetRequests | ResizePod
"""Actions whose targets do not depend on each other: several may be under way at once."""
_AT_ONCE = 8

MakeActuator = Callable[[ClusterSnapshot], Actuator]
"""Gives the actuator for the plan that was made from a snapshot."""

WhyNot = Callable[[], str]
"""Returns why nothing may be done now, "" where all may."""
Told = Callable[[Outcome], None]
"""Hears of an outcome."""


def nothing_against() -> str:
    """Forbid nothing."""
    return ""


def tell_nobody(outcome: Outcome) -> None:
    """Tell nobody of an outcome."""


class Writer(Protocol):
    """
    Single changes to the cluster's objects. Values are absolute, so that doing one twice is doing it once.

    Raises (all methods): AccessError, TransientError; ConflictError when the
    object is gone or not as expected; InputError when the API refuses the value.
    """

    async def scale(self, workload: str, replicas: int, *, expected: int) -> None: ...
    async def set_requests(self, workload: str, containers: Sequence[ContainerSize]) -> None: ...
    async def restore_requests(self, workload: str) -> None: ...
    async def resize_pod(self, pod: str, containers: Sequence[ContainerSize]) -> None: ...
    async def evict(self, pod: str, *, uid: str) -> None: ...
    async def cordon(self, node: str) -> None: ...
    async def uncordon(self, node: str) -> None: ...
    async def set_quota(self, namespace: str, name: str, hard: Sequence[tuple[str, int]]) -> None: ...
    async def set_aside(self, rival: str) -> None: ...
    async def give_back(self, rival: str) -> None: ...


class RecordActuator:
    """Does nothing: every action is `held`; *told* hears of each."""

    def __init__(self, *, told: Told = tell_nobody) -> None:
        self._told = told

    async def apply(self, plan: Plan) -> Sequence[Outcome]:
        outcomes = tuple(Outcome(action=action, result=HELD) for action in plan.actions)
        for outcome in outcomes:
            self._told(outcome)
        return outcomes


class ApplyActuator:
    """
    Carries plans out.

    Args:
        writer: changes objects of the cluster.
        provider: changes node groups; without one such actions fail.
        nodes: those of the snapshot that the plan was made from: they tell which machine a node is.
        why_not: asked before each action; what it returns, if anything, is why nothing may be done now.
        told: hears of each outcome as it comes.
        timeout_seconds: how long the provider may take for one action, None for no limit.
    """

    def __init__(
        self,
        writer: Writer,
        provider: CloudProvider | None,
        *,
        nodes: Iterable[Node] = (),
        why_not: WhyNot = nothing_against,
        told: Told = tell_nobody,
        timeout_seconds: float | None = 30.0,
    ) -> None:
        self._writer = writer
        self._provider = provider
        self._nodes = nodes
        self._why_not = why_not
        self._told = told
        self._timeout_seconds = timeout_seconds
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def apply(self, plan: Plan) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for _, stage in groupby(plan.actions, key=_stage):
            actions = list(stage)
            if len(actions) == 1 or not isinstance(actions[0], _SIDE_BY_SIDE):
                outcomes += [await self._try(action) for action in actions]
                continue
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._try(action)) for action in actions]
            outcomes += [task.result() for task in tasks]
        return tuple(outcomes)

    async def _try(self, action: AnyAction) -> Outcome:
        async with self._turns:
            outcome = await self._outcome(action)
        self._told(outcome)
        return outcome

    async def _outcome(self, action: AnyAction) -> Outcome:
        reason = self._why_not()
        if reason:
            return Outcome(action=action, result=HELD, message=reason)
        try:
            if isinstance(action, SetGroupSize | DeleteInstances):
                return await self._resize_group(action)
            return await self._write(action)
        except AutoscalerError as error:
            return Outcome(action=action, result=FAILED, message=str(error))
        except TimeoutError:
            return Outcome(action=action, result=FAILED, message=f"no answer within {self._timeout_seconds:g} s")
        except Exception as error:  # a provider that is a plug-in may fail in any way: only this action does
            return Outcome(action=action, result=FAILED, message=f"{type(error).__name__}: {error}")

    async def _resize_group(self, action: SetGroupSize | DeleteInstances) -> Outcome:
        if self._provider is None:
            raise ConflictError(f"node group {action.group}: there is no provider to resize it")
        async with asyncio.timeout(self._timeout_seconds):
            await self._at_provider(self._provider, action)
        return Outcome(action=action, result=DONE)

    async def _at_provider(self, provider: CloudProvider, action: SetGroupSize | DeleteInstances) -> None:
        if isinstance(action, SetGroupSize):
            await provider.set_target_size(action.group, action.size, expected=action.expected)
            return
        ids = {node.name: node.instance_id for node in self._nodes if node.group == action.group}
        unknown = [name for name in action.nodes if not ids.get(name)]
        if unknown:
            raise ConflictError(f"node group {action.group}: no machine is known for {', '.join(unknown)}")
        await provider.delete_instances(action.group, [ids[name] for name in action.nodes], expected=action.expected)

    async def _write(self, action: ObjectAction) -> Outcome:
        await _written(self._writer, action)
        return Outcome(action=action, result=DONE)


class ValidateActuator(ApplyActuator):
    """Asks a *writer* that changes nothing whether each action would be taken; node groups are only recorded."""

    def __init__(self, writer: Writer, *, why_not: WhyNot = nothing_against, told: Told = tell_nobody) -> None:
        super().__init__(writer, None, why_not=why_not, told=told)

    async def _resize_group(self, action: SetGroupSize | DeleteInstances) -> Outcome:
        return Outcome(action=action, result=HELD, message="node groups know no dry run: recorded only")

    async def _write(self, action: ObjectAction) -> Outcome:
        return msgspec.structs.replace(await super()._write(action), result=VALID)


async def _written(writer: Writer, action: ObjectAction) -> None:
    match action:
        case SetReplicas():
            await writer.scale(action.workload, action.replicas, expected=action.expected)
        case SetRequests():
            await writer.set_requests(action.workload, action.containers)
        case ResizePod():
            await writer.resize_pod(action.pod, action.containers)
        case EvictPod():
            await writer.evict(action.pod, uid=action.uid)
        case CordonNode():
            await writer.cordon(action.node)
        case UncordonNode():
            await writer.uncordon(action.node)
        case SetQuota():
            await writer.set_quota(action.namespace, action.name, action.hard)
        case SetAside():
            await writer.set_aside(action.rival)
        case GiveBack():
            await writer.give_back(action.rival)
        case _:
            assert_never(action)


def cluster_writer(api: ApiServer, *, dry_run: bool, roll_out: bool, resources: ResourceOf) -> Writer:
    """
    Return the writer of a real cluster.

    *dry_run* changes nothing; without *roll_out* sizes are noted on workloads and templates left alone.
    *resources* tells where custom kinds are served.
    """
    from autoscaler.kube.write import KubeWriter

    return KubeWriter(api, dry_run=dry_run, roll_out=roll_out, resources=resources)


def _stage(action: AnyAction) -> str:
    """Return what the actions that may go side by side have in common: templates and resizes come mixed."""
    return "requests" if isinstance(action, SetRequests | ResizePod) else type(action).__name__


def record_only(snapshot: ClusterSnapshot) -> Actuator:
    """Return the actuator that does nothing, whatever the snapshot."""
    return RecordActuator()
