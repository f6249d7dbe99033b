"""The removals of a turn of this engine: forced ones, those begun before, and what disruption finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.node import NodeGroup
from autoscaler.model.plan import Note
from autoscaler.model.pod import Pod
from autoscaler.model.policy import Consolidation, ScalingPolicySpec, UpdateMode
from autoscaler.model.reasons import Reason
from autoscaler.model.state import DecisionState, NodeMemory, NodeProposal, TemplateMemory
from autoscaler.planning.blockers import Headroom
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.drain_steps import Steps
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.karpenter.candidates import Candidate, Sight, candidates_of, is_reschedulable
from autoscaler.planning.karpenter.commands import Setting
from autoscaler.planning.karpenter.commands_under_way import is_going
from autoscaler.planning.karpenter.disruption import Disruption, View, go_on
from autoscaler.planning.karpenter.disruption_budgets import budgets_of
from autoscaler.planning.karpenter.params import KarpenterParams
from autoscaler.planning.karpenter.rescheduling import Rescheduling
from autoscaler.planning.karpenter.scene import Scene, scene_of
from autoscaler.planning.removals import RemovalPlan, RemovalRules

_TRIES = 100_000
"""Nodes looked at, in all simulations of single nodes in a cycle: 20 tries among 5,000 nodes."""
_LEAST_TRIES = 10


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the removals of a turn depend on.

    `forced` has why nodes go in any case, by name; `grown` the groups' sizes
    where this turn has raised them, `nominated` the nodes that waiting pods
    are about to get. `leaving` names all nodes on their way out.
    """

    index: SnapshotIndex
    rules: ScalingPolicySpec
    state: DecisionState
    params: KarpenterParams
    room: DisruptionRoom
    templates: tuple[TemplateMemory, ...]
    forced: Mapping[str, Reason]
    leaving: frozenset[str]
    waiting: Sequence[Pod] = ()
    nominated: frozenset[str] = frozenset()
    grown: Mapping[str, int] = {}
    blind: bool = False


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """The steps, with what must be remembered beyond that of nodes."""

    plan: RemovalPlan
    proposal: NodeProposal | None = None
    notes: tuple[Note, ...] = ()
    failed: bool = False


def remove_nodes(turn: Turn) -> Removed:
    """Return the next steps for nodes on their way out, and for those that begin to go."""
    snapshot, groups = turn.index.snapshot, turn.index.groups
    pods: dict[str, list[Pod]] = {}
    for pod in snapshot.pods:
        if pod.node:
            pods.setdefault(pod.node, []).append(pod)
    steps = _steps(turn, groups)
    now, before = snapshot.observed_at, {each.node: each for each in turn.state.nodes}
    memory: dict[str, NodeMemory] = {}
    for node in snapshot.nodes:
        reason = turn.forced.get(node.name)
        if reason is not None:
            known = before.get(node.name, NodeMemory(node=node.name))
            memory[node.name] = msgspec.structs.replace(known, drain_since=known.drain_since or now)
            steps.step(node, pods.get(node.name, ()), reason, forced=True)
    begun, failed = go_on(
        snapshot, groups, pods, steps=steps, before=[each for each in turn.state.nodes if each.node not in memory]
    )
    memory |= begun
    if turn.rules.nodes.consolidation is Consolidation.OFF or turn.blind or turn.grown:
        return Removed(plan=steps.plan(memory, consolidated=False), failed=failed)
    view = _view(turn, pods, before)
    remember_events(view.candidates, memory, before, now=now, seconds=view.consolidate_after)
    disruption = Disruption(view, steps, memory)
    disruption.run()
    return Removed(
        plan=steps.plan(disruption.memory, consolidated=disruption.began),
        proposal=disruption.proposal,
        notes=tuple(disruption.notes()),
        failed=failed,
    )


def remember_events(
    candidates: Sequence[Candidate],
    memory: dict[str, NodeMemory],
    before: Mapping[str, NodeMemory],
    *,
    now: float,
    seconds: float,
) -> None:
    """Keep in *memory* when pods last came or went, for nodes that are left alone for that, and what is to wait."""
    for each in candidates:
        known = before.get(each.name)
        wait = known.recheck_at if known is not None and known.recheck_at > now else 0.0
        recent = each.changed_at if now - each.changed_at < seconds else 0.0
        if (wait or recent) and each.name not in memory:
            memory[each.name] = NodeMemory(node=each.name, recheck_at=wait, pods_changed_at=recent)


def _view(turn: Turn, pods: Mapping[str, Sequence[Pod]], before: Mapping[str, NodeMemory]) -> View:
    snapshot, rules, now = turn.index.snapshot, turn.rules, turn.index.snapshot.observed_at
    leaving_pods = [
        pod
        for name in sorted(turn.leaving)
        for pod in pods.get(name, ())
        if is_reschedulable(pod) and not pod.do_not_evict
    ]
    leaving_keys = {pod.key for pod in leaving_pods}
    scene = scene_of(
        snapshot,
        waiting=[*turn.waiting, *leaving_pods],
        leaving=turn.leaving,
        overlays=turn.params.overlays,
        limits=rules.nodes.limits,
        movable={pod.shape: None for pod in snapshot.pods if pod.node and is_reschedulable(pod)},
    )
    pools = {pool.name: pool for pool in scene.pools}
    sight = Sight(
        pods=pods,
        groups=turn.index.groups,
        pools=pools,
        pool_of=_pool_of(scene),
        headroom=Headroom(snapshot.disruption_budgets),
        memory=before,
        going=turn.leaving,
        nominated=turn.nominated,
    )
    rescheduling = Rescheduling(
        scene=scene,
        rules=turn.params.solve_rules,
        pending=tuple(pod for pod in turn.waiting if pod.key not in leaving_keys),
        leaving=tuple(leaving_pods),
    )
    return View(
        snapshot=snapshot,
        candidates=candidates_of(snapshot.nodes, sight),
        pods=pods,
        groups=turn.index.groups,
        setting=Setting(
            rescheduling=rescheduling,
            pools=pools,
            spot_to_spot=turn.params.spot_to_spot_consolidation,
            most_tries=max(_LEAST_TRIES, _TRIES // max(1, len(snapshot.nodes))),
            skipped=frozenset(name for name, each in before.items() if each.recheck_at > now),
        ),
        budgets=budgets_of(rules.disruption.budgets, snapshot.open_windows),
        templates={each.group: each for each in turn.templates},
        consolidation=rules.nodes.consolidation,
        consolidate_after=rules.nodes.consolidate_after.seconds,
        params=turn.params,
        proposal=turn.state.proposal,
        is_advice=rules.mode in (UpdateMode.OFF, UpdateMode.RECOMMEND),
    )


def _pool_of(scene: Scene) -> dict[str, str]:
    return {group.name: pool for pool, groups in scene.groups.items() for group in groups}


def _steps(turn: Turn, groups: Mapping[str, NodeGroup]) -> Steps:
    return Steps(
        turn.index.snapshot,
        groups=groups,
        sizes={name: turn.grown.get(name, group.target_size) for name, group in groups.items()},
        headroom=Headroom(turn.index.snapshot.disruption_budgets),
        rules=RemovalRules(workload_share=1.0),
        pods=turn.room.pods,
    )


def going_nodes(state: DecisionState) -> frozenset[str]:
    """Return the nodes of commands that were begun."""
    return frozenset(each.node for each in state.nodes if is_going(each))
