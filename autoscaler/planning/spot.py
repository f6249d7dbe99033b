"""How much of the capacity may be interrupted: a share on spot at most, and a base on demand at least."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autoscaler.model.node import SPOT, Node
from autoscaler.model.pod import PodShape
from autoscaler.planning.asks import Ask
from autoscaler.planning.offers import Market
from autoscaler.planning.purchase import Bought, growth_of, pack_asks


class SpotShare(msgspec.Struct, frozen=True, kw_only=True):
    """
    The rules, with what is there: `max_share` of millicores (0 to 1) on spot, `base` nodes on demand first.

    `spot_cpu` and `all_cpu` are millicores of the cluster's nodes now,
    `on_demand_nodes` counts them.
    """

    max_share: float = 1.0
    base: int = 0
    spot_cpu: int = 0
    all_cpu: int = 0
    on_demand_nodes: int = 0

    @property
    def limits(self) -> bool:
        """Tell whether the rules can forbid a spot node at all."""
        return self.max_share < 1.0 or self.base > self.on_demand_nodes

    @classmethod
    def of(cls, nodes: Sequence[Node], *, max_share: float, base: int) -> SpotShare:
        """Count *nodes*, those on their way included."""
        spot = [node for node in nodes if node.capacity_type == SPOT]
        return cls(
            max_share=max_share,
            base=base,
            spot_cpu=sum(node.allocatable.cpu for node in spot),
            all_cpu=sum(node.allocatable.cpu for node in nodes),
            on_demand_nodes=len(nodes) - len(spot),
        )


def with_less_spot(
    nodes: Sequence[Bought], asks: Sequence[Ask], *, market: Market, shapes: Sequence[PodShape], share: SpotShare
) -> tuple[Bought, ...]:
    """
    Return *nodes* with as few spot nodes replaced by on-demand ones as the rules ask for.

    The dearest spot nodes per core go first. Pods that fit on no on-demand
    offer are then left without a node.
    """
    surplus = _surplus(nodes, share)
    if not surplus:
        return tuple(nodes)
    kept = [node for at, node in enumerate(nodes) if at not in surplus]
    moved: dict[int, int] = {}
    for at in surplus:
        for index, count in nodes[at].pods:
            moved[index] = moved.get(index, 0) + count
    growth = growth_of(kept)
    rooms = {offer.group.name: offer.room - growth.get(offer.group.name, 0) for offer in market.offers}
    open_ = [not offer.is_spot and rooms[offer.group.name] > 0 for offer in market.offers]
    smaller = market.only([not offer.is_spot for offer in market.offers], rooms)
    again = []
    for ask in asks:
        count = min(ask.count, moved.get(ask.index, 0))
        if count:
            moved[ask.index] -= count
            again.append(msgspec.structs.replace(ask, count=count, offers=ask.offers[open_]))
    return (*kept, *pack_asks(again, shapes, smaller).nodes)


def _surplus(nodes: Sequence[Bought], share: SpotShare) -> frozenset[int]:
    """Return which of *nodes* must not be spot."""
    cpu = [node.offer.template.allocatable.cpu for node in nodes]
    spot = [at for at, node in enumerate(nodes) if node.offer.is_spot]
    over = share.spot_cpu + sum(cpu[at] for at in spot) - share.max_share * (share.all_cpu + sum(cpu))
    missing = share.base - share.on_demand_nodes - (len(nodes) - len(spot))
    moved: set[int] = set()
    for at in sorted(spot, key=lambda at: (-nodes[at].offer.price / max(cpu[at], 1), at)):
        if over <= 0 and len(moved) >= missing:
            break
        moved.add(at)
        over -= cpu[at]
    return frozenset(moved)
