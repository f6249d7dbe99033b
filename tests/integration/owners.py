"""Who owns nodes in the provider's place: it makes Node objects of what its object asks for, one round a call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autoscaler.kube.client import ApiServer
from autoscaler.kube.decode import decode_node
from autoscaler.model.node import Node
from autoscaler.providers.cluster_api import DELETE, DEPLOYMENT, VERSIONS
from autoscaler.providers.declarative import KINDS
from autoscaler.providers.declared import Kind, field
from tests.cluster.objects import node

NODES = "/api/v1/nodes"
OWNED = "tests.example/owned-by"


class Owner:
    """The objects of one kind in one namespace, and their nodes."""

    def __init__(self, api: ApiServer, namespace: str, kind: Kind, *, version: str = "") -> None:
        self.api, self.namespace, self.kind = api, namespace, kind
        self.api_version = f"{kind.api_group}/{version or kind.versions[0]}"
        self.collection = f"/apis/{self.api_version}/namespaces/{namespace}/{kind.plural}"
        self.labels: dict[str, str] = {}
        """Of new nodes, beside their own."""
        self.machines = f"/apis/{kind.api_group}/{VERSIONS[0]}/namespaces/{namespace}/machines"

    async def create(self, name: str, spec: Mapping[str, Any], **metadata: Any) -> None:
        """Create an object, and the nodes it asks for."""
        document = {
            "apiVersion": self.api_version,
            "kind": self.kind.kind,
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
        await self.api.send("POST", self.collection, document)
        await self.reconcile()

    async def reconcile(self) -> None:
        """Bring nodes to what the objects ask for; what nobody chose goes newest first."""
        for document in await self._items(self.collection):
            wanted, name = field(document, *self.kind.size), document["metadata"]["name"]
            if wanted is None:
                wanted = field(document, "spec", "initialNodeCount")
            if self.kind.chooses:
                await self._machines(name, wanted)
            else:
                there = sorted(each.name for each in await self.nodes(name))
                await self._resize(name, there, wanted)
            if self.kind.kind == "MachinePool":
                ids = [f"test://{each.instance_id}" for each in await self.nodes(name)]
                await self._merge(f"{self.collection}/{name}", {"spec": {"providerIDList": ids}})

    async def nodes(self, name: str) -> list[Node]:
        """Return the nodes of an object, by name."""
        found = await self._items(NODES, labelSelector=f"{OWNED}={self.namespace}.{name}")
        return sorted((decode_node({"kind": "Node", **item}) for item in found), key=lambda each: each.name)

    async def strike(self) -> None:
        """Remove everything."""
        for collection in (self.collection, *([self.machines] if self.kind.chooses else [])):
            await self.api.send("DELETE", collection)
        for item in await self._items(NODES, labelSelector=OWNED):
            if item["metadata"]["labels"][OWNED].startswith(self.namespace):
                await self.api.send("DELETE", f"{NODES}/{item['metadata']['name']}")

    async def _machines(self, name: str, wanted: int) -> None:
        """Do what a MachineSet does: machines with the annotation go first (Cluster API book, "Scaling nodes")."""
        machines = await self._items(self.machines, labelSelector=f"{DEPLOYMENT}={name}")
        marked_last = sorted(machines, key=lambda each: DELETE in each["metadata"].get("annotations", {}))
        there = [each["metadata"]["name"] for each in marked_last]
        for gone in there[wanted:]:
            await self.api.send("DELETE", f"{self.machines}/{gone}")
            await self.api.send("DELETE", f"{NODES}/{gone}")
        for new in _numbered(name, there, wanted):
            await self.machine(name, new)
            await self._node(name, new)

    async def machine(self, deployment: str, name: str, *, machine_set: str = "one") -> None:
        """Create a Machine of a MachineDeployment."""
        owner = {"apiVersion": self.api_version, "kind": "MachineSet", "name": machine_set, "uid": "none"}
        metadata = {"name": name, "labels": {DEPLOYMENT: deployment}, "ownerReferences": [owner]}
        document = {
            "apiVersion": f"{self.kind.api_group}/{VERSIONS[0]}",
            "kind": "Machine",
            "metadata": metadata,
            "spec": {"providerID": f"test:///{name}"},
        }
        await self.api.send("POST", self.machines, document)

    async def _resize(self, name: str, there: list[str], wanted: int) -> None:
        for gone in there[wanted:]:
            await self.api.send("DELETE", f"{NODES}/{gone}")
        for new in _numbered(name, there, wanted):
            await self._node(name, new)

    async def _node(self, owner: str, name: str) -> None:
        labels = {OWNED: f"{self.namespace}.{owner}", **self.labels}
        labels |= {self.kind.node_label: owner} if self.kind.node_label else {}
        document = node(name, labels=labels)
        document["spec"] = {"providerID": f"test:///{name}"}
        await self.api.send("POST", NODES, document)

    async def _merge(self, path: str, change: Mapping[str, Any]) -> None:
        await self.api.send("PATCH", path, change, content_type="application/merge-patch+json")

    async def _items(self, path: str, **params: str) -> list[dict[str, Any]]:
        return list(json.loads(await self.api.get(path, params=params))["items"])


def kind_of(provider: str, kind: str) -> Kind:
    """Return a kind of a provider by its name."""
    return next(each for each in KINDS[provider] if each.kind == kind)


def _numbered(name: str, there: list[str], wanted: int) -> list[str]:
    free = (f"{name}-{number}" for number in range(wanted + len(there)))
    return [each for each in free if each not in there][: max(0, wanted - len(there))]
