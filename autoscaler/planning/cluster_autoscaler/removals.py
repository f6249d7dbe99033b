"""
Taking unneeded nodes away: which may go now, and the next step for each that is on its way out.

Empty nodes go several at once, one node with pods at a time. Sources:
`core/scaledown/unneeded/nodes.go` (RemovableAt), `planner/planner.go`
(NodesToDelete), `budgets/budgets.go` (CropNodes), `actuation/**`, 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from autoscaler.model.node import Node
from autoscaler.model.pod import Pod
from autoscaler.model.policy import Consolidation
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.state import DecisionState, NodeMemory
from autoscaler.model.units import format_duration
from autoscaler.model.workload import DisruptionBudget
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.cluster_autoscaler.drainability import RemainingBudgets, pods_to_move
from autoscaler.planning.cluster_autoscaler.limits import ResourceRoom, machine_of
from autoscaler.planning.cluster_autoscaler.params import ClusterAutoscalerParams
from autoscaler.planning.cluster_autoscaler.readiness import Standing
from autoscaler.planning.cluster_autoscaler.scale_down import Scene, Sorted, Unneeded
from autoscaler.planning.cluster_autoscaler.unremovable import Stays, Unremovable
from autoscaler.planning.drain_steps import Steps

SOFT_TAINT = "DeletionCandidateOfClusterAutoscaler"
_ENDLESS = 1 << 30


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was remembered, why nodes stay, and whether a removal was begun, or given up, now."""

    memory: dict[str, NodeMemory]
    stays: tuple[Stays, ...]
    began: bool = False
    failed: bool = False


def cooling_down(state: DecisionState, params: ClusterAutoscalerParams, *, now: float, grows: bool) -> str:
    """Say why no removal may begin so soon, "" if one may."""
    waits = (
        ("nodes were added", now if grows else state.last_scale_up_at, params.scale_down_delay_after_add.seconds),
        ("a removal was given up", state.last_removal_failed_at, params.scale_down_delay_after_failure.seconds),
        ("a node was removed", state.last_consolidation_at, params.scale_down_delay_after_delete.seconds),
    )
    for what, at, wait in waits:
        # Written so that a time that is not a number lets nothing go.
        if not at + wait <= now:
            return f"{what} just now; removals begin {format_duration(wait)} after that"
    return ""


