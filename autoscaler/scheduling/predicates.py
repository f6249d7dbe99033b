"""
Would kube-scheduler place this pod on that node, and if not, why not?

The filters of the default profile in their order: NodeName,
NodeUnschedulable, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit,
VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone,
PodTopologySpread, InterPodAffinity. Some exclude nodes before filtering
(PreFilter), which comes first. Source: kube-scheduler v1.37
`framework/plugins` and `framework/runtime/framework.go`.

Placement code that asks for many pods at once works on columns instead (see
`simulation`); this module is the reference for it and the source of reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import msgspec

from autoscaler.model.placement import Effect, Operator, Taint
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import PODS
from autoscaler.scheduling import volumes
from autoscaler.scheduling.context import NodeState, SchedulingContext, host_ports, ports_conflict
from autoscaler.scheduling.interpod import NO_AFFINITY_MATCH, InterPodState, interpod_rejection, interpod_state
from autoscaler.scheduling.requests import effective_requests
from autoscaler.scheduling.requirements import (
    NODE_NAME_FIELD,
    matches_node_affinity,
    tolerates,
    untolerated_taint,
)
from autoscaler.scheduling.topology import SpreadCounts, hard_spread
from autoscaler.scheduling.verdict import (
    FEASIBLE,
    FilterCode,
    Rejection,
    Shortfall,
    Verdict,
    unresolvable,
    unschedulable,
)

NODE_NAME, AFFINITY, FIT = "NodeName", "NodeAffinity", "NodeResourcesFit"
UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", Effect.NO_SCHEDULE)
AFFINITY_REASON = "node(s) didn't match Pod's node affinity/selector"
SPREAD_REASON = "node(s) didn't match pod topology spread constraints"


class Question:
    """
    One class of pod against one cluster: what is the same for all nodes, made when first needed.

    Make one with the shape and the context and ask `filter_node` for each node.
    """

    def __init__(self, shape: PodShape, context: SchedulingContext) -> None:
        self.shape = shape
        self.context = context

    @cached_property
    def ports(self) -> tuple[tuple[str, str, int], ...]:
        return host_ports(self.shape)

    @cached_property
    def spread(self) -> tuple[SpreadCounts, ...]:
        return hard_spread(self.shape, self.context)

    @cached_property
    def interpod(self) -> InterPodState:
        return interpod_state(self.shape, self.context)

    @cached_property
    def claims(self) -> volumes.PodClaims:
        return volumes.claims_of(self.shape, self.context)

    @cached_property
    def named_nodes(self) -> tuple[tuple[str, frozenset[str]], ...]:
        """(plugin, node names) of the plugins that name the only nodes possible."""
        found = [(NODE_NAME, frozenset((self.shape.node_name,)))] if self.shape.node_name else []
        names = affinity_node_names(self.shape)
        return (*found, (AFFINITY, names)) if names else tuple(found)

    @cached_property
    def exclusion(self) -> str:
        """The reason given for a node that is not named: it names all plugins with a list."""
        plugins = " ".join(sorted(plugin for plugin, _ in self.named_nodes))
        return f"node(s) didn't satisfy plugin(s) [{plugins}]{' simultaneously' if self.contradicts else ''}"

    @cached_property
    def contradicts(self) -> bool:
        """Whether no node is in all lists."""
        lists = [names for _, names in self.named_nodes]
        return bool(lists) and not frozenset.intersection(*lists)

    @cached_property
    def hopeless(self) -> Rejection | None:
        """Why no node at all is possible, as PreFilter says it; contradicting lists of nodes come before."""
        if self.contradicts:
            return None
        answers = (plugin.whole(self) for plugin in FILTERS if plugin.whole is not None)
        return next(filter(None, answers), None)


class FilterPlugin(msgspec.Struct, frozen=True):
    """A filter: its answer for one node, and (`whole`) its answer for all nodes before that."""

    name: str
    check: Callable[[Question, NodeState], Rejection | None]
    whole: Callable[[Question], Rejection | None] | None = None


def filter_nodes(shape: PodShape, context: SchedulingContext, *, every: bool = False) -> dict[str, Verdict]:
    """
    Return the verdict for each node by name.

    With *every*, `rejected_by` lists all filters that reject, not only the first.
    """
    question = Question(shape, context)
    return {name: filter_node(question, name, every=every) for name in context.nodes}


def feasible_nodes(shape: PodShape, context: SchedulingContext) -> tuple[str, ...]:
    """Return the names of the nodes that the pod may go on, sorted."""
    return tuple(name for name, verdict in filter_nodes(shape, context).items() if verdict.feasible)


def filter_node(question: Question, node: str, *, every: bool = False) -> Verdict:
    """
    Return the verdict for one node of the context.

    Raises:
        KeyError: the context has no such node, which is a bug in the caller.
    """
    state = question.context.nodes[node]
    first = question.hopeless or _excluded(question, state) or _first_rejection(question, state)
    if first is None:
        return FEASIBLE
    alone = tuple(filter(None, (_alone(plugin, question, state) for plugin in FILTERS))) if every else ()
    return Verdict(rejection=first, rejected_by=alone)


def affinity_node_names(shape: PodShape) -> frozenset[str] | None:
    """
    Return the only nodes that required node affinity can match by name.

    None where some term does not name nodes; empty where the terms contradict
    themselves, so that no node is possible.
    """
    terms = shape.affinity.node_required
    if not terms:
        return None
    found: set[str] = set()
    for term in terms:
        named = [
            set(requirement.values)
            for requirement in term.match_fields
            if requirement.key == NODE_NAME_FIELD and requirement.operator is Operator.IN
        ]
        if not named:
            return None
        found |= set.intersection(*named)
    return frozenset(found)


def shortfalls(shape: PodShape, state: NodeState) -> tuple[Shortfall, ...]:
    """Return each resource, the pod slot included, of which the node has too little left."""
    demand = {name: amount for name, amount in effective_requests(shape).items() if amount > 0 and name != PODS}
    lacking = []
    for name, amount in ((PODS, 1), *demand.items()):
        allocatable = state.allocatable.get(name, 0)
        free = allocatable - state.requested.get(name, 0)
        if amount > free:
            lacking.append(Shortfall(name, amount, free, allocatable))
    return tuple(lacking)


def _excluded(question: Question, state: NodeState) -> Rejection | None:
    """Reject a node that a plugin's list of names leaves out."""
    for plugin, names in question.named_nodes:
        if state.name not in names:
            return unresolvable(plugin, question.exclusion, stage="PreFilter")
    return None


