"""
Is a move worth its disturbance: the score of the consolidation policy Balanced.

    score = (savings / cost of the pool) / (disruption / disruption of the pool)

Source: Karpenter `pkg/controllers/disruption/balanced.go` and `types.go`
(ScoreResult), main of 2026-08-20.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from autoscaler.planning.karpenter.candidates import Candidate
from autoscaler.planning.node_worth import balanced_score

THRESHOLD = 0.5
"""A move that saves half as large a share as it disturbs is still made (k = 2)."""


class PoolTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What all nodes of a pool cost in US dollars an hour, and what it would cost to disturb all of them."""

    usd_per_hour: float = 0.0
    disruption: float = 0.0


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a move looks to one pool: shares of its cost and of its disruption.

    `value` is the one divided by the other, 0 where nothing is saved.
    """

    savings_share: float = 0.0
    disruption_share: float = 0.0
    value: float = 0.0

    @property
    def approved(self) -> bool:
        return self.value >= THRESHOLD


def totals_by_pool(candidates: Iterable[Candidate]) -> dict[str, PoolTotals]:
    """Return the totals of each pool; nodes that may not be disrupted count too."""
    usd: dict[str, float] = {}
    disruption: dict[str, float] = {}
    for each in candidates:
        usd[each.pool] = usd.get(each.pool, 0.0) + each.usd_per_hour
        disruption[each.pool] = disruption.get(each.pool, 0.0) + each.disruption
    return {pool: PoolTotals(usd_per_hour=usd[pool], disruption=disruption[pool]) for pool in usd}


def score_move(savings: float, disruption: float, totals: PoolTotals) -> Score:
    """Return the score of a move that saves so many US dollars an hour."""
    if totals.usd_per_hour <= 0 or totals.disruption <= 0:
        return Score()
    return Score(
        savings_share=savings / totals.usd_per_hour,
        disruption_share=disruption / totals.disruption,
        value=balanced_score(savings, totals.usd_per_hour, disruption=disruption, total_disruption=totals.disruption),
    )


def scores_of(
    candidates: Collection[Candidate],
    savings: float,
    totals: Mapping[str, PoolTotals],
    *,
    balanced: Collection[str] | None = None,
) -> dict[str, Score]:
    """
    Return by pool how a move looks that takes *candidates* away and saves *savings* in all.

    Where it touches several pools, each is given its share of the savings by
    what its nodes cost. The move is approved when every score is.

    Args:
        candidates: the nodes that go.
        savings: US dollars an hour, the price of a replacement taken off.
        totals: those of every pool.
        balanced: the pools that have the policy, None for all; others are not asked.
    """
    by_pool: dict[str, list[Candidate]] = {}
    for each in candidates:
        by_pool.setdefault(each.pool, []).append(each)
    source = sum(each.usd_per_hour for each in candidates)
    scores = {}
    for pool, mine in by_pool.items():
        if balanced is not None and pool not in balanced:
            continue
        share = savings
        if source > 0 and len(by_pool) > 1:
            share = savings * (sum(each.usd_per_hour for each in mine) / source)
        disruption = sum(each.disruption for each in mine)
        scores[pool] = score_move(share, disruption, totals.get(pool, PoolTotals()))
    return scores


def can_pass(candidate: Candidate, totals: Mapping[str, PoolTotals]) -> bool:
    """Tell whether a node's removal without any replacement, the best that there is, would be approved."""
    mine = totals.get(candidate.pool)
    if mine is None or mine.usd_per_hour <= 0:
        return True
    return score_move(candidate.usd_per_hour, candidate.disruption, mine).approved
