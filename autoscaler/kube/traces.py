"""What we left on a cluster's objects, found by the notes that we keep on them (`kube.edits`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from autoscaler.kube.client import ApiServer, NotFoundError
from autoscaler.kube.edits import CORDONED_BY, ORIGINAL_REQUESTS, SET_ASIDE, WANTED_REQUESTS
from autoscaler.kube.scale import NODES, RIVALS, WORKLOADS, ResourcePath

WORKLOAD, RIVAL, NODE = "workload", "autoscaler", "node"
_PAGE = "500"


class Trace(msgspec.Struct, frozen=True, order=True):
    """An object that we changed: `key` is `namespace/Kind/name`, or a node's name; `left` says what is to undo."""

    target: str
    key: str
    left: str


class _Owner(msgspec.Struct, frozen=True):
    controller: bool = False


class _Metadata(msgspec.Struct, frozen=True, rename={"owners": "ownerReferences"}):
    name: str = ""
    namespace: str = ""
    annotations: Mapping[str, str] | None = None
    owners: tuple[_Owner, ...] = ()


class _Found(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()


class _ListMetadata(msgspec.Struct, frozen=True, rename={"go_on": "continue"}):
    go_on: str = ""


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMetadata = _ListMetadata()
    items: tuple[_Found, ...] = ()


async def find_traces(
    api: ApiServer, *, namespace: str = "", custom: Mapping[str, ResourcePath] | None = None
) -> tuple[Trace, ...]:
    """
    Return all that can be undone, of one *namespace* (then without nodes) or of all; *custom* kinds too.

    Raises:
        AccessError: objects of a kind may not be listed.
        TransientError: the API server does not answer.
    """
    traces: list[Trace] = []
    for kind, place in {**WORKLOADS, **(custom or {})}.items():
        traces += _on_workloads(kind, await _listed(api, place, namespace))
    for kind, place in RIVALS.items():
        traces += _on_rivals(kind, await _listed(api, place, namespace))
    if not namespace:
        nodes = await _listed(api, NODES, "")
        traces += (Trace(NODE, node.name, "cordoned") for node in nodes if CORDONED_BY in _notes(node))
    return tuple(sorted(traces))


def _on_workloads(kind: str, found: Iterable[_Metadata]) -> Iterable[Trace]:
    for each in found:
        if any(owner.controller for owner in each.owners):
            continue  # a Deployment gives its ReplicaSets copies of what is noted on it
        noted = [
            f"{what} of {', '.join(sorted(_fields(_notes(each)[name]))) or 'its containers'}"
            for name, what in ((ORIGINAL_REQUESTS, "requests"), (WANTED_REQUESTS, "sizes for new pods"))
            if name in _notes(each)
        ]
        if noted:
            yield Trace(WORKLOAD, f"{each.namespace}/{kind}/{each.name}", ", ".join(noted))


def _on_rivals(kind: str, found: Iterable[_Metadata]) -> Iterable[Trace]:
    for each in found:
        if SET_ASIDE in _notes(each):
            yield Trace(RIVAL, f"{each.namespace}/{kind}/{each.name}", "set aside")


def _notes(metadata: _Metadata) -> Mapping[str, str]:
    return metadata.annotations or {}


def _fields(text: str) -> Iterable[str]:
    """Return the names in a note; a spoilt one is told when it is undone."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return ()


async def _listed(api: ApiServer, place: ResourcePath, namespace: str) -> tuple[_Metadata, ...]:
    """Return what is of a kind, page by page; a kind that is not installed has none."""
    found: list[_Metadata] = []
    params = {"limit": _PAGE}
    while True:
        try:
            page = msgspec.json.decode(await api.get(place.to(namespace=namespace), params=params), type=_List)
        except NotFoundError:
            return tuple(found)
        found += (item.metadata for item in page.items)
        if not page.metadata.go_on:
            return tuple(found)
        params = {"limit": _PAGE, "continue": page.metadata.go_on}
