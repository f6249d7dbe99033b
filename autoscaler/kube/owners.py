"""Which workload the pods of each ReplicaSet belong to: not every ReplicaSet is a Deployment's."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from msgspec.structs import replace

from autoscaler.kube import decode_wire as wire
from autoscaler.kube.table import Table
from autoscaler.model.pod import Pod
from autoscaler.model.workload import workload_key


class ReplicaSetOwners:
    """
    The workload of each ReplicaSet, by the ReplicaSet's key.

    ReplicaSets and pods come over two connections, so that a pod may be seen
    before its ReplicaSet: its workload is set right when that arrives.
    """

    def __init__(self, pods: Table[wire.Pod, Pod]) -> None:
        self._pods = pods
        self._known: dict[str, str] = {}

    @property
    def known(self) -> Mapping[str, str]:
        """Workload by ReplicaSet, both as keys."""
        return self._known

    def row_changed(self, key: str, old: object, new: object) -> None:
        """Take what a ReplicaSet's row became: the key of what owns it, a workload of its own, or None."""
        namespace, _, name = key.partition("/")
        replica_set = workload_key(namespace, "ReplicaSet", name)
        before = self._known.pop(replica_set, "")
        if new is None:
            return
        owner = sys.intern(new) if isinstance(new, str) else replica_set
        self._known[replica_set] = owner
        guess = workload_key(namespace, "Deployment", name.rpartition("-")[0])
        wrong = {replica_set, before or guess} - {owner}
        if before == owner or not len(self._pods) or (not before and owner == guess):
            return
        self._pods.amend(f"{namespace}\0{name}-", lambda pod: _at_home(pod, replica_set, wrong=wrong, owner=owner))


def _at_home(pod: Pod, replica_set: str, *, wrong: set[str], owner: str) -> Pod:
    """Return the pod with its true workload, if it is one of this ReplicaSet's."""
    own_name = pod.name.removeprefix(replica_set.rpartition("/")[2] + "-")
    if pod.workload not in wrong or pod.shape.owner_kind != "ReplicaSet" or "-" in own_name:
        return pod
    return replace(pod, workload=owner)
