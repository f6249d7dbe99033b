"""What must outlive a cycle: a value, in and out of every decision."""

from __future__ import annotations

from typing import Any

import msgspec


class NodeMemory(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    What is remembered of one node. `drain_since` is when its drain was begun
    (0: not draining); `replaced_by` names groups whose new nodes must be ready
    before the drain starts, with the sizes waited for.
    """

    node: str
    unneeded_since: float = 0.0
    drain_since: float = 0.0
    replaced_by: tuple[tuple[str, int], ...] = ()


class WorkloadMemory(msgspec.Struct, frozen=True, kw_only=True):
    """A recommender's own memory of one workload; `memory` is a Struct of the engine's `Memory` type."""

    workload: str
    engine: str
    memory: Any = None


class DecisionState(msgspec.Struct, frozen=True, kw_only=True):
    """
    Losing it makes the controller slower, never unsafe.

    Workloads and nodes are sorted by key. Times are epoch seconds, 0 for never.
    """

    workloads: tuple[WorkloadMemory, ...] = ()
    nodes: tuple[NodeMemory, ...] = ()
    last_scale_up_at: float = 0.0
    last_consolidation_at: float = 0.0
    disruptions: tuple[tuple[float, str], ...] = ()
    """(time, workload) of recent evictions and restarts we caused, oldest first."""
