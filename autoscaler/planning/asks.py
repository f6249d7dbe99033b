"""
Pending pods as the packer sees them: each class with the offers it may use and its limit per node.

Rules between pods become limits: a rule per host is a limit per node; a rule
per zone (or another label) splits a class into one ask for each domain. What
this cannot express, the replay on the scheduler's model finds out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from autoscaler.model.arrays import Bools
from autoscaler.model.placement import PodTerm
from autoscaler.model.pod import PodShape
from autoscaler.planning.offers import Market
from autoscaler.scheduling.context import host_ports
from autoscaler.scheduling.requests import node_demand
from autoscaler.scheduling.requirements import label_map, selector_matches, term_matches_pod
from autoscaler.scheduling.topology import HARD, HOSTNAME, constraints_of, spread_selector


class Ask(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`count` pods of pending class `index` on any of `offers` (mask), at most `limit` a node (0: any)."""

    index: int
    count: int
    offers: Bools
    limit: int = 0


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where a class's pods are already: pods by node, and each node's labels."""

    pods: Mapping[str, int] = {}
    labels: Mapping[str, Mapping[str, str]] = {}

    def by_domain(self, key: str) -> dict[str, int]:
        """Count the pods by domain; domains with nodes but no pods count 0."""
        counts = {labels[key]: 0 for labels in self.labels.values() if key in labels}
        for name, pods in self.pods.items():
            domain = self.labels.get(name, {}).get(key)
            if domain is not None:
                counts[domain] += pods
        return counts


def asks_of(index: int, shape: PodShape, count: int, *, market: Market, places: Places) -> list[Ask]:
    """Return the asks for *count* pods of *shape*; what no domain may take is left out."""
    offers = market.admits(shape)
    limit = node_limit(shape, places)
    if limit == 0 and _needs_host_company(shape):
        return []
    whole = Ask(index=index, count=count, offers=offers, limit=max(0, limit))
    rule = _domain_rule(shape)
    if rule is None or count <= 0:
        return [whole] if count > 0 else []
    key, quota, enough = rule
    domains = market.domains(key)
    fits = _fits_empty(shape, market) & offers
    open_ = sorted({domain for domain, fit in zip(domains, fits.tolist(), strict=True) if fit and domain is not None})
    taken = places.by_domain(key)
    if quota is None:
        shares = _one_domain(count, open_, taken)
    else:
        # Below minDomains the lowest domain counts as empty, as if there were one more without pods.
        missing = {"": 0} if len({*open_, *taken}) < enough else {}
        start = {domain: taken.get(domain, 0) for domain in open_}
        shares = share_out(count, start, fixed={**taken, **missing}, skew=quota)
    return [
        Ask(index=index, count=part, offers=offers & np.array([each == domain for each in domains]), limit=whole.limit)
        for domain, part in sorted(shares.items())
        if part
    ]


def node_limit(shape: PodShape, places: Places) -> int:
    """
    Return how many pods of *shape* a new node may hold by rules per host; 0 for no limit.

    A hard spread over hosts allows `maxSkew` above the emptiest host, which a
    new node is; anti-affinity against itself and a host port allow one.
    """
    limits = []
    for constraint in constraints_of(shape, HARD):
        if constraint.topology_key == HOSTNAME and selector_matches(
            spread_selector(constraint, shape.labels), label_map(shape.labels)
        ):
            lowest = min((places.pods.get(name, 0) for name in places.labels), default=0)
            limits.append(lowest + constraint.max_skew)
    if _selects_itself(shape, shape.affinity.pod_anti_required, HOSTNAME) or host_ports(shape):
        limits.append(1)
    return min(limits, default=0)


def share_out(count: int, open_domains: Mapping[str, int], *, fixed: Mapping[str, int], skew: int) -> dict[str, int]:
    """
    Share *count* pods over domains so that none is more than *skew* above the lowest; return pods to add.

    *open_domains* may gain pods and hold so many now; *fixed* holds every
    domain's pods, also of those that cannot gain any. Ties go by name.
    A *skew* of 0 stands for anti-affinity: at most one pod in a domain.

    >>> share_out(4, {"a": 0, "b": 1, "c": 0}, fixed={"a": 0, "b": 1, "c": 0}, skew=1)
    {'a': 2, 'b': 1, 'c': 1}
    >>> share_out(9, {"a": 0}, fixed={"a": 0, "full": 1}, skew=1)
    {'a': 2}
    """
    added = dict.fromkeys(sorted(open_domains), 0)
    ceiling = min((pods for domain, pods in fixed.items() if domain not in open_domains), default=None)
    most = 1 if skew == 0 else None if ceiling is None else ceiling + skew
    for domain, level in _levels(count, open_domains, most).items():
        added[domain] = level
    return added


def _levels(count: int, start: Mapping[str, int], most: int | None) -> dict[str, int]:
    """Fill the lowest first, in whole rounds where many are to be placed."""
    level = dict(sorted(start.items()))
    left = count
    while left > 0:
        able = {domain: pods for domain, pods in level.items() if most is None or pods < most}
        if not able:
            break
        lowest = min(able.values())
        lows = [domain for domain, pods in able.items() if pods == lowest]
        above = min((pods for pods in able.values() if pods > lowest), default=None)
        rise = left // len(lows) if above is None else min(above - lowest, left // len(lows))
        rise = min(rise, most - lowest) if most is not None else rise
        if rise == 0:
            lows, rise = lows[:left], 1
        for domain in lows:
            level[domain] += rise
        left -= rise * len(lows)
    return {domain: level[domain] - start[domain] for domain in level}


def _domain_rule(shape: PodShape) -> tuple[str, int | None, int] | None:
    """
    Return the first rule of *shape* per domain that is not a host, as (topology key, skew, fewest domains).

    Skew 0 is anti-affinity against itself; None is affinity to itself: all in one domain.
    """
    for constraint in constraints_of(shape, HARD):
        if constraint.topology_key != HOSTNAME:
            return constraint.topology_key, max(1, constraint.max_skew), constraint.min_domains or 1
    for term in shape.affinity.pod_anti_required:
        if term.topology_key != HOSTNAME and term_matches_pod(term, shape, shape, {}):
            return term.topology_key, 0, 1
    for term in shape.affinity.pod_required:
        if term.topology_key != HOSTNAME and term_matches_pod(term, shape, shape, {}):
            return term.topology_key, None, 1
    return None


def _one_domain(count: int, domains: Sequence[str], taken: Mapping[str, int]) -> dict[str, int]:
    """All pods go where their siblings are, else to the first domain there is."""
    company = [domain for domain, pods in sorted(taken.items()) if pods]
    chosen = [domain for domain in domains if domain in company] if company else list(domains)
    return {chosen[0]: count} if chosen else {}


def _needs_host_company(shape: PodShape) -> bool:
    """Tell whether the pod must share its host with pods other than its own kind, which no new node has."""
    return any(
        term.topology_key == HOSTNAME and not term_matches_pod(term, shape, shape, {})
        for term in shape.affinity.pod_required
    )


def _selects_itself(shape: PodShape, terms: Sequence[PodTerm], key: str) -> bool:
    return any(term.topology_key == key and term_matches_pod(term, shape, shape, {}) for term in terms)


def _fits_empty(shape: PodShape, market: Market) -> Bools:
    need = node_demand(shape)
    return np.array([need.fits_in(offer.left) for offer in market.offers], dtype=bool)
