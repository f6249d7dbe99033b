"""What must outlive a cycle: a value, in and out of every decision."""

from __future__ import annotations

from typing import Any

import msgspec


class NodeMemory(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    What is remembered of one node. `drain_since` is when its drain was begun
    (0: not draining), `was_empty` that nothing had to move then; `replaced_by`
    names groups whose new nodes must be ready before the drain starts, with
    the sizes waited for. `recheck_at` is when its removal is to be tried again.
    `command` names the nodes that go together, by the first of them;
    `pods_changed_at` is when a pod last came, ended or left.
    """

    node: str
    unneeded_since: float = 0.0
    drain_since: float = 0.0
    replaced_by: tuple[tuple[str, int], ...] = ()
    was_empty: bool = False
    recheck_at: float = 0.0
    command: str = ""
    pods_changed_at: float = 0.0


class GroupMemory(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    What is remembered of a node group whose growth failed: when, how long no
    other growth is tried, and until when. `told_until` is the end of the
    provider's own back-off as last seen, which tells one failure from the next.
    """

    group: str
    failed_at: float
    backoff_seconds: float
    backoff_until: float
    told_until: float = 0.0


class TemplateMemory(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the nodes of a group were made from: (since when, digest of the template), oldest first; 0 for ever."""

    group: str
    templates: tuple[tuple[float, str], ...]


class NodeProposal(msgspec.Struct, frozen=True, kw_only=True):
    """
    Nodes to disrupt together, once it has been seen again that they may go.

    `method` says by which rule, `types` the machines that may replace them;
    without any they are just removed.
    """

    at: float
    method: str
    nodes: tuple[str, ...]
    types: tuple[str, ...] = ()


class WorkloadMemory(msgspec.Struct, frozen=True, kw_only=True):
    """A recommender's own memory of one workload; `memory` is a Struct of the engine's `Memory` type."""

    workload: str
    engine: str
    memory: Any = None


class DecisionState(msgspec.Struct, frozen=True, kw_only=True):
    """
    Losing it makes the controller slower, never unsafe.

    Workloads, nodes, groups and templates are sorted by key. Times are epoch seconds, 0 for never.
    """

    workloads: tuple[WorkloadMemory, ...] = ()
    nodes: tuple[NodeMemory, ...] = ()
    groups: tuple[GroupMemory, ...] = ()
    templates: tuple[TemplateMemory, ...] = ()
    proposal: NodeProposal | None = None
    last_scale_up_at: float = 0.0
    last_consolidation_at: float = 0.0
    last_removal_failed_at: float = 0.0
    disruptions: tuple[tuple[float, str], ...] = ()
    """(time, workload) of recent evictions and restarts we caused, oldest first."""
