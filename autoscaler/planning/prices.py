"""What capacity is worth: the shadow prices of the snapshot, or an estimate from the cheapest group on offer."""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.model.node import NodeGroup
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import Prices
from autoscaler.model.units import GIB

_GIB_PER_CORE = 8.0
"""A core is taken as worth 8 GiB, as list prices of balanced machines have it."""


def prices_or_estimate(prices: Prices, groups: Sequence[NodeGroup]) -> Prices:
    """Return *prices* if any is set, else what the cheapest of *groups* charges for a core and its memory."""
    if prices.usd_per_core_hour or prices.usd_per_gib_hour:
        return prices
    best = 0.0
    for group in groups:
        offered = group.template.allocatable
        units = offered.cpu / 1000 + offered.memory / GIB / _GIB_PER_CORE
        if units > 0 and group.usd_per_hour > 0:
            price = group.usd_per_hour / units
            best = min(best, price) if best else price
    return Prices(usd_per_core_hour=best, usd_per_gib_hour=best / _GIB_PER_CORE)


def worth(requests: Resources, prices: Prices) -> float:
    """Return USD an hour that a pod with these requests is worth."""
    return (
        requests.cpu / 1000 * prices.usd_per_core_hour
        + requests.memory / GIB * prices.usd_per_gib_hour
        + prices.usd_per_pod_hour
    )
