"""
What a write makes of an object: plain functions on documents, each its own undo's mirror.

An edit changes the document it is given, which is a copy that nobody else
holds; doing it twice is doing it once. What was there before is kept on the
object itself, so that anybody can put it back, also when we are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from autoscaler.errors import ConflictError, InputError
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources, format_amount

Document = dict[str, Any]

FIELD_MANAGER = "podnode-autoscaler"
"""Who we are in `managedFields`."""
ORIGINAL_REQUESTS = "podnode.io/original-requests"
"""On a workload: by container, the `resources` that its template had (`was`) and what we made of them (`set`)."""
WANTED_REQUESTS = "podnode.io/requests"
"""On a workload whose template is left alone: by container, what new pods should get."""
CORDONED_BY = "podnode.io/cordoned-by"
SET_ASIDE = "podnode.io/set-aside"
"""On a rival: by field, the value it had; null where it had none."""
KEDA_PAUSED = "autoscaling.keda.sh/paused"

Path = tuple[str, ...]
_DISABLED = {"scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": {"selectPolicy": "Disabled"}}
STOPPED: Mapping[str, Mapping[str, tuple[Path, Any]]] = {
    # An HPA enforces its bounds whatever its behaviour says (horizontal.go, reconcileAutoscaler):
    # they must give way, too.
    "HorizontalPodAutoscaler": {
        "behavior": (("spec", "behavior"), _DISABLED),
        "minReplicas": (("spec", "minReplicas"), 1),
        "maxReplicas": (("spec", "maxReplicas"), 2**31 - 1),
    },
    "VerticalPodAutoscaler": {"updateMode": (("spec", "updatePolicy", "updateMode"), "Off")},
    "ScaledObject": {"paused": (("metadata", "annotations", KEDA_PAUSED), "true")},
    "MultidimPodAutoscaler": {"updateMode": (("spec", "policy", "updateMode"), "Off")},
}
"""What stops each kind of rival from acting: where each field is, and what it is set to."""


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> Document:
    """
    Return the JSON merge patch (RFC 7386) that turns *before* into *after*; {} where they are equal.

    >>> merge_patch({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4}})
    {'b': {'d': None, 'c': 4}}
    """
    patch: Document = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            inner = merge_patch(old, value)
            if inner:
                patch[name] = inner
        elif name not in before or old != value:
            patch[name] = value
    return patch


def set_sizes(document: Document, sizes: Sequence[ContainerSize], *, where: str) -> None:
    """
    Give the template's containers their new requests and limits, and note what they had.

    Where a person has changed what we set, theirs is what will be put back.

    Raises:
        ConflictError: a container is not there (any more).
        InputError: the object has no pod template, or our note on it was spoilt.
    """
    containers = _containers(document, where)
    notes = _note(document, ORIGINAL_REQUESTS, where)
    for size in sizes:
        container = containers.get(size.container)
        if container is None:
            raise ConflictError(f"{where} has no container {size.container} (any more)")
        old = container.get("resources") or {}
        new = _merged(old, size)
        if _has(old, new):
            continue
        noted = notes.get(size.container)
        was = noted["was"] if noted is not None and _has(old, noted["set"]) else old
        container["resources"] = new
        notes[size.container] = {"was": was, "set": new}
    _write_note(document, ORIGINAL_REQUESTS, notes)


def restore_sizes(document: Document, *, where: str) -> None:
    """
    Undo `set_sizes`: give each container that still has what we set what it had before.

    What was wished for new pods (`wish_sizes`) is forgotten, too.

    Raises:
        InputError: the object has no pod template, or our note on it was spoilt.
    """
    notes = _note(document, ORIGINAL_REQUESTS, where)
    containers = _containers(document, where) if notes else {}
    for name, noted in notes.items():
        container = containers.get(name)
        if container is not None and _has(container.get("resources") or {}, noted["set"]):
            container["resources"] = noted["was"]
    _write_note(document, ORIGINAL_REQUESTS, {})
    _write_note(document, WANTED_REQUESTS, {})


def wish_sizes(document: Document, sizes: Sequence[ContainerSize], *, where: str) -> None:
    """Note on a workload what its new pods should get, its template left alone."""
    wishes = _note(document, WANTED_REQUESTS, where)
    wishes.update({size.container: resources_of(size) for size in sizes})
    _write_note(document, WANTED_REQUESTS, wishes)


def resources_of(size: ContainerSize) -> Document:
    """Return a size as a container's `resources`: only what is to change."""
    resources: Document = {"requests": size.target.quantities()}
    if size.limits is not None:
        resources["limits"] = size.limits.quantities()
    return resources


