"""Pods and pod templates: what they ask for, and where each pod stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from autoscaler.errors import InputError
from autoscaler.kube import decode_wire as wire
from autoscaler.kube.decode_placement import affinity_of, spread_of, toleration_of
from autoscaler.kube.decode_read import amounts, amounts_or_none, object_name, seconds, seconds_or_none
from autoscaler.model.placement import HostPort, labels_of
from autoscaler.model.pod import (
    Container,
    ContainerStatus,
    Phase,
    Pod,
    PodShape,
    ReadyCondition,
    Resize,
    ShapeInterner,
    Termination,
)
from autoscaler.model.resources import NOTHING
from autoscaler.model.workload import workload_key

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
SAFE_LOCAL_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
MIRROR = "kubernetes.io/config.mirror"
TEMPLATE_HASH = "pod-template-hash"
DEFAULT_NAMESPACE = "default"


def pod_of(thing: wire.Pod, shapes: ShapeInterner) -> Pod:
    """Translate a pod; its shape carries no node name, so that siblings share it."""
    where, meta, status = object_name(thing), thing.metadata, thing.status
    kind, workload = owner_of(meta)
    shape = shape_of(thing.spec, meta, where=where, owner_kind=kind)
    claims = claims_of(thing.spec, meta.name)
    shape = shapes.intern(msgspec.structs.replace(shape, claims=claims) if claims else shape)
    conditions = {each.type: each for each in status.conditions or ()}
    ready, scheduled = conditions.get("Ready"), conditions.get("PodScheduled")
    unschedulable = scheduled is not None and scheduled.status == "False" and scheduled.reason == "Unschedulable"
    statuses = [*(status.init_container_statuses or ()), *(status.container_statuses or ())]
    return Pod(
        name=meta.name,
        shape=shape,
        uid=meta.uid or "",
        workload=workload,
        node=thing.spec.node_name or "",
        phase=_phase(thing, where),
        created_at=seconds(meta.creation_timestamp),
        started_at=seconds_or_none(status.start_time),
        ready=None if ready is None else ReadyCondition(ready.status, seconds(ready.last_transition_time)),
        deleted_at=seconds_or_none(meta.deletion_timestamp),
        unschedulable_since=seconds(scheduled.last_transition_time) if scheduled and unschedulable else None,
        do_not_evict=_eviction_ban(meta.annotations or {}),
        deletion_cost=_deletion_cost(meta, where),
        restarts=sum(each.restart_count for each in statuses),
        resize=_resize(thing, shape, where),
        terminations=tuple(_terminations(statuses)),
    )


def shape_of(spec: wire.PodSpec, meta: wire.Metadata, *, where: str, owner_kind: str) -> PodShape:
    """
    Translate a pod spec, of a pod or a template, without claims and node name.

    Raises:
        InputError: a field has a value that the API does not allow.
    """
    resources = spec.resources or wire.ResourceAmounts()
    return PodShape(
        namespace=meta.namespace or DEFAULT_NAMESPACE,
        labels=labels_of(meta.labels or {}),
        containers=tuple(_containers(spec.containers, spec, where, "spec.containers")),
        init_containers=tuple(_containers(spec.init_containers, spec, where, "spec.initContainers")),
        overhead=amounts(spec.overhead, where, "spec.overhead"),
        pod_requests=amounts_or_none(resources.requests, where, "spec.resources.requests"),
        pod_limits=amounts_or_none(resources.limits, where, "spec.resources.limits"),
        node_selector=labels_of(spec.node_selector or {}),
        affinity=affinity_of(spec.affinity),
        tolerations=tuple(toleration_of(each, where) for each in spec.tolerations or ()),
        spread=tuple(map(spread_of, spec.topology_spread_constraints or ())),
        priority=spec.priority or 0,
        preemption_policy=spec.preemption_policy or "PreemptLowerPriority",
        owner_kind=owner_kind,
        local_storage=_has_local_storage(spec, meta.annotations or {}),
        gated=bool(spec.scheduling_gates),
    )


def claims_of(spec: wire.PodSpec, pod_name: str) -> tuple[str, ...]:
    """
    Return the names of the claims that a pod uses, in order.

    An ephemeral volume's claim is named after the pod; a template (no
    *pod_name*) has none yet.
    """
    found = []
    for volume in spec.volumes or ():
        if volume.persistent_volume_claim is not None:
            found.append(volume.persistent_volume_claim.claim_name)
        elif volume.ephemeral is not None and pod_name:
            found.append(f"{pod_name}-{volume.name}")
    return tuple(found)


def owner_of(meta: wire.Metadata) -> tuple[str, str]:
    """
    Return the kind of a pod's controller and the key of its workload, "" for none.

    A ReplicaSet named after the pod's template hash belongs to the Deployment
    of the rest of its name. A mirror pod belongs to its Node, which is no workload.
    """
    controller = next((each for each in meta.owner_references or () if each.controller), None)
    if controller is None:
        return ("Node", "") if MIRROR in (meta.annotations or {}) else ("", "")
    kind, name = controller.kind, controller.name
    if kind == "Node":
        return kind, ""
    ending = f"-{(meta.labels or {}).get(TEMPLATE_HASH, '')}"
    if kind == "ReplicaSet" and len(ending) > 1 and name.endswith(ending):
        return kind, workload_key(meta.namespace or DEFAULT_NAMESPACE, "Deployment", name.removesuffix(ending))
    return kind, workload_key(meta.namespace or DEFAULT_NAMESPACE, kind, name)


def _containers(
    containers: list[wire.Container] | None, spec: wire.PodSpec, where: str, path: str
) -> Iterable[Container]:
    for index, each in enumerate(containers or ()):
        resources = each.resources or wire.ResourceAmounts()
        at = f"{path}[{index}].resources"
        yield Container(
            name=each.name,
            requests=amounts(resources.requests, where, f"{at}.requests"),
            limits=amounts(resources.limits, where, f"{at}.limits"),
            ports=tuple(_host_ports(each.ports or (), on_host=bool(spec.host_network))),
            restart_always=each.restart_policy == "Always",
            resize_restarts=tuple(
                policy.resource_name
                for policy in each.resize_policy or ()
                if policy.restart_policy == "RestartContainer"
            ),
        )


def _host_ports(ports: Iterable[wire.Port], *, on_host: bool) -> Iterable[HostPort]:
    """Yield the ports taken on the host: with the host's network that is every container port."""
    for port in ports:
        number = port.host_port or (port.container_port if on_host else 0)
        if number > 0:
            yield HostPort(number, port.protocol or "TCP", port.host_ip or "")


