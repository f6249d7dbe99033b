"""
What became of a decision, as events for people; pure.

Events are about what people look at: the mpa of a workload, else the workload
itself; the node; the other autoscaler. Pods of one workload are told together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import assert_never

import msgspec

from autoscaler.interfaces import Outcome
from autoscaler.kube.events import ObjectEvent, Regarding
from autoscaler.kube.group_status import document_of
from autoscaler.kube.scale import QUOTAS, RIVALS, WORKLOADS
from autoscaler.kube.status_text import ObjectStatus
from autoscaler.model.plan import (
    AnyAction,
    CordonNode,
    DeleteInstances,
    EvictPod,
    GiveBack,
    ResizePod,
    SetAside,
    SetGroupSize,
    SetQuota,
    SetReplicas,
    SetRequests,
    UncordonNode,
)
from autoscaler.model.policy import Policies

DONE, FAILED = "done", "failed"
_TROUBLE = {"Valid": "False", "Conflict": "True"}
"""Conditions whose other state people should hear of, by type."""


class _Deed(msgspec.Struct, frozen=True):
    """What was done, or tried, to something; `pods` tells that each one like it is one pod's."""

    regarding: Regarding
    reason: str
    action: str
    note: str
    pods: bool = False


def events_of(
    outcomes: Iterable[Outcome], statuses: Sequence[ObjectStatus], policies: Policies
) -> tuple[ObjectEvent, ...]:
    """
    Return the events of one cycle: deeds, failures, and documents that are in trouble.

    What was only recorded or validated is no event.
    """
    objects = _Objects(statuses, policies)
    told: Counter[tuple[_Deed, str]] = Counter()
    failed: dict[tuple[_Deed, str], str] = {}
    for outcome in outcomes:
        if outcome.result not in (DONE, FAILED):
            continue
        for deed in objects.deeds(outcome.action):
            told[deed, outcome.result] += 1
            failed.setdefault((deed, outcome.result), outcome.message)
    events = [_event(deed, result, count, failed[deed, result]) for (deed, result), count in told.items()]
    return (*events, *_troubles(statuses))


def _event(deed: _Deed, result: str, count: int, message: str) -> ObjectEvent:
    note = f"{count} pod{'' if count == 1 else 's'} {deed.note}" if deed.pods else deed.note
    if result == FAILED:
        return ObjectEvent(
            regarding=deed.regarding,
            reason=f"Failed{deed.action}",
            action=deed.action,
            note=f"{note}: {message}",
            warning=True,
        )
    return ObjectEvent(regarding=deed.regarding, reason=deed.reason, action=deed.action, note=note)


def _troubles(statuses: Iterable[ObjectStatus]) -> Iterable[ObjectEvent]:
    for status in statuses:
        for condition in status.status.get("conditions", ()):
            if _TROUBLE.get(condition["type"]) == condition["status"]:
                yield ObjectEvent(
                    regarding=_about(status),
                    reason=condition["reason"],
                    action="Decide",
                    note=condition["message"],
                    warning=True,
                )


def _about(status: ObjectStatus) -> Regarding:
    return Regarding(status.resource.api_version, status.kind, status.name, status.namespace, status.uid)