def _first_rejection(question: Question, state: NodeState) -> Rejection | None:
    for plugin in FILTERS:
        rejection = plugin.check(question, state)
        if rejection is not None:
            return rejection
    return None


def _alone(plugin: FilterPlugin, question: Question, state: NodeState) -> Rejection | None:
    """Return what a filter says when it is the only one, with its own PreFilter."""
    whole = plugin.whole(question) if plugin.whole is not None else None
    if whole is not None:
        return whole
    for name, names in question.named_nodes:
        if name == plugin.name and state.name not in names:
            return unresolvable(name, f"node(s) didn't satisfy plugin(s) [{name}]", stage="PreFilter")
    return plugin.check(question, state)


def _node_name(question: Question, state: NodeState) -> Rejection | None:
    if question.shape.node_name in ("", state.name):
        return None
    return unresolvable(NODE_NAME, "node(s) didn't match the requested node name")


def _node_unschedulable(question: Question, state: NodeState) -> Rejection | None:
    tolerated = any(tolerates(each, UNSCHEDULABLE_TAINT) for each in question.shape.tolerations)
    if not state.node.unschedulable or tolerated:
        return None
    return unresolvable("NodeUnschedulable", "node(s) were unschedulable")


def _taint_toleration(question: Question, state: NodeState) -> Rejection | None:
    if untolerated_taint(question.shape, state.node.taints) is None:
        return None
    return unresolvable("TaintToleration", "node(s) had untolerated taint(s)")


