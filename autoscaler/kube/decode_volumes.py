"""Storage objects, from API fields to values."""

from __future__ import annotations

from autoscaler.kube import decode_wire as wire
from autoscaler.kube.decode_placement import node_terms_of, selector_of
from autoscaler.kube.decode_read import amounts, object_name
from autoscaler.model.placement import labels_of
from autoscaler.model.volumes import AttachLimits, PersistentVolume, StorageClass, VolumeClaim

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def volume_of(thing: wire.PersistentVolume) -> PersistentVolume:
    """Translate a persistent volume."""
    meta, spec = thing.metadata, thing.spec
    claim, affinity, csi = spec.claim_ref, spec.node_affinity, spec.csi
    return PersistentVolume(
        name=meta.name,
        capacity=amounts(spec.capacity, object_name(thing), "spec.capacity").get("storage"),
        access_modes=tuple(spec.access_modes or ()),
        storage_class=_class_name(meta, spec.storage_class_name),
        volume_mode=spec.volume_mode or "Filesystem",
        phase=thing.status.phase or "Pending",
        deleting=meta.deletion_timestamp is not None,
        labels=labels_of(meta.labels or {}),
        node_required=node_terms_of(affinity.required) if affinity is not None else None,
        csi_driver=csi.driver if csi is not None else "",
        csi_handle=csi.volume_handle if csi is not None else "",
        claim=None if claim is None else (claim.namespace, claim.name, claim.uid or ""),
    )


def claim_of(thing: wire.Claim) -> VolumeClaim:
    """Translate a persistent volume claim."""
    meta, spec = thing.metadata, thing.spec
    annotations = meta.annotations or {}
    requests = spec.resources.requests if spec.resources is not None else None
    return VolumeClaim(
        namespace=meta.namespace or "default",
        name=meta.name,
        uid=meta.uid or "",
        volume=spec.volume_name or "",
        bound=BIND_COMPLETED in annotations,
        storage_class=_class_name(meta, spec.storage_class_name),
        requested=amounts(requests, object_name(thing), "spec.resources.requests").get("storage"),
        access_modes=tuple(spec.access_modes or ()),
        volume_mode=spec.volume_mode or "Filesystem",
        selector=selector_of(spec.selector),
        selected_node=annotations.get(SELECTED_NODE, ""),
        phase=thing.status.phase or "Pending",
        deleting=meta.deletion_timestamp is not None,
    )


def class_of(thing: wire.StorageClass) -> StorageClass:
    """Translate a storage class."""
    return StorageClass(
        name=thing.metadata.name,
        provisioner=thing.provisioner,
        waits_for_consumer=thing.volume_binding_mode == "WaitForFirstConsumer",
        allowed_topologies=tuple(
            tuple((each.key, tuple(each.values or ())) for each in term.match_label_expressions or ())
            for term in thing.allowed_topologies or ()
        ),
    )


def attach_limits_of(thing: wire.CsiNode) -> AttachLimits:
    """Translate a CSINode; a driver without a count has no limit."""
    return AttachLimits(
        node=thing.metadata.name,
        limits=tuple(
            (driver.name, driver.allocatable.count)
            for driver in thing.spec.drivers or ()
            if driver.allocatable is not None and driver.allocatable.count is not None
        ),
    )


def _class_name(meta: wire.Metadata, named: str | None) -> str:
    """Return the class; the old annotation, where there is one, comes before the field."""
    return (meta.annotations or {}).get(BETA_CLASS, named or "")
