"""
What NodeGroup documents of provider `aws` say of groups that are there: narrower bounds, prices, weight, template.

A document names groups by `match.asg`, `match.nodegroup` or `match.tags`; of
several for one group the first by name counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autoscaler.model.policy import NodeGroupPolicy, NodeGroupSize, NodeGroupSpec
from autoscaler.providers.aws import wire
from autoscaler.providers.aws.tags import EKS_NODEGROUP, tags_of

PROVIDER = "aws"
NO_DOCUMENT = NodeGroupSpec(provider=PROVIDER, size=NodeGroupSize(max=1 << 31))
"""Narrows nothing."""


def document_of(group: wire.Group, documents: Sequence[NodeGroupPolicy]) -> NodeGroupSpec:
    """Return the spec of the first of *documents* that is for *group*, `NO_DOCUMENT` without one."""
    return next((each.spec for each in documents if _matches(each, group)), NO_DOCUMENT)


def ours(documents: Iterable[NodeGroupPolicy]) -> tuple[NodeGroupPolicy, ...]:
    """Return the documents of this provider, by name."""
    return tuple(sorted((each for each in documents if each.spec.provider == PROVIDER), key=lambda each: each.name))


def document_problems(documents: Iterable[NodeGroupPolicy], groups: Sequence[wire.Group]) -> list[str]:
    """Return, one line each, which documents are without effect, and why."""
    problems = []
    for document in documents:
        spec, where = document.spec, f"NodeGroup {document.name}"
        if spec.requirements:
            problems.append(f"{where}: spec.requirements is not used: a group's launch template has its types")
        if not any(_matches(document, group) for group in groups):
            problems.append(
                f"{where}: spec.match: no discovered Auto Scaling group is matched by asg, nodegroup or tags"
            )
    return problems


def _matches(document: NodeGroupPolicy, group: wire.Group) -> bool:
    match, tags = document.spec.match, tags_of(group)
    if match.asg:
        return match.asg == group.auto_scaling_group_name
    if match.nodegroup:
        return match.nodegroup == tags.get(EKS_NODEGROUP)
    return bool(match.tags) and match.tags.items() <= tags.items()
