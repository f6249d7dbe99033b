"""
Fits recommended sizes to what policies, limits, LimitRanges and nodes allow.

Rules: kubernetes/autoscaler, vertical-pod-autoscaler `pkg/utils/vpa/capping.go`,
version 1.8 (`apply_policy` is ApplyVPAPolicy, `fit_to_pod` is the admission-time
processor). Container by container: first the container LimitRange,
then the minimum of the policy, then its maximum, so that the maximum wins a
conflict, and at last the limits that stay. A bound of 0 is no bound; a resource
without a recommendation gets none.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from autoscaler.model.bounds import ANY_CONTAINER
from autoscaler.model.pod import Container
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.recommend.limits import SIZED, boundary_request, proportional_limits, scale

FIELDS = ("target", "lower", "upper")


class SizeBounds(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    The bounds of one container's requests; `*` is for all others.

    A resource that `max_allowed` names is not subject to a global maximum,
    also if it names 0. `keep_limits` leaves limits alone, so requests may not
    exceed them.
    """

    container: str = ANY_CONTAINER
    min_allowed: Resources = NOTHING
    max_allowed: Resources = NOTHING
    keep_limits: bool = False


class LimitRange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One item of a LimitRange; minimum and maximum bound limits, the minimum also requests."""

    min: Resources = NOTHING
    max: Resources = NOTHING
    default: Resources = NOTHING


class Fitted(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Sizes and, by container, what was done to the target, in the peer's words.

    `refused` says why the sizes were left as they came, "" where they were fitted.
    """

    sizes: tuple[ContainerSize, ...]
    notes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    refused: str = ""


def bounds_of(container: str, bounds: Sequence[SizeBounds]) -> SizeBounds:
    """Return the container's own bounds (the first), else those of `*` (the last), else none."""
    own = next((item for item in bounds if item.container == container), None)
    every = next((item for item in reversed(bounds) if item.container == ANY_CONTAINER), None)
    return own or every or SizeBounds(container=container)


def apply_policy(
    sizes: Sequence[ContainerSize], bounds: Sequence[SizeBounds], *, global_max: Resources = NOTHING
) -> tuple[ContainerSize, ...]:
    """Return *sizes* with target and bounds moved into what the policy allows; `uncapped` stays."""
    fitted = []
    for size in sizes:
        own = bounds_of(size.container, bounds)
        top = Resources.of({**dict(global_max.amounts), **dict(own.max_allowed.amounts)})
        fitted.append(
            replace(size, **{field: _clamp(getattr(size, field), own.min_allowed, top)[0] for field in FIELDS})
        )
    return tuple(fitted)


def fit_to_pod(
    sizes: Sequence[ContainerSize],
    containers: Sequence[Container],
    bounds: Sequence[SizeBounds] = (),
    *,
    container_range: LimitRange | None = None,
    pod_range: LimitRange | None = None,
) -> Fitted:
    """
    Return sizes that a pod of *containers* can be admitted with; sizes of other containers are dropped.

    With a *pod_range*, containers without a recommendation count with what
    they ask for and are sized in turn. Where the range must change a size
    that such a container does not have, the peer crashes: here the sizes are
    returned as they came, with the reason.
    """
    by_name = {container.name: container for container in containers}
    kept = [size for size in sizes if size.container in by_name]
    if pod_range is not None:
        scaled = _fit_to_pod_range(kept, containers, pod_range)
        if scaled is None:
            return Fitted(
                sizes=tuple(sizes), refused="the pod's LimitRange must change a container without a recommendation"
            )
        kept = scaled
    fitted: list[ContainerSize] = []
    notes: list[tuple[str, tuple[str, ...]]] = []
    for size in kept:
        own = bounds_of(size.container, bounds)
        results = {
            field: _fit_amounts(getattr(size, field), by_name[size.container], own, container_range) for field in FIELDS
        }
        fitted.append(replace(size, **{field: amounts for field, (amounts, _) in results.items()}))
        if results["target"][1]:
            notes.append((size.container, results["target"][1]))
    return Fitted(sizes=tuple(fitted), notes=tuple(notes))


def fit_to_total(
    sizes: Sequence[ContainerSize], most: Resources, *, least: Resources = NOTHING
) -> tuple[ContainerSize, ...]:
    """
    Return *sizes* whose sum is at least *least* and at most *most*, each scaled alike; *most* wins a conflict.

    Names that are not given are unbounded.

    >>> big = ContainerSize(container="app", target=Resources.of(cpu=900))
    >>> fit_to_total([big, big], Resources.of(cpu=1000))[0].target
    Resources(cpu=500m)
    """
    changes: list[dict[str, Resources]] = [{} for _ in sizes]
    for field in FIELDS:
        amounts: list[Resources] = [getattr(size, field) for size in sizes]
        for name in SIZED:
            total = sum(amount.get(name) for amount in amounts)
            wanted = max(total, least.get(name))
            wanted = min(wanted, max(0, most.get(name))) if most.has(name) else wanted
            if wanted != total and total > 0:
                amounts = [_scaled(amount, name, by=wanted, base=total) for amount in amounts]
        for change, amount in zip(changes, amounts, strict=True):
            change[field] = amount
    return tuple(replace(size, **change) for size, change in zip(sizes, changes, strict=True))


