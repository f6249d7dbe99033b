"""
GKE node pools that Config Connector owns: `ContainerNodePool`, sized by `spec.nodeCount`.

Source: Config Connector's resource reference, ContainerNodePool. The count is
for each zone, so that only pools of one zone can be sized by single nodes. That
the object is ours to size is said by the label `podnode.io/enabled: "true"`,
how far by the annotations `podnode.io/min-size` (0) and `podnode.io/max-size`.
"""

from __future__ import annotations

import re

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
    whole,
    words,
)

PROVIDER = "config-connector"
ENABLED = "podnode.io/enabled=true"
MIN_SIZE, MAX_SIZE = "podnode.io/min-size", "podnode.io/max-size"
_NODE_LABEL = "cloud.google.com/gke-nodepool"
_DEFAULT_TYPE = "e2-medium"
"""What GKE takes where the object does not say (its API reference, NodeConfig)."""
_ZONE = re.compile(r"[a-z]+-[a-z]+\d+-[a-z]")
_BOOT_SECONDS = 75.0


def node_pool_of(document: Document) -> NodeGroup:
    """Return the group; raises ValueError where the object cannot be read, or somebody else sizes the pool."""
    if field(document, "spec", "autoscaling"):
        raise ValueError("spec.autoscaling: GKE's own autoscaler sizes the pool; allowed: no such field")
    notes, name = annotations_of(document), field(document, "spec", "resourceID") or document["metadata"]["name"]
    if MAX_SIZE not in notes:
        raise ValueError(f"annotation {MAX_SIZE}: None is not valid; allowed: the most nodes there may be")
    config = ("spec", "nodeConfig")
    spot = bool(field(document, *config, "spot") or field(document, *config, "preemptible"))
    machine = field(document, *config, "machineType")
    told = told_capacity(notes).cpu
    design = Design(
        types=(machine,) if machine else () if told else (_DEFAULT_TYPE,),
        spot=spot,
        zone=_zone(document),
        labels={
            **words(document, *config, "labels"),
            _NODE_LABEL: name,
            **({"cloud.google.com/gke-spot": "true"} if field(document, *config, "spot") else {}),
        },
        taints=tuple(
            Taint(
                str(each.get("key")),
                effect_of(each.get("effect"), f"spec.nodeConfig.taint[{index}].effect"),
                each.get("value", ""),
            )
            for index, each in enumerate(field(document, *config, "taint") or ())
        ),
        boot_seconds=_BOOT_SECONDS,
    )
    bounds = (
        whole(notes.get(MIN_SIZE, "0"), f"annotation {MIN_SIZE}"),
        whole(notes[MAX_SIZE], f"annotation {MAX_SIZE}"),
    )
    size = count(document, "spec", "nodeCount", default=count(document, "spec", "initialNodeCount", default=0))
    return group_of(document, design, name=name, size=size, bounds=bounds, kind=NODE_POOL, provider=PROVIDER)


def _zone(document: Document) -> str:
    zones = field(document, "spec", "nodeLocations") or [field(document, "spec", "location")]
    if len(zones) != 1 or not _ZONE.fullmatch(str(zones[0])):
        raise ValueError(
            f"spec.nodeLocations: {zones!r} is not valid; allowed: one zone, since spec.nodeCount counts for each"
        )
    return str(zones[0])


NODE_POOL = Kind(
    kind="ContainerNodePool",
    api_group="container.cnrm.cloud.google.com",
    versions=("v1beta1",),
    plural="containernodepools",
    size=("spec", "nodeCount"),
    read=node_pool_of,
    selector=ENABLED,
    node_label=_NODE_LABEL,
)
KINDS = (NODE_POOL,)
