"""
One rule between pods, and how many pods are where under it.

A group stands for all pods with the same rule: a spread constraint, a term of
affinity or of anti-affinity. It counts the pods that its selector selects by
domain (zone, host, or any other label's value).

Source: Karpenter `pkg/controllers/provisioning/scheduling/topologygroup.go`,
`topologynodefilter.go` and `topologydomaingroup.go`, main of 2026-08-20.
Where the original takes any of several equal domains, the first by name is taken.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterable, Mapping, Sequence

import msgspec

from autoscaler.model.placement import Labels, LabelSelector, Taint, Toleration, TopologySpread
from autoscaler.model.pod import PodShape
from autoscaler.planning.karpenter.requirements import Requirement, Requirements, hostname_part, requirements_of_tests
from autoscaler.planning.karpenter.taints import tolerates_all
from autoscaler.scheduling.requirements import label_map, selector_matches
from autoscaler.scheduling.topology import HOSTNAME

NO_SKEW = (1 << 31) - 1


class Rule(enum.Enum):
    SPREAD = "topology spread"
    AFFINITY = "pod affinity"
    ANTI_AFFINITY = "pod anti-affinity"


class NodeView(msgspec.Struct, frozen=True, gc=False):
    """A node, there or to come, as rules see it: its taints, what its labels may be, and its host's name."""

    requirements: Requirements
    hostname: str
    taints: tuple[Taint, ...] = ()

    def allowed(self, key: str) -> Requirement:
        """Return which values of a label it may have."""
        if key == HOSTNAME:
            return Requirement(key=key, values=frozenset((self.hostname,)))
        return self.requirements.get(key) or Requirement(key=key, complement=True)


