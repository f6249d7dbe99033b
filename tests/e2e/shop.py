"""A namespace whose pods run on machines of its own, the documents that govern it, and what is seen of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any

from autoscaler.kube.client import MERGE
from tests.cluster.cluster import Cluster
from tests.cluster.objects import Object, is_ready, node
from tests.cluster.waiting import eventually
from tests.integration.crds import install, path_of
from tests.integration.running import remove

_LABEL = "podnode.io/test"
_API = "podnode.io/v1alpha1"
_KUBECTL_SECONDS = 20.0


class Shop:
    """
    Its machines carry a label and a taint of the namespace's name, and its pods choose and tolerate them.

    So no pod of another test fits here, nor these elsewhere.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.name = cluster, namespace
        self._api = cluster.admin
        self._struck: list[str] = []

    @property
    def placement(self) -> Object:
        """What goes into a pod's spec."""
        return {
            "nodeSelector": {_LABEL: self.name},
            "tolerations": [{"key": _LABEL, "operator": "Equal", "value": self.name, "effect": "NoSchedule"}],
        }

    async def govern(self, *, mode: str, types: Sequence[str], most: int = 40, **rules: Any) -> None:
        """Install our kinds, offer machines of *types* in one zone, and put a policy in force; *rules* are its spec."""
        await install(self._api)
        requirements = [
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": list(types)},
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]},
        ]
        template = {
            "labels": {_LABEL: self.name},
            "taints": [{"key": _LABEL, "value": self.name, "effect": "NoSchedule"}],
        }
        group = {"provider": "kwok", "size": {"max": most}, "requirements": requirements, "template": template}
        await self._add("NodeGroup", group)
        await self._add("ScalingPolicy", {"mode": mode, **rules})

    async def add_node(self, name: str, **size: Any) -> None:
        """Add a machine of the shop's own; *size* is for `objects.node`."""
        body = node(f"{self.name}-{name}", labels={_LABEL: self.name}, **size)
        body["spec"]["taints"] = [{"key": _LABEL, "value": self.name, "effect": "NoSchedule"}]
        await self._api.send("POST", "/api/v1/nodes", body)

    async def set_mode(self, mode: str) -> None:
        """Change what documents under the policy may do at most."""
        path = path_of({"apiVersion": _API, "kind": "ScalingPolicy"})
        await self._api.send("PATCH", f"{path}/{self.name}", {"spec": {"mode": mode}}, content_type=MERGE)

    async def autoscale(self, workload: str, **spec: Any) -> None:
        """Add an mpa in mode Auto for a Deployment."""
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload}
        policy = {"updateMode": "Auto", **spec.pop("policy", {})}
        document = {
            "apiVersion": _API,
            "kind": "MultidimPodAutoscaler",
            "metadata": {"name": workload, "namespace": self.name},
            "spec": {"scaleTargetRef": target, "policy": policy, **spec},
        }
        await self._api.send("POST", path_of(document), document)

    async def run(self, deployment: Object) -> None:
        """Create a Deployment."""
        await self._api.send("POST", f"/apis/apps/v1/namespaces/{self.name}/deployments", deployment)

    async def replicas(self, workload: str) -> int:
        """Return how many pods a Deployment asks for."""
        found = await self.get(f"/apis/apps/v1/namespaces/{self.name}/deployments/{workload}")
        return int(found["spec"]["replicas"])

    async def pods(self, workload: str = "") -> list[Object]:
        """Return the pods that are not being deleted, by name."""
        params = {"labelSelector": f"app={workload}"} if workload else {}
        found = await self.get(f"/api/v1/namespaces/{self.name}/pods", **params)
        return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]

    async def nodes(self) -> list[str]:
        """Return the names of the shop's machines."""
        found = await self.get("/api/v1/nodes", labelSelector=f"{_LABEL}={self.name}")
        return sorted(each["metadata"]["name"] for each in found["items"])

    async def status(self, workload: str) -> Object:
        """Return the status of the mpa for a workload."""
        path = f"/apis/{_API}/namespaces/{self.name}/multidimpodautoscalers/{workload}"
        status: Object = (await self.get(path)).get("status", {})
        return status

    async def events(self, reason: str) -> list[Object]:
        """Return the controller's events in the namespace that have this reason."""
        found = await self.get(f"/apis/events.k8s.io/v1/namespaces/{self.name}/events")
        return [
            each
            for each in found["items"]
            if each["reason"] == reason and each["reportingController"] == "podnode.io/autoscaler"
        ]

    async def all_ready(self, workload: str, *, pods: int = 0, within: float = 40.0) -> list[Object]:
        """Wait until all pods that a Deployment asks for are Ready, *pods* at least; return them."""

        async def look() -> list[Object]:
            wanted, found = await self.replicas(workload), await self.pods(workload)
            done = wanted >= pods and len(found) == wanted and all(map(is_ready, found))
            return found if done else []

        return await eventually(look, what=f"all pods of {workload} Ready", within=within)

    async def kubectl(self, *words: str) -> str:
        """Return what kubectl prints to the administrator in this namespace."""
        process = await asyncio.create_subprocess_exec(
            str(self.cluster.kubectl),
            *("--namespace", self.name, *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)},
        )
        async with asyncio.timeout(_KUBECTL_SECONDS):
            out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    async def get(self, path: str, **params: str) -> Object:
        """Return an object or a list of the API server's."""
        found: Object = json.loads(await self._api.get(path, params=params))
        return found

    async def strike(self) -> None:
        """Remove what the namespace does not take with it."""
        for path in [*self._struck, *(f"/api/v1/nodes/{name}" for name in await self.nodes())]:
            await remove(self._api, path)

    async def _add(self, kind: str, spec: Object) -> None:
        document = {"apiVersion": _API, "kind": kind, "metadata": {"name": self.name}, "spec": spec}
        await self._api.send("POST", path_of(document), document)
        self._struck.append(f"{path_of(document)}/{self.name}")
