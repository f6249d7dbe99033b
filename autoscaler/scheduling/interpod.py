"""
Inter-pod affinity and anti-affinity: who is where, and what that allows.

Source: kube-scheduler `framework/plugins/interpodaffinity` (filtering.go,
scoring.go), v1.37.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from autoscaler.model.placement import PodTerm, PreferredPodTerm
from autoscaler.model.pod import PodShape
from autoscaler.scheduling.context import NodeState, Placements, SchedulingContext
from autoscaler.scheduling.requirements import term_matches_pod

HARD_AFFINITY_WEIGHT = 1
"""Score that an existing pod's *required* affinity term gives (hardPodAffinityWeight)."""

NO_AFFINITY_MATCH = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY_MATCH = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"

Pairs = Counter[tuple[str, str]]
"""Matching pods (or a score) by (topology key, topology value)."""


class InterPodState(msgspec.Struct, frozen=True):
    """
    What matters of the pods on nodes for one incoming class.

    `affinity` counts pods that match *all* required affinity terms, `anti` those
    that match a required anti-affinity term, `repelled_by` pods whose own
    required anti-affinity matches the incoming one. `first` tells that the
    class may be the first of its kind: it matches its own affinity terms.
    """

    affinity: Mapping[tuple[str, str], int]
    anti: Mapping[tuple[str, str], int]
    repelled_by: Mapping[tuple[str, str], int]
    first: bool


def interpod_state(shape: PodShape, context: SchedulingContext) -> InterPodState:
    """Count what the required terms of both sides match."""
    affinity, anti, repelled_by = Pairs(), Pairs(), Pairs()
    required, anti_required = shape.affinity.pod_required, shape.affinity.pod_anti_required
    names = context.namespaces
    for other, placements in context.placements.items():
        if matches_all_terms(required, shape, other, names):
            _count(affinity, required, placements)
        _count(anti, [term for term in anti_required if term_matches_pod(term, shape, other, names)], placements)
        theirs = other.affinity.pod_anti_required
        matching = [term for term in theirs if term_matches_pod(term, other, shape, names, owner_incoming=False)]
        _count(repelled_by, matching, placements)
    first = not affinity and matches_all_terms(required, shape, shape, names)
    return InterPodState(affinity, anti, repelled_by, first)


def matches_all_terms(
    terms: tuple[PodTerm, ...], owner: PodShape, other: PodShape, namespaces: Mapping[str, Mapping[str, str]]
) -> bool:
    """Tell whether *other* matches every one of the incoming *owner*'s terms; no terms match nothing."""
    return bool(terms) and all(term_matches_pod(term, owner, other, namespaces) for term in terms)


def interpod_rejection(shape: PodShape, state: InterPodState, labels: Mapping[str, str]) -> str:
    """Return why a node with *labels* is not allowed, "" if it is."""
    if not _affinity_holds(shape.affinity.pod_required, state, labels):
        return NO_AFFINITY_MATCH
    if any(_at(state.anti, term.topology_key, labels) for term in shape.affinity.pod_anti_required):
        return ANTI_AFFINITY_MATCH
    if state.repelled_by and any(_at(state.repelled_by, key, labels) for key in labels):
        return EXISTING_ANTI_AFFINITY
    return ""


def preference_scores(shape: PodShape, context: SchedulingContext) -> Mapping[tuple[str, str], int]:
    """
    Return scores by (topology key, value) from the preferred terms of both sides.

    Existing pods' required affinity counts with HARD_AFFINITY_WEIGHT. Empty
    means that the plugin has nothing to say.
    """
    scores, names = Pairs(), context.namespaces
    for other, placements in context.placements.items():
        mine, theirs = shape.affinity, other.affinity
        terms = [(each.term, each.weight) for each in _selecting(mine.pod_preferred, shape, other, names)]
        terms += [(each.term, -each.weight) for each in _selecting(mine.pod_anti_preferred, shape, other, names)]
        hard = [PreferredPodTerm(HARD_AFFINITY_WEIGHT, term) for term in theirs.pod_required]
        wanted = [*hard, *theirs.pod_preferred]
        terms += [(each.term, each.weight) for each in _selecting(wanted, other, shape, names, incoming=False)]
        unwanted = _selecting(theirs.pod_anti_preferred, other, shape, names, incoming=False)
        terms += [(each.term, -each.weight) for each in unwanted]
        for term, weight in terms:
            _count(scores, [term], placements, weight)
    return scores


def node_preference(scores: Mapping[tuple[str, str], int], state: NodeState) -> int:
    """Return what the preferences say of one node: the sum over its topology values."""
    return sum(scores.get(pair, 0) for pair in state.labels.items())


def _selecting(
    terms: Iterable[PreferredPodTerm],
    owner: PodShape,
    other: PodShape,
    namespaces: Mapping[str, Mapping[str, str]],
    *,
    incoming: bool = True,
) -> list[PreferredPodTerm]:
    return [each for each in terms if term_matches_pod(each.term, owner, other, namespaces, owner_incoming=incoming)]


def _count(pairs: Pairs, terms: Iterable[PodTerm], placements: Placements, weight: int = 1) -> None:
    for term in terms:
        key = term.topology_key
        for state, _ in placements:
            if key in state.labels:
                pairs[key, state.labels[key]] += weight


def _at(pairs: Mapping[tuple[str, str], int], key: str, labels: Mapping[str, str]) -> int:
    return pairs.get((key, labels[key]), 0) if key in labels else 0


def _affinity_holds(terms: tuple[PodTerm, ...], state: InterPodState, labels: Mapping[str, str]) -> bool:
    if any(term.topology_key not in labels for term in terms):
        return False
    # The first pod of a group that wants to be together must be able to start somewhere.
    return state.first or all(_at(state.affinity, term.topology_key, labels) > 0 for term in terms)
