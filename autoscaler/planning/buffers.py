"""
Room that CapacityBuffers ask for: how many pods of which shape.

Source: the CapacityBuffer API (autoscaling.x-k8s.io/v1beta1), fields
`replicas`, `percentage` and `limits`: the larger one of the first two, a
percentage rounded up to a whole pod and one at least; of the limits as many pods
as they have room for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.buffer import Buffer
from autoscaler.model.pod import PodShape
from autoscaler.model.workload import Workload
from autoscaler.scheduling.requests import effective_requests

MOST_PODS = 10_000
"""More room than this is a mistake, and would only make decisions slow."""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Room to keep for `pods` of a shape, or why none is kept."""

    shape: PodShape | None = None
    pods: int = 0
    problem: str = ""


def room_of(buffer: Buffer, workloads: Mapping[str, Workload]) -> Room:
    """Return what to keep free for a buffer; *workloads* by key."""
    if buffer.problem:
        return Room(problem=buffer.problem)
    workload = workloads.get(buffer.workload)
    if buffer.template is None and workload is None:
        return Room(problem=f"spec.scalableRef: there is no {buffer.workload or 'such workload'}")
    shape = buffer.template or (workload.template if workload is not None else None)
    if shape is None:
        return Room(problem="nothing tells what its pods ask for")
    wanted = [buffer.replicas] if buffer.replicas is not None else []
    if buffer.percentage is not None and workload is not None:
        wanted.append(max(1, math.ceil(workload.replicas * buffer.percentage / 100)))
    limits = [*_within(buffer, shape)]
    if not wanted and not limits:
        return Room(problem="spec: nothing tells how many; allowed: replicas, percentage with scalableRef, or limits")
    return Room(shape=shape, pods=min([max(wanted, default=MOST_PODS), *limits, MOST_PODS]))


def buffer_demand(buffers: Sequence[Buffer], workloads: Mapping[str, Workload]) -> list[tuple[PodShape, int]]:
    """Return the pods to keep room for, most important first, then in the buffers' order."""
    rooms = [room_of(buffer, workloads) for buffer in buffers]
    found = [(room.shape, room.pods) for room in rooms if room.shape is not None and room.pods > 0]
    return sorted(found, key=lambda item: -item[0].priority)


def _within(buffer: Buffer, shape: PodShape) -> list[int]:
    """Return, for each limited resource that a pod asks for, how many pods fit."""
    asked = effective_requests(shape)
    return [amount // asked.get(name) for name, amount in buffer.limits.items() if asked.get(name) > 0]
