"""
Packing of classes that rules tie together: pod by pod where it must be, in columns where it can be.

Every node that is to be bought is open until the end: it stands on a rung of
its line and climbs to a larger one when that costs least. So pods with rules
come first and fix how many nodes there must be and where; the others fill
these up.

    free room, tightest first → else the smaller waste of: a node climbs, a new node

What a placement wastes is its price less what the room that it opens is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from autoscaler.model.arrays import Bools, Floats, Ints, Rows
from autoscaler.model.node import Node
from autoscaler.model.pod import PodShape
from autoscaler.planning.offer_lines import Line, lines_of
from autoscaler.planning.offers import Market, Offer, resource_names
from autoscaler.planning.purchase import Bought
from autoscaler.planning.rule_groups import ClassRules, Kind, RuleBook, count_present
from autoscaler.scheduling.requests import node_demand
from autoscaler.scheduling.simulation import Simulation
from autoscaler.scheduling.topology import HOSTNAME

_TRIED = 16
"""So many nodes, those that lack least, are asked what climbing costs."""
_FIRST_ROWS = 64
_SAME = 1e-9
"""USD an hour: less is no difference."""


class Coupled(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes for classes that rules tie together, and how many pods of which classes they are for (by class)."""

    nodes: tuple[Bought, ...] = ()
    taken: frozenset[int] = frozenset()
    filled: Mapping[int, int] = {}


def pack_coupled(
    demand: Mapping[int, int],
    shapes: Sequence[PodShape],
    market: Market,
    *,
    there: Simulation | None = None,
    nodes: Sequence[Node] = (),
) -> Coupled:
    """
    Return nodes for the classes of *demand* (pods by class) that rules tie to one another.

    `taken` are these classes: what of them the nodes do not hold fits on no
    offer. Room that is left is `filled` with pods of classes without rules.
    """
    wanted = {index: shapes[index] for index in demand}
    book = RuleBook(wanted, there.namespaces if there is not None else {})
    if not book.coupled or not market.offers:
        return Coupled()
    if there is not None:
        count_present(book.groups, there, nodes)
    packing = CoupledPacking(wanted, demand, book, market)
    _place_all(packing, {index: demand[index] for index in packing.in_order(sorted(book.coupled))})
    others = [index for index in demand if index not in book.coupled and book.rules(index).is_free]
    filled = {index: packing.fill(index, demand[index]) for index in packing.in_order(others)}
    return Coupled(nodes=tuple(packing.bought()), taken=book.coupled, filled=filled)


def _place_all(packing: CoupledPacking, waiting: Mapping[int, int]) -> None:
    """Place classes in order, again and again: some want company that comes after them."""
    while True:
        left = {index: count - packing.place(index, count) for index, count in waiting.items()}
        left = {index: count for index, count in left.items() if count}
        if not left or left == waiting:
            return
        waiting = left


