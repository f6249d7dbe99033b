"""A namespace with one object of each kind that the controller changes, and each change that it can make to them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from autoscaler.clock import SystemClock
from autoscaler.errors import AutoscalerError
from autoscaler.kube.buffers import BUFFERS, KIND
from autoscaler.kube.client import MERGE, AlreadyExistsError, ApiServer
from autoscaler.kube.scale import NODES, OURS, PODS, QUOTAS, RIVALS, WORKLOADS, ResourcePath
from autoscaler.kube.status import StatusWriter
from autoscaler.kube.status_text import ObjectStatus
from autoscaler.kube.write import KubeWriter
from autoscaler.model.policy import NodeGroupPolicy
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.spec import decode_hook
from autoscaler.providers.kwok import KwokProvider
from tests.cluster.cluster import Cluster
from tests.cluster.objects import is_ready, node
from tests.cluster.waiting import eventually
from tests.integration.crds import install_file

Change = Callable[[], Awaitable[object]]
SIZE = (ContainerSize(container="app", target=Resources.of(cpu=120)),)
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_POD: dict[str, Any] = {
    "terminationGracePeriodSeconds": 0,
    "containers": [{"name": "app", "image": "fake", "resources": {"requests": {"cpu": "100m"}}}],
}


class Stage:
    """Everything is called `one`, but for the node and its machine group, which are called as the namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._api = cluster.admin
        self.namespace = namespace
        self._uid = ""
        self._struck: list[str] = []

    async def build(self) -> None:
        """Create everything, and wait until the pod runs."""
        await self._api.send("POST", NODES.to(), node(self.namespace))
        for kind in ("VerticalPodAutoscaler", "ScaledObject", "MultidimPodAutoscaler"):
            await self.define(RIVALS[kind], kind)
        await install_file(self._api, "capacitybuffers")
        for resource, document in self._objects():
            document |= {"metadata": {"name": "one"}, "apiVersion": resource.api_version}
            await self._api.send("POST", resource.to(namespace=self.namespace), document)

        async def runs() -> Any:
            pod = json.loads(await self._api.get(self._path(PODS)))
            return pod if is_ready(pod) else None

        self._uid = (await eventually(runs, what="the pod Ready"))["metadata"]["uid"]

    async def govern(self, custom: ResourcePath, kind: str) -> None:
        """Create one of each of our documents for the namespace; the mpa is for an object of *kind*."""
        await self.define(custom, kind, scales=True)
        target = {"apiVersion": custom.api_version, "kind": kind, "name": "one"}
        here = {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}
        specs: Mapping[str, Any] = {
            "MultidimPodAutoscaler": {"scaleTargetRef": target},
            "ScalingPolicy": {"workloads": {"namespaceSelector": here}},
            "NodeGroup": {"provider": "kwok", "size": {"max": 0}},
            "Tenant": {"namespaces": {"selector": here}},
        }
        for name, spec in specs.items():
            namespace = self.namespace if name == "MultidimPodAutoscaler" else ""
            path = OURS[name].to(namespace=namespace)
            document = {"apiVersion": OURS[name].api_version, "kind": name, "metadata": {"name": self.namespace}}
            await self._api.send("POST", path, {**document, "spec": spec})
            self._struck.append(f"{path}/{self.namespace}")

    async def strike(self) -> None:
        """Remove what the namespace does not take with it."""
        for path in (NODES.to(self.namespace), *self._struck):
            await self._api.send("DELETE", path)

    async def state(self) -> Mapping[str, Any]:
        """Return the spec and notes of everything, by path."""
        paths = [self._path(resource) for resource, _ in self._objects()] + [NODES.to(self.namespace)]
        found = {path: json.loads(await self._api.get(path)) for path in paths}
        return {path: (each["spec"], each["metadata"].get("annotations")) for path, each in found.items()}

    def changes(self, api: ApiServer, *, dry_run: bool = False) -> Mapping[str, Change]:
        """Return each change to an object, by what it is, as made through *api*; the pod's eviction is last."""
        writer, place = KubeWriter(api, dry_run=dry_run), self.namespace
        found: dict[str, Change] = {}
        for kind in WORKLOADS:
            key = f"{place}/{kind}/one"
            if kind != "DaemonSet":
                found[f"scale {kind}"] = partial(writer.scale, key, 1, expected=0)
            found[f"set requests of {kind}"] = partial(writer.set_requests, key, SIZE)
        for kind in RIVALS:
            key = f"{place}/{kind}/one"
            found[f"set aside {kind}"] = partial(writer.set_aside, key)
            found[f"give back {kind}"] = partial(writer.give_back, key)
        found["cordon"] = lambda: writer.cordon(place)
        found["uncordon"] = lambda: writer.uncordon(place)
        found["set quota"] = lambda: writer.set_quota(place, "one", [("pods", 90)])
        found["resize pod"] = lambda: writer.resize_pod(f"{place}/one", SIZE)
        found["evict"] = lambda: writer.evict(f"{place}/one", uid=self._uid)
        return found

    def purchases(self, api: ApiServer) -> Mapping[str, Change]:
        """Return what the provider `kwok` does to nodes, and what is told of room for others, by what it is."""
        types = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m5.large"]}
        spec = {"provider": "kwok", "requirements": [types], "size": {"max": 2}}
        group = msgspec.convert({"name": self.namespace, "spec": spec}, NodeGroupPolicy, dec_hook=decode_hook)
        provider = KwokProvider(api, SystemClock(), groups=lambda: [group])
        name = self.namespace
        writer = StatusWriter(api, SystemClock())
        status = ObjectStatus(resource=BUFFERS, kind=KIND, namespace=name, name="one", uid="", status={"replicas": 1})
        return {
            "tell a buffer": lambda: writer.publish([status]),
            "buy a node": lambda: provider.set_target_size(name, 1, expected=0),
            "return a node": lambda: provider.delete_instances(name, [f"{name}-0"], expected=1),
        }

    def attempts(self, api: ApiServer) -> Mapping[str, Change]:
        """Return each plain write to each object and its subresources, by method and path."""
        found: dict[str, Change] = {}
        for resource, document in self._objects():
            path = self._path(resource)
            parts = [f"{path}/scale"] if resource in WORKLOADS.values() else []
            parts += [f"{path}/{part}" for part in ("resize", "eviction", "binding") if resource == PODS]
            self._add(found, api, path, parts=parts, document=document, name="one")
        self._add(found, api, NODES.to(self.namespace), parts=[], document=node(self.namespace), name=self.namespace)
        return found

    def _add(self, found: dict[str, Change], api: ApiServer, path: str, **about: Any) -> None:
        for target in (path, f"{path}/status", *about["parts"]):
            found[f"PATCH {target}"] = partial(api.send, "PATCH", target, {}, content_type=MERGE)
            found[f"PUT {target}"] = partial(api.send, "PUT", target, about["document"])
            found[f"POST {target}"] = partial(api.send, "POST", target, about["document"])
        collection = path.removesuffix(f"/{about['name']}")
        found[f"POST {collection}"] = partial(api.send, "POST", collection, about["document"])
        found[f"DELETE {path}"] = partial(api.send, "DELETE", path)
        found[f"DELETE {collection}"] = partial(api.send, "DELETE", collection)

    async def define(self, resource: ResourcePath, kind: str, *, scales: bool = False) -> None:
        """Install a kind that takes any fields, where it is not installed."""
        group, _, version = resource.api_version.partition("/")
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
        served |= {"subresources": {"scale": paths}} if scales else {}
        names = {"plural": resource.plural, "kind": kind}
        definition = {
            # Without the annotation the API server keeps names under k8s.io for Kubernetes' own.
            "metadata": {
                "name": f"{resource.plural}.{group}",
                "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"},
            },
            "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
        }
        with suppress(AlreadyExistsError):
            await self._api.send("POST", _DEFINITIONS, definition)

        async def is_served() -> bool:
            with suppress(AutoscalerError):
                return bool(await self._api.get(resource.to(namespace=self.namespace)))
            return False

        await eventually(is_served, what=f"{kind} served")

    def _path(self, resource: ResourcePath) -> str:
        return resource.to("one", namespace=self.namespace)

    def _objects(self) -> list[tuple[ResourcePath, dict[str, Any]]]:
        template = {"metadata": {"labels": {"app": "one"}}, "spec": _POD}
        selector: dict[str, Any] = {"matchLabels": {"app": "one"}}
        objects: list[tuple[ResourcePath, dict[str, Any]]] = []
        for kind, resource in WORKLOADS.items():
            spec: dict[str, Any] = {"selector": selector, "template": template}
            if kind == "DaemonSet":
                # No node matches: it makes no pods.
                spec["template"] = {**template, "spec": {**_POD, "nodeSelector": {"none": "such"}}}
            else:
                spec["replicas"] = 0
            if kind == "ReplicationController":
                spec["selector"] = selector["matchLabels"]
            objects.append((resource, {"kind": kind, "spec": spec}))
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "one"}
        objects.append((RIVALS["HorizontalPodAutoscaler"], {"spec": {"scaleTargetRef": target, "maxReplicas": 2}}))
        objects.append((RIVALS["VerticalPodAutoscaler"], {"spec": {"targetRef": target}}))
        objects.append((RIVALS["ScaledObject"], {"spec": {"scaleTargetRef": {"name": "one"}}}))
        objects.append((RIVALS["MultidimPodAutoscaler"], {"spec": {"scaleTargetRef": target}}))
        for kind, (_, document) in zip(RIVALS, objects[-len(RIVALS) :], strict=True):
            document["kind"] = kind
        objects.append((BUFFERS, {"kind": KIND, "spec": {}}))
        objects.append((QUOTAS, {"kind": "ResourceQuota", "spec": {"hard": {"pods": "50"}}}))
        objects.append((PODS, {"kind": "Pod", "spec": {**_POD, "nodeName": self.namespace}}))
        return objects
