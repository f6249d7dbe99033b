"""Ties pods to where their volumes are and can be attached, for planners that ask of nodes, there or to come."""

from __future__ import annotations

import msgspec

from autoscaler.model.pod import Phase, Pod, PodShape
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.planning.attachments import with_attach_limits
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.volume_terms import volume_terms


def with_volume_terms(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """Return *snapshot* with the `volume_terms` of all pods that have claims, and attach limits as resources."""
    if not any(pod.shape.claims for pod in snapshot.pods):
        return snapshot
    context = SchedulingContext((), volumes=snapshot.volumes)
    in_use = {f"{pod.shape.namespace}/{name}" for pod in snapshot.pods if _is_there(pod) for name in pod.shape.claims}
    known: dict[tuple[PodShape, bool], PodShape] = {}
    pods = list(snapshot.pods)
    for position, pod in enumerate(pods):
        shape, waits = pod.shape, not pod.node
        if not shape.claims:
            continue
        tied = known.get((shape, waits))
        if tied is None:
            terms = volume_terms(shape, context, in_use=in_use if waits else ())
            tied = known[shape, waits] = msgspec.structs.replace(shape, volume_terms=terms) if terms else shape
        pods[position] = msgspec.structs.replace(pod, shape=tied)
    return with_attach_limits(msgspec.structs.replace(snapshot, pods=tuple(pods)), context)


def _is_there(pod: Pod) -> bool:
    """Tell whether a pod is on a node, terminating or not."""
    return bool(pod.node) and pod.phase not in (Phase.SUCCEEDED, Phase.FAILED)
