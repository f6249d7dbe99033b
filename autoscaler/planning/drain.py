"""
Taking nodes out, step by step over the cycles: replacements first, cordon, evict, delete.

Each cycle starts from what is seen; what is under way is in `NodeMemory`. A
node is deleted only when it has been seen cordoned with nothing on it but
DaemonSets' pods. A drain is given up, and the node un-cordoned, when its pods
no longer fit elsewhere, when something forbids it, or when it takes too long.
Nodes that the cloud takes back and nodes that are not ready for long go in any
case, before all others. Sources: algorithms, sections 5.5 to 6.7; Cluster
Autoscaler FAQ (unready and unregistered nodes); Karpenter, disruption budgets.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping

import msgspec

from autoscaler.model.node import Node
from autoscaler.model.plan import Note
from autoscaler.model.pod import Phase, Pod
from autoscaler.model.policy import Consolidation
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.resources import PODS
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState, NodeMemory
from autoscaler.planning.blockers import Headroom, must_move, permanent_pod_blocker
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.consolidate import consolidate
from autoscaler.planning.drain_steps import Steps, describe
from autoscaler.planning.node_worth import value_for_money
from autoscaler.planning.prices import prices_or_estimate
from autoscaler.planning.reaction import boot_seconds
from autoscaler.planning.removals import Buy, Demand, Removal, RemovalPlan, RemovalRules
from autoscaler.planning.repack import Round, Tenants, place_ghosts
from autoscaler.scheduling.simulation import Simulation

_SUCCEEDED, _FAILED = Phase.SUCCEEDED, Phase.FAILED


def nothing_to_remove(snapshot: ClusterSnapshot, state: DecisionState, rules: RemovalRules) -> bool:
    """
    Tell at a glance that `plan_removals` would neither do, say nor remember anything.

    So it is while no node is on its way in or out or without pods, and no
    round of consolidation is due. It holds for most cycles.
    """
    rounds = rules.consolidation not in (Consolidation.OFF, Consolidation.WHEN_EMPTY)
    if state.nodes or (rounds and _round_due(snapshot, state, rules)) or not all(map(_is_steady, snapshot.nodes)):
        return False
    empty = {node.name for node in snapshot.nodes}
    for pod in snapshot.pods:
        if pod.node in empty and _counts_as_tenant(pod):
            empty.remove(pod.node)
    return not empty


def plan_removals(
    snapshot: ClusterSnapshot,
    simulation: Simulation,
    state: DecisionState,
    *,
    rules: RemovalRules,
    budget: DisruptionRoom,
    ghosts: Demand = (),
    buy: Buy | None = None,
    group_sizes: Mapping[str, int] | None = None,
) -> RemovalPlan:
    """
    Return this cycle's steps to remove nodes.

    *simulation* is the cluster with this cycle's pending pods placed; it is
    not changed. *ghosts* is the room to keep free. *group_sizes* are the
    groups' sizes after this cycle's growth, where they differ from the targets
    in the snapshot: then nothing new is begun.
    """
    cycle = _Cycle(snapshot, simulation.fork(), state, rules=rules, budget=budget, group_sizes=group_sizes or {})
    cycle.prepare(ghosts)
    cycle.forced()
    cycle.carry_on()
    consolidated = cycle.begin(buy)
    return cycle.steps.plan(cycle.memory, consolidated=consolidated)


class _Cycle:
    """One cycle's work; mutable, made and dropped by `plan_removals`."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        simulation: Simulation,
        state: DecisionState,
        *,
        rules: RemovalRules,
        budget: DisruptionRoom,
        group_sizes: Mapping[str, int],
    ) -> None:
        self._now, self._rules, self._state, self._budget = snapshot.observed_at, rules, state, budget
        self._snapshot, self._simulation = snapshot, simulation
        self._nodes = {node.name: node for node in snapshot.nodes}
        self._pods: dict[str, list[Pod]] = defaultdict(list)
        for pod in snapshot.pods:
            self._pods[pod.node].append(pod)
        groups = {group.name: group for group in snapshot.node_groups}
        sizes = {name: group_sizes.get(name, group.target_size) for name, group in groups.items()}
        self._tenants = Tenants(nodes=self._nodes, pods=self._pods, groups=groups, sizes=sizes)
        self._grows = any(size > groups[name].target_size for name, size in sizes.items())
        self._headroom = Headroom(snapshot.disruption_budgets)
        self.steps = Steps(snapshot, groups=groups, sizes=sizes, headroom=self._headroom, rules=rules, pods=budget.pods)
        self._before = {memory.node: memory for memory in state.nodes if memory.node in self._nodes}
        self.memory: dict[str, NodeMemory] = {}

    def prepare(self, ghosts: Demand) -> None:
        """Close what is going away, then place the ghosts on the rest."""
        simulation, nodes = self._simulation, self._nodes
        unready = sum(1 for node in nodes.values() if node.registered and not node.ready)
        self._too_unready = unready > self._rules.max_unready_share * max(1, len(nodes))
        ended = Counter(pod.node for pod in self._snapshot.pods if not _counts(pod))
        planned = simulation.requested(PODS).tolist()
        self._planned_on = {
            name
            for name in nodes
            if name in simulation and planned[simulation.row(name)] > len(self._pods.get(name, ())) - ended.get(name, 0)
        }
        self._forced = {name: reason for name, node in nodes.items() if (reason := self._must_go(node)) is not None}
        draining = [name for name, memory in self._before.items() if memory.drain_since > 0 or memory.replaced_by]
        sizes = dict(self.steps.sizes)
        for name in {*self._forced, *draining}:
            group = nodes[name].group
            sizes[group] = sizes.get(group, 0) - 1
        for name, node in nodes.items():
            memory = self._before.get(name)
            begun = memory is not None and memory.drain_since > 0
            if name in simulation and (begun or node.deleting or name in self._forced):
                simulation.close_node(simulation.row(name))
        self._round = Round(
            msgspec.structs.replace(self._tenants, sizes=sizes),
            simulation,
            ghosts=place_ghosts(simulation, ghosts),
            rules=self._rules,
            headroom=self._headroom.copy(),
            boot_seconds=boot_seconds(self._snapshot.node_groups),
        )

    def forced(self) -> None:
        """Take out what goes in any case: interrupted, never registered, not ready for long."""
        for name, reason in self._forced.items():
            self._keep(name, drain_since=self._memory_of(name).drain_since or self._now)
            if name in self._simulation:
                # Where its pods will go is taken before anything else is planned; if nowhere, it goes all the same.
                self._round.fits_elsewhere(name)
            self.steps.step(self._nodes[name], self._pods.get(name, ()), reason, forced=True)

    def carry_on(self) -> None:
        """Go on with the drains that were begun, or give them up."""
        for name, memory in sorted(self._before.items()):
            node = self._nodes[name]
            if name in self.memory:
                continue
            if memory.drain_since > 0 and node.deleting:
                self.memory[name] = memory
            elif memory.drain_since > 0:
                self._go_on(node, memory)
            elif memory.replaced_by and not node.deleting:
                self._await_replacement(node, memory)

    def begin(self, buy: Buy | None) -> bool:
        """Choose new nodes to remove and take the first steps; tell whether a round of consolidation was held."""
        mode = self._rules.consolidation
        idle, busy = self._candidates()
        ripe = [name for name in idle if self._now - self._idle_since(name) >= self._rules.empty_seconds]
        since_growth = 0.0 if self._grows else self._now - self._state.last_scale_up_at
        cooling = not since_growth >= self._rules.scale_up_cool_down_seconds
        if mode is Consolidation.OFF or cooling or self._too_unready:
            if cooling and mode is not Consolidation.OFF:
                self.steps.notes += [_note(name, Code.COOLING_DOWN, "nodes were added just now") for name in ripe]
            return False
        under_way = any(self._is_voluntary(name) for name in self.memory)
        rounds = mode is not Consolidation.WHEN_EMPTY and _round_due(self._snapshot, self._state, self._rules)
        # A node that is cordoned while none of its pods may be moved serves nobody.
        due = rounds and not under_way and self.steps.evictions_left > 0
        ranked: list[str] = []
        if due and busy:
            prices = prices_or_estimate(self._snapshot.prices, self._snapshot.node_groups)
            ranked = [name for _, name in value_for_money(self._simulation, busy, prices)]
        found = consolidate(self._round, self._rules, empty=ripe, idle=idle, ranked=ranked, buy=buy, most=self._room())
        for removal in found.removals:
            self._start(removal)
        self.steps.notes += found.notes
        return due

    def _candidates(self) -> tuple[list[str], list[Node]]:
        """Return the empty nodes, remembering since when, and those with pods; neither if pods are on their way."""
        idle, busy = [], []
        waited_for = {group for memory in self.memory.values() for group, _ in memory.replaced_by}
        for name, node in self._nodes.items():
            if name in self.memory or name in self._planned_on or not _is_steady(node) or node.group in waited_for:
                continue
            if any(map(_counts_as_tenant, self._pods.get(name, ()))):
                if name in self._simulation and self._now - node.ready_since >= self._rules.scale_up_cool_down_seconds:
                    busy.append(node)
            elif name in self._simulation:
                self._keep(name, unneeded_since=self._memory_of(name).unneeded_since or self._now)
                idle.append(name)
        return idle, busy

    def _room(self) -> int:
        """Return how many more nodes may be taken out now."""
        away = sum(
            1
            for name, node in self._nodes.items()
            if node.deleting or (node.registered and not node.ready) or self._is_draining(name)
        )
        most = max(self._rules.min_nodes, math.floor(self._rules.max_nodes_share * len(self._nodes)))
        return max(0, min(self._budget.nodes, most) - away)

    def _start(self, removal: Removal) -> None:
        reason = describe(removal)
        if removal.growth:
            awaited = self.steps.grow(removal, reason)
            for name in removal.nodes:
                self.memory[name] = NodeMemory(node=name, unneeded_since=self._now, replaced_by=awaited)
            return
        for name in removal.nodes:
            self._keep(name, drain_since=self._now)
            self.steps.step(self._nodes[name], self._pods.get(name, ()), reason)

    def _go_on(self, node: Node, memory: NodeMemory) -> None:
        reason = self._why_stop(node, memory)
        if reason is None:
            self.memory[node.name] = memory
            self.steps.step(node, self._pods.get(node.name, ()), None)
            return
        self._before.pop(node.name, None)
        if node.name in self._simulation:
            self._simulation.open_node(self._simulation.row(node.name))
        self.steps.give_up(node, reason)

    def _why_stop(self, node: Node, memory: NodeMemory) -> Reason | None:
        """Return why a drain must be given up, None if it may go on."""
        if node.do_not_remove:
            return Reason(Code.NODE_BLOCKED, f"{node.do_not_remove} forbids the node's removal")
        if self._now - memory.drain_since > self._rules.drain_seconds:
            return Reason(Code.NODE_BLOCKED, f"its pods were not gone after {self._rules.drain_seconds:.0f} s")
        for pod in self._pods.get(node.name, ()):
            blocker = permanent_pod_blocker(pod, self._headroom, self._rules.eviction)
            if blocker is not None:
                return blocker.as_reason()
        return self._round.fits_elsewhere(node.name) if node.name in self._simulation else None

    def _await_replacement(self, node: Node, memory: NodeMemory) -> None:
        ready: dict[str, int] = {}
        for each in self._nodes.values():
            ready[each.group] = ready.get(each.group, 0) + (each.ready and each.registered and not each.deleting)
        if all(ready.get(group, 0) >= size for group, size in memory.replaced_by):
            begun = NodeMemory(node=node.name, drain_since=self._now)
            if node.name in self._simulation:
                self._simulation.close_node(self._simulation.row(node.name))
            self._go_on(node, begun)
        elif self._now - memory.unneeded_since <= self._rules.replacement_seconds:
            self.memory[node.name] = memory
        else:
            waited = ", ".join(group for group, _ in memory.replaced_by)
            self._before.pop(node.name)
            self.steps.notes.append(_note(node.name, Code.NODE_IN_USE, f"its replacement did not come: {waited}"))

    def _must_go(self, node: Node) -> Reason | None:
        """Return why a node goes in any case, None if it may stay; remember since when it is not ready."""
        if node.deleting:
            return None
        if node.interrupt_at is not None:
            return Reason(Code.SPOT_INTERRUPTION, "the cloud takes the node back")
        if node.ready and node.registered:
            return None
        memory = self._memory_of(node.name)
        self._keep(node.name, unneeded_since=memory.unneeded_since or self._now)
        since = node.created_at if not node.registered and node.created_at > 0 else memory.unneeded_since or self._now
        limit = self._rules.unready_seconds if node.registered else self._rules.provision_seconds
        # Written so that a time that is not a number removes nothing; likewise below.
        if not self._now - since >= limit or (self._too_unready and node.registered):
            return None
        what = "been ready" if node.registered else "registered"
        return Reason(Code.NODE_NOT_READY, f"the node has not {what} for {self._now - since:.0f} s")

    def _memory_of(self, name: str) -> NodeMemory:
        return self.memory.get(name) or self._before.get(name) or NodeMemory(node=name)

    def _keep(self, name: str, **changes: float) -> None:
        self.memory[name] = msgspec.structs.replace(self._memory_of(name), **changes)

    def _idle_since(self, name: str) -> float:
        return max(self.memory[name].unneeded_since, self._nodes[name].ready_since)

    def _is_draining(self, name: str) -> bool:
        memory = self.memory.get(name)
        return memory is not None and (memory.drain_since > 0 or bool(memory.replaced_by))

    def _is_voluntary(self, name: str) -> bool:
        """Tell whether a node with pods on it is being taken out to save money."""
        node = self._nodes[name]
        occupied = any(map(must_move, self._pods.get(name, ())))
        return self._is_draining(name) and occupied and node.interrupt_at is None and node.ready


def _round_due(snapshot: ClusterSnapshot, state: DecisionState, rules: RemovalRules) -> bool:
    return snapshot.observed_at - state.last_consolidation_at >= rules.period_seconds


def _is_steady(node: Node) -> bool:
    return node.registered and node.ready and not node.deleting and node.interrupt_at is None


def _counts(pod: Pod) -> bool:
    """Tell whether the scheduler counts a pod on its node."""
    return not (pod.phase is _SUCCEEDED or pod.phase is _FAILED)


def _counts_as_tenant(pod: Pod) -> bool:
    """Tell whether a node with this pod is not empty: it must move, or has not ended yet."""
    return must_move(pod) or (pod.deleted_at is not None and _counts(pod) and pod.shape.owner_kind != "DaemonSet")


def _note(node: str, code: Code, message: str) -> Note:
    return Note(target=f"node/{node}", reasons=(Reason(code, message),))
