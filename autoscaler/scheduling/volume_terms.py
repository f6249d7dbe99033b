"""
Where volumes let a pod go, as terms on node labels: what planners need, who ask of nodes that are not there yet.

`volumes` is the exact rule for a node that is there; of it attach limits are
no matter of labels, and pods that wait together for free volumes are not
counted against one another.

Source: kube-scheduler `framework/plugins/{volumebinding,volumezone}`; the way
is Karpenter's (`scheduling/volumetopology.go`), but that the terms are kept
apart from the pod's own node affinity, which topology spread reads.
"""

from __future__ import annotations

from collections.abc import Collection

from autoscaler.model.placement import NodeSelectorTerm, Operator, Requirement
from autoscaler.model.pod import PodShape
from autoscaler.model.volumes import VolumeClaim
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.volumes import (
    NO_PROVISIONER,
    ONE_POD,
    ZONE_LABELS,
    binding_for_pod,
    candidates_of,
    claims_of,
    is_bound,
    zones_for_pod,
)

Alternatives = tuple[NodeSelectorTerm, ...]
"""Terms of which one must hold; none: no node will do."""
NOWHERE: tuple[Alternatives, ...] = ((),)


def volume_terms(
    shape: PodShape, context: SchedulingContext, *, in_use: Collection[str] = ()
) -> tuple[Alternatives, ...]:
    """
    Return what the node of a pod of this shape must fulfil for its volumes: one term of each.

    Nodes and pods of *context* are not looked at. *in_use* are keys of claims
    that other pods use, of which ReadWriteOncePod claims cannot have a second one.
    """
    claims = claims_of(shape, context)
    if claims.missing or binding_for_pod(claims, context) or zones_for_pod(claims, context):
        return NOWHERE
    found = []
    for claim in claims.claims:
        if ONE_POD in claim.access_modes and claim.key in in_use:
            return NOWHERE
        found += [] if (places := _places(claim, context)) is None else [places]
        found += _zone_terms(claim, context)
    return tuple(dict.fromkeys(found))


def _places(claim: VolumeClaim, context: SchedulingContext) -> Alternatives | None:
    """Return where the claim's volume is or can be, None for anywhere."""
    if is_bound(claim):
        volume = context.volumes.get(claim.volume)
        return () if volume is None else volume.node_required
    candidates = [volume.node_required for volume in candidates_of(claim, context)]
    if None in candidates:
        return None
    there = tuple(term for terms in candidates for term in terms or ())
    storage_class = context.classes.get(claim.storage_class)
    if storage_class is None or storage_class.provisioner in ("", NO_PROVISIONER):
        return there
    if not storage_class.allowed_topologies:
        return None
    made = [
        NodeSelectorTerm(tuple(Requirement(key, Operator.IN, values) for key, values in topology))
        for topology in storage_class.allowed_topologies
        if topology
    ]
    return (*there, *made)


def _zone_terms(claim: VolumeClaim, context: SchedulingContext) -> list[Alternatives]:
    """Return what the labels of the claim's volume say of zone and region; a node that has neither will do."""
    volume = context.volumes.get(claim.volume)
    unplaced = NodeSelectorTerm(tuple(Requirement(key, Operator.DOES_NOT_EXIST) for key in sorted(ZONE_LABELS)))
    found: list[Alternatives] = []
    for label, text in volume.labels if volume is not None else ():
        if label not in ZONE_LABELS:
            continue
        values, now = tuple(text.split("__")), ZONE_LABELS[label]
        named = [NodeSelectorTerm((Requirement(label, Operator.IN, values),))]
        if now != label:
            renamed = (Requirement(label, Operator.DOES_NOT_EXIST), Requirement(now, Operator.IN, values))
            named.append(NodeSelectorTerm(renamed))
        found.append((*named, unplaced))
    return found
