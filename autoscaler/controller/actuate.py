"""
The only code that changes anything: it carries out a plan through a `Writer` and a `CloudProvider`.

`RecordActuator`, the default, has neither. Actions are tried in the plan's
order; one that fails does not stop the rest, and says why in its outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, assert_never

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

ObjectAction = (
    SetReplicas
    | SetRequests
    | ResizePod
    | EvictPod
    | CordonNode
    | UncordonNode
    | SetQuota
    | SetAside
    | GiveBack
)

DONE, HELD, FAILED = "done", "held", "failed"

MakeActuator = Callable[[ClusterSnapshot], Actuator]
"""Gives the actuator for the plan that was made from a snapshot."""


class Writer(Protocol):
    """
    Single changes to the cluster's objects. Values are absolute, so that doing one twice is doing it once.

    Raises (all methods): AccessError, TransientError; ConflictError when the
    object is gone or not as expected; InputError when the API refuses the value.
    """

    async def scale(self, workload: str, replicas: int, *, expected: int) -> None: ...
    async def set_requests(self, workload: str, containers: Sequence[ContainerSize]) -> None: ...
    async def resize_pod(self, pod: str, containers: Sequence[ContainerSize]) -> None: ...
    async def evict(self, pod: str, *, uid: str) -> None: ...
    async def cordon(self, node: str) -> None: ...
    async def uncordon(self, node: str) -> None: ...
    async def set_quota(self, namespace: str, name: str, hard: Sequence[tuple[str, int]]) -> None: ...
    async def set_aside(self, rival: str) -> None: ...
    async def give_back(self, rival: str) -> None: ...


class RecordActuator:
    """Does nothing: every action is `held`."""

    async def apply(self, plan: Plan) -> Sequence[Outcome]:
        return tuple(Outcome(action=action, result=HELD) for action in plan.actions)


class ApplyActuator:
    """
    Carries plans out.

    *nodes* are those of the snapshot that the plan was made from: they tell
    which machine a node is. Without a provider, node group actions fail.
    """

    def __init__(self, writer: Writer, provider: CloudProvider | None, *, nodes: Iterable[Node] = ()) -> None:
        self._writer = writer
        self._provider = provider
        self._nodes = nodes

    async def apply(self, plan: Plan) -> Sequence[Outcome]:
        return tuple([await self._try(action) for action in plan.actions])

    async def _try(self, action: AnyAction) -> Outcome:
        try:
            if isinstance(action, SetGroupSize | DeleteInstances):
                await self._resize_group(action)
            else:
                await self._write(action)
        except AutoscalerError as error:
            return Outcome(action=action, result=FAILED, message=str(error))
        return Outcome(action=action, result=DONE)

    async def _resize_group(self, action: SetGroupSize | DeleteInstances) -> None:
        provider = self._provider
        if provider is None:
            raise ConflictError(f"node group {action.group}: there is no provider to resize it")
        if isinstance(action, SetGroupSize):
            await provider.set_target_size(action.group, action.size, expected=action.expected)
            return
        ids = {node.name: node.instance_id for node in self._nodes if node.group == action.group}
        unknown = [name for name in action.nodes if not ids.get(name)]
        if unknown:
            raise ConflictError(f"node group {action.group}: no machine is known for {', '.join(unknown)}")
        await provider.delete_instances(action.group, [ids[name] for name in action.nodes], expected=action.expected)

    async def _write(self, action: ObjectAction) -> None:
        writer = self._writer
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


def record_only(snapshot: ClusterSnapshot) -> Actuator:
    """Return the actuator that does nothing, whatever the snapshot."""
    return RecordActuator()
