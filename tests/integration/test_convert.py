"""Objects of a live cluster are converted, and what comes out is taken back."""

from __future__ import annotations

import asyncio

from autoscaler.documents import read_documents
from autoscaler.kube.policies import read_documents as read_policies
from tests.cluster.cluster import Cluster
from tests.integration.crds import install, path_of
from tests.meta.sources import ROOT
from tests.unit.cli.commands import run

INPUTS = ROOT / "tests" / "data" / "convert"
_SERVED = ("autoscaling/v2", "autoscaling/v1", "autoscaling.gke.io/v1beta1")
_HPAS = "/apis/{version}/namespaces/{namespace}/horizontalpodautoscalers"


async def test_the_objects_of_a_namespace_become_documents_that_the_server_takes(
    cluster: Cluster, namespace: str
) -> None:
    await install(cluster.admin)
    for name in ("hpa", "gke"):
        for document in read_documents(INPUTS / f"{name}.yaml"):
            value = {**document.value, "metadata": {"name": document.value["metadata"]["name"], "namespace": namespace}}
            # The server refuses an HPA whose minimum is above its maximum.
            if value["apiVersion"] not in _SERVED or value["metadata"]["name"] == "wrong":
                continue
            hpas = _HPAS.format(version=value["apiVersion"], namespace=namespace)
            await cluster.admin.send("POST", hpas if "Horizontal" in value["kind"] else path_of(value), value)
    arguments = ("convert", "--live", "--kubeconfig", str(cluster.kubeconfig), "-n", namespace, "--output", "json")
    ran = await asyncio.to_thread(run, *arguments)
    assert ran.code == 0, ran.err
    assert "speaks of the same workload" in ran.err
    documents = ran.data["items"]
    assert {document["metadata"]["name"]: document["spec"]["policy"]["engine"] for document in documents} == {
        "everything": "hpa",
        "oldest": "hpa",
        "php-apache-autoscaler": "mpa",
        "shortest": "hpa",
    }
    for document in documents:
        await cluster.admin.send("POST", path_of(document), document)
    assert read_policies(documents)[1] == ()
    everywhere = await asyncio.to_thread(run, "convert", "--live", "--kubeconfig", str(cluster.kubeconfig))
    assert everywhere.code == 0, everywhere.err
