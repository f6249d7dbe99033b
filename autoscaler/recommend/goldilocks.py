"""
Goldilocks: a VPA's recommendation as two ways to write it into a template.

Source: FairwindsOps/goldilocks `docs/faq.md` (how the numbers are made) and
`pkg/utils/utils.go` (memory is shown in whole MiB, below one in whole KiB). It
is a display of the `vpa` engine in mode Recommend, not an engine of its own.
"""

from __future__ import annotations

import msgspec

from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import MEMORY, Resources
from autoscaler.model.units import MIB

_KIB = 1024


class QosProposal(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Requests and limits of one container for one quality of service."""

    container: str
    qos: str
    requests: Resources
    limits: Resources


def qos_proposals(size: ContainerSize) -> tuple[QosProposal, QosProposal]:
    """Return Guaranteed (the target as both) and Burstable (lower bound as request, upper bound as limit)."""
    lower, target, upper = (_shown(amounts) for amounts in (size.lower, size.target, size.upper))
    return (
        QosProposal(container=size.container, qos="Guaranteed", requests=target, limits=target),
        QosProposal(container=size.container, qos="Burstable", requests=lower, limits=upper),
    )


def _shown(amounts: Resources) -> Resources:
    if not amounts.has(MEMORY):
        return amounts
    step = _KIB if amounts.memory < MIB else MIB
    return amounts.with_(memory=-(-amounts.memory // step) * step)
