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
from autoscaler.model.policy import ScalingPolicySpec
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.karpenter.growth import Growth, growth_of
from autoscaler.planning.karpenter.params import KarpenterParams, param_problems, read_params
from autoscaler.planning.karpenter.queue import WaitingPod
from autoscaler.planning.karpenter.refusals import Refusal
from autoscaler.planning.karpenter.scene import Scene, scene_of
from autoscaler.planning.karpenter.solve import Solution, solve
from autoscaler.planning.node_layer import NodePlan, in_mode
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
    Return what to buy; *parts* are not looked at, for this engine waits to see the pods.

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
    leaving = leaving_nodes(index.snapshot, state)
    waiting = pods_to_place(index, leaving)
    provisioned = provision(index.snapshot, rules, params, waiting=waiting, leaving=leaving)
    plan = NodePlan(
        actions=provisioned.growth.sizes,
        notes=provisioned.notes,
        memory=state.nodes,
        groups=state.groups,
        last_consolidation_at=state.last_consolidation_at,
        last_removal_failed_at=state.last_removal_failed_at,
    )
    return in_mode(plan, rules.mode, state)


class Provisioned(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn of the provisioner comes to."""

    growth: Growth = Growth()
    solution: Solution = Solution()
    notes: tuple[Note, ...] = ()


def pods_to_place(index: SnapshotIndex, leaving: Collection[str]) -> list[Pod]:
    """
    Return the pods that need a place: those that the scheduler has given up on, and those of nodes going away.

    Of the latter not DaemonSets' and nodes' own pods, nor what has ended or is ending.
    """
    waiting = [pod for pod in index.waiting if pod.unschedulable_since is not None]
    moved = [pod for pod in index.snapshot.pods if pod.node in leaving and _comes_again(pod)]
    return [*waiting, *moved]


def leaving_nodes(snapshot: ClusterSnapshot, state: DecisionState) -> frozenset[str]:
    """Return the nodes that are on their way out: no pod may count on them."""
    draining = {each.node for each in state.nodes if each.drain_since > 0}
    return frozenset(
        node.name for node in snapshot.nodes if node.deleting or node.interrupt_at is not None or node.name in draining
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
    placeable = [pod for pod in waiting if () not in pod.shape.volume_terms]
    scene = scene_of(snapshot, waiting=placeable, leaving=leaving, overlays=params.overlays, limits=rules.nodes.limits)
    pods = [
        WaitingPod(key=pod.key, shape=pod.shape, created_at=float(int(pod.created_at)), uid=pod.uid)
        for pod in placeable
    ]
    solution = solve(pods, scene.pools, cluster=scene.cluster, rules=params.solve_rules)
    growth = growth_of(solution.claims, scene, now=snapshot.observed_at)
    shapes = {pod.key: pod.shape for pod in waiting}
    notes = (*_refused(solution, scene, shapes), *_unmet(growth, shapes), *_nowhere(waiting), *_left_out(scene))
    return Provisioned(growth=growth, solution=solution, notes=notes)


def _comes_again(pod: Pod) -> bool:
    return pod.is_active and pod.shape.owner_kind not in ("DaemonSet", "Node")


def _held(state: DecisionState, message: str) -> NodePlan:
    return NodePlan(
        notes=(Note(target="policy/nodes", reasons=(Reason(Code.POLICY_INVALID, message),)),),
        memory=state.nodes,
        groups=state.groups,
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
