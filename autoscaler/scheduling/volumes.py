"""
Where a pod's volumes let it run: bound and unbound claims, zones, attach limits.

Source: kube-scheduler `framework/plugins/{volumerestrictions,nodevolumelimits,
volumebinding,volumezone}` and k8s.io/component-helpers `storage/volume`, v1.37.
In-line disks of the old in-tree drivers and CSIStorageCapacity are not modelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.pod import PodShape
from autoscaler.model.volumes import AttachLimits, PersistentVolume, StorageClass, VolumeClaim
from autoscaler.scheduling.context import NodeState, SchedulingContext
from autoscaler.scheduling.requirements import label_map, node_terms_match, selector_matches
from autoscaler.scheduling.verdict import Rejection, unresolvable, unschedulable

RESTRICTIONS, LIMITS, BINDING, ZONES = "VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone"
ONE_POD = "ReadWriteOncePod"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
ZONE_LABELS: Mapping[str, str] = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region": "topology.kubernetes.io/region",
}
"""Labels of a volume that tie it to a place, with their present names."""

IN_USE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)
TOO_MANY = "node(s) exceed max volume count"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
BIND_CONFLICT = "node(s) didn't find available persistent volumes to bind"
VOLUME_GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
NO_ZONE = "node(s) had no available volume zone"
NO_CLASS_NAME = "PersistentVolumeClaim had no pv name and storageClass name"
NO_VOLUME_NAME = "PersistentVolume had no name"


class PodClaims(msgspec.Struct, frozen=True):
    """A pod's claims in order; `missing` is the name of the first that does not exist, "" if all do."""

    claims: tuple[VolumeClaim, ...]
    missing: str = ""

    @property
    def not_found(self) -> str:
        return f'persistentvolumeclaim "{self.missing}" not found' if self.missing else ""


def claims_of(shape: PodShape, context: SchedulingContext) -> PodClaims:
    """Look up the pod's claims."""
    found: list[VolumeClaim] = []
    for name in shape.claims:
        claim = context.claims.get(f"{shape.namespace}/{name}")
        if claim is None:
            return PodClaims(tuple(found), name)
        found.append(claim)
    return PodClaims(tuple(found))


def restrictions_for_pod(claims: PodClaims) -> Rejection | None:
    """Reject everywhere when a claim does not exist."""
    return unresolvable(RESTRICTIONS, claims.not_found, stage="PreFilter") if claims.missing else None


def restrictions_on_node(claims: PodClaims, context: SchedulingContext) -> Rejection | None:
    """Reject when another pod uses a ReadWriteOncePod claim of this one, on whatever node."""
    taken = any(ONE_POD in claim.access_modes and claim.key in context.claims_in_use for claim in claims.claims)
    return unschedulable(RESTRICTIONS, IN_USE) if taken else None


def limits_on_node(shape: PodShape, state: NodeState, context: SchedulingContext) -> Rejection | None:
    """Reject when the node cannot attach so many volumes of a CSI driver."""
    limits = context.attach_limits.get(state.name, AttachLimits(node=state.name)).limits
    wanted = attachments(shape, context)
    if not limits or not wanted:
        return None
    attached: set[tuple[str, str]] = set()
    for pod in state.pods:
        attached |= attachments(pod.shape, context)
    present = Counter(driver for driver, _ in attached)
    new = Counter(driver for driver, _ in wanted - attached)
    if any(new[driver] and present[driver] + new[driver] > limit for driver, limit in limits):
        return unschedulable(LIMITS, TOO_MANY)
    return None


def binding_for_pod(claims: PodClaims, context: SchedulingContext) -> Rejection | None:
    """Reject everywhere when a claim is lost, going, or waits for someone else to bind it."""
    for claim in claims.claims:
        if claim.phase == "Lost":
            lost = f'persistentvolumeclaim "{claim.name}" bound to non-existent persistentvolume "{claim.volume}"'
            return unresolvable(BINDING, lost, stage="PreFilter")
        if claim.deleting:
            return unresolvable(BINDING, f'persistentvolumeclaim "{claim.name}" is being deleted', stage="PreFilter")
    if claims.missing:
        return unresolvable(BINDING, claims.not_found, stage="PreFilter")
    if any(not is_bound(claim) and not _binds_late(claim, context) for claim in claims.claims):
        return unresolvable(BINDING, UNBOUND, stage="PreFilter")
    return None


def binding_on_node(claims: PodClaims, state: NodeState, context: SchedulingContext) -> Rejection | None:
    """Reject when a bound volume cannot be used from the node, or an unbound claim not be satisfied there."""
    reasons = []
    for claim in claims.claims:
        if is_bound(claim):
            volume = context.volumes.get(claim.volume)
            if volume is None or not _usable_from(volume, state):
                reasons.append(VOLUME_GONE if volume is None else NODE_CONFLICT)
                break
    unbound = [claim for claim in claims.claims if not is_bound(claim)]
    if not _can_bind(unbound, state, context):
        reasons.append(BIND_CONFLICT)
    return unresolvable(BINDING, *reasons) if reasons else None


