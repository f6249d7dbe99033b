"""Where objects of each kind are served, by the words that keys and documents use."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from autoscaler.errors import InputError


class ResourcePath(msgspec.Struct, frozen=True):
    """
    A kind's place in the API: `apps/v1` and `deployments`, say.

    >>> ResourcePath("apps/v1", "deployments").to("web", namespace="shop", part="scale")
    '/apis/apps/v1/namespaces/shop/deployments/web/scale'
    >>> ResourcePath("v1", "nodes").to("a")
    '/api/v1/nodes/a'
    """

    api_version: str
    plural: str

    def to(self, name: str = "", *, namespace: str = "", part: str = "") -> str:
        """Return the path of an object, or of a *part* (subresource) of it; without a name that of all."""
        root = "/apis" if "/" in self.api_version else "/api"
        scope = f"/namespaces/{namespace}" if namespace else ""
        ends = "".join(f"/{end}" for end in (name, part) if end)
        return f"{root}/{self.api_version}{scope}/{self.plural}{ends}"


ResourceOf = Callable[[str], ResourcePath | None]
"""Tells where a kind that is not built in is served; None where it is not known (yet)."""

PODS = ResourcePath("v1", "pods")
NODES = ResourcePath("v1", "nodes")
QUOTAS = ResourcePath("v1", "resourcequotas")
CONFIG_MAPS = ResourcePath("v1", "configmaps")
LEASES = ResourcePath("coordination.k8s.io/v1", "leases")
EVENTS = ResourcePath("events.k8s.io/v1", "events")

WORKLOADS: Mapping[str, ResourcePath] = {
    "Deployment": ResourcePath("apps/v1", "deployments"),
    "StatefulSet": ResourcePath("apps/v1", "statefulsets"),
    "ReplicaSet": ResourcePath("apps/v1", "replicasets"),
    "ReplicationController": ResourcePath("v1", "replicationcontrollers"),
    "DaemonSet": ResourcePath("apps/v1", "daemonsets"),
}
RIVALS: Mapping[str, ResourcePath] = {
    "HorizontalPodAutoscaler": ResourcePath("autoscaling/v2", "horizontalpodautoscalers"),
    "VerticalPodAutoscaler": ResourcePath("autoscaling.k8s.io/v1", "verticalpodautoscalers"),
    "ScaledObject": ResourcePath("keda.sh/v1alpha1", "scaledobjects"),
    "MultidimPodAutoscaler": ResourcePath("autoscaling.gke.io/v1beta1", "multidimpodautoscalers"),
}
OURS: Mapping[str, ResourcePath] = {
    "MultidimPodAutoscaler": ResourcePath("podnode.io/v1alpha1", "multidimpodautoscalers"),
    "ScalingPolicy": ResourcePath("podnode.io/v1alpha1", "scalingpolicies"),
    "NodeGroup": ResourcePath("podnode.io/v1alpha1", "nodegroups"),
    "Tenant": ResourcePath("podnode.io/v1alpha1", "tenants"),
}


class ObjectPlace(msgspec.Struct, frozen=True):
    """One namespaced object: where its kind is served, and its names."""

    resource: ResourcePath
    namespace: str
    name: str

    def path(self, part: str = "") -> str:
        return self.resource.to(self.name, namespace=self.namespace, part=part)


def place_of(key: str, kinds: Mapping[str, ResourcePath], others: ResourceOf | None = None) -> ObjectPlace:
    """
    Return where the object with *key* (`namespace/Kind/name`) is.

    Raises:
        InputError: the key has another form, or its kind is not known.
    """
    parts = key.split("/")
    if len(parts) != 3 or not all(parts):
        raise InputError("object", "key", key, "namespace/Kind/name")
    namespace, kind, name = parts
    resource = kinds.get(kind) or (others(kind) if others is not None else None)
    if resource is None:
        raise InputError(f"object {key}", "kind", kind, f"{', '.join(kinds)} or a custom kind that is installed")
    return ObjectPlace(resource, namespace, name)


def pod_path(pod: str, part: str = "") -> str:
    """
    Return the path of a pod by key (`namespace/name`).

    Raises:
        InputError: the key has another form.
    """
    namespace, _, name = pod.partition("/")
    if not namespace or not name or "/" in name:
        raise InputError("pod", "key", pod, "namespace/name")
    return PODS.to(name, namespace=namespace, part=part)
