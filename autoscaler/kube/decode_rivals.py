"""
Other autoscalers' objects, from API fields to rivals of ours.

Sources: autoscaling/v2 HorizontalPodAutoscaler; autoscaling.k8s.io/v1
VerticalPodAutoscaler; keda.sh/v1alpha1 ScaledObject; autoscaling.gke.io/v1beta1
MultidimPodAutoscaler. An object that was told to do nothing is no rival,
unless we told it: then it is one that is set aside.
"""

from __future__ import annotations

import msgspec

from autoscaler.kube import decode_wire as wire
from autoscaler.kube.decode_pod import controller_of
from autoscaler.kube.edits import KEDA_PAUSED, SET_ASIDE
from autoscaler.model.workload import Rival, workload_key

GKE = "autoscaling.gke.io/v1beta1"
REPLICAS, REQUESTS = "replicas", "requests"
_OFF = "Off"


class Target(wire.Wire):
    name: str = ""
    kind: str | None = None


class HorizontalSpec(wire.Wire):
    scale_target_ref: Target = msgspec.field(default_factory=Target)


class Horizontal(wire.Any):
    """A HorizontalPodAutoscaler or a KEDA ScaledObject."""

    spec: HorizontalSpec = msgspec.field(default_factory=HorizontalSpec)


class UpdatePolicy(wire.Wire):
    update_mode: str | None = None


class VerticalSpec(wire.Wire):
    target_ref: Target = msgspec.field(default_factory=Target)
    update_policy: UpdatePolicy | None = None


class Vertical(wire.Any):
    spec: VerticalSpec = msgspec.field(default_factory=VerticalSpec)


class MultidimSpec(wire.Wire):
    scale_target_ref: Target = msgspec.field(default_factory=Target)
    policy: UpdatePolicy | None = None


def horizontal_of(thing: Horizontal) -> Rival:
    """Translate an HPA: one whose bounds are equal is a rival too, for it puts replicas back."""
    return _rival(thing, "HorizontalPodAutoscaler", thing.spec.scale_target_ref, acts_on=(REPLICAS,))


def vertical_of(thing: Vertical) -> Rival | None:
    """Translate a VPA; None for one that only recommends."""
    policy = thing.spec.update_policy
    if policy is not None and policy.update_mode == _OFF and not _is_set_aside(thing):
        return None
    return _rival(thing, "VerticalPodAutoscaler", thing.spec.target_ref, acts_on=(REQUESTS,))


def scaled_object_of(thing: Horizontal) -> Rival | None:
    """Translate a ScaledObject; None for one that its user paused at the present replicas."""
    if (thing.metadata.annotations or {}).get(KEDA_PAUSED) == "true" and not _is_set_aside(thing):
        return None
    return _rival(thing, "ScaledObject", thing.spec.scale_target_ref, acts_on=(REPLICAS,))


def multidim_of(thing: wire.Document) -> Rival | None:
    """Translate GKE's MultidimPodAutoscaler; None for one that only recommends, or that says nothing readable."""
    try:
        spec = msgspec.convert(thing.spec, MultidimSpec)
    except msgspec.ValidationError:
        # Who reads it as a policy tells its author what is wrong with it.
        return None
    if spec.policy is not None and spec.policy.update_mode == _OFF and not _is_set_aside(thing):
        return None
    acts_on = (REPLICAS, REQUESTS)
    return _rival(thing, "MultidimPodAutoscaler", spec.scale_target_ref, acts_on=acts_on)


def _rival(thing: wire.Any, kind: str, target: Target, *, acts_on: tuple[str, ...]) -> Rival:
    meta, owner = thing.metadata, controller_of(thing.metadata)
    namespace = meta.namespace or "default"
    return Rival(
        namespace=namespace,
        kind=kind,
        name=meta.name,
        workload=workload_key(namespace, target.kind or "Deployment", target.name),
        acts_on=acts_on,
        owner=f"{owner.kind}/{owner.name}" if owner is not None else "",
        set_aside=_is_set_aside(thing),
    )


def _is_set_aside(thing: wire.Any) -> bool:
    return SET_ASIDE in (thing.metadata.annotations or {})
