"""The snapshot, looked up by key: built once a decision, in one pass over the pods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, islice
from operator import attrgetter, le
from typing import Any

import msgspec

from autoscaler.model.node import NodeGroup
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.readings import Reading, Signal
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.snapshot import ClusterSnapshot, WorkloadModel
from autoscaler.model.workload import Rival, Workload

_POD_KEY = attrgetter("shape.namespace", "name")
_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "nodes": attrgetter("name"),
    "node_groups": attrgetter("name"),
    "workloads": attrgetter("key"),
    "disruption_budgets": attrgetter("key"),
    "rivals": attrgetter("key"),
}


def in_order(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """Return *snapshot* with its tuples in the order that the model asks for; most have it, which is quick to see."""
    changes = {} if _pods_are_in_order(snapshot.pods) else {"pods": tuple(sorted(snapshot.pods, key=_POD_KEY))}
    for field, key in _KEYS.items():
        values: tuple[Any, ...] = getattr(snapshot, field)
        if not _ascending(list(map(key, values))):
            changes[field] = tuple(sorted(values, key=key))
    return msgspec.structs.replace(snapshot, **changes) if changes else snapshot


def _pods_are_in_order(pods: Sequence[Pod]) -> bool:
    """Compare names within each namespace, then namespaces: a key for each of many pods costs three times as much."""
    namespaces = []
    for namespace, run in groupby(pods, key=attrgetter("shape.namespace")):
        if not _ascending(list(map(attrgetter("name"), run))):
            return False
        namespaces.append(namespace)
    return _ascending(namespaces)


def _ascending(keys: Sequence[Any]) -> bool:
    return all(map(le, keys, islice(keys, 1, None)))


def _wants_node(shape: PodShape) -> bool:
    return not shape.gated and shape.owner_kind != "DaemonSet"


def _independent(rivals: Sequence[Rival]) -> Sequence[Rival]:
    there = {(rival.namespace, f"{rival.kind}/{rival.name}") for rival in rivals}
    return [rival for rival in rivals if not rival.owner or (rival.namespace, rival.owner) not in there]


class SnapshotIndex:
    """
    Read-only look-ups of one snapshot. `waiting` are the pods without a node that want one;
    `rivals` those that no other rival controls: a ScaledObject's HPA does what the ScaledObject says.
    """

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self.snapshot = snapshot
        self.readings: Mapping[Signal, Reading] = dict(snapshot.readings)
        self.models: Mapping[str, WorkloadModel] = {model.workload: model for model in snapshot.models}
        self.groups: Mapping[str, NodeGroup] = {group.name: group for group in snapshot.node_groups}
        self.workloads: Mapping[str, Workload] = {workload.key: workload for workload in snapshot.workloads}
        self.rivals = _independent(snapshot.rivals)
        self._pods: dict[str, list[Pod]] = {}
        self._active: dict[str, int] = {}
        self.waiting: list[Pod] = []
        for owner, run in groupby(snapshot.pods, key=attrgetter("workload")):
            pods = list(run)
            active = [pod for pod in pods if pod.is_active]
            self._pods.setdefault(owner, []).extend(pods)
            self._active[owner] = self._active.get(owner, 0) + len(active)
            self.waiting += [pod for pod in active if not pod.node and _wants_node(pod.shape)]

    def pods_of(self, workload: str) -> Sequence[Pod]:
        """Return the pods that a workload owns, by name; also those that ended or are being deleted."""
        return self._pods.get(workload, ())

    def active_pods(self, workload: str) -> int:
        """Return how many pods of a workload neither ended nor are being deleted."""
        return self._active.get(workload, 0)

    def largest_node(self) -> Resources:
        """Return the largest amount of each resource that one node, present or on offer, can give."""
        largest = NOTHING
        for allocatable in {group.template.allocatable for group in self.snapshot.node_groups} | {
            node.allocatable for node in self.snapshot.nodes
        }:
            largest = largest.largest(allocatable)
        return largest
