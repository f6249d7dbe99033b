"""
The node side of a decision: room for the pods there will be, at least cost.

Pods that wait and pods that this very decision asks for are placed on what is
there or on its way; for the rest nodes are bought. Room for what may come
while a node boots, and for CapacityBuffers, is kept by ghosts: pods of the
planner's mind only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.node import SPOT
from autoscaler.model.plan import AnyAction, Note
from autoscaler.model.pod import PodShape
from autoscaler.model.policy import Consolidation, NodeEngine, ScalingPolicySpec, UpdateMode
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import CPU, MEMORY
from autoscaler.model.state import DecisionState, GroupMemory, NodeMemory, NodeProposal, TemplateMemory
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.buffers import buffer_demand
from autoscaler.planning.cost import PurchaseLimits, money_per_hour
from autoscaler.planning.drain import nothing_to_remove, plan_removals
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.removals import Demand, Growth, RemovalPlan, RemovalRules
from autoscaler.planning.scale_up import ScaleUp, ScaleUpRules, Stranded, buy_for, scale_up
from autoscaler.planning.spot import SpotShare
from autoscaler.planning.upcoming import planning_simulation
from autoscaler.planning.workload_actions import WorkloadActions
from autoscaler.scheduling.requests import effective_requests
from autoscaler.scheduling.simulation import Simulation

_BLIND_SHARE = 0.2
"""With more workloads than this held for missing data, no node is given up."""


class NodePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about nodes, what of it only to tell, and what to remember."""

    actions: tuple[AnyAction, ...] = ()
    advised: tuple[AnyAction, ...] = ()
    notes: tuple[Note, ...] = ()
    memory: tuple[NodeMemory, ...] = ()
    groups: tuple[GroupMemory, ...] = ()
    templates: tuple[TemplateMemory, ...] = ()
    proposal: NodeProposal | None = None
    last_consolidation_at: float = 0.0
    last_removal_failed_at: float = 0.0
    bound_gap: float | None = None


def plan_nodes(
    index: SnapshotIndex,
    rules: ScalingPolicySpec,
    state: DecisionState,
    *,
    parts: Mapping[str, WorkloadActions],
    advice: Sequence[Recommendation],
    room: DisruptionRoom,
) -> NodePlan:
    """Return what to buy and what to give back."""
    if rules.nodes.engine is NodeEngine.NONE or not index.snapshot.node_groups:
        return NodePlan(last_consolidation_at=state.last_consolidation_at)
    snapshot = index.snapshot
    pending = pending_pods(index, parts)
    ghosts = [*_ghosts(index, parts, advice, rules), *buffer_demand(snapshot.buffers, index.workloads)]
    removal_rules = _removal_rules(rules, advice)
    is_quiet = nothing_to_remove(snapshot, state, removal_rules)
    if is_quiet and not pending and not ghosts:
        return NodePlan(last_consolidation_at=state.last_consolidation_at)
    simulation = planning_simulation(snapshot)
    rest = _place(simulation, pending)
    # Ghosts take their room on a copy: what is given up later is judged with all of them placed anew.
    haunted = simulation.fork() if ghosts else simulation
    missing = _place(haunted, ghosts)
    bought = _buy(index, rules, [*rest, *missing], haunted)
    growth = {size.group: size.size for size in bought.sizes}
    removed = (
        RemovalPlan()
        if is_quiet
        else _give_back(index, removal_rules, state, simulation, ghosts=ghosts, room=room, sizes=growth)
    )
    plan = NodePlan(
        actions=(*bought.sizes, *removed.actions),
        notes=(*_pending_notes(bought.stranded, rest), *removed.notes),
        memory=removed.memory,
        last_consolidation_at=snapshot.observed_at if removed.consolidated else state.last_consolidation_at,
        bound_gap=bought.gap,
    )
    return in_mode(plan, rules.mode, state)


def pending_pods(index: SnapshotIndex, parts: Mapping[str, WorkloadActions]) -> list[tuple[PodShape, int]]:
    """
    Return how many pods of each shape wait for a node, or will once this decision is carried out.

    Most important first, then by namespace; DaemonSets' pods and gated pods do not count.
    """
    counts: dict[PodShape, int] = {}
    for pod in index.waiting:
        counts[pod.shape] = counts.get(pod.shape, 0) + 1
    for key, part in parts.items():
        coming = part.replicas - index.active_pods(key)
        if coming > 0 and part.replicas > index.workloads[key].replicas:
            counts[part.shape] = counts.get(part.shape, 0) + coming
    return sorted(counts.items(), key=lambda item: (-item[0].priority, item[0].namespace))


def _ghosts(
    index: SnapshotIndex,
    parts: Mapping[str, WorkloadActions],
    advice: Sequence[Recommendation],
    rules: ScalingPolicySpec,
) -> list[tuple[PodShape, int]]:
    """
    Return the pods to keep room for: all of a forecast rise, and of its possible
    errors the pooled part, since not all workloads err at once (algorithms, section 3).
    """
    if rules.objective.headroom.nodes == "Off":
        return []
    rises: dict[PodShape, int] = {}
    errors: list[tuple[PodShape, int]] = []
    for one in advice:
        part = parts[one.workload]
        there = max(part.replicas, index.active_pods(one.workload))
        rise = one.forecast_replicas - there
        if rise > 0:
            rises[part.shape] = rises.get(part.shape, 0) + rise
        error = one.headroom_replicas - max(one.forecast_replicas, there)
        if error > 0:
            errors.append((part.shape, error))
    for shape, count in _pooled(errors):
        rises[shape] = rises.get(shape, 0) + count
    return sorted(rises.items(), key=lambda item: (-item[0].priority, item[0].namespace))


