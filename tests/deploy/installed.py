"""The chart on the development cluster: its account with its roles, and the words it runs the controller with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from autoscaler.kube.client import ApiServer
from tests.cluster.cluster import Cluster
from tests.deploy.access import Permission, granted
from tests.deploy.chart import Document, documents
from tests.deploy.places import PLURALS, collection_of

ACCESS_KINDS = {kind for kind in PLURALS if "Role" in kind} | {"ServiceAccount"}


class Installed(msgspec.Struct, frozen=True):
    """The chart's account and roles on the cluster, and a connection as that account."""

    api: ApiServer
    user: str
    kubeconfig: Path
    roles: list[Document]
    flags: tuple[str, ...]
    """What the chart tells `autoscaler run`."""

    def rights(self, *endings: str) -> set[Permission]:
        """Return what the roles grant whose names end so."""
        return granted(role for role in self.roles if role["metadata"]["name"].endswith(endings))


def chart(namespace: str, *, custom: tuple[dict[str, str], ...] = (), **values: Any) -> list[Document]:
    """Return the chart's objects under names of the namespace's own; nodes are bought from kwok."""
    rbac = {"aggregate": False, "customWorkloads": list(custom)}
    return documents({"provider": "kwok", "fullnameOverride": namespace, "rbac": rbac, **values}, namespace=namespace)


def chart_flags(namespace: str, **values: Any) -> list[str]:
    """Return what the chart tells `autoscaler run`, but for what the test itself chooses."""
    (deployment,) = [each for each in chart(namespace, **values) if each["kind"] == "Deployment"]
    command, *flags = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert command == "run"
    return [flag for flag in flags if not flag.startswith(("--period=", "--listen-port="))]


@asynccontextmanager
async def installed(cluster: Cluster, namespace: str, **values: Any) -> AsyncIterator[Installed]:
    """Install the chart's account and roles; those without a namespace go away again."""
    wanted = [each for each in chart(namespace, **values) if each["kind"] in ACCESS_KINDS]
    for document in wanted:
        await cluster.admin.send("POST", collection_of(document), document)
    config = await cluster.kubeconfig_for(namespace, namespace=namespace)
    api = await ApiServer.connect(kubeconfig=str(config))
    try:
        roles = [each for each in wanted if "Role" in each["kind"]]
        user = f"system:serviceaccount:{namespace}:{namespace}"
        yield Installed(api, user, config, roles, (*chart_flags(namespace, **values),))
    finally:
        await api.aclose()
        for document in wanted:
            await cluster.admin.send("DELETE", f"{collection_of(document)}/{document['metadata']['name']}")
