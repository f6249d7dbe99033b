"""
EKS node groups that AWS Controllers for Kubernetes own: `Nodegroup`, sized by `spec.scalingConfig.desiredSize`.

Source: the reference of ACK's EKS controller, kind Nodegroup; that the object is
ours to size is said by the label `podnode.io/enabled: "true"`.
"""

from __future__ import annotations

from autoscaler.model.node import NodeGroup
from autoscaler.model.placement import Taint
from autoscaler.providers.declared import (
    Design,
    Document,
    Kind,
    annotations_of,
    count,
    effect_of,
    field,
    group_of,
    told_capacity,
    words,
)

PROVIDER = "ack"
ENABLED = "podnode.io/enabled=true"
SIZED_BY = "eks.services.k8s.aws/desired-size-managed-by"
_NODE_LABEL = "eks.amazonaws.com/nodegroup"
_DEFAULT_TYPE = "t3.medium"
"""What EKS takes where neither object nor launch template says (its API reference, CreateNodegroup)."""
_BOOT_SECONDS = 60.0


def nodegroup_of(document: Document) -> NodeGroup:
    """Return the group; raises ValueError where the object cannot be read, or ACK would not carry a size out."""
    notes = annotations_of(document)
    if notes.get(SIZED_BY, "").startswith("external"):
        raise ValueError(
            f"annotation {SIZED_BY}: {notes[SIZED_BY]!r} is not valid; allowed: ack-eks-controller, "
            "or ACK leaves the size alone"
        )
    name = field(document, "spec", "name") or document["metadata"]["name"]
    spot = field(document, "spec", "capacityType") == "SPOT"
    labels = words(document, "spec", "labels")
    design = Design(
        types=_types(document),
        spot=spot,
        labels={**labels, _NODE_LABEL: name, "eks.amazonaws.com/capacityType": "SPOT" if spot else "ON_DEMAND"},
        taints=tuple(
            Taint(
                str(each.get("key")),
                effect_of(each.get("effect"), f"spec.taints[{index}].effect"),
                each.get("value", ""),
            )
            for index, each in enumerate(field(document, "spec", "taints") or ())
        ),
        boot_seconds=_BOOT_SECONDS,
    )
    scaling = ("spec", "scalingConfig")
    bounds = count(document, *scaling, "minSize"), count(document, *scaling, "maxSize")
    size = count(document, *scaling, "desiredSize")
    return group_of(document, design, name=name, size=size, bounds=bounds, kind=NODEGROUP, provider=PROVIDER)


def _types(document: Document) -> tuple[str, ...]:
    named = tuple(field(document, "spec", "instanceTypes") or ())
    if named or told_capacity(annotations_of(document)).cpu or field(document, "spec", "launchTemplate"):
        return named
    return (_DEFAULT_TYPE,)


NODEGROUP = Kind(
    kind="Nodegroup",
    api_group="eks.services.k8s.aws",
    versions=("v1alpha1",),
    plural="nodegroups",
    size=("spec", "scalingConfig", "desiredSize"),
    read=nodegroup_of,
    selector=ENABLED,
    node_label=_NODE_LABEL,
)
KINDS = (NODEGROUP,)
