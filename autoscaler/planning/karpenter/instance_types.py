"""
Instance types as one pool sees them: which fit, which match, what they cost, as sets.

A claim keeps the *set* of types that it may still become, and narrows it with
every pod. Sets are integers with one bit for each type, so that narrowing is
one `and`; what each test allows is looked up, not computed anew.

Source: Karpenter `pkg/cloudprovider/types.go` (InstanceType, Offering,
OrderByPrice, SatisfiesMinValues, Truncate, Allocatable) and
`pkg/controllers/provisioning/scheduling/nodeclaim.go`
(filterInstanceTypesByRequirements), main of 2026-08-20.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from autoscaler.model.node import InstanceType
from autoscaler.model.resources import Resources
from autoscaler.planning.karpenter.requirements import (
    CAPACITY_TYPE,
    INSTANCE_TYPE,
    WELL_KNOWN,
    Requirement,
    Requirements,
    requirement,
)
from autoscaler.scheduling.topology import ZONE

MAX_IN_CLAIM, MAX_AT_LAUNCH = 600, 60
"""How many types, cheapest first, a claim carries, and how many of them a cloud is asked for at once (AWS)."""

TypeSet = int
"""A set of instance types: bit n is the n-th type of the catalogue."""


class TypeOffering(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One way to buy a type: `requirements` name its zone and its capacity type."""

    requirements: Requirements
    usd_per_hour: float
    available: bool = True