class Removals:
    """One cycle's removals; made and dropped by the engine."""

    def __init__(
        self,
        scene: Scene,
        steps: Steps,
        params: ClusterAutoscalerParams,
        *,
        room: DisruptionRoom,
        left: ResourceRoom,
        budgets: Iterable[DisruptionBudget],
    ) -> None:
        self._scene, self._steps, self._params, self._room, self._left = scene, steps, params, room, left
        # Budgets open again by themselves: while a removal is under way, evictions are tried until the time is up.
        self._endless = RemainingBudgets(msgspec.structs.replace(each, allowed=_ENDLESS) for each in budgets)
        self.memory: dict[str, NodeMemory] = {}
        self._stays: list[Stays] = []
        self._failed = self._began = False
        self._drains = self._empties = 0

    def drop_unregistered(self) -> None:
        """Give back machines that never came."""
        for name, standing in self._scene.standings.items():
            node = self._scene.nodes[name]
            if standing is Standing.LONG_UNREGISTERED and not node.deleting:
                waited = format_duration(self._scene.now - node.created_at)
                reason = Reason(Code.NODE_NOT_READY, f"the node has not registered for {waited}")
                self._steps.step(node, self._residents(name), reason, forced=True)

    def carry_on(self) -> None:
        """Go on with removals that were begun, or give them up."""
        for name in sorted(self._scene.going):
            node, memory = self._scene.nodes[name], self._scene.memory.get(name)
            if node.deleting or memory is None:
                self._empties += 1
                if memory is not None:
                    self.memory[name] = memory
                continue
            problem = self._why_stop(node, memory)
            if problem is not None:
                self._give_up(node, problem)
                continue
            self.memory[name] = memory
            self._drains += not memory.was_empty
            self._empties += memory.was_empty
            self._steps.step(node, self._residents(name), None)

    def begin(self, found: Sorted, mode: Consolidation) -> None:
        """Begin with those unneeded nodes that may go now, within what may be away at once."""
        ripe = [each for each in found.unneeded if self._is_ripe(each)]
        empty = sorted((each for each in ripe if each.is_empty), key=lambda each: each.node)
        full = sorted((each for each in ripe if not each.is_empty), key=lambda each: (each.is_risky, each.node))
        gone: dict[str, int] = {}
        for name in self._scene.going:
            group = self._scene.nodes[name].group
            gone[group] = gone.get(group, 0) + 1
        fit = [each for each in (*empty, *full) if self._is_allowed(each, gone)]
        parallel = min(
            self._params.max_scale_down_parallelism - self._drains - self._empties, self._room.nodes - self._away(fit)
        )
        started = self._start([each for each in fit if each.is_empty], parallel)
        drains = min(parallel - started, self._params.max_drain_parallelism - self._drains)
        # A node that is cordoned while none of its pods may be moved serves nobody.
        if mode is not Consolidation.WHEN_EMPTY and self._steps.evictions_left > 0:
            self._start([each for each in fit if not each.is_empty], drains)

    def remember(self, found: Sorted) -> None:
        """Keep since when nodes are unneeded, and when others are to be tried again."""
        for each in found.unneeded:
            known = self.memory.get(each.node, NodeMemory(node=each.node))
            self.memory[each.node] = msgspec.structs.replace(known, unneeded_since=each.since)
        for name, at in found.recheck_at.items():
            known = self.memory.get(name, NodeMemory(node=name))
            self.memory[name] = msgspec.structs.replace(known, recheck_at=at)

    def outcome(self) -> Outcome:
        return Outcome(memory=self.memory, stays=tuple(self._stays), began=self._began, failed=self._failed)

    def wait(self, found: Sorted, why: str) -> None:
        """Begin nothing, and say of each unneeded node that would be ripe why."""
        for each in found.unneeded:
            if self._is_ripe(each):
                self._stays.append(Stays(node=each.node, why=Unremovable.NOT_UNNEEDED_OTHER_REASON, message=why))

    def _residents(self, node: str) -> list[Pod]:
        """Return the pods on a node, without those that will only go there."""
        return [pod for pod in self._scene.pods.get(node, ()) if pod.node == node]

    def _is_ripe(self, each: Unneeded) -> bool:
        """Tell whether a node has been unneeded for long enough; note it if not, as a candidate for a soft taint."""
        ready = self._scene.standings[each.node] is Standing.READY
        params = self._params
        wanted = (params.scale_down_unneeded_time if ready else params.scale_down_unready_time).seconds
        waited = self._scene.now - each.since
        if not wanted or waited > wanted:
            return True
        why = Unremovable.NOT_UNNEEDED_LONG_ENOUGH if ready else Unremovable.NOT_UNREADY_LONG_ENOUGH
        message = f"unneeded for {format_duration(waited)}; it goes after more than {format_duration(wanted)}"
        self._stays.append(Stays(node=each.node, why=why, message=message, detail=(("soft_taint", SOFT_TAINT),)))
        return False

    def _is_allowed(self, each: Unneeded, gone: dict[str, int]) -> bool:
        """Tell whether the bounds on the group and on the cluster let a node go, and count it; note what does not."""
        node = self._scene.nodes[each.node]
        group = self._scene.groups[node.group]
        if group.target_size - gone.get(group.name, 0) <= group.min_size:
            message = f"group {group.name} is at its minimum of {group.min_size}"
            why = Unremovable.NODE_GROUP_MIN_SIZE_REACHED
        elif not self._left.allowed(machine_of(node), 1):
            message = "the cluster would have fewer cores or less memory than it must"
            why = Unremovable.MINIMAL_RESOURCE_LIMIT_EXCEEDED
        elif each.leaving.completing:
            pod = each.leaving.completing[0]
            message, why = f"waits for pod {pod.key} to end by itself", Unremovable.BLOCKED_BY_ON_COMPLETION_POD
        else:
            gone[group.name] = gone.get(group.name, 0) + 1
            self._left.use(machine_of(node), 1)
            return True
        self._stays.append(Stays(node=each.node, why=why, message=message))
        return False

    def _start(self, nodes: Sequence[Unneeded], most: int) -> int:
        """Begin with up to *most* nodes, group by group in the order in which each is first named."""
        by_group: dict[str, list[Unneeded]] = {}
        for each in nodes:
            by_group.setdefault(self._scene.nodes[each.node].group, []).append(each)
        chosen = [each for members in by_group.values() for each in members]
        for each in chosen[max(0, most) :]:
            message = "as many nodes are on their way out as may be"
            why = Unremovable.NODE_GROUP_MAX_DELETION_COUNT_REACHED
            self._stays.append(Stays(node=each.node, why=why, message=message))
        chosen = chosen[: max(0, most)]
        for each in chosen:
            node = self._scene.nodes[each.node]
            self.memory[each.node] = NodeMemory(
                node=each.node, unneeded_since=each.since, drain_since=self._scene.now, was_empty=each.is_empty
            )
            self._steps.step(node, self._residents(each.node), self._why(each, node))
            self._began = True
        return len(chosen)

    def _why(self, each: Unneeded, node: Node) -> Reason:
        unneeded = f"unneeded for {format_duration(self._scene.now - each.since)}"
        saves = f"its removal saves {node.usd_per_hour:.4f} USD an hour"
        if each.is_empty:
            return Reason(Code.EMPTY_NODE, f"nothing on the node has to move, {unneeded}; {saves}")
        pods = len(each.leaving.moves)
        return Reason(
            Code.PODS_FIT_ELSEWHERE,
            f"its {pods} {'pod fits' if pods == 1 else 'pods fit'} on other nodes, {unneeded}; {saves}",
            (("pods", str(pods)),),
        )

    def _away(self, leaving: Iterable[Unneeded]) -> int:
        """Return how many nodes besides those *leaving* are away already, as the policy's budget counts them."""
        unready = {name for name, standing in self._scene.standings.items() if standing is Standing.UNREADY}
        return len(unready - {each.node for each in leaving}) + self._drains + self._empties

    def _why_stop(self, node: Node, memory: NodeMemory) -> Reason | None:
        """Return why a removal must be given up, None if it may go on."""
        pods = self._residents(node.name)
        leaving = pods_to_move(pods, self._params.drain, self._endless, owners=self._scene.owners, now=self._scene.now)
        if leaving.blocker is not None:
            return leaving.blocker.as_reason()
        if memory.was_empty and (leaving.moves or leaving.completing):
            return Reason(Code.NODE_BLOCKED, "the node is not empty any more")
        most = self._params.max_graceful_termination_sec + self._params.max_pod_eviction_time.seconds
        if self._scene.now - memory.drain_since > most:
            return Reason(Code.NODE_BLOCKED, f"its pods were not gone after {format_duration(most)}")
        return None

    def _give_up(self, node: Node, reason: Reason) -> None:
        self._steps.give_up(node, reason)
        self._failed = True
        again = self._scene.now + self._params.unremovable_node_recheck_timeout.seconds
        self.memory[node.name] = NodeMemory(node=node.name, recheck_at=again)
