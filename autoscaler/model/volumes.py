"""Storage that ties pods to nodes: volumes, claims, classes and attach limits."""

from __future__ import annotations

import msgspec

from autoscaler.model.placement import Labels, LabelSelector, NodeSelectorTerm


class PersistentVolume(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A volume that exists. `node_required` is None where any node may use it.

    `csi_driver` and `csi_handle` are "" for a volume that is not CSI. `claim`
    is the (namespace, name, uid) that it is reserved for, None if free.
    """

    name: str
    capacity: int = 0
    access_modes: tuple[str, ...] = ()
    storage_class: str = ""
    volume_mode: str = "Filesystem"
    phase: str = "Pending"
    deleting: bool = False
    labels: Labels = ()
    node_required: tuple[NodeSelectorTerm, ...] | None = None
    csi_driver: str = ""
    csi_handle: str = ""
    claim: tuple[str, str, str] | None = None


class VolumeClaim(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A PersistentVolumeClaim. `bound` tells that binding to `volume` is complete.

    `selected_node` is the node for which provisioning was begun, "" for none;
    `requested` is in bytes.
    """

    namespace: str
    name: str
    uid: str = ""
    volume: str = ""
    bound: bool = False
    storage_class: str = ""
    requested: int = 0
    access_modes: tuple[str, ...] = ()
    volume_mode: str = "Filesystem"
    selector: LabelSelector | None = None
    selected_node: str = ""
    phase: str = "Pending"
    deleting: bool = False

    @property
    def key(self) -> str:
        """`namespace/name`, unique in a cluster."""
        return f"{self.namespace}/{self.name}"


class StorageClass(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    How claims of a class get volumes. `allowed_topologies` are alternatives,
    each of (label key, allowed values) pairs that must all hold; none: anywhere.
    """

    name: str
    provisioner: str = ""
    waits_for_consumer: bool = False
    allowed_topologies: tuple[tuple[tuple[str, tuple[str, ...]], ...], ...] = ()


class AttachLimits(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How many volumes of each CSI driver a node can attach (CSINode), by driver; absent: no limit."""

    node: str
    limits: tuple[tuple[str, int], ...] = ()


class Volumes(msgspec.Struct, frozen=True, kw_only=True):
    """All storage objects of a cluster, each sorted by name or key."""

    volumes: tuple[PersistentVolume, ...] = ()
    claims: tuple[VolumeClaim, ...] = ()
    classes: tuple[StorageClass, ...] = ()
    attach_limits: tuple[AttachLimits, ...] = ()


NO_VOLUMES = Volumes()
