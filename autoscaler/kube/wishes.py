"""What new pods of a workload should get, where its template is left alone: read back from the workload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from autoscaler.errors import InputError
from autoscaler.kube.client import ApiServer
from autoscaler.kube.edits import WANTED_REQUESTS
from autoscaler.kube.scale import WORKLOADS, ResourceOf, place_of

Wishes = Mapping[str, Mapping[str, Mapping[str, str]]]
"""By container: `requests` and `limits`, as quantities."""


class _Metadata(msgspec.Struct, frozen=True):
    annotations: dict[str, str] = {}


class _Annotated(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()


async def read_wishes(api: ApiServer, workload: str, *, resources: ResourceOf | None = None, timeout: float) -> Wishes:
    """
    Return what `KubeWriter.set_requests` noted on a *workload* (by key), {} where nothing.

    Raises:
        InputError: the note was spoilt; or the workload's kind is not known.
        AutoscalerError: whatever the API server answers.
    """
    path = place_of(workload, WORKLOADS, resources).path()
    answer = msgspec.json.decode(await api.get(path, timeout=timeout), type=_Annotated)
    text = answer.metadata.annotations.get(WANTED_REQUESTS)
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, dict[str, dict[str, str]]])
    except msgspec.MsgspecError as error:
        raise InputError(
            f"workload {workload}", f"metadata.annotations[{WANTED_REQUESTS}]", text, "what was written there"
        ) from error


def merged_resources(container: Mapping[str, Any], wish: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return a container's `resources` with a wish put in."""
    old = container.get("resources") or {}
    new = dict(old)
    for part in ("requests", "limits"):
        if wish.get(part):
            new[part] = {**(old.get(part) or {}), **wish[part]}
    return new
