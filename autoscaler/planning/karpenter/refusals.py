"""
Why a pool cannot have a node for a pod.

Source of the words: Karpenter
`pkg/controllers/provisioning/scheduling/nodeclaim.go`
(InstanceTypeFilterError), main of 2026-08-20.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from autoscaler.planning.karpenter.instance_types import Catalogue, TypeSet
from autoscaler.planning.karpenter.requirements import Requirements


class Refusal(enum.StrEnum):
    TAINT = "taint_not_tolerated"
    REQUIREMENTS = "incompatible_requirements"
    TOPOLOGY = "unsatisfiable_topology"
    LIMITS = "nodepool_limits"
    MIN_VALUES = "min_values"
    NO_TYPES = "nodepool requirements filtered out all available instance types"
    NEITHER = "no instance type met the scheduling requirements or had enough resources or had a required offering"
    NOT_MATCHING_OR_LARGE = "no instance type met the scheduling requirements or had enough resources"
    NOT_MATCHING_OR_OFFERED = "no instance type met the scheduling requirements or had a required offering"
    NOT_LARGE_OR_OFFERED = "no instance type had enough resources or had a required offering"
    NOT_MATCHING = "no instance type met all requirements"
    NOT_LARGE = "no instance type has enough resources"
    NOT_OFFERED = "no instance type has the required offering"
    PAIR_NOT_OFFERED = (
        "no instance type which met the scheduling requirements and had enough resources, had a required offering"
    )
    PAIR_NOT_MATCHING = (
        "no instance type which had enough resources and the required offering met the scheduling requirements"
    )
    PAIR_NOT_LARGE = (
        "no instance type which met the scheduling requirements and the required offering had the required resources"
    )
    NOT_ALL = "no instance type met the requirements/resources/offering tuple"


_SINGLY = {
    (False, False, False): Refusal.NEITHER,
    (False, False, True): Refusal.NOT_MATCHING_OR_LARGE,
    (False, True, False): Refusal.NOT_MATCHING_OR_OFFERED,
    (True, False, False): Refusal.NOT_LARGE_OR_OFFERED,
    (False, True, True): Refusal.NOT_MATCHING,
    (True, False, True): Refusal.NOT_LARGE,
    (True, True, False): Refusal.NOT_OFFERED,
}
"""By whether any type matches, is large enough, is offered."""


def of_types(
    catalogue: Catalogue, requirements: Requirements, tried: Sequence[tuple[TypeSet, Sequence[int]]]
) -> Refusal:
    """Return why no type is left: the first test, or pair of tests, that no type passes."""
    matching, offered = catalogue.matching(requirements), catalogue.offered(requirements)
    asked = large = 0
    for types, wanted in tried:
        asked |= types
        large |= types & catalogue.fitting(wanted)
    matching, offered = matching & asked, offered & asked
    singly = _SINGLY.get((bool(matching), bool(large), bool(offered)))
    if singly is not None:
        return singly
    if matching & large:
        return Refusal.PAIR_NOT_OFFERED
    if large & offered:
        return Refusal.PAIR_NOT_MATCHING
    return Refusal.PAIR_NOT_LARGE if matching & offered else Refusal.NOT_ALL
