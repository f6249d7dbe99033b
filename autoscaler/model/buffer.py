"""Room to keep free: CapacityBuffers (autoscaling.x-k8s.io)."""

from __future__ import annotations

import msgspec

from autoscaler.model.pod import PodShape
from autoscaler.model.resources import NOTHING, Resources


class Buffer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    One CapacityBuffer, as its object says.

    The pods to keep room for are those of `template`, or where that is None of
    `workload`; their number is the larger one of `replicas` and of `percentage` of the
    workload's own, or else what `limits` have room for. `problem` tells why none can be kept.
    """

    namespace: str
    name: str
    template: PodShape | None = None
    workload: str = ""
    replicas: int | None = None
    percentage: int | None = None
    limits: Resources = NOTHING
    problem: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"
