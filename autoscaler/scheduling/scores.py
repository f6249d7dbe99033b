"""
How kube-scheduler ranks the nodes that a pod may go on: the default profile's scores.

Per plugin the raw score is normalised to 0-100 over the feasible nodes and
weighted; the node with the largest sum wins, ties at random (here: by name).
ImageLocality, VolumeBinding and DynamicResources are left out: they are 0
without images, storage scoring and claims.

Source: kube-scheduler v1.37 `framework/plugins/{tainttoleration,nodeaffinity,
podtopologyspread,interpodaffinity,noderesources}` and `framework/runtime`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from autoscaler.model.placement import Effect, TopologySpread
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.scheduling.context import NodeState, SchedulingContext
from autoscaler.scheduling.interpod import node_preference, preference_scores
from autoscaler.scheduling.predicates import feasible_nodes
from autoscaler.scheduling.requests import effective_requests, scoring_requests
from autoscaler.scheduling.requirements import node_term_matches, untolerated_taint
from autoscaler.scheduling.topology import (
    HOSTNAME,
    SOFT,
    SpreadCounts,
    constraints_of,
    counts_for,
    default_constraints,
    spread_counts,
    spread_selector,
)

MAX_SCORE = 100
WEIGHTS: Mapping[str, int] = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodeResourcesFit": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesBalancedAllocation": 1,
}

Raw = Mapping[str, int | None]
"""Raw score by node; None: the plugin does not judge this node, which then scores 0."""


class PluginScore(msgspec.Struct, frozen=True, gc=False):
    """One plugin's score of one node: raw, normalised to 0-100, and weighted."""

    plugin: str
    raw: int
    normalized: int
    weighted: int


class NodeScore(msgspec.Struct, frozen=True, gc=False):
    """All plugins' scores of one node; those that skipped themselves are not there."""

    node: str
    total: int
    plugins: tuple[PluginScore, ...]


class Ranking(msgspec.Struct, frozen=True):
    """Nodes, best first, equal totals by name; and the plugins that had nothing to say."""

    nodes: tuple[NodeScore, ...]
    skipped: tuple[str, ...]


def rank_nodes(
    shape: PodShape, context: SchedulingContext, *, workload: str = "", nodes: Sequence[str] | None = None
) -> Ranking:
    """
    Score the nodes that the pod may go on.

    Args:
        shape: the class of the pod.
        context: the cluster.
        workload: key of the pod's owner; with Services it decides whether the
            default spreading applies.
        nodes: names of the feasible nodes where the caller knows them already.
    """
    names = feasible_nodes(shape, context) if nodes is None else tuple(nodes)
    states = [context.nodes[name] for name in names]
    raw: dict[str, Raw | None] = {
        "TaintToleration": {state.name: _intolerable(shape, state) for state in states},
        "NodeAffinity": _affinity(shape, states),
        "NodeResourcesFit": {state.name: least_allocated(shape, state) for state in states},
        "PodTopologySpread": _spread(shape, workload, context, states),
        "InterPodAffinity": _interpod(shape, context, states),
        "NodeResourcesBalancedAllocation": _balance(shape, states),
    }
    scored = {plugin: _scored(plugin, scores) for plugin, scores in raw.items() if scores is not None}
    ranked = []
    for name in names:
        plugins = tuple(scores[name] for scores in scored.values())
        ranked.append(NodeScore(name, sum(each.weighted for each in plugins), plugins))
    ranked.sort(key=lambda score: (-score.total, score.node))
    return Ranking(tuple(ranked), tuple(plugin for plugin, scores in raw.items() if scores is None))


