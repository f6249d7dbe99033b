"""
What to disrupt: the peer's methods in the order in which they are tried.

    Emptiness → Drift → several nodes at once → one node

Source: Karpenter `pkg/controllers/disruption/{emptiness,drift,
multinodeconsolidation,singlenodeconsolidation,consolidation,controller}.go`,
main of 2026-08-20. Its time limits are limits on tries here: nothing reads a clock.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from autoscaler.planning.karpenter.balanced import PoolTotals, Score, can_pass, scores_of
from autoscaler.planning.karpenter.candidates import Candidate
from autoscaler.planning.karpenter.claims import NodePool
from autoscaler.planning.karpenter.drift import Drift
from autoscaler.planning.karpenter.replacement import cheaper_claim, without_same_types
from autoscaler.planning.karpenter.rescheduling import Rescheduling
from autoscaler.planning.karpenter.solve import PlannedClaim

MOST_TOGETHER = 100
"""So many nodes are tried together at most."""


class Method(enum.StrEnum):
    EMPTY = "Empty"
    DRIFT = "Drift"
    MULTI = "MultiNode"
    SINGLE = "SingleNode"


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes that go, and the claims that must be there before; `scores` are those of pools with Balanced."""

    method: Method
    candidates: tuple[Candidate, ...]
    claims: tuple[PlannedClaim, ...] = ()
    scores: tuple[tuple[str, Score], ...] = ()

    @property
    def savings(self) -> float:
        """US dollars an hour."""
        return sum(each.usd_per_hour for each in self.candidates) - sum(claim.usd_per_hour for claim in self.claims)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """
    What commands are judged by. `totals` are None where Balanced is not asked for.

    `most_tries` bounds how many single nodes are tried, of which `skipped`
    have been before.
    """

    rescheduling: Rescheduling
    pools: Mapping[str, NodePool]
    totals: Mapping[str, PoolTotals] | None = None
    spot_to_spot: bool = False
    most_tries: int = 1000
    skipped: frozenset[str] = frozenset()


Stays = Callable[[Candidate, str], None]
"""Takes down why a node stays."""


def emptied(candidates: Iterable[Candidate], allowed: Mapping[str, int]) -> Command | None:
    """Return the removal of all empty nodes that *allowed* (by pool) lets go."""
    chosen = _within(by_savings([each for each in candidates if each.is_empty]), allowed)
    return Command(method=Method.EMPTY, candidates=tuple(chosen)) if chosen else None


def drifted(
    candidates: Iterable[tuple[Candidate, Drift]], allowed: Mapping[str, int], setting: Setting, stays: Stays
) -> Command | None:
    """Return the replacement of the node that drifted first and whose pods all find a place; empty ones come first."""
    ordered = sorted(candidates, key=lambda each: (bool(each[0].pods), each[1].since, each[0].name))
    for candidate, _ in ordered:
        if allowed.get(candidate.pool, 0) <= 0:
            continue
        outcome = setting.rescheduling.without([candidate])
        if outcome.why_not:
            stays(candidate, outcome.why_not)
            continue
        return Command(method=Method.DRIFT, candidates=(candidate,), claims=outcome.claims)
    return None


def together(candidates: Iterable[Candidate], allowed: Mapping[str, int], setting: Setting) -> Command | None:
    """
    Return the largest number of nodes, those that save most for their disruption first, that can go at once.

    It is found by halving: what fails with many is tried with fewer.
    """
    chosen = _within(by_savings(candidates), allowed)
    low, high = 1, min(len(chosen) - 1, MOST_TOGETHER)
    best: Command | None = None
    while low <= high:
        middle = (low + high) // 2
        command = _judged(chosen[: middle + 1], setting, Method.MULTI)
        if isinstance(command, Command):
            best, low = command, middle + 1
        else:
            high = middle - 1
    return best


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What the search for a single node found, and which nodes were tried in vain when it ended for their number."""

    command: Command | None = None
    tried: tuple[str, ...] = ()


def alone(candidates: Iterable[Candidate], allowed: Mapping[str, int], setting: Setting, stays: Stays) -> Search:
    """Return the first node that can go or be replaced; pools take turns, most savings for its disruption first."""
    tried: list[str] = []
    for candidate in interwoven(by_savings(candidates)):
        if allowed.get(candidate.pool, 0) <= 0 or candidate.name in setting.skipped:
            continue
        if setting.totals is not None and not can_pass(candidate, setting.totals):
            stays(candidate, "even its removal would save too little for its disruption")
            continue
        if len(tried) >= setting.most_tries:
            return Search(tried=tuple(tried))
        command = _judged([candidate], setting, Method.SINGLE)
        if isinstance(command, Command):
            return Search(command=command)
        stays(candidate, command)
        tried.append(candidate.name)
    return Search()


def by_savings(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return candidates by US dollars an hour for each unit of disruption, most first, ties by name."""
    return sorted(candidates, key=lambda each: (-each.savings_ratio, each.name))


def interwoven(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return candidates of the pools in turn, pools by name, in the order they have within each."""
    by_pool: dict[str, list[Candidate]] = {}
    for each in candidates:
        by_pool.setdefault(each.pool, []).append(each)
    turns = [(at, pool, each) for pool, mine in by_pool.items() for at, each in enumerate(mine)]
    return [each for _, _, each in sorted(turns, key=lambda turn: turn[:2])]


def _within(candidates: Iterable[Candidate], allowed: Mapping[str, int]) -> list[Candidate]:
    left, chosen = dict(allowed), []
    for each in candidates:
        if left.get(each.pool, 0) > 0:
            left[each.pool] -= 1
            chosen.append(each)
    return chosen


def _judged(candidates: Sequence[Candidate], setting: Setting, method: Method) -> Command | str:
    """Return the command that takes *candidates* away, or why none does."""
    outcome = setting.rescheduling.without(candidates, most_claims=1)
    if outcome.why_not:
        return outcome.why_not
    if len(outcome.claims) > 1:
        return "its pods need more than one new node"
    claims: tuple[PlannedClaim, ...] = ()
    if outcome.claims:
        pool = setting.pools[outcome.claims[0].pool]
        claim = cheaper_claim(outcome.claims[0], candidates, pool, spot_to_spot=setting.spot_to_spot)
        if isinstance(claim, str):
            return claim
        if method is Method.MULTI:
            claim = without_same_types(claim, candidates, pool)
        if not claim.types:
            return "nothing cheaper could replace it"
        claims = (claim,)
    command = scored(Command(method=method, candidates=tuple(candidates), claims=claims), setting)
    if not all(score.approved for _, score in command.scores):
        return "it saves too little for its disruption"
    return command


def scored(command: Command, setting: Setting) -> Command:
    """Return *command* with its scores, where Balanced asks for them."""
    if setting.totals is None:
        return command
    scores = scores_of(command.candidates, command.savings, setting.totals)
    return msgspec.structs.replace(command, scores=tuple(sorted(scores.items())))
