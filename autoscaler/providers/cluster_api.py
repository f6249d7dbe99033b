"""
Cluster API: `MachineDeployment` and `MachinePool`, sized by `spec.replicas`.

An object is ours to size where it has both annotations of Cluster Autoscaler's
bounds; capacity, labels and taints of its nodes are told by annotations, too
(Cluster Autoscaler's Cluster API provider, README). Of a MachineDeployment
chosen machines are deleted: the annotation `cluster.x-k8s.io/delete-machine`
puts a machine first when replicas are lowered (Cluster API book, "Scaling
nodes"), as long as one MachineSet has them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from autoscaler.errors import ConflictError
from autoscaler.model.node import NodeGroup
from autoscaler.providers.declared import (
    INSTANCE_TYPE,
    Design,
    Document,
    Kind,
    annotations_of,
    count,
    field,
    group_of,
    told_capacity,
    whole,
    words,
)
from autoscaler.providers.machines import machines

PROVIDER = "cluster-api"
API_GROUP = "cluster.x-k8s.io"
VERSIONS = ("v1beta2", "v1beta1")
_SIZE = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-"
MIN_SIZE, MAX_SIZE = f"{_SIZE}min-size", f"{_SIZE}max-size"
DELETE = "cluster.x-k8s.io/delete-machine"
DEPLOYMENT = "cluster.x-k8s.io/deployment-name"
REPLICAS_MANAGED_BY = "cluster.x-k8s.io/replicas-managed-by"
PAUSED = "cluster.x-k8s.io/paused"
_PROPAGATED = ("node-role.kubernetes.io/", "node.cluster.x-k8s.io/", "node-restriction.kubernetes.io/")
"""Labels of a Machine that its Node gets, by prefix or as a domain's end (Cluster API book, "Metadata propagation")."""
_BOOT_SECONDS = 180.0


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One Machine of a MachineDeployment; `id` is "" until the cloud has given it one."""

    name: str
    namespace: str
    uid: str
    deployment: str
    machine_set: str
    id: str = ""
    marked: bool = False
    deleting: bool = False


def deployment_of(document: Document) -> NodeGroup | None:
    """Return the group of a MachineDeployment; raises ValueError where it cannot be read."""
    return _group(document, MACHINE_DEPLOYMENT)


def pool_of(document: Document) -> NodeGroup | None:
    """Return the group of a MachinePool; raises ValueError where it cannot be read, or something else sizes it."""
    return _group(document, MACHINE_POOL)


def machine_of(document: Document) -> Machine:
    """Return what matters of a Machine."""
    meta = document["metadata"]
    owners = [each.get("name", "") for each in meta.get("ownerReferences") or () if each.get("kind") == "MachineSet"]
    return Machine(
        name=meta["name"],
        namespace=meta.get("namespace", ""),
        uid=meta.get("uid", ""),
        deployment=(meta.get("labels") or {}).get(DEPLOYMENT, ""),
        machine_set=next(iter(owners), ""),
        id=id_of(field(document, "spec", "providerID")),
        marked=DELETE in (meta.get("annotations") or {}),
        deleting="deletionTimestamp" in meta,
    )


def id_of(provider_id: object) -> str:
    """Return a machine's id as nodes have it: the end of its provider's."""
    return str(provider_id or "").rpartition("/")[2]


def check_choice(machines: Iterable[Machine], chosen: Sequence[str], *, group: str, size: int) -> None:
    """
    Make sure that fewer replicas mean the *chosen* machines and no others.

    Raises:
        ConflictError: the MachineDeployment is on its way to *size*, is rolled out anew,
            or others than the chosen are marked, too.
    """
    live = [each for each in machines if not each.deleting]
    if len(live) != size:
        raise ConflictError(f"node group {group}: {len(live)} machines are there, and its size is {size}")
    sets = sorted({each.machine_set for each in live})
    if len(sets) > 1:
        raise ConflictError(f"node group {group} is being rolled out: its machines are of {', '.join(sets)}")
    others = sorted(each.name for each in live if each.marked and each.id not in chosen)
    if others:
        raise ConflictError(f"node group {group}: machine {others[0]} has the annotation {DELETE}, and is not chosen")


def _group(document: Document, kind: Kind) -> NodeGroup | None:
    notes = annotations_of(document)
    if MIN_SIZE not in notes or MAX_SIZE not in notes:
        return None
    if PAUSED in notes:
        raise ValueError(f"annotation {PAUSED}: the object is paused; allowed: no such annotation")
    if kind is MACHINE_POOL and REPLICAS_MANAGED_BY in notes:
        manager = notes[REPLICAS_MANAGED_BY]
        raise ValueError(f"annotation {REPLICAS_MANAGED_BY}: {manager!r} sizes the pool; allowed: no such annotation")
    template = ("spec", "template")
    labels = words(document, *template, "metadata", "labels")
    wanted = labels.get(INSTANCE_TYPE, "")
    told = told_capacity(notes)
    zone = field(document, *template, "spec", "failureDomain") or ""
    design = Design(
        types=(wanted,) if wanted in machines() and not (told.cpu and told.memory) else (),
        zone=str(zone),
        labels={key: value for key, value in labels.items() if _is_propagated(key)},
        boot_seconds=_BOOT_SECONDS,
    )
    bounds = (
        whole(notes[MIN_SIZE], f"annotation {MIN_SIZE}"),
        whole(notes[MAX_SIZE], f"annotation {MAX_SIZE}"),
    )
    return group_of(
        document,
        design,
        name=document["metadata"]["name"],
        size=count(document, "spec", "replicas", default=1),
        bounds=bounds,
        kind=kind,
        provider=PROVIDER,
    )


def _is_propagated(key: str) -> bool:
    domain = key.partition("/")[0]
    return key.startswith(_PROPAGATED) or domain.endswith((".node-restriction.kubernetes.io", ".node.cluster.x-k8s.io"))


MACHINE_DEPLOYMENT = Kind(
    kind="MachineDeployment",
    api_group=API_GROUP,
    versions=VERSIONS,
    plural="machinedeployments",
    size=("spec", "replicas"),
    read=deployment_of,
    chooses=True,
)
MACHINE_POOL = Kind(
    kind="MachinePool",
    api_group=API_GROUP,
    versions=VERSIONS,
    plural="machinepools",
    size=("spec", "replicas"),
    read=pool_of,
)
KINDS = (MACHINE_DEPLOYMENT, MACHINE_POOL)
