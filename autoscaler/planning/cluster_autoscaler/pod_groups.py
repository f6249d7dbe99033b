"""
Pods that the estimator may treat as one: equal pods of one controller.

Source: `core/scaleup/equivalence/groups.go` (BuildPodGroups), Cluster Autoscaler 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from autoscaler.model.pod import Pod, PodShape

MAX_GROUPS_OF_ONE_CONTROLLER = 10
"""Further kinds of pods of one controller are not grouped (maxEquivalenceGroupsByController)."""


class PodGroup(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`count` pods of one shape; `workload` owns them, "" for pods that nothing owns."""

    shape: PodShape
    count: int
    workload: str = ""


def pod_groups(pods: Iterable[Pod]) -> list[PodGroup]:
    """
    Group pods that are equal for the scheduler, in the order in which the first of each was seen.

    A pod without a controller is alone, also beside its equals.
    """
    groups: list[list[Pod]] = []
    of_controller: dict[str, dict[PodShape, list[Pod]]] = {}
    for pod in pods:
        known = of_controller.setdefault(pod.workload, {}) if pod.workload else {}
        members = known.get(pod.shape)
        if members is not None:
            members.append(pod)
            continue
        groups.append([pod])
        if len(known) < MAX_GROUPS_OF_ONE_CONTROLLER:
            known[pod.shape] = groups[-1]
    return [PodGroup(shape=group[0].shape, count=len(group), workload=group[0].workload) for group in groups]
