"""
How many nodes of one kind pending pods need: Cluster Autoscaler's binpacking estimator.

Largest pods first; each goes on a node of this estimate, else on the last one
made, else on a new one. What the rules say of one pod after the other is done
here for a whole group at once where the pods of the group do not mind each
other. Sources: `estimator/binpacking_estimator.go`,
`decreasing_pod_orderer.go`, `threshold_based_limiter.go`, 1.36.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from autoscaler.model.arrays import Bools
from autoscaler.model.node import NodeTemplate
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.planning.cluster_autoscaler.first_fit import Placed, RoundRobin
from autoscaler.planning.cluster_autoscaler.pod_groups import PodGroup
from autoscaler.scheduling.requests import effective_requests
from autoscaler.scheduling.requirements import label_map, selector_matches
from autoscaler.scheduling.simulation import Simulation
from autoscaler.scheduling.topology import HOSTNAME


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """
    `nodes` that would get a pod; `pods` of each group that would be placed, in the order of the groups given.

    `order` has the groups that got any, the first placed first.
    """

    nodes: int
    pods: tuple[int, ...]
    order: tuple[int, ...]


def estimate(
    groups: Sequence[PodGroup],
    template: NodeTemplate,
    simulation: Simulation,
    *,
    max_nodes: int = 0,
    fast_path: bool = False,
) -> Estimate:
    """
    Return what new nodes like *template* would hold of *groups*.

    Args:
        groups: pods to place; each group is given up at its first pod that fits nowhere.
        template: what a new node looks like.
        simulation: the cluster, for rules that look at other nodes; it is not changed.
        max_nodes: how many may be added; 0 for any number, below zero for none.
        fast_path: reckon the group that gains most by it, instead of placing it pod by pod.
    """
    order = sorted(range(len(groups)), key=lambda at: -_score(groups[at].shape, template))
    last_is_fast = False
    if fast_path:
        best = _best_for_fast_path([groups[at] for at in order], template)
        if best is not None:
            order.append(order.pop(best))
            last_is_fast = True
    bins = _Bins(template, simulation.fork(), max_nodes)
    may_add = True
    for place, at in enumerate(order):
        bins.begin(at)
        left = bins.on_new_nodes_so_far(groups[at])
        if not may_add:
            continue
        if last_is_fast and place == len(order) - 1:
            may_add = bins.by_arithmetic(groups[at].shape, left)
        else:
            may_add = bins.on_further_nodes(groups[at].shape, left)
    return bins.result(len(groups))


class _Bins:
    """The nodes of one estimate; changes its simulation."""

    def __init__(self, template: NodeTemplate, simulation: Simulation, max_nodes: int) -> None:
        self._template, self._simulation, self._max_nodes = template, simulation, max_nodes
        self._round = RoundRobin(simulation)
        self._new: list[int] = []
        self._with_pods: set[int] = set()
        self._reckoned = self._allowed = 0
        self._group = -1
        self._pods: dict[int, int] = {}

    def begin(self, group: int) -> None:
        """Count what is placed from here on for *group*."""
        self._group = group

    def on_new_nodes_so_far(self, group: PodGroup) -> int:
        """Place pods on the nodes added before; return how many are left."""
        if not self._new:
            return group.count
        placed = self._round.place(group.shape, group.count, self._mask(self._new))
        self._count(placed)
        return group.count - _total(placed)

    def on_further_nodes(self, shape: PodShape, left: int) -> bool:
        """Place pods on the last node and on new ones; tell whether there may be more new ones."""
        if self._simulation.is_independent(shape):
            return self._fill_further(shape, left)
        for _ in range(left):
            if self._on_last_or_around(shape):
                continue
            if self._new and self._new[-1] not in self._with_pods:
                return True
            if not self._add_node():
                return False
            if not self._on_last(shape):
                break
        return True

    def by_arithmetic(self, shape: PodShape, left: int) -> bool:
        """Fill one node and reckon how many like it hold the rest; tell whether there may be more new ones."""
        if left == 0:
            return True
        if not self._add_node():
            return False
        each = _total(self._round.place(shape, left, self._mask(self._new[-1:])))
        if each == 0:
            return True
        self._count([(self._new[-1], each)])
        rest = left - each
        while rest > 0:
            if not self._may_add():
                return False
            self._reckoned += 1
            self._pods[self._group] += min(each, rest)
            rest -= each
        return True

    def result(self, groups: int) -> Estimate:
        return Estimate(
            nodes=len(self._with_pods) + self._reckoned,
            pods=tuple(self._pods.get(group, 0) for group in range(groups)),
            order=tuple(self._pods),
        )

    def _fill_further(self, shape: PodShape, left: int) -> bool:
        """Do `on_further_nodes` node by node: every new node takes as many pods that do not mind their siblings."""
        left -= self._fill_last(self._room_on_last(shape), shape, left)
        each = 0
        while left > 0:
            if self._new and self._new[-1] not in self._with_pods:
                return True
            if not self._add_node():
                return False
            each = each or self._room_on_last(shape)
            if not each:
                break
            left -= self._fill_last(each, shape, left)
        return True

    def _room_on_last(self, shape: PodShape) -> int:
        """Return how many pods of an independent shape the last node takes."""
        if not self._new or not self._simulation.feasible(shape)[self._new[-1]]:
            return 0
        return int(self._round.room(shape, np.array(self._new[-1:], np.intp))[0])

    def _fill_last(self, room: int, shape: PodShape, left: int) -> int:
        pods = min(left, room)
        if pods:
            self._round.put(shape, self._new[-1], pods)
            self._count([(self._new[-1], pods)])
        return pods

    def _on_last_or_around(self, shape: PodShape) -> bool:
        """
        Place one pod on the last node; where only its spread over hosts forbids that, on any other node.

        That other node may be one that was there before, and counts as new all the same.
        """
        if not self._new:
            return False
        if self._on_last(shape):
            return True
        last = self._new[-1]
        if not _spreads_over_hosts(shape) or not self._simulation.spread_forbids(shape, last):
            return False
        others = np.ones(len(self._simulation.names), np.bool_)
        others[last] = False
        placed = self._round.place(shape, 1, others)
        self._count(placed)
        return bool(placed)

    def _on_last(self, shape: PodShape) -> bool:
        row = self._new[-1]
        if not self._simulation.feasible(shape)[row]:
            return False
        self._simulation.add_pod(shape, row)
        self._count([(row, 1)])
        return True

    def _add_node(self) -> bool:
        if not self._may_add():
            return False
        self._new.append(self._simulation.add_node(self._template, f"new node {len(self._new)}"))
        return True

    def _may_add(self) -> bool:
        if self._max_nodes < 0 or 0 < self._max_nodes <= self._allowed:
            return False
        self._allowed += 1
        return True

    def _mask(self, rows: Sequence[int]) -> Bools:
        mask = np.zeros(len(self._simulation.names), np.bool_)
        mask[np.array(rows, np.intp)] = True
        return mask

    def _count(self, placed: Placed) -> None:
        for row, pods in placed:
            self._with_pods.add(row)
            self._pods[self._group] = self._pods.get(self._group, 0) + pods


def _total(placed: Placed) -> int:
    return sum(pods for _, pods in placed)


def _score(shape: PodShape, template: NodeTemplate) -> float:
    """Return a pod's size: its shares of a node's cpu and memory, added."""
    requests, room = effective_requests(shape), template.allocatable
    return sum(requests.get(name) / room.get(name) for name in (CPU, MEMORY) if room.get(name) > 0)


def _spreads_over_hosts(shape: PodShape) -> bool:
    return any(each.topology_key == HOSTNAME for each in shape.spread)


def _best_for_fast_path(groups: Sequence[PodGroup], template: NodeTemplate) -> int | None:
    """Return the group that needs fewest tries when reckoned (the last of equals), None if none may be."""
    best, most = None, 0
    for at, group in enumerate(groups):
        nodes = _nodes_at_least(group, template)
        saved = group.count - group.count // nodes if nodes > 0 else 0
        if saved >= most and _may_be_reckoned(group.shape):
            best, most = at, saved
    return best


def _may_be_reckoned(shape: PodShape) -> bool:
    """Tell whether all new nodes take as many pods: not with spread or anti-affinity over more than hosts."""
    return not shape.spread and all(term.topology_key == HOSTNAME for term in shape.affinity.pod_anti_required)


def _nodes_at_least(group: PodGroup, template: NodeTemplate) -> int:
    """Return a lower bound on the nodes; the peer looks at the first container and the node's capacity alone."""
    shape, labels = group.shape, label_map(group.shape.labels)
    alone = any(
        term.topology_key == HOSTNAME and term.selector is not None and selector_matches(term.selector, labels)
        for term in shape.affinity.pod_anti_required
    )
    first = shape.containers[0].requests if shape.containers else Resources()
    capacity = template.capacity if template.capacity.amounts else template.allocatable
    nodes = [group.count] if alone else [0]
    if capacity.cpu > 0:
        nodes.append(math.ceil(group.count * _cores(first.cpu) / _cores(capacity.cpu)))
    if capacity.memory > 0:
        nodes.append(math.ceil(group.count * float(first.memory) / capacity.memory))
    return max(nodes)


def _cores(milli: int) -> float:
    """Return cores as the peer's floats have them, so that rounding up agrees."""
    return milli * 0.001 if milli % 1000 else float(milli // 1000)
