"""What tests of faults share: workloads of a known size, a second account, and what the controller saw and did."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from autoscaler.kube.client import MERGE, STRATEGIC
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.telemetry.record import decode_record, record_of
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment, is_ready
from tests.cluster.waiting import eventually
from tests.deploy.installed import Installed
from tests.deploy.places import collection_of
from tests.e2e.controller_process import Entry, names
from tests.e2e.shop import Shop

MACHINE = "m7i.xlarge"
PODS_A_NODE = 2
"""Such a machine gives a bit less than 4 CPUs; each pod asks for 1.5."""
CORES_A_POD = 1.05
"""What a pod is to use: 70 % of its request."""
CPU_GOAL = {
    "metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    ]
}


async def offer(shop: Shop, *, stale_after: str = "3s", **rules: Any) -> None:
    """Let the controller act, and buy machines of one kind; nodes are not taken away unless *rules* say so."""
    rules = {"nodes": {"consolidation": "Off"}, "signals": {"staleAfter": stale_after}, **rules}
    await shop.govern(mode="Auto", types=[MACHINE], **rules)


async def employ(shop: Shop, name: str, replicas: int, **spec: Any) -> None:
    """Create a Deployment of pods of which two fill a machine, and an mpa for it, fixed unless *spec* says more."""
    await shop.run(deployment(name, replicas=replicas, cpu="1500m", **shop.placement))
    fixed = {"constraints": _bounds(replicas, replicas), "policy": {"engine": "hpa"}}
    await shop.autoscale(name, **{**fixed, **spec})


async def ask_for(shop: Shop, **replicas: int) -> None:
    """Change the bounds of workloads so that each must have so many replicas."""
    for name, count in replicas.items():
        path = f"/apis/podnode.io/v1alpha1/namespaces/{shop.name}/multidimpodautoscalers/{name}"
        await shop.cluster.admin.send(
            "PATCH", path, {"spec": {"constraints": _bounds(count, count)}}, content_type=MERGE
        )


async def all_run(shop: Shop, *, within: float = 60.0, **replicas: int) -> None:
    """Wait until workloads have these replicas, all Ready, on no machine more than they need."""

    async def look() -> bool:
        asked = {name: await shop.replicas(name) for name in replicas}
        pods = await shop.pods()
        return asked == replicas and len(pods) == sum(replicas.values()) == sum(map(is_ready, pods))

    await eventually(look, what=f"{replicas} all Ready", within=within, every=0.2)


async def check_bought_once(shop: Shop, entries: list[Entry], *, pods: int) -> None:
    """
    Check that there are as many machines as *pods* need, none of them created twice or taken away.

    *entries* are the writes of all controllers. A machine may be missing there: where the server wrote
    it and could not answer any more, the audit log says that it failed.
    """
    nodes, created = await shop.nodes(), names(entries, "create", "nodes")
    assert len(nodes) == machines_for(pods)
    assert created
    assert len(created) == len(set(created))
    assert set(created) <= set(nodes)
    assert names(entries, "delete", "nodes") == []


def machines_for(pods: int) -> int:
    """Return how many machines so many pods need."""
    return -(-pods // PODS_A_NODE)


async def second_account(cluster: Cluster, account: Installed, name: str) -> Installed:
    """Return an account with the same roles as *account*, so that the audit log tells them apart."""
    namespace = account.user.split(":")[2]
    body = {"metadata": {"name": name}}
    await cluster.admin.send("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", body)
    for binding in account.roles:
        if binding["kind"].endswith("Binding"):
            subjects = [*binding["subjects"], {"kind": "ServiceAccount", "name": name, "namespace": namespace}]
            path = f"{collection_of(binding)}/{binding['metadata']['name']}"
            await cluster.admin.send("PATCH", path, {"subjects": subjects}, content_type=STRATEGIC)
    config = await cluster.kubeconfig_for(name, namespace=namespace)
    user = f"system:serviceaccount:{namespace}:{name}"
    return msgspec.structs.replace(account, user=user, kubeconfig=config)


async def last_seen(debug_port: int) -> ClusterSnapshot:
    """Return the cluster as the last decision saw it."""
    address = f"http://127.0.0.1:{debug_port}/debug/record"
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        answer.raise_for_status()
        return record_of(decode_record(await answer.read(), where=address, engines=BUILT_IN)).snapshot


def _bounds(least: int, most: int) -> dict[str, Any]:
    return {"global": {"minReplicas": least, "maxReplicas": most}}