def _fit_amounts(
    amounts: Resources, container: Container, bounds: SizeBounds, limit_range: LimitRange | None
) -> tuple[Resources, tuple[str, ...]]:
    notes: list[str] = []
    if limit_range is not None:
        low, high = _range_of(container, limit_range)
        amounts, capped = _clamp(amounts, low, high)
        notes += [f"{name} capped to fit {end} in container LimitRange" for name, end in capped]
    amounts, capped = _clamp(amounts, bounds.min_allowed, bounds.max_allowed)
    notes += [f"{name} capped to {end.lower()}Allowed" for name, end in capped]
    if bounds.keep_limits:
        amounts, capped = _clamp(amounts, NOTHING, container.limits)
        notes += [f"{name} capped to container limit" for name, _ in capped]
    return amounts, tuple(notes)


def _clamp(amounts: Resources, minimum: Resources, maximum: Resources) -> tuple[Resources, list[tuple[str, str]]]:
    """Raise to the minimum, then lower to the maximum; also tell which end ("Min", "Max") bound which name."""
    fitted: list[tuple[str, int]] = []
    capped: list[tuple[str, str]] = []
    for name, amount in amounts.items():
        low, high = minimum.get(name), maximum.get(name)
        raised = low if low and amount < low else amount
        lowered = high if high and raised > high else raised
        capped += [(name, end) for end, bound in (("Min", raised > amount), ("Max", lowered < raised)) if bound]
        fitted.append((name, lowered))
    return Resources(tuple(fitted)), capped


def _range_of(container: Container, limit_range: LimitRange) -> tuple[Resources, Resources]:
    """Return the least and the most a container may ask for, that its proportional limit stay within the range."""
    low: list[tuple[str, int]] = []
    high: list[tuple[str, int]] = []
    for name in SIZED:
        request, limit = container.requests.get(name), container.limits.get(name)
        default = limit_range.default.get(name)
        least, most = limit_range.min.get(name), limit_range.max.get(name)
        low.append((name, max(least, boundary_request(request, limit, least, default_limit=default))))
        high.append((name, boundary_request(request, limit, most, default_limit=default)))
    return Resources(tuple(low)), Resources(tuple(high))


def _fit_to_pod_range(
    sizes: Sequence[ContainerSize], containers: Sequence[Container], pod_range: LimitRange
) -> list[ContainerSize] | None:
    """Scale all containers alike so that limits and requests of the pod fit the range; None where that cannot be."""
    known = {size.container for size in sizes}
    all_sizes = [
        *sizes,
        *(
            ContainerSize(container=container.name, target=container.requests.only(SIZED))
            for container in containers
            if container.name not in known and container.requests.amounts
        ),
    ]
    for name in SIZED:
        for field in FIELDS:
            ratio = _pod_ratio(all_sizes, containers, pod_range, field=field, name=name)
            if ratio is None:
                continue
            sized = [size for size in all_sizes if getattr(size, field).amounts]
            if len(sized) < len(containers):
                return None
            all_sizes = [
                replace(size, **{field: _scaled(getattr(size, field), name, by=ratio[0], base=ratio[1])})
                for size in all_sizes
            ]
    return all_sizes


def _pod_ratio(
    sizes: Sequence[ContainerSize],
    containers: Sequence[Container],
    pod_range: LimitRange,
    *,
    field: str,
    name: str,
) -> tuple[int, int] | None:
    """Return (wanted total, present total) to scale with; None where the pod fits the range."""
    amounts = {size.container: getattr(size, field).only((name,)) for size in sizes}
    requested = sum(amount.get(name) for amount in amounts.values())
    limited = sum(
        proportional_limits(
            container.limits,
            container.requests,
            amounts.get(container.name, NOTHING),
            default_limits=pod_range.default,
        ).limits.get(name)
        for container in containers
    )
    least, most = pod_range.min.get(name), pod_range.max.get(name)
    if not limited or not requested:
        return None
    if least > requested:
        return least, requested
    if most and most < limited:
        return most, limited
    return (least, limited) if least > limited else None


def _scaled(amounts: Resources, name: str, *, by: int, base: int) -> Resources:
    if not amounts.has(name):
        return amounts
    return Resources.of({**dict(amounts.amounts), name: scale(amounts.get(name), by=by, base=base)})
