"""
Rules between pending pods of different classes, for pods that have no node yet.

An ask says what one class wants by itself. Where a rule of one class is about
pods of another (anti-affinity among all pods of an app, whatever their size; a
spread whose selector takes in other workloads), classes must be packed
together. Equal rules of many classes are one group here, with one count of
pods by domain and one by new node.

The rules are those of kube-scheduler (`scheduling.topology`,
`scheduling.interpod`); the emptiest host is taken to be empty, as a new one is.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial

import msgspec
import numpy as np

from autoscaler.model.arrays import Ints
from autoscaler.model.node import Node
from autoscaler.model.placement import LabelSelector, PodTerm, TopologySpread
from autoscaler.model.pod import PodShape
from autoscaler.scheduling.context import host_ports
from autoscaler.scheduling.interpod import matches_all_terms
from autoscaler.scheduling.requirements import (
    label_map,
    matches_node_affinity,
    selector_matches,
    term_matches_pod,
    untolerated_taint,
)
from autoscaler.scheduling.simulation import Simulation
from autoscaler.scheduling.topology import HARD, HOSTNAME, constraints_of, spread_selector

Namespaces = Mapping[str, Mapping[str, str]]
"""Labels by name of namespace."""
Selects = Callable[[PodShape], bool]
Domain = Callable[[str], str | None]
"""Gives a node's value of a topology key, None where it has none."""


class Kind(enum.Enum):
    SPREAD = "spread"
    TOGETHER = "affinity"
    APART = "anti-affinity"


class Tally:
    """Pods by new node (`on_host`, by row) and by domain of other topology keys."""

    def __init__(self) -> None:
        self.on_host: Ints = np.zeros(0, np.int64)
        self.by_domain: dict[tuple[str, str], int] = {}

    def resize(self, rows: int) -> None:
        self.on_host = np.concatenate([self.on_host, np.zeros(rows - len(self.on_host), np.int64)])

    def know(self, key: str, domain: str, pods: int = 0) -> None:
        """Count pods in a domain of a label; with none, it is known to be there."""
        self.by_domain[key, domain] = self.by_domain.get((key, domain), 0) + pods

    def add(self, keys: Sequence[str], row: int, pods: int, domain: Domain) -> None:
        """Count pods on a new node."""
        for key in keys:
            if key == HOSTNAME:
                self.on_host[row] += pods
            elif (name := domain(key)) is not None:
                self.know(key, name, pods)


class RuleGroup:
    """
    One rule: the pods that count for it, and, of anti-affinity, the pods that have it.

    `skew` and `least` (domains) are a spread's. `owner` is a shape with the rule.
    """

    def __init__(
        self,
        kind: Kind,
        keys: tuple[str, ...],
        selects: Selects,
        *,
        owner: PodShape,
        spread: TopologySpread | None = None,
    ) -> None:
        self.kind, self.keys, self.selects, self.owner, self.spread = kind, keys, selects, owner, spread
        self.pods, self.owners = Tally(), Tally()

    @property
    def about_hosts(self) -> bool:
        return HOSTNAME in self.keys

    @property
    def about_domains(self) -> bool:
        return any(key != HOSTNAME for key in self.keys)

    def resize(self, rows: int) -> None:
        """Make room to count on so many new nodes."""
        self.pods.resize(rows)
        self.owners.resize(rows)

    def is_empty(self) -> bool:
        """Tell whether no pod that counts is anywhere."""
        return not self.pods.on_host.any() and not any(self.pods.by_domain.values())

    def allows(self, domain: Domain, *, counts: bool, starts: bool) -> bool:
        """
        Tell whether one more pod with the rule may go into these domains; hosts are not looked at.

        *counts* says that the pod counts for the rule, *starts* that it may be
        where no other is although the rule wants company.
        """
        return all(self._allows(key, domain(key), counts=counts, starts=starts) for key in self.keys if key != HOSTNAME)

    def keeps_away(self, domain: Domain) -> bool:
        """Tell whether a pod that has this anti-affinity is in one of these domains; hosts are not looked at."""
        return any(self.owners.by_domain.get((key, domain(key) or ""), 0) > 0 for key in self.keys)

    def takes_in(self, node: Node) -> bool:
        """Tell whether pods on a node that is there count for the rule."""
        if self.spread is None:
            return True
        if self.spread.node_taints_policy == "Honor" and untolerated_taint(self.owner, node.taints) is not None:
            return False
        labels = label_map(node.labels)
        return self.spread.node_affinity_policy != "Honor" or matches_node_affinity(self.owner, labels, node.name)

    def _allows(self, key: str, name: str | None, *, counts: bool, starts: bool) -> bool:
        found = self.pods.by_domain.get((key, name or ""), 0)
        if self.kind is Kind.APART:
            return not found
        if name is None:
            return False
        if self.kind is Kind.TOGETHER:
            return found > 0 or starts
        assert self.spread is not None
        levels = self.pods.by_domain.values()
        lowest = min(levels, default=0) if len(levels) >= (self.spread.min_domains or 1) else 0
        return found + counts - lowest <= self.spread.max_skew


