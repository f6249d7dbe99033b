"""
What the pods must cost at least, whatever the plan.

Any non-negative weights w[t, r] (USD an hour for a unit of resource r on offer
t) with  sum_r capacity[t, r] w[t, r] <= price[t]  prove a bound: a pod of class
c is worth  u[c] = min over its offers of  sum_r need[c, r] w[t, r],  because no
node can hold more worth than its price, and so the nodes cost at least
sum_c count[c] u[c]. This is weak duality for the divisible relaxation, hence
also a bound for whole pods. A cut (a rule that whole pods obey and fractions
may not) is one more resource of one offer. An offer of limited room may exceed
its price by z[t] at a charge of room[t] z[t].
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from autoscaler.model.arrays import Bools, Floats, Ints
from autoscaler.scheduling.packing_problem import Problem

_RATIOS = 2.0 ** np.arange(-6, 7)
_TRUST = 1.0 - 1e-9
"""A hair off for rounding in long sums, so that the bound stays a bound."""


class Cut(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """On one node of `offer`, the pods' `uses` (C, in tenths or whatever) add up to at most `allowed`."""

    offer: int
    uses: Floats
    allowed: float


class Values(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Certified worth: `usd_per_pod` (C), the `weights` (T x R) behind it, and the `bound` in USD an hour."""

    usd_per_pod: Floats
    weights: Floats
    bound: float
    cut_weights: Floats | None = None


def certify(
    problem: Problem,
    weights: Floats,
    count: Ints,
    *,
    cuts: Sequence[Cut] = (),
    cut_weights: Floats | None = None,
) -> Values:
    """
    Return the best bound that *weights* prove for *count* pods of each class.

    *weights* (T x R) may be any numbers; negative ones count as 0. They are
    scaled so that each offer's capacity is worth its price. *cut_weights* is
    the worth of a unit of each of the first *cuts*; the rest are worth nothing.
    """
    weights = np.maximum(np.nan_to_num(weights, nan=0.0, posinf=0.0), 0.0)
    worth = problem.need.astype(np.float64) @ weights.T
    load = (problem.capacity * weights).sum(axis=1)
    paid = np.zeros(0) if cut_weights is None else np.maximum(cut_weights, 0.0)
    for index in np.flatnonzero(paid).tolist():
        cut = cuts[index]
        worth[:, cut.offer] += paid[index] * cut.uses
        load[cut.offer] += paid[index] * cut.allowed
    limited = np.isfinite(problem.room)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(load > 0, problem.usd / load, 0.0)
    # An offer whose room binds is worth more than its price: keep that, and charge for it below.
    scale = np.where(limited & (scale < 1.0), 1.0, scale)
    per_pod = np.where(problem.fits, worth * scale, np.inf).min(axis=1, initial=np.inf)
    per_pod = np.where(np.isfinite(per_pod), per_pod, 0.0)
    excess = np.maximum(load * scale - problem.usd, 0.0)
    bound = float(per_pod @ count) - _charge(excess, problem.room, limited)
    return Values(
        usd_per_pod=per_pod,
        weights=weights * scale[:, None],
        bound=max(0.0, bound * _TRUST),
        cut_weights=None if cut_weights is None else paid * scale[[cut.offer for cut in cuts[: len(paid)]]],
    )


def _charge(excess: Floats, room: Floats, limited: Bools) -> float:
    charged = limited & (excess > 0)
    return float(excess[charged] @ room[charged])


def quick_values(problem: Problem) -> Values:
    """
    Return a bound from one price per resource, the same on all offers; needs no solver.

    The prices are found coordinate by coordinate in shrinking steps, from a
    start at which a typical node is paid alike for each resource.
    """
    capacity, need = problem.capacity.astype(np.float64), problem.need.astype(np.float64)
    kinds, kind = np.unique(problem.fits, axis=0, return_inverse=True)
    barred = np.where(kinds, 0.0, np.inf)
    alpha = 1.0 / np.maximum(np.median(capacity, axis=0), capacity.max(axis=0, initial=1.0) / 64.0)
    ratios = _RATIOS
    for _ in range(3):
        for resource in range(len(alpha)):
            trials = np.repeat(alpha[None], len(ratios), axis=0)
            trials[:, resource] *= ratios
            rate = problem.usd / np.maximum(trials @ capacity.T, 1e-100)
            cheapest = (rate[:, None, :] + barred[None]).min(axis=2, initial=np.inf)
            bounds = ((trials @ need.T) * cheapest[:, kind.ravel()]) @ problem.count
            alpha = trials[int(np.argmax(bounds))]
        ratios = np.sqrt(ratios)
    return certify(problem, np.broadcast_to(alpha, capacity.shape), problem.count)


def whole_node_bound(problem: Problem, count: Ints) -> float:
    """Return what the dearest class needs alone: whole nodes, at least one, and enough for its limit per node."""
    cheapest = np.where(problem.fits, problem.usd[None, :], np.inf).min(axis=1, initial=np.inf)
    nodes = -(-count // problem.limit)
    costs = np.where((count > 0) & np.isfinite(cheapest), nodes * np.where(np.isfinite(cheapest), cheapest, 0.0), 0.0)
    return float(costs.max(initial=0.0)) * _TRUST