def least_allocated(shape: PodShape, state: NodeState) -> int:
    """
    Return the mean share (0-100) of cpu and memory left free with the pod on the node.

    Requests count with defaults for containers that name none. Whole-number
    division for each resource and again for the mean; a resource that the node
    does not have at all is left out.
    """
    wanted = scoring_requests(shape)
    shares = []
    for name in (CPU, MEMORY):
        allocatable = state.allocatable.get(name, 0)
        if allocatable > 0:
            free = allocatable - state.nonzero[name] - wanted.get(name)
            shares.append(max(0, free) * MAX_SCORE // allocatable)
    return sum(shares) // len(shares) if shares else 0


def balanced_allocation(requests: Resources, state: NodeState) -> int:
    """
    Return 50-100: how even cpu and memory use would be, against how even it is; 75 is no change.

    *requests* are the pod's plain requests, overhead included.
    """
    with_pod = _evenness(state, requests)
    without_pod = _evenness(state, Resources())
    half = MAX_SCORE // 2
    return half + (half + with_pod - without_pod) // 2


def _evenness(state: NodeState, extra: Resources) -> int:
    fractions = []
    for name in (CPU, MEMORY):
        allocatable = state.allocatable.get(name, 0)
        if allocatable > 0:
            fractions.append(min(1.0, (state.requested.get(name, 0) + extra.get(name)) / allocatable))
    deviation = abs((fractions[0] - fractions[1]) / 2) if len(fractions) == 2 else 0.0
    return int((1 - deviation) * MAX_SCORE)


def _balance(shape: PodShape, states: Sequence[NodeState]) -> Raw | None:
    requests = effective_requests(shape).only((CPU, MEMORY))
    # Pods that request nothing would all look balanced on the same node.
    if not any(amount for _, amount in requests.items()):
        return None
    return {state.name: balanced_allocation(requests, state) for state in states}


def _intolerable(shape: PodShape, state: NodeState) -> int:
    soft = (Effect.PREFER_NO_SCHEDULE,)
    return sum(untolerated_taint(shape, (taint,), effects=soft) is not None for taint in state.node.taints)


def _affinity(shape: PodShape, states: Sequence[NodeState]) -> Raw | None:
    preferences = shape.affinity.node_preferred
    if not preferences:
        return None
    return {
        state.name: sum(each.weight for each in preferences if node_term_matches(each.term, state.labels, state.name))
        for state in states
    }


def _interpod(shape: PodShape, context: SchedulingContext, states: Sequence[NodeState]) -> Raw | None:
    scores = preference_scores(shape, context)
    return {state.name: node_preference(scores, state) for state in states} if scores else None


def _spread(shape: PodShape, workload: str, context: SchedulingContext, states: Sequence[NodeState]) -> Raw | None:
    own = bool(shape.spread)
    constraints = constraints_of(shape, SOFT) if own else default_constraints(shape, workload, context)
    if not constraints:
        return None
    # Only the built-in constraints let a node without, say, a zone take part.
    keys = {constraint.topology_key for constraint in constraints} if own else set()
    judged = [state for state in states if keys <= state.labels.keys()]
    counts = [_soft_counts(constraint, shape, context, judged) for constraint in constraints]
    return {
        state.name: _skew_score(shape, state, counts, len(judged)) if keys <= state.labels.keys() else None
        for state in states
    }


def _soft_counts(
    constraint: TopologySpread, shape: PodShape, context: SchedulingContext, judged: Sequence[NodeState]
) -> SpreadCounts:
    """Count matching pods in the domains of the judged nodes, wherever in the cluster those pods are."""
    key = constraint.topology_key
    domains = {state.labels.get(key, "") for state in judged}
    keys = {each.topology_key for each in constraints_of(shape, SOFT)}

    def domain_of(state: NodeState) -> str | None:
        domain = state.labels.get(key, "")
        return domain if domain in domains and keys <= state.labels.keys() else None

    counts = spread_counts(constraint, shape, context, domain_of=domain_of)
    return msgspec.structs.replace(counts, by_domain={**dict.fromkeys(domains, 0), **counts.by_domain})


def _skew_score(shape: PodShape, state: NodeState, counts: Sequence[SpreadCounts], judged: int) -> int:
    score = 0.0
    for each in counts:
        constraint = each.constraint
        if constraint.topology_key not in state.labels:
            continue
        if constraint.topology_key == HOSTNAME:
            selector = spread_selector(constraint, shape.labels)
            here = [pod for pod in state.pods if pod.deleted_at is None]
            pods, size = sum(counts_for(selector, shape.namespace, pod.shape) for pod in here), judged
        else:
            pods, size = each.by_domain[state.labels[constraint.topology_key]], len(each.by_domain)
        # Domains of a large topology hold fewer pods each: the logarithm keeps them from being drowned.
        score += pods * math.log(size + 2) + (constraint.max_skew - 1)
    return math.floor(score) + (score - math.floor(score) >= 0.5)


def _scored(plugin: str, raw: Raw) -> dict[str, PluginScore]:
    known = {name: score for name, score in raw.items() if score is not None}
    normalize = _NORMALIZE.get(plugin)
    normalized = known if normalize is None else normalize(known)
    return {
        name: PluginScore(plugin, score or 0, normalized.get(name, 0), normalized.get(name, 0) * WEIGHTS[plugin])
        for name, score in raw.items()
    }


def _fewest(raw: Mapping[str, int]) -> dict[str, int]:
    highest = max(raw.values(), default=0)
    return {name: MAX_SCORE - (MAX_SCORE * score // highest if highest else 0) for name, score in raw.items()}


def _most(raw: Mapping[str, int]) -> dict[str, int]:
    highest = max(raw.values(), default=0)
    return {name: MAX_SCORE * score // highest if highest else score for name, score in raw.items()}


def _least_skewed(raw: Mapping[str, int]) -> dict[str, int]:
    highest, lowest = max(raw.values(), default=0), min(raw.values(), default=0)
    return {
        name: MAX_SCORE * (highest + lowest - score) // highest if highest else MAX_SCORE for name, score in raw.items()
    }


def _between_extremes(raw: Mapping[str, int]) -> dict[str, int]:
    lowest = min(raw.values(), default=0)
    span = max(raw.values(), default=0) - lowest
    return {name: int(MAX_SCORE * ((score - lowest) / span)) if span else 0 for name, score in raw.items()}


_NORMALIZE: Mapping[str, Callable[[Mapping[str, int]], dict[str, int]]] = {
    "TaintToleration": _fewest,
    "NodeAffinity": _most,
    "PodTopologySpread": _least_skewed,
    "InterPodAffinity": _between_extremes,
}
"""The plugins that scale their scores; the others give 0-100 from the start."""