class ClassRules(msgspec.Struct, frozen=True, eq=False):
    """
    What rules do with one class.

    `own` has each rule of the class and whether its pods count for it, `first`
    whether they may start a group that wants to be together; `counted` are all
    rules for which they count, `feared` the anti-affinities among these.
    """

    own: tuple[tuple[RuleGroup, bool], ...] = ()
    first: bool = False
    counted: tuple[RuleGroup, ...] = ()
    feared: tuple[RuleGroup, ...] = ()

    def host_limits(self) -> Iterator[tuple[Ints, int, bool]]:
        """Yield (pods by new node, the most there may be for one more, whether that one counts)."""
        for group, counts in self.own:
            if group.about_hosts and group.spread is not None:
                yield group.pods.on_host, group.spread.max_skew - counts, counts
            elif group.about_hosts and group.kind is Kind.APART:
                yield group.pods.on_host, 0, counts
        for group in self.feared:
            if group.about_hosts:
                yield group.owners.on_host, 0, False

    def host_company(self) -> Iterator[Ints]:
        """Yield the pods by new node of which one must be on a host for the class to go there."""
        for group, _ in self.own:
            if group.kind is Kind.TOGETHER and group.about_hosts and not (self.first and group.is_empty()):
                yield group.pods.on_host

    @property
    def is_free(self) -> bool:
        """Tell whether no rule says anything about the class."""
        return not self.own and not self.counted

    @property
    def moves_domains(self) -> bool:
        """Tell whether a pod that is placed can change where the next of its class may go, hosts apart."""
        return any(counts and group.about_domains for group, counts in self.own)

    def allows(self, domain: Domain) -> bool:
        """Tell whether rules about other domains than hosts let a pod into these."""
        for group, counts in self.own:
            starts = group.kind is Kind.TOGETHER and self.first and group.is_empty()
            if not group.allows(domain, counts=counts, starts=starts):
                return False
        return not any(group.keeps_away(domain) for group in self.feared)

    def place(self, row: int, pods: int, domain: Domain) -> None:
        """Count pods that go to a new node."""
        for group in self.counted:
            group.pods.add(group.keys, row, pods, domain)
        for group, _ in self.own:
            if group.kind is Kind.APART:
                group.owners.add(group.keys, row, pods, domain)


