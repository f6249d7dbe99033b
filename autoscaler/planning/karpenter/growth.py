"""
From claims to group sizes: each claim takes a node of the cheapest group that still fits.

Karpenter asks the cloud for any of a claim's types, on demand at the lowest
price; node groups are asked for one size each, so the choice is made here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.node import NodeGroup
from autoscaler.model.plan import SetGroupSize
from autoscaler.model.reasons import Code, Reason
from autoscaler.planning.cost import room_of
from autoscaler.planning.karpenter.instance_types import TypeOption
from autoscaler.planning.karpenter.requirements import WELL_KNOWN, Requirements
from autoscaler.planning.karpenter.scene import Scene, may_grow
from autoscaler.planning.karpenter.solve import PlannedClaim


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """New sizes of groups, and the claims for which no group had room."""

    sizes: tuple[SetGroupSize, ...] = ()
    unmet: tuple[PlannedClaim, ...] = ()


def growth_of(claims: Sequence[PlannedClaim], scene: Scene, *, now: float) -> Growth:
    """
    Return the sizes that give every claim a node.

    Of equally cheap groups the smallest grows, ties by name. A claim whose
    groups are all at their maximum is unmet, and its pods wait.
    """
    book = _Book(scene, now)
    gained: dict[str, int] = {}
    pods: dict[str, int] = {}
    unmet = []
    for claim in claims:
        group = book.cheapest(claim, gained)
        if group is None:
            unmet.append(claim)
        else:
            gained[group.name] = gained.get(group.name, 0) + 1
            pods[group.name] = pods.get(group.name, 0) + len(claim.pods)
    sizes = [_size(book.groups[name], gain, pods[name]) for name, gain in sorted(gained.items())]
    return Growth(sizes=tuple(sizes), unmet=tuple(unmet))


def groups_for(
    claims: Sequence[PlannedClaim], scene: Scene, *, now: float, gained: Mapping[str, int]
) -> dict[str, int] | None:
    """
    Return how many nodes each group gains when every claim takes one, None where one of them finds no room.

    *gained* is what groups have been given before, in the same decision.
    """
    book, taken, mine = _Book(scene, now), dict(gained), dict[str, int]()
    for claim in claims:
        group = book.cheapest(claim, taken)
        if group is None:
            return None
        taken[group.name] = taken.get(group.name, 0) + 1
        mine[group.name] = mine.get(group.name, 0) + 1
    return mine


class _Book:
    """Which groups a claim may take a node of, cheapest first; claims that are alike are asked for once."""

    def __init__(self, scene: Scene, now: float) -> None:
        self._scene, self._now = scene, now
        self.groups = {group.name: group for groups in scene.groups.values() for group in groups}
        self._types = {pool.name: {option.name: option for option in pool.types} for pool in scene.pools}
        self._known: dict[tuple[str, tuple[str, ...], Requirements], list[tuple[float, NodeGroup]]] = {}

    def cheapest(self, claim: PlannedClaim, gained: Mapping[str, int]) -> NodeGroup | None:
        price, able = math.inf, list[NodeGroup]()
        for usd, group in self._choices(claim):
            if usd > price:
                break
            full = group.target_size + gained.get(group.name, 0) >= group.max_size
            if not full and claim.requests.fits_in(room_of(group)):
                price = usd
                able.append(group)
        size = {group.name: group.target_size + gained.get(group.name, 0) for group in able}
        return min(able, key=lambda group: (size[group.name], group.name), default=None)

    def _choices(self, claim: PlannedClaim) -> list[tuple[float, NodeGroup]]:
        key = (claim.pool, claim.types, claim.requirements)
        found = self._known.get(key)
        if found is None:
            kinds = set(claim.types)
            found = [
                (usd, group)
                for group in self._scene.groups[claim.pool]
                if group.template.instance_type in kinds and may_grow(group, self._now)
                if (usd := self._price(group, claim)) < math.inf
            ]
            found.sort(key=lambda each: (each[0], each[1].name))
            self._known[key] = found
        return found

    def _price(self, group: NodeGroup, claim: PlannedClaim) -> float:
        """Return USD an hour of the group's offering, infinite where the claim does not allow it."""
        option: TypeOption = self._types[claim.pool][group.template.instance_type]
        labels = self._scene.labels[group.name]
        for each in option.offerings:
            mine = all(labels.get(one.key) in one.values for one in each.requirements.items)
            if mine and claim.requirements.conflict(each.requirements, may_be_undefined=WELL_KNOWN) is None:
                return each.usd_per_hour
        return math.inf


def _size(group: NodeGroup, gain: int, pods: int) -> SetGroupSize:
    usd = group.usd_per_hour * gain
    nodes = f"{gain} node{'' if gain == 1 else 's'}"
    reason = Reason(
        Code.PENDING_PODS,
        f"{nodes} for {pods} pod{'' if pods == 1 else 's'} at {usd:.4g} USD an hour",
        (("nodes", str(gain)), ("pods", str(pods))),
    )
    return SetGroupSize(
        group=group.name,
        size=group.target_size + gain,
        expected=group.target_size,
        usd_per_hour=usd,
        reasons=(reason,),
    )
