"""
What one class of pods asks, in the numbers and tests that columns need.

A class is a shape, and whether its pods are terminating: kube-scheduler counts
terminating pods for resources, ports and inter-pod rules, not for spread.
A `ClassBook` gives each class a number; it only grows, so forks of one
simulation share it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache

from autoscaler.model.placement import Effect, LabelSelector, PodTerm, PreferredPodTerm, Taint, TopologySpread
from autoscaler.model.pod import Phase, Pod, PodShape
from autoscaler.model.resources import CPU, EPHEMERAL, MEMORY, PODS, Resources
from autoscaler.model.workload import Namespace
from autoscaler.scheduling.context import host_ports, ports_conflict
from autoscaler.scheduling.interpod import HARD_AFFINITY_WEIGHT, matches_all_terms
from autoscaler.scheduling.requests import effective_requests, scoring_requests
from autoscaler.scheduling.requirements import (
    label_map,
    selector_matches,
    term_matches_pod,
    untolerated_taint,
)
from autoscaler.scheduling.topology import HARD, SOFT, constraints_of, counts_for, spread_selector

_SUCCEEDED, _FAILED = Phase.SUCCEEDED, Phase.FAILED
PODS_COLUMN, CPU_COLUMN, MEMORY_COLUMN = 0, 1, 2
MAX_AMOUNT = 1 << 53
"""Larger amounts of a node are cut to this, larger requests to one more, which fits nowhere."""
_MAX_INT32 = (1 << 31) - 1
CORDON = Taint("node.kubernetes.io/unschedulable", Effect.NO_SCHEDULE)
"""What NodeUnschedulable looks for among the tolerations."""
ANY = "*"

DefaultSpread = Callable[[PodShape], tuple[TopologySpread, ...]]
"""Gives the soft constraints that the scheduler adds to a pod without any of its own."""
Weigh = Callable[["PodClass"], int]


def no_default_spread(shape: PodShape) -> tuple[TopologySpread, ...]:
    """Add nothing, as for a pod that no Service and no controller selects."""
    return ()


class TallySpec:
    """
    A question about the pods on nodes: how much do those on each node weigh?

    `streams` name the lists of classes that may weigh anything at all.
    """

    __slots__ = ("streams", "weigh")

    def __init__(self, streams: tuple[tuple[str, ...], ...], weigh: Weigh) -> None:
        self.streams = streams
        self.weigh = weigh


PodRules = tuple[TallySpec | None, bool, Mapping[str, TallySpec], Mapping[str, TallySpec]]


@lru_cache(maxsize=1 << 14)
def _spread_tally(selector: LabelSelector | None, namespace: str) -> TallySpec:
    """Return the tally of the pods that a spread constraint counts; equal constraints share it."""
    return TallySpec(
        (("ns", namespace),),
        lambda other: int(not other.terminating and counts_for(selector, namespace, other.shape)),
    )


class SpreadTest:
    """One topology spread constraint of a class; `own` is 1 if the class matches its own selector."""

    __slots__ = ("constraint", "matching", "max_skew", "own")

    def __init__(self, constraint: TopologySpread, shape: PodShape) -> None:
        selector = spread_selector(constraint, shape.labels)
        self.constraint = constraint
        self.max_skew = max(-_MAX_INT32, min(constraint.max_skew, _MAX_INT32))
        self.own = 1 if selector_matches(selector, label_map(shape.labels)) else 0
        self.matching = _spread_tally(selector, shape.namespace)


class ShapeRules:
    """What placement reads of a shape alone, the same in every book; `rules_of` works it out once."""

    __slots__ = (
        "affinity_keys", "amounts", "hard", "ports", "scored", "signature", "sizes", "soft", "streams",
        "tolerates_cordon",
    )  # fmt: skip

    def __init__(self, shape: PodShape) -> None:
        affinity, demand, scored = shape.affinity, effective_requests(shape), scoring_requests(shape)
        self.amounts = _amounts(demand, pods=1)
        self.sizes = (cut(demand.cpu), cut(demand.memory))
        self.scored = (cut(scored.cpu), cut(scored.memory))
        self.tolerates_cordon = untolerated_taint(shape, (CORDON,)) is None
        self.signature = (
            shape.node_selector, affinity.node_required, affinity.node_preferred, shape.tolerations, shape.node_name,
            shape.volume_terms,
        )  # fmt: skip
        self.hard = _tests(constraints_of(shape, HARD), shape)
        self.soft = _tests(constraints_of(shape, SOFT), shape)
        self.affinity_keys = tuple(dict.fromkeys(term.topology_key for term in affinity.pod_required))
        self.ports = _port_tally(shape)
        self.streams = _streams(shape)


@lru_cache(maxsize=1 << 15)
def rules_of(shape: PodShape) -> ShapeRules:
    """Return the rules of a shape; each decision makes a book of its own, mostly of the same shapes."""
    return ShapeRules(shape)


class PodClass:
    """
    One class with all that placement reads of it, worked out once.

    `asks` are (column, amount) that must fit, `takes` those it uses up, zeros
    left out; `sizes` is cpu and memory, `scored` the same
    as LeastAllocated counts them.
    `independent`: where a pod may go does not hang on its siblings' places;
    `plain`: nor does how well a place is liked.
    """

    __slots__ = (
        "affinity", "affinity_keys", "anti", "asks", "first", "hard", "independent", "index", "plain", "ports",
        "scored", "shape", "signature", "sizes", "soft", "soft_is_default", "takes", "terminating",
        "tolerates_cordon", "wishes",
    )  # fmt: skip

    def __init__(self, shape: PodShape, *, terminating: bool, index: int, book: ClassBook) -> None:
        rules = rules_of(shape)
        self.shape, self.terminating, self.index = shape, terminating, index
        self.takes = book.by_column(rules.amounts)
        self.asks = tuple([take for take in self.takes if take[1] > 0])
        self.sizes, self.scored, self.signature = rules.sizes, rules.scored, rules.signature
        self.tolerates_cordon, self.affinity_keys = rules.tolerates_cordon, rules.affinity_keys
        self.hard, self.ports = rules.hard, rules.ports
        self.soft_is_default = not shape.spread
        self.soft = _tests(book.default_spread(shape), shape) if self.soft_is_default else rules.soft
        self.affinity, self.first, self.anti, self.wishes = book.pod_rules(shape)
        self.independent = not (self.hard or self.affinity or self.anti or self.ports)
        self.plain = self.independent and not (self.soft or self.wishes)


class ClassBook:
    """The classes seen so far, in lists by what could make another class care about them."""

    def __init__(self, namespaces: Iterable[Namespace], default_spread: DefaultSpread) -> None:
        self.namespaces: Mapping[str, Mapping[str, str]] = {each.name: label_map(each.labels) for each in namespaces}
        self.default_spread = default_spread
        self.columns: dict[str, int] = {PODS: PODS_COLUMN, CPU: CPU_COLUMN, MEMORY: MEMORY_COLUMN, EPHEMERAL: 3}
        self.classes: list[PodClass] = []
        self.streams: dict[tuple[str, ...], list[PodClass]] = {}
        self.anti_keys: list[str] = []
        self.wish_keys: list[str] = []
        self._keys = {"anti": self.anti_keys, "wish": self.wish_keys}
        self._amounts: dict[tuple[Resources, int], tuple[tuple[int, int], ...]] = {}
        self._by_shape: tuple[dict[PodShape, PodClass], dict[PodShape, PodClass]] = ({}, {})
        # Classes that differ in nothing which a rule reads share its tally, so that it is kept once.
        self._pod_rules: dict[Hashable, PodRules] = {}
        self._repelling: dict[Hashable, TallySpec] = {}
        self._wanting: dict[Hashable, TallySpec] = {}

    def of(self, shape: PodShape, *, terminating: bool = False) -> PodClass:
        """Return the class of a shape; equal shapes have one class."""
        known = self._by_shape[terminating]
        found = known.get(shape)
        if found is None:
            found = PodClass(shape, terminating=terminating, index=len(self.classes), book=self)
            known[shape] = found
            self.classes.append(found)
            self._file(found)
        return found

    def placed(self, pods: Iterable[Pod], rows: Mapping[str, int]) -> tuple[list[int], list[int]]:
        """Return class index and row of each pod that counts: it has not ended and its node has a row in *rows*."""
        # By identity first: siblings share their shape object, and 150,000 equal hashes cost more than that.
        seen: tuple[dict[int, int], dict[int, int]] = ({}, {})
        kinds: list[int] = []
        at: list[int] = []
        for pod in pods:
            row, phase = rows.get(pod.node), pod.phase
            if row is None or phase is _SUCCEEDED or phase is _FAILED:
                continue
            terminating, shape = pod.deleted_at is not None, pod.shape
            index = seen[terminating].get(id(shape))
            if index is None:
                index = seen[terminating][id(shape)] = self.of(shape, terminating=terminating).index
            kinds.append(index)
            at.append(row)
        return kinds, at

    def amounts(self, resources: Resources, *, pods: int) -> tuple[tuple[int, int], ...]:
        """Return amounts by column, *pods* pod slots added, in int64's safe range."""
        found = self._amounts.get((resources, pods))
        if found is None:
            found = self._amounts[resources, pods] = self.by_column(_amounts(resources, pods=pods))
        return found

    def by_column(self, amounts: Iterable[tuple[str, int]]) -> tuple[tuple[int, int], ...]:
        columns = self.columns
        return tuple([(columns.setdefault(name, len(columns)), amount) for name, amount in amounts])

    def column(self, name: str) -> int:
        """Return the column of a resource, a new one for a new name."""
        return self.columns.setdefault(name, len(self.columns))

    def pod_rules(self, shape: PodShape) -> PodRules:
        """Return a shape's rules about other pods: its affinity, whether it may be the first, anti-affinity, wishes."""
        affinity = shape.affinity
        needs, soft = affinity.pod_required, (affinity.pod_preferred, affinity.pod_anti_preferred)
        if not (needs or affinity.pod_anti_required or any(soft)):
            return None, False, {}, {}
        place = (shape.namespace, shape.labels, needs, affinity.pod_anti_required, *soft)
        if place not in self._pod_rules:
            self._pod_rules[place] = (
                _affinity_tally(shape, self.namespaces) if needs else None,
                bool(needs) and matches_all_terms(needs, shape, shape, self.namespaces),
                _anti_tallies(shape, self.namespaces),
                _wish_tallies(shape, self.namespaces),
            )
        return self._pod_rules[place]

    def repelling(self, pod_class: PodClass, key: str) -> TallySpec:
        """Return the tally of pods whose required anti-affinity over *key* keeps *pod_class* away."""
        place = (pod_class.shape.namespace, pod_class.shape.labels, key)
        if place not in self._repelling:
            shape, namespaces = pod_class.shape, self.namespaces

            def weigh(other: PodClass) -> int:
                return sum(
                    term.topology_key == key
                    and term_matches_pod(term, other.shape, shape, namespaces, owner_incoming=False)
                    for term in other.shape.affinity.pod_anti_required
                )

            self._repelling[place] = TallySpec((("anti", key, shape.namespace), ("anti", key, ANY)), weigh)
        return self._repelling[place]

    def wanting(self, pod_class: PodClass, key: str) -> TallySpec:
        """Return the tally of what pods on nodes prefer (their terms over *key*) about *pod_class* near them."""
        place = (pod_class.shape.namespace, pod_class.shape.labels, key)
        if place not in self._wanting:
            shape, namespaces = pod_class.shape, self.namespaces

            def weigh(other: PodClass) -> int:
                return sum(
                    weight
                    for term, weight in _wanted(other.shape)
                    if term.topology_key == key
                    and term_matches_pod(term, other.shape, shape, namespaces, owner_incoming=False)
                )

            self._wanting[place] = TallySpec((("wish", key, shape.namespace), ("wish", key, ANY)), weigh)
        return self._wanting[place]

    def _file(self, pod_class: PodClass) -> None:
        for stream in rules_of(pod_class.shape).streams:
            self.streams.setdefault(stream, []).append(pod_class)
            keys = self._keys.get(stream[0])
            if keys is not None and stream[1] not in keys:
                keys.append(stream[1])


