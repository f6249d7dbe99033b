"""Lists a cluster's objects of other autoscalers, to be converted."""

from __future__ import annotations

from typing import Any

import msgspec

from autoscaler.documents import Document
from autoscaler.kube.client import ApiServer, NotFoundError
from autoscaler.kube.convert import VERSIONS

_PAGE = "500"
_PLURALS = {
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "VerticalPodAutoscaler": "verticalpodautoscalers",
    "ScaledObject": "scaledobjects",
    "MultidimPodAutoscaler": "multidimpodautoscalers",
    "NodePool": "nodepools",
}
_OF_THE_CLUSTER = ("NodePool",)


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct, frozen=True):
    items: list[dict[str, Any]] = []
    metadata: _Meta = _Meta()


async def live_documents(api: ApiServer, *, namespace: str = "") -> list[Document]:
    """
    Return the objects that `convert` reads, in the order of `VERSIONS`; kinds that are not installed have none.

    Args:
        api: a connection that may list them.
        namespace: only of this one, and then none of those that belong to the cluster; "" for all.

    Raises:
        AccessError: they may not be listed.
        TransientError: the API server does not answer.
    """
    found: list[Document] = []
    for kind, versions in VERSIONS.items():
        if namespace and kind in _OF_THE_CLUSTER:
            continue
        place = f"/namespaces/{namespace}" if namespace else ""
        items = await _all(api, f"/apis/{versions[0]}{place}/{_PLURALS[kind]}")
        # The items of a list do not say what they are.
        found += [Document(api.url, {"apiVersion": versions[0], "kind": kind, **item}) for item in items]
    return found


async def _all(api: ApiServer, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    params = {"limit": _PAGE}
    while True:
        try:
            page = msgspec.json.decode(await api.get(path, params=params), type=_List)
        except NotFoundError:
            return []
        items += page.items
        if not page.metadata.continue_:
            return items
        params = {"limit": _PAGE, "continue": page.metadata.continue_}