def cordon(document: Document, *, by: str) -> None:
    """Close a node for new pods and note who did; one that somebody else closed is left as it is."""
    if not document["spec"].get("unschedulable"):
        document["spec"]["unschedulable"] = True
        _put(document, ("metadata", "annotations", CORDONED_BY), by)


def uncordon(document: Document, *, where: str) -> None:
    """
    Open a node that we closed.

    Raises:
        ConflictError: it is closed, but not by us.
    """
    closed = document["spec"].get("unschedulable")
    if closed and not _annotations(document).get(CORDONED_BY):
        raise ConflictError(f"{where} was cordoned by somebody else: it stays so")
    document["spec"].pop("unschedulable", None)
    _remove(document, ("metadata", "annotations", CORDONED_BY))


def set_aside(document: Document, *, kind: str, where: str) -> None:
    """
    Stop a rival, and keep on it what it was.

    Raises:
        InputError: our note on it was spoilt.
    """
    noted = _note(document, SET_ASIDE, where)
    for field, (path, stopped) in STOPPED[kind].items():
        old = _get(document, path)
        if not _holds(old, stopped):
            noted[field] = old
            _put(document, path, stopped)
    _put(document, ("metadata", "annotations", SET_ASIDE), _text(noted))


def give_back(document: Document, *, kind: str, where: str) -> None:
    """
    Undo `set_aside`; what a person has changed since stays as they want it.

    Raises:
        InputError: our note on it was spoilt.
    """
    noted = _note(document, SET_ASIDE, where)
    for field, (path, stopped) in STOPPED[kind].items():
        if field not in noted or not _holds(_get(document, path), stopped):
            continue
        if noted[field] is None:
            _remove(document, path)
        else:
            _put(document, path, noted[field])
    _remove(document, ("metadata", "annotations", SET_ASIDE))


def set_quota(document: Document, hard: Sequence[tuple[str, int]]) -> None:
    """Set some of a ResourceQuota's limits (millicores, bytes or counts); the others stay."""
    limits = document["spec"].setdefault("hard", {})
    for name, amount in hard:
        # `requests.cpu` is measured as `cpu` is.
        limits[name] = format_amount(name.rpartition(".")[2], amount)


def _containers(document: Document, where: str) -> dict[str, Document]:
    try:
        spec = document["spec"]["template"]["spec"]
        listed = [*spec["containers"], *(spec.get("initContainers") or ())]
        return {container["name"]: container for container in listed}
    except (KeyError, TypeError) as error:
        raise InputError(where, "spec.template.spec.containers", None, "a pod template") from error


def _merged(old: Mapping[str, Any], size: ContainerSize) -> Document:
    new = dict(old)
    for part, amounts in resources_of(size).items():
        new[part] = {**(old.get(part) or {}), **amounts}
    return new


def _has(resources: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether *resources* give all amounts of *wanted*, however they are written."""
    for part in ("requests", "limits"):
        amounts, found = wanted.get(part) or {}, resources.get(part) or {}
        if any(name not in found for name in amounts):
            return False
        if Resources.parse({name: found[name] for name in amounts}) != Resources.parse(amounts):
            return False
    return True


def _annotations(document: Document) -> Document:
    return document["metadata"].get("annotations") or {}


def _note(document: Document, name: str, where: str) -> Document:
    """Return what we noted on an object, {} where nothing."""
    text = _annotations(document).get(name)
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InputError(where, f"metadata.annotations[{name}]", text, "what was written there") from error


def _write_note(document: Document, name: str, noted: Mapping[str, Any]) -> None:
    path = ("metadata", "annotations", name)
    if noted:
        _put(document, path, _text(noted))
    else:
        _remove(document, path)


def _text(noted: Mapping[str, Any]) -> str:
    return msgspec.json.encode(noted, order="deterministic").decode()


def _get(document: Document, path: Path) -> Any:
    found: Any = document
    for name in path:
        found = (found or {}).get(name)
    return found


def _put(document: Document, path: Path, value: Any) -> None:
    for name in path[:-1]:
        if document.get(name) is None:
            document[name] = {}
        document = document[name]
    document[path[-1]] = value


def _remove(document: Document, path: Path) -> None:
    """Remove what is at *path*, and the objects around it that this leaves empty."""
    inner = document.get(path[0])
    if len(path) == 1:
        document.pop(path[0], None)
    elif inner is not None:
        _remove(inner, path[1:])
        if not inner:
            document.pop(path[0])


def _holds(found: Any, ours: Any) -> bool:
    """Tell whether *found* is what we wrote; the API server may have added its defaults."""
    if isinstance(ours, dict):
        return isinstance(found, dict) and all(_holds(found.get(name), value) for name, value in ours.items())
    return bool(found == ours)
