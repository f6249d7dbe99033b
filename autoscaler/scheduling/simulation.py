"""
A cluster to try placements on: which nodes take a pod, which one kube-scheduler would choose.

Mutable inside and made from values; nothing here outlives a decision unless
its maker keeps it, as the simulated cluster does. It works on classes of pods
and on columns over nodes: see `columns` (resources, labels, taints),
`coupling` (rules between pods) and `ranking` (scores). `predicates` is the
exact rule pod by pod; volumes are only there.

Nodes are named by row: the number that `add_node` returns, also an index into
every array given out. Equal calls in equal order give equal answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from autoscaler.model.arrays import Bools, Codes, Ints, Rows
from autoscaler.model.node import Node, NodeTemplate
from autoscaler.model.pod import Phase, Pod, PodShape
from autoscaler.model.resources import Resources
from autoscaler.model.workload import Namespace
from autoscaler.scheduling.best_first import best_first, best_row, size_score, sizes_scores
from autoscaler.scheduling.classes import (
    CPU_COLUMN,
    ClassBook,
    DefaultSpread,
    PodClass,
    cut,
    no_default_spread,
)
from autoscaler.scheduling.columns import NodeColumns
from autoscaler.scheduling.coupling import Coupling
from autoscaler.scheduling.ranking import AFFINITY_WEIGHT, TAINT_WEIGHT
from autoscaler.scheduling.requests import nonzero_requests, placed_requests
from autoscaler.scheduling.requirements import label_map
from autoscaler.scheduling.residents import Residents
from autoscaler.scheduling.topology import HOSTNAME

_SUCCEEDED, _FAILED = Phase.SUCCEEDED, Phase.FAILED
MAX_PODS = 512
"""How many pods of one shape `add_pod` takes at once: beyond, sums might not hold."""


class Simulation:
    """Nodes with pods on them. See the module's text for what a row is."""

    def __init__(self, book: ClassBook, nodes: NodeColumns, residents: Residents) -> None:
        """Use `Simulation.of` or `fork` instead."""
        self._book, self._nodes, self._residents = book, nodes, residents
        self._coupling = Coupling(book, nodes, residents)
        self._rows: dict[str, int] = {}
        self._order: tuple[int, Rows] = (-1, np.empty(0, np.intp))

    @classmethod
    def of(
        cls,
        nodes: Iterable[Node],
        pods: Iterable[Pod] = (),
        *,
        namespaces: Iterable[Namespace] = (),
        default_spread: DefaultSpread = no_default_spread,
    ) -> Simulation:
        """
        Return a simulation of these nodes and the pods on them, rows in order of *nodes*.

        Pods that have ended, are pending or are on unknown nodes do not count.
        *default_spread* gives the soft constraints that the scheduler adds to a
        pod without any of its own; see `topology.default_constraints`.
        """
        book = ClassBook(namespaces, default_spread)
        columns = NodeColumns(book)
        columns.add_all(tuple(nodes))
        rows = {name: row for row, name in enumerate(columns.names)}
        pods = tuple(pods)
        placed = book.placed(pods, rows)
        kinds, at = np.array(placed[0], np.intp), np.array(placed[1], np.intp)
        columns.take_all(book.classes, kinds, at)
        simulation = cls(book, columns, Residents(book, kinds, at))
        simulation._rows = rows
        for pod in pods:
            if pod.resize is not None and pod.node in rows and not (pod.phase is _SUCCEEDED or pod.phase is _FAILED):
                pod_class = book.of(pod.shape, terminating=pod.deleted_at is not None)
                columns.take(pod_class, rows[pod.node], pods=-1)
                simulation._use_amounts(placed_requests(pod), nonzero_requests(pod), rows[pod.node], pods=1)
        return simulation

    def fork(self) -> Simulation:
        """Return a copy to try things on; about 1 ms for 5,000 nodes."""
        twin = Simulation(self._book, self._nodes.fork(), self._residents.fork())
        twin._rows, twin._order = self._rows.copy(), self._order
        return twin

    @property
    def names(self) -> Sequence[str]:
        """Node names by row, "" where a node was removed."""
        return self._nodes.names

    @property
    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """Labels by name of namespace."""
        return self._book.namespaces

    def row(self, name: str) -> int:
        """
        Return the row of a node.

        Raises:
            KeyError: there is no such node.
        """
        return self._rows[name]

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def free(self, resource: str) -> Ints:
        """Return what is left of a resource by row, 0 where a node was removed (a view: do not change it)."""
        column = self._book.column(resource)
        left: Ints = self._nodes.free[column]
        return left

    def allocatable(self, resource: str) -> Ints:
        """Return what nodes have of a resource for pods, by row (a view: do not change it)."""
        column = self._book.column(resource)
        room: Ints = self._nodes.allocatable[column]
        return room

    def requested(self, resource: str) -> Ints:
        """Return what is taken of a resource, by row."""
        return self.allocatable(resource) - self.free(resource)

    @property
    def open(self) -> Bools:
        """Rows whose nodes take pods (a view: do not change it)."""
        return self._nodes.open

    # Changes

    def add_node(self, template: NodeTemplate, name: str) -> int:
        """Add an empty, open node as a group would make it, DaemonSets' share taken; return its row."""
        labels = {HOSTNAME: name, **label_map(template.labels)}
        labels[HOSTNAME] = name
        row = self._nodes.add(name, labels, template.taints, allocatable=template.allocatable)
        overhead = template.overhead
        self._use_amounts(overhead, overhead, row, pods=0)
        self._rows[name] = row
        return row

    def add_observed_node(self, node: Node) -> int:
        """Add a node as it is; return its row."""
        row = self._nodes.add(node.name, label_map(node.labels), node.taints, allocatable=node.allocatable)
        self._nodes.open[row] = not node.unschedulable
        self._rows[node.name] = row
        return row

    def remove_node(self, row: int) -> None:
        """Take a node away with all that is on it; its row may be given to a later node."""
        self._rows.pop(self._nodes.names[row], None)
        self._residents.drop_row(row)
        self._nodes.drop(row)

    def close_node(self, row: int) -> None:
        """Let no further pod on a node; it still counts as a topology domain."""
        self._nodes.open[row] = self._nodes.reachable[row] = False

    def open_node(self, row: int) -> None:
        """Undo `close_node`, or a cordon."""
        self._nodes.open[row] = self._nodes.reachable[row] = self._nodes.alive[row]

    def add_pod(self, shape: PodShape, row: int, *, pods: int = 1) -> None:
        """
        Put pods on a node, whether they fit or not.

        Raises:
            ValueError: more than MAX_PODS at once, or fewer than none, which is a bug in the caller.
        """
        if not 0 <= pods <= MAX_PODS:
            raise ValueError(f"pods must be from 0 to {MAX_PODS}, got {pods}")
        pod_class = self._book.of(shape)
        self._nodes.take(pod_class, row, pods=pods)
        self._residents.add(pod_class, row, pods=pods)

    def remove_pod(self, shape: PodShape, row: int, *, pods: int = 1) -> None:
        """Take pods off a node: as many as are there at most."""
        pod_class = self._book.of(shape)
        there = min(pods, self._residents.counts(pod_class.index).get(row, 0))
        self._nodes.take(pod_class, row, pods=-there)
        self._residents.add(pod_class, row, pods=-there)

    # Questions

    def feasible(self, shape: PodShape) -> Bools:
        """Return which nodes may take one more pod of this shape, by row."""
        return self._feasible(self._book.of(shape))

    def scores(self, shape: PodShape) -> Ints:
        """
        Return kube-scheduler's score of each node for one more pod, -1 where it is not feasible.

        Default plugins and weights: TaintToleration 3, NodeAffinity, spread and
        inter-pod affinity 2 each, LeastAllocated and BalancedAllocation 1 each.
        """
        pod_class = self._book.of(shape)
        feasible = self._feasible(pod_class)
        if not feasible.any():
            return np.full(len(feasible), -1, np.int64)
        rows = np.flatnonzero(feasible)
        found = np.full(len(feasible), -1, np.int64)
        found[rows] = self._steady_scores(pod_class, feasible)[rows] + sizes_scores(self._nodes, pod_class, rows)
        return found

    def same_domain(self, row: int, key: str) -> Bools:
        """Return which nodes have the same value of a label as the node at *row*, or lack it as it does."""
        codes, _ = self._nodes.codes(key)
        same: Bools = codes == codes[row]
        return same

    def is_independent(self, shape: PodShape) -> bool:
        """Tell whether a pod may go somewhere no matter where its siblings are."""
        return self._book.of(shape).independent

    def minds_other_nodes(self, shape: PodShape) -> bool:
        """Tell whether pods on other nodes can have a say in whether a pod may go on a node."""
        pod_class = self._book.of(shape)
        return bool(pod_class.hard or pod_class.affinity or pod_class.anti) or self._coupling.repels(pod_class)

    def spread_forbids(self, shape: PodShape, row: int) -> bool:
        """Tell whether topology spread is the first filter that keeps a pod off a node that has the labels for it."""
        pod_class = self._book.of(shape)
        return bool(self._fits_alone(pod_class)[row]) and self._coupling.spread_forbids(pod_class, row)

    def pods_of(self, shape: PodShape) -> dict[int, int]:
        """Return how many pods of a shape are on each node, by row, terminating ones left out."""
        return {row: pods for row, pods in self._residents.counts(self._book.of(shape).index).items() if pods}

    def pods_where(self, selects: Callable[[PodShape], bool], *, terminating: bool) -> dict[int, int]:
        """Return how many pods of the shapes that *selects* picks are on each node, by row; *terminating* ones, too?"""
        found: Counter[int] = Counter()
        for each in self._book.classes:
            if (terminating or not each.terminating) and selects(each.shape):
                found.update(self._residents.counts(each.index))
        return {row: pods for row, pods in found.items() if pods}

    # Placement

    def place_pod(self, shape: PodShape) -> int | None:
        """Place one pod where the scheduler would (ties by node name); return the row, None if it fits nowhere."""
        placed = self.place(shape, 1)
        return placed[0] if placed else None

    def place(self, shape: PodShape, count: int) -> list[int]:
        """
        Place up to *count* pods one after the other as the scheduler would; return their rows in order.

        Fewer rows than *count* mean that the rest fits nowhere. Nothing is
        ever over-filled. Each pod goes to the best-scored node; ties by name.
        """
        pod_class = self._book.of(shape)
        if not pod_class.plain:
            return self._place_one_by_one(pod_class, count)
        placed: list[int] = []
        while len(placed) < count:
            got = self._place_best(pod_class, count - len(placed))
            if not got:
                break
            placed += got
        return placed

    def place_mixed(self, demand: Sequence[tuple[PodShape, int]], *, waves: int = 16) -> list[int]:
        """
        Place pods of many shapes as if they arrived mixed; return how many of each fit nowhere.

        Each wave brings an equal part of every shape. One wave is class after
        class in the order given; many waves come close to arrival at random.
        """
        left = [max(0, count) for _, count in demand]
        stuck = [False] * len(left)
        for wave in range(max(1, waves), 0, -1):
            for position, (shape, _) in enumerate(demand):
                wanted = -(-left[position] // wave)
                if wanted and not stuck[position]:
                    placed = len(self.place(shape, wanted))
                    left[position] -= placed
                    stuck[position] = placed < wanted
        return left

    def fill(self, shape: PodShape, count: int, *, within: Bools | None = None) -> list[tuple[int, int]]:
        """
        Place up to *count* pods anywhere they fit, fullest nodes first; return (row, pods).

        For "is there room at all": much faster than `place` and denser. Only
        nodes in *within* are used, where it is given.
        """
        if not self._nodes.reachable.any():
            return []
        pod_class, count = self._book.of(shape), cut(count)
        if pod_class.independent:
            return self._fill_free(pod_class, count, within)
        placed: list[tuple[int, int]] = []
        while len(placed) < count:
            rows = self._fill_wave(pod_class, count - len(placed), within)
            if not rows:
                break
            placed += [(row, 1) for row in rows]
        return placed

    def unfill(self, shape: PodShape, placed: Iterable[tuple[int, int]]) -> None:
        """Undo a `fill`."""
        for row, pods in placed:
            self.remove_pod(shape, row, pods=pods)

    # How

    def _feasible(self, pod_class: PodClass) -> Bools:
        rules = self._coupling.allows(pod_class)
        mask = self._fits_alone(pod_class)
        return mask if rules is None else mask & rules

    def _fits_alone(self, pod_class: PodClass) -> Bools:
        """Return the nodes that have what a pod asks for, whoever else is where."""
        nodes = self._nodes
        mask: Bools = nodes.admits(pod_class) & (nodes.reachable if pod_class.tolerates_cordon else nodes.open)
        free = nodes.free
        for column, ask in pod_class.asks:
            mask &= free[column] >= ask
        return mask

    def _steady_scores(self, pod_class: PodClass, feasible: Bools) -> Ints:
        """Return the part of the scores that a node's resources have no bearing on, by row."""
        nodes = self._nodes
        disliked = nodes.disliked_taints(pod_class)
        most = int(disliked.max(where=feasible, initial=0))
        total = np.full(len(nodes), TAINT_WEIGHT * 100, np.int64)
        if most:
            total -= TAINT_WEIGHT * (100 * disliked // most)
        if pod_class.shape.affinity.node_preferred:
            liked = nodes.liked_labels(pod_class)
            most = int(liked.max(where=feasible, initial=0))
            if most:
                total += AFFINITY_WEIGHT * (100 * liked // most)
        likes = self._coupling.likes(pod_class, feasible)
        return total if likes is None else total + likes

    def _place_best(self, pod_class: PodClass, wanted: int) -> list[int]:
        feasible = self._feasible(pod_class)
        rows = np.flatnonzero(feasible)
        if not rows.size:
            return []
        steady = self._steady_scores(pod_class, feasible)[rows]
        placed = best_first(self._nodes, pod_class, rows=rows, steady=steady, wanted=wanted)
        self._settle(pod_class, Counter(placed))
        return placed

    def _place_one_by_one(self, pod_class: PodClass, count: int) -> list[int]:
        """Place pods that bear on each other's places: each changes the rules' answers, and one node's resources."""
        nodes = self._nodes
        by_size = sizes_scores(nodes, pod_class, np.arange(len(nodes)))
        placed: list[int] = []
        while len(placed) < count:
            feasible = self._feasible(pod_class)
            rows = np.flatnonzero(feasible)
            if not rows.size:
                break
            scores = self._steady_scores(pod_class, feasible)[rows] + by_size[rows]
            row = best_row(nodes, rows, scores)
            self._settle(pod_class, {row: 1})
            by_size[row] = size_score(nodes, pod_class, row)
            placed.append(row)
        return placed

    def _fill_free(self, pod_class: PodClass, count: int, within: Bools | None) -> list[tuple[int, int]]:
        """Fill nodes up one after the other: siblings bear on one another through resources alone."""
        if count <= 0:
            return []
        free, placed, left = self._nodes.free, [], count
        for row in self._feasible_rows(pod_class, within)[:count].tolist():
            room = min([int(free[column, row]) // ask for column, ask in pod_class.asks], default=left)
            placed.append((row, min(room, left)))
            left -= room
            if left <= 0:
                break
        self._settle(pod_class, dict(placed))
        return placed

    def _fill_wave(self, pod_class: PodClass, count: int, within: Bools | None) -> list[int]:
        """Place at most one pod on each node, as many as the rules between siblings allow at once."""
        rows = self._feasible_rows(pod_class, within)
        if self._coupling.starts_group(pod_class):
            rows = rows[:1]
        for codes, quota in self._coupling.quotas(pod_class):
            domains = codes[rows]
            rows = rows[(domains < 0) | (_occurrence(domains) < np.append(quota, 0)[domains])]
        placed: list[int] = rows[:count].tolist()
        self._settle(pod_class, dict.fromkeys(placed, 1))
        return placed

    def _feasible_rows(self, pod_class: PodClass, within: Bools | None) -> Rows:
        """Return where one more pod may go, fullest nodes first."""
        feasible, order = self._feasible(pod_class), self._fullest_first()
        if within is not None:
            feasible = feasible & within
        rows: Rows = order[feasible[order]]
        return rows

    def _fullest_first(self) -> Rows:
        """Return rows by the share of cpu left, smallest first, as it was when nodes last came or went."""
        version, order = self._order
        if version != self._nodes.version:
            free, room = self._nodes.free[CPU_COLUMN], self._nodes.allocatable[CPU_COLUMN]
            order = np.argsort(free / np.maximum(room, 1), kind="stable")
            self._order = (self._nodes.version, order)
        return order

    def _settle(self, pod_class: PodClass, counts: Mapping[int, int]) -> None:
        for row, pods in counts.items():
            self._nodes.take(pod_class, row, pods=pods)
            self._residents.add(pod_class, row, pods=pods)

    def _use_amounts(self, taken: Resources, scored: Resources, row: int, *, pods: int) -> None:
        for column, amount in self._book.amounts(taken, pods=pods):
            self._nodes.free[column, row] -= amount
        self._nodes.scored[0, row] += cut(scored.cpu)
        self._nodes.scored[1, row] += cut(scored.memory)


def _occurrence(values: Codes) -> Rows:
    """
    Return for each value how many equal ones come before it.

    >>> _occurrence(np.array([7, 3, 7, 7])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    runs = np.repeat(starts, np.diff(np.append(starts, len(values))))
    found = np.empty(len(values), np.intp)
    found[order] = np.arange(len(values)) - runs
    return found
