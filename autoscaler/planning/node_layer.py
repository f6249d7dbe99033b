"""The node side of a decision: room for the pods there will be, at least cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.plan import AnyAction, Note
from autoscaler.model.policy import ScalingPolicySpec
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.state import DecisionState, NodeMemory
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.workload_actions import WorkloadActions


class NodePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about nodes, what of it only to tell, and what to remember."""

    actions: tuple[AnyAction, ...] = ()
    advised: tuple[AnyAction, ...] = ()
    notes: tuple[Note, ...] = ()
    memory: tuple[NodeMemory, ...] = ()
    last_consolidation_at: float = 0.0
    bound_gap: float | None = None


def plan_nodes(
    index: SnapshotIndex,
    rules: ScalingPolicySpec,
    state: DecisionState,
    *,
    parts: Mapping[str, WorkloadActions],
    advice: Sequence[Recommendation],
    room: DisruptionRoom,
) -> NodePlan:
    """Return what to buy and what to give back."""
    del index, rules, parts, advice, room
    return NodePlan(memory=state.nodes, last_consolidation_at=state.last_consolidation_at)
