"""Nodes, from API fields to values."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.kube import decode_wire as wire
from autoscaler.kube.decode_read import amounts, object_name, seconds
from autoscaler.model.node import ON_DEMAND, SPOT, Node
from autoscaler.model.placement import Taint, labels_of

ZONE_LABELS = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
TYPE_LABELS = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
GROUP_LABELS = (
    "podnode.io/group",
    "eks.amazonaws.com/nodegroup",
    "cloud.google.com/gke-nodepool",
    "karpenter.sh/nodepool",
)
SPOT_LABELS = {
    "karpenter.sh/capacity-type": "spot",
    "eks.amazonaws.com/capacityType": "SPOT",
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/gke-preemptible": "true",
    "cloud.google.com/gke-provisioning": "spot",
}
INTERRUPTION_TAINTS = {
    "podnode.io/interrupted": 120.0,
    "aws-node-termination-handler/spot-itn": 120.0,
    "cloud.google.com/impending-node-termination": 30.0,
}
"""What says that the cloud takes a node back, and how many seconds after: AWS's node termination handler, GKE, kwok."""
KEEP_ANNOTATIONS = ("cluster-autoscaler.kubernetes.io/scale-down-disabled", "karpenter.sh/do-not-disrupt")


def node_of(thing: wire.Node) -> Node:
    """
    Translate a node. Its group, type, zone and capacity type are those its labels tell, "" where they do not.

    A node without a Ready condition is not ready.
    """
    where, meta, spec, status = object_name(thing), thing.metadata, thing.spec, thing.status
    labels = meta.labels or {}
    capacity = amounts(status.capacity, where, "status.capacity")
    ready = next((each for each in status.conditions or () if each.type == "Ready"), None)
    is_ready = ready is not None and ready.status == "True"
    return Node(
        name=meta.name,
        allocatable=capacity
        if status.allocatable is None
        else amounts(status.allocatable, where, "status.allocatable"),
        labels=labels_of(labels),
        taints=tuple(Taint(each.key, each.effect, each.value or "") for each in spec.taints or ()),
        capacity=capacity,
        unschedulable=bool(spec.unschedulable),
        ready=is_ready,
        deleting=meta.deletion_timestamp is not None,
        created_at=seconds(meta.creation_timestamp),
        ready_since=seconds(ready.last_transition_time) if ready is not None and is_ready else 0.0,
        group=_first(labels, GROUP_LABELS),
        instance_type=_first(labels, TYPE_LABELS),
        instance_id=(spec.provider_id or "").rpartition("/")[2],
        zone=_first(labels, ZONE_LABELS),
        capacity_type=SPOT if any(labels.get(key) == value for key, value in SPOT_LABELS.items()) else ON_DEMAND,
        interrupt_at=next(map(_interrupt_at, filter(_is_interruption, spec.taints or ())), None),
        do_not_remove=next((key for key in KEEP_ANNOTATIONS if (meta.annotations or {}).get(key) == "true"), ""),
    )


def _is_interruption(taint: wire.Taint) -> bool:
    return taint.key in INTERRUPTION_TAINTS


def _interrupt_at(taint: wire.Taint) -> float:
    """Return when the node goes: as the taint's value says (epoch seconds), else a while after it was put there."""
    value = taint.value or ""
    if value.isascii() and value.isdigit() and len(value) < 12:
        return float(value)
    return seconds(taint.time_added) + INTERRUPTION_TAINTS[taint.key]


def _first(labels: Mapping[str, str], keys: tuple[str, ...]) -> str:
    return next((labels[key] for key in keys if key in labels), "")
