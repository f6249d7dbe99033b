"""
Which nodes are not what a new node of their group would be.

Source: Karpenter `pkg/controllers/nodeclaim/disruption/drift.go` and
`pkg/apis/v1/nodepool.go` (Hash), main of 2026-08-20. There a node carries the
digest of the template that it was made from; here is remembered since when a
group has which template, and a node was made from the one of its time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.state import TemplateMemory
from autoscaler.model.units import HOUR
from autoscaler.planning.karpenter.candidates import price_of
from autoscaler.planning.karpenter.claims import NodePool
from autoscaler.scheduling.requirements import label_map

_MOST_TEMPLATES = 8
"""So many templates of a group are remembered; what is older than that has drifted in any case."""


class Drift(msgspec.Struct, frozen=True):
    """Why a node has drifted, in the peer's words, and since when (epoch seconds)."""

    reason: str
    since: float


def template_digest(group: NodeGroup) -> str:
    """Return a digest of what users say of a group's nodes; what is measured on nodes does not count."""
    template = group.template
    stated = (template.instance_type, sorted(template.labels), sorted(map(msgspec.to_builtins, template.taints)))
    return hashlib.blake2b(msgspec.json.encode(stated), digest_size=8).hexdigest()


def note_templates(
    groups: Iterable[NodeGroup], before: Sequence[TemplateMemory], *, now: float
) -> tuple[TemplateMemory, ...]:
    """Return the memory of templates with those that groups have *now*, groups that are gone forgotten."""
    known = {each.group: each.templates for each in before}
    found = []
    for group in sorted(groups, key=lambda each: each.name):
        digest, seen = template_digest(group), known.get(group.name, ())
        if not seen:
            seen = ((0.0, digest),)
        elif seen[-1][1] != digest:
            seen = (*seen, (now, digest))[-_MOST_TEMPLATES:]
        found.append(TemplateMemory(group=group.name, templates=seen))
    return tuple(found)


def drift_of(node: Node, pool: NodePool, templates: Mapping[str, TemplateMemory], *, now: float) -> Drift | None:
    """
    Return why a node has drifted, None if it has not.

    In this order: its group's template has changed since it was made; its
    labels are none that the pool has; after an hour, the pool offers its type no more.
    """
    memory = templates.get(node.group)
    if memory is not None:
        since, current = memory.templates[-1]
        own = [digest for at, digest in memory.templates if at <= node.created_at]
        if not own or own[-1] != current:
            return Drift("NodePoolDrifted", since)
    labels = label_map(node.labels)
    for each in pool.requirements:
        if each.key in labels and not each.has(labels[each.key]):
            return Drift("RequirementsDrifted", node.created_at)
    if now - node.created_at > HOUR and not price_of(node, pool)[0]:
        return Drift("InstanceTypeNotFound", node.created_at + HOUR)
    return None
