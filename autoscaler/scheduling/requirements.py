"""
Label, node and taint tests exactly as kube-scheduler makes them.

These are the small pieces that every placement code shares. They take shapes
(classes of pods) and plain label mappings, so a caller evaluates each once for
a class and a distinct label set, not once for a pod and a node.

Sources: k8s.io/apimachinery `pkg/labels/selector.go` (requirements and their
validation), k8s.io/component-helpers `scheduling/corev1/nodeaffinity` and
`scheduling/corev1/helpers.go` (terms, taints), k8s.io/kube-scheduler
`framework/types.go` (inter-pod terms), all at v1.37.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from autoscaler.model.placement import (
    Effect,
    Labels,
    LabelSelector,
    NodeSelectorTerm,
    Operator,
    PodTerm,
    Requirement,
    Taint,
    Toleration,
)
from autoscaler.model.pod import PodShape

NODE_NAME_FIELD = "metadata.name"
HARD_EFFECTS = (Effect.NO_SCHEDULE, Effect.NO_EXECUTE)
"""Taint effects that keep a pod off a node; PreferNoSchedule only costs score."""

_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_VALUE = re.compile(rf"({_NAME})?", re.ASCII)
_LABEL_KEY = re.compile(
    rf"(?=[^/]{{1,253}}/|[^/]*$)([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?{_NAME}", re.ASCII
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_INT64 = 1 << 63


@lru_cache(maxsize=1 << 15)
def label_map(labels: Labels) -> Mapping[str, str]:
    """Return sorted pairs as a mapping; equal pairs give one shared object, which nobody may change."""
    return dict(labels)


def requirement_matches(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """
    Tell whether one test holds on *labels*; the requirement must be valid.

    An absent key passes NotIn and DoesNotExist and fails all others. Gt and Lt
    compare 64-bit integers and fail where the label is not one.
    """
    found = labels.get(requirement.key)
    match requirement.operator:
        case Operator.IN:
            return found is not None and found in requirement.values
        case Operator.NOT_IN:
            return found is None or found not in requirement.values
        case Operator.EXISTS:
            return found is not None
        case Operator.DOES_NOT_EXIST:
            return found is None
        case Operator.GT | Operator.LT:
            return _compares(requirement, found)


@lru_cache(maxsize=1 << 14)
def requirement_is_valid(requirement: Requirement) -> bool:
    """
    Tell whether the scheduler accepts this test at all.

    Keys and values must be valid label keys and values (so `Gt -1` is not),
    In and NotIn need values, Exists and DoesNotExist take none, Gt and Lt take
    one integer. A selector or term with one invalid test matches nothing.
    """
    values = requirement.values
    if not _LABEL_KEY.fullmatch(requirement.key) or not all(map(_LABEL_VALUE.fullmatch, values)):
        return False
    match requirement.operator:
        case Operator.IN | Operator.NOT_IN:
            return bool(values)
        case Operator.EXISTS | Operator.DOES_NOT_EXIST:
            return not values
        case Operator.GT | Operator.LT:
            return len(values) == 1 and _integer(values[0]) is not None


def selector_matches(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector selects *labels*: None selects nothing, an empty one everything."""
    if selector is None or not _selector_is_valid(selector):
        return False
    return all(labels.get(key) == value for key, value in selector.match_labels) and all(
        requirement_matches(requirement, labels) for requirement in selector.match_expressions
    )


def is_everything(selector: LabelSelector | None) -> bool:
    """Tell whether a selector has no test at all (and is not None)."""
    return selector is not None and not selector.match_labels and not selector.match_expressions


def node_term_matches(term: NodeSelectorTerm, labels: Mapping[str, str], node_name: str) -> bool:
    """Tell whether one node selector term holds; an empty or invalid term matches no node."""
    if not _term_is_valid(term):
        return False
    return all(requirement_matches(requirement, labels) for requirement in term.match_expressions) and all(
        _field_matches(requirement, node_name) for requirement in term.match_fields
    )


def node_terms_match(terms: Iterable[NodeSelectorTerm], labels: Mapping[str, str], node_name: str) -> bool:
    """Tell whether any of the terms holds; no term at all matches no node."""
    return any(node_term_matches(term, labels, node_name) for term in terms)


def matches_node_affinity(shape: PodShape, labels: Mapping[str, str], node_name: str) -> bool:
    """
    Tell whether a node satisfies the pod's nodeSelector and required node affinity.

    It depends on the shape, the node's labels and (only where `matchFields`
    are used, see `names_nodes`) its name: evaluate it once for a label set.
    """
    if any(labels.get(key) != value for key, value in shape.node_selector):
        return False
    required = shape.affinity.node_required
    return required is None or node_terms_match(required, labels, node_name)


