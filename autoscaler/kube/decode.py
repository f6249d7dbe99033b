"""
Kubernetes API objects to values: together with its `decode_*` parts, the only code that knows their field names.

Every function takes raw JSON (bytes) or a parsed document and raises
`InputError`, naming the object, the field, the value and what is allowed.
Fields that are not used are skipped, unknown kinds in a list too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from autoscaler.errors import InputError
from autoscaler.kube import decode_wire as wire
from autoscaler.kube.decode_defaults import with_api_defaults, with_pod_level_defaults
from autoscaler.kube.decode_node import node_of
from autoscaler.kube.decode_pod import pod_of
from autoscaler.kube.decode_read import Document, explain, object_name, read
from autoscaler.kube.decode_rivals import (
    GKE,
    Horizontal,
    Vertical,
    horizontal_of,
    multidim_of,
    scaled_object_of,
    vertical_of,
)
from autoscaler.kube.decode_shape import ShapeReader
from autoscaler.kube.decode_volumes import attach_limits_of, claim_of, class_of, volume_of
from autoscaler.kube.decode_workload import (
    WORKLOAD_KINDS,
    budget_of,
    is_part_of_another,
    limit_range_of,
    namespace_of,
    quota_of,
    service_of,
    workload_of,
)
from autoscaler.model.node import Node
from autoscaler.model.pod import Pod, ShapeInterner
from autoscaler.model.service import Service
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.volumes import AttachLimits, PersistentVolume, StorageClass, VolumeClaim, Volumes
from autoscaler.model.workload import DisruptionBudget, LimitRange, Namespace, Quota, Rival, Workload

__all__ = [
    "decode_attach_limits",
    "decode_budget",
    "decode_claim",
    "decode_class",
    "decode_limit_range",
    "decode_list",
    "decode_namespace",
    "decode_node",
    "decode_objects",
    "decode_pod",
    "decode_quota",
    "decode_rival",
    "decode_service",
    "decode_volume",
    "decode_workload",
    "with_api_defaults",
    "with_pod_level_defaults",
]

Value = (
    Pod
    | Node
    | Workload
    | DisruptionBudget
    | Namespace
    | Quota
    | LimitRange
    | Rival
    | Service
    | PersistentVolume
    | VolumeClaim
    | StorageClass
    | AttachLimits
)


_T = TypeVar("_T", bound=wire.Any)


class _List(msgspec.Struct, gc=False):
    kind: str = "List"
    items: list[msgspec.Raw] = []


class _DictList(msgspec.Struct, gc=False):
    kind: str = "List"
    items: list[dict[str, Any]] = []


def decode_pod(document: Document, *, shapes: ShapeInterner | None = None) -> Pod:
    """
    Decode a pod as stored by the API server; for one from a file see `with_api_defaults`.

    Pods decoded with one *shapes* share the objects of equal shapes.
    """
    return pod_of(_named(read(document, wire.Pod)), ShapeReader(shapes))


def decode_node(document: Document) -> Node:
    """Decode a Node."""
    return node_of(_named(read(document, wire.Node)))


def decode_workload(document: Document, *, shapes: ShapeInterner | None = None) -> Workload:
    """Decode a Deployment, StatefulSet, ReplicaSet, ReplicationController, DaemonSet or Job."""
    thing = _named(read(document, wire.Workload))
    if thing.kind not in WORKLOAD_KINDS:
        raise InputError(object_name(thing), "kind", thing.kind, ", ".join(WORKLOAD_KINDS))
    return workload_of(thing, ShapeReader(shapes))


def decode_budget(document: Document) -> DisruptionBudget:
    """Decode a PodDisruptionBudget."""
    return budget_of(_named(read(document, wire.Budget)))


def decode_namespace(document: Document) -> Namespace:
    """Decode a Namespace."""
    return namespace_of(_named(read(document, wire.Any)))


def decode_quota(document: Document) -> Quota:
    """Decode a ResourceQuota."""
    return quota_of(_named(read(document, wire.Quota)))


def decode_limit_range(document: Document) -> LimitRange:
    """Decode a LimitRange."""
    return limit_range_of(_named(read(document, wire.LimitRange)))


def decode_rival(document: Document) -> Rival | None:
    """Decode another autoscaler's object; None for one that acts on nothing, or is one of ours."""
    thing = read(document, wire.Any)
    if thing.kind == "HorizontalPodAutoscaler":
        return horizontal_of(_named(read(document, Horizontal)))
    if thing.kind == "VerticalPodAutoscaler":
        return vertical_of(_named(read(document, Vertical)))
    if thing.kind == "ScaledObject":
        return scaled_object_of(_named(read(document, Horizontal)))
    return multidim_of(_named(read(document, wire.Document))) if thing.api_version == GKE else None


def decode_service(document: Document) -> Service:
    """Decode a Service."""
    return service_of(_named(read(document, wire.Service)))


