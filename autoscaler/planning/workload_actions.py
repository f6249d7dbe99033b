"""
From what a workload should have to what to do about it: replicas, the
template's requests, resizes in place, restarts where nothing else helps.

Which pods get new sizes, and by which way, is for `recommend.updater` to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from autoscaler.model.node import Node
from autoscaler.model.plan import AnyAction, EvictPod, Note, ResizePod, SetReplicas, SetRequests
from autoscaler.model.pod import Container, Pod, PodShape
from autoscaler.model.policy import ResizeMode, UpdateMode
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import CPU, MEMORY
from autoscaler.model.snapshot import Prices
from autoscaler.model.workload import Workload
from autoscaler.planning.effective import Effective, resize_mode
from autoscaler.planning.prices import worth
from autoscaler.recommend.updater import Way, disruptable, is_stuck, pods_to_resize, priority_of, resized, way_for
from autoscaler.scheduling.requests import effective_requests

AT_ONCE = frozenset({"joint"})
"""Engines whose sizes go to all pods in one cycle; those of all others keep to the VPA updater's tolerance."""
_ABOUT_SIZES = frozenset(
    {
        Code.SHAPE_CHEAPER, Code.USAGE_ABOVE_REQUEST, Code.USAGE_BELOW_REQUEST, Code.OOM_KILLED,
        Code.CAPPED_BY_POLICY, Code.CAPPED_BY_NODE,
    }
)  # fmt: skip
_STUCK = Reason(Code.RESIZE_STUCK, "the resize in place is infeasible, deferred for 5 min or in progress for 1 h")

_NEEDS_ADMISSION = Reason(
    Code.NEEDS_ADMISSION, "sizes are for starting pods only, and the webhook that gives them is not served"
)


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


class Surroundings(NamedTuple):
    """
    What a workload's actions depend on beside itself.

    `now` is in epoch seconds. `nodes` are by name; a pod on one that is not
    there is taken to fit. `sizes_at_admission` as in the snapshot.
    """

    prices: Prices
    now: float
    nodes: Mapping[str, Node] = {}
    sizes_at_admission: bool = True


def workload_actions(
    workload: Workload, effective: Effective, advice: Recommendation, pods: Sequence[Pod], *, around: Surroundings
) -> WorkloadActions:
    """
    Return the actions that bring *workload* to *advice*, as far as its mode allows.

    Auto acts on everything, Initial on the template alone (new pods), Recommend on nothing.
    """
    prices = around.prices
    moves = _pod_actions(workload, effective, advice, pods, around=around)
    sizes = _template_sizes(workload.template, advice, follow=bool(moves))
    waiting = None
    if not around.sizes_at_admission:
        sizes, moves, waiting = _rolled_out(effective, sizes, moves)
    shape = resized(workload.template, sizes)
    scale, paused = _scale(workload, effective, advice, shape, prices=prices)
    template = _template_action(workload, advice, sizes, shape, prices=prices)
    wanted = tuple(action for action in (template, *moves, scale) if action is not None)
    note = _note(effective, advice, wanted, [reason for reason in (paused, waiting) if reason is not None])
    if effective.mode is UpdateMode.AUTO:
        replicas = scale.replicas if scale is not None else workload.replicas
        return WorkloadActions(actions=wanted, note=note, shape=shape, replicas=replicas)
    if effective.mode is UpdateMode.INITIAL and template is not None:
        rest = tuple(action for action in wanted if action is not template)
        return WorkloadActions(actions=(template,), advised=rest, note=note, shape=shape, replicas=workload.replicas)
    return WorkloadActions(advised=wanted, note=note, shape=workload.template, replicas=workload.replicas)


def growing(shape: PodShape, sizes: Iterable[ContainerSize]) -> tuple[ContainerSize, ...]:
    """Return of *sizes* only what is more than *shape* asks for: all that may change while something is missing."""
    containers = {container.name: container for container in shape.containers}
    kept = []
    for size in sizes:
        container = containers.get(size.container)
        if container is None:
            continue
        names = [name for name, target in size.target.items() if target > container.requests.get(name)]
        if names:
            limits = None if size.limits is None else container.limits.largest(size.limits)
            kept.append(msgspec.structs.replace(size, target=size.target.only(names), limits=limits))
    return tuple(kept)


def _changes(shape: PodShape, advice: Recommendation) -> tuple[ContainerSize, ...]:
    """Return the sizes that a pod of *shape* does not have yet, and may get now."""
    containers = {container.name: container for container in shape.containers}
    differing = tuple(size for size in advice.containers if _differs(containers.get(size.container), size))
    return growing(shape, differing) if advice.held else differing


def _differs(container: Container | None, size: ContainerSize) -> bool:
    if container is None:
        return False
    requests = container.requests
    return any(not requests.has(name) or requests.get(name) != target for name, target in size.target.items())


def _template_sizes(template: PodShape, advice: Recommendation, *, follow: bool) -> tuple[ContainerSize, ...]:
    """
    Return what new pods should get: a change when a request is out of range, or to *follow* running pods.

    The VPA gives every new pod the newest target; a template that did so would
    change every minute.
    """
    if not advice.containers:
        return ()
    outside = priority_of(template, _by_container(advice)).outside
    return _changes(template, advice) if outside or follow or advice.urgent else ()