class CoupledPacking:
    """Nodes to be bought, while they are filled."""

    def __init__(
        self, shapes: Mapping[int, PodShape], demand: Mapping[int, int], book: RuleBook, market: Market
    ) -> None:
        """*shapes* are all classes that may be placed, by number; *demand* counts their pods."""
        self._book, self._shapes = book, shapes
        self._demands = {index: node_demand(shape) for index, shape in shapes.items()}
        self._resources = resource_names(list(self._demands.values()))
        most = 1 << 53
        self._needs = {
            index: np.array([min(need.get(name), most) for name in self._resources], dtype=np.int64)
            for index, need in self._demands.items()
        }
        admits = {index: market.admits(shape) for index, shape in shapes.items()}
        distinct = list({id(each): each for each in admits.values()}.values())
        keys = sorted({key for group in book.groups for key in group.keys if key != HOSTNAME})
        self.lines = lines_of(market, distinct, keys, self._resources, nodes=sum(demand.values()))
        self._admits = self._by_line(market, admits)
        self._know_domains(shapes)
        asked = [self._needs[index] * float(count) for index, count in demand.items() if self._admits[index].any()]
        self._worth = _worth(self.lines, np.sum([np.zeros(len(self._resources)), *asked], axis=0))
        self._waste = [line.prices - self._worth @ line.capacity for line in self.lines]
        self._count = 0
        self._line: Ints = np.zeros(_FIRST_ROWS, np.int64)
        self._rung: Ints = np.zeros(_FIRST_ROWS, np.int64)
        self._used: Ints = np.zeros((len(self._resources), _FIRST_ROWS), np.int64)
        self._free: Ints = np.zeros((len(self._resources), _FIRST_ROWS), np.int64)
        self._pods: list[dict[int, int]] = []
        self._grow_tallies()

    def in_order(self, classes: Sequence[int]) -> list[int]:
        """
        Return classes in the order of packing: most important first, then the most restricted, then the largest.

        Rules per host restrict most, for they decide how many nodes there must be.
        """
        return sorted(
            classes,
            key=lambda index: (
                -self._shapes[index].priority,
                _freedom(self._book.rules(index)),
                -float(self._worth @ self._needs[index]),
                index,
            ),
        )

    def place(self, index: int, count: int) -> int:
        """Place up to *count* pods of a class, opening nodes as needed; return how many found a place."""
        return self._place(index, count, may_buy=True)

    def fill(self, index: int, count: int) -> int:
        """Place up to *count* pods of a class in room that is free; return how many found a place."""
        return self._place(index, count, may_buy=False)

    def bought(self) -> list[Bought]:
        """Return the nodes, each from the smallest of the groups that are alike; the order is that of opening."""
        given: dict[str, int] = {}
        nodes = []
        for row, pods in enumerate(self._pods):
            line = self.lines[int(self._line[row])]
            offer = _smallest(line.offers[int(self._rung[row])], given)
            given[offer.group.name] = given.get(offer.group.name, 0) + 1
            nodes.append(Bought(offer=offer, pods=tuple(sorted(pods.items()))))
        return nodes

    def _by_line(self, market: Market, admits: Mapping[int, Bools]) -> dict[int, Bools]:
        """Return for each class which lines let it in."""
        place = {id(offer): at for at, offer in enumerate(market.offers)}
        first = np.array([place[id(line.offers[0][0])] for line in self.lines], dtype=np.int64)
        known = {id(each): each[first] for each in admits.values()}
        return {index: known[id(each)] for index, each in admits.items()}

    def _know_domains(self, shapes: Mapping[int, PodShape]) -> None:
        """Let every spread know the domains in which its pods could get nodes."""
        for index in shapes:
            for group, _ in self._book.rules(index).own:
                if group.kind is Kind.SPREAD and group.about_domains:
                    for line in self.lines:
                        name = line.domain(group.keys[0])
                        if self._admits[index][line.number] and name is not None:
                            group.pods.know(group.keys[0], name)

    def _open_lines(self, index: int, rules: ClassRules) -> Bools:
        """Return which lines the class may use now: labels, taints, and rules about domains other than hosts."""
        admitted = self._admits[index]
        if not any(group.about_domains for group, _ in rules.own) and not rules.feared:
            return admitted
        found = admitted.copy()
        for line in self.lines:
            if found[line.number]:
                found[line.number] = rules.allows(line.domain)
        return found

    def _allowed(self, lines: Bools, rules: ClassRules) -> Bools:
        """Return which nodes a pod may join as far as rules go."""
        mask: Bools = lines[self._line[: self._count]]
        for pods, most, _ in rules.host_limits():
            mask &= pods[: self._count] <= most
        for pods in rules.host_company():
            mask &= pods[: self._count] > 0
        return mask

    def _place(self, index: int, count: int, *, may_buy: bool) -> int:
        rules, left = self._book.rules(index), count
        while left > 0:
            lines = self._open_lines(index, rules)
            allowed = self._allowed(lines, rules)
            took = self._fill(index, left, rules, allowed)
            if not took and may_buy:
                took = self._make_room(index, left, lines, np.flatnonzero(allowed))
            if not took:
                break
            left -= took
        return count - left

    def _fill(self, index: int, count: int, rules: ClassRules, allowed: Bools) -> int:
        """Put pods where there is room for them, tightest first; only one where it bears on where the next may go."""
        need, mask = self._needs[index], allowed
        for free, asked in zip(self._free, need.tolist(), strict=True):
            if asked:
                mask = mask & (free[: self._count] >= asked)
        rows = np.flatnonzero(mask)
        if not rows.size:
            return 0
        slack = self._worth @ self._free[:, rows]
        if rules.moves_domains or count == 1:
            self._put(index, int(rows[int(slack.argmin())]), 1, rules)
            return 1
        left = count
        for row in rows[np.argsort(slack, kind="stable")][:count].tolist():
            pods = min(self._most_pods(row, rules, need), left)
            self._put(index, row, pods, rules)
            left -= pods
            if not left:
                break
        return count - left

    def _most_pods(self, row: int, rules: ClassRules, need: Ints) -> int:
        """Return how many pods of a class a node may take by its room and by rules per host."""
        bounds = [int(free[row]) // asked for free, asked in zip(self._free, need.tolist(), strict=True) if asked]
        bounds += [most + 1 - int(there[row]) for there, most, counts in rules.host_limits() if counts]
        return int(min(bounds))

    def _put(self, index: int, row: int, pods: int, rules: ClassRules) -> None:
        amounts = self._needs[index] * pods
        self._used[:, row] += amounts
        self._free[:, row] -= amounts
        there = self._pods[row]
        there[index] = there.get(index, 0) + pods
        rules.place(row, pods, self.lines[self._line[row]].domain)

    def _make_room(self, index: int, count: int, lines: Bools, rows: Rows) -> int:
        """Make room on one node and put pods there: on one of *rows* that climbs, or on a new one in *lines*."""
        rules = self._book.rules(index)
        climb = self._cheapest_climb(index, rows)
        opened = self._cheapest_new(index, lines, rules)
        if climb is not None and (opened is None or climb[0] <= opened[0] + _SAME):
            row = climb[1]
            self._climb(row, climb[2])
        elif opened is not None:
            row = self._open(opened[1], opened[2])
        else:
            return 0
        pods = 1
        if count > 1 and not rules.moves_domains:
            pods = max(1, min(self._most_pods(row, rules, self._needs[index]), count))
        self._put(index, row, pods, rules)
        return pods

    def _cheapest_climb(self, index: int, rows: Rows) -> tuple[float, int, int] | None:
        """Return (waste, node, rung) of the node of *rows* that grows for one more pod with the least waste."""
        if not rows.size:
            return None
        need = self._needs[index][:, None]
        if len(rows) > _TRIED:
            lacks = self._worth @ np.maximum(need - self._free[:, rows], 0)
            rows = rows[np.argpartition(lacks, _TRIED)[:_TRIED]]
        best: tuple[float, int, int] | None = None
        numbers = self._line[rows]
        for number in sorted(set(numbers.tolist())):
            here, line = rows[numbers == number], self.lines[number]
            rungs = line.rungs_for(self._used[:, here] + need)
            here, rungs = here[rungs >= 0], rungs[rungs >= 0]
            if here.size:
                waste = self._waste[number][rungs] - self._waste[number][self._rung[here]]
                least = int(waste.argmin())
                found = (float(waste[least]), int(here[least]), int(rungs[least]))
                best = found if best is None or found < best else best
        return best

    def _cheapest_new(self, index: int, lines: Bools, rules: ClassRules) -> tuple[float, Line, int] | None:
        """Return (waste, line, rung) of the new node that wastes least; of equal ones in the line with fewest nodes."""
        if any(True for _ in rules.host_company()) or any(most < 0 for _, most, _ in rules.host_limits()):
            return None
        best: tuple[float, int, int, Line, int] | None = None
        for line in self.lines:
            rung = line.rung_for(self._needs[index]) if lines[line.number] else -1
            if rung >= 0:
                found = (float(self._waste[line.number][rung]), line.nodes, line.number, line, rung)
                best = found if best is None or found[:3] < best[:3] else best
        return None if best is None else (best[0], best[3], best[4])

    def _climb(self, row: int, rung: int) -> None:
        line = self.lines[int(self._line[row])]
        old = int(self._rung[row])
        line.take(rung, instead_of=old)
        self._rung[row] = rung
        self._free[:, row] += line.capacity[:, rung] - line.capacity[:, old]

    def _open(self, line: Line, rung: int) -> int:
        row = self._count
        if row == len(self._line):
            self._line, self._rung = np.resize(self._line, 2 * row), np.resize(self._rung, 2 * row)
            self._used = np.concatenate([self._used, np.zeros_like(self._used)], axis=1)
            self._free = np.concatenate([self._free, np.zeros_like(self._free)], axis=1)
            self._grow_tallies()
        self._line[row], self._rung[row] = line.number, rung
        self._used[:, row], self._free[:, row] = 0, line.capacity[:, rung]
        line.take(rung)
        self._pods.append({})
        self._count += 1
        return row

    def _grow_tallies(self) -> None:
        for group in self._book.groups:
            group.resize(len(self._line))


def _freedom(rules: ClassRules) -> int:
    kinds = [(group.about_hosts, group.kind) for group, _ in rules.own]
    if (True, Kind.APART) in kinds:
        return 0
    if any(about_hosts for about_hosts, _ in kinds):
        return 1
    if any(kind is Kind.TOGETHER for _, kind in kinds):
        return 2
    return 3 if kinds else 4


def _worth(lines: Sequence[Line], asked: Floats) -> Floats:
    """
    Return what a unit of each resource is worth, USD an hour, so that no offer gives more than it costs.

    *asked* is how much is asked for in all. Resources count by what they would
    cost if nothing else did, those that cost less than half of the dearest not at all.
    """
    best = np.full(len(asked), np.inf)
    for line in lines:
        ratio = np.where(line.capacity > 0, line.prices / np.maximum(line.capacity, 1), np.inf)
        best = np.minimum(best, ratio.min(axis=1, initial=np.inf))
    best = np.where(np.isfinite(best), best, 0.0)
    alone = best * asked
    alone[alone < alone.max(initial=0.0) / 2] = 0.0
    worth: Floats = best * (alone / alone.sum()) if alone.any() else np.zeros_like(best)
    return worth


def _smallest(offers: Sequence[Offer], given: Mapping[str, int]) -> Offer:
    """Return the offer whose group is smallest now, of those with room left; ties by name."""
    able = [offer for offer in offers if given.get(offer.group.name, 0) < offer.room]
    return min(
        able or list(offers),
        key=lambda offer: (offer.group.target_size + given.get(offer.group.name, 0), offer.group.name),
    )
