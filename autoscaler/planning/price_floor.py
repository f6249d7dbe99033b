"""What new nodes for some pods cost at least: a bound that takes no packing to find."""

from __future__ import annotations

import math
from collections.abc import Iterable

from autoscaler.model.node import NodeGroup
from autoscaler.planning.cost import list_price, room_of
from autoscaler.planning.removals import Demand
from autoscaler.scheduling.requests import node_demand

_MOST = 1 << 53
"""Larger amounts are cut to this, so that no product of two is beyond a float."""
_ROUNDING = 1 - 1e-9


class PriceFloor:
    """
    The bound for nodes of *groups*, at list prices.

    No packing is cheaper than the cheapest unit of each resource times what is
    asked of it, nor than the cheapest node times the nodes that the largest
    ones would be.
    """

    def __init__(self, groups: Iterable[NodeGroup]) -> None:
        self._largest: dict[str, int] = {}
        self._usd_per_unit: dict[str, float] = {}
        self._cheapest = math.inf
        for group in groups:
            usd = list_price(group)
            self._cheapest = min(self._cheapest, usd)
            for name, amount in room_of(group).items():
                if amount > 0:
                    self._largest[name] = max(self._largest.get(name, 0), min(amount, _MOST))
                    self._usd_per_unit[name] = min(self._usd_per_unit.get(name, math.inf), usd / min(amount, _MOST))

    def of(self, demand: Demand) -> float:
        """Return USD an hour that nodes for *demand* cost at least; infinite where they cannot be bought."""
        asked: dict[str, int] = {}
        for shape, count in demand:
            for name, amount in node_demand(shape).items():
                asked[name] = asked.get(name, 0) + min(amount, _MOST) * max(0, min(count, _MOST))
        least, nodes = 0.0, 0.0
        for name, amount in asked.items():
            if amount > 0 and name not in self._largest:
                return math.inf
            if amount > 0:
                least = max(least, amount * self._usd_per_unit[name])
                nodes = max(nodes, amount / self._largest[name])
        return _ROUNDING * max(least, math.ceil(nodes * _ROUNDING) * self._cheapest if nodes else 0.0)
