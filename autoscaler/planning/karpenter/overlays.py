"""
Overlays: prices and extended resources of instance types as a user sees them.

Source: Karpenter `pkg/controllers/nodeoverlay/{controller,store}.go`,
`pkg/apis/v1alpha1/nodeoverlay.go` and `pkg/cloudprovider/types.go`
(AdjustedPrice), main of 2026-08-20.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import msgspec

from autoscaler.model.resources import CPU, EPHEMERAL, MEMORY, PODS, Resources
from autoscaler.planning.karpenter.claims import NodePool
from autoscaler.planning.karpenter.instance_types import TypeOffering, TypeOption
from autoscaler.planning.karpenter.requirements import (
    NODE_POOL,
    WELL_KNOWN,
    Requirement,
    Requirements,
    requirement,
)

PRICE = re.compile(r"\d+(\.\d+)?", re.ASCII)
ADJUSTMENT = re.compile(r"[+-]\d*\.?\d+|\+\d*\.?\d+%|-\d{1,2}(\.\d+)?%|-100%", re.ASCII)
STANDARD_RESOURCES = (CPU, MEMORY, EPHEMERAL, PODS)
"""What an overlay may not set."""


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """
    A change to the offerings and types that `requirements` select.

    `price` is USD an hour; `adjustment` is added to the price (`+0.1`, `-0.1`)
    or a share of it (`-15%`); at most one of them. `capacity` adds extended
    resources. The highest `weight` counts, of equal ones the name that comes last.
    """

    name: str
    requirements: tuple[Requirement, ...] = ()
    price: str = ""
    adjustment: str = ""
    capacity: Resources = Resources()
    weight: int = 0


class Overlaid(msgspec.Struct, frozen=True, kw_only=True):
    """Pools with overlays applied, and the overlays that were left out since one of equal weight says otherwise."""

    pools: tuple[NodePool, ...]
    conflicting: tuple[str, ...] = ()


def overlaid(pools: Sequence[NodePool], overlays: Sequence[Overlay]) -> Overlaid:
    """
    Return *pools* as the overlays make them.

    An overlay that sets what one of the same weight has set already, for any
    type of any pool, is left out as a whole.
    """
    store = _Store()
    conflicting = []
    for overlay in sorted(sorted(overlays, key=lambda each: each.name, reverse=True), key=lambda each: -each.weight):
        selected = [
            (pool, option, offerings)
            for pool in pools
            for option in pool.types
            if (offerings := _selected(pool, option, Requirements.of(overlay.requirements)))
        ]
        if any(store.conflicts(overlay, pool, option, offerings) for pool, option, offerings in selected):
            conflicting.append(overlay.name)
            continue
        for pool, option, offerings in selected:
            store.note(overlay, pool, option, offerings)
    changed = [
        msgspec.structs.replace(pool, types=tuple(store.applied(pool, each) for each in pool.types)) for pool in pools
    ]
    return Overlaid(pools=tuple(changed), conflicting=tuple(sorted(conflicting)))


def adjusted(price: float, change: str) -> float:
    """
    Return a price, USD an hour, after *change*: an amount, or one to add, or a share; never below 0.

    >>> adjusted(2.0, "-25%"), adjusted(2.0, "+0.5"), adjusted(2.0, "0.7"), adjusted(2.0, "-3"), adjusted(2.0, "")
    (1.5, 2.5, 0.7, 0.0, 2.0)
    """
    if not change:
        return price
    if change[0] not in "+-":
        return float(change)
    if change.endswith("%"):
        return max(0.0, price * (1 + float(change[:-1]) / 100))
    return max(0.0, price + float(change))


class _Change(msgspec.Struct):
    """What counts for one thing, and the weight of the overlay that last named it."""

    value: str
    weight: int


class _Capacity(msgspec.Struct):
    amounts: dict[str, int]
    last: Resources
    weight: int


class _Store:
    """Changes by pool and type; overlays come by weight, the highest first."""

    def __init__(self) -> None:
        self._prices: dict[tuple[str, str, Requirements], _Change] = {}
        self._capacity: dict[tuple[str, str], _Capacity] = {}

    def conflicts(
        self, overlay: Overlay, pool: NodePool, option: TypeOption, offerings: Sequence[TypeOffering]
    ) -> bool:
        if overlay.price or overlay.adjustment:
            for each in offerings:
                known = self._prices.get((pool.name, option.name, each.requirements))
                if known is not None and known.weight == overlay.weight:
                    return True
        there = self._capacity.get((pool.name, option.name))
        if there is None or there.weight != overlay.weight:
            return False
        return any(there.last.has(name) for name in overlay.capacity.names())

    def note(self, overlay: Overlay, pool: NodePool, option: TypeOption, offerings: Sequence[TypeOffering]) -> None:
        change = overlay.price or overlay.adjustment
        for each in offerings if change else ():
            key = (pool.name, option.name, each.requirements)
            known = self._prices.setdefault(key, _Change(change, overlay.weight))
            known.weight = overlay.weight
        if overlay.capacity.amounts:
            there = self._capacity.setdefault((pool.name, option.name), _Capacity({}, overlay.capacity, overlay.weight))
            there.amounts = {**dict(overlay.capacity.items()), **there.amounts}
            there.last, there.weight = overlay.capacity, overlay.weight

    def applied(self, pool: NodePool, option: TypeOption) -> TypeOption:
        offerings = tuple(self._priced(pool, option))
        there = self._capacity.get((pool.name, option.name))
        if there is None:
            return msgspec.structs.replace(option, offerings=offerings)
        # A share that is reserved of an extended resource stays reserved.
        allocatable = dict(option.allocatable.items())
        for name, amount in there.amounts.items():
            allocatable[name] = amount - option.capacity.get(name) + option.allocatable.get(name)
        return msgspec.structs.replace(
            option,
            offerings=offerings,
            capacity=Resources.of({**dict(option.capacity.items()), **there.amounts}),
            allocatable=Resources.of(allocatable),
        )

    def _priced(self, pool: NodePool, option: TypeOption) -> Iterator[TypeOffering]:
        for each in option.offerings:
            change = self._prices.get((pool.name, option.name, each.requirements))
            if change is None:
                yield each
            else:
                yield msgspec.structs.replace(each, usd_per_hour=adjusted(each.usd_per_hour, change.value))


def _selected(pool: NodePool, option: TypeOption, asked: Requirements) -> list[TypeOffering]:
    """Return the offerings of a type that an overlay is about, none where the type is not."""
    own = Requirements.of(
        [
            requirement(NODE_POOL, "In", (pool.name,)),
            *Requirements.of_labels(pool.labels).items,
            *option.requirements.items,
        ]
    )
    if own.conflict(asked) is not None:
        return []
    return [each for each in option.offerings if asked.conflict(each.requirements, may_be_undefined=WELL_KNOWN) is None]


def overlay_problems(overlay: Overlay) -> Iterator[tuple[str, object, str]]:
    """Yield what is wrong with an overlay: field, what was found, what is allowed."""
    if overlay.price and overlay.adjustment:
        yield "priceAdjustment", overlay.adjustment, "nothing, since price is given"
    if overlay.price and not (PRICE.fullmatch(overlay.price) and math.isfinite(float(overlay.price))):
        yield "price", overlay.price, "US dollars an hour, such as 0.35"
    if overlay.adjustment and not ADJUSTMENT.fullmatch(overlay.adjustment):
        yield "priceAdjustment", overlay.adjustment, "an amount such as +0.1 or -0.1, or a share such as -15%"
    for name in overlay.capacity.names():
        if name in STANDARD_RESOURCES:
            yield f"capacity.{name}", overlay.capacity.get(name), "extended resources only"
