"""
Groups of like machines, and growth spread evenly over them.

Sources: `processors/nodegroupset/compare_nodegroups.go` and
`balancing_processor.go` (BalanceScaleUpBetweenGroups), 1.36.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from autoscaler.model.node import NodeGroup, NodeTemplate
from autoscaler.model.resources import ATTACHMENTS_PREFIX, CPU, EPHEMERAL, MEMORY, PODS, Resources
from autoscaler.planning.cluster_autoscaler.limits import machine_of
from autoscaler.planning.cluster_autoscaler.params import ClusterAutoscalerParams
from autoscaler.scheduling.requirements import label_map
from autoscaler.scheduling.topology import HOSTNAME

IGNORED_LABELS = frozenset(
    {
        HOSTNAME,
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "beta.kubernetes.io/fluentd-ds-ready",
        "kops.k8s.io/instancegroup",
    }
)
"""Like machines differ in these."""
OWN_GROUP_LABELS = frozenset(
    {
        "podnode.io/group",
        "eks.amazonaws.com/nodegroup",
        "alpha.eksctl.io/instance-id",
        "alpha.eksctl.io/nodegroup-name",
        "k8s.amazonaws.com/eniConfig",
        "topology.ebs.csi.aws.com/zone",
        "cloud.google.com/gke-nodepool",
        "topology.gke.io/zone",
    }
)
"""Each group has its own of these; the peer's clouds ignore those that they set."""
_ALWAYS_COMPARED = (CPU, MEMORY, EPHEMERAL, PODS)


def are_similar(one: NodeTemplate, other: NodeTemplate, params: ClusterAutoscalerParams) -> bool:
    """
    Tell whether two groups' machines are alike: same capacity, memory nearly so, and same labels but for place.

    What pods can have, and what DaemonSets leave of it, may differ by a few percent.
    """
    return (
        _same_capacity(one, other, params)
        and _all_near(_amounts(one), _amounts(other), params.max_allocatable_difference_ratio)
        and _all_near(_free(one), _free(other), params.max_free_difference_ratio)
        and _compared_labels(one, params) == _compared_labels(other, params)
    )


def balance(groups: Sequence[NodeGroup], nodes: int) -> Mapping[str, int]:
    """
    Return how many of *nodes* each group gets: always the smallest that has not reached its maximum.

    Of equally small ones the one that was smallest at first, then the first in order; what fits into none is left out.
    """
    by_size = sorted(groups, key=lambda group: group.target_size)
    level = [(group.target_size, place) for place, group in enumerate(by_size) if group.target_size < group.max_size]
    gains: dict[str, int] = {}
    while nodes > 0 and level:
        size, place = level[0]
        group = by_size[place]
        gains[group.name] = gains.get(group.name, 0) + 1
        nodes -= 1
        if size + 1 < group.max_size:
            heapq.heapreplace(level, (size + 1, place))
        else:
            heapq.heappop(level)
    return gains


def _same_capacity(one: NodeTemplate, other: NodeTemplate, params: ClusterAutoscalerParams) -> bool:
    mine, theirs = _machine(one), _machine(other)
    if mine.keys() != theirs.keys():
        return False
    return all(
        _near(amount, theirs[name], params.memory_difference_ratio) if name == MEMORY else amount == theirs[name]
        for name, amount in mine.items()
    )


def _machine(template: NodeTemplate) -> dict[str, int]:
    return _without_attachments(machine_of(template))


def _amounts(template: NodeTemplate) -> dict[str, int]:
    return _without_attachments(template.allocatable)


def _without_attachments(amounts: Resources) -> dict[str, int]:
    """Leave out limits on volumes, which the peer does not have among a machine's resources."""
    return {name: amount for name, amount in amounts.items() if not name.startswith(ATTACHMENTS_PREFIX)}


def _free(template: NodeTemplate) -> dict[str, int]:
    """Return what DaemonSets leave; the slots that their pods take do not count."""
    names: Iterable[str] = {*_ALWAYS_COMPARED, *template.overhead.names()}
    taken = {name: template.overhead.get(name) for name in names if name != PODS}
    return {name: template.allocatable.get(name) - taken.get(name, 0) for name in names}


def _all_near(mine: Mapping[str, int], theirs: Mapping[str, int], ratio: float) -> bool:
    return mine.keys() == theirs.keys() and all(_near(mine[name], theirs[name], ratio) for name in mine)


def _near(one: int, other: int, ratio: float) -> bool:
    larger, smaller = max(one, other), min(one, other)
    return larger - smaller <= larger * ratio


def _compared_labels(template: NodeTemplate, params: ClusterAutoscalerParams) -> dict[str, str]:
    left_out = IGNORED_LABELS | OWN_GROUP_LABELS | frozenset(params.balancing_ignore_label)
    return {key: value for key, value in label_map(template.labels).items() if key not in left_out}
