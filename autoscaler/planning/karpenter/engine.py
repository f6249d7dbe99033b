"""
The node side of a decision as Karpenter would take it.

It acts on pods that wait (and those on nodes that go away), not on those that
a decision will ask for, and keeps no head-room. Source: Karpenter
`pkg/controllers/provisioning/provisioner.go`, main of 2026-08-20. Where this
differs, and why, is in the reference ("Peers", Karpenter).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from autoscaler.model.plan import Note
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.policy import Consolidation, ScalingPolicySpec
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.karpenter.candidates import is_reschedulable
from autoscaler.planning.karpenter.drift import note_templates
from autoscaler.planning.karpenter.forced import forced_out
from autoscaler.planning.karpenter.growth import Growth, growth_of
from autoscaler.planning.karpenter.params import KarpenterParams, param_problems, read_params
from autoscaler.planning.karpenter.refusals import Refusal
from autoscaler.planning.karpenter.removals import Turn, going_nodes, remove_nodes
from autoscaler.planning.karpenter.rescheduling import waiting_pod
from autoscaler.planning.karpenter.scene import Scene, scene_of
from autoscaler.planning.karpenter.solve import Solution, solve
from autoscaler.planning.node_layer import NodePlan, in_mode, is_blind
from autoscaler.planning.workload_actions import WorkloadActions
from autoscaler.scheduling.requirements import label_map


def plan_nodes(
    index: SnapshotIndex,
    rules: ScalingPolicySpec,
    state: DecisionState,
    *,
    parts: Mapping[str, WorkloadActions],
    advice: Sequence[Recommendation],
    room: DisruptionRoom,
) -> NodePlan:
    """
    Return what to buy and what to give back; *parts* are not looked at, for this engine waits to see the pods.

    With parameters that it cannot take it does nothing, and says so.
    """
    if not index.snapshot.node_groups:
        return NodePlan(last_consolidation_at=state.last_consolidation_at)
    try:
        params = read_params(rules.nodes.params)
        wrong = next(iter(param_problems(params)), None)
    except (msgspec.ValidationError, ValueError) as problem:
        return _held(state, f"nodes.params: {problem}")
    if wrong is not None:
        name, found, allowed = wrong
        return _held(state, f"nodes.params.{name}: {found!r} is not valid; allowed: {allowed}")
    return in_mode(_turn(index, rules, state, params=params, room=room, blind=is_blind(advice)), rules.mode, state)


def _turn(
    index: SnapshotIndex,
    rules: ScalingPolicySpec,
    state: DecisionState,
    *,
    params: KarpenterParams,
    room: DisruptionRoom,
    blind: bool,
) -> NodePlan:
    snapshot, now = index.snapshot, index.snapshot.observed_at
    forced = forced_out(
        snapshot.nodes,
        index.groups,
        {each.node: each for each in state.nodes},
        expire_seconds=params.expire_after.seconds,
        may_begin=not blind and rules.nodes.consolidation is not Consolidation.OFF,
        now=now,
    )
    leaving = leaving_nodes(snapshot, state) | forced.keys()
    provisioned = provision(snapshot, rules, params, waiting=pods_to_place(index, leaving), leaving=leaving)
    templates = note_templates(snapshot.node_groups, state.templates, now=now)
    removed = remove_nodes(
        Turn(
            index=index,
            rules=rules,
            state=state,
            params=params,
            room=room,
            templates=templates,
            forced=forced,
            leaving=leaving,
            waiting=[pod for pod in index.waiting if pod.unschedulable_since is not None],
            nominated=frozenset(name for name, _ in provisioned.solution.placed),
            grown={size.group: size.size for size in provisioned.growth.sizes},
            blind=blind,
        )
    )
    return NodePlan(
        actions=(*provisioned.growth.sizes, *removed.plan.actions),
        notes=(*provisioned.notes, *removed.plan.notes, *removed.notes),
        memory=removed.plan.memory,
        groups=state.groups,
        templates=templates,
        proposal=removed.proposal,
        last_consolidation_at=now if removed.plan.consolidated else state.last_consolidation_at,
        last_removal_failed_at=now if removed.failed else state.last_removal_failed_at,
    )


class Provisioned(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn of the provisioner comes to."""

    growth: Growth = Growth()
    solution: Solution = Solution()
    notes: tuple[Note, ...] = ()


