"""Our CRDs on the development cluster, and the calls on what they define."""

from __future__ import annotations

from collections.abc import Mapping
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
    definitions = [*custom_resources(), *(document.value for document in read_documents(GKE))]
    for definition in definitions:
        path = f"{DEFINITIONS}/{definition['metadata']['name']}"
        await api.send("PATCH", path, definition, content_type=APPLY, params={"fieldManager": "tests", "force": "true"})
    served = [
        f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        for spec in (definition["spec"] for definition in definitions)
    ]

    async def all_are_served() -> bool:
        try:
            for path in served:
                await api.get(path, params={"limit": "1"})
        except NotFoundError:
            return False
        return True

    await eventually(all_are_served, what="our kinds served", clock=SystemClock())


def path_of(document: Mapping[str, Any]) -> str:
    """Return where objects like *document* are created."""
    version, plural = document["apiVersion"], PLURALS[document["kind"]]
    if document["kind"] != "MultidimPodAutoscaler":
        return f"/apis/{version}/{plural}"
    return f"/apis/{version}/namespaces/{document['metadata'].get('namespace', 'default')}/{plural}"
