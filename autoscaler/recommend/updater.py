"""
Which pods to resize, in which order, how many at once, and by which way.

Rules: kubernetes/autoscaler, vertical-pod-autoscaler `pkg/updater/priority`
(update_priority_calculator.go, priority_processor.go), `pkg/updater/restriction`
and `pkg/updater/inplace`, version 1.8, gates at their defaults.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec

from autoscaler.model.pod import Container, Phase, Pod, PodShape
from autoscaler.model.policy import ResizeMode
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import CPU, MEMORY, NOTHING, Resources
from autoscaler.model.units import HOUR, format_duration
from autoscaler.model.workload import Workload

OOM_KILLED = "OOMKilled"

_Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]


class UpdaterParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The flags of the VPA updater, with its defaults; times are seconds, shares 0-1."""

    min_replicas: Annotated[int, msgspec.Meta(ge=1)] = 2
    eviction_tolerance: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.5
    min_change: Annotated[float, msgspec.Meta(ge=0.0)] = 0.1
    min_age_seconds: _Seconds = 12 * HOUR
    quick_oom_seconds: _Seconds = 600.0
    deferred_seconds: _Seconds = 300.0
    in_progress_seconds: _Seconds = HOUR


DEFAULTS = UpdaterParams()


class Priority(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    How far a pod is from its sizes. `difference` is the sum over resources of
    |requested - target| / requested, all containers together.
    """

    outside: bool
    grows: bool
    difference: float


class Way(enum.StrEnum):
    """How a pod gets its sizes now."""

    WAIT = "Wait"
    IN_PLACE = "InPlace"
    RECREATE = "Recreate"


class Qos(enum.StrEnum):
    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


def pods_to_resize(
    workload: Workload,
    pods: Sequence[Pod],
    sizes: Sequence[ContainerSize],
    *,
    now: float,
    params: UpdaterParams = DEFAULTS,
) -> list[tuple[Pod, Reason]]:
    """
    Return the pods of *workload* to resize and why, most urgent first; ties keep the order of *pods*.

    A pod is chosen when a request is outside lower..upper or not set, when a
    container was killed for want of memory soon after its start, or when the
    pod is old enough and far enough off. How many of them may be disrupted is
    for `disruptable` to say.
    """
    by_name = {size.container: size for size in sizes}
    ranked: list[tuple[bool, float, Pod, Reason]] = []
    # Siblings share one shape object: judge each shape once.
    judged: dict[int, Priority] = {}
    for pod in pods:
        if not pod.is_active or pod.workload not in ("", workload.key):
            continue
        priority = judged.get(id(pod.shape))
        if priority is None:
            priority = judged[id(pod.shape)] = priority_of(pod.shape, by_name)
        reason = _why(pod, priority, by_name, now=now, params=params)
        if reason is not None:
            ranked.append((not priority.grows, -priority.difference, pod, reason))
    ranked.sort(key=lambda item: item[:2])
    return [(pod, reason) for _, _, pod, reason in ranked]


def priority_of(shape: PodShape, sizes: Mapping[str, ContainerSize]) -> Priority:
    """
    Return how far a pod of *shape* is from *sizes* (by container name).

    Amounts are compared in thousandths, as the peer does: a request that is
    not set counts as one thousandth.
    """
    requested: dict[str, int] = {}
    wanted: dict[str, int] = {}
    outside = grows = False
    for container in shape.containers:
        size = sizes.get(container.name)
        if size is None:
            continue
        for name, target in size.target.items():
            thousandths = 1 if name == CPU else 1000
            wanted[name] = wanted.get(name, 0) + target * thousandths
            if not container.requests.has(name):
                outside = grows = True
                continue
            request = container.requests.get(name)
            requested[name] = requested.get(name, 0) + request * thousandths
            grows = grows or target > request
            outside = outside or not _is_within(name, request, size)
    bases = {name: max(requested.get(name, 0), 1) for name in wanted}
    difference = sum(abs(bases[name] - total) / bases[name] for name, total in sorted(wanted.items()))
    return Priority(outside=outside, grows=grows, difference=difference)


def has_quick_oom(pod: Pod, containers: Iterable[str], *, now: float, params: UpdaterParams = DEFAULTS) -> bool:
    """Tell whether one of *containers* was killed for want of memory lately, and soon after it had started."""
    if not pod.terminations:
        return False
    names = frozenset(containers)
    return any(
        end.reason == OOM_KILLED
        and end.container in names
        and end.finished_at - end.started_at < params.quick_oom_seconds
        and now - end.finished_at < params.quick_oom_seconds
        for end in pod.terminations
    )


def disruptable(pods: Sequence[Pod], *, configured: int, touched: int, params: UpdaterParams = DEFAULTS) -> int:
    """
    Return how many more running pods of one workload may be evicted or resized now, at least 0.

    *configured* is the number of replicas asked for, *touched* how many pods
    were evicted or began an in-place resize in this round and are not back
    yet. Pending pods may always be evicted and do not count. With a tolerance
    that rounds to 0, one pod at a time, and only while all run.
    """
    running = sum(pod.phase is Phase.RUNNING and pod.is_active for pod in pods)
    present = sum(pod.is_active for pod in pods)
    if present < params.min_replicas or configured <= 0:
        return 0
    tolerance = int(configured * params.eviction_tolerance)
    if tolerance == 0:
        return 1 if running >= configured and touched == 0 else 0
    return max(0, running - touched - (configured - tolerance))


def way_for(
    pod: Pod, sizes: Sequence[ContainerSize], *, mode: ResizeMode, now: float, params: UpdaterParams = DEFAULTS
) -> Way:
    """
    Return how *pod* may get *sizes* now.

    In place unless that would change the QoS class or lower a memory limit
    without a restart, or is stuck: then the pod is recreated, or under
    `InPlace` left alone until a smaller size may help. `OnRestart` always waits.
    """
    if mode is ResizeMode.ON_RESTART:
        return Way.WAIT
    if mode is ResizeMode.RECREATE:
        return Way.RECREATE
    instead = Way.WAIT if mode is ResizeMode.IN_PLACE else Way.RECREATE
    state = pod.resize.state if pod.resize is not None else ""
    if is_stuck(pod, now=now, params=params):
        retry = mode is ResizeMode.IN_PLACE and state == "Infeasible" and _lowers(pod.shape, sizes)
        return Way.IN_PLACE if retry else instead
    if state in ("Deferred", "InProgress"):
        return Way.WAIT
    return Way.IN_PLACE if can_resize_in_place(pod.shape, sizes) else instead


def is_stuck(pod: Pod, *, now: float, params: UpdaterParams = DEFAULTS) -> bool:
    """Tell whether a resize in place is infeasible, deferred for 5 minutes or in progress for an hour."""
    if pod.resize is None:
        return False
    waited = now - pod.resize.since
    return (
        pod.resize.state == "Infeasible"
        or (pod.resize.state == "Deferred" and waited > params.deferred_seconds)
        or (pod.resize.state == "InProgress" and waited > params.in_progress_seconds)
    )


def can_resize_in_place(shape: PodShape, sizes: Sequence[ContainerSize]) -> bool:
    """Tell whether the API server and the kubelet accept *sizes* for a running pod of this shape."""
    after = resized(shape, sizes)
    if qos_class(shape) is not qos_class(after):
        return False
    return not any(
        MEMORY not in old.resize_restarts and 0 < new.limits.get(MEMORY) < old.limits.get(MEMORY)
        for old, new in zip(shape.containers, after.containers, strict=True)
    )


def resized(shape: PodShape, sizes: Sequence[ContainerSize]) -> PodShape:
    """Return *shape* with the targets and limits of *sizes*; what has none stays as it is."""
    if not sizes:
        return shape
    by_name = {size.container: size for size in sizes}
    containers = tuple(_resized(container, by_name.get(container.name)) for container in shape.containers)
    return msgspec.structs.replace(shape, containers=containers)


def qos_class(shape: PodShape) -> Qos:
    """Return the QoS class of a pod (core/v1 helper/qos: cpu and memory of all containers, init containers too)."""
    containers = (*shape.containers, *shape.init_containers)
    amounts = [one for container in containers for one in (container.requests, container.limits)]
    if shape.pod_requests is not None or shape.pod_limits is not None:
        amounts = [shape.pod_requests or NOTHING, shape.pod_limits or NOTHING]
        pairs = [(amounts[0], amounts[1])]
    else:
        pairs = [(container.requests, container.limits) for container in containers]
    if not any(amount.get(name) for amount in amounts for name in (CPU, MEMORY)):
        return Qos.BEST_EFFORT
    guaranteed = all(
        limits.get(name) and (not requests.has(name) or requests.get(name) == limits.get(name))
        for requests, limits in pairs
        for name in (CPU, MEMORY)
    )
    return Qos.GUARANTEED if guaranteed else Qos.BURSTABLE


def _why(
    pod: Pod, priority: Priority, sizes: Mapping[str, ContainerSize], *, now: float, params: UpdaterParams
) -> Reason | None:
    if priority.difference == 0 and not priority.outside:
        return None
    quick_oom = has_quick_oom(pod, sizes, now=now, params=params)
    if quick_oom and priority.difference == 0:
        return None
    if quick_oom:
        return Reason(Code.OOM_KILLED, f"pod {pod.key}: a container was killed for want of memory soon after its start")
    grows = priority.grows
    code = Code.USAGE_ABOVE_REQUEST if grows else Code.USAGE_BELOW_REQUEST
    if priority.outside:
        return Reason(code, f"pod {pod.key}: a request is outside the recommended range")
    old_enough = pod.started_at is not None and now - pod.started_at >= params.min_age_seconds
    if not old_enough or priority.difference < params.min_change:
        return None
    return Reason(
        code,
        f"pod {pod.key}: requests are {priority.difference:.0%} off and the pod runs for more than "
        f"{format_duration(params.min_age_seconds)}",
    )


def _lowers(shape: PodShape, sizes: Sequence[ContainerSize]) -> bool:
    requests = {container.name: container.requests for container in shape.containers}
    return any(
        target < requests.get(size.container, NOTHING).get(name)
        for size in sizes
        for name, target in size.target.items()
    )


def _is_within(name: str, request: int, size: ContainerSize) -> bool:
    above = not size.lower.has(name) or request >= size.lower.get(name)
    return above and (not size.upper.has(name) or request <= size.upper.get(name))


def _resized(container: Container, size: ContainerSize | None) -> Container:
    if size is None:
        return container
    requests = Resources.of({**dict(container.requests.amounts), **dict(size.target.amounts)})
    limits = Resources.of({**dict(container.limits.amounts), **dict((size.limits or NOTHING).amounts)})
    return msgspec.structs.replace(container, requests=requests, limits=limits)
