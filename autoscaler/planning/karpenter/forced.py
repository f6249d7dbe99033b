"""
Nodes that go whatever budgets and pods say: taken back by the cloud, too old, never come.

Sources: Karpenter `pkg/controllers/nodeclaim/expiration/controller.go`,
`nodeclaim/lifecycle/liveness.go` (registration within 15 minutes), main of
2026-08-20; the interruption controllers of its providers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.state import NodeMemory
from autoscaler.model.units import format_duration

REGISTRATION_SECONDS = 900.0
"""A machine that has not registered by then is given back."""


def forced_out(
    nodes: Iterable[Node],
    groups: Mapping[str, NodeGroup],
    memory: Mapping[str, NodeMemory],
    *,
    expire_seconds: float,
    may_begin: bool,
    now: float,
) -> dict[str, Reason]:
    """
    Return by name the nodes that go in any case, and why.

    Args:
        nodes: all there are.
        groups: by name; an old node stays while its group is at its minimum.
        memory: what is remembered of nodes, by name.
        expire_seconds: the age at which nodes go, 0 for never.
        may_begin: whether old nodes may begin to go; those that have begun go on.
        now: epoch seconds.
    """
    found: dict[str, Reason] = {}
    gone: dict[str, int] = {}
    for node in sorted(nodes, key=lambda each: (each.created_at, each.name)):
        known = memory.get(node.name)
        begun = known is not None and known.drain_since > 0
        reason = _reason(node, expire_seconds=expire_seconds, now=now)
        if reason is not None and reason.code is Code.NODE_EXPIRED and not begun:
            group = groups.get(node.group)
            room = 0 if group is None else group.target_size - gone.get(node.group, 0) - group.min_size
            if not may_begin or room <= 0:
                continue
        if reason is not None:
            found[node.name] = reason
        if reason is not None or begun or node.deleting:
            gone[node.group] = gone.get(node.group, 0) + 1
    return found


def _reason(node: Node, *, expire_seconds: float, now: float) -> Reason | None:
    if node.deleting:
        return None
    if node.interrupt_at is not None:
        return Reason(Code.SPOT_INTERRUPTION, "the cloud takes the node back")
    age = now - node.created_at if node.created_at > 0 else 0.0
    if not node.registered:
        if age >= REGISTRATION_SECONDS:
            return Reason(Code.NODE_NOT_READY, f"the node has not registered for {format_duration(age)}")
        return None
    if 0 < expire_seconds <= age and not node.do_not_remove:
        return Reason(
            Code.NODE_EXPIRED, f"the node is {format_duration(age)} old; nodes may be {format_duration(expire_seconds)}"
        )
    return None
