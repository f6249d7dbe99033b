"""
Topology spread: counts by domain, the skew they allow, and the default constraints.

Source: kube-scheduler `framework/plugins/podtopologyspread` (common.go,
filtering.go, scoring.go) and `plugins/helper/spread.go`, v1.37.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from autoscaler.model.placement import Labels, LabelSelector, Operator, Requirement, Taint, TopologySpread
from autoscaler.model.pod import PodShape
from autoscaler.scheduling.context import NodeState, SchedulingContext
from autoscaler.scheduling.requirements import (
    is_everything,
    label_map,
    matches_node_affinity,
    selector_matches,
    selector_with_label_keys,
    untolerated_taint,
)

HARD, SOFT = "DoNotSchedule", "ScheduleAnyway"
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
TEMPLATE_HASH = "pod-template-hash"


class SpreadCounts(msgspec.Struct, frozen=True):
    """
    Matching pods by topology value, over the nodes that count for a constraint.

    A domain without matching pods is there with 0. `own` is 1 if the incoming
    pod matches its own selector. `lowest` is the count to compare with: the
    smallest, 0 while there are fewer domains than minDomains.
    """

    constraint: TopologySpread
    by_domain: Mapping[str, int]
    own: int
    lowest: int

    def allows(self, domain: str) -> bool:
        """Tell whether one more pod in *domain* keeps within the maximal skew."""
        return self.by_domain.get(domain, 0) + self.own - self.lowest <= self.constraint.max_skew


def constraints_of(shape: PodShape, when: str) -> tuple[TopologySpread, ...]:
    """Return the pod's own constraints of one kind: HARD or SOFT."""
    return tuple(constraint for constraint in shape.spread if constraint.when_unsatisfiable == when)


def spread_selector(constraint: TopologySpread, labels: Labels) -> LabelSelector | None:
    """Return the constraint's selector for a pod with *labels*, `matchLabelKeys` resolved."""
    return selector_with_label_keys(constraint.selector, labels, constraint.match_label_keys)


def counts_for(selector: LabelSelector | None, namespace: str, other: PodShape) -> bool:
    """
    Tell whether pods of class *other* count for a constraint of a pod in *namespace*.

    An empty selector counts nothing (although it matches the incoming pod).
    Terminating pods do not count either, which is the caller's to leave out.
    """
    if other.namespace != namespace or is_everything(selector):
        return False
    return selector_matches(selector, label_map(other.labels))


def node_counts_for(
    constraint: TopologySpread, shape: PodShape, labels: Mapping[str, str], *, name: str, taints: tuple[Taint, ...]
) -> bool:
    """Tell whether a node's domain takes part, by nodeAffinityPolicy and nodeTaintsPolicy."""
    if constraint.node_affinity_policy == "Honor" and not matches_node_affinity(shape, labels, name):
        return False
    return constraint.node_taints_policy != "Honor" or untolerated_taint(shape, taints) is None


def spread_counts(
    constraint: TopologySpread,
    shape: PodShape,
    context: SchedulingContext,
    *,
    domain_of: Callable[[NodeState], str | None],
) -> SpreadCounts:
    """
    Count the pods that match one constraint, by domain.

    *domain_of* gives the domain a node would be in, None where it cannot take
    part for lack of a label; nodes that the policies leave out are dropped here.
    """
    selector = spread_selector(constraint, shape.labels)
    domains: dict[str, str] = {}
    for state in context.nodes.values():
        domain = domain_of(state)
        if domain is not None and node_counts_for(
            constraint, shape, state.labels, name=state.name, taints=state.node.taints
        ):
            domains[state.name] = domain
    counts = dict.fromkeys(domains.values(), 0)
    for other, placements in context.placements.items():
        if counts_for(selector, shape.namespace, other):
            for state, terminating in placements:
                if not terminating and state.name in domains:
                    counts[domains[state.name]] += 1
    own = 1 if selector_matches(selector, label_map(shape.labels)) else 0
    enough = len(counts) >= max(1, constraint.min_domains or 1)
    return SpreadCounts(constraint, counts, own, min(counts.values()) if enough else 0)


def hard_spread(shape: PodShape, context: SchedulingContext) -> tuple[SpreadCounts, ...]:
    """
    Return the counts of the pod's hard constraints, in order.

    Only nodes that have the topology keys of all hard constraints take part.
    """
    constraints = constraints_of(shape, HARD)
    keys = tuple(constraint.topology_key for constraint in constraints)

    def counted(constraint: TopologySpread) -> SpreadCounts:
        return spread_counts(
            constraint,
            shape,
            context,
            domain_of=lambda state: (
                state.labels[constraint.topology_key] if all(key in state.labels for key in keys) else None
            ),
        )

    return tuple(map(counted, constraints))


def default_constraints(shape: PodShape, workload: str, context: SchedulingContext) -> tuple[TopologySpread, ...]:
    """
    Return the scheduler's built-in soft constraints for a pod without any of its own.

    They apply only where a Service, or the pod's own controller, selects it.
    *workload* is the key of the pod's owner, "" for none.
    """
    selector = _default_selector(shape, workload, context)
    if is_everything(selector):
        return ()
    return (
        TopologySpread(max_skew=3, topology_key=HOSTNAME, when_unsatisfiable=SOFT, selector=selector),
        TopologySpread(max_skew=5, topology_key=ZONE, when_unsatisfiable=SOFT, selector=selector),
    )


def _default_selector(shape: PodShape, workload: str, context: SchedulingContext) -> LabelSelector:
    """Merge the selectors of the Services that select the pod with that of its controller."""
    labels = label_map(shape.labels)
    merged: dict[str, str] = {}
    for service in context.services:
        if service.namespace == shape.namespace and service.selector is not None:
            selector = dict(service.selector)
            if selector.items() <= labels.items():
                merged.update(selector)
    owner = context.workloads.get(workload)
    if owner is None or owner.kind not in ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"):
        return LabelSelector(tuple(sorted(merged.items())))
    expressions = [Requirement(key, Operator.IN, (value,)) for key, value in owner.selector.match_labels]
    if owner.kind == "Deployment" and TEMPLATE_HASH in labels:
        # The controller of such a pod is a ReplicaSet, which selects by the hash of its template too.
        expressions.append(Requirement(TEMPLATE_HASH, Operator.IN, (labels[TEMPLATE_HASH],)))
    return LabelSelector(tuple(sorted(merged.items())), owner.selector.match_expressions + tuple(expressions))
