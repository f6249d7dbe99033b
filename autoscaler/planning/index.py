"""The snapshot, looked up by key: built once a decision, in one pass over the pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoscaler.model.node import NodeGroup
from autoscaler.model.pod import Pod
from autoscaler.model.readings import Reading, Signal
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.snapshot import ClusterSnapshot, WorkloadModel
from autoscaler.model.workload import Workload


class SnapshotIndex:
    """Read-only look-ups of one snapshot. `waiting` are the pods without a node that want one."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self.snapshot = snapshot
        self.readings: Mapping[Signal, Reading] = dict(snapshot.readings)
        self.models: Mapping[str, WorkloadModel] = {model.workload: model for model in snapshot.models}
        self.groups: Mapping[str, NodeGroup] = {group.name: group for group in snapshot.node_groups}
        self.workloads: Mapping[str, Workload] = {workload.key: workload for workload in snapshot.workloads}
        self._pods: dict[str, list[Pod]] = {}
        self.waiting: list[Pod] = []
        for pod in snapshot.pods:
            if not pod.node and pod.is_active and not pod.shape.gated and pod.shape.owner_kind != "DaemonSet":
                self.waiting.append(pod)
            owner = pod.workload
            if owner in self._pods:
                self._pods[owner].append(pod)
            else:
                self._pods[owner] = [pod]

    def pods_of(self, workload: str) -> Sequence[Pod]:
        """Return the pods that a workload owns, by name; also those that ended or are being deleted."""
        return self._pods.get(workload, ())

    def active_pods(self, workload: str) -> int:
        """Return how many pods of a workload neither ended nor are being deleted."""
        return sum(1 for pod in self._pods.get(workload, ()) if pod.is_active)

    def largest_node(self) -> Resources:
        """Return the largest amount of each resource that one node, present or on offer, can give."""
        largest = NOTHING
        for allocatable in {group.template.allocatable for group in self.snapshot.node_groups} | {
            node.allocatable for node in self.snapshot.nodes
        }:
            largest = largest.largest(allocatable)
        return largest

    def boot_seconds(self) -> float:
        """Return how long a new node takes, by the slowest group; 90 s where no group says."""
        return max((group.boot_seconds for group in self.snapshot.node_groups), default=90.0)
