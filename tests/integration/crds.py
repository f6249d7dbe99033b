"""Our CRDs on the development cluster, and the calls on what they define."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoscaler.clock import SystemClock
from autoscaler.documents import read_documents
from autoscaler.kube.client import APPLY, ApiServer, NotFoundError
from autoscaler.policy_files.crd import custom_resources
from tests.cluster.waiting import eventually
from tests.meta.sources import ROOT

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GKE = ROOT / "tests" / "data" / "crds" / "gke-multidimpodautoscalers.yaml"
PLURALS = {
    "MultidimPodAutoscaler": "multidimpodautoscalers",
    "ScalingPolicy": "scalingpolicies",
    "NodeGroup": "nodegroups",
    "Tenant": "tenants",
}


async def install(api: ApiServer) -> None:
    """Apply our CRDs and the stand-in for GKE's, and wait until their objects can be listed; may be done again."""
    await define(api, [*custom_resources(), *_documents(GKE)])


async def install_file(api: ApiServer, name: str) -> None:
    """Apply the stand-ins of tests/data/crds/*name*.yaml where they are not served, and wait likewise."""
    definitions = _documents(GKE.with_name(f"{name}.yaml"))
    if not await _are_served(api, definitions):
        await define(api, definitions)


def _documents(path: Path) -> list[dict[str, Any]]:
    return [document.value for document in read_documents(path)]


async def define(api: ApiServer, definitions: Sequence[Mapping[str, Any]]) -> None:
    """Apply definitions of kinds, and wait until their objects can be listed."""
    for definition in definitions:
        path = f"{DEFINITIONS}/{definition['metadata']['name']}"
        await api.send("PATCH", path, definition, content_type=APPLY, params={"fieldManager": "tests", "force": "true"})

    async def all_are_served() -> bool:
        return await _are_served(api, definitions)

    await eventually(all_are_served, what="our kinds served", clock=SystemClock())


async def _are_served(api: ApiServer, definitions: Sequence[Mapping[str, Any]]) -> bool:
    try:
        for spec in (definition["spec"] for definition in definitions):
            path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
            await api.get(path, params={"limit": "1"})
    except NotFoundError:
        return False
    return True


def path_of(document: Mapping[str, Any]) -> str:
    """Return where objects like *document* are created."""
    version, plural = document["apiVersion"], PLURALS[document["kind"]]
    if document["kind"] != "MultidimPodAutoscaler":
        return f"/apis/{version}/{plural}"
    return f"/apis/{version}/namespaces/{document['metadata'].get('namespace', 'default')}/{plural}"
