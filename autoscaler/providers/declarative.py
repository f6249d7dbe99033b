"""
CloudProvider on objects that another controller carries out: a size is set by editing one field of its object.

The field is set by server-side apply with the version of the object that was
read, so that a second writer in between makes a conflict and no second
purchase. All state is in the objects. A size is never lowered but by as many
nodes as were chosen, and only where the API lets us say which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from autoscaler.errors import ConflictError, TransientError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import APPLY, ApiServer, NotFoundError
from autoscaler.kube.edits import FIELD_MANAGER
from autoscaler.model.node import InstanceType, NodeGroup
from autoscaler.providers import ack, cluster_api, config_connector
from autoscaler.providers.cluster_api import API_GROUP, DELETE, DEPLOYMENT, Machine, id_of, machine_of
from autoscaler.providers.declared import Document, Kind, appliers_of, field, instance_type_of

CALL_SECONDS = 5.0
"""A call's time-out: shorter than the time between a leader's last act and its lease's end."""
RETRY_SECONDS = 10.0
KINDS: Mapping[str, Sequence[Kind]] = {
    ack.PROVIDER: ack.KINDS,
    cluster_api.PROVIDER: cluster_api.KINDS,
    config_connector.PROVIDER: config_connector.KINDS,
}
"""By the provider's name."""
_PAGE = 500
_APPLY = {"fieldManager": FIELD_MANAGER, "force": "true"}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An object and the group it is; `collection` is the path of the objects of its kind and namespace."""

    kind: Kind
    api_version: str
    collection: str
    document: Document
    group: NodeGroup

    @property
    def name(self) -> str:
        return str(self.document["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.document["metadata"]["namespace"])

    @property
    def title(self) -> str:
        return f"{self.kind.kind} {self.namespace}/{self.name}"


class DeclarativeProvider:
    """
    Sizes the objects of the provider *name*: `ack`, `cluster-api` or `config-connector`.

    Raises (all methods) also what `ApiServer` raises. Objects are listed *page* at a time.
    """

    def __init__(self, name: str, api: ApiServer, clock: Clock, *, page: int = _PAGE) -> None:
        self.name = name
        self._kinds = KINDS[name]
        self._api, self._clock, self._page = api, clock, page
        self._versions: dict[str, str] = {}
        self._found: Mapping[str, Found] = {}
        self.members: Mapping[str, str] = {}
        """Group by instance id, as last listed, where nodes do not say it themselves."""
        self.problems: tuple[str, ...] = ()
        """Objects that were left out when last listed, one line each."""

    async def list_node_groups(self) -> Sequence[NodeGroup]:
        """Return the groups; an object that cannot be used is left out and named in `problems`."""
        found: dict[str, Found] = {}
        problems: list[str] = []
        for kind in self._kinds:
            for each in await self._objects(kind, problems):
                if each.group.name in found:
                    other = found[each.group.name].title
                    problems.append(f"{each.title}: metadata.name: group {each.group.name} is that of {other}")
                    continue
                found[each.group.name] = each
        self._found = dict(sorted(found.items()))
        self.members = await self._members()
        self.problems = tuple(problems)
        return [each.group for each in self._found.values()]

    async def list_instance_types(self, group: str) -> Sequence[InstanceType]:
        """Return the one type that stands for the group's."""
        return (instance_type_of((await self._known(group)).group),)

    async def set_target_size(self, group: str, size: int, *, expected: int) -> None:
        """
        Set the field to *size*.

        Raises:
            ConflictError: the size is not *expected*, the bounds do not allow *size*, it is lower
                (the owner would choose the nodes), or somebody else applies the field, too.
        """
        found = await self._again(group)
        now = found.group
        _expect(now, expected)
        if not now.min_size <= size <= now.max_size:
            raise ConflictError(f"node group {group}: size {size} is not within {now.min_size} to {now.max_size}")
        if size < expected:
            raise ConflictError(
                f"node group {group}: size {size} is below {expected}; only chosen nodes are given back"
            )
        if size > expected:
            await self._apply_size(found, size)

    async def delete_instances(self, group: str, ids: Sequence[str], *, expected: int) -> None:
        """
        Give back these nodes; an id is the end of a node's `spec.providerID`.

        Raises:
            ConflictError: the size is not *expected*, an id is none of the group's, fewer nodes would be
                left than its minimum, or the API cannot be told which nodes; nothing was done.
        """
        found, chosen = await self._again(group), tuple(dict.fromkeys(ids))
        _expect(found.group, expected)
        if not chosen:
            return
        if found.kind.chooses:
            await self._delete_machines(found, chosen, expected=expected)
            return
        members = await self._ids(found)
        _check(found.group, chosen, members, expected=expected)
        if not len(chosen) == len(members) == expected:
            raise ConflictError(
                f"node group {group}: {found.title} cannot be told which nodes to delete; "
                f"allowed: all of its {expected} at once"
            )
        await self._apply_size(found, 0)

    async def aclose(self) -> None:
        """Nothing to close: the connection is the caller's."""

    async def _delete_machines(self, found: Found, chosen: Sequence[str], *, expected: int) -> None:
        group = found.group.name
        machines = await self._machines(found)
        _check(found.group, chosen, [each.id for each in machines if each.id and not each.deleting], expected=expected)
        stale = [each for each in machines if each.marked and not each.deleting and each.id not in chosen]
        if stale:
            # Ours go away by that, left by a turn that did not come to its end; those of others stay, and forbid it.
            await self._mark(stale, {})
            machines = await self._machines(found)
        cluster_api.check_choice(machines, chosen, group=group, size=expected)
        wanted = [each for each in machines if each.id in chosen]
        await self._mark(wanted, {DELETE: "podnode.io"})
        try:
            again = await self._again(group)
            _expect(again.group, expected)
            cluster_api.check_choice(await self._machines(again), chosen, group=group, size=expected)
            await self._apply_size(again, expected - len(chosen))
        except ConflictError:
            await self._mark(wanted, {})
            raise

    async def _mark(self, machines: Iterable[Machine], annotations: Mapping[str, str]) -> None:
        """Set our annotations on machines; those of ours that are not among them go away."""
        for each in machines:
            # With its uid, a machine that is gone is a conflict, and not made anew.
            metadata = {"name": each.name, "namespace": each.namespace, "uid": each.uid}
            version = await self._version(API_GROUP)
            body = {
                "apiVersion": f"{API_GROUP}/{version}",
                "kind": "Machine",
                "metadata": {**metadata, "annotations": annotations},
            }
            path = f"{_collection(API_GROUP, version, 'machines', each.namespace)}/{each.name}"
            await self._api.send("PATCH", path, body, content_type=APPLY, params=_APPLY, timeout=CALL_SECONDS)

    async def _apply_size(self, found: Found, size: int) -> None:
        others = [each for each in appliers_of(found.document, *found.kind.size) if each != FIELD_MANAGER]
        path = ".".join(found.kind.size)
        if others:
            raise ConflictError(f"{found.title}: {others[0]} applies {path}, too; leave it out of what that applies")
        meta = found.document["metadata"]
        body: dict[str, Any] = {
            "apiVersion": found.api_version,
            "kind": found.kind.kind,
            "metadata": {
                "name": found.name,
                "namespace": found.namespace,
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
            },
        }
        inner = body
        for key in found.kind.size[:-1]:
            inner = inner.setdefault(key, {})
        inner[found.kind.size[-1]] = size
        target = f"{found.collection}/{found.name}"
        await self._api.send("PATCH", target, body, content_type=APPLY, params=_APPLY, timeout=CALL_SECONDS)

    async def _known(self, name: str) -> Found:
        if name not in self._found:
            await self.list_node_groups()
        try:
            return self._found[name]
        except KeyError:
            raise ConflictError(f"there is no node group {name!r}") from None

    async def _again(self, name: str) -> Found:
        """Return the group as it is now."""
        known = await self._known(name)
        path = f"{known.collection}/{known.name}"
        document = _decoded(await self._api.get(path, timeout=CALL_SECONDS), path)
        try:
            group = known.kind.read(document)
        except ValueError as problem:
            raise ConflictError(f"{known.title}: {problem}") from problem
        if group is None or group.name != name:
            raise ConflictError(f"there is no node group {name!r} any more: {known.title} is not ours to size")
        return msgspec.structs.replace(known, document=document, group=group)

    async def _objects(self, kind: Kind, problems: list[str]) -> list[Found]:
        """Return the objects of a kind that are groups, in order."""
        try:
            version = await self._version(kind.api_group)
            documents = await self._list(_collection(kind.api_group, version, kind.plural), selector=kind.selector)
        except NotFoundError:
            self._versions.pop(kind.api_group, None)
            problems.append(f"{kind.kind}.{kind.api_group} is not installed")
            return []
        found = []
        for document in sorted(documents, key=_key):
            namespace, name = _key(document)
            try:
                group = kind.read(document)
            except ValueError as problem:
                problems.append(f"{kind.kind} {namespace}/{name}: {problem}")
                continue
            if group is not None and "deletionTimestamp" not in document["metadata"]:
                found.append(
                    Found(
                        kind=kind,
                        api_version=f"{kind.api_group}/{version}",
                        collection=_collection(kind.api_group, version, kind.plural, namespace),
                        document=document,
                        group=group,
                    )
                )
        return found

    async def _version(self, api_group: str) -> str:
        """Return the newest version that is served and that we know."""
        if api_group not in self._versions:
            answer = _decoded(await self._api.get(f"/apis/{api_group}", timeout=CALL_SECONDS), f"/apis/{api_group}")
            served = {each["version"] for each in answer.get("versions", ())}
            known = next(kind.versions for kind in self._kinds if kind.api_group == api_group)
            version = next((each for each in known if each in served), None)
            if version is None:
                raise NotFoundError(f"{api_group} is served as {', '.join(sorted(served))}; known: {', '.join(known)}")
            self._versions[api_group] = version
        return self._versions[api_group]

    async def _members(self) -> Mapping[str, str]:
        """Return the group of each instance of Cluster API; the clouds' own nodes have it on a label."""
        deployments = {(each.namespace, each.name) for each in self._found.values() if each.kind.chooses}
        found = {
            id_of(each): group.group.name
            for group in self._found.values()
            for each in field(group.document, "spec", "providerIDList") or ()
        }
        if deployments:
            version = await self._version(API_GROUP)
            documents = await self._list(_collection(API_GROUP, version, "machines"), selector=DEPLOYMENT)
            machines = [machine_of(each) for each in documents]
            found |= {
                each.id: each.deployment
                for each in machines
                if each.id and (each.namespace, each.deployment) in deployments
            }
        return found

    async def _machines(self, found: Found) -> list[Machine]:
        """Return the machines of one MachineDeployment."""
        path = _collection(API_GROUP, await self._version(API_GROUP), "machines", found.namespace)
        return [machine_of(each) for each in await self._list(path, selector=f"{DEPLOYMENT}={found.name}")]

    async def _ids(self, found: Found) -> list[str]:
        """Return the instances of a group whose API cannot delete chosen ones."""
        if not found.kind.node_label:
            return [id_of(each) for each in field(found.document, "spec", "providerIDList") or ()]
        nodes = await self._list("/api/v1/nodes", selector=f"{found.kind.node_label}={found.group.name}")
        return [id_of(field(each, "spec", "providerID")) for each in nodes]

    async def _list(self, path: str, *, selector: str = "") -> list[Document]:
        params = {"limit": str(self._page), **({"labelSelector": selector} if selector else {})}
        found: list[Document] = []
        while True:
            page = _decoded(await self._api.get(path, params=params, timeout=CALL_SECONDS), path)
            found += page.get("items") or ()
            following = field(page, "metadata", "continue")
            if not following:
                return found
            params["continue"] = following


def _collection(api_group: str, version: str, plural: str, namespace: str = "") -> str:
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{api_group}/{version}{scope}/{plural}"


def _decoded(answer: bytes, path: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise TransientError(f"GET {path}: {error}", retry_after_seconds=RETRY_SECONDS) from error


def _key(document: Document) -> tuple[str, str]:
    meta = document["metadata"]
    return meta.get("namespace", ""), meta["name"]


def _expect(group: NodeGroup, expected: int) -> None:
    if group.target_size != expected:
        raise ConflictError(f"node group {group.name}: size is {group.target_size}, expected {expected}")


def _check(group: NodeGroup, chosen: Sequence[str], members: Sequence[str], *, expected: int) -> None:
    unknown = sorted(set(chosen) - set(members))
    if unknown:
        raise ConflictError(f"node group {group.name} has no instance {', '.join(unknown)}")
    if expected - len(chosen) < group.min_size:
        raise ConflictError(f"node group {group.name}: {group.min_size} nodes must stay, {expected} are there")
