"""Selectors, affinity, tolerations and spread constraints, from API fields to values."""

from __future__ import annotations

import re
from collections.abc import Iterable

from autoscaler.errors import InputError
from autoscaler.kube import decode_wire as wire
from autoscaler.model.placement import (
    NO_AFFINITY,
    Affinity,
    Effect,
    LabelSelector,
    NodeSelectorTerm,
    Operator,
    PodTerm,
    PreferredNodeTerm,
    PreferredPodTerm,
    Requirement,
    Toleration,
    TopologySpread,
    labels_of,
)

_SELECTOR_PART = re.compile(r"(!?)\s*([\w./-]+)\s*(?:(==?|!=)\s*([\w.-]*)|\s(in|notin)\s*\(([^()]*)\))?", re.ASCII)


def selector_of(selector: wire.Selector | None) -> LabelSelector | None:
    """Translate a label selector; None (selects nothing) stays None."""
    if selector is None:
        return None
    return LabelSelector(labels_of(selector.match_labels or {}), _requirements(selector.match_expressions))


def selector_of_text(text: str) -> LabelSelector | None:
    """
    Read a label selector as `kubectl` and the scale subresource write it; None for what is not one.

    Source: k8s.io/apimachinery `pkg/labels/selector.go` (Parse).

    >>> selector_of_text("app=web,tier in (a,b),!old").match_labels
    (('app', 'web'),)
    """
    labels: dict[str, str] = {}
    requirements: list[Requirement] = []
    for part in re.split(r",(?![^(]*\))", text.strip()) if text.strip() else ():
        match = _SELECTOR_PART.fullmatch(part.strip())
        if match is None:
            return None
        absent, key, sign, value, word, values = match.groups()
        if sign in ("=", "=="):
            labels[key] = value or ""
        elif sign == "!=":
            requirements.append(Requirement(key, Operator.NOT_IN, (value or "",)))
        elif word:
            wanted = tuple(sorted(each.strip() for each in values.split(",")))
            requirements.append(Requirement(key, Operator.IN if word == "in" else Operator.NOT_IN, wanted))
        else:
            requirements.append(Requirement(key, Operator.DOES_NOT_EXIST if absent else Operator.EXISTS))
    return LabelSelector(labels_of(labels), tuple(requirements))


def node_terms_of(selector: wire.NodeSelector | None) -> tuple[NodeSelectorTerm, ...] | None:
    """Translate a node selector; None (no constraint) stays None."""
    return None if selector is None else tuple(map(_node_term, selector.node_selector_terms or ()))


def affinity_of(affinity: wire.Affinity | None) -> Affinity:
    """Translate node and inter-pod affinity."""
    if affinity is None:
        return NO_AFFINITY
    node = affinity.node_affinity or wire.NodeAffinity()
    pod = affinity.pod_affinity or wire.PodAffinity()
    anti = affinity.pod_anti_affinity or wire.PodAffinity()
    return Affinity(
        node_required=node_terms_of(node.required),
        node_preferred=tuple(
            PreferredNodeTerm(each.weight, _node_term(each.preference)) for each in node.preferred or ()
        ),
        pod_required=tuple(map(_pod_term, pod.required or ())),
        pod_preferred=tuple(_preferred_pod_terms(pod.preferred)),
        pod_anti_required=tuple(map(_pod_term, anti.required or ())),
        pod_anti_preferred=tuple(_preferred_pod_terms(anti.preferred)),
    )


def toleration_of(toleration: wire.Toleration, where: str) -> Toleration:
    """
    Translate a toleration.

    Raises:
        InputError: its effect is none that exists.
    """
    try:
        effect = Effect(toleration.effect) if toleration.effect else None
    except ValueError as error:
        raise InputError(where, "spec.tolerations.effect", toleration.effect, ", ".join(Effect)) from error
    return Toleration(
        key=toleration.key or "",
        operator=toleration.operator or "Equal",
        value=toleration.value or "",
        effect=effect,
        seconds=toleration.toleration_seconds,
    )


def spread_of(constraint: wire.SpreadConstraint) -> TopologySpread:
    """Translate a topology spread constraint; absent policies get the API's meaning."""
    return TopologySpread(
        max_skew=constraint.max_skew,
        topology_key=constraint.topology_key,
        when_unsatisfiable=constraint.when_unsatisfiable,
        selector=selector_of(constraint.label_selector),
        min_domains=constraint.min_domains,
        node_affinity_policy=constraint.node_affinity_policy or "Honor",
        node_taints_policy=constraint.node_taints_policy or "Ignore",
        match_label_keys=tuple(constraint.match_label_keys or ()),
    )


def _requirements(expressions: Iterable[wire.SelectorRequirement] | None) -> tuple[Requirement, ...]:
    return tuple(Requirement(each.key, each.operator, tuple(each.values or ())) for each in expressions or ())


def _node_term(term: wire.NodeTerm) -> NodeSelectorTerm:
    return NodeSelectorTerm(_requirements(term.match_expressions), _requirements(term.match_fields))


def _pod_term(term: wire.PodTerm) -> PodTerm:
    return PodTerm(
        topology_key=term.topology_key,
        selector=selector_of(term.label_selector),
        namespaces=tuple(term.namespaces or ()),
        namespace_selector=selector_of(term.namespace_selector),
        match_label_keys=tuple(term.match_label_keys or ()),
        mismatch_label_keys=tuple(term.mismatch_label_keys or ()),
    )


def _preferred_pod_terms(terms: Iterable[wire.PreferredPodTerm] | None) -> Iterable[PreferredPodTerm]:
    return (PreferredPodTerm(each.weight, _pod_term(each.pod_affinity_term)) for each in terms or ())
