"""Workloads and what protects or limits them, from API fields to values."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from autoscaler.kube import decode_wire as wire
from autoscaler.kube.decode_defaults import with_api_defaults, with_pod_level_defaults
from autoscaler.kube.decode_placement import selector_of
from autoscaler.kube.decode_read import amounts, object_name, seconds
from autoscaler.kube.decode_shape import ShapeReader, claims_of, shape_of
from autoscaler.model.placement import LabelSelector, labels_of
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.service import Service
from autoscaler.model.workload import DisruptionBudget, LimitRange, Namespace, Quota, Workload

REVISION = "deployment.kubernetes.io/revision"


class PriorityClass(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What pods that name the class get at admission; the default class is for those that name none."""

    name: str
    value: int
    is_default: bool = False
    preemption_policy: str = "PreemptLowerPriority"


class _Kind(NamedTuple):
    """How a kind of workload makes pods: the kind that will own them, and whether replicas can be set."""

    pod_owner: str
    scalable: bool


WORKLOAD_KINDS = {
    "Deployment": _Kind("ReplicaSet", scalable=True),
    "StatefulSet": _Kind("StatefulSet", scalable=True),
    "ReplicaSet": _Kind("ReplicaSet", scalable=True),
    "ReplicationController": _Kind("ReplicationController", scalable=True),
    "DaemonSet": _Kind("DaemonSet", scalable=False),
    "Job": _Kind("Job", scalable=False),
}


def workload_of(thing: wire.Workload, shapes: ShapeReader) -> Workload:
    """
    Translate a workload; its template gets the API server's defaults, as pods made from it will.

    The template's node name stays in its shape, for every pod will have it.
    """
    meta, spec, status = thing.metadata, thing.spec, thing.status
    kind = WORKLOAD_KINDS[thing.kind]
    template_meta = replace(spec.template.metadata, namespace=meta.namespace)
    shape = shape_of(spec.template.spec, template_meta, where=object_name(thing), owner_kind=kind.pod_owner)
    shape = replace(shape, claims=claims_of(spec.template.spec, ""), node_name=spec.template.spec.node_name or "")
    reported = status.replicas if status.replicas is not None else status.current_number_scheduled
    return Workload(
        namespace=shape.namespace,
        kind=thing.kind,
        name=meta.name,
        replicas=_replicas(thing),
        template=shapes.intern(with_pod_level_defaults(with_api_defaults(shape))),
        status_replicas=reported if reported is not None else status.active or 0,
        api_version=thing.api_version or "apps/v1",
        selector=selector_of(spec.selector) or LabelSelector(shape.labels),
        labels=labels_of(meta.labels or {}),
        revision=(meta.annotations or {}).get(REVISION) or status.update_revision or str(meta.generation or ""),
        created_at=seconds(meta.creation_timestamp),
        changed_at=seconds(meta.creation_timestamp),
        scalable=kind.scalable,
    )


def is_part_of_another(thing: wire.Workload) -> bool:
    """Tell whether a workload only serves a larger one, as a Deployment's ReplicaSets do."""
    owners = thing.metadata.owner_references or ()
    return any(owner.controller and owner.kind in WORKLOAD_KINDS for owner in owners)


def budget_of(thing: wire.Budget) -> DisruptionBudget:
    """Translate a PodDisruptionBudget; without a status nothing may be evicted."""
    return DisruptionBudget(
        namespace=thing.metadata.namespace or "default",
        name=thing.metadata.name,
        allowed=max(0, thing.status.disruptions_allowed or 0),
        selector=selector_of(thing.spec.selector),
    )


def namespace_of(thing: wire.Any) -> Namespace:
    """Translate a namespace; the API server labels each with its name."""
    labels = {**(thing.metadata.labels or {}), "kubernetes.io/metadata.name": thing.metadata.name}
    return Namespace(thing.metadata.name, labels_of(labels))


def quota_of(thing: wire.Quota) -> Quota:
    """Translate a ResourceQuota; cpu amounts are in millicores, whatever their prefix."""
    where = object_name(thing)
    return Quota(
        namespace=thing.metadata.namespace or "default",
        name=thing.metadata.name,
        hard=amounts(thing.status.hard or thing.spec.hard, where, "status.hard"),
        used=amounts(thing.status.used, where, "status.used"),
    )


def limit_range_of(thing: wire.LimitRange) -> LimitRange:
    """Translate a LimitRange; of several limits for one resource the strictest counts, as admission applies all."""
    where = object_name(thing)
    low, high = {"Container": NOTHING, "Pod": NOTHING}, {"Container": NOTHING, "Pod": NOTHING}
    for index, item in enumerate(thing.spec.limits or ()):
        if item.type in low:
            path = f"spec.limits[{index}]"
            low[item.type] = low[item.type].largest(amounts(item.min, where, f"{path}.min"))
            high[item.type] = _smallest(high[item.type], amounts(item.max, where, f"{path}.max"))
    return LimitRange(
        namespace=thing.metadata.namespace or "default",
        name=thing.metadata.name,
        container_min=low["Container"],
        container_max=high["Container"],
        pod_min=low["Pod"],
        pod_max=high["Pod"],
    )


def priority_class_of(thing: wire.PriorityClass) -> PriorityClass:
    """Translate a PriorityClass."""
    return PriorityClass(
        name=thing.metadata.name,
        value=thing.value,
        is_default=bool(thing.global_default),
        preemption_policy=thing.preemption_policy or "PreemptLowerPriority",
    )


def service_of(thing: wire.Service) -> Service:
    """Translate a Service."""
    selector = thing.spec.selector
    return Service(
        namespace=thing.metadata.namespace or "default",
        name=thing.metadata.name,
        selector=None if selector is None else labels_of(selector),
    )


def _smallest(one: Resources, other: Resources) -> Resources:
    """Return the smaller amount of each name; a name in either is in the result."""
    least = dict(one.items())
    for name, amount in other.items():
        least[name] = min(least.get(name, amount), amount)
    return Resources.of(least)


def _replicas(thing: wire.Workload) -> int:
    """Return what is asked for; the API's default is 1, a DaemonSet's count follows from the nodes."""
    if thing.kind == "DaemonSet":
        return max(0, thing.status.desired_number_scheduled or 0)
    asked = thing.spec.parallelism if thing.kind == "Job" else thing.spec.replicas
    return 1 if asked is None else max(0, asked)