def can_use_volumes(shape: PodShape, labels: Mapping[str, str]) -> bool:
    """Tell whether a node with these labels is where each of the pod's volumes can be used."""
    return all(node_terms_match(terms, labels, "") for terms in shape.volume_terms)


def names_nodes(shape: PodShape) -> bool:
    """Tell whether node affinity, required or preferred, looks at the node's name."""
    preferred = tuple(preference.term for preference in shape.affinity.node_preferred)
    return any(term.match_fields for term in (shape.affinity.node_required or ()) + preferred)


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """
    Tell whether a toleration covers a taint.

    Operators other than Equal and Exists (Gt and Lt are behind a feature gate
    that is off by default) tolerate nothing.
    """
    if toleration.effect is not None and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator in ("", "Equal"):
        return toleration.value == taint.value
    return toleration.operator == "Exists"


def untolerated_taint(
    shape: PodShape, taints: Iterable[Taint], *, effects: tuple[Effect, ...] = HARD_EFFECTS
) -> Taint | None:
    """Return the first taint with one of *effects* that the pod does not tolerate, or None."""
    for taint in taints:
        if taint.effect in effects and not any(tolerates(each, taint) for each in shape.tolerations):
            return taint
    return None


@lru_cache(maxsize=1 << 14)
def selector_with_label_keys(
    selector: LabelSelector | None, labels: Labels, match: tuple[str, ...], mismatch: tuple[str, ...] = ()
) -> LabelSelector | None:
    """
    Return *selector* with `matchLabelKeys` and `mismatchLabelKeys` resolved on the owner's labels.

    The API server merges them when a pod is created, so for a pod read from a
    cluster this changes nothing; for one made from a template it does.
    """
    if selector is None or not (match or mismatch):
        return selector
    own = dict(labels)
    merged = [Requirement(key, Operator.IN, (own[key],)) for key in match if key in own]
    merged += [Requirement(key, Operator.NOT_IN, (own[key],)) for key in mismatch if key in own]
    return LabelSelector(selector.match_labels, selector.match_expressions + tuple(merged))


def term_matches_pod(
    term: PodTerm,
    owner: PodShape,
    other: PodShape,
    namespaces: Mapping[str, Mapping[str, str]],
    *,
    owner_incoming: bool = True,
) -> bool:
    """
    Tell whether an inter-pod term of *owner* selects *other*: its namespace and its labels.

    The topology key is the caller's to check. It depends on the two shapes
    only: evaluate it once for a pair of classes. *namespaces* has the labels
    of each namespace by name. When the owner is the pod to be placed, its
    namespace selector chooses among known namespaces (*owner_incoming*); that
    of a pod already placed takes an unknown namespace as one without labels.
    """
    selector = selector_with_label_keys(term.selector, owner.labels, term.match_label_keys, term.mismatch_label_keys)
    if not term.namespaces and term.namespace_selector is None:
        selected = other.namespace == owner.namespace
    elif other.namespace in term.namespaces or is_everything(term.namespace_selector):
        selected = True
    elif owner_incoming and other.namespace not in namespaces:
        selected = False
    else:
        selected = selector_matches(term.namespace_selector, namespaces.get(other.namespace, {}))
    return selected and selector_matches(selector, label_map(other.labels))


def _compares(requirement: Requirement, found: str | None) -> bool:
    value, bound = _integer(found or ""), _integer(requirement.values[0])
    if value is None or bound is None:
        return False
    return value > bound if requirement.operator is Operator.GT else value < bound


def _integer(text: str) -> int | None:
    """Read a signed 64-bit decimal integer (leading zeros allowed) or return None."""
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if -_INT64 <= value < _INT64 else None


@lru_cache(maxsize=1 << 14)
def _selector_is_valid(selector: LabelSelector) -> bool:
    return all(
        requirement.operator not in (Operator.GT, Operator.LT) and requirement_is_valid(requirement)
        for requirement in selector.match_expressions
    )


@lru_cache(maxsize=1 << 14)
def _term_is_valid(term: NodeSelectorTerm) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    return all(map(requirement_is_valid, term.match_expressions)) and all(
        requirement.operator in (Operator.IN, Operator.NOT_IN) and len(requirement.values) == 1
        for requirement in term.match_fields
    )


def _field_matches(requirement: Requirement, node_name: str) -> bool:
    found = node_name if requirement.key == NODE_NAME_FIELD else ""
    return (found == requirement.values[0]) == (requirement.operator is Operator.IN)
