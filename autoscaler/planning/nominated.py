"""
Pods for which kube-scheduler has chosen a node already, while the pods that it evicts there are still going.

Such a pod has no node yet but `status.nominatedNodeName`. It needs no new
node, and the room that its victims leave is spoken for. All node planners take
it to be on that node. Sources: kube-scheduler v1.37 `framework/runtime`
(RunFilterPluginsWithNominatedPods); Cluster Autoscaler 1.36.1
`core/static_autoscaler.go` (allocatedPods) and `simulator/clustersnapshot`
(SetClusterState); Karpenter `utils/pod/scheduling.go` (IsPreempting).
"""

from __future__ import annotations

from operator import attrgetter

from msgspec.structs import replace

from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.planning.index import SnapshotIndex

_NOMINATED = attrgetter("nominated_node")


def with_nominated_pods(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """Return *snapshot* with nominated pods on their nodes; a node that is not there counts for nothing."""
    if not any(map(_NOMINATED, snapshot.pods)):
        return snapshot
    nodes = {node.name for node in snapshot.nodes}
    pods = tuple(
        replace(pod, node=pod.nominated_node) if not pod.node and pod.nominated_node in nodes else pod
        for pod in snapshot.pods
    )
    return replace(snapshot, pods=pods)


def index_for_nodes(index: SnapshotIndex) -> SnapshotIndex:
    """Return the look-ups that node planners work with."""
    snapshot = with_nominated_pods(index.snapshot)
    return index if snapshot is index.snapshot else SnapshotIndex(snapshot)