def _by_container(advice: Recommendation) -> Mapping[str, ContainerSize]:
    return {size.container: size for size in advice.containers}


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
    shape: PodShape,
    *,
    prices: Prices,
) -> SetRequests | None:
    if not sizes:
        return None
    before, after = effective_requests(workload.template), effective_requests(shape)
    cost = (worth(after, prices) - worth(before, prices)) * workload.replicas
    reasons = _sizes_first(advice.reasons)
    return SetRequests(workload=workload.key, containers=sizes, reasons=reasons, usd_per_hour=cost)


def _rolled_out(
    effective: Effective, sizes: tuple[ContainerSize, ...], moves: list[AnyAction]
) -> tuple[tuple[ContainerSize, ...], list[AnyAction], Reason | None]:
    """
    Return what the template gets, what is left to do to pods, and why sizes wait, if they do.

    A pod that starts anew starts as the template says. So the template moves,
    and all pods with it, only where pods would have to start anew anyway: the
    roll-out then takes the place of evictions. Else it is left alone.
    """
    how = resize_mode(effective.spec)
    if not sizes:
        return (), moves, None
    if effective.mode is UpdateMode.INITIAL or how is ResizeMode.ON_RESTART:
        return (), [], _NEEDS_ADMISSION
    stays: list[AnyAction] = [action for action in moves if not isinstance(action, EvictPod)]
    if how is ResizeMode.RECREATE or len(stays) < len(moves):
        return sizes, [], None
    return (), stays, None


def _sizes_first(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """Put the reasons that are about sizes before those about replicas: the first one is told with the action."""
    return tuple(sorted(reasons, key=lambda reason: reason.code not in _ABOUT_SIZES))


def _pod_actions(
    workload: Workload, effective: Effective, advice: Recommendation, pods: Sequence[Pod], *, around: Surroundings
) -> list[AnyAction]:
    """Return resizes in place, or evictions where a pod cannot be resized and the policy lets it be recreated."""
    how, now = resize_mode(effective.spec), around.now
    if not advice.containers or how is ResizeMode.ON_RESTART:
        return []
    chosen = pods_to_resize(workload, pods, advice.containers, now=now)
    known = {id(pod) for pod, _ in chosen}
    chosen += [
        (pod, _STUCK)
        for pod in pods
        if pod.resize is not None and id(pod) not in known and pod.is_active and is_stuck(pod, now=now)
    ]
    if not chosen:
        return []
    at_once = effective.engine in AT_ONCE
    room = len(pods) if at_once else disruptable(pods, configured=workload.replicas, touched=0)
    actions: list[AnyAction] = []
    for pod, reason in chosen:
        sizes = _changes(pod.shape, advice)
        way = _way(pod, sizes, reason, how=how, now=now, at_once=at_once)
        if way is Way.IN_PLACE and not _fits(resized(pod.shape, sizes), around.nodes.get(pod.node)):
            # The API server refuses it: "node didn't have enough allocatable resources".
            way = Way.WAIT if how is ResizeMode.IN_PLACE else Way.RECREATE
        if way is Way.WAIT or (pod.node and room <= 0):
            continue
        # The VPA updater may evict any number of pods that do not run yet.
        room -= bool(pod.node)
        reasons = _sizes_first(advice.reasons) if at_once else (reason,)
        if way is Way.IN_PLACE:
            actions.append(ResizePod(pod=pod.key, workload=workload.key, containers=sizes, reasons=reasons))
        else:
            actions.append(EvictPod(pod=pod.key, uid=pod.uid, workload=workload.key, reasons=reasons))
    return actions


def _fits(shape: PodShape, node: Node | None) -> bool:
    """Tell whether a node could hold the pod if it were alone there."""
    return node is None or effective_requests(shape).only((CPU, MEMORY)).fits_in(node.allocatable)


def _way(
    pod: Pod, sizes: Sequence[ContainerSize], reason: Reason, *, how: ResizeMode, now: float, at_once: bool
) -> Way:
    if not pod.node:
        # A pod that waits is resized by its successor; where sizes go to all pods, it is once it runs.
        return Way.WAIT if at_once or not sizes or how is ResizeMode.IN_PLACE else Way.RECREATE
    if not sizes and reason is not _STUCK:
        return Way.WAIT
    if at_once and pod.resize is not None and not is_stuck(pod, now=now):
        # A newer size takes the place of one that still waits for room.
        pod = msgspec.structs.replace(pod, resize=None)
    return way_for(pod, sizes, mode=how, now=now)


def _note(
    effective: Effective, advice: Recommendation, wanted: tuple[AnyAction, ...], reasons: list[Reason]
) -> Note | None:
    """Say why nothing, or not all, is done."""
    if wanted and effective.mode in (UpdateMode.RECOMMEND, UpdateMode.INITIAL):
        reasons.append(Reason(Code.MODE_RECOMMEND, f"mode {effective.mode.value}: told, not done"))
    if not wanted:
        reasons.extend(advice.reasons)
    return Note(target=f"workload/{advice.workload}", reasons=tuple(reasons)) if reasons else None
