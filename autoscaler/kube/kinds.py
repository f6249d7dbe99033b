"""
The kinds that are watched, and how each becomes a value.

Deployment manifests grant exactly these: get, list and watch on every row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from autoscaler.kube import decode_rivals as rivals
from autoscaler.kube import decode_wire as wire
from autoscaler.kube.buffers import BUFFERS as BUFFER_PATH
from autoscaler.kube.buffers import KIND as BUFFER_KIND
from autoscaler.kube.buffers import CapacityBuffer, PodTemplate, buffer_of, template_of
from autoscaler.kube.decode_node import node_of
from autoscaler.kube.decode_pod import controller_of, pod_of
from autoscaler.kube.decode_shape import DEFAULT_NAMESPACE, ShapeReader
from autoscaler.kube.decode_volumes import attach_limits_of, claim_of, class_of, volume_of
from autoscaler.kube.decode_workload import (
    budget_of,
    limit_range_of,
    namespace_of,
    priority_class_of,
    quota_of,
    service_of,
    workload_of,
)
from autoscaler.model.workload import Rival, Workload, workload_key

OURS = "podnode.io/v1alpha1"


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """
    A resource to watch in all namespaces. `wire` is what its JSON is read as.

    `translate` makes the value of it, None for what does not matter. An
    `optional` kind need not be installed, and may be forbidden.
    """

    kind: str
    api_version: str
    resource: str
    wire: type[wire.Any]
    translate: Callable[[Any, ShapeReader], Any]
    optional: bool = False

    @property
    def group(self) -> str:
        """The API group, "" for the core."""
        return self.api_version.rpartition("/")[0]

    @property
    def path(self) -> str:
        """Where all objects of the kind are."""
        return resource_path(self.api_version, self.resource)


def resource_path(api_version: str, resource: str) -> str:
    """
    Return the path of a resource in all namespaces.

    >>> resource_path("v1", "pods"), resource_path("apps/v1", "deployments")
    ('/api/v1/pods', '/apis/apps/v1/deployments')
    """
    return f"/{'apis' if '/' in api_version else 'api'}/{api_version}/{resource}"


class WorkloadRow(msgspec.Struct, frozen=True, gc=False):
    """A workload as its object says, and the priority class that its template names."""

    workload: Workload
    priority_class: str = ""


class GkeRow(msgspec.Struct, frozen=True):
    """What one of GKE's MultidimPodAutoscalers is to us."""

    document: dict[str, Any]
    rival: Rival | None


def workload_row_of(thing: wire.Workload, shapes: ShapeReader) -> WorkloadRow:
    """Translate a workload."""
    return WorkloadRow(workload_of(thing, shapes), thing.spec.template.spec.priority_class_name or "")


def replica_set_of(thing: wire.Workload, shapes: ShapeReader) -> WorkloadRow | str:
    """Translate a ReplicaSet: of one that serves something else only that thing's key is kept."""
    owner = controller_of(thing.metadata)
    if owner is None:
        return workload_row_of(thing, shapes)
    return workload_key(thing.metadata.namespace or DEFAULT_NAMESPACE, owner.kind, owner.name)


def document_of(thing: wire.Document, shapes: ShapeReader) -> dict[str, Any]:
    """Return an object of ours as a plain document, without what only the server reads."""
    meta = msgspec.to_builtins(thing.metadata)
    return {
        "apiVersion": thing.api_version,
        "kind": thing.kind,
        "metadata": {key: value for key, value in meta.items() if value is not None},
        "spec": thing.spec,
        "status": thing.status,
    }


def gke_row_of(thing: wire.Document, shapes: ShapeReader) -> GkeRow:
    """Translate GKE's MultidimPodAutoscaler: a document for us, and a rival while GKE's controller acts on it."""
    return GkeRow(document_of(thing, shapes), rivals.multidim_of(thing))


def _alone(translate: Callable[[Any], Any]) -> Callable[[Any, ShapeReader], Any]:
    return lambda thing, shapes: translate(thing)


def _workloads(kind: str, api_version: str, resource: str) -> Kind:
    return Kind(kind=kind, api_version=api_version, resource=resource, wire=wire.Workload, translate=workload_row_of)


def _rivals(kind: str, api_version: str, resource: str, *, read: Callable[[Any], Any], form: type[wire.Any]) -> Kind:
    return Kind(kind=kind, api_version=api_version, resource=resource, wire=form, translate=_alone(read), optional=True)