def pods_to_place(index: SnapshotIndex, leaving: Collection[str]) -> list[Pod]:
    """
    Return the pods that need a place: those that the scheduler has given up on, and those of nodes going away.

    Of the latter not DaemonSets' and nodes' own pods, nor what has ended or may not be evicted.
    """
    waiting = [pod for pod in index.waiting if pod.unschedulable_since is not None]
    moved = [pod for pod in index.snapshot.pods if pod.node in leaving and _must_move(pod)]
    return [*waiting, *moved]


def leaving_nodes(snapshot: ClusterSnapshot, state: DecisionState) -> frozenset[str]:
    """Return the nodes that are on their way out: no pod may count on them."""
    going = going_nodes(state)
    return frozenset(
        node.name for node in snapshot.nodes if node.deleting or node.interrupt_at is not None or node.name in going
    )


def provision(
    snapshot: ClusterSnapshot,
    rules: ScalingPolicySpec,
    params: KarpenterParams,
    *,
    waiting: Sequence[Pod],
    leaving: Collection[str] = (),
) -> Provisioned:
    """Return where *waiting* pods would go without the *leaving* nodes, and which groups must grow for them."""
    if not waiting:
        return Provisioned()
    placeable = [pod for pod in waiting if () not in pod.shape.volume_terms and not pod.shape.device_claims]
    scene = scene_of(snapshot, waiting=placeable, leaving=leaving, overlays=params.overlays, limits=rules.nodes.limits)
    solution = solve(list(map(waiting_pod, placeable)), scene.pools, cluster=scene.cluster, rules=params.solve_rules)
    growth = growth_of(solution.claims, scene, now=snapshot.observed_at)
    shapes = {pod.key: pod.shape for pod in waiting}
    notes = (*_refused(solution, scene, shapes), *_unmet(growth, shapes), *_nowhere(waiting), *_left_out(scene))
    return Provisioned(growth=growth, solution=solution, notes=notes)


def _must_move(pod: Pod) -> bool:
    return is_reschedulable(pod) and not pod.do_not_evict


def _held(state: DecisionState, message: str) -> NodePlan:
    return NodePlan(
        notes=(Note(target="policy/nodes", reasons=(Reason(Code.POLICY_INVALID, message),)),),
        memory=state.nodes,
        groups=state.groups,
        templates=state.templates,
        last_consolidation_at=state.last_consolidation_at,
        last_removal_failed_at=state.last_removal_failed_at,
    )


def _refused(solution: Solution, scene: Scene, shapes: Mapping[str, PodShape]) -> list[Note]:
    """Say of pods that no pool can help why; of those of one workload once."""
    names = [pool.name for pool in scene.pools]
    notes: dict[str, Note] = {}
    for key, refusals in solution.refused:
        target = _target(shapes[key])
        if target not in notes:
            told = [f"{name}: {each}" for name, each in zip(names, refusals, strict=False)]
            notes[target] = Note(target=target, reasons=(Reason(_code(refusals), "fits no pool: " + "; ".join(told)),))
    return list(notes.values())


def _code(refusals: Sequence[Refusal]) -> Code:
    return Code.LIMIT_REACHED if Refusal.LIMITS in refusals else Code.NO_GROUP_FITS


def _unmet(growth: Growth, shapes: Mapping[str, PodShape]) -> list[Note]:
    message = "every node group that could hold the pod is at its maximum"
    targets = dict.fromkeys(_target(shapes[key]) for claim in growth.unmet for key in claim.pods)
    return [Note(target=target, reasons=(Reason(Code.GROUP_AT_MAXIMUM, message),)) for target in targets]


def _nowhere(waiting: Sequence[Pod]) -> list[Note]:
    message = "a volume of the pod is not there, nor made when the pod is placed, or is another pod's alone"
    targets = dict.fromkeys(_target(pod.shape) for pod in waiting if () in pod.shape.volume_terms)
    return [Note(target=target, reasons=(Reason(Code.NO_GROUP_FITS, message),)) for target in targets]


def _left_out(scene: Scene) -> list[Note]:
    if not scene.conflicting:
        return []
    message = f"overlays left out, for one of the same weight sets the same: {', '.join(scene.conflicting)}"
    return [Note(target="policy/nodes", reasons=(Reason(Code.POLICY_INVALID, message),))]


def _target(shape: PodShape) -> str:
    return f"pods/{shape.namespace}/{label_map(shape.labels).get('app', '') or shape.owner_kind}"
