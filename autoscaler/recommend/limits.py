"""
Limits that go with new requests, and requests that keep limits within bounds.

Rules: kubernetes/autoscaler, vertical-pod-autoscaler
`pkg/utils/vpa/limit_and_request_scaling.go`, version 1.8. A limit of 0 counts
as not set. Results are floored and computed without overflow, then cut to
2**63 - 1. Only cpu and memory are looked at.
"""

from __future__ import annotations

import msgspec

from autoscaler.model.policy import Limits
from autoscaler.model.resources import CPU, MEMORY, NOTHING, Resources

MAX_QUANTITY = 2**63 - 1
SIZED = (CPU, MEMORY)


class ScaledLimits(msgspec.Struct, frozen=True, gc=False):
    """The limits to set (none: set no limits) and, as the peer words it, why one is not as asked."""

    limits: Resources = NOTHING
    notes: tuple[str, ...] = ()


def scale(amount: int, *, by: int, base: int) -> int:
    """
    Return amount * by / base, floored and cut to 2**63 - 1; *base* must not be 0.

    >>> scale(100, by=3, base=7)
    42
    """
    return min(amount * by // base, MAX_QUANTITY)


def proportional_limits(
    limits: Resources, requests: Resources, recommended: Resources, *, default_limits: Resources = NOTHING
) -> ScaledLimits:
    """
    Return limits for *recommended* requests at the old limit : request ratio (GetProportionalLimit).

    *default_limits* are those of a LimitRange, used where no limit is set. No
    request means that request and limit are equal.

    >>> old = Resources.of(cpu=400), Resources.of(cpu=100)
    >>> proportional_limits(*old, Resources.of(cpu=150)).limits
    Resources(cpu=600m)
    """
    scaled: list[tuple[str, int]] = []
    notes: list[str] = []
    for name in SIZED:
        limit = limits.get(name) or default_limits.get(name)
        wanted = recommended.get(name)
        if not limit:
            notes.append(f"{name}: limit NOT set since originalLimit is nil or 0")
        elif not wanted:
            notes.append(f"{name}: limit NOT set since recommendedRequest is nil or 0")
        else:
            request = requests.get(name) or limit
            if limit != request and wanted * limit // request > MAX_QUANTITY:
                notes.append(f"{name}: failed to keep limit to request ratio; capping limit to int64")
            scaled.append((name, wanted if limit == request else scale(wanted, by=limit, base=request)))
    if not scaled:
        return ScaledLimits()
    return ScaledLimits(Resources(tuple(scaled)), tuple(notes))


def boundary_request(request: int, limit: int, boundary: int, *, default_limit: int = 0) -> int:
    """
    Return the request at which the proportional limit meets *boundary* (GetBoundaryRequest).

    All are amounts of one resource, 0 for not set. 0 is returned where there
    is no limit to be bounded.

    >>> boundary_request(100, 400, 1000), boundary_request(0, 400, 1000), boundary_request(100, 0, 1000)
    (250, 1000, 0)
    """
    limit = limit or default_limit
    if not limit:
        return 0
    if not request:
        return boundary
    return scale(request, by=boundary, base=limit)


def limits_for(policy: Limits, limits: Resources, requests: Resources, target: Resources) -> Resources | None:
    """Return what the limits become with *target* as requests: None leaves them alone."""
    if policy is Limits.GUARANTEED:
        return target.only(SIZED)
    if policy is Limits.KEEP_RATIO:
        scaled = proportional_limits(limits, requests, target).limits
        return scaled if scaled.amounts else None
    return None
