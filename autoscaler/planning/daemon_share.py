"""
What DaemonSets take of a new node, for groups that do not state it.

Of each DaemonSet a pod comes to a new node whose labels its node selector and
required affinity match, and whose taints it tolerates; the controller adds
tolerations of its own for nodes that have trouble.

Sources: Kubernetes v1.37 `pkg/controller/daemon/daemon_controller.go`
(NodeShouldRunDaemonPod) and `util/daemonset_util.go`
(AddOrUpdateDaemonPodTolerations); Cluster Autoscaler 1.36.1
`utils/daemonset/daemonset.go`.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec.structs import replace

from autoscaler.model.node import NodeGroup, NodeTemplate
from autoscaler.model.placement import Labels
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.planning.offers import with_known_labels
from autoscaler.scheduling.requests import node_demand
from autoscaler.scheduling.requirements import label_map, matches_node_affinity, untolerated_taint

_TOLERATED = frozenset(
    f"node.kubernetes.io/{trouble}"
    for trouble in ("not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
)
"""Taints that the DaemonSet controller lets every pod of a DaemonSet tolerate."""


def with_daemon_share(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """Return *snapshot* with the `overhead` of each group's template, where the group states none."""
    daemons = tuple(workload.template for workload in snapshot.workloads if workload.kind == "DaemonSet")
    if not daemons or all(group.template.overhead.amounts for group in snapshot.node_groups):
        return snapshot
    return replace(snapshot, node_groups=tuple(_shared(group, daemons) for group in snapshot.node_groups))


def _shared(group: NodeGroup, daemons: tuple[PodShape, ...]) -> NodeGroup:
    if group.template.overhead.amounts:
        return group
    template = _template(group.template, with_known_labels(group).labels, daemons)
    return group if template is group.template else replace(group, template=template)


@lru_cache(maxsize=1 << 13)
def _template(template: NodeTemplate, labels: Labels, daemons: tuple[PodShape, ...]) -> NodeTemplate:
    """Return one object for equal arguments: groups and DaemonSets change rarely, and groups may be many."""
    taints = tuple(taint for taint in template.taints if taint.key not in _TOLERATED)
    known = label_map(labels)
    share: Resources = NOTHING
    for shape in daemons:
        if untolerated_taint(shape, taints) is None and matches_node_affinity(shape, known, ""):
            share += node_demand(shape)
    return replace(template, overhead=share) if share.amounts else template