def _documents(kind: str, resource: str) -> Kind:
    return Kind(
        kind=kind, api_version=OURS, resource=resource, wire=wire.Document, translate=document_of, optional=True
    )


def _plain(kind: str, api_version: str, resource: str, *, read: Callable[[Any], Any], form: type[wire.Any]) -> Kind:
    return Kind(kind=kind, api_version=api_version, resource=resource, wire=form, translate=_alone(read))


REPLICA_SETS = Kind(
    kind="ReplicaSet", api_version="apps/v1", resource="replicasets", wire=wire.Workload, translate=replica_set_of
)
WORKLOADS = (
    _workloads("Deployment", "apps/v1", "deployments"),
    _workloads("StatefulSet", "apps/v1", "statefulsets"),
    _workloads("DaemonSet", "apps/v1", "daemonsets"),
    _workloads("Job", "batch/v1", "jobs"),
    _workloads("ReplicationController", "v1", "replicationcontrollers"),
)
NODES = _plain("Node", "v1", "nodes", read=node_of, form=wire.Node)
NAMESPACES = _plain("Namespace", "v1", "namespaces", read=namespace_of, form=wire.Any)
SERVICES = _plain("Service", "v1", "services", read=service_of, form=wire.Service)
QUOTAS = _plain("ResourceQuota", "v1", "resourcequotas", read=quota_of, form=wire.Quota)
LIMIT_RANGES = _plain("LimitRange", "v1", "limitranges", read=limit_range_of, form=wire.LimitRange)
VOLUMES = _plain("PersistentVolume", "v1", "persistentvolumes", read=volume_of, form=wire.PersistentVolume)
CLAIMS = _plain("PersistentVolumeClaim", "v1", "persistentvolumeclaims", read=claim_of, form=wire.Claim)
BUDGETS = _plain("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", read=budget_of, form=wire.Budget)
CLASSES = _plain("StorageClass", "storage.k8s.io/v1", "storageclasses", read=class_of, form=wire.StorageClass)
ATTACH_LIMITS = _plain("CSINode", "storage.k8s.io/v1", "csinodes", read=attach_limits_of, form=wire.CsiNode)
PRIORITIES = _plain(
    "PriorityClass", "scheduling.k8s.io/v1", "priorityclasses", read=priority_class_of, form=wire.PriorityClass
)
RIVALS = (
    _rivals(
        "HorizontalPodAutoscaler",
        "autoscaling/v2",
        "horizontalpodautoscalers",
        read=rivals.horizontal_of,
        form=rivals.Horizontal,
    ),
    _rivals(
        "VerticalPodAutoscaler",
        "autoscaling.k8s.io/v1",
        "verticalpodautoscalers",
        read=rivals.vertical_of,
        form=rivals.Vertical,
    ),
    _rivals("ScaledObject", "keda.sh/v1alpha1", "scaledobjects", read=rivals.scaled_object_of, form=rivals.Horizontal),
)
DOCUMENTS = (
    _documents("MultidimPodAutoscaler", "multidimpodautoscalers"),
    _documents("ScalingPolicy", "scalingpolicies"),
    _documents("NodeGroup", "nodegroups"),
    _documents("Tenant", "tenants"),
)
GKE_AUTOSCALERS = Kind(
    kind="MultidimPodAutoscaler",
    api_version=rivals.GKE,
    resource="multidimpodautoscalers",
    wire=wire.Document,
    translate=gke_row_of,
    optional=True,
)
BUFFERS = _rivals(BUFFER_KIND, BUFFER_PATH.api_version, BUFFER_PATH.plural, read=buffer_of, form=CapacityBuffer)
TEMPLATES = Kind(
    kind="PodTemplate",
    api_version="v1",
    resource="podtemplates",
    wire=PodTemplate,
    translate=template_of,
    optional=True,
)
PODS = Kind(kind="Pod", api_version="v1", resource="pods", wire=wire.Pod, translate=pod_of)
WATCHED = (
    PODS,
    REPLICA_SETS,
    *WORKLOADS,
    NODES,
    NAMESPACES,
    SERVICES,
    QUOTAS,
    LIMIT_RANGES,
    VOLUMES,
    CLAIMS,
    BUDGETS,
    CLASSES,
    ATTACH_LIMITS,
    PRIORITIES,
    *RIVALS,
    *DOCUMENTS,
    GKE_AUTOSCALERS,
    BUFFERS,
    TEMPLATES,
)
