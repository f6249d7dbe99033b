"""Small clusters of node groups, and turns of the engine on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from autoscaler.model.node import Node, NodeGroup, NodeTemplate
from autoscaler.model.plan import AnyAction
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.policy import ScalingPolicySpec
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import decode_hook
from autoscaler.model.state import DecisionState
from autoscaler.model.units import GIB
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.node_engines import plan_nodes
from autoscaler.planning.node_layer import NodePlan
from autoscaler.scheduling.topology import HOSTNAME
from autoscaler.testing.builders import NOW, make_pod, make_shape, make_snapshot

ROOM = DisruptionRoom(nodes=1000, pods=1000)
FREE: tuple[Mapping[str, Any], ...] = ({"nodes": "100%"},)
"""Budgets that bind nothing."""


def group(name: str, cpu: int, usd: float, *, size: int = 0, **fields: Any) -> NodeGroup:
    template = NodeTemplate(
        instance_type=fields.pop("kind", name),
        allocatable=Resources.of(cpu=cpu, memory=64 * GIB, pods=50),
        labels=fields.pop("labels", ()),
    )
    fields = {"zone": "a", "max_size": 20, **fields}
    return NodeGroup(name=name, template=template, target_size=size, usd_per_hour=usd, **fields)


def node_of(group: NodeGroup, name: str, **fields: Any) -> Node:
    """Return a ready node of a group, an hour old."""
    defaults: dict[str, Any] = {
        "allocatable": group.template.allocatable,
        "capacity": group.template.allocatable,
        "labels": tuple(sorted({**dict(group.template.labels), HOSTNAME: name}.items())),
        "created_at": NOW - 3600,
        "ready_since": NOW - 3500,
        "group": group.name,
        "instance_type": group.template.instance_type,
        "zone": group.zone,
        "capacity_type": group.capacity_type,
        "usd_per_hour": group.usd_per_hour,
    }
    return Node(name=name, **{**defaults, **fields})


def pods_on(node: str, count: int, *, cpu: int = 500, shape: PodShape | None = None, **fields: Any) -> list[Pod]:
    of = shape or make_shape(cpu=cpu, memory=GIB)
    return [make_pod(f"{node}-{number}", shape=of, node=node, **fields) for number in range(count)]


def cluster(nodes: Sequence[Node], pods: Iterable[Pod], groups: Iterable[NodeGroup], **fields: Any) -> ClusterSnapshot:
    """Return what is seen; the groups are as large as they have nodes."""
    sizes = {each.name: sum(1 for node in nodes if node.group == each.name) for each in groups}
    sized = [msgspec.structs.replace(each, target_size=sizes[each.name]) for each in groups]
    return make_snapshot(nodes=nodes, pods=list(pods), node_groups=sized, **fields)


def rules(
    *,
    mode: str = "Auto",
    params: Mapping[str, Any] | None = None,
    budgets: Sequence[Mapping[str, Any]] = FREE,
    **nodes: Any,
) -> ScalingPolicySpec:
    document = {
        "mode": mode,
        "disruption": {"budgets": list(budgets)},
        "nodes": {"engine": "karpenter", "params": dict(params or {}), "consolidateAfter": "1s", **nodes},
    }
    return msgspec.convert(document, ScalingPolicySpec, dec_hook=decode_hook)


def turn(
    snapshot: ClusterSnapshot,
    policy: ScalingPolicySpec,
    state: DecisionState = DecisionState(),  # noqa: B008 (frozen)
    *,
    room: DisruptionRoom = ROOM,
) -> NodePlan:
    return plan_nodes(SnapshotIndex(snapshot), policy, state, parts={}, advice=(), room=room)


def after(plan: NodePlan) -> DecisionState:
    """Return what is remembered after a turn, as the decision keeps it."""
    return DecisionState(nodes=plan.memory, templates=plan.templates, proposal=plan.proposal)


def later(snapshot: ClusterSnapshot, seconds: float, **changes: Any) -> ClusterSnapshot:
    return msgspec.structs.replace(snapshot, observed_at=snapshot.observed_at + seconds, **changes)


def confirmed(
    snapshot: ClusterSnapshot,
    policy: ScalingPolicySpec,
    *,
    state: DecisionState = DecisionState(),  # noqa: B008 (frozen)
    room: DisruptionRoom = ROOM,
) -> NodePlan:
    """Return the second of two turns 15 s apart on the same cluster."""
    first = turn(snapshot, policy, state, room=room)
    return turn(later(snapshot, 15.0), policy, after(first), room=room)


def kinds(actions: Sequence[AnyAction]) -> list[str]:
    """Return what is done and to what, as `CordonNode node-1`."""
    found = []
    for action in actions:
        fields = (
            str(getattr(action, field)) for field in ("nodes", "group", "pod", "node") if getattr(action, field, "")
        )
        found.append(f"{type(action).__name__} {next(fields)}")
    return found


def cordoned(plan: NodePlan) -> list[str]:
    return [each.removeprefix("CordonNode ") for each in kinds(plan.actions) if each.startswith("CordonNode")]


def why(plan: NodePlan, node: str) -> list[str]:
    """Return why a node stays: the peer's word where it has one, else the sentence."""
    return [
        dict(reason.detail).get("reason", reason.message)
        for note in plan.notes
        if note.target == f"node/{node}"
        for reason in note.reasons
    ]
