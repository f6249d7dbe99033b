"""`autoscaler restore` on a real API server: it finds what was changed, shows it, and puts it back."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any

from autoscaler.kube.client import ApiServer, NotFoundError
from autoscaler.kube.scale import LEASES, NODES, RIVALS, WORKLOADS
from autoscaler.kube.write import KubeWriter
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from tests.cluster.cluster import Cluster

DEPLOYMENTS, HPAS = WORKLOADS["Deployment"], RIVALS["HorizontalPodAutoscaler"]
SIZE = ContainerSize(container="app", target=Resources.of(cpu=700))
LEASE = "left-behind"


async def restored(cluster: Cluster, *flags: str) -> tuple[int | None, list[str], str]:
    """Run the command; return its exit code, its lines and what it says on standard error."""
    command = (sys.executable, "-m", "autoscaler", "restore", "--kubeconfig", str(cluster.kubeconfig), *flags)
    process = await asyncio.create_subprocess_exec(
        *command, "--lease-name", LEASE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, error = await process.communicate()
    return process.returncode, out.decode().splitlines(), error.decode()


async def test_it_shows_what_was_changed_and_then_puts_it_back(cluster: Cluster, namespace: str) -> None:
    api, writer = cluster.admin, KubeWriter(cluster.admin)
    before = await left_behind(api, writer, namespace)
    expected = [
        f"autoscaler {namespace}/HorizontalPodAutoscaler/web: set aside",
        f"workload {namespace}/Deployment/web: requests of app, sizes for new pods of app",
    ]

    shown = await restored(cluster, "-n", namespace)
    assert shown == (0, [*expected, "2 to put back, nothing changed; --do does it"], "")
    assert await spec_of(api, DEPLOYMENTS.to("web", namespace=namespace)) != before

    done = await restored(cluster, "-n", namespace, "--do")
    assert done == (0, [f"{line}: put back" for line in expected], "")
    assert await spec_of(api, DEPLOYMENTS.to("web", namespace=namespace)) == before
    assert (await spec_of(api, HPAS.to("web", namespace=namespace)))["maxReplicas"] == 4
    assert await restored(cluster, "-n", namespace, "--do") == (0, ["nothing to put back"], "")


async def test_a_node_is_opened_and_a_spoilt_note_harms_no_neighbour(cluster: Cluster, namespace: str) -> None:
    api, writer = cluster.admin, KubeWriter(cluster.admin)
    await left_behind(api, writer, namespace)
    spoilt = {"metadata": {"annotations": {"podnode.io/set-aside": "{"}}}
    await api.send("PATCH", HPAS.to("web", namespace=namespace), spoilt, content_type="application/merge-patch+json")
    node = f"left-{namespace}"
    await api.send("POST", NODES.to(), {"metadata": {"name": node}})
    try:
        await writer.cordon(node)
        code, lines, error = await restored(cluster, "--do")
        assert code == 1
        assert f"node {node}: cordoned: put back" in lines
        assert f"workload {namespace}/Deployment/web: requests of app, sizes for new pods of app: put back" in lines
        assert f"autoscaler {namespace}/HorizontalPodAutoscaler/web: set aside: not put back: " in error
        assert "unschedulable" not in await spec_of(api, NODES.to(node))
    finally:
        await api.send("DELETE", NODES.to(node))
        await api.send("DELETE", HPAS.to("web", namespace=namespace))


async def test_beside_a_controller_that_leads_nothing_is_put_back(cluster: Cluster, namespace: str) -> None:
    api, writer = cluster.admin, KubeWriter(cluster.admin)
    await left_behind(api, writer, namespace)
    lease = {"metadata": {"name": LEASE}, "spec": {"holderIdentity": "someone"}}
    await api.send("POST", LEASES.to(namespace="default"), lease)
    try:
        code, lines, error = await restored(cluster, "-n", namespace, "--do")
        assert (code, lines) == (1, [])
        assert error.startswith(f"autoscaler restore: lease default/{LEASE}: someone leads")
    finally:
        await api.send("DELETE", LEASES.to(LEASE, namespace="default"))
    code, lines, _ = await restored(cluster, "-n", namespace, "--do")
    assert (code, len(lines)) == (0, 2)


async def left_behind(api: ApiServer, writer: KubeWriter, namespace: str) -> Any:
    """Change a Deployment and an HPA as the controller does; return the Deployment's spec before."""
    labels = {"app": "web"}
    container = {"name": "app", "image": "app:1", "resources": {"requests": {"cpu": "250m"}}}
    deployment = {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    hpa = {"metadata": {"name": "web"}, "spec": {"scaleTargetRef": reference, "maxReplicas": 4}}
    for place, document in ((DEPLOYMENTS, deployment), (HPAS, hpa)):
        with suppress(NotFoundError):
            await api.send("DELETE", place.to("web", namespace=namespace))
        await api.send("POST", place.to(namespace=namespace), document)
    before = await spec_of(api, DEPLOYMENTS.to("web", namespace=namespace))
    workload = f"{namespace}/Deployment/web"
    await writer.set_requests(workload, [SIZE])
    await KubeWriter(api, roll_out=False).set_requests(workload, [SIZE])
    await writer.set_aside(f"{namespace}/HorizontalPodAutoscaler/web")
    return before


async def spec_of(api: ApiServer, path: str) -> Any:
    return json.loads(await api.get(path))["spec"]
