"""
A packing instance in canonical form: whole numbers, equal classes merged, useless offers gone.

Everything after this works on `Problem`, whose order depends on the content of
the instance alone, so that a plan does not change when a list is shuffled.
"""

from __future__ import annotations

import msgspec
import numpy as np

from autoscaler.model.arrays import Bools, Floats, Ints

NO_LIMIT = np.int64(1) << 40
"""Stands for "as many as fit" where a class has no limit per node."""

_MAX_PRICE = 1e9
_MAX_AMOUNT = 2**52
"""Above this a float no longer counts one by one; capacities are cut to it, which is safe."""


class PackInput(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """
    Pod classes to place and the offers that can be bought for them.

    C classes, T offers, R resources in one fixed order (cpu in millicores,
    memory in bytes, pods and devices as counts). Requests are rounded up to
    whole numbers, capacities down.
    """

    requests: Floats | Ints
    """C x R, at least 0."""
    counts: Ints
    """C, pods of each class, at least 0."""
    capacity: Floats | Ints
    """T x R, what one node leaves for pods (DaemonSets taken off); negative counts as 0."""
    usd_per_hour: Floats
    """T, 0 to 1e9."""
    room: Floats
    """T, nodes that may still be bought, at least 0; `inf` for no limit."""
    compatible: Bools
    """C x T, whether labels, taints and the like allow the class there; resources are checked here."""
    max_per_node: Ints
    """C, most pods of the class on one node (spread, anti-affinity); 0 for no limit."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """
    The same instance, merged, pruned and sorted by content; all numbers whole.

    `price` is what is minimised: `usd`, with a crumb added where an offer is
    free so that fewer and smaller nodes are still better. `members[c]` are the
    original classes behind class c with their counts, `offers[t]` the original offer.
    """

    need: Ints
    count: Ints
    limit: Ints
    capacity: Ints
    usd: Floats
    price: Floats
    room: Floats
    fits: Bools
    members: tuple[tuple[tuple[int, int], ...], ...]
    offers: Ints
    resources: Ints
    """Original columns that any class asks for; the others are left out."""
    homeless: tuple[int, ...]
    """Original classes that fit on no offer at all."""

    @property
    def has_limited_room(self) -> bool:
        return bool(np.isfinite(self.room).any())


def canonical(given: PackInput) -> Problem:
    """
    Return *given* in canonical form.

    Raises:
        ValueError: shapes disagree, or an amount is negative, not a number, or a price is above 1e9.
    """
    check(given)
    capacity = np.floor(np.clip(np.asarray(given.capacity, dtype=np.float64), 0.0, _MAX_AMOUNT)).astype(np.int64)
    # One more than any capacity fits nowhere, and is small enough to calculate with.
    ceiling = capacity.max(axis=0, initial=0) + 1
    need = np.minimum(np.ceil(np.asarray(given.requests, dtype=np.float64)), ceiling).astype(np.int64)
    counts = np.asarray(given.counts, dtype=np.int64)
    buyable = np.asarray(given.room) >= 1
    fits = np.asarray(given.compatible, dtype=bool) & buyable
    for resource in range(need.shape[1]):
        fits &= need[:, resource, None] <= capacity[None, :, resource]
    wanted = np.flatnonzero((counts > 0) & fits.any(axis=1))
    homeless = tuple(np.flatnonzero((counts > 0) & ~fits.any(axis=1)).tolist())
    limit = np.asarray(given.max_per_node, dtype=np.int64)
    limit = np.where(limit > 0, limit, NO_LIMIT)
    room = np.floor(np.asarray(given.room, dtype=np.float64))
    room = np.where(room >= counts[wanted].sum(), np.inf, room)
    usd = np.asarray(given.usd_per_hour, dtype=np.float64)
    price = _with_crumbs(usd, capacity)
    offers = _undominated(capacity, price, room, fits[wanted])
    used = np.flatnonzero(need[wanted].any(axis=0))
    used = used if len(used) else np.arange(min(1, need.shape[1]))
    need, capacity = need[:, used], capacity[:, used]
    offers = offers[np.lexsort((offers, *capacity[offers].T, price[offers]))]
    groups = _merge(need[wanted], limit[wanted], fits[np.ix_(wanted, offers)], counts[wanted])
    first = wanted[[group[0] for group in groups]] if groups else wanted[:0]
    return Problem(
        need=need[first],
        count=np.array([counts[wanted[list(group)]].sum() for group in groups], dtype=np.int64),
        limit=limit[first],
        capacity=capacity[offers],
        usd=usd[offers],
        price=price[offers],
        room=room[offers],
        fits=fits[np.ix_(first, offers)],
        members=tuple(tuple((int(wanted[row]), int(counts[wanted[row]])) for row in group) for group in groups),
        offers=offers,
        resources=used,
        homeless=homeless,
    )


def check(given: PackInput) -> None:
    """Raise ValueError unless *given* is well-formed."""
    classes, resources = np.shape(given.requests) if np.ndim(given.requests) == 2 else (-1, -1)
    offers = np.shape(given.capacity)[0] if np.ndim(given.capacity) == 2 else -1
    expected = {
        "requests": (classes, resources),
        "counts": (classes,),
        "capacity": (offers, resources),
        "usd_per_hour": (offers,),
        "room": (offers,),
        "compatible": (classes, offers),
        "max_per_node": (classes,),
    }
    if resources == 0:
        raise ValueError("requests must have at least one resource")
    for name, shape in expected.items():
        if np.shape(getattr(given, name)) != shape or -1 in shape:
            raise ValueError(f"{name} must have shape {shape}, got {np.shape(getattr(given, name))}")
    for name in ("requests", "counts", "usd_per_hour", "room", "max_per_node"):
        values = np.asarray(getattr(given, name), dtype=np.float64)
        if not (values >= 0).all():
            raise ValueError(f"{name} must be numbers of at least 0")
    if np.isnan(np.asarray(given.capacity, dtype=np.float64)).any():
        raise ValueError("capacity must be numbers")
    if not (np.asarray(given.usd_per_hour, dtype=np.float64) <= _MAX_PRICE).all():
        raise ValueError(f"usd_per_hour must be at most {_MAX_PRICE:.0e}")
    if np.asarray(given.counts, dtype=np.float64).sum() >= float(NO_LIMIT):
        raise ValueError(f"counts must sum to less than {NO_LIMIT}")


def _with_crumbs(usd: Floats, capacity: Ints) -> Floats:
    """Give free offers a price far below any real one, growing with their size."""
    if not len(usd) or usd.min() > 0:
        return usd
    size = (capacity / np.maximum(capacity.max(axis=0), 1)).mean(axis=1) if capacity.shape[1] else np.ones(len(usd))
    result: Floats = np.where(usd > 0, usd, 1e-6 * (1.0 + size))
    return result


def _undominated(capacity: Ints, price: Floats, room: Floats, fits: Bools) -> Ints:
    """
    Return the offers that no other, unlimited one beats in price, in every resource and in whom it may hold.

    Of equals the first by index stays.
    """
    useful = np.flatnonzero(fits.any(axis=0))
    if not len(useful):
        return useful.astype(np.int64)
    masks, kind = np.unique(fits[:, useful], axis=1, return_inverse=True)
    bare = ~masks
    holds_all = ~(masks.T.astype(np.float32) @ bare.astype(np.float32) > 0)
    covers = holds_all[np.ix_(kind.ravel(), kind.ravel())].T
    capacity, price = capacity[useful], price[useful]
    better = covers & (price[:, None] <= price[None, :]) & np.isinf(room[useful])[:, None]
    for resource in range(capacity.shape[1]):
        better &= capacity[:, resource, None] >= capacity[None, :, resource]
    first = np.arange(len(useful))
    mutual = better & better.T & (first[:, None] >= first[None, :])
    return useful[~(better & ~mutual).any(axis=0)].astype(np.int64)


def _merge(need: Ints, limit: Ints, fits: Bools, counts: Ints) -> list[tuple[int, ...]]:
    """Group equal classes (those with a limit per node stay alone), in an order of content."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index in range(len(need)):
        alone = 0 if limit[index] == NO_LIMIT else index + 1
        key = (need[index].tobytes(), int(limit[index]), fits[index].tobytes(), alone)
        groups.setdefault(key, []).append(index)
    content = {key: (*need[rows[0]].tolist(), *key[1:3], int(counts[rows].sum())) for key, rows in groups.items()}
    return [tuple(groups[key]) for key in sorted(groups, key=lambda key: content[key])]
