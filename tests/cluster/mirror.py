"""
What the emulator knows of the cluster: a list, then a watch, of each kind it needs.

Deliberately not the autoscaler's own store, which is under test here.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

import msgspec

from autoscaler.errors import AutoscalerError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import ApiServer

Kept = TypeVar("Kept", bound="Object")
_RETRY_SECONDS = 0.5
_WATCH_SECONDS = 300


class OwnerReference(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    kind: str
    name: str
    controller: bool = False


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}
    owner_references: list[OwnerReference] = []


class Object(msgspec.Struct, frozen=True):
    metadata: Metadata


class ResourceAmounts(msgspec.Struct, frozen=True):
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class ContainerSpec(msgspec.Struct, frozen=True):
    name: str
    resources: ResourceAmounts = ResourceAmounts()


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    containers: list[ContainerSpec]
    node_name: str = ""


class Condition(msgspec.Struct, frozen=True, gc=False):
    type: str
    status: str


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    restart_count: int = 0


class PodStatus(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = "Pending"
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []


class Pod(Object, frozen=True):
    spec: PodSpec
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        return any(each.type == "Ready" and each.status == "True" for each in self.status.conditions)

    @property
    def restarts(self) -> int:
        return sum(each.restart_count for each in self.status.container_statuses)


class NodeStatus(msgspec.Struct, frozen=True):
    allocatable: dict[str, str] = {}


class Node(Object, frozen=True):
    status: NodeStatus = NodeStatus()


class DeploymentSpec(msgspec.Struct, frozen=True):
    replicas: int = 1


class Deployment(Object, frozen=True):
    spec: DeploymentSpec


class _ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class Mirror(Generic[Kept]):
    """The objects under *path*, by (namespace, name); `items` is replaced in place while `run` runs."""

    def __init__(self, api: ApiServer, clock: Clock, path: str, kind: type[Kept]) -> None:
        self.items: dict[tuple[str, str], Kept] = {}
        self.listed = asyncio.Event()
        self._api, self._clock, self._path, self._kind = api, clock, path, kind

    async def run(self) -> None:
        """Follow the server until cancelled; after any trouble, list anew."""
        while True:
            try:
                version = await self._list()
                self.listed.set()
                await self._watch(version)
            except (AutoscalerError, msgspec.MsgspecError):
                await self._clock.sleep(_RETRY_SECONDS)

    async def _list(self) -> str:
        answer = msgspec.json.decode(await self._api.get(self._path), type=_List)
        found = [msgspec.json.decode(item, type=self._kind) for item in answer.items or ()]
        self.items.clear()
        self.items.update((_key(item), item) for item in found)
        return answer.metadata.resource_version

    async def _watch(self, version: str) -> None:
        params = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
        async with self._api.lines(self._path, params=params, silence=_WATCH_SECONDS * 2) as lines:
            async for line in lines:
                event = msgspec.json.decode(line, type=_Event)
                if event.type not in ("ADDED", "MODIFIED", "DELETED"):
                    return
                item = msgspec.json.decode(event.object, type=self._kind)
                if event.type == "DELETED":
                    self.items.pop(_key(item), None)
                else:
                    self.items[_key(item)] = item


def _key(item: Object) -> tuple[str, str]:
    return item.metadata.namespace, item.metadata.name
