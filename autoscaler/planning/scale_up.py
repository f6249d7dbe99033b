"""
Scale-up: which groups grow, and by how much, for pods that fit nowhere.

    pods → room that is there or on its way → asks → packing → spot rules and
    limits → replay on the scheduler's model, with a second wave where it
    strands pods → group sizes

Sizes are absolute with what is expected now, so that doing it twice is doing
it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.plan import PackedNode, SetGroupSize
from autoscaler.model.pod import PodShape
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.snapshot import Prices
from autoscaler.model.units import GIB
from autoscaler.planning.asks import Ask, Places, asks_of
from autoscaler.planning.cost import PurchaseLimits
from autoscaler.planning.coupled_packing import Coupled, pack_coupled
from autoscaler.planning.offers import Market, market_of
from autoscaler.planning.purchase import (
    Bought,
    Bundle,
    growth_of,
    list_usd,
    pack_asks,
    pods_in,
    within_limits,
)
from autoscaler.planning.removals import Buy, Demand, Growth
from autoscaler.planning.replay import Replay
from autoscaler.planning.shortfalls import why_nowhere
from autoscaler.planning.spot import SpotShare, with_less_spot
from autoscaler.scheduling.requirements import label_map, matches_node_affinity
from autoscaler.scheduling.simulation import Simulation

_WAVES = 5
_PRICED_BY_HAND, _PRICING_ROUNDS = 300, 3
"""Consolidation asks for many prices: up to so many pods without the solver, else with few rounds of it."""
_REPLAY_PODS = 5000
"""With more pods than this the plan is not replayed: the next decision sees what was stranded."""


class ScaleUpRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    What governs a purchase. `usd_per_eviction` prices spot interruptions.

    `rounds` is how long packing may improve; None fits it to the number of pods.
    """

    limits: PurchaseLimits = PurchaseLimits()
    spot: SpotShare = SpotShare()
    usd_per_eviction: float = 0.002
    replay_pods: int = _REPLAY_PODS
    rounds: int | None = None


class Stranded(msgspec.Struct, frozen=True, kw_only=True):
    """`count` pods of pending class `index` get no room, and why."""

    index: int
    count: int
    reasons: tuple[Reason, ...]


