"""How long it takes until a decision helps: seconds to a pod that serves, and to a new node."""

from __future__ import annotations

from collections.abc import Iterable

from autoscaler.model.node import NodeGroup
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.workload import Workload

_BOOT_SECONDS = 90.0
"""Assumed for a new node where there is no group that says."""
_START_SECONDS = 60.0
"""Assumed time from a pod's creation to Ready where it was not measured."""
_SETTLE_SECONDS = 60.0
"""Scheduling, image pull and load balancer: what neither start nor boot covers."""


def reaction_seconds(snapshot: ClusterSnapshot, workload: Workload) -> float:
    """Return the time from a change of load to a new pod that serves it, on a node that is there."""
    start = workload.start_seconds or _START_SECONDS
    return snapshot.metrics_delay + snapshot.period + start + _SETTLE_SECONDS


def boot_seconds(groups: Iterable[NodeGroup]) -> float:
    """Return how long a new node takes, by the slowest group."""
    return max((group.boot_seconds for group in groups), default=_BOOT_SECONDS)