class _Objects:
    """Finds the object that an action is told on."""

    def __init__(self, statuses: Iterable[ObjectStatus], policies: Policies) -> None:
        about = {(each.kind, each.namespace, each.name): _about(each) for each in statuses}
        self._groups = {name: found for (kind, _, name), found in about.items() if kind == "NodeGroup"}
        self._mpas: dict[str, Regarding] = {}
        # The first by name governs.
        for mpa in sorted(policies.mpas, key=lambda each: (each.namespace, each.name), reverse=True):
            target = mpa.spec.scale_target_ref
            found = about.get(("MultidimPodAutoscaler", mpa.namespace, mpa.name))
            if found is not None:
                self._mpas[f"{mpa.namespace}/{target.kind}/{target.name}"] = found

    def deeds(self, action: AnyAction) -> Sequence[_Deed]:
        """Return what to tell of *action*, on which objects."""
        match action:
            case SetReplicas() | SetRequests() | ResizePod() | EvictPod():
                return self._on_workload(action)
            case CordonNode() | UncordonNode() | DeleteInstances():
                return _on_nodes(action)
            case SetGroupSize():
                group = self._groups.get(document_of(action.group, self._groups))
                note = f"node group {action.group}: {action.expected} → {action.size} nodes{_why(action)}"
                return [_Deed(group, "NodeGroupResized", "ResizeNodeGroup", note)] if group is not None else []
            case SetQuota():
                about = Regarding(QUOTAS.api_version, "ResourceQuota", action.name, action.namespace)
                return [_Deed(about, "QuotaChanged", "SetQuota", f"limits changed{_why(action)}")]
            case SetAside() | GiveBack():
                return self._on_rival(action)
            case _:
                assert_never(action)

    def _workload(self, key: str) -> Regarding | None:
        """Return the mpa of a workload, else the workload."""
        found = self._mpas.get(key)
        if found is None and key.count("/") == 2:
            namespace, kind, name = key.split("/")
            resource = WORKLOADS.get(kind)
            found = Regarding(resource.api_version, kind, name, namespace) if resource is not None else None
        return found

    def _on_workload(self, action: SetReplicas | SetRequests | ResizePod | EvictPod) -> Sequence[_Deed]:
        about = self._workload(action.workload)
        if about is None:
            return []
        why = _why(action)
        match action:
            case SetReplicas():
                reason = "ScaledUp" if action.replicas > action.expected else "ScaledDown"
                return [_Deed(about, reason, "Scale", f"{action.expected} → {action.replicas} replicas{why}")]
            case SetRequests():
                return [_Deed(about, "RequestsChanged", "SetRequests", f"new pods get {_sizes(action)}{why}")]
            case ResizePod():
                note = f"resized in place to {_sizes(action)}{why}"
                return [_Deed(about, "Resized", "Resize", note, pods=True)]
            case EvictPod():
                where = f" from node {action.node}" if action.node else ""
                return [_Deed(about, "Evicted", "Evict", f"evicted{where}{why}", pods=True)]
            case _:
                assert_never(action)

    def _on_rival(self, action: SetAside | GiveBack) -> Sequence[_Deed]:
        namespace, kind, name = action.rival.split("/")
        rival = Regarding(RIVALS[kind].api_version, kind, name, namespace)
        if isinstance(action, SetAside):
            reason, word, verb = "SetAside", "SetAside", "was set aside: it is kept as it was, but does not act"
        else:
            reason, word, verb = "GivenBack", "GiveBack", "acts again as it did before"
        note = f"{kind} {name} {verb}"
        workload = self._workload(action.workload)
        return [_Deed(about, reason, word, note) for about in (rival, workload) if about is not None]


def _on_nodes(action: CordonNode | UncordonNode | DeleteInstances) -> Sequence[_Deed]:
    why = _why(action)
    named: tuple[str, ...]
    match action:
        case CordonNode():
            named, reason, word, note = (action.node,), "Cordoned", "Cordon", f"takes no new pods{why}"
        case UncordonNode():
            named, reason, word, note = (action.node,), "Uncordoned", "Uncordon", f"takes pods again{why}"
        case DeleteInstances():
            named, reason, word = action.nodes, "NodeRemoved", "DeleteNode"
            note = f"removed from node group {action.group}{why}"
        case _:
            assert_never(action)
    # A node's events have its name as uid: kubectl describe looks for them so.
    return [_Deed(Regarding("v1", "Node", name, uid=name), reason, word, note) for name in named]


def _sizes(action: SetRequests | ResizePod) -> str:
    return "; ".join(
        f"{size.container} {', '.join(f'{name} {text}' for name, text in size.target.quantities().items())}"
        for size in action.containers
    )


def _why(action: AnyAction) -> str:
    return f": {action.reasons[0].message}" if action.reasons else ""
