"""What is not to be had for now, by instance type, zone and way of buying."""

from __future__ import annotations

import re
from collections.abc import Iterable

from autoscaler.providers.aws.failures import CAPACITY_SECONDS

_TYPE = re.compile(r"\b[a-z][a-z0-9-]*\.(?:metal(?:-\d+xl)?|\d*x?(?:nano|micro|small|medium|large))\b")
_ZONE = re.compile(r"\(([a-z]{2}(?:-[a-z]+)+-\d[a-z])\)")
_NO_CAPACITY = re.compile(
    r"Insufficient\w*Capacity|sufficient .*capacity|no Spot capacity|UnfulfillableCapacity"
    r"|MaxSpotInstanceCountExceeded|VcpuLimitExceeded|vCPU limit",
    re.IGNORECASE,
)

Offer = tuple[str, str, str]
"""Instance type, zone, capacity type."""


class Outages:
    """Offers that AWS said it has none of, each until a time (epoch seconds)."""

    def __init__(self) -> None:
        self._until: dict[Offer, float] = {}

    def remember(self, offers: Iterable[Offer], *, since: float) -> None:
        """Take note that *offers* were sold out at *since*."""
        for offer in offers:
            self._until[offer] = max(self._until.get(offer, 0.0), since + CAPACITY_SECONDS)

    def until(self, offers: Iterable[Offer], *, now: float) -> float:
        """Return when the first of *offers* may be tried again, 0 if one may be tried now."""
        self._until = {offer: until for offer, until in self._until.items() if until > now}
        return min((self._until.get(offer, 0.0) for offer in offers), default=0.0)


def is_outage(message: str) -> bool:
    """Tell whether a failed launch was for want of capacity, or of quota, and not for another fault."""
    return _NO_CAPACITY.search(message) is not None


def offers_in(message: str, offers: Iterable[Offer]) -> list[Offer]:
    """
    Return those of *offers* that AWS's *message* about a failed launch is about; all, where it names none.

    >>> said = "We currently do not have sufficient m5.large capacity in the zone you requested (eu-west-1a)."
    >>> offers_in(said, [("m5.large", "eu-west-1a", "spot"), ("m5.xlarge", "eu-west-1a", "spot")])
    [('m5.large', 'eu-west-1a', 'spot')]
    """
    kinds, zones, known = set(_TYPE.findall(message)), set(_ZONE.findall(message)), list(offers)
    met = [offer for offer in known if (not kinds or offer[0] in kinds) and (not zones or offer[1] in zones)]
    return met or known