def cut(amount: int) -> int:
    """Return an amount within what sums in int64 can bear."""
    return max(-MAX_AMOUNT, min(MAX_AMOUNT + 1, amount))


def _amounts(resources: Resources, *, pods: int) -> tuple[tuple[str, int], ...]:
    """Return what is not zero, in int64's safe range; pod slots, with *pods* more, come first."""
    slots = resources.get(PODS) + pods
    amounts = [(name, cut(amount)) for name, amount in resources.items() if amount and name != PODS]
    return ((PODS, cut(slots)), *amounts) if slots else tuple(amounts)


def _tests(constraints: Sequence[TopologySpread], shape: PodShape) -> tuple[SpreadTest, ...]:
    return tuple([SpreadTest(constraint, shape) for constraint in constraints]) if constraints else ()


def _streams(shape: PodShape) -> tuple[tuple[str, ...], ...]:
    """Return the lists of classes that one of this shape belongs in."""
    found: dict[tuple[str, ...], None] = {("all",): None, ("ns", shape.namespace): None}
    found.update((("port", protocol, str(port)), None) for _, protocol, port in host_ports(shape))
    found.update((("anti", term.topology_key, _reach(term, shape)), None) for term in shape.affinity.pod_anti_required)
    found.update((("wish", term.topology_key, _reach(term, shape)), None) for term, _ in _wanted(shape))
    return tuple(found)


