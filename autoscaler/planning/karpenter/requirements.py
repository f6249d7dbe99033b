"""
Karpenter's algebra of requirements: sets of label values that can be cut with one another.

A requirement is a set of values for one label: some values (`In`), or all but
some (`NotIn`, `Exists`), within inclusive integer bounds (`Gt`, `Lt`, `Gte`,
`Lte`). Pods, pools, instance types and offerings all state theirs, and a node
to come is the intersection of them.

Sources: Karpenter `pkg/scheduling/requirement.go`, `requirements.go` and
`pkg/apis/v1/labels.go`, main of 2026-08-20.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from autoscaler.model.placement import Labels
from autoscaler.model.placement import Requirement as NodeTest
from autoscaler.model.pod import PodShape
from autoscaler.scheduling.topology import HOSTNAME, ZONE

NODE_POOL, CAPACITY_TYPE = "karpenter.sh/nodepool", "karpenter.sh/capacity-type"
INSTANCE_TYPE, REGION = "node.kubernetes.io/instance-type", "topology.kubernetes.io/region"
ARCH, OS = "kubernetes.io/arch", "kubernetes.io/os"
WELL_KNOWN = frozenset(
    {NODE_POOL, ZONE, REGION, INSTANCE_TYPE, ARCH, OS, CAPACITY_TYPE, "node.kubernetes.io/windows-build"}
)
"""Labels that a pool may leave open, since the instance type decides on them."""
NONE_UNDEFINED: frozenset[str] = frozenset()

_ALIASES = {
    "failure-domain.beta.kubernetes.io/zone": ZONE,
    "failure-domain.beta.kubernetes.io/region": REGION,
    "beta.kubernetes.io/arch": ARCH,
    "beta.kubernetes.io/os": OS,
    "beta.kubernetes.io/instance-type": INSTANCE_TYPE,
}
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_INT64_MAX = (1 << 63) - 1
_SHOWN_VALUES = 5
_NEGATIVE = ("NotIn", "DoesNotExist")


class Requirement(msgspec.Struct, frozen=True, gc=False, cache_hash=True, kw_only=True):
    """
    The values that one label may have.

    With `complement`, all but `values`; `gte` and `lte` are inclusive bounds,
    None for none, and only of a complement. A bounded value must be an integer.
    `min_values` is how many different values must stay possible.
    """

    key: str
    values: frozenset[str] = frozenset()
    complement: bool = False
    gte: int | None = None
    lte: int | None = None
    min_values: int | None = None

    @property
    def operator(self) -> str:
        """The operator that says it without bounds: `In`, `NotIn`, `Exists` or `DoesNotExist`."""
        if self.complement:
            return "NotIn" if self.values else "Exists"
        return "In" if self.values else "DoesNotExist"

    @property
    def is_negative(self) -> bool:
        """Tell whether a node without the label meets it."""
        return self.operator in _NEGATIVE

    def has(self, value: str) -> bool:
        return (value in self.values) != self.complement and _within(value, self.gte, self.lte)

    def __and__(self, other: Requirement) -> Requirement:
        """Return what both allow; bounds that exclude each other leave nothing, the larger `min_values` counts."""
        gte, lte = _largest(self.gte, other.gte), _smallest(self.lte, other.lte)
        min_values = _largest(self.min_values, other.min_values)
        if gte is not None and lte is not None and gte > lte:
            return Requirement(key=self.key, min_values=min_values)
        values = frozenset(value for value in _cut(self, other) if _within(value, gte, lte))
        if self.complement and other.complement:
            return Requirement(key=self.key, values=values, complement=True, gte=gte, lte=lte, min_values=min_values)
        return Requirement(key=self.key, values=values, min_values=min_values)

    def meets(self, other: Requirement) -> bool:
        """Tell whether any value satisfies both."""
        gte, lte = _largest(self.gte, other.gte), _smallest(self.lte, other.lte)
        if gte is not None and lte is not None and gte > lte:
            return False
        if self.complement and other.complement:
            return True
        return any(_within(value, gte, lte) for value in _cut(self, other))

    def tests(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return (operator, values) as an object would carry them; a bound hides the values that `NotIn` excludes."""
        bounds = [(name, bound) for name, bound in (("Gte", self.gte), ("Lte", self.lte)) if bound is not None]
        if bounds:
            return tuple((name, (str(bound),)) for name, bound in bounds)
        return ((self.operator, tuple(sorted(self.values))),)

    def __str__(self) -> str:
        text = f"{self.key} {self.operator}"
        if self.values:
            shown = sorted(self.values)[:_SHOWN_VALUES]
            hidden = len(self.values) - len(shown)
            text += f" [{' '.join(shown)}{f' and {hidden} others' if hidden else ''}]"
        for sign, bound in ((">=", self.gte), ("<=", self.lte)):
            text += f" {sign}{bound}" if bound is not None else ""
        return f"{text} minValues {self.min_values}" if self.min_values is not None else text


