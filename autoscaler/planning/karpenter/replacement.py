"""
By what may nodes be replaced: by one cheaper node, and not by a step down the ladder of spot prices.

Source: Karpenter `pkg/controllers/disruption/consolidation.go`
(computeConsolidation, computeSpotToSpotConsolidation),
`multinodeconsolidation.go` (filterOutSameInstanceType) and
`pkg/cloudprovider/types.go` (WorstLaunchPrice), main of 2026-08-20.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import msgspec

from autoscaler.model.node import ON_DEMAND, SPOT
from autoscaler.planning.karpenter.candidates import Candidate
from autoscaler.planning.karpenter.claims import NodePool
from autoscaler.planning.karpenter.instance_types import Catalogue, TypeOption
from autoscaler.planning.karpenter.requirements import (
    CAPACITY_TYPE,
    WELL_KNOWN,
    Requirement,
    Requirements,
    requirement,
)
from autoscaler.planning.karpenter.solve import PlannedClaim

SPOT_TO_SPOT_TYPES = 15
"""So many cheaper types must there be before one spot node gives way to another."""
_KINDS = ("reserved", SPOT, ON_DEMAND)
"""Capacity types in the order in which a launch takes them."""


def cheaper_claim(
    claim: PlannedClaim, candidates: Sequence[Candidate], pool: NodePool, *, spot_to_spot: bool
) -> PlannedClaim | str:
    """
    Return *claim* with what may replace *candidates* only, or why nothing may.

    Each type must cost less than all of them together wherever it is launched.
    Where spot and on demand are allowed, spot alone stays: if there is none, the
    launch is to fail, and not to take something dearer.
    """
    below = sum(each.usd_per_hour for each in candidates)
    kinds = claim.requirements.get(CAPACITY_TYPE)
    may_be_spot = kinds is None or kinds.has(SPOT)
    if may_be_spot and all(each.node.capacity_type == SPOT for each in candidates):
        if not spot_to_spot:
            return "a spot node is not replaced by a spot node"
        return _next_spot(claim, below, pool, is_single=len(candidates) == 1)
    found = costing_less(claim, below, pool)
    if not found.types:
        return "nothing cheaper could replace it"
    may_be_both = kinds is None or (kinds.has(SPOT) and kinds.has(ON_DEMAND))
    found = _only_spot(found, pool) if may_be_both else found
    return found if found.types else "nothing cheaper could replace it on spot"


def without_same_types(claim: PlannedClaim, candidates: Sequence[Candidate], pool: NodePool) -> PlannedClaim:
    """
    Return *claim* with types cheaper than the cheapest of its own that is among *candidates*.

    A node of a type that goes away would better stay: that is a removal of the others.
    """
    cheapest: dict[str, float] = {}
    for each in candidates:
        cheapest[each.type] = min(each.usd_per_hour, cheapest.get(each.type, math.inf))
    below = min((cheapest[name] for name in claim.types if name in cheapest), default=math.inf)
    return costing_less(claim, below, pool)


def costing_less(claim: PlannedClaim, below: float, pool: NodePool) -> PlannedClaim:
    """Return *claim* with the types that cost less than *below* (USD an hour); with none where too few are left."""
    options = {option.name: option for option in pool.types}
    kept = [name for name in claim.types if _dearest(options[name], claim.requirements) < below]
    return with_types(claim, kept, pool)


def with_types(claim: PlannedClaim, kept: Collection[str], pool: NodePool) -> PlannedClaim:
    """Return *claim* with those of its types that are *kept*; with none where `minValues` asks for more."""
    options = {option.name: option for option in pool.types}
    prices = {name: _least(options[name], claim.requirements) for name in claim.types if name in kept}
    types = tuple(sorted((name for name in prices if prices[name] < math.inf), key=lambda name: (prices[name], name)))
    if claim.requirements.min_values:
        catalogue = Catalogue([options[name] for name in types], ())
        types = () if catalogue.short_of_values(catalogue.all, claim.requirements) else types
    cheapest = types[0] if types else ""
    return msgspec.structs.replace(
        claim, types=types, cheapest=cheapest, usd_per_hour=prices[cheapest] if types else math.inf
    )


def _next_spot(claim: PlannedClaim, below: float, pool: NodePool, *, is_single: bool) -> PlannedClaim | str:
    found = costing_less(_only_spot(claim, pool), below, pool)
    if not found.types:
        return "nothing cheaper could replace it"
    if not is_single:
        return found
    if len(found.types) < SPOT_TO_SPOT_TYPES:
        return f"{SPOT_TO_SPOT_TYPES} cheaper types must there be for a spot node, and there are {len(found.types)}"
    # Whatever of these is launched is then among the cheapest 15, and is not replaced again at once.
    return with_types(found, found.types[: max(SPOT_TO_SPOT_TYPES, _types_for_values(found, pool))], pool)


def _only_spot(claim: PlannedClaim, pool: NodePool) -> PlannedClaim:
    spot = Requirements.of([*claim.requirements.items, requirement(CAPACITY_TYPE, "In", (SPOT,))])
    return with_types(msgspec.structs.replace(claim, requirements=spot), claim.types, pool)


def _types_for_values(claim: PlannedClaim, pool: NodePool) -> int:
    """Return how many of the types, cheapest first, it takes for `minValues` to hold."""
    options = {option.name: option for option in pool.types}
    wanted = dict(claim.requirements.min_values)
    seen: dict[str, set[str]] = {key: set() for key in wanted}
    for count, name in enumerate(claim.types, start=1):
        for key in wanted:
            own: Requirement | None = options[name].requirements.get(key)
            seen[key].update(own.values if own is not None else ())
        if all(len(seen[key]) >= least for key, least in wanted.items()):
            return count
    return len(claim.types)


def _dearest(option: TypeOption, requirements: Requirements) -> float:
    """Return the highest price of the capacity type that a launch would take, infinite where there is none."""
    for kind in _KINDS:
        prices = [usd for each, usd in _offered(option, requirements) if each == kind]
        if prices:
            return max(prices)
    return math.inf


def _least(option: TypeOption, requirements: Requirements) -> float:
    return min((usd for _, usd in _offered(option, requirements)), default=math.inf)


def _offered(option: TypeOption, requirements: Requirements) -> list[tuple[str, float]]:
    """Return (capacity type, USD an hour) of what is on offer now and allowed."""
    found = []
    for each in option.offerings:
        if each.available and requirements.conflict(each.requirements, may_be_undefined=WELL_KNOWN) is None:
            kind = each.requirements.get(CAPACITY_TYPE)
            found.append(
                (next(iter(kind.values)) if kind is not None and kind.values else ON_DEMAND, each.usd_per_hour)
            )
    return found
