"""
Try what happens to the pods when nodes go: where they fit, what must be bought, what is gained.

    net = (price removed - price bought) x hold - cost of a move x pods moved
          - price bought x boot time x 2

Source: algorithms, sections 5.5 and 5.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.plan import Note
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.policy import Consolidation
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.units import HOUR
from autoscaler.planning.blockers import Headroom, must_move, node_blocker
from autoscaler.planning.node_worth import balanced_score, disruption_cost
from autoscaler.planning.price_floor import PriceFloor
from autoscaler.planning.removals import Buy, Demand, Removal, RemovalRules
from autoscaler.scheduling.requests import effective_requests
from autoscaler.scheduling.simulation import Simulation
from autoscaler.scheduling.topology import ZONE

_PREFIXES = frozenset({1, 2, 3, 5, 8, 13, 21, 34, 55, 89})
"""Numbers of nodes for which a purchase is priced: in between they change little."""


class Tenants(msgspec.Struct, frozen=True, kw_only=True):
    """
    The nodes as consolidation sees them.

    `pods` has, by node, all pods on it; nodes that are absent have none.
    `sizes` are the groups' targets after what this plan has changed.
    """

    nodes: Mapping[str, Node]
    pods: Mapping[str, Sequence[Pod]]
    groups: Mapping[str, NodeGroup]
    sizes: Mapping[str, int]


class _Move(msgspec.Struct, frozen=True):
    """Pods of one shape taken off a node: where they went, and how many found no place."""

    shape: PodShape
    source: int
    pods: int
    placed: tuple[tuple[int, int], ...]

    @property
    def stranded(self) -> int:
        return self.pods - sum(pods for _, pods in self.placed)


def place_ghosts(simulation: Simulation, ghosts: Demand) -> dict[int, dict[PodShape, int]]:
    """Place the room to keep free as pods, where it fits; return it by row and shape."""
    found: dict[int, dict[PodShape, int]] = {}
    for shape, count in ghosts:
        for row, pods in simulation.fill(shape, count):
            on_row = found.setdefault(row, {})
            on_row[shape] = on_row.get(shape, 0) + pods
    return found


class Round:
    """
    One round of consolidation on a simulation of its own, which it changes as it goes.

    *simulation* must already hold the ghosts, *ghosts* says where (see
    `place_ghosts`). `boot_seconds` is how long new nodes overlap with old ones.
    """

    def __init__(
        self,
        tenants: Tenants,
        simulation: Simulation,
        *,
        ghosts: dict[int, dict[PodShape, int]],
        rules: RemovalRules,
        headroom: Headroom,
        boot_seconds: float = 90.0,
    ) -> None:
        self._tenants, self._simulation, self._ghosts = tenants, simulation, ghosts
        self._rules, self._headroom, self._boot = rules, headroom, boot_seconds
        self._taken: dict[str, int] = {}
        self._receiving: set[int] = set()
        self._notes: dict[str, Note] = {}
        self._total: tuple[float, float] | None = None
        self._floor: PriceFloor | None = None

    def fits_elsewhere(self, name: str) -> Reason | None:
        """
        Move what is on a node to the others; return why that fails, None if it worked.

        The node is closed either way; on failure its pods stay.
        """
        moves = self._evacuate(name, whole=True)
        if not moves or not moves[-1].stranded:
            self._receiving.update(row for move in moves for row, _ in move.placed)
            return None
        self._undo(moves)
        stranded, shape = moves[-1], moves[-1].shape
        return Reason(
            Code.NODE_IN_USE,
            f"{stranded.stranded} of its pods fit nowhere else, such as one of {shape.namespace}",
            (("namespace", shape.namespace), ("owner", shape.owner_kind), ("stranded", str(stranded.stranded))),
        )

    def empty(self, names: Sequence[str], *, most: int) -> list[Removal]:
        """Return the empty nodes among *names* that may go without loss of the room to keep free."""
        found: list[Removal] = []
        for name in names:
            if len(found) >= most:
                break
            busy = self._simulation.row(name) in self._receiving
            if busy or self._is_blocked(name) or self._is_needed(name):
                continue
            found.append(self._removal(name, Code.EMPTY_NODE, pods=0, net=self._price(name) * self._hours))
        return found

    def shut(self, names: Sequence[str]) -> None:
        """Let no pod move to these nodes: filling an empty node to empty another gains nothing."""
        for name in names:
            self._simulation.close_node(self._simulation.row(name))

    def delete(self, names: Sequence[str], *, most: int) -> list[Removal]:
        """Return the nodes among *names*, worst first, whose pods fit on the others and whose removal pays."""
        found: list[Removal] = []
        for name in names:
            if len(found) >= most:
                break
            row = self._simulation.row(name)
            if row in self._receiving or self._is_blocked(name):
                continue
            pods = len(self._moving(name))
            net = self._price(name) * self._hours - self._rules.min_savings_per_eviction * pods
            if not self._pays([name], self._price(name), net=net) or self._is_needed(name):
                continue
            found.append(self._removal(name, Code.PODS_FIT_ELSEWHERE, pods=pods, net=net))
        return found

    def repack(self, names: Sequence[str], buy: Buy, *, most: int) -> Removal | None:
        """
        Return the best replacement of the first k of *names* by cheaper nodes, None if none pays.

        *buy* sells nodes of the tenants' groups, at list prices or above. Nodes
        that are blocked are passed over. Leaves the simulation as it was.
        """
        simulation = self._simulation
        taken: list[str] = []
        moves: list[_Move] = []
        receiving = set(self._receiving)
        rest: dict[PodShape, int] = {}
        best: Removal | None = None
        for name in names:
            if len(taken) >= most:
                break
            if simulation.row(name) in receiving or self._is_blocked(name):
                continue
            taken.append(name)
            for move in self._evacuate(name):
                moves.append(move)
                receiving.update(row for row, _ in move.placed)
                if move.stranded:
                    rest[move.shape] = rest.get(move.shape, 0) + move.stranded
            if len(taken) in _PREFIXES or len(taken) == most:
                best = self._better(best, taken, tuple(rest.items()), buy)
        self._undo(moves)
        for name in taken:
            simulation.open_node(simulation.row(name))
        for name in best.nodes if best else ():
            self._take(name)
        return best

    @property
    def notes(self) -> tuple[Note, ...]:
        """Why nodes that were tried stay, in the order tried."""
        return tuple(self._notes.values())

    @property
    def _hours(self) -> float:
        return self._rules.hold_seconds / HOUR

    def _price(self, name: str) -> float:
        return self._tenants.nodes[name].usd_per_hour

    def _pods(self, name: str) -> Sequence[Pod]:
        return self._tenants.pods.get(name, ())

    def _moving(self, name: str) -> list[Pod]:
        return [pod for pod in self._pods(name) if must_move(pod)]

    def _note(self, name: str, reason: Reason) -> None:
        self._notes.setdefault(name, Note(target=f"node/{name}", reasons=(reason,)))

    def _is_blocked(self, name: str) -> bool:
        node = self._tenants.nodes[name]
        size = self._tenants.sizes.get(node.group, 0) - self._taken.get(node.group, 0)
        blocker = node_blocker(
            node,
            self._pods(name),
            self._tenants.groups.get(node.group),
            size=size,
            headroom=self._headroom,
            rules=self._rules.eviction,
        )
        if blocker is not None:
            self._note(name, blocker.as_reason())
        return blocker is not None

    def _is_needed(self, name: str) -> bool:
        reason = self.fits_elsewhere(name)
        if reason is not None:
            self._simulation.open_node(self._simulation.row(name))
            self._note(name, reason)
        return reason is not None

    def _take(self, name: str) -> None:
        group = self._tenants.nodes[name].group
        self._taken[group] = self._taken.get(group, 0) + 1

    def _removal(self, name: str, code: Code, *, pods: int, net: float) -> Removal:
        self._take(name)
        return Removal(nodes=(name,), code=code, pods=pods, usd_per_hour=-self._price(name), net_usd=net)

    def _evacuate(self, name: str, *, whole: bool = False) -> list[_Move]:
        """
        Close a node and place all on it that must move, and its ghosts, on others: the largest first.

        With *whole* it stops at the first shape that fits nowhere, which is then the last move.
        """
        simulation, row = self._simulation, self._simulation.row(name)
        counts: dict[PodShape, int] = {}
        for pod in self._moving(name):
            counts[pod.shape] = counts.get(pod.shape, 0) + 1
        for shape, pods in self._ghosts.get(row, {}).items():
            counts[shape] = counts.get(shape, 0) + pods
        simulation.close_node(row)
        for shape, pods in counts.items():
            simulation.remove_pod(shape, row, pods=pods)
        moves: list[_Move] = []
        waiting = sorted(counts.items(), key=lambda item: _size(item[0]), reverse=True)[::-1]
        while waiting and not (whole and moves and moves[-1].stranded):
            shape, pods = waiting.pop()
            # A volume may be bound to its zone: its pod is not taken to another one.
            within = simulation.same_domain(row, ZONE) if shape.claims else None
            moves.append(_Move(shape, row, pods, tuple(simulation.fill(shape, pods, within=within))))
        for shape, pods in waiting:
            simulation.add_pod(shape, row, pods=pods)
        return moves

    def _undo(self, moves: Sequence[_Move]) -> None:
        for move in reversed(moves):
            self._simulation.unfill(move.shape, move.placed)
        for move in moves:
            self._simulation.add_pod(move.shape, move.source, pods=move.pods)

    def _pays(self, names: Sequence[str], saving: float, *, net: float) -> bool:
        """Tell whether a removal that saves *saving* USD an hour is worth it; note why not, if it is one node."""
        enough = net > 0
        if enough and self._rules.consolidation is Consolidation.BALANCED:
            cost, disruption = self._totals
            score = balanced_score(
                saving,
                cost,
                disruption=sum(disruption_cost(self._moving(name)) for name in names),
                total_disruption=disruption,
            )
            enough = score >= self._rules.balanced_threshold
        if not enough and len(names) == 1:
            message = f"it costs {self._price(names[0]):.4f} USD an hour; moving its pods gains {net:.4f} USD in all"
            self._note(names[0], Reason(Code.SAVINGS_TOO_SMALL, message, (("net_usd", f"{net:.4f}"),)))
        return enough

    @property
    def _totals(self) -> tuple[float, float]:
        """Cost in USD an hour and disruption cost of all nodes."""
        if self._total is None:
            names = self._tenants.nodes
            self._total = (
                sum(self._price(name) for name in names),
                sum(disruption_cost(self._moving(name)) for name in names),
            )
        return self._total

    def _better(self, best: Removal | None, names: Sequence[str], rest: Demand, buy: Buy) -> Removal | None:
        """Return the better of *best* and replacing *names* by what *buy* sells for *rest*."""
        pods = sum(len(self._moving(name)) for name in names)
        removed, enough = sum(map(self._price, names)), best.net_usd if best else 0.0
        # Most often even the least that it could cost is too much: that is quick to see.
        if self._net(removed, self._least(rest), pods=pods) <= enough:
            return best
        offer = buy(rest) if rest else ((), 0.0)
        if offer is None:
            return best
        growth, bought = offer
        saving, net = removed - bought, self._net(removed, bought, pods=pods)
        if net <= enough or not self._pays(tuple(names), saving, net=net):
            return best
        return Removal(
            nodes=tuple(names), code=Code.CHEAPER_REPACK, pods=pods, growth=growth, usd_per_hour=-saving, net_usd=net
        )

    def _net(self, removed: float, bought: float, *, pods: int) -> float:
        """Return what is gained over the hold time when nodes give way to bought ones (prices in USD an hour)."""
        moves = self._rules.min_savings_per_eviction * pods
        return (removed - bought) * self._hours - moves - bought * self._boot / HOUR * 2

    def _least(self, rest: Demand) -> float:
        if self._floor is None:
            self._floor = PriceFloor(self._tenants.groups.values())
        return self._floor.of(rest)


def _size(shape: PodShape) -> tuple[int, int]:
    requests = effective_requests(shape)
    return requests.cpu, requests.memory
