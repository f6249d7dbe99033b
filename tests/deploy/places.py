"""Where the API server takes the chart's objects."""

from __future__ import annotations

from tests.deploy.chart import Document

PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "NetworkPolicy": "networkpolicies",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
}
OPERATORS = {"monitoring.coreos.com", "cert-manager.io"}
"""Groups of kinds that others install."""


def collection_of(document: Document) -> str:
    """Return the path to create *document* at."""
    version = document["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = document["metadata"].get("namespace")
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{PLURALS[document['kind']]}"


def is_of_an_operator(document: Document) -> bool:
    """Tell whether an operator's own kinds are needed for *document*."""
    return document["apiVersion"].partition("/")[0] in OPERATORS
