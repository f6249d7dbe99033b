"""
The decision: what each workload should have, what to change, and a last check.

    decide = recommend (per workload) → plan (replicas × requests × nodes) → guard

Pure: equal snapshots, policies and states give equal decisions, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.interfaces import Recommender
from autoscaler.model.plan import (
    AnyAction,
    CordonNode,
    Decision,
    DeleteInstances,
    EvictPod,
    Note,
    Plan,
    SetGroupSize,
    SetReplicas,
)
from autoscaler.model.policy import NodeEngine, Policies, ScalingPolicySpec
from autoscaler.model.readings import Signal
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.planning.budgets import disruption_room, forget_old, note_disruptions
from autoscaler.planning.cost import money_per_hour
from autoscaler.planning.daemon_share import with_daemon_share
from autoscaler.planning.device_claims import device_claim_notes
from autoscaler.planning.effective import Effective, broken_rules, cluster_rules, effective_policies
from autoscaler.planning.guard import GuardLimits, guard
from autoscaler.planning.index import SnapshotIndex, in_order
from autoscaler.planning.node_engines import plan_nodes
from autoscaler.planning.node_layer import NodePlan
from autoscaler.planning.nominated import index_for_nodes
from autoscaler.planning.prices import prices_or_estimate
from autoscaler.planning.recommending import Recommended, recommend_all, wanted_signals
from autoscaler.planning.rivals import RivalPlan, left_alone, plan_rivals
from autoscaler.planning.volume_places import with_volume_terms
from autoscaler.planning.workload_actions import Surroundings, WorkloadActions, workload_actions
from autoscaler.recommend.engines import BUILT_IN


def signals_of(
    snapshot: ClusterSnapshot, policies: Policies, *, engines: Mapping[str, Recommender] = BUILT_IN
) -> list[Signal]:
    """Return what must be read before `decide` can judge the workloads of *snapshot*."""
    governed = effective_policies(snapshot, policies)
    return wanted_signals(snapshot, governed, engines)


def decide(
    snapshot: ClusterSnapshot,
    policies: Policies,
    state: DecisionState,
    *,
    engines: Mapping[str, Recommender] = BUILT_IN,
) -> Decision:
    """
    Return what to do about what was seen, with reasons, and the memory for the next time.

    Args:
        snapshot: all that was seen, at one moment.
        policies: the documents in force.
        state: what the last decision returned, or `DecisionState()`.
        engines: recommenders by name.
    """
    snapshot = with_daemon_share(with_volume_terms(in_order(snapshot)))
    index = SnapshotIndex(snapshot)
    governed = effective_policies(snapshot, policies)
    _, rules = cluster_rules(policies)
    advised = recommend_all(index, governed, state, engines)
    missing = frozenset(advice.workload for advice in advised.recommendations if advice.held)
    ready = {advice.workload for advice in advised.recommendations} - missing
    rivals = plan_rivals(index, governed, policies, ready=ready)
    parts = _workload_parts(index, governed, advised.recommendations, rivals)
    room = disruption_room(rules, snapshot, state)
    nodes = plan_nodes(index_for_nodes(index), rules, state, parts=parts, advice=advised.recommendations, room=room)
    wanted = [*rivals.actions, *_ordered([action for part in parts.values() for action in part.actions], nodes)]
    limits = GuardLimits(usd_per_hour=money_per_hour(rules), evictions=room.pods)
    checked = guard(wanted, index, governed, held=missing, limits=limits)
    told = (*rivals.advised, *(action for part in parts.values() for action in part.advised), *nodes.advised)
    plan = _plan(index, checked.actions, told, bound_gap=nodes.bound_gap)
    return Decision(
        plan=plan,
        recommendations=advised.recommendations,
        state=_next_state(snapshot, state, advised, nodes=nodes, actions=checked.actions),
        held=_held(advised, parts, rivals),
        notes=(
            *_policy_notes(policies),
            *rivals.notes,
            *_notes(parts, nodes, checked.notes),
            *_device_notes(index, rules),
        ),
    )


def _workload_parts(
    index: SnapshotIndex, governed: Mapping[str, Effective], advice: Sequence[Recommendation], rivals: RivalPlan
) -> dict[str, WorkloadActions]:
    snapshot = index.snapshot
    around = Surroundings(
        prices=prices_or_estimate(snapshot.prices, snapshot.node_groups),
        now=snapshot.observed_at,
        nodes={node.name: node for node in snapshot.nodes},
        sizes_at_admission=snapshot.sizes_at_admission,
    )
    parts = {
        one.workload: workload_actions(
            index.workloads[one.workload],
            governed[one.workload],
            one,
            index.pods_of(one.workload),
            around=around,
        )
        for one in advice
    }
    for key in rivals.held:
        if key in parts:
            parts[key] = left_alone(parts[key], index.workloads[key])
    return parts


def _ordered(actions: Sequence[AnyAction], nodes: NodePlan) -> list[AnyAction]:
    """Nodes up, templates and resizes, replicas up, replicas down, evictions, then drains and nodes down."""

    def rank(action: AnyAction) -> int:
        if isinstance(action, SetReplicas):
            return 2 if action.replicas > action.expected else 3
        if isinstance(action, EvictPod):
            return 4
        return 1

    grow = [action for action in nodes.actions if isinstance(action, SetGroupSize)]
    rest = [action for action in nodes.actions if not isinstance(action, SetGroupSize)]
    return [*grow, *sorted(actions, key=rank), *rest]


def _plan(
    index: SnapshotIndex, actions: tuple[AnyAction, ...], advised: tuple[AnyAction, ...], *, bound_gap: float | None
) -> Plan:
    now = sum((node.usd_per_hour for node in index.snapshot.nodes), 0.0)
    price = {node.name: node.usd_per_hour for node in index.snapshot.nodes}
    change = sum(action.usd_per_hour for action in actions if isinstance(action, SetGroupSize))
    going = {name for action in actions for name in _leaving(action)}
    change -= sum(price.get(name, 0.0) for name in going)
    return Plan(
        actions=actions,
        advised=advised,
        usd_per_hour_now=now,
        usd_per_hour_after=max(0.0, now + change),
        bound_gap=bound_gap,
    )


def _leaving(action: AnyAction) -> tuple[str, ...]:
    if isinstance(action, DeleteInstances):
        return action.nodes
    return (action.node,) if isinstance(action, CordonNode) else ()


def _next_state(
    snapshot: ClusterSnapshot,
    state: DecisionState,
    advised: Recommended,
    *,
    nodes: NodePlan,
    actions: Sequence[AnyAction],
) -> DecisionState:
    now = snapshot.observed_at
    grew = any(isinstance(action, SetGroupSize) for action in actions)
    return msgspec.structs.replace(
        state,
        workloads=advised.memories,
        nodes=nodes.memory,
        groups=nodes.groups,
        templates=nodes.templates,
        proposal=nodes.proposal,
        last_scale_up_at=now if grew else state.last_scale_up_at,
        last_consolidation_at=nodes.last_consolidation_at,
        last_removal_failed_at=nodes.last_removal_failed_at,
        disruptions=forget_old(now, note_disruptions(now, state.disruptions, actions)),
    )


def _held(advised: Recommended, parts: Mapping[str, WorkloadActions], rivals: RivalPlan) -> tuple[Note, ...]:
    missing = tuple(
        Note(target=f"workload/{advice.workload}", reasons=advice.reasons)
        for advice in advised.recommendations
        if advice.held and not parts[advice.workload].actions and advice.workload not in rivals.held
    )
    contested = (Note(target=f"workload/{key}", reasons=reasons) for key, reasons in rivals.held.items())
    return (*advised.held, *missing, *contested)


def _device_notes(index: SnapshotIndex, rules: ScalingPolicySpec) -> tuple[Note, ...]:
    return () if rules.nodes.engine is NodeEngine.NONE else device_claim_notes(index.waiting)


def _policy_notes(policies: Policies) -> tuple[Note, ...]:
    broken = broken_rules(policies)
    if broken is None:
        return ()
    reason = Reason(Code.POLICY_INVALID, f"nodes are only advised on: {broken.title}: {broken.message}")
    return (Note(target=f"policy/{broken.name}", reasons=(reason,)),)


def _notes(parts: Mapping[str, WorkloadActions], nodes: NodePlan, guarded: tuple[Note, ...]) -> tuple[Note, ...]:
    workloads = tuple(part.note for part in parts.values() if part.note is not None)
    return workloads + nodes.notes + guarded
