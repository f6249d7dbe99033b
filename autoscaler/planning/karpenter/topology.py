"""
All rules between pods at once: which domains they leave for a pod, and what changes when it is placed.

Anti-affinity works both ways, so it is kept twice: as a rule of the pods that
have it, and (inverse) as a rule for whomever they do not want near.

Source: Karpenter `pkg/controllers/provisioning/scheduling/topology.go`, main
of 2026-08-20.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import msgspec

from autoscaler.model.placement import Labels, LabelSelector, PodTerm, Taint
from autoscaler.model.pod import PodShape
from autoscaler.planning.karpenter.requirements import Requirement, Requirements
from autoscaler.planning.karpenter.topology_groups import (
    NO_SKEW,
    Domains,
    NodeView,
    Rule,
    TopologyGroup,
    spread_filter,
)
from autoscaler.scheduling.requirements import label_map, selector_matches, selector_with_label_keys
from autoscaler.scheduling.topology import HARD, HOSTNAME, spread_selector


class PlacedPods(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Pods of one shape on a node that is there: neither ended nor terminating, nor among those to be placed."""

    shape: PodShape
    node: str
    count: int = 1


class PresentNode(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A node that is there, as rules count it. `registered` is False while it is on its way."""

    name: str
    labels: Labels
    taints: tuple[Taint, ...] = ()
    registered: bool = True


class _Own(msgspec.Struct, frozen=True, gc=False):
    """A rule that a pod is subject to, and whether the pod counts for it."""

    group: TopologyGroup
    selects_it: bool


class HostRules(msgspec.Struct, frozen=True, gc=False):
    """Quick part of a pod's rules: on a host, no more pods than the number may be counted."""

    limits: tuple[tuple[Mapping[str, int], int], ...]

    def admits(self, hostname: str) -> bool:
        # A loop, for it is run for every pod and claim.
        for counts, most in self.limits:  # noqa: SIM110
            if counts.get(hostname, 0) > most:
                return False
        return True


class Topology:
    """Mutable: it follows the placements of one solution."""

    def __init__(
        self,
        domains: Domains,
        *,
        nodes: Sequence[PresentNode] = (),
        placed: Sequence[PlacedPods] = (),
        namespaces: Mapping[str, Mapping[str, str]] | None = None,
        respects_preferences: bool = True,
    ) -> None:
        """*namespaces* has the labels of each namespace by name."""
        self._domains, self._namespaces, self._respects = domains, namespaces or {}, respects_preferences
        self._nodes = {node.name: node for node in nodes}
        self._placed = placed
        self._groups: dict[Hashable, TopologyGroup] = {}
        self._inverse: dict[Hashable, TopologyGroup] = {}
        self._hosts: set[str] = set()
        self._rules: dict[PodShape, list[TopologyGroup]] = {}
        self._feared: dict[PodShape, list[TopologyGroup]] = {}
        self._selecting: dict[tuple[str, Labels], list[TopologyGroup]] = {}
        self._own: dict[PodShape, list[_Own]] = {}
        self._host_rules: dict[PodShape, HostRules] = {}
        for each in placed:
            node = self._nodes.get(each.node)
            for group in self._inverse_groups(each.shape):
                domain = label_map(node.labels).get(group.key) if node else None
                group.record(() if domain is None else (domain,), each.count)

    def learn(self, shape: PodShape) -> None:
        """Take up the rules of a pod to be placed; do so for all of them, in their order, before the first is."""
        if shape in self._rules:
            return
        known = len(self._groups) + len(self._inverse)
        self._feared[shape] = list(self._inverse_groups(shape))
        self._rules[shape] = list(dict.fromkeys([*self._spreads(shape), *self._affinities(shape)]))
        if len(self._groups) + len(self._inverse) > known:
            self._selecting.clear()
            self._own.clear()
            self._host_rules.clear()

    def host_rules(self, shape: PodShape) -> HostRules:
        found = self._host_rules.get(shape)
        if found is None:
            limits = [(own.group.counts, own.group.host_limit(selects_it=own.selects_it)) for own in self._owned(shape)]
            found = HostRules(tuple((counts, most) for counts, most in limits if most is not None))
            self._host_rules[shape] = found
        return found

    def narrowed(self, shape: PodShape, hard: Requirements, node: NodeView) -> Requirements | None:
        """
        Return what *node* must be for the pod to go there, None where some rule forbids it.

        *hard* are the pod's own requirements without preferences.
        """
        added: list[Requirement] = []
        for own in self._owned(shape):
            key = own.group.key
            asked = hard.get(key) or Requirement(key=key, complement=True)
            domains = own.group.choose(asked, node.allowed(key), selects_it=own.selects_it)
            if not domains:
                return None
            if key != HOSTNAME:
                added.append(Requirement(key=key, values=domains))
        return node.requirements & Requirements.of(added) if added else node.requirements

    def register_host(self, hostname: str) -> None:
        """Make a host known to all rules about hosts."""
        if hostname not in self._hosts:
            self._hosts.add(hostname)
            for group in (*self._groups.values(), *self._inverse.values()):
                if group.key == HOSTNAME:
                    group.register((hostname,))

    def record(self, shape: PodShape, node: NodeView) -> None:
        """Count a pod where it was placed; *node* is what the node must be from then on."""
        for group in self._groups_selecting(shape):
            if not group.counts_on(node):
                continue
            allowed = node.allowed(group.key)
            if group.rule is Rule.ANTI_AFFINITY or (not allowed.complement and len(allowed.values) == 1):
                group.record(allowed.values)
        for group in self._feared[shape]:
            group.record(node.allowed(group.key).values)

    def _owned(self, shape: PodShape) -> list[_Own]:
        """Return the rules of the pod, and those of others that do not want it near."""
        found = self._own.get(shape)
        if found is None:
            namespace, labels = shape.namespace, shape.labels
            found = [_Own(group, group.selects(namespace, labels)) for group in self._rules[shape]]
            found += [_Own(group, True) for group in self._inverse.values() if group.selects(namespace, labels)]
            self._own[shape] = found
        return found

    def _groups_selecting(self, shape: PodShape) -> list[TopologyGroup]:
        key = (shape.namespace, shape.labels)
        found = self._selecting.get(key)
        if found is None:
            found = [group for group in self._groups.values() if group.selects(*key)]
            self._selecting[key] = found
        return found

    def _spreads(self, shape: PodShape) -> Iterator[TopologyGroup]:
        for constraint in shape.spread:
            if not self._respects and constraint.when_unsatisfiable != HARD:
                continue
            selector = spread_selector(constraint, shape.labels)
            node_filter, told_apart = spread_filter(shape, constraint)
            key = (Rule.SPREAD, constraint.topology_key, shape.namespace, constraint.max_skew, told_apart)
            group = self._groups.get((*key, _selector_key(selector)))
            if group is None:
                group = TopologyGroup(
                    Rule.SPREAD,
                    constraint.topology_key,
                    selector,
                    frozenset((shape.namespace,)),
                    max_skew=constraint.max_skew,
                    min_domains=constraint.min_domains,
                    node_filter=node_filter,
                )
                self._add(group, (*key, _selector_key(selector)), shape)
            yield group

    def _affinities(self, shape: PodShape) -> Iterator[TopologyGroup]:
        affinity = shape.affinity
        soft = (affinity.pod_preferred, affinity.pod_anti_preferred) if self._respects else ((), ())
        together = [*affinity.pod_required, *(each.term for each in soft[0])]
        apart = [*affinity.pod_anti_required, *(each.term for each in soft[1])]
        for rule, terms in ((Rule.AFFINITY, together), (Rule.ANTI_AFFINITY, apart)):
            for term in terms:
                group, key = self._of_term(rule, term, shape)
                if key not in self._groups:
                    self._add(group, key, shape)
                yield self._groups[key]

    def _inverse_groups(self, shape: PodShape) -> Iterator[TopologyGroup]:
        for term in shape.affinity.pod_anti_required:
            group, key = self._of_term(Rule.ANTI_AFFINITY, term, shape)
            if key not in self._inverse:
                group.register(self._domains.of(group.key, shape, honors_taints=True))
                group.register(self._hosts if group.key == HOSTNAME else ())
                self._inverse[key] = group
            yield self._inverse[key]

    def _of_term(self, rule: Rule, term: PodTerm, shape: PodShape) -> tuple[TopologyGroup, Hashable]:
        namespaces = frozenset(self._namespaces_of(term, shape))
        selector = selector_with_label_keys(
            term.selector, shape.labels, term.match_label_keys, term.mismatch_label_keys
        )
        key = (rule, term.topology_key, namespaces, NO_SKEW, _selector_key(selector))
        return TopologyGroup(rule, term.topology_key, selector, namespaces), key

    def _namespaces_of(self, term: PodTerm, shape: PodShape) -> Iterable[str]:
        if term.namespace_selector is None:
            return term.namespaces or (shape.namespace,)
        chosen = [
            name for name, labels in self._namespaces.items() if selector_matches(term.namespace_selector, labels)
        ]
        return (*term.namespaces, *chosen)

    def _add(self, group: TopologyGroup, key: Hashable, shape: PodShape) -> None:
        """Take up a new rule: its domains, and the pods that are there already."""
        # Only a spread may ignore taints: rules of affinity do not know domains behind taints that are not tolerated.
        honors_taints = group.rule is not Rule.SPREAD or group.node_filter.honors_taints
        group.register(self._domains.of(group.key, shape, honors_taints=honors_taints))
        counting = {}
        for node in self._nodes.values():
            counting[node.name] = group.counts_on(_view(node))
            domain = label_map(node.labels).get(group.key)
            if counting[node.name] and node.registered and domain is not None:
                group.register((domain,))
        group.register(self._hosts if group.key == HOSTNAME else ())
        for each in self._placed:
            if counting.get(each.node) and group.selects(each.shape.namespace, each.shape.labels):
                domain = label_map(self._nodes[each.node].labels).get(group.key)
                domain = each.node if domain is None and group.key == HOSTNAME else domain
                group.record(() if domain is None else (domain,), each.count)
        self._groups[key] = group


def _view(node: PresentNode) -> NodeView:
    labels = label_map(node.labels)
    rest = [(key, value) for key, value in labels.items() if key != HOSTNAME]
    return NodeView(Requirements.of_labels(rest), labels.get(HOSTNAME, node.name), node.taints)


def _selector_key(selector: LabelSelector | None) -> Hashable:
    if selector is None:
        return None
    tests = frozenset((each.key, each.operator, frozenset(each.values)) for each in selector.match_expressions)
    return selector.match_labels, tests