def decode_volume(document: Document) -> PersistentVolume:
    """Decode a PersistentVolume."""
    return volume_of(_named(read(document, wire.PersistentVolume)))


def decode_claim(document: Document) -> VolumeClaim:
    """Decode a PersistentVolumeClaim."""
    return claim_of(_named(read(document, wire.Claim)))


def decode_class(document: Document) -> StorageClass:
    """Decode a StorageClass."""
    return class_of(_named(read(document, wire.StorageClass)))


def decode_attach_limits(document: Document) -> AttachLimits:
    """Decode a CSINode."""
    return attach_limits_of(_named(read(document, wire.CsiNode)))


def decode_objects(documents: Iterable[Document], *, observed_at: float) -> ClusterSnapshot:
    """
    Decode objects of any kinds into one snapshot; kinds that are not used are skipped.

    A workload that serves a larger one (a Deployment's ReplicaSet) is left
    out. The snapshot has no readings and no node groups yet.

    Raises:
        InputError: an object is wrong, or two have the same kind and name.
    """
    shapes = ShapeReader()
    found: dict[type, dict[str, Value]] = {}
    for document in documents:
        value = _decode_any(document, shapes)
        if value is not None:
            key, same = _key(value), found.setdefault(type(value), {})
            if key in same:
                raise InputError(f"{type(value).__name__} {key}", "metadata.name", key, "each object once")
            same[key] = value

    def ordered(kind: type) -> tuple[Any, ...]:
        same = found.get(kind, {})
        return tuple(same[key] for key in sorted(same))

    return ClusterSnapshot(
        observed_at=observed_at,
        pods=tuple(sorted(ordered(Pod), key=lambda pod: (pod.namespace, pod.name))),
        nodes=ordered(Node),
        workloads=ordered(Workload),
        disruption_budgets=ordered(DisruptionBudget),
        namespaces=ordered(Namespace),
        quotas=ordered(Quota),
        limit_ranges=ordered(LimitRange),
        rivals=ordered(Rival),
        services=ordered(Service),
        volumes=Volumes(
            volumes=ordered(PersistentVolume),
            claims=ordered(VolumeClaim),
            classes=ordered(StorageClass),
            attach_limits=ordered(AttachLimits),
        ),
    )


def decode_list(document: bytes | dict[str, Any], *, observed_at: float) -> ClusterSnapshot:
    """
    Decode a List, as `kubectl get nodes,pods,deployments,... -o json` prints it, into one snapshot.

    A typed list (`PodList`) is one whose items need not name their kind.
    """
    try:
        if isinstance(document, dict):
            typed: _List | _DictList = msgspec.convert(document, _DictList)
        else:
            typed = msgspec.json.decode(document, type=_List)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise explain(document, error) from error
    kind = typed.kind.removesuffix("List")
    return decode_objects((_with_kind(item, kind) for item in typed.items), observed_at=observed_at)


def _with_kind(item: Document, kind: str) -> Document:
    """Return a list's item with the kind that the list's name gives it, where it has none of its own."""
    if not kind or read(item, wire.Any).kind:
        return item
    fields = item if isinstance(item, dict) else msgspec.json.decode(item)
    return {**fields, "kind": kind}


def _decode_any(document: Document, shapes: ShapeReader) -> Value | None:
    kind = read(document, wire.Any).kind
    if kind == "Pod":
        return pod_of(_named(read(document, wire.Pod)), shapes)
    if kind in WORKLOAD_KINDS:
        thing = _named(read(document, wire.Workload))
        return None if is_part_of_another(thing) else workload_of(thing, shapes)
    decoder = _DECODERS.get(kind)
    return None if decoder is None else decoder(document)


def _key(value: Value) -> str:
    if isinstance(value, Pod | Workload | DisruptionBudget | VolumeClaim | Rival):
        return value.key
    if isinstance(value, Quota | Service | LimitRange):
        return f"{value.namespace}/{value.name}"
    return value.node if isinstance(value, AttachLimits) else value.name


def _named(thing: _T) -> _T:
    if not thing.metadata.name:
        raise InputError(object_name(thing), "metadata.name", "", "a name")
    return thing


_DECODERS: dict[str, Callable[[Document], Value | None]] = {
    "Node": decode_node,
    "PodDisruptionBudget": decode_budget,
    "Namespace": decode_namespace,
    "ResourceQuota": decode_quota,
    "LimitRange": decode_limit_range,
    "HorizontalPodAutoscaler": decode_rival,
    "VerticalPodAutoscaler": decode_rival,
    "ScaledObject": decode_rival,
    "MultidimPodAutoscaler": decode_rival,
    "Service": decode_service,
    "PersistentVolume": decode_volume,
    "PersistentVolumeClaim": decode_claim,
    "StorageClass": decode_class,
    "CSINode": decode_attach_limits,
}
