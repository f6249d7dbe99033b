"""
What the pods on nodes allow, and like, for one more pod of a class; over all nodes at once.

The rules are those of `topology` and `interpod`, which state them pod by pod;
here a domain (the nodes that share a label's value) is a number, and counts
are sums over domains. Sources: kube-scheduler plugins podtopologyspread,
interpodaffinity and nodeports, v1.37.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from autoscaler.model.arrays import Bools, Codes, Floats, Ints, Rows
from autoscaler.scheduling.classes import ClassBook, PodClass, SpreadTest, TallySpec
from autoscaler.scheduling.columns import NodeColumns
from autoscaler.scheduling.residents import Residents
from autoscaler.scheduling.topology import HOSTNAME


class Coupling:
    """The rules between pods, on one set of columns and residents."""

    __slots__ = ("_book", "_nodes", "_residents")

    def __init__(self, book: ClassBook, nodes: NodeColumns, residents: Residents) -> None:
        self._book, self._nodes, self._residents = book, nodes, residents

    def allows(self, pod_class: PodClass) -> Bools | None:
        """Return where ports, spread and inter-pod rules let one more pod go; None means anywhere."""
        masks = [mask for mask in (self._repelled_free(pod_class), self._own_rules(pod_class)) if mask is not None]
        return np.logical_and.reduce(masks) if masks else None

    def repels(self, pod_class: PodClass) -> bool:
        """Tell whether some pod's own required anti-affinity is about pods of the class."""
        return self._repelled_free(pod_class) is not None

    def spread_forbids(self, pod_class: PodClass, row: int) -> bool:
        """Tell whether a hard spread constraint keeps the class off a node that has its label and free ports."""
        if pod_class.ports is not None and self._residents.tally(pod_class.ports).get(row, 0) > 0:
            return False
        for number, test in enumerate(pod_class.hard):
            codes, sums, lowest = self._spread(pod_class, test, number)
            if codes[row] < 0:
                return False
            if sums[codes[row]] + test.own - lowest > test.max_skew:
                return True
        return False

    def quotas(self, pod_class: PodClass) -> list[tuple[Codes, Ints]]:
        """
        Return, for each rule of the class about its own siblings, how many more each domain may take at once.

        Each entry is (domain number by row, quota by domain); rows at -1 are
        free of the rule. Placing within all quotas, on nodes that `allows`
        permits, breaks no rule, in any order.
        """
        found = []
        for number, test in enumerate(pod_class.hard):
            codes, sums, lowest = self._spread(pod_class, test, number)
            if test.own:
                found.append((codes, np.maximum(test.max_skew + lowest - sums, 0)))
        for key, spec in pod_class.anti.items():
            if spec.weigh(pod_class):
                codes, values = self._nodes.codes(key)
                found.append((codes, np.ones(len(values), np.int64)))
        return found

    def likes(self, pod_class: PodClass, feasible: Bools) -> Ints | None:
        """Return spread and inter-pod scores, weighted (2 each), where *feasible*; None if there is nothing to say."""
        parts = [
            part
            for part in (self._soft_spread(pod_class, feasible), self._preferences(pod_class, feasible))
            if part is not None
        ]
        return 2 * sum(parts[1:], parts[0]) if parts else None

    def starts_group(self, pod_class: PodClass) -> bool:
        """
        Tell whether a pod of the class may go where none of those is that its affinity wants near.

        So it is for the first of a group that wants to be together.
        """
        spec = pod_class.affinity
        if spec is None or not pod_class.first:
            return False
        return not any(self._any_domain(spec, key) for key in pod_class.affinity_keys)

    def _own_rules(self, pod_class: PodClass) -> Bools | None:
        if pod_class.independent:
            return None
        mask: Bools = np.ones(len(self._nodes), np.bool_)
        if pod_class.ports is not None:
            mask &= ~self._rows_with(pod_class.ports)
        for number, test in enumerate(pod_class.hard):
            codes, sums, lowest = self._spread(pod_class, test, number)
            mask &= np.append(sums + test.own - lowest <= test.max_skew, False)[codes]
        for key, spec in pod_class.anti.items():
            mask &= ~self._domain_has(spec, key)
        if pod_class.affinity is not None:
            mask &= self._near_wanted(pod_class, pod_class.affinity)
        return mask

    def _repelled_free(self, pod_class: PodClass) -> Bools | None:
        """Return where no pod's own required anti-affinity keeps the class away."""
        mask: Bools | None = None
        for key in self._book.anti_keys:
            spec = self._book.repelling(pod_class, key)
            if any(self._residents.tally(spec).values()):
                blocked = self._domain_has(spec, key)
                mask = ~blocked if mask is None else mask & ~blocked
        return mask

    def _near_wanted(self, pod_class: PodClass, spec: TallySpec) -> Bools:
        have_keys = self._has_keys(pod_class.affinity_keys)
        if self.starts_group(pod_class):
            return have_keys
        for key in pod_class.affinity_keys:
            have_keys = have_keys & self._domain_has(spec, key)
        return have_keys

    def _spread(self, pod_class: PodClass, test: SpreadTest, number: int) -> tuple[Codes, Ints, int]:
        """Return domain by row, matching pods by domain, and the count to compare with, of a hard constraint."""
        constraint = test.constraint
        codes, values = self._nodes.codes(constraint.topology_key)
        counted = self._nodes.once(("spread", pod_class.index, number), lambda: self._counted(pod_class, test))
        present = self._nodes.once(
            ("domains", pod_class.index, number),
            lambda: np.bincount(codes[counted & self._nodes.alive], minlength=len(values)) > 0,
        )
        sums = self._sums(test.matching, codes, len(values), counted)
        domains = int(present.sum())
        lowest = 0 if domains < (constraint.min_domains or 1) else int(sums[present].min())
        return codes, sums, lowest

    def _counted(self, pod_class: PodClass, test: SpreadTest, keys: tuple[str, ...] | None = None) -> Bools:
        """Return the nodes that take part: all topology keys there, and what the two policies ask."""
        if keys is None:
            keys = tuple(each.constraint.topology_key for each in pod_class.hard)
        mask = self._has_keys(keys) & (self._nodes.codes(test.constraint.topology_key)[0] >= 0)
        if test.constraint.node_affinity_policy == "Honor":
            mask &= self._nodes.matches_affinity(pod_class)
        if test.constraint.node_taints_policy == "Honor":
            mask &= self._nodes.tolerated(pod_class)
        return mask

    def _soft_spread(self, pod_class: PodClass, feasible: Bools) -> Ints | None:
        """Score by soft constraints: fewer matching pods in the domain are better (scoring.go)."""
        if not pod_class.soft:
            return None
        # The built-in constraints also score nodes that lack one of the keys.
        keys = () if pod_class.soft_is_default else tuple(each.constraint.topology_key for each in pod_class.soft)
        scored = feasible & self._has_keys(keys)
        total: Floats = np.zeros(len(self._nodes))
        for number, test in enumerate(pod_class.soft):
            codes, values = self._nodes.codes(test.constraint.topology_key)
            if test.constraint.topology_key == HOSTNAME:
                rows, weights = _arrays(self._residents.tally(test.matching))
                by_row = np.where(codes >= 0, test.max_skew - 1.0, 0.0)
                by_row[rows] += np.where(codes[rows] >= 0, weights * np.log(np.count_nonzero(scored) + 2), 0.0)
                total += by_row
                continue
            counted = self._nodes.once(("soft", pod_class.index, number), partial(self._counted, pod_class, test, keys))
            # For the built-in constraints, nodes without the label are a domain of their own.
            weight = np.log(np.count_nonzero(np.bincount(codes[scored] + 1)) + 2)
            by_domain = self._sums(test.matching, codes, len(values), counted) * weight + (test.max_skew - 1)
            total += np.append(by_domain, 0.0)[codes]
        raw = np.floor(total + 0.5).astype(np.int64)
        return _upside_down(raw, scored)

    def _preferences(self, pod_class: PodClass, feasible: Bools) -> Ints | None:
        """Score by preferred (and existing pods' required) inter-pod terms, from the lowest to the highest node."""
        raw: Ints | None = None
        wanted = [(key, self._book.wanting(pod_class, key)) for key in self._book.wish_keys]
        for key, spec in [*pod_class.wishes.items(), *wanted]:
            if any(self._residents.tally(spec).values()):
                codes, values = self._nodes.codes(key)
                part = np.append(self._sums(spec, codes, len(values), None), 0)[codes]
                raw = part if raw is None else raw + part
        if raw is None or not feasible.any():
            return None
        low, high = int(raw[feasible].min()), int(raw[feasible].max())
        if low == high:
            return None
        return np.trunc(100.0 * ((raw - low) / (high - low))).astype(np.int64)

    def _sums(self, spec: TallySpec, codes: Codes, domains: int, counted: Bools | None) -> Ints:
        """Return the tally by domain, over the nodes that are *counted* (None: all)."""
        rows, weights = _arrays(self._residents.tally(spec))
        if counted is not None:
            weights = weights * counted[rows]
        return np.bincount(codes[rows] + 1, weights=weights, minlength=domains + 1)[1:].astype(np.int64)

    def _domain_has(self, spec: TallySpec, key: str) -> Bools:
        """Return the nodes whose domain holds any pod that *spec* weighs; a node without the label is in none."""
        codes, values = self._nodes.codes(key)
        found: Bools = np.append(self._sums(spec, codes, len(values), None) > 0, False)[codes]
        return found

    def _any_domain(self, spec: TallySpec, key: str) -> bool:
        codes, values = self._nodes.codes(key)
        return bool(self._sums(spec, codes, len(values), None).any())

    def _rows_with(self, spec: TallySpec) -> Bools:
        return self._by_row(spec) > 0

    def _by_row(self, spec: TallySpec) -> Ints:
        sums = np.zeros(len(self._nodes), np.int64)
        rows, weights = _arrays(self._residents.tally(spec))
        sums[rows] = weights
        return sums

    def _has_keys(self, keys: tuple[str, ...]) -> Bools:
        mask: Bools = np.ones(len(self._nodes), np.bool_)
        for key in keys:
            mask &= self._nodes.codes(key)[0] >= 0
        return mask


def _arrays(by_row: Mapping[int, int]) -> tuple[Rows, Ints]:
    return np.fromiter(by_row, np.intp, len(by_row)), np.fromiter(by_row.values(), np.int64, len(by_row))


def _upside_down(raw: Ints, scored: Bools) -> Ints:
    """Scale so that the lowest count has 100 (NormalizeScore of podtopologyspread); 0 where not *scored*."""
    values = raw[scored]
    if not values.size:
        return np.zeros_like(raw)
    low, high = int(values.min()), int(values.max())
    if high == 0:
        return np.where(scored, 100, 0)
    return np.where(scored, 100 * (high + low - raw) // high, 0)