def _has_local_storage(spec: wire.PodSpec, annotations: Mapping[str, str]) -> bool:
    """Tell whether data would be lost with the node, as Cluster Autoscaler sees it (utils/drain)."""
    if annotations.get(SAFE_TO_EVICT) == "true":
        return False
    safe = annotations.get(SAFE_LOCAL_VOLUMES, "").split(",")
    return any(
        volume.name not in safe
        and (volume.host_path is not None or (volume.empty_dir is not None and volume.empty_dir.medium != "Memory"))
        for volume in spec.volumes or ()
    )


def _eviction_ban(annotations: Mapping[str, str]) -> str:
    if annotations.get(SAFE_TO_EVICT) == "false":
        return SAFE_TO_EVICT
    return DO_NOT_DISRUPT if annotations.get(DO_NOT_DISRUPT) == "true" else ""


def _phase(thing: wire.Pod, where: str) -> Phase:
    text = thing.status.phase or (Phase.RUNNING if thing.spec.node_name else Phase.PENDING)
    try:
        return Phase(text)
    except ValueError as error:
        raise InputError(where, "status.phase", text, ", ".join(Phase)) from error


def _deletion_cost(meta: wire.Metadata, where: str) -> int:
    text = (meta.annotations or {}).get(DELETION_COST, "0")
    try:
        cost = int(text)
    except ValueError as error:
        raise InputError(where, f"metadata.annotations[{DELETION_COST}]", text, "a 32-bit integer") from error
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