class NodeFilter(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Which nodes count for a spread constraint; the default takes all.

    `terms` are alternatives, looked at where affinity is honoured.
    """

    terms: tuple[Requirements, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    honors_taints: bool = False

    def admits(self, node: NodeView) -> bool:
        if self.honors_taints and not tolerates_all(self.tolerations, node.taints):
            return False
        return not self.terms or any(_meets(node, term) for term in self.terms)


EVERY_NODE = NodeFilter()


def spread_filter(shape: PodShape, constraint: TopologySpread) -> tuple[NodeFilter, Hashable]:
    """
    Return which nodes count for a pod's constraint, and what tells filters apart.

    As in the original, filters are told apart by the labels that they look at
    and not by the values: of two pods with equal constraints that select
    different zones, the filter of the first counts for both. Terms that look at
    the same labels cancel each other out in pairs.
    """
    required = shape.affinity.node_required
    tests = [()] if required is None else [term.match_expressions for term in required]
    terms = tuple(requirements_of_tests(shape.node_selector, each) for each in tests)
    honors = constraint.node_affinity_policy == "Honor"
    chosen = NodeFilter(
        terms=terms if honors and all(term.items for term in terms) else (),
        tolerations=shape.tolerations,
        honors_taints=constraint.node_taints_policy == "Honor",
    )
    labels = _in_odd_number(frozenset(each.key for each in term.items) for term in terms)
    policies = (constraint.node_affinity_policy, constraint.node_taints_policy)
    return chosen, (labels, _in_odd_number(shape.tolerations), policies)


class TopologyGroup:
    """The pods of one rule by domain. Domains without any are known, too."""

    def __init__(
        self,
        rule: Rule,
        key: str,
        selector: LabelSelector | None,
        namespaces: frozenset[str],
        *,
        max_skew: int = NO_SKEW,
        min_domains: int | None = None,
        node_filter: NodeFilter = EVERY_NODE,
    ) -> None:
        self.rule, self.key, self.selector, self.namespaces = rule, key, selector, namespaces
        self.max_skew, self.min_domains, self.node_filter = max_skew, min_domains, node_filter
        self.counts: dict[str, int] = {}
        self._occupied = 0
        self._admitted: dict[tuple[Requirements, tuple[Taint, ...]], bool] = {}

    def register(self, domains: Iterable[str]) -> None:
        """Make domains known."""
        for domain in domains:
            self.counts.setdefault(domain, 0)

    def record(self, domains: Iterable[str], pods: int = 1) -> None:
        for domain in domains:
            before = self.counts.get(domain, 0)
            self._occupied += before == 0
            self.counts[domain] = before + pods

    def selects(self, namespace: str, labels: Labels) -> bool:
        return namespace in self.namespaces and selector_matches(self.selector, label_map(labels))

    def counts_on(self, node: NodeView) -> bool:
        """Tell whether a selected pod on *node* counts."""
        if self.node_filter is EVERY_NODE:
            return True
        key = (node.requirements, node.taints)
        found = self._admitted.get(key)
        if found is None:
            found = self.node_filter.admits(node)
            if not any(hostname_part(term)[1] for term in self.node_filter.terms):
                self._admitted[key] = found
        return found

    def host_limit(self, *, selects_it: bool) -> int | None:
        """Return how many counted pods a host may hold for one more pod; None where it is not as simple as that."""
        if self.key != HOSTNAME or self.rule is Rule.AFFINITY:
            return None
        return self.max_skew - selects_it if self.rule is Rule.SPREAD else 0

    def choose(self, pod: Requirement, node: Requirement, *, selects_it: bool) -> frozenset[str]:
        """
        Return the domains that the rule leaves for one more pod, empty when there is none.

        *pod* and *node* say which domains the pod's hard rules and the node
        allow; *selects_it* whether the pod counts for the rule itself.
        """
        if self.rule is Rule.SPREAD:
            return self._spread(pod, node, own=int(selects_it))
        if self.rule is Rule.AFFINITY:
            return self._together(pod, node, selects_it=selects_it)
        return self._apart(pod, node)

    def _spread(self, pod: Requirement, node: Requirement, *, own: int) -> frozenset[str]:
        """Choose the least filled domain within the skew."""
        lowest = self._lowest(pod)
        if self.key == HOSTNAME and len(node.values) == 1:
            fits = all(self.counts.get(host, 0) + own <= self.max_skew for host in node.values)
            return node.values if fits else frozenset()
        within = [
            (self.counts[domain], domain)
            for domain in self._candidates(node)
            if self.counts[domain] + own - lowest <= self.max_skew
        ]
        return frozenset((min(within)[1],)) if within else frozenset()

    def _lowest(self, pod: Requirement) -> int:
        """Return the fewest pods in any domain that the pod could go to; a new host is always empty."""
        if self.key == HOSTNAME:
            return 0
        found = [count for domain, count in self.counts.items() if pod.has(domain)]
        if self.min_domains is not None and len(found) < self.min_domains:
            return 0
        return min(found, default=NO_SKEW)

    def _together(self, pod: Requirement, node: Requirement, *, selects_it: bool) -> frozenset[str]:
        """Leave the domains with company; the first of its kind may start one."""
        if self.key == HOSTNAME and len(node.values) == 1:
            host = next(iter(node.values))
            if not pod.has(host):
                return frozenset()
            starts = selects_it and self._may_start(pod)
            return node.values if self.counts.get(host, 0) > 0 or starts else frozenset()
        company = frozenset(each for each in self._candidates(node) if self.counts[each] > 0 and pod.has(each))
        if company or not (selects_it and self._may_start(pod)):
            return company
        both = pod & node
        inside = sorted(domain for domain in self.counts if both.has(domain))
        return frozenset((inside or sorted(domain for domain in self.counts if pod.has(domain)))[:1])

    def _may_start(self, pod: Requirement) -> bool:
        """Tell whether no pod of the kind is anywhere that this one could join."""
        return not self._occupied or not any(count > 0 and pod.has(domain) for domain, count in self.counts.items())

    def _apart(self, pod: Requirement, node: Requirement) -> frozenset[str]:
        """Leave the empty domains."""
        if self.key == HOSTNAME and len(node.values) == 1:
            return frozenset(host for host in node.values if not self.counts.get(host, 0))
        return frozenset(each for each in self._candidates(node) if not self.counts[each] and pod.has(each))

    def _candidates(self, node: Requirement) -> Sequence[str]:
        if not node.complement:
            return [domain for domain in node.values if domain in self.counts]
        return [domain for domain in self.counts if node.has(domain)]


class Domains:
    """The values that each label may have on nodes to come, and behind which taints."""

    def __init__(self) -> None:
        self._taints: dict[str, dict[str, list[tuple[Taint, ...]]]] = {}

    def add(self, key: str, values: Iterable[str], taints: tuple[Taint, ...]) -> None:
        known = self._taints.setdefault(key, {})
        for value in values:
            behind = known.get(value)
            if behind is None or not taints:
                known[value] = [taints]
            elif behind[0] and taints not in behind:
                behind.append(taints)

    def of(self, key: str, shape: PodShape, *, honors_taints: bool) -> list[str]:
        """Return the domains for a pod; with *honors_taints* only those with a node that it tolerates."""
        known: Mapping[str, list[tuple[Taint, ...]]] = self._taints.get(key, {})
        return [
            value
            for value, behind in known.items()
            if not honors_taints or any(tolerates_all(shape.tolerations, taints) for taints in behind)
        ]


def _meets(node: NodeView, term: Requirements) -> bool:
    rest, host = hostname_part(term)
    if host is not None and not host.has(node.hostname):
        return False
    return node.requirements.conflict(rest) is None


def _in_odd_number(values: Iterable[Hashable]) -> frozenset[Hashable]:
    found: set[Hashable] = set()
    for value in values:
        found ^= {value}
    return frozenset(found)
