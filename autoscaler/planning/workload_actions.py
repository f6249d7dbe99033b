"""
From what a workload should have to what to do about it: replicas, the
template's requests, resizes in place, restarts where nothing else helps.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autoscaler.model.plan import AnyAction, EvictPod, Note, ResizePod, SetReplicas, SetRequests
from autoscaler.model.pod import Container, Pod, PodShape
from autoscaler.model.policy import ResizeMode, UpdateMode
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import Prices
from autoscaler.model.workload import Workload
from autoscaler.planning.effective import Effective, resize_mode
from autoscaler.planning.prices import worth
from autoscaler.scheduling.requests import effective_requests

_DEFERRED_SECONDS = 300.0
_IN_PROGRESS_SECONDS = 3600.0
_IN_PLACE = (ResizeMode.IN_PLACE, ResizeMode.IN_PLACE_OR_RECREATE)


class WorkloadActions(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to do for one workload, what of it only to tell, and the shape and
    count that its pods will have. Evictions still have to pass the budget.
    """

    actions: tuple[AnyAction, ...] = ()
    advised: tuple[AnyAction, ...] = ()
    note: Note | None = None
    shape: PodShape
    replicas: int


def workload_actions(
    workload: Workload, effective: Effective, advice: Recommendation, pods: Sequence[Pod], *, prices: Prices, now: float
) -> WorkloadActions:
    """
    Return the actions that bring *workload* to *advice*, as far as its mode allows.

    Auto acts on everything, Initial on the template alone (new pods), Recommend on nothing.
    """
    sizes = _changed_sizes(workload.template, advice.containers)
    shape = resized(workload.template, sizes)
    scale, paused = _scale(workload, effective, advice, shape, prices=prices)
    template = _template_action(workload, advice, sizes, scale, prices=prices)
    moves = _pod_actions(workload, effective, advice, pods, now=now)
    wanted = tuple(action for action in (template, *moves, scale) if action is not None)
    note = _note(effective, advice, wanted, paused)
    if effective.mode is UpdateMode.AUTO:
        replicas = scale.replicas if scale is not None else workload.replicas
        return WorkloadActions(actions=wanted, note=note, shape=shape, replicas=replicas)
    if effective.mode is UpdateMode.INITIAL and template is not None:
        rest = tuple(action for action in wanted if action is not template)
        return WorkloadActions(actions=(template,), advised=rest, note=note, shape=shape, replicas=workload.replicas)
    return WorkloadActions(advised=wanted, note=note, shape=workload.template, replicas=workload.replicas)


def resized(shape: PodShape, sizes: Sequence[ContainerSize]) -> PodShape:
    """Return *shape* with the targets of *sizes* as requests (and their limits, where they name some)."""
    if not sizes:
        return shape
    by_name = {size.container: size for size in sizes}
    return msgspec.structs.replace(shape, containers=tuple(_resized(c, by_name.get(c.name)) for c in shape.containers))


def _resized(container: Container, size: ContainerSize | None) -> Container:
    if size is None:
        return container
    return msgspec.structs.replace(
        container,
        requests=Resources.of({**dict(container.requests.items()), **dict(size.target.items())}),
        limits=container.limits if size.limits is None else size.limits,
    )


def _changed_sizes(shape: PodShape, sizes: Sequence[ContainerSize]) -> tuple[ContainerSize, ...]:
    """Return the sizes that the shape does not have yet and is outside the band of."""
    by_name = {container.name: container for container in shape.containers}
    return tuple(size for size in sizes if size.container in by_name and _outside(by_name[size.container], size))


def _outside(container: Container, size: ContainerSize) -> bool:
    for name, target in size.target.items():
        now = container.requests.get(name)
        low, high = size.lower.get(name, target), size.upper.get(name, target)
        if now != target and (now < low or now > high or not container.requests.has(name)):
            return True
    return False


def _scale(
    workload: Workload, effective: Effective, advice: Recommendation, shape: PodShape, *, prices: Prices
) -> tuple[SetReplicas | None, Reason | None]:
    wanted, current = advice.replicas, workload.replicas
    if wanted is None or wanted == current:
        return None, None
    pause = effective.spec.policy.pause
    if (pause.up and wanted > current) or (pause.down and wanted < current):
        direction = "up" if wanted > current else "down"
        return None, Reason(Code.PAUSED, f"scaling {direction} to {wanted} is paused by the policy")
    cost = (wanted - current) * worth(effective_requests(shape), prices)
    return (
        SetReplicas(
            workload=workload.key, replicas=wanted, expected=current, reasons=advice.reasons, usd_per_hour=cost
        ),
        None,
    )


def _template_action(
    workload: Workload,
    advice: Recommendation,
    sizes: tuple[ContainerSize, ...],
    scale: SetReplicas | None,
    *,
    prices: Prices,
) -> SetRequests | None:
    if not sizes:
        return None
    before, after = effective_requests(workload.template), effective_requests(resized(workload.template, sizes))
    cost = (worth(after, prices) - worth(before, prices)) * workload.replicas
    return SetRequests(workload=workload.key, containers=sizes, reasons=advice.reasons, usd_per_hour=cost)


def _pod_actions(
    workload: Workload, effective: Effective, advice: Recommendation, pods: Sequence[Pod], *, now: float
) -> list[AnyAction]:
    """Return resizes in place, or evictions where the pod cannot be resized and the policy lets it be recreated."""
    if not advice.containers:
        return []
    how = resize_mode(effective.spec)
    if how is ResizeMode.ON_RESTART:
        return []
    actions: list[AnyAction] = []
    verdicts: dict[int, tuple[ContainerSize, ...]] = {}
    for pod in pods:
        if not pod.is_active or not pod.node:
            continue
        # Siblings share one shape object: judge each shape once.
        if id(pod.shape) not in verdicts:
            verdicts[id(pod.shape)] = _changed_sizes(pod.shape, advice.containers)
        sizes = verdicts[id(pod.shape)]
        if _stuck(pod, now):
            if how is not ResizeMode.IN_PLACE:
                actions.append(EvictPod(pod=pod.key, uid=pod.uid, workload=workload.key, reasons=advice.reasons))
        elif sizes and how in _IN_PLACE:
            actions.append(ResizePod(pod=pod.key, workload=workload.key, containers=sizes, reasons=advice.reasons))
        elif sizes:
            actions.append(EvictPod(pod=pod.key, uid=pod.uid, workload=workload.key, reasons=advice.reasons))
    return actions


def _stuck(pod: Pod, now: float) -> bool:
    """Tell whether a resize in place will not come to an end (VPA updater rules, behaviours 2.2)."""
    if pod.resize is None:
        return False
    waited = now - pod.resize.since
    return (
        pod.resize.state == "Infeasible"
        or (pod.resize.state == "Deferred" and waited > _DEFERRED_SECONDS)
        or (pod.resize.state == "InProgress" and waited > _IN_PROGRESS_SECONDS)
    )


def _note(
    effective: Effective, advice: Recommendation, wanted: tuple[AnyAction, ...], paused: Reason | None
) -> Note | None:
    """Say why nothing, or not all, is done."""
    reasons = [paused] if paused else []
    if wanted and effective.mode in (UpdateMode.RECOMMEND, UpdateMode.INITIAL):
        reasons.append(Reason(Code.MODE_RECOMMEND, f"mode {effective.mode.value}: told, not done"))
    if not wanted:
        reasons.extend(advice.reasons)
    return Note(target=f"workload/{advice.workload}", reasons=tuple(reasons)) if reasons else None
