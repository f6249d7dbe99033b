"""
Which nodes are not needed, and since when: Cluster Autoscaler's scale-down planner.

A node is unneeded while little of it is requested and all its pods could run
elsewhere, judged one node after the other with those before it gone. Sources:
`core/scaledown/planner/planner.go`, `eligibility/eligibility.go`,
`processors/scaledowncandidates/**`, 1.36.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from autoscaler.model.arrays import Bools, Floats
from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.pod import Pod
from autoscaler.model.resources import CPU, MEMORY
from autoscaler.model.state import NodeMemory
from autoscaler.planning.cluster_autoscaler.drainability import (
    Owners,
    PodsToMove,
    RemainingBudgets,
    is_daemon,
    is_long_terminating,
    pods_to_move,
)
from autoscaler.planning.cluster_autoscaler.first_fit import RoundRobin
from autoscaler.planning.cluster_autoscaler.params import ClusterAutoscalerParams
from autoscaler.planning.cluster_autoscaler.readiness import Standing
from autoscaler.planning.cluster_autoscaler.removal import remove_if_possible
from autoscaler.planning.cluster_autoscaler.scale_up import GPU_RESOURCES
from autoscaler.planning.cluster_autoscaler.unremovable import Stays, Unremovable
from autoscaler.planning.cluster_autoscaler.utilization import utilization
from autoscaler.scheduling.requests import placed_requests
from autoscaler.scheduling.simulation import Simulation

_NO_BUDGETS = RemainingBudgets(())


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the planner looks at. `pods` are those on each node, with those of the pending ones that will go there.

    `going` names nodes on their way out; `memory` is what was remembered of nodes.
    """

    now: float
    period: float
    nodes: Mapping[str, Node]
    groups: Mapping[str, NodeGroup]
    standings: Mapping[str, Standing]
    pods: Mapping[str, Sequence[Pod]]
    owners: Owners | None
    memory: Mapping[str, NodeMemory]
    going: frozenset[str] = frozenset()


