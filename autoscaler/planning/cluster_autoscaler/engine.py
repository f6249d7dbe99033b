"""
The node side of a decision as Cluster Autoscaler would take it: one turn of its main loop.

It acts on pods that wait, not on those that a decision will ask for, keeps no
head-room, and looks at requests alone. Source: `core/static_autoscaler.go`
(RunOnce), `core/podlistprocessor/**`, 1.36. Where this differs, and why, is in
the reference ("Peers", Cluster Autoscaler).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from autoscaler.model.plan import Note
from autoscaler.model.pod import Phase, Pod
from autoscaler.model.policy import Consolidation, ScalingPolicySpec
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState, GroupMemory
from autoscaler.planning.blockers import Headroom
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.cluster_autoscaler.drainability import RemainingBudgets, is_daemon
from autoscaler.planning.cluster_autoscaler.first_fit import RoundRobin
from autoscaler.planning.cluster_autoscaler.limits import room_to_shrink
from autoscaler.planning.cluster_autoscaler.params import ClusterAutoscalerParams, param_problems, read_params
from autoscaler.planning.cluster_autoscaler.pod_groups import pod_groups
from autoscaler.planning.cluster_autoscaler.readiness import (
    Standing,
    backed_off,
    cluster_problem,
    note_failures,
    standing_of,
    unhealthy_groups,
)
from autoscaler.planning.cluster_autoscaler.removals import Outcome, Removals, cooling_down
from autoscaler.planning.cluster_autoscaler.scale_down import Scene, sort_out
from autoscaler.planning.cluster_autoscaler.scale_up import Barriers, Growth, grow
from autoscaler.planning.cluster_autoscaler.unremovable import notes_of
from autoscaler.planning.drain_steps import Steps
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.node_layer import NodePlan, in_mode, is_blind
from autoscaler.planning.removals import RemovalRules
from autoscaler.planning.upcoming import planning_simulation
from autoscaler.planning.workload_actions import WorkloadActions
from autoscaler.scheduling.simulation import Simulation

_ENDED = (Phase.SUCCEEDED, Phase.FAILED)
NEW_SECONDS = 2.0
"""While all pods that wait are younger, more may be on their way: nothing is done yet (unschedulablePodTimeBuffer)."""


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
    except msgspec.ValidationError as problem:
        return _held(state, f"nodes.params: {problem}")
    if wrong is not None:
        name, found, allowed = wrong
        return _held(state, f"nodes.params.{name}: {found!r} is not valid; allowed: {allowed}")
    turn = _Turn(index, rules, state, params=params, room=room, blind=is_blind(advice))
    return in_mode(turn.plan(), rules.mode, state)


def _held(state: DecisionState, message: str) -> NodePlan:
    return NodePlan(
        notes=(Note(target="policy/nodes", reasons=(Reason(Code.POLICY_INVALID, message),)),),
        memory=state.nodes,
        groups=state.groups,
        last_consolidation_at=state.last_consolidation_at,
        last_removal_failed_at=state.last_removal_failed_at,
    )


class _Turn:
    """One turn; made and dropped by `plan_nodes`."""

    def __init__(
        self,
        index: SnapshotIndex,
        rules: ScalingPolicySpec,
        state: DecisionState,
        *,
        params: ClusterAutoscalerParams,
        room: DisruptionRoom,
        blind: bool,
    ) -> None:
        self._params = params
        self._index, self._rules, self._state, self._room = index, rules, state, room
        self._blind = blind
        self._snapshot = without_expendable(index.snapshot, self._params)
        self._now = self._snapshot.observed_at
        self._standings = {node.name: standing_of(node, self._params, self._now) for node in self._snapshot.nodes}
        self._memory = {each.node: each for each in state.nodes if each.node in self._standings}
        self._going = frozenset(
            node.name
            for node in self._snapshot.nodes
            if node.deleting or (node.name in self._memory and self._memory[node.name].drain_since > 0)
        )
        self._on_nodes: dict[str, list[Pod]] = {}
        for pod in self._snapshot.pods:
            if pod.node:
                self._on_nodes.setdefault(pod.node, []).append(pod)

    def plan(self) -> NodePlan:
        failed = frozenset(
            node.group
            for node in self._snapshot.nodes
            if self._standings[node.name] is Standing.LONG_UNREGISTERED and not node.deleting
        )
        groups = note_failures(self._snapshot.node_groups, failed, self._state.groups, self._params, now=self._now)
        problem = cluster_problem(self._standings.values(), self._params)
        if problem:
            return self._only_unregistered(problem, groups)
        away = backed_off(self._snapshot.node_groups, groups, now=self._now)
        unhealthy = unhealthy_groups(self._snapshot.nodes, self._standings, self._params)
        simulation = self._simulation(away)
        waiting, are_new = self._waiting(simulation)
        growth = Growth()
        if not are_new:
            growth = grow(
                pod_groups(waiting),
                self._snapshot,
                simulation,
                params=self._params,
                rules=self._rules.nodes,
                barriers=Barriers(backed_off=away, unhealthy=unhealthy),
            )
        return self._with_removals(growth, groups, simulation, may_begin=not are_new)

    def _simulation(self, away: Mapping[str, float]) -> Simulation:
        """Return the nodes that there will be; machines that a group backing off still owes do not count."""
        simulation = planning_simulation(self._snapshot, provision_seconds=self._params.max_node_provision_time.seconds)
        for node in self._snapshot.nodes:
            owed = self._standings[node.name].is_coming and node.group in away
            if owed or node.name in self._going:
                simulation.close_node(simulation.row(node.name))
        return simulation

    def _waiting(self, simulation: Simulation) -> tuple[list[Pod], bool]:
        """
        Return the pods that no node will take, and whether all of them are too new to act on.

        Those that a node will take go on it in *simulation*, the most important first.
        """
        pods = [pod for pod in self._index.waiting if pod.unschedulable_since is not None]
        pods = [pod for pod in pods if not is_expendable(pod, self._params)]
        for name in sorted(self._going):
            pods += [pod for pod in self._on_nodes.get(name, ()) if _comes_again(pod)]
        pods.sort(key=lambda pod: -pod.shape.priority)
        search = RoundRobin(simulation)
        left: list[Pod] = []
        at = 0
        while at < len(pods):
            end = at + 1
            while end < len(pods) and pods[end].shape is pods[at].shape:
                end += 1
            anywhere = np.ones(len(simulation.names), np.bool_)
            for row, count in search.place(pods[at].shape, end - at, anywhere):
                self._on_nodes.setdefault(simulation.names[row], []).extend(pods[at : at + count])
                at += count
            left += pods[at:end]
            at = end
        delay = self._params.new_pod_scale_up_delay.seconds
        left = [pod for pod in left if self._now - pod.created_at > delay]
        return left, bool(left) and min(pod.created_at for pod in left) + NEW_SECONDS > self._now

    def _with_removals(
        self, growth: Growth, groups: tuple[GroupMemory, ...], simulation: Simulation, *, may_begin: bool
    ) -> NodePlan:
        scene = self._scene()
        steps = self._steps({size.group: size.size for size in growth.sizes})
        removals = self._removals(scene, steps)
        removals.drop_unregistered()
        removals.carry_on()
        mode = self._rules.nodes.consolidation
        if mode is not Consolidation.OFF and self._params.scale_down_enabled and not self._blind:
            budgets = RemainingBudgets(self._snapshot.disruption_budgets)
            found = sort_out(scene, simulation, budgets, self._params)
            why = cooling_down(self._state, self._params, now=self._now, grows=bool(growth.sizes))
            if not may_begin:
                why = "pods that wait are very new: more may be on their way"
            if why:
                removals.wait(found, why)
            else:
                removals.begin(found, mode)
            removals.remember(found)
            stays = [*found.stays, *removals.outcome().stays]
        else:
            stays = []
        return self._told(growth, groups, removals.outcome(), steps, notes=notes_of(stays))

    def _only_unregistered(self, problem: str, groups: tuple[GroupMemory, ...]) -> NodePlan:
        """Finish what was begun and give back machines that never came, while too much is broken for anything else."""
        steps = self._steps({})
        removals = self._removals(self._scene(), steps)
        removals.drop_unregistered()
        removals.carry_on()
        note = Note(target="policy/nodes", reasons=(Reason(Code.NODE_NOT_READY, problem),))
        return self._told(Growth(), groups, removals.outcome(), steps, notes=(note,))

    def _told(
        self, growth: Growth, groups: tuple[GroupMemory, ...], outcome: Outcome, steps: Steps, *, notes: Sequence[Note]
    ) -> NodePlan:
        removed = steps.plan(outcome.memory, consolidated=outcome.began)
        return NodePlan(
            actions=(*growth.sizes, *removed.actions),
            notes=(*growth.notes, *removed.notes, *notes),
            memory=removed.memory,
            groups=groups,
            last_consolidation_at=self._now if outcome.began else self._state.last_consolidation_at,
            last_removal_failed_at=self._now if outcome.failed else self._state.last_removal_failed_at,
        )

    def _scene(self) -> Scene:
        workloads = self._index.workloads
        return Scene(
            now=self._now,
            period=self._snapshot.period,
            nodes={node.name: node for node in self._snapshot.nodes},
            groups=self._index.groups,
            standings=self._standings,
            pods=self._on_nodes,
            owners={key: workload.replicas for key, workload in workloads.items()} if workloads else None,
            memory=self._memory,
            going=self._going,
        )

    def _steps(self, grown: Mapping[str, int]) -> Steps:
        groups = self._index.groups
        return Steps(
            self._snapshot,
            groups=groups,
            sizes={name: grown.get(name, group.target_size) for name, group in groups.items()},
            headroom=Headroom(self._snapshot.disruption_budgets),
            rules=RemovalRules(
                termination_seconds=float(self._params.max_graceful_termination_sec), workload_share=1.0
            ),
            pods=self._room.pods,
        )

    def _removals(self, scene: Scene, steps: Steps) -> Removals:
        return Removals(
            scene,
            steps,
            self._params,
            room=self._room,
            left=room_to_shrink(self._snapshot.nodes, self._params),
            budgets=self._snapshot.disruption_budgets,
        )


def is_expendable(pod: Pod, params: ClusterAutoscalerParams) -> bool:
    """Tell whether a pod is too unimportant to grow, or to keep a node, for it."""
    return pod.shape.priority < params.expendable_pods_priority_cutoff


def without_expendable(snapshot: ClusterSnapshot, params: ClusterAutoscalerParams) -> ClusterSnapshot:
    """Return *snapshot* without expendable pods on nodes, and without pods that have ended (the peer lists none)."""
    kept = tuple(pod for pod in snapshot.pods if pod.phase not in _ENDED and not is_expendable(pod, params))
    return snapshot if len(kept) == len(snapshot.pods) else msgspec.structs.replace(snapshot, pods=kept)


def _comes_again(pod: Pod) -> bool:
    """Tell whether a pod of a node on its way out will need another place (FilterRecreatablePods)."""
    return pod.deleted_at is None and not (pod.drain.mirror or is_daemon(pod) or pod.shape.owner_kind == "Node")