class ScaleUp(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to buy. `nodes` say which pods (pending class, count) each new node is for.

    `usd_per_hour` is the list price of all new nodes. `bound` is a certified
    lower bound, at planning prices, of what the same pods must cost; `gap` how
    far `price` (the nodes at planning prices) is above it, None where nothing
    is bought or limits cut the plan. `planned_price` is the price before the
    replay. `placed` counts the pods that fit on what is there.
    """

    sizes: tuple[SetGroupSize, ...] = ()
    nodes: tuple[PackedNode, ...] = ()
    stranded: tuple[Stranded, ...] = ()
    usd_per_hour: float = 0.0
    price: float = 0.0
    planned_price: float = 0.0
    bound: float = 0.0
    gap: float | None = None
    placed: int = 0
    prices: Prices = Prices()


def scale_up(
    pending: Demand,
    groups: Sequence[NodeGroup],
    *,
    now: float,
    simulation: Simulation | None = None,
    nodes: Sequence[Node] = (),
    rules: ScaleUpRules = ScaleUpRules(),  # noqa: B008 (frozen)
    growing: Mapping[str, int] | None = None,
) -> ScaleUp:
    """
    Return the cheapest growth that makes room for *pending* pods.

    *simulation* has the nodes that are there or on their way, with their pods;
    it is not changed. Pods that fit there need nothing. *nodes* are the same
    nodes as values. *growing* is what this decision has already added to groups,
    which `expected` of the sizes leaves out and `size` includes.
    """
    market = market_of(groups, now=now, usd_per_eviction=rules.usd_per_eviction, growing=growing)
    shapes = [shape for shape, _ in pending]
    there = simulation.fork() if simulation is not None else Simulation.of(())
    left = _fill_what_is_there(there, pending)
    placed = sum(max(0, count) for _, count in pending) - sum(left.values())
    if not left:
        return ScaleUp(placed=placed)
    buyer = _Buyer(market, shapes, rules, there=there, nodes=nodes)
    bundle = buyer.pack(left)
    chosen, refused = buyer.cut(bundle.nodes, ())
    served, left_over = _replay(buyer, chosen, left, refused=refused)
    facts = _Facts(
        placed, sum(node.offer.price for node in chosen), pods_in(bundle.nodes), bool(refused), growing or {}
    )
    return _result(buyer, bundle, served, left_over=left_over, facts=facts)


def buy_for(
    groups: Sequence[NodeGroup],
    *,
    now: float,
    rules: ScaleUpRules = ScaleUpRules(),  # noqa: B008 (frozen)
) -> Buy:
    """
    Return a function that prices new nodes for a demand, for consolidation.

    It gives ((group, nodes to add), by group name) and USD an hour at list
    price, or None when some pod fits on nothing on offer, or limits forbid it.
    """
    market = market_of(groups, now=now, usd_per_eviction=rules.usd_per_eviction)

    def buy(demand: Demand) -> tuple[Growth, float] | None:
        shapes = [shape for shape, _ in demand]
        wanted = {index: count for index, (_, count) in enumerate(demand) if count > 0}
        few = sum(wanted.values()) <= _PRICED_BY_HAND
        quick = msgspec.structs.replace(rules, rounds=0 if few else _PRICING_ROUNDS)
        buyer = _Buyer(market, shapes, quick, there=None, nodes=())
        chosen, refused = buyer.cut(buyer.pack(wanted).nodes, ())
        if refused or pods_in(chosen) != wanted:
            return None
        return tuple(growth_of(chosen).items()), list_usd(chosen)

    return buy


class _Facts(msgspec.Struct, frozen=True):
    placed: int
    planned_price: float
    planned_pods: Mapping[int, int]
    was_cut: bool
    growing: Mapping[str, int]


class _Buyer:
    """Packs demands of one pending list on one market."""

    def __init__(
        self,
        market: Market,
        shapes: Sequence[PodShape],
        rules: ScaleUpRules,
        *,
        there: Simulation | None,
        nodes: Sequence[Node],
    ) -> None:
        self.market, self.shapes, self.rules, self.there = market, shapes, rules, there
        self._nodes = nodes

    def pack(self, demand: Mapping[int, int], bought: Sequence[Bought] = ()) -> Bundle:
        """Pack pods by class; *bought* nodes have used up some room already."""
        market = self.market.without(growth_of(bought))
        coupled = self._coupled(demand, market)
        rest = {
            index: count - coupled.filled.get(index, 0)
            for index, count in sorted(demand.items())
            if index not in coupled.taken
        }
        market = market.without(growth_of(coupled.nodes))
        asks = [ask for index, count in rest.items() if count > 0 for ask in self._asks(index, count, market)]
        bundle = pack_asks(asks, self.shapes, market, rounds=self.rules.rounds)
        nodes = with_less_spot(bundle.nodes, asks, market=market, shapes=self.shapes, share=self.rules.spot)
        # The bound is for what was packed alone: it says nothing of the whole where some was not.
        bound = 0.0 if coupled.nodes else bundle.bound
        return msgspec.structs.replace(bundle, nodes=(*coupled.nodes, *nodes), bound=bound)

    def _coupled(self, demand: Mapping[int, int], market: Market) -> Coupled:
        """Pack the classes that rules tie together; where spot is limited, on demand."""
        if self.rules.spot.limits:
            market = market.only([not offer.is_spot for offer in market.offers], {})
        return pack_coupled(demand, self.shapes, market, there=self.there, nodes=self._nodes)

    def cut(self, nodes: Sequence[Bought], bought: Sequence[Bought]) -> tuple[list[Bought], list[Bought]]:
        """Split *nodes* into those that the limits allow besides *bought*, and the others."""
        limits = self.rules.limits
        left = PurchaseLimits(
            cpu=limits.cpu - sum(node.offer.template.allocatable.cpu for node in bought),
            memory=limits.memory - sum(node.offer.template.allocatable.memory for node in bought),
            usd_per_hour=limits.usd_per_hour - list_usd(bought),
            nodes=limits.nodes - len(bought),
        )
        return within_limits(nodes, self.shapes, left)

    def _asks(self, index: int, count: int, market: Market) -> list[Ask]:
        shape = self.shapes[index]
        coupled = shape.spread or shape.affinity.pod_required or shape.affinity.pod_anti_required
        places = self._places(shape) if coupled else Places()
        return asks_of(index, shape, count, market=market, places=places)

    def _places(self, shape: PodShape) -> Places:
        if self.there is None:
            return Places()
        pods = {self.there.names[row]: count for row, count in self.there.pods_of(shape).items()}
        labels = {
            node.name: label_map(node.labels)
            for node in self._nodes
            if matches_node_affinity(shape, label_map(node.labels), node.name)
        }
        return Places(pods=pods, labels=labels)


def _fill_what_is_there(there: Simulation, pending: Demand) -> dict[int, int]:
    """Place what fits on *there* (which changes), most important first; return the rest by class."""
    if not there.open.any():
        return {index: count for index, (_, count) in enumerate(pending) if count > 0}
    left: dict[int, int] = {}
    order = sorted(range(len(pending)), key=lambda index: (-pending[index][0].priority, index))
    for index in order:
        shape, count = pending[index]
        if count > 0:
            rest = count - sum(pods for _, pods in there.fill(shape, count))
            if rest:
                left[index] = rest
    return dict(sorted(left.items()))


def _replay(
    buyer: _Buyer, chosen: Sequence[Bought], demand: Mapping[int, int], *, refused: Sequence[Bought]
) -> tuple[Sequence[Bought], Mapping[int, int]]:
    """Return the nodes that the scheduler's model fills, second waves included, and the pods that still wait."""
    planned = pods_in(chosen)
    if not chosen or buyer.there is None or sum(planned.values()) > buyer.rules.replay_pods:
        return chosen, {
            index: count - planned.get(index, 0) for index, count in demand.items() if count > planned.get(index, 0)
        }
    replay = Replay(buyer.there, buyer.shapes)
    waiting = replay.add(chosen, demand)
    bought = list(chosen)
    for _ in range(_WAVES):
        more, _ = buyer.cut(buyer.pack(waiting, bought).nodes, bought) if waiting and not refused else ([], [])
        if not more:
            break
        before = sum(waiting.values())
        bought += more
        waiting = replay.add(more, {})
        if sum(waiting.values()) == before:
            break
    result = replay.result()
    return result.nodes, result.left


def _result(
    buyer: _Buyer, bundle: Bundle, served: Sequence[Bought], *, left_over: Mapping[int, int], facts: _Facts
) -> ScaleUp:
    price = sum(node.offer.price for node in served)
    worth = dict(bundle.worth)
    # The bound is for the pods that were packed: with fewer of them it would say too much.
    comparable = bundle.bound > 0 and pods_in(served) == facts.planned_pods
    return ScaleUp(
        sizes=_sizes(buyer.market, served, growing=facts.growing),
        nodes=tuple(
            PackedNode(
                group=node.offer.group.name,
                template=node.offer.template,
                usd_per_hour=node.offer.usd_per_hour,
                pods=node.pods,
            )
            for node in served
        ),
        stranded=_stranded(buyer, left_over, growth=growth_of(served), was_cut=facts.was_cut),
        usd_per_hour=list_usd(served),
        price=price,
        planned_price=facts.planned_price,
        bound=bundle.bound,
        gap=price / bundle.bound - 1.0 if comparable else None,
        placed=facts.placed,
        prices=Prices(
            usd_per_core_hour=worth.get("cpu", 0.0) * 1000,
            usd_per_gib_hour=worth.get("memory", 0.0) * GIB,
            usd_per_pod_hour=worth.get("pods", 0.0),
        ),
    )


def _sizes(market: Market, served: Sequence[Bought], *, growing: Mapping[str, int]) -> tuple[SetGroupSize, ...]:
    groups = {offer.group.name: offer for offer in market.offers}
    pods: dict[str, int] = {}
    for node in served:
        name = node.offer.group.name
        pods[name] = pods.get(name, 0) + sum(count for _, count in node.pods)
    sizes = []
    for name, added in growth_of(served).items():
        group, usd = groups[name].group, groups[name].usd_per_hour * added
        reason = Reason(
            Code.PENDING_PODS,
            f"{_plural(added, 'node')} for {_plural(pods[name], 'pod')} at {usd:.4g} USD an hour",
            (("nodes", str(added)), ("pods", str(pods[name]))),
        )
        size = group.target_size + growing.get(name, 0) + added
        sizes.append(
            SetGroupSize(group=name, size=size, expected=group.target_size, usd_per_hour=usd, reasons=(reason,))
        )
    return tuple(sizes)


def _stranded(
    buyer: _Buyer, left_over: Mapping[int, int], *, growth: Mapping[str, int], was_cut: bool
) -> tuple[Stranded, ...]:
    found = []
    for index, count in sorted(left_over.items()):
        reasons = why_nowhere(buyer.shapes[index], buyer.market, growth)
        if was_cut and buyer.market.admits(buyer.shapes[index]).any():
            reasons = (_limit_reason(buyer.rules.limits),)
        found.append(Stranded(index=index, count=count, reasons=reasons))
    return tuple(found)


def _limit_reason(limits: PurchaseLimits) -> Reason:
    if limits.usd_per_hour < float("inf"):
        return Reason(Code.BUDGET_REACHED, f"the money budget leaves {max(0.0, limits.usd_per_hour):.4g} USD an hour")
    return Reason(Code.LIMIT_REACHED, "a limit on the cluster's cores, memory or nodes allows no further node")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