class RuleBook:
    """
    The rules of some pending classes, equal ones as one group.

    `coupled` are the classes that a rule ties to another class; each of the
    others can be packed by itself.
    """

    def __init__(self, shapes: Mapping[int, PodShape], namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._groups: dict[Hashable, RuleGroup] = {}
        self._of_labels: dict[Hashable, tuple[RuleGroup, ...]] = {}
        self._of_class: dict[int, ClassRules] = {}
        alike: dict[Hashable, list[int]] = {}
        for index, shape in shapes.items():
            alike.setdefault(_signature(shape), []).append(index)
        own = [tuple(dict.fromkeys(self._own(shapes[classes[0]]))) for classes in alike.values()]
        involved: dict[RuleGroup, int] = {}
        for groups, classes in zip(own, alike.values(), strict=True):
            rules = self._rules(shapes[classes[0]], groups)
            self._of_class.update(dict.fromkeys(classes, rules))
            for group in {*groups, *rules.counted}:
                involved[group] = involved.get(group, 0) + len(classes)
        self.coupled = frozenset(
            index
            for index, rules in self._of_class.items()
            if any(involved[group] > 1 for group in (*(group for group, _ in rules.own), *rules.counted))
        )

    @property
    def groups(self) -> Sequence[RuleGroup]:
        return tuple(self._groups.values())

    def rules(self, index: int) -> ClassRules:
        return self._of_class[index]

    def _own(self, shape: PodShape) -> Iterator[RuleGroup]:
        namespace, labels, affinity = shape.namespace, shape.labels, shape.affinity
        for constraint in constraints_of(shape, HARD):
            selector = spread_selector(constraint, labels)
            plain = msgspec.structs.replace(constraint, selector=selector, match_label_keys=())
            selects = partial(_is_selected, selector, namespace)
            group = RuleGroup(Kind.SPREAD, (constraint.topology_key,), selects, owner=shape, spread=plain)
            yield self._known((plain, namespace, _nodes_read(shape)), group)
        if affinity.pod_required:
            keys = tuple(dict.fromkeys(term.topology_key for term in affinity.pod_required))
            selects = partial(self._matches_all, affinity.pod_required, shape)
            group = RuleGroup(Kind.TOGETHER, keys, selects, owner=shape)
            yield self._known((affinity.pod_required, namespace, _labels_read(affinity.pod_required, shape)), group)
        for term in affinity.pod_anti_required:
            selects = partial(self._matches, term, shape)
            group = RuleGroup(Kind.APART, (term.topology_key,), selects, owner=shape)
            yield self._known((term, namespace, _labels_read((term,), shape)), group)
        for _, protocol, port in host_ports(shape):
            selects = partial(_takes_port, protocol, port)
            yield self._known((protocol, port), RuleGroup(Kind.APART, (HOSTNAME,), selects, owner=shape))

    def _known(self, key: Hashable, group: RuleGroup) -> RuleGroup:
        """Return the group that is known under *key*, *group* itself if none is."""
        return self._groups.setdefault((group.kind, key), group)

    def _rules(self, shape: PodShape, own: tuple[RuleGroup, ...]) -> ClassRules:
        counted = self._counted(shape)
        return ClassRules(
            own=tuple((group, group in counted) for group in own),
            first=matches_all_terms(shape.affinity.pod_required, shape, shape, self._namespaces),
            counted=counted,
            feared=tuple(group for group in counted if group.kind is Kind.APART),
        )

    def _counted(self, shape: PodShape) -> tuple[RuleGroup, ...]:
        key = (shape.namespace, shape.labels, host_ports(shape))
        found = self._of_labels.get(key)
        if found is None:
            found = self._of_labels[key] = tuple(group for group in self._groups.values() if group.selects(shape))
        return found

    def _matches(self, term: PodTerm, owner: PodShape, other: PodShape) -> bool:
        return term_matches_pod(term, owner, other, self._namespaces)

    def _matches_all(self, terms: tuple[PodTerm, ...], owner: PodShape, other: PodShape) -> bool:
        return matches_all_terms(terms, owner, other, self._namespaces)


def count_present(groups: Sequence[RuleGroup], there: Simulation, nodes: Sequence[Node]) -> None:
    """Count the pods on *nodes*, which are those *there*, under rules about other domains than hosts."""
    for group in groups:
        if not group.about_domains:
            continue
        terminating = group.kind is not Kind.SPREAD
        pods = {there.names[row]: n for row, n in there.pods_where(group.selects, terminating=terminating).items()}
        for node in nodes:
            if group.takes_in(node):
                labels = label_map(node.labels)
                for key in group.keys:
                    if key != HOSTNAME and key in labels:
                        group.pods.know(key, labels[key], pods.get(node.name, 0))


def _signature(shape: PodShape) -> Hashable:
    """Return what rules read of a shape: classes that agree in it have the same rules."""
    terms = (shape.affinity.pod_required, shape.affinity.pod_anti_required)
    nodes = _nodes_read(shape) if shape.spread else ()
    return shape.namespace, shape.labels, shape.spread, terms, host_ports(shape), nodes


def _nodes_read(shape: PodShape) -> Hashable:
    """Return what decides which nodes take part in a spread."""
    return shape.node_selector, shape.affinity.node_required, shape.tolerations


def _labels_read(terms: Sequence[PodTerm], shape: PodShape) -> Hashable:
    """Return the owner's labels where a term takes values from them."""
    return shape.labels if any(term.match_label_keys or term.mismatch_label_keys for term in terms) else ()


def _is_selected(selector: LabelSelector | None, namespace: str, shape: PodShape) -> bool:
    return shape.namespace == namespace and selector_matches(selector, label_map(shape.labels))


def _takes_port(protocol: str, port: int, shape: PodShape) -> bool:
    return any(each[1:] == (protocol, port) for each in host_ports(shape))
