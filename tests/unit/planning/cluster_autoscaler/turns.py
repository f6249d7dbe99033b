"""Small clusters, and turns of the engine on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from autoscaler.model.plan import AnyAction
from autoscaler.model.policy import ScalingPolicySpec
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import decode_hook
from autoscaler.model.state import DecisionState
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.node_engines import plan_nodes
from autoscaler.planning.node_layer import NodePlan

ROOM = DisruptionRoom(nodes=1000, pods=1000)


def rules(*, mode: str = "Auto", params: Mapping[str, Any] | None = None, **nodes: Any) -> ScalingPolicySpec:
    """Return a policy with this engine; *params* are its flags, *nodes* what else is said of nodes."""
    document = {"mode": mode, "nodes": {"engine": "cluster-autoscaler", "params": dict(params or {}), **nodes}}
    return msgspec.convert(document, ScalingPolicySpec, dec_hook=decode_hook)


def turn(
    snapshot: ClusterSnapshot,
    policy: ScalingPolicySpec,
    state: DecisionState = DecisionState(),  # noqa: B008 (frozen)
    *,
    room: DisruptionRoom = ROOM,
) -> NodePlan:
    return plan_nodes(SnapshotIndex(snapshot), policy, state, parts={}, advice=(), room=room)


def after(plan: NodePlan, state: DecisionState = DecisionState()) -> DecisionState:  # noqa: B008 (frozen)
    """Return what is remembered after a turn, as the decision keeps it."""
    return msgspec.structs.replace(
        state,
        nodes=plan.memory,
        groups=plan.groups,
        last_consolidation_at=plan.last_consolidation_at,
        last_removal_failed_at=plan.last_removal_failed_at,
    )


def watched(
    snapshot: ClusterSnapshot, policy: ScalingPolicySpec, *, seconds: float, state: DecisionState | None = None
) -> tuple[ClusterSnapshot, DecisionState]:
    """Look at the same cluster twice, *seconds* apart; return the second sight and the memory to judge it with."""
    known = after(turn(snapshot, policy, state or DecisionState()), state or DecisionState())
    return later(snapshot, seconds), known


def later(snapshot: ClusterSnapshot, seconds: float, **changes: Any) -> ClusterSnapshot:
    return msgspec.structs.replace(snapshot, observed_at=snapshot.observed_at + seconds, **changes)


def kinds(actions: Sequence[AnyAction]) -> list[str]:
    """Return what is done and to what, as `CordonNode node-1`."""
    found = []
    for action in actions:
        what = next(
            str(getattr(action, field)) for field in ("nodes", "group", "pod", "node") if getattr(action, field, "")
        )
        found.append(f"{type(action).__name__} {what}")
    return found


def why(plan: NodePlan, node: str) -> list[str]:
    """Return the reasons in the peer's words why a node stays."""
    return [
        dict(reason.detail).get("reason", "")
        for note in plan.notes
        if note.target == f"node/{node}"
        for reason in note.reasons
    ]