def _pooled(errors: Sequence[tuple[PodShape, int]]) -> list[tuple[PodShape, int]]:
    """Scale counts so that their cores add up to the root of the sum of squares, whole pods by running remainder."""
    cores = [count * max(effective_requests(shape).cpu, 1) for shape, count in errors]
    total = sum(cores)
    if not total:
        return []
    share = math.sqrt(sum(each * each for each in cores)) / total
    result, carried = [], 0.0
    for shape, count in errors:
        carried += count * share
        whole = math.floor(carried + 1e-9)
        carried -= whole
        if whole:
            result.append((shape, whole))
    return result


def _place(simulation: Simulation, demand: Demand) -> list[tuple[PodShape, int]]:
    """Place what fits (the simulation changes); return the rest."""
    rest = []
    for shape, count in demand:
        left = count - sum(placed for _, placed in simulation.fill(shape, count))
        if left > 0:
            rest.append((shape, left))
    return rest


def _buy(index: SnapshotIndex, rules: ScalingPolicySpec, demand: Demand, simulation: Simulation) -> ScaleUp:
    if not demand:
        return ScaleUp()
    snapshot = index.snapshot
    return scale_up(
        demand,
        snapshot.node_groups,
        now=snapshot.observed_at,
        simulation=simulation,
        nodes=snapshot.nodes,
        rules=_purchase_rules(index, rules),
    )


def _purchase_rules(index: SnapshotIndex, rules: ScalingPolicySpec) -> ScaleUpRules:
    nodes, limits = index.snapshot.nodes, rules.nodes.limits
    cpu = limits[CPU].milli - sum(node.allocatable.cpu for node in nodes) if CPU in limits else math.inf
    memory = limits[MEMORY].whole - sum(node.allocatable.memory for node in nodes) if MEMORY in limits else math.inf
    spent = sum(node.usd_per_hour for node in nodes)
    return ScaleUpRules(
        limits=PurchaseLimits(cpu=cpu, memory=memory, usd_per_hour=money_per_hour(rules) - spent),
        spot=SpotShare(
            max_share=rules.nodes.spot.max_share.number,
            base=rules.nodes.spot.on_demand_base,
            spot_cpu=sum(node.allocatable.cpu for node in nodes if node.capacity_type == SPOT),
            all_cpu=sum(node.allocatable.cpu for node in nodes),
            on_demand_nodes=sum(1 for node in nodes if node.capacity_type != SPOT),
        ),
        usd_per_eviction=rules.disruption.min_savings_per_eviction.number,
    )


def is_blind(advice: Sequence[Recommendation]) -> bool:
    """Tell whether so many workloads are held for missing data that no node may be given up."""
    return sum(1 for one in advice if one.held) > _BLIND_SHARE * len(advice)


def _removal_rules(rules: ScalingPolicySpec, advice: Sequence[Recommendation]) -> RemovalRules:
    patience = rules.nodes.consolidate_after.seconds
    return RemovalRules(
        consolidation=Consolidation.OFF if is_blind(advice) else rules.nodes.consolidation,
        empty_seconds=patience,
        scale_up_cool_down_seconds=2 * patience,
        period_seconds=5 * patience,
        min_savings_per_eviction=rules.disruption.min_savings_per_eviction.number,
    )


def _give_back(
    index: SnapshotIndex,
    rules: RemovalRules,
    state: DecisionState,
    simulation: Simulation,
    *,
    ghosts: Demand,
    room: DisruptionRoom,
    sizes: Mapping[str, int],
) -> RemovalPlan:
    snapshot = index.snapshot
    if sizes:
        state = msgspec.structs.replace(state, last_scale_up_at=snapshot.observed_at)

    def buy(demand: Demand) -> tuple[Growth, float] | None:
        # Most cycles ask for no price: the market is put together only for those that do.
        return buy_for(snapshot.node_groups, now=snapshot.observed_at)(demand)

    return plan_removals(
        snapshot, simulation, state, rules=rules, budget=room, ghosts=ghosts, buy=buy, group_sizes=sizes
    )


def in_mode(plan: NodePlan, mode: UpdateMode, state: DecisionState) -> NodePlan:
    """Return *plan* as the mode allows it; as advice alone no drain is begun, so none is remembered."""
    if mode not in (UpdateMode.OFF, UpdateMode.RECOMMEND):
        return plan
    why = Reason(Code.MODE_RECOMMEND, f"mode {mode.value}: nodes are planned, not changed")
    told = (Note(target="policy/nodes", reasons=(why,)),) if plan.actions else ()
    return NodePlan(
        advised=plan.actions,
        notes=(*told, *plan.notes),
        memory=tuple(NodeMemory(node=each.node, unneeded_since=each.unneeded_since) for each in plan.memory),
        groups=plan.groups,
        templates=plan.templates,
        proposal=plan.proposal,
        last_consolidation_at=state.last_consolidation_at,
        bound_gap=plan.bound_gap,
    )


def _pending_notes(stranded: Sequence[Stranded], rest: Demand) -> tuple[Note, ...]:
    """Say of pods that wait in vain why; ghosts (which come after *rest*) are nobody's concern."""
    notes = []
    for each in stranded:
        if each.index < len(rest):
            shape = rest[each.index][0]
            app = dict(shape.labels).get("app", "")
            notes.append(Note(target=f"pods/{shape.namespace}/{app or shape.owner_kind}", reasons=each.reasons))
    return tuple(notes)
