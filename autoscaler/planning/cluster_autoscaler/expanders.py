"""
Which way to grow: Cluster Autoscaler's expanders, as a chain of filters.

Each filter leaves the options that are equally good to it; the chain ends
with the first that leaves one. Of several that are left at the end the peer
takes any; here it is the first by name, so that equal input gives equal
output. Sources: `expander/factory/{chain,expander_factory}.go`,
`expander/{leastnodes,mostpods,price,priority,random,waste}/*.go`, 1.36.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB, MIB

NOT_THERE_FACTOR = 2.0
"""A group that would have to be created first looks so many times as expensive."""
GPU_UNFITNESS = 1000.0
"""Keeps machines with accelerators for pods that need them."""
STABILISER = Resources.of(cpu=500, memory=500 * MIB)
"""What is added to both sides of node price and pod price, so that few small pods do not decide alone."""
_PREFERRED_CORES = ((2, 1), (6, 2), (20, 4), (60, 8), (200, 16))
"""(nodes in the cluster at most, cores of the preferred node); 32 beyond."""
_MANY_CORES = 32

Priorities = Mapping[int, Sequence[str]]
"""Regular expressions for names of node groups, by priority."""


class Option(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    One way to grow: `nodes` more of a group for `pods` pods, which request `requests` in all.

    `capacity` and `usd_per_hour` are those of one node; `exists` tells that
    the group is there already; `gpu` that its machines have accelerators.
    """

    group: str
    nodes: int
    pods: int
    requests: Resources
    capacity: Resources
    usd_per_hour: float = 0.0
    exists: bool = True
    gpu: bool = False


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What expanders look at besides the options: nodes in the cluster, what pods are worth, the user's priorities."""

    cluster_nodes: int = 0
    usd_per_core_hour: float = 0.0
    usd_per_gib_hour: float = 0.0
    priorities: Priorities = {}

    def worth(self, requests: Resources) -> float:
        """Return what so much capacity is worth, USD an hour."""
        return requests.cpu / 1000 * self.usd_per_core_hour + requests.memory / GIB * self.usd_per_gib_hour


class Stage(msgspec.Struct, frozen=True):
    """What one expander of a chain left, in the order given."""

    expander: str
    best: tuple[Option, ...]


class PriceTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How `price` comes to its score of an option; the lowest wins."""

    nodes_price: float
    pods_price: float
    ratio: float
    unfitness: float
    suppressed: float
    score: float


def best_option(options: Sequence[Option], chain: Sequence[str], facts: Facts) -> Option | None:
    """Return the option that the chain prefers, the first by name of equals; None where no filter leaves any."""
    stages = run_chain(options, chain, facts)
    left = stages[-1].best if stages else options
    return min(left, key=lambda option: option.group, default=None)


def run_chain(options: Sequence[Option], chain: Sequence[str], facts: Facts) -> list[Stage]:
    """
    Run the expanders named in *chain* until one leaves a single option.

    Raises:
        KeyError: there is no such expander; `chain_problem` says so beforehand.
    """
    stages: list[Stage] = []
    left = tuple(options)
    for name in chain:
        left = tuple(EXPANDERS[name](left, facts))
        stages.append(Stage(name, left))
        if len(left) == 1:
            break
    return stages


def chain_problem(chain: Sequence[str]) -> str:
    """
    Return what is wrong with a chain, "" if nothing is.

    >>> chain_problem(("price", "random")), chain_problem(("random", "price"))
    ('', 'random always leaves one option, so price after it is never asked')
    """
    for place, name in enumerate(chain):
        if name not in EXPANDERS:
            return f"there is no expander {name!r}; there are {', '.join(sorted(EXPANDERS))}"
        if name in chain[:place]:
            return f"{name} is there twice"
        if place and chain[place - 1] == _RANDOM:
            return f"{_RANDOM} always leaves one option, so {name} after it is never asked"
    return "" if chain else "at least one expander is needed"


def price_terms(option: Option, facts: Facts) -> PriceTerms:
    """Rate an option by price, and by how near its machines are to the size that suits the cluster."""
    nodes_price = option.usd_per_hour * option.nodes
    pods_price, stabiliser = facts.worth(option.requests), facts.worth(STABILISER)
    ratio = _divide(nodes_price + stabiliser, pods_price + stabiliser)
    unfitness = _unfitness(_preferred_cores(facts.cluster_nodes) * 1000, option.capacity.cpu)
    suppressed = (unfitness - 1.0) * (1.0 - math.tanh((option.nodes - 1) / 15.0)) + 1.0
    if option.gpu:
        suppressed = GPU_UNFITNESS
    score = suppressed * ratio * (1.0 if option.exists else NOT_THERE_FACTOR)
    return PriceTerms(
        nodes_price=nodes_price,
        pods_price=pods_price,
        ratio=ratio,
        unfitness=unfitness,
        suppressed=suppressed,
        score=score,
    )


def priorities_of(document: object) -> Priorities:
    """
    Return priorities from a loaded document; nothing where it is not valid as a whole.

    The peer ignores a configuration of which any part is wrong.
    """
    if not isinstance(document, Mapping):
        return {}
    try:
        found = msgspec.convert(document, dict[int, list[str]], strict=False)
    except msgspec.ValidationError:
        return {}
    return {} if any(not _is_expression(each) for texts in found.values() for each in texts) else found


def _is_expression(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _random(options: Sequence[Option], _: Facts) -> Sequence[Option]:
    return sorted(options, key=lambda option: option.group)[:1]


def _most_pods(options: Sequence[Option], _: Facts) -> Sequence[Option]:
    most = max((option.pods for option in options), default=0)
    return [option for option in options if option.pods == most]


def _least_nodes(options: Sequence[Option], _: Facts) -> Sequence[Option]:
    some = [option for option in options if option.nodes]
    least = min((option.nodes for option in some), default=0)
    return [option for option in some if option.nodes == least]


def _least_waste(options: Sequence[Option], _: Facts) -> Sequence[Option]:
    """Waste is the share of the machines' cpu and of their memory (capacity, not allocatable) that is left, added."""
    return _lowest(options, [_waste(option) for option in options])