@lru_cache(maxsize=1 << 14)
def requirement(key: str, operator: str, values: tuple[str, ...] = (), min_values: int | None = None) -> Requirement:
    """
    Return the requirement that an object states; old names of labels become today's.

    `Gt` of the largest 64-bit integer matches nothing and loses its `min_values`.

    Raises:
        ValueError: the operator is none of the eight.
    """
    key = _ALIASES.get(key, key)
    bound = _bound(values) if operator in ("Gt", "Lt", "Gte", "Lte") else 0
    match operator:
        case "In":
            return Requirement(key=key, values=frozenset(values), min_values=min_values)
        case "NotIn":
            return Requirement(key=key, values=frozenset(values), complement=True, min_values=min_values)
        case "Exists":
            return Requirement(key=key, complement=True, min_values=min_values)
        case "DoesNotExist":
            return Requirement(key=key, min_values=min_values)
        case "Gt" if bound == _INT64_MAX:
            return Requirement(key=key)
        case "Gt" | "Gte":
            gte = bound + 1 if operator == "Gt" else bound
            return Requirement(key=key, complement=True, gte=gte, min_values=min_values)
        case "Lt" | "Lte":
            lte = bound - 1 if operator == "Lt" else bound
            return Requirement(key=key, complement=True, lte=lte, min_values=min_values)
    raise ValueError(f"requirement on {key}: unknown operator {operator!r}")


class Conflict(msgspec.Struct, frozen=True):
    """Why requirements do not go together: `undefined` names a label that must be known and is not, else `keys`."""

    keys: tuple[str, ...] = ()
    undefined: str = ""