def _reach(term: PodTerm, owner: PodShape) -> str:
    """Return the one namespace that a term looks at, ANY when it may look at others."""
    return owner.namespace if not term.namespaces and term.namespace_selector is None else ANY


def _targets(terms: Iterable[PodTerm], owner: PodShape) -> tuple[tuple[str, ...], ...]:
    """Return the streams that hold all classes which *terms* could select."""
    reach = {_reach(term, owner) for term in terms}
    return (("all",),) if ANY in reach else (("ns", owner.namespace),)


def _affinity_tally(shape: PodShape, namespaces: Mapping[str, Mapping[str, str]]) -> TallySpec:
    terms = shape.affinity.pod_required
    return TallySpec(
        _targets(terms, shape), lambda other: int(matches_all_terms(terms, shape, other.shape, namespaces))
    )


def _anti_tallies(shape: PodShape, namespaces: Mapping[str, Mapping[str, str]]) -> dict[str, TallySpec]:
    """Return one tally by topology key: the pods that the class's required anti-affinity avoids."""
    signed = [(term, 1) for term in shape.affinity.pod_anti_required]
    return _tallies_by_key(signed, shape, namespaces)


def _wish_tallies(shape: PodShape, namespaces: Mapping[str, Mapping[str, str]]) -> dict[str, TallySpec]:
    """Return one tally by topology key: the weight of the class's own preferred terms."""
    return _tallies_by_key(_signed(shape.affinity.pod_preferred, shape.affinity.pod_anti_preferred), shape, namespaces)


