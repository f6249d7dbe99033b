"""
A purchase: single nodes bought for pods, made from a packing and cut to what is allowed.

Packing prices alike offers as one; here each node gets its group, the groups
are kept level (Cluster Autoscaler's balance-similar-node-groups), spot rules
and limits are applied.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from autoscaler.model.arrays import Bools, Floats, Ints
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import Resources
from autoscaler.planning.asks import Ask
from autoscaler.planning.cost import PurchaseLimits
from autoscaler.planning.offers import Market, Offer, resource_names
from autoscaler.scheduling.binpack import Packing, PackInput, pack
from autoscaler.scheduling.requests import node_demand


class Bought(msgspec.Struct, frozen=True, kw_only=True):
    """One new node of `offer` for `pods`: (pending class, count) by class."""

    offer: Offer
    pods: tuple[tuple[int, int], ...]


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes, with the packing's certified `bound` at planning prices and what a unit of each resource is worth."""

    nodes: tuple[Bought, ...] = ()
    bound: float = 0.0
    price: float = 0.0
    worth: tuple[tuple[str, float], ...] = ()


def pack_asks(asks: Sequence[Ask], shapes: Sequence[PodShape], market: Market, *, rounds: int | None = None) -> Bundle:
    """Return the nodes to buy for *asks*; what fits nowhere is left out."""
    if not asks or not market.offers:
        return Bundle()
    needs = [node_demand(shapes[ask.index]) for ask in asks]
    names = resource_names(needs)
    requests = np.array([[min(need.get(name), 1 << 53) for name in names] for need in needs], dtype=np.int64)
    compatible = np.array([ask.offers for ask in asks], dtype=bool)
    capacity, prices = market.capacity(names), market.prices()
    alike = _alike(capacity, prices, compatible)
    first = [rows[0] for rows in alike]
    packing = pack(
        PackInput(
            requests=requests,
            counts=np.array([ask.count for ask in asks], dtype=np.int64),
            capacity=capacity[first],
            usd_per_hour=prices[first],
            room=np.array([sum(market.offers[row].room for row in rows) for rows in alike], dtype=np.float64),
            compatible=compatible[:, first],
            max_per_node=np.array([ask.limit for ask in asks], dtype=np.int64),
        ),
        rounds=rounds,
    )
    return Bundle(
        nodes=tuple(_single_nodes(packing, asks, [[market.offers[row] for row in rows] for rows in alike])),
        bound=packing.bound,
        price=packing.usd_per_hour,
        worth=tuple(zip(names, packing.usd_per_unit, strict=True)),
    )


def _alike(capacity: Ints, prices: Floats, compatible: Bools) -> list[list[int]]:
    """Group offers that are the same to every ask; groups in order of their first offer."""
    groups: dict[tuple[bytes, float, bytes], list[int]] = {}
    for row in range(len(prices)):
        key = (capacity[row].tobytes(), float(prices[row]), compatible[:, row].tobytes())
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _single_nodes(packing: Packing, asks: Sequence[Ask], alike: Sequence[Sequence[Offer]]) -> list[Bought]:
    """Give every node a group: always the smallest of those alike that still has room."""
    level = [
        [(offer.group.target_size, offer.group.name, position, offer.room) for position, offer in enumerate(offers)]
        for offers in alike
    ]
    for heap in level:
        heapq.heapify(heap)
    nodes = []
    for pattern in packing.patterns:
        pods: dict[int, int] = {}
        for ask, count in pattern.pods:
            pods[asks[ask].index] = pods.get(asks[ask].index, 0) + count
        content = tuple(sorted(pods.items()))
        heap = level[pattern.offer]
        for _ in range(pattern.repeat):
            size, name, position, room = heap[0]
            nodes.append(Bought(offer=alike[pattern.offer][position], pods=content))
            if room > 1:
                heapq.heapreplace(heap, (size + 1, name, position, room - 1))
            else:
                heapq.heappop(heap)
    return nodes


def within_limits(
    nodes: Sequence[Bought], shapes: Sequence[PodShape], limits: PurchaseLimits
) -> tuple[list[Bought], list[Bought]]:
    """
    Return the nodes that the limits allow, and the others; nodes with the most important pods go first.

    A node that would break a limit is passed over, so a smaller one after it may still be taken.
    """
    order = sorted(
        range(len(nodes)), key=lambda at: -max((shapes[row].priority for row, _ in nodes[at].pods), default=0)
    )
    spent = Resources()
    kept: set[int] = set()
    usd = 0.0
    for at in order:
        offer = nodes[at].offer
        total = spent + offer.template.allocatable
        if (
            total.cpu <= limits.cpu
            and total.memory <= limits.memory
            and usd + offer.usd_per_hour <= limits.usd_per_hour
            and len(kept) + 1 <= limits.nodes
        ):
            kept.add(at)
            spent, usd = total, usd + offer.usd_per_hour
    return [node for at, node in enumerate(nodes) if at in kept], [
        node for at, node in enumerate(nodes) if at not in kept
    ]


def growth_of(nodes: Sequence[Bought]) -> Mapping[str, int]:
    """Count nodes by group, in name order."""
    growth: dict[str, int] = {}
    for node in nodes:
        growth[node.offer.group.name] = growth.get(node.offer.group.name, 0) + 1
    return dict(sorted(growth.items()))


def list_usd(nodes: Sequence[Bought]) -> float:
    """Return the list price of *nodes*, USD an hour."""
    return float(sum(node.offer.usd_per_hour for node in nodes))


def pods_in(nodes: Sequence[Bought]) -> dict[int, int]:
    """Count the pods on *nodes* by pending class."""
    pods: dict[int, int] = {}
    for node in nodes:
        for row, count in node.pods:
            pods[row] = pods.get(row, 0) + count
    return pods
