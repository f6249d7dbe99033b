"""
What a pod gives up, one thing at a time, when it fits nowhere as it is.

Source: Karpenter `pkg/controllers/provisioning/scheduling/preferences.go`,
main of 2026-08-20.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, TypeVar

import msgspec

from autoscaler.model.placement import Affinity, Effect, Toleration
from autoscaler.model.pod import PodShape
from autoscaler.scheduling.topology import SOFT

TOLERATE_PREFER = Toleration(operator="Exists", effect=Effect.PREFER_NO_SCHEDULE)


class _Weighed(Protocol):
    @property
    def weight(self) -> int: ...


_Term = TypeVar("_Term", bound=_Weighed)


@lru_cache(maxsize=1 << 14)
def relaxed(shape: PodShape, *, tolerate_prefer_no_schedule: bool) -> PodShape | None:
    """
    Return the pod with one wish less, None when it has none left.

    In this order: a required node-affinity term while there is another; the
    heaviest preferred affinity to pods, then anti-affinity, then affinity to
    nodes; a soft spread; and last, if *tolerate_prefer_no_schedule* (some pool
    has such a taint), the dislike of PreferNoSchedule taints.
    """
    affinity = _less_affine(shape.affinity)
    if affinity is not None:
        return msgspec.structs.replace(shape, affinity=affinity)
    for at, constraint in enumerate(shape.spread):
        if constraint.when_unsatisfiable == SOFT:
            return msgspec.structs.replace(shape, spread=shape.spread[:at] + shape.spread[at + 1 :])
    if tolerate_prefer_no_schedule and TOLERATE_PREFER not in shape.tolerations:
        return msgspec.structs.replace(shape, tolerations=(*shape.tolerations, TOLERATE_PREFER))
    return None


def _less_affine(affinity: Affinity) -> Affinity | None:
    required = affinity.node_required
    if required is not None and len(required) > 1:
        return msgspec.structs.replace(affinity, node_required=required[1:])
    if affinity.pod_preferred:
        return msgspec.structs.replace(affinity, pod_preferred=_without_heaviest(affinity.pod_preferred))
    if affinity.pod_anti_preferred:
        return msgspec.structs.replace(affinity, pod_anti_preferred=_without_heaviest(affinity.pod_anti_preferred))
    if affinity.node_preferred:
        return msgspec.structs.replace(affinity, node_preferred=_without_heaviest(affinity.node_preferred))
    return None


def _without_heaviest(terms: Sequence[_Term]) -> tuple[_Term, ...]:
    return tuple(sorted(terms, key=lambda term: -term.weight)[1:])