class Requirements(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """At most one requirement for each label, sorted by label; a label without one may have any value or be absent."""

    items: tuple[Requirement, ...] = ()

    @classmethod
    def of(cls, requirements: Iterable[Requirement]) -> Requirements:
        """Return all of them together; those on one label are cut with one another."""
        return cls()._with(requirements)

    @classmethod
    def of_labels(cls, labels: Iterable[tuple[str, str]]) -> Requirements:
        """Return what a node with these labels is."""
        return cls.of(requirement(key, "In", (value,)) for key, value in labels)

    def get(self, key: str) -> Requirement | None:
        for each in self.items:
            if each.key == key:
                return each
        return None

    def __and__(self, other: Requirements) -> Requirements:
        return self._with(other.items) if other.items else self

    def without(self, key: str) -> Requirements:
        """Return all but the requirement on one label."""
        return Requirements(tuple(each for each in self.items if each.key != key))

    def conflict(self, incoming: Requirements, *, may_be_undefined: frozenset[str] = NONE_UNDEFINED) -> Conflict | None:
        """
        Return why *incoming* (of a pod) cannot be met by what these (of a node or a pool) allow, None if it can.

        A label that is not defined here is refused, unless it is in
        *may_be_undefined* or *incoming* is content without it.
        """
        mine = {each.key: each for each in self.items}
        for each in incoming.items:
            if each.key not in mine and each.key not in may_be_undefined and not each.is_negative:
                return Conflict(undefined=each.key)
        keys = _conflicting(mine, incoming)
        return Conflict(keys=keys) if keys else None

    def intersects(self, incoming: Requirements) -> bool:
        """Tell whether no label that both name conflicts; labels that only one names do not matter."""
        return not _conflicting({each.key: each for each in self.items}, incoming)

    def conflicts(self, incoming: Requirements) -> tuple[str, ...]:
        """Say label by label what does not intersect, sorted."""
        mine = {each.key: each for each in self.items}
        theirs = {each.key: each for each in incoming.items}
        keys = _conflicting(mine, incoming)
        return tuple(sorted(f"key {key}, {theirs[key]} not in {mine[key]}" for key in keys))

    @property
    def min_values(self) -> tuple[tuple[str, int], ...]:
        """How many values must stay possible, by label."""
        return tuple((each.key, each.min_values) for each in self.items if each.min_values is not None)

    def _with(self, requirements: Iterable[Requirement]) -> Requirements:
        found = {each.key: each for each in self.items}
        for each in requirements:
            present = found.get(each.key)
            found[each.key] = each if present is None else each & present
        return Requirements(tuple(found[key] for key in sorted(found)))


@lru_cache(maxsize=1 << 14)
def pod_requirements(shape: PodShape, *, with_preference: bool) -> Requirements:
    """
    Return what a pod asks of its node: node selector and the first required node-affinity term.

    *with_preference* takes the preferred term of the highest weight as required,
    too. What fails is given up by and by: see `relax`. Fields are not looked at.
    """
    stated = [requirement(key, "In", (value,)) for key, value in shape.node_selector]
    preferred = shape.affinity.node_preferred
    if with_preference and preferred:
        heaviest = max(preferred, key=lambda each: each.weight)
        stated += Requirements.of(map(_of_test, heaviest.term.match_expressions)).items
    if shape.affinity.node_required:
        stated += Requirements.of(map(_of_test, shape.affinity.node_required[0].match_expressions)).items
    return Requirements.of(stated)


@lru_cache(maxsize=1 << 12)
def requirements_of_tests(selector: Labels, tests: tuple[NodeTest, ...]) -> Requirements:
    """Return a node selector and one node-affinity term together."""
    stated = [requirement(key, "In", (value,)) for key, value in selector]
    return Requirements.of([*stated, *map(_of_test, tests)])


@lru_cache(maxsize=1 << 12)
def volume_requirements(shape: PodShape) -> tuple[Requirements, ...]:
    """
    Return the alternatives that a pod's volumes leave for its node, one of nothing where they leave it free.

    Each takes one term of every volume; those that contradict themselves are
    left out unless all do. None is left where a volume is nowhere.
    Source: `pkg/controllers/provisioning/scheduling/volumetopology.go`.
    """
    found = [Requirements()]
    for terms in shape.volume_terms:
        each = [Requirements.of(map(_of_test, term.match_expressions)) for term in terms]
        pairs = [(known, other) for known in found for other in each]
        agreeing = [known & other for known, other in pairs if known.intersects(other)]
        found = agreeing or [known & other for known, other in pairs]
    return tuple(found)


def hostname_part(requirements: Requirements) -> tuple[Requirements, Requirement | None]:
    """Return the requirements without the one on the host's name, and that one."""
    mine = requirements.get(HOSTNAME)
    return (requirements, None) if mine is None else (requirements.without(HOSTNAME), mine)


def _of_test(test: NodeTest) -> Requirement:
    return requirement(test.key, test.operator.value, test.values)


def _conflicting(mine: Mapping[str, Requirement], incoming: Requirements) -> tuple[str, ...]:
    found = []
    for theirs in incoming.items:
        present = mine.get(theirs.key)
        if present is None or present.meets(theirs):
            continue
        if not (theirs.is_negative and present.is_negative):
            found.append(theirs.key)
    return tuple(found)


def _cut(one: Requirement, other: Requirement) -> frozenset[str]:
    """Return the values left when bounds are not looked at; of two complements, the excluded ones."""
    if one.complement:
        return one.values | other.values if other.complement else other.values - one.values
    return one.values - other.values if other.complement else one.values & other.values


def _bound(values: Sequence[str]) -> int:
    """Read a bound as Go's `strconv.Atoi` does where its error is not looked at: 0, or the nearest 64-bit integer."""
    if not values or not _INTEGER.fullmatch(values[0]):
        return 0
    return max(-_INT64_MAX - 1, min(int(values[0]), _INT64_MAX))


def _within(value: str, gte: int | None, lte: int | None) -> bool:
    if gte is None and lte is None:
        return True
    if not _INTEGER.fullmatch(value) or not -_INT64_MAX - 1 <= int(value) <= _INT64_MAX:
        return False
    number = int(value)
    return (gte is None or number >= gte) and (lte is None or number <= lte)


def _largest(one: int | None, other: int | None) -> int | None:
    return max((each for each in (one, other) if each is not None), default=None)


def _smallest(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)