class Unneeded(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A node that may go; `is_risky` tells that its pods may not be evicted together."""

    node: str
    since: float
    leaving: PodsToMove
    is_risky: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.leaving.moves


class Sorted(msgspec.Struct, frozen=True, kw_only=True):
    """The unneeded nodes, why the others stay, and when those that were tried are to be tried again."""

    unneeded: tuple[Unneeded, ...]
    stays: tuple[Stays, ...]
    recheck_at: Mapping[str, float]


def sort_out(
    scene: Scene, simulation: Simulation, budgets: RemainingBudgets, params: ClusterAutoscalerParams
) -> Sorted:
    """
    Return which nodes are unneeded now.

    Args:
        scene: the cluster.
        simulation: the same to try moves on; it is changed.
        budgets: evictions that may be planned; they are counted.
        params: the flags.
    """
    return _Planner(scene, simulation, budgets, params).sort_out()


class _Planner:
    def __init__(
        self, scene: Scene, simulation: Simulation, budgets: RemainingBudgets, params: ClusterAutoscalerParams
    ) -> None:
        self._scene, self._budgets, self._params = scene, budgets, params
        self._search = RoundRobin(simulation)
        self._stays: list[Stays] = []
        self._arrived: dict[str, list[Pod]] = {}
        """Pods that nodes got from those that were taken away before them."""
        self._recheck = {
            name: memory.recheck_at for name, memory in scene.memory.items() if memory.recheck_at > scene.now
        }

    def sort_out(self) -> Sorted:
        destinations = self._destinations()
        unneeded: list[Unneeded] = []
        most = self._most()
        for name in self._in_order(self._eligible()):
            if len(unneeded) >= most:
                break
            found = self._try(name, destinations)
            if found is not None:
                unneeded.append(found)
        return Sorted(unneeded=tuple(unneeded), stays=tuple(self._stays), recheck_at=self._recheck)

    def _destinations(self) -> Bools:
        """Return the rows that may take pods: nodes that are there, not those on their way in or out."""
        simulation, scene = self._search.simulation, self._scene
        mask = np.zeros(len(simulation.names), np.bool_)
        for row, name in enumerate(simulation.names):
            mask[row] = bool(name) and not scene.standings[name].is_coming and name not in scene.going
        return mask & simulation.open

    def _eligible(self) -> list[str]:
        """Return the nodes whose removal is worth trying, in order of names; note why the others stay."""
        scene, found = self._scene, []
        shares = self._shares()
        for name, node in scene.nodes.items():
            group = scene.groups.get(node.group)
            standing = scene.standings[name]
            if standing.is_coming or standing is Standing.LONG_UNREGISTERED or name not in self._search.simulation:
                continue
            if group is not None and group.target_size <= group.min_size:
                # The peer leaves these out before it asks anything else.
                continue
            stays = self._why_ineligible(node, group, shares.get(name))
            if stays is None:
                found.append(name)
            else:
                self._stays.append(stays)
        return found

    def _why_ineligible(self, node: Node, group: NodeGroup | None, share: float | None) -> Stays | None:
        scene, name, params = self._scene, node.name, self._params
        if name in self._recheck:
            return Stays(node=name, why=Unremovable.RECENTLY_UNREMOVABLE, message="its removal was tried just now")
        if node.deleting or name in scene.going:
            return Stays(node=name, why=Unremovable.CURRENTLY_BEING_DELETED, message="the node is on its way out")
        if node.do_not_remove:
            message = f"{node.do_not_remove} forbids the node's removal"
            return Stays(node=name, why=Unremovable.SCALE_DOWN_DISABLED_ANNOTATION, message=message)
        if group is None:
            message = "the node belongs to no group that may be sized"
            return Stays(node=name, why=Unremovable.NOT_AUTOSCALED, message=message)
        if share is None:
            message = "the node has no cpu or no memory to reckon with"
            return Stays(node=name, why=Unremovable.UNEXPECTED_ERROR, message=message)
        if scene.standings[name] is Standing.UNREADY and not params.scale_down_unready_enabled:
            message = "the node is not ready, and such nodes are left alone"
            return Stays(node=name, why=Unremovable.SCALE_DOWN_UNREADY_DISABLED, message=message)
        threshold = params.scale_down_utilization_threshold
        if _gpu_of(node):
            threshold = params.scale_down_gpu_utilization_threshold
        if share > threshold:
            message = f"{share:.0%} of the node is requested, more than {threshold:.0%}"
            return Stays(node=name, why=Unremovable.NOT_UNDERUTILIZED, message=message)
        return None

    def _shares(self) -> dict[str, float]:
        """Return how full each node is, where that can be told; on columns but for accelerators."""
        simulation, scene = self._search.simulation, self._scene
        odd = self._counted_otherwise()
        columns = [self._column(name, odd) for name in (CPU, MEMORY)]
        known = np.logical_and.reduce([np.asarray(simulation.allocatable(name)) > 0 for name in (CPU, MEMORY)])
        shares = np.where(columns[0] > columns[1], columns[0], columns[1])
        rows = zip(simulation.names, shares.tolist(), known.tolist(), strict=True)
        found = {name: share for name, share, is_known in rows if name and is_known}
        for name, node in scene.nodes.items():
            gpu = _gpu_of(node)
            if gpu:
                pods = scene.pods.get(name, ())
                figure = utilization(node.allocatable, pods, now=scene.now, rules=self._params.counted, gpu=gpu)
                found[name] = figure.share if figure is not None else 0.0
        return found

    def _counted_otherwise(self) -> list[tuple[int, Pod, bool]]:
        """Return row and pod of those that do not count as requested, and whether the node lacks what they take."""
        simulation, rules, now = self._search.simulation, self._params.counted, self._scene.now
        found = []
        for name, pods in self._scene.pods.items():
            for pod in pods:
                off = (rules.skip_daemons and is_daemon(pod)) or (rules.skip_mirrors and pod.drain.mirror)
                gone = pod.deleted_at is not None and is_long_terminating(pod, now)
                if (off or gone) and name in simulation:
                    found.append((simulation.row(name), pod, off))
        return found

    def _column(self, resource: str, odd: Sequence[tuple[int, Pod, bool]]) -> Floats:
        """Return the share of a resource that is requested, by row, as `utilization` reckons it pod by pod."""
        asked = self._search.simulation.requested(resource).astype(np.float64)
        room = self._search.simulation.allocatable(resource).astype(np.float64)
        for row, pod, off in odd:
            amount = placed_requests(pod).get(resource)
            asked[row] -= amount
            room[row] -= amount if off else 0
        with np.errstate(divide="ignore", invalid="ignore"):
            share: Floats = asked / room
        return share

    def _in_order(self, names: Sequence[str]) -> list[str]:
        """Put empty nodes first (those with pods that must end by themselves after), then those unneeded before."""
        scene = self._scene

        def rank(name: str) -> tuple[bool, bool, bool]:
            leaving = pods_to_move(
                scene.pods.get(name, ()), self._params.drain, _NO_BUDGETS, owners=None, now=scene.now
            )
            occupied = leaving.blocker is not None or bool(leaving.moves)
            was_unneeded = name in scene.memory and scene.memory[name].unneeded_since > 0
            return occupied, not occupied and bool(leaving.completing), not was_unneeded

        return sorted(names, key=rank)

    def _try(self, name: str, destinations: Bools) -> Unneeded | None:
        """Try to take a node away in the simulation, where it then stays away; note why it cannot be."""
        scene = self._scene
        pods = [*scene.pods.get(name, ()), *self._arrived.get(name, ())]
        leaving = pods_to_move(pods, self._params.drain, self._budgets, owners=scene.owners, now=scene.now)
        again = scene.now + self._params.unremovable_node_recheck_timeout.seconds
        if leaving.blocker is not None:
            message, why = leaving.blocker.message, Unremovable.BLOCKED_BY_POD
            self._stays.append(Stays(node=name, why=why, message=message, blocker=leaving.blocker))
            self._recheck[name] = again
            return None
        row = self._search.simulation.row(name)
        moved = remove_if_possible(
            scene.nodes[name], pods, leaving.moves, search=self._search, destinations=destinations
        )
        if moved is None:
            message = "the node's pods fit on no other node"
            self._stays.append(Stays(node=name, why=Unremovable.NO_PLACE_TO_MOVE_PODS, message=message))
            self._recheck[name] = again
            return None
        for pod, place in moved:
            self._arrived.setdefault(self._search.simulation.names[place], []).append(pod)
        destinations[row] = False
        risky = not self._budgets.allow_at_once(leaving.moves)
        self._budgets.take(leaving.moves)
        before = scene.memory.get(name)
        since = before.unneeded_since if before is not None and before.unneeded_since > 0 else scene.now
        return Unneeded(node=name, since=since, leaving=leaving, is_risky=risky)

    def _most(self) -> int:
        """Return beyond how many unneeded nodes it is of no use to look for more (unneededNodesLimit)."""
        each = self._params.max_scale_down_parallelism
        known = sum(1 for memory in self._scene.memory.values() if memory.unneeded_since > 0)
        period = max(self._scene.period, 1e-9)
        patience = max(self._params.scale_down_unneeded_time.seconds, period)
        return min(known + 2 * each, each * int(patience / period) + each)


def _gpu_of(node: Node) -> str:
    """Return the accelerator's resource of a node that has them, "" for others."""
    return next((name for name in GPU_RESOURCES if node.capacity.get(name) or node.allocatable.get(name)), "")