def _affinity_conflict(question: Question) -> Rejection | None:
    if affinity_node_names(question.shape) == frozenset():
        return unresolvable(AFFINITY, "pod affinity terms conflict", stage="PreFilter")
    return None


def _node_affinity(question: Question, state: NodeState) -> Rejection | None:
    if matches_node_affinity(question.shape, state.labels, state.name):
        return None
    return unresolvable(AFFINITY, AFFINITY_REASON)


def _node_ports(question: Question, state: NodeState) -> Rejection | None:
    if question.ports and any(ports_conflict(mine, theirs) for mine in question.ports for theirs in state.host_ports):
        return unschedulable("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    return None


def _node_resources_fit(question: Question, state: NodeState) -> Rejection | None:
    lacking = shortfalls(question.shape, state)
    if not lacking:
        return None
    # With more asked for than an empty node has, no eviction can help. Pod slots are not judged so.
    beyond = any(each.requested > each.allocatable for each in lacking if each.resource != PODS)
    reasons = ("Too many pods" if each.resource == PODS else f"Insufficient {each.resource}" for each in lacking)
    code = FilterCode.UNRESOLVABLE if beyond else FilterCode.UNSCHEDULABLE
    return Rejection(plugin=FIT, code=code, reasons=tuple(sorted(reasons)), shortfalls=lacking)


def _topology_spread(question: Question, state: NodeState) -> Rejection | None:
    for counts in question.spread:
        key = counts.constraint.topology_key
        if key not in state.labels:
            return unresolvable("PodTopologySpread", f"{SPREAD_REASON} (missing required label)")
        if not counts.allows(state.labels[key]):
            return unschedulable("PodTopologySpread", SPREAD_REASON)
    return None


def _inter_pod_affinity(question: Question, state: NodeState) -> Rejection | None:
    reason = interpod_rejection(question.shape, question.interpod, state.labels)
    if not reason:
        return None
    say = unresolvable if reason == NO_AFFINITY_MATCH else unschedulable
    return say("InterPodAffinity", reason)


def _volume_limits(question: Question, state: NodeState) -> Rejection | None:
    if question.claims.missing:
        return unresolvable(volumes.LIMITS, question.claims.not_found)
    return volumes.limits_on_node(question.shape, state, question.context)


FILTERS: tuple[FilterPlugin, ...] = (
    FilterPlugin(NODE_NAME, _node_name),
    FilterPlugin("NodeUnschedulable", _node_unschedulable),
    FilterPlugin("TaintToleration", _taint_toleration),
    FilterPlugin(AFFINITY, _node_affinity, _affinity_conflict),
    FilterPlugin("NodePorts", _node_ports),
    FilterPlugin(FIT, _node_resources_fit),
    FilterPlugin(
        volumes.RESTRICTIONS,
        lambda question, _: volumes.restrictions_on_node(question.claims, question.context),
        lambda question: volumes.restrictions_for_pod(question.claims),
    ),
    FilterPlugin(volumes.LIMITS, _volume_limits),
    FilterPlugin(
        volumes.BINDING,
        lambda question, state: volumes.binding_on_node(question.claims, state, question.context),
        lambda question: volumes.binding_for_pod(question.claims, question.context),
    ),
    FilterPlugin(
        volumes.ZONES,
        lambda question, state: volumes.zones_on_node(question.claims, state, question.context),
        lambda question: volumes.zones_for_pod(question.claims, question.context),
    ),
    FilterPlugin("PodTopologySpread", _topology_spread),
    FilterPlugin("InterPodAffinity", _inter_pod_affinity),
)
"""The filters in the order in which they run."""
