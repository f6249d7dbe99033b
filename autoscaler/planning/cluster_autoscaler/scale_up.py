"""
Growth in one cycle: one kind of machine for the pods that wait, as Cluster Autoscaler chooses it.

Each group that may grow is asked how many nodes hold how many of the pods; an
expander takes one of the answers; the nodes go to that group, or are spread
over groups like it. What is still left waits for the next cycle. Source:
`core/scaleup/orchestrator/orchestrator.go` (ScaleUp), 1.36.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.node import NodeGroup
from autoscaler.model.plan import Note, SetGroupSize
from autoscaler.model.policy import NodeRules
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.units import format_duration
from autoscaler.planning.cluster_autoscaler.estimator import Estimate, estimate
from autoscaler.planning.cluster_autoscaler.expanders import Facts, Option, best_option, priorities_of
from autoscaler.planning.cluster_autoscaler.limits import ResourceRoom, machine_of, room_to_grow
from autoscaler.planning.cluster_autoscaler.params import ClusterAutoscalerParams
from autoscaler.planning.cluster_autoscaler.pod_groups import PodGroup
from autoscaler.planning.cluster_autoscaler.similar import are_similar, balance
from autoscaler.planning.offers import market_of, with_known_labels
from autoscaler.planning.prices import prices_or_estimate
from autoscaler.planning.shortfalls import why_nowhere
from autoscaler.scheduling.requests import effective_requests
from autoscaler.scheduling.simulation import Simulation

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """New sizes of groups, and why pods wait that no group can help."""

    sizes: tuple[SetGroupSize, ...] = ()
    notes: tuple[Note, ...] = ()


class Barriers(msgspec.Struct, frozen=True, kw_only=True):
    """Groups that may not grow: until when each is left alone, and which have too many broken nodes."""

    backed_off: Mapping[str, float] = {}
    unhealthy: frozenset[str] = frozenset()


def grow(
    waiting: Sequence[PodGroup],
    snapshot: ClusterSnapshot,
    simulation: Simulation,
    *,
    params: ClusterAutoscalerParams,
    rules: NodeRules,
    barriers: Barriers,
) -> Growth:
    """
    Return how to grow for pods that fit nowhere.

    Args:
        waiting: the pods, grouped.
        snapshot: what is there.
        simulation: the same with nodes on their way and pods that will go on them; it is not changed.
        params: the flags.
        rules: the policy's own limits on all nodes.
        barriers: groups that may not grow now.
    """
    orchestra = _Orchestra(snapshot, simulation, params=params, rules=rules, barriers=barriers)
    chosen = orchestra.choose(waiting) if waiting else None
    sizes = orchestra.sizes(chosen) if chosen is not None else {}
    if params.enforce_node_group_min_size:
        orchestra.raise_to_minimum(sizes)
    return Growth(sizes=orchestra.actions(sizes, chosen), notes=orchestra.stranded(waiting))


class _Candidate(msgspec.Struct, frozen=True):
    """A group, what it would do, and the groups that share its growth."""

    group: NodeGroup
    option: Option
    estimate: Estimate
    similar: tuple[NodeGroup, ...]


class _Orchestra:
    """One cycle's growth; made and dropped by `grow`."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        simulation: Simulation,
        *,
        params: ClusterAutoscalerParams,
        rules: NodeRules,
        barriers: Barriers,
    ) -> None:
        self._snapshot, self._simulation, self._params, self._barriers = snapshot, simulation, params, barriers
        self._room: ResourceRoom = room_to_grow(snapshot.nodes, params, rules)
        self._groups = {group.name: group for group in snapshot.node_groups}
        self._templates = {name: with_known_labels(group) for name, group in self._groups.items()}
        self._skipped: dict[str, Reason] = {}
        self._valid = [group for group in snapshot.node_groups if self._may_grow(group)]
        self._takes: dict[str, frozenset[int]] = {}
        self._helped: set[int] = set()
        self._options = 0

    def choose(self, waiting: Sequence[PodGroup]) -> _Candidate | None:
        """Return what the expanders prefer, None if no group can help."""
        params, snapshot = self._params, self._snapshot
        if 0 < params.max_nodes_total <= len(snapshot.nodes):
            self._skip_all(f"the cluster has {len(snapshot.nodes)} nodes, of at most {params.max_nodes_total}")
            return None
        minds = any(map(self._simulation.minds_other_nodes, {each.shape for each in waiting}))
        self._takes = self._schedulable(waiting, minds=minds)
        base = self._simulation if minds else Simulation.of(())
        found = {}
        for group in self._valid:
            candidate = self._candidate(group, waiting, base)
            if candidate is not None:
                found[group.name] = candidate
        self._options = len(found)
        best = best_option([each.option for each in found.values()], params.chain, self._facts())
        return found[best.group] if best is not None and best.nodes > 0 else None

    def sizes(self, chosen: _Candidate) -> dict[str, int]:
        """Return how many nodes each group gets: those of the choice, within the limits of the cluster."""
        nodes = chosen.option.nodes
        if self._params.max_nodes_total:
            nodes = min(nodes, self._params.max_nodes_total - len(self._snapshot.nodes))
        nodes = self._room.allowed(machine_of(chosen.group.template), nodes)
        within = [each for each in chosen.similar if self._room.allowed(machine_of(each.template), 1)]
        gains = {}
        for name, gain in balance((chosen.group, *within), nodes).items():
            machine = machine_of(self._groups[name].template)
            allowed = self._room.allowed(machine, gain)
            if allowed:
                self._room.use(machine, allowed)
                gains[name] = allowed
        return gains

    def raise_to_minimum(self, gains: dict[str, int]) -> None:
        """Add what groups lack of their minimum (flag enforce-node-group-min-size)."""
        for group in self._snapshot.node_groups:
            lacking = group.min_size - group.target_size - gains.get(group.name, 0)
            machine = machine_of(group.template)
            if lacking > 0 and group.name not in self._barriers.backed_off:
                allowed = self._room.allowed(machine, lacking)
                self._room.use(machine, allowed)
                if allowed:
                    gains[group.name] = gains.get(group.name, 0) + allowed

    def actions(self, gains: Mapping[str, int], chosen: _Candidate | None) -> tuple[SetGroupSize, ...]:
        actions = []
        for name, gain in sorted(gains.items()):
            group = self._groups[name]
            usd = group.usd_per_hour * gain
            actions.append(
                SetGroupSize(
                    group=name,
                    size=group.target_size + gain,
                    expected=group.target_size,
                    usd_per_hour=usd,
                    reasons=(self._why(gain, chosen),),
                )
            )
        return tuple(actions)

    def stranded(self, waiting: Sequence[PodGroup]) -> tuple[Note, ...]:
        """Say of pods that no group can help why; of those of one workload once."""
        left = [group for at, group in enumerate(waiting) if at not in self._helped]
        if not left:
            return ()
        market = market_of(self._snapshot.node_groups, now=self._snapshot.observed_at)
        notes: dict[str, Note] = {}
        for group in left:
            target = f"pods/{group.shape.namespace}/{_owner_name(group)}"
            if target not in notes:
                barred = tuple(self._skipped[name] for name in sorted(self._skipped))
                notes[target] = Note(target=target, reasons=(*why_nowhere(group.shape, market, {}), *barred))
        return tuple(notes.values())

    def _may_grow(self, group: NodeGroup) -> bool:
        until = self._barriers.backed_off.get(group.name)
        if group.name in self._barriers.unhealthy:
            self._skipped[group.name] = Reason(Code.NODE_NOT_READY, f"{group.name}: too many nodes are not ready")
        elif until is not None:
            wait = format_duration(max(0.0, until - self._snapshot.observed_at))
            self._skipped[group.name] = Reason(
                Code.GROUP_BACKING_OFF, f"{group.name}: the last growth failed; trying again in {wait}"
            )
        elif not self._room.allowed(machine_of(group.template), 1):
            message = f"{group.name}: no further node is within the limits on cores and memory"
            self._skipped[group.name] = Reason(Code.LIMIT_REACHED, message)
        else:
            # A full group is told of by the market, where the pods would fit.
            return group.target_size < group.max_size
        return False

    def _skip_all(self, message: str) -> None:
        self._skipped = {"": Reason(Code.LIMIT_REACHED, message)}

    def _schedulable(self, waiting: Sequence[PodGroup], *, minds: bool) -> dict[str, frozenset[int]]:
        """Return which pods fit on an empty node of each group, by the groups' positions."""
        if not minds:
            alone = Simulation.of(())
            rows = {group.name: alone.add_node(self._templates[group.name], group.name) for group in self._valid}
            fits = [alone.feasible(each.shape) for each in waiting]
            return {name: frozenset(at for at, mask in enumerate(fits) if mask[row]) for name, row in rows.items()}
        found = {}
        for group in self._valid:
            trial = self._simulation.fork()
            row = trial.add_node(self._templates[group.name], "a new node")
            found[group.name] = frozenset(at for at, each in enumerate(waiting) if trial.feasible(each.shape)[row])
        return found

    def _candidate(self, group: NodeGroup, waiting: Sequence[PodGroup], base: Simulation) -> _Candidate | None:
        takes = sorted(self._takes[group.name])
        if not takes:
            return None
        self._helped.update(takes)
        similar = self._similar(group)
        found = estimate(
            [waiting[at] for at in takes],
            self._templates[group.name],
            base,
            max_nodes=self._most_nodes(group, similar),
            fast_path=self._params.fastpath_binpacking_enabled,
        )
        if not found.nodes or not sum(found.pods):
            return None
        requests = Resources()
        for at, pods in zip(takes, found.pods, strict=True):
            requests = requests + effective_requests(waiting[at].shape).only((CPU, MEMORY)) * pods
        option = Option(
            group=group.name,
            nodes=found.nodes,
            pods=sum(found.pods),
            requests=requests,
            capacity=machine_of(group.template),
            usd_per_hour=group.usd_per_hour,
            gpu=any(group.template.allocatable.get(name) > 0 for name in GPU_RESOURCES),
        )
        return _Candidate(group, option, found, similar)

    def _similar(self, group: NodeGroup) -> tuple[NodeGroup, ...]:
        """Return the other groups of like machines that take the same pods and may grow."""
        if not self._params.balance_similar_node_groups:
            return ()
        template, takes = group.template, self._takes[group.name]
        return tuple(
            other
            for other in self._valid
            if other is not group
            and takes <= self._takes[other.name]
            and are_similar(template, other.template, self._params)
        )

    def _most_nodes(self, group: NodeGroup, similar: Sequence[NodeGroup]) -> int:
        """Return how many nodes the estimate may add: 0 for any number, below zero for none."""
        params = self._params
        cluster = params.max_nodes_total - len(self._snapshot.nodes) if params.max_nodes_total else 0
        if params.max_nodes_total and cluster <= 0:
            return -1
        room = sum(max(0, each.max_size - each.target_size) for each in (group, *similar))
        bounds = [bound for bound in (params.max_nodes_per_scaleup, cluster, room) if bound > 0]
        return min(bounds) if room > 0 else -1

    def _facts(self) -> Facts:
        prices = prices_or_estimate(self._snapshot.prices, self._snapshot.node_groups)
        return Facts(
            cluster_nodes=len(self._snapshot.nodes),
            usd_per_core_hour=prices.usd_per_core_hour,
            usd_per_gib_hour=prices.usd_per_gib_hour,
            priorities=priorities_of(self._params.expander_priorities),
        )

    def _why(self, gain: int, chosen: _Candidate | None) -> Reason:
        nodes = f"{gain} node" if gain == 1 else f"{gain} nodes"
        if chosen is None:
            return Reason(Code.PENDING_PODS, f"{nodes} to reach the minimum")
        option = chosen.option
        pods = f"{option.pods} pod" if option.pods == 1 else f"{option.pods} pods"
        ways = "the only way to grow" if self._options == 1 else f"the best of {self._options} ways to grow"
        message = f"{nodes} for {pods}: {option.group} is {ways} by {self._params.expander}"
        return Reason(Code.PENDING_PODS, message, (("nodes", str(gain)), ("pods", str(option.pods))))


def _owner_name(group: PodGroup) -> str:
    app = dict(group.shape.labels).get("app", "")
    return app or group.workload.rpartition("/")[2] or group.shape.owner_kind