class TypeOption(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    An instance type that a pool offers.

    `requirements` say for every label which values a node of the type may
    have; `allocatable` is `capacity` less what kubelet and system reserve.
    """

    name: str
    requirements: Requirements
    capacity: Resources
    allocatable: Resources
    offerings: tuple[TypeOffering, ...] = ()


def type_option(instance: InstanceType) -> TypeOption:
    """Return a machine model as an option; its zones and capacity types are those on offer now."""
    offerings = tuple(
        TypeOffering(
            requirements=Requirements.of_labels([(ZONE, each.zone), (CAPACITY_TYPE, each.capacity_type)]),
            usd_per_hour=each.usd_per_hour,
            available=each.available,
        )
        for each in instance.offerings
    )
    there = [each for each in instance.offerings if each.available]
    own = [
        requirement(INSTANCE_TYPE, "In", (instance.name,)),
        requirement(ZONE, "In", tuple(sorted({each.zone for each in there}))),
        requirement(CAPACITY_TYPE, "In", tuple(sorted({each.capacity_type for each in there}))),
    ]
    return TypeOption(
        name=instance.name,
        requirements=Requirements.of([*own, *Requirements.of_labels(instance.labels).items]),
        capacity=instance.capacity,
        allocatable=instance.allocatable,
        offerings=offerings,
    )


class Catalogue:
    """All types of one pool. Answers are sets; equal questions are answered from memory."""

    def __init__(self, types: Sequence[TypeOption], resources: Sequence[str]) -> None:
        """*resources* names the columns of every amount that is asked about."""
        self.types = tuple(types)
        self.all: TypeSet = (1 << len(self.types)) - 1
        self._room = [_Ladder([each.allocatable.get(name) for each in self.types]) for name in resources]
        self._capacity: dict[str, _Ladder] = {}
        self._sound = _bits(min((a for _, a in each.allocatable.items()), default=0) >= 0 for each in self.types)
        self._offers = _offers(self.types)
        self._matching: dict[Requirement, TypeSet] = {}
        self._usable: dict[Requirements, TypeSet] = {}
        self._values: dict[str, tuple[TypeSet, ...]] = {}
        self._largest: dict[TypeSet, Resources] = {}
        self._prices: dict[Requirements, list[float]] = {}

    def names(self, types: TypeSet) -> tuple[str, ...]:
        return tuple(self.types[at].name for at in positions(types))

    def matching(self, requirements: Requirements) -> TypeSet:
        """Return the types of which no requirement conflicts."""
        found = self.all
        for each in requirements.items:
            known = self._matching.get(each)
            if known is None:
                known = self._matching[each] = _bits(_agrees(option, each) for option in self.types)
            found &= known
        return found

    def offered(self, requirements: Requirements) -> TypeSet:
        """Return the types with an available offering that the requirements allow."""
        found = 0
        for offering, types in self._offers.items():
            if types & ~found and requirements.conflict(offering, may_be_undefined=WELL_KNOWN) is None:
                found |= types
        return found

    def usable(self, requirements: Requirements) -> TypeSet:
        """Return the types that match and are offered."""
        found = self._usable.get(requirements)
        if found is None:
            found = self._usable[requirements] = self.matching(requirements) & self.offered(requirements)
        return found

    def fitting(self, amounts: Sequence[int]) -> TypeSet:
        """Return the types with at least so much allocatable of every resource."""
        found = self._sound
        for ladder, amount in zip(self._room, amounts, strict=True):
            if amount > 0:
                found &= ladder.at_least(amount)
        return found

    def within(self, limits: Mapping[str, int]) -> TypeSet:
        """Return the types whose capacity exceeds none of *limits*."""
        found = self.all
        for name, most in limits.items():
            ladder = self._capacity.get(name)
            if ladder is None:
                ladder = self._capacity[name] = _Ladder([each.capacity.get(name) for each in self.types])
            found &= ladder.at_most(most)
        return found

    def largest(self, types: TypeSet) -> Resources:
        """Return the largest capacity of each resource that any of *types* has."""
        found = self._largest.get(types)
        if found is None:
            found = Resources()
            for at in positions(types):
                found = found.largest(self.types[at].capacity)
            self._largest[types] = found
        return found

    def short_of_values(self, types: TypeSet, requirements: Requirements) -> dict[str, int]:
        """
        Return for each label with too few different values among *types* how many there are.

        Nothing where *types* is empty: then that is what is wrong.
        """
        short = {}
        for key, least in requirements.min_values if types else ():
            having = self._values.get(key)
            if having is None:
                having = self._values[key] = _having(self.types, key)
            count = sum(1 for each in having if each & types)
            if count < least:
                short[key] = count
        return short

    def prices(self, requirements: Requirements) -> Sequence[float]:
        """Return by type the least USD an hour within the requirements, infinite where it is not offered."""
        found = self._prices.get(requirements)
        if found is None:
            allowed = {
                offering
                for offering in self._offers
                if requirements.conflict(offering, may_be_undefined=WELL_KNOWN) is None
            }
            found = self._prices[requirements] = [
                min(
                    (each.usd_per_hour for each in option.offerings if each.available and each.requirements in allowed),
                    default=math.inf,
                )
                for option in self.types
            ]
        return found

    def by_price(self, types: TypeSet, requirements: Requirements) -> list[tuple[float, str]]:
        """Return (USD an hour, name) of *types*, cheapest first, ties by name."""
        prices = self.prices(requirements)
        return sorted((prices[at], self.types[at].name) for at in positions(types))

    def cheapest(self, types: TypeSet, requirements: Requirements) -> tuple[float, str]:
        """Return (USD an hour, name) of the cheapest of *types*, ties by name; infinite and "" where there is none."""
        prices = self.prices(requirements)
        return min(((prices[at], self.types[at].name) for at in positions(types)), default=(math.inf, ""))

    def cut(self, types: TypeSet, requirements: Requirements, *, most: int = MAX_IN_CLAIM) -> TypeSet:
        """Return the *most* cheapest of *types*; whether `min_values` survive is for the caller to ask."""
        if types.bit_count() <= most:
            return types
        prices = self.prices(requirements)
        kept = sorted(positions(types), key=lambda at: (prices[at], self.types[at].name))[:most]
        return sum(1 << at for at in kept)


def positions(types: TypeSet) -> Iterable[int]:
    """Yield the numbers in a set, ascending."""
    while types:
        lowest = types & -types
        yield lowest.bit_length() - 1
        types ^= lowest


class _Ladder:
    """Which types have at least, or at most, so much of one resource."""

    def __init__(self, amounts: Sequence[int]) -> None:
        order = sorted(range(len(amounts)), key=lambda at: amounts[at])
        self._amounts = [amounts[at] for at in order]
        self._from = [0] * (len(order) + 1)
        for place in range(len(order) - 1, -1, -1):
            self._from[place] = self._from[place + 1] | 1 << order[place]

    def at_least(self, amount: int) -> TypeSet:
        return self._from[bisect_left(self._amounts, amount)]

    def at_most(self, amount: int) -> TypeSet:
        return self._from[0] & ~self._from[bisect_right(self._amounts, amount)]


def _bits(flags: Iterable[bool]) -> TypeSet:
    return sum(1 << at for at, flag in enumerate(flags) if flag)


def _agrees(option: TypeOption, asked: Requirement) -> bool:
    own = option.requirements.get(asked.key)
    return own is None or own.meets(asked) or (own.is_negative and asked.is_negative)


def _offers(types: Sequence[TypeOption]) -> dict[Requirements, TypeSet]:
    """Return which types have an available offering, by what it requires."""
    found: dict[Requirements, TypeSet] = {}
    for at, option in enumerate(types):
        for each in option.offerings:
            if each.available:
                found[each.requirements] = found.get(each.requirements, 0) | 1 << at
    return found


def _having(types: Sequence[TypeOption], key: str) -> tuple[TypeSet, ...]:
    """Return for each value of a label which types may have it."""
    found: dict[str, TypeSet] = {}
    for at, option in enumerate(types):
        own = option.requirements.get(key)
        for value in own.values if own is not None else ():
            found[value] = found.get(value, 0) | 1 << at
    return tuple(found.values())