def zones_for_pod(claims: PodClaims, context: SchedulingContext) -> Rejection | None:
    """Reject everywhere when a claim has neither a volume nor a class that will find one later."""
    if claims.missing:
        return unresolvable(ZONES, claims.not_found, stage="PreFilter")
    for claim in claims.claims:
        if not claim.volume:
            reason = _no_volume_reason(claim, context)
        elif claim.volume in context.volumes:
            reason = ""
        else:
            reason = f'persistentvolume "{claim.volume}" not found'
        if reason:
            return unresolvable(ZONES, reason, stage="PreFilter")
    return None


def zones_on_node(claims: PodClaims, state: NodeState, context: SchedulingContext) -> Rejection | None:
    """Reject when a volume's zone or region labels do not allow the node's; a node without any is fine."""
    if not any(label in state.labels for label in ZONE_LABELS):
        return None
    for claim in claims.claims:
        volume = context.volumes.get(claim.volume)
        for label, text in volume.labels if volume is not None else ():
            if label in ZONE_LABELS:
                place = state.labels.get(label, state.labels.get(ZONE_LABELS[label]))
                # A volume replicated over zones lists them in one label.
                if place not in text.split("__"):
                    return unresolvable(ZONES, NO_ZONE)
    return None


def is_bound(claim: VolumeClaim) -> bool:
    """Tell whether the claim has its volume, all done."""
    return bool(claim.volume) and claim.bound


def _binds_late(claim: VolumeClaim, context: SchedulingContext) -> bool:
    storage_class = context.classes.get(claim.storage_class)
    return not claim.volume and storage_class is not None and storage_class.waits_for_consumer


def _no_volume_reason(claim: VolumeClaim, context: SchedulingContext) -> str:
    if not claim.storage_class:
        return NO_CLASS_NAME
    storage_class = context.classes.get(claim.storage_class)
    if storage_class is None:
        return f'storageclass.storage.k8s.io "{claim.storage_class}" not found'
    return "" if storage_class.waits_for_consumer else NO_VOLUME_NAME


def attachments(shape: PodShape, context: SchedulingContext) -> frozenset[tuple[str, str]]:
    """Return (CSI driver, volume) for what the pod attaches; a claim to be provisioned is a volume of its own."""
    found = set()
    for name in shape.claims:
        claim = context.claims.get(f"{shape.namespace}/{name}")
        if claim is None:
            continue
        volume = context.volumes.get(claim.volume)
        storage_class = context.classes.get(claim.storage_class)
        if volume is not None:
            if volume.csi_driver and volume.csi_handle:
                found.add((volume.csi_driver, volume.csi_handle))
        elif storage_class is not None:
            found.add((storage_class.provisioner, f"unbound {claim.key}"))
    return frozenset(found)


def _usable_from(volume: PersistentVolume, state: NodeState) -> bool:
    # The volume's terms are matched on labels alone: no node name is given to them.
    return volume.node_required is None or node_terms_match(volume.node_required, state.labels, "")


def _can_bind(claims: Sequence[VolumeClaim], state: NodeState, context: SchedulingContext) -> bool:
    """Tell whether every claim finds a free volume, smallest claim and volume first, or can be provisioned here."""
    if any(claim.selected_node not in ("", state.name) for claim in claims):
        return False
    chosen: set[str] = set()
    for claim in sorted(claims, key=lambda claim: claim.requested):
        volume = None if claim.selected_node else _matching_volume(claim, state, context, chosen)
        if volume is not None:
            chosen.add(volume.name)
        elif not _can_provision(context.classes.get(claim.storage_class), state):
            return False
    return True


def candidates_of(claim: VolumeClaim, context: SchedulingContext) -> list[PersistentVolume]:
    """Return the volumes that could be the claim's, by their order: the one reserved for it, else all that are free."""
    suitable = []
    for volume in context.storage.volumes:
        if not _could_serve(volume, claim):
            continue
        if volume.claim is not None:
            return [volume]
        if volume.phase == "Available" and _is_offered(volume, claim):
            suitable.append(volume)
    return suitable


def _matching_volume(
    claim: VolumeClaim, state: NodeState, context: SchedulingContext, chosen: set[str]
) -> PersistentVolume | None:
    suitable = [
        volume for volume in candidates_of(claim, context) if volume.name not in chosen and _usable_from(volume, state)
    ]
    return min(suitable, key=lambda volume: volume.capacity, default=None)


def _could_serve(volume: PersistentVolume, claim: VolumeClaim) -> bool:
    """Tell whether size and mode fit and nobody else has reserved the volume."""
    if volume.claim is not None:
        namespace, name, uid = volume.claim
        if (namespace, name) != (claim.namespace, claim.name) or uid not in ("", claim.uid):
            return False
    return volume.capacity >= claim.requested and volume.volume_mode == claim.volume_mode and not volume.deleting


def _is_offered(volume: PersistentVolume, claim: VolumeClaim) -> bool:
    """Tell whether an unreserved volume is of the class, labels and access modes that the claim wants."""
    if volume.storage_class != claim.storage_class or not set(claim.access_modes) <= set(volume.access_modes):
        return False
    return claim.selector is None or selector_matches(claim.selector, label_map(volume.labels))


def _can_provision(storage_class: StorageClass | None, state: NodeState) -> bool:
    if storage_class is None or storage_class.provisioner in ("", NO_PROVISIONER):
        return False
    topologies = storage_class.allowed_topologies
    return not topologies or any(
        all(state.labels.get(key) in values for key, values in term) for term in topologies if term
    )