def _price(options: Sequence[Option], facts: Facts) -> Sequence[Option]:
    return _lowest(options, [price_terms(option, facts).score for option in options])


def _priority(options: Sequence[Option], facts: Facts) -> Sequence[Option]:
    """Leave those with the highest priority of any expression found in their names; all if none has any."""
    ranks = [_rank(option.group, facts.priorities) for option in options]
    best = max((rank for rank in ranks if rank is not None), default=None)
    return options if best is None else [each for each, rank in zip(options, ranks, strict=True) if rank == best]


def _rank(group: str, priorities: Priorities) -> int | None:
    found = [rank for rank, texts in priorities.items() if rank >= 0 and any(re.search(text, group) for text in texts)]
    return max(found, default=None)


def _lowest(options: Sequence[Option], scores: Sequence[float]) -> Sequence[Option]:
    """Leave those of exactly the lowest score; a score that is not a number only wins where no other is seen after."""
    best: list[Option] = []
    lowest = 0.0
    for option, score in zip(options, scores, strict=True):
        if not best or score < lowest:
            best, lowest = [option], score
        elif score == lowest:
            best.append(option)
    return best


def _waste(option: Option) -> float:
    cpu, memory = option.capacity.cpu * option.nodes, option.capacity.memory * option.nodes
    return _divide(cpu - option.requests.cpu, cpu) + _divide(memory - option.requests.memory, memory)


def _preferred_cores(nodes: int) -> int:
    return next((cores for most, cores in _PREFERRED_CORES if nodes <= most), _MANY_CORES)


def _unfitness(preferred: int, actual: int) -> float:
    return max(_divide(preferred, actual), actual / preferred)


def _divide(value: float, by: float) -> float:
    """Divide as floats do everywhere but in Python: by zero it is infinite, or not a number."""
    if by:
        return value / by
    return math.nan if not value else math.copysign(math.inf, value)


_RANDOM = "random"
EXPANDERS: Mapping[str, Callable[[Sequence[Option], Facts], Sequence[Option]]] = {
    "least-nodes": _least_nodes,
    "least-waste": _least_waste,
    "most-pods": _most_pods,
    "price": _price,
    "priority": _priority,
    _RANDOM: _random,
}
"""The filters by the names of the flag `expander`; `grpc` is not among them, for it leaves the process."""
