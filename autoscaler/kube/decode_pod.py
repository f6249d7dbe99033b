"""Pods and pod templates: what they ask for, and where each pod stands."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache

from autoscaler.errors import InputError
from autoscaler.kube import decode_wire as wire
from autoscaler.kube.decode_read import amounts_or_none, object_name, seconds, seconds_or_none
from autoscaler.kube.decode_shape import DEFAULT_NAMESPACE, SAFE_TO_EVICT, ShapeReader
from autoscaler.model.pod import (
    ContainerStatus,
    DrainTraits,
    Phase,
    Pod,
    PodShape,
    ReadyCondition,
    Resize,
    Termination,
)
from autoscaler.model.resources import NOTHING
from autoscaler.model.workload import workload_key

DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
MIRROR = "kubernetes.io/config.mirror"
DAEMON_POD = "cluster-autoscaler.kubernetes.io/daemonset-pod"
TEMPLATE_HASH = "pod-template-hash"
NO_OWNERS: Mapping[str, str] = {}
_PHASES = {str(phase): phase for phase in Phase}
"""A plain dict: looking members up in an enum is slow, and clusters have many pods."""


def pod_of(thing: wire.Pod, shapes: ShapeReader, *, owners: Mapping[str, str] = NO_OWNERS) -> Pod:
    """
    Translate a pod; its shape carries no node name, so that siblings share it.

    *owners* are as for `owner_of`. Texts that many pods have in common are
    interned: there are far fewer nodes and workloads than pods.
    """
    meta, status = thing.metadata, thing.status
    kind, workload = owner_of(meta, owners)
    shape = shapes.read(thing, owner_kind=kind)
    ready, scheduled = _conditions(status)
    unschedulable = scheduled is not None and scheduled.status == "False" and scheduled.reason == "Unschedulable"
    statuses = [*(status.init_container_statuses or ()), *(status.container_statuses or ())]
    return Pod(
        name=meta.name,
        shape=shape,
        uid=meta.uid or "",
        workload=sys.intern(workload),
        node=sys.intern(thing.spec.node_name or ""),
        nominated_node=sys.intern(status.nominated_node_name or ""),
        phase=_phase(thing),
        created_at=seconds(meta.creation_timestamp),
        started_at=seconds_or_none(status.start_time),
        ready=None if ready is None else ReadyCondition(sys.intern(ready.status), seconds(ready.last_transition_time)),
        deleted_at=seconds_or_none(meta.deletion_timestamp),
        unschedulable_since=seconds(scheduled.last_transition_time) if scheduled and unschedulable else None,
        do_not_evict=_eviction_ban(meta.annotations) if meta.annotations else "",
        drain=_drain_traits(thing),
        deletion_cost=_deletion_cost(thing) if meta.annotations else 0,
        restarts=sum([each.restart_count for each in statuses]),
        resize=None if _repeats_spec(thing, statuses) else _resize(thing, shape, object_name(thing)),
        terminations=tuple(_terminations(statuses)),
    )


def _conditions(status: wire.PodStatus) -> tuple[wire.Condition | None, wire.Condition | None]:
    """Return the conditions Ready and PodScheduled."""
    ready = scheduled = None
    for each in status.conditions or ():
        if each.type == "Ready":
            ready = each
        elif each.type == "PodScheduled":
            scheduled = each
    return ready, scheduled


def controller_of(meta: wire.Metadata) -> wire.OwnerReference | None:
    """Return the one owner that manages the object."""
    return next((each for each in meta.owner_references or () if each.controller), None)


def owner_of(meta: wire.Metadata, owners: Mapping[str, str] = NO_OWNERS) -> tuple[str, str]:
    """
    Return the kind of a pod's controller and the key of its workload, "" for none.

    *owners* has the workload of each known ReplicaSet, by key. Of one that is
    not known, the name tells: if it ends in the pod's template hash, the rest
    is the Deployment's. A mirror pod belongs to its Node, which is no workload.
    """
    controller = controller_of(meta)
    if controller is None:
        return ("Node", "") if MIRROR in (meta.annotations or {}) else ("", "")
    kind, name = controller.kind, controller.name
    if kind == "Node":
        return kind, ""
    namespace = meta.namespace or DEFAULT_NAMESPACE
    key = workload_key(namespace, kind, name)
    ending = f"-{(meta.labels or {}).get(TEMPLATE_HASH, '')}"
    if kind != "ReplicaSet" or key in owners:
        return kind, owners.get(key, key)
    if len(ending) > 1 and name.endswith(ending):
        return kind, workload_key(namespace, "Deployment", name.removesuffix(ending))
    return kind, key


def _drain_traits(thing: wire.Pod) -> DrainTraits:
    annotations, spec, controller = thing.metadata.annotations or {}, thing.spec, controller_of(thing.metadata)
    seconds_given = spec.termination_grace_period_seconds
    return _shared(
        DrainTraits(
            safe_to_evict=annotations.get(SAFE_TO_EVICT, ""),
            daemon=annotations.get(DAEMON_POD) == "true",
            mirror=MIRROR in annotations,
            restart_policy=spec.restart_policy or "Always",
            grace_seconds=30 if seconds_given is None else seconds_given,
            owner_group=controller.api_version.rpartition("/")[0] if controller is not None else "",
        )
    )


@lru_cache(maxsize=1 << 10)
def _shared(traits: DrainTraits) -> DrainTraits:
    """Return one object for equal traits: clusters have many pods and few kinds of them."""
    return traits


def _eviction_ban(annotations: Mapping[str, str]) -> str:
    if annotations.get(SAFE_TO_EVICT) == "false":
        return SAFE_TO_EVICT
    return DO_NOT_DISRUPT if annotations.get(DO_NOT_DISRUPT) == "true" else ""


def _phase(thing: wire.Pod) -> Phase:
    text = thing.status.phase or (Phase.RUNNING if thing.spec.node_name else Phase.PENDING)
    phase = _PHASES.get(text)
    if phase is None:
        raise InputError(object_name(thing), "status.phase", text, ", ".join(Phase))
    return phase


def _deletion_cost(thing: wire.Pod) -> int:
    text = (thing.metadata.annotations or {}).get(DELETION_COST, "0")
    try:
        cost = int(text)
    except ValueError as error:
        raise InputError(
            object_name(thing), f"metadata.annotations[{DELETION_COST}]", text, "a 32-bit integer"
        ) from error
    return max(-(2**31), min(2**31 - 1, cost))


def _terminations(statuses: Iterable[wire.ContainerStatus]) -> Iterable[Termination]:
    for status in statuses:
        for state in (status.last_state, status.state):
            if state is not None and state.terminated is not None:
                ended = state.terminated
                yield Termination(
                    container=status.name,
                    reason=ended.reason or "",
                    started_at=seconds(ended.started_at),
                    finished_at=seconds(ended.finished_at),
                )


def _repeats_spec(thing: wire.Pod, statuses: Iterable[wire.ContainerStatus]) -> bool:
    """Tell whether the statuses say nothing of a resize, by comparing texts: true of nearly every pod."""
    status = thing.status
    if status.resize or status.allocated_resources is not None or status.resources is not None:
        return False
    for condition in status.conditions or ():
        if condition.type in ("PodResizePending", "PodResizeInProgress"):
            return False
    specs = {}
    for container in (*(thing.spec.containers or ()), *(thing.spec.init_containers or ())):
        specs[container.name] = container.resources.requests if container.resources is not None else None
    for each in statuses:
        wanted = specs.get(each.name) or {}
        actual = each.resources.requests if each.resources is not None else None
        if any(amount is not None and amount != wanted for amount in (each.allocated_resources, actual)):
            return False
    return True


def _resize(thing: wire.Pod, shape: PodShape, where: str) -> Resize | None:
    """
    Return the resize under way, None where statuses say no more than the spec.

    The kubelet reports resources of every running container; those equal to
    the spec's change nothing and are left out, so that most pods carry none.
    """
    status = thing.status
    pending = next((each for each in status.conditions or () if each.type == "PodResizePending"), None)
    moving = next((each for each in status.conditions or () if each.type == "PodResizeInProgress"), None)
    condition = pending or moving
    state = (pending.reason or "Deferred") if pending else "InProgress" if moving else status.resize or ""
    resources = status.resources
    resize = Resize(
        state=state,
        since=seconds(condition.last_transition_time) if condition else 0.0,
        containers=tuple(_container_statuses(status, where)),
        pod_allocated=amounts_or_none(status.allocated_resources, where, "status.allocatedResources"),
        pod_actual=None if resources is None else amounts_or_none(resources.requests, where, "status.resources"),
    )
    return None if _says_nothing(resize, shape) else resize


def _container_statuses(status: wire.PodStatus, where: str) -> Iterable[ContainerStatus]:
    for path in ("containerStatuses", "initContainerStatuses"):
        listed = status.container_statuses if path == "containerStatuses" else status.init_container_statuses
        for index, each in enumerate(listed or ()):
            at = f"status.{path}[{index}]"
            actual = each.resources.requests if each.resources is not None else None
            if each.allocated_resources is not None or actual is not None:
                yield ContainerStatus(
                    name=each.name,
                    allocated=amounts_or_none(each.allocated_resources, where, f"{at}.allocatedResources"),
                    actual=amounts_or_none(actual, where, f"{at}.resources.requests"),
                )


def _says_nothing(resize: Resize, shape: PodShape) -> bool:
    """Tell whether no resize is under way and each status repeats its container's spec."""
    if resize.state or resize.pod_allocated is not None or resize.pod_actual is not None:
        return False
    specs = {container.name: container.requests for container in shape.containers + shape.init_containers}
    return all(
        amount is None or amount == specs.get(status.name, NOTHING)
        for status in resize.containers
        for amount in (status.allocated, status.actual)
    )
