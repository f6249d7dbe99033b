"""
Pods that ask for devices by claims (dynamic resource allocation): counted, and said to be.

Which node has which devices is not known here. So node planners place such a
pod by all its other rules, never move it by their own choice, and say so; the
engine `karpenter` buys nothing for it, as Karpenter does by default
(`ignore-dra-requests`).
"""

from __future__ import annotations

from collections.abc import Iterable

from autoscaler.model.plan import Note
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.reasons import Code, Reason


def device_claim_notes(waiting: Iterable[Pod]) -> tuple[Note, ...]:
    """Return one note for each kind of the *waiting* pods that ask for devices, by namespace and name."""
    notes: dict[str, Note] = {}
    for pod in waiting:
        if pod.shape.device_claims and pod.unschedulable_since is not None:
            shape = pod.shape
            target = f"pods/{shape.namespace}/{dict(shape.labels).get('app', '') or shape.owner_kind or pod.name}"
            notes[target] = Note(target=target, reasons=(claims_reason(shape),))
    return tuple(notes[target] for target in sorted(notes))


def claims_reason(shape: PodShape) -> Reason:
    """Return what to say of a pod with device claims."""
    claims = "1 device claim" if shape.device_claims == 1 else f"{shape.device_claims} device claims"
    message = (
        f"the pod has {claims}: which nodes have such devices is not known, so only its other rules were looked at"
    )
    return Reason(Code.DEVICE_CLAIMS, message, (("claims", str(shape.device_claims)),))