def _tallies_by_key(
    signed: list[tuple[PodTerm, int]], shape: PodShape, namespaces: Mapping[str, Mapping[str, str]]
) -> dict[str, TallySpec]:
    by_key: dict[str, list[tuple[PodTerm, int]]] = {}
    for term, weight in signed:
        by_key.setdefault(term.topology_key, []).append((term, weight))

    def tally(terms: list[tuple[PodTerm, int]]) -> TallySpec:
        return TallySpec(
            _targets([term for term, _ in terms], shape),
            lambda other: sum(
                weight for term, weight in terms if term_matches_pod(term, shape, other.shape, namespaces)
            ),
        )

    return {key: tally(terms) for key, terms in by_key.items()}


def _port_tally(shape: PodShape) -> TallySpec | None:
    wanted = host_ports(shape)
    if not wanted:
        return None
    streams = tuple(sorted({("port", protocol, str(port)) for _, protocol, port in wanted}))

    def weigh(other: PodClass) -> int:
        return sum(ports_conflict(mine, theirs) for mine in wanted for theirs in host_ports(other.shape))

    return TallySpec(streams, weigh)


def _wanted(shape: PodShape) -> list[tuple[PodTerm, int]]:
    """Return the terms by which a pod on a node makes its place more or less liked (scoring.go)."""
    hard = tuple(PreferredPodTerm(HARD_AFFINITY_WEIGHT, term) for term in shape.affinity.pod_required)
    return _signed(hard + shape.affinity.pod_preferred, shape.affinity.pod_anti_preferred)


def _signed(liked: tuple[PreferredPodTerm, ...], disliked: tuple[PreferredPodTerm, ...]) -> list[tuple[PodTerm, int]]:
    signed = [(each.term, each.weight) for each in liked] + [(each.term, -each.weight) for each in disliked]
    return [(term, max(-_MAX_INT32, min(weight, _MAX_INT32))) for term, weight in signed]
