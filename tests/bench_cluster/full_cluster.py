"""
A cluster of 1,000 full nodes with 10,000 pods of 200 Deployments, and the real command at work on it.

The nodes are bought by the kwok provider itself. The pods are made as if they
had been running for long: bound, and owned by ReplicaSets that want just as
many. Scheduling them one by one would be most of a bench's time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autoscaler.clock import SystemClock
from autoscaler.kube.client import MERGE, ApiServer
from autoscaler.kube.policies import read_documents
from autoscaler.model.units import MIB
from autoscaler.providers.kwok import KwokProvider
from tests.cluster.cluster import Cluster
from tests.cluster.control_plane import Options
from tests.cluster.objects import deployment
from tests.cluster.waiting import eventually
from tests.integration.crds import install, path_of
from tests.integration.running import Running, autoscaler_run

NODES, WORKLOADS, REPLICAS = 1000, 200, 50
PODS = WORKLOADS * REPLICAS
POD_CPU, POD_MEMORY = "370m", "1280Mi"
"""Ten to a node of 4 cores and 16 GiB: nothing that asks for a core fits anywhere."""
GROUP = "fleet"
SCRAPE_SECONDS = 15.0
FILL_SECONDS = 600.0
_AT_ONCE = 32
_APPS = "/apis/apps/v1/namespaces/default"
_PODS = "/api/v1/namespaces/default/pods"
CLOCK = SystemClock()
Json = dict[str, Any]


@asynccontextmanager
async def full_cluster(name: str) -> AsyncIterator[tuple[Cluster, Running]]:
    """Start the cluster *name*, fill it, and give it with a controller that has learned and taken two turns."""
    began = CLOCK.monotonic()

    def note(what: str) -> None:
        print(f"{CLOCK.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)

    cluster = await Cluster.up(name=name, options=Options(scrape_seconds=SCRAPE_SECONDS), say=lambda text: None)
    try:
        async with cluster.connected():
            note("control plane is up")
            await _fill(cluster, note)
            with TemporaryDirectory() as folder:
                async with autoscaler_run(cluster, Path(folder) / "log", *_flags(), period="15s") as running:
                    await running.logged("learned", within=180.0)
                    await running.logged("cycle", count=2, within=60.0)
                    note("the controller decides")
                    yield cluster, running
    finally:
        cluster.close()


def _flags() -> list[str]:
    prometheus = ["--prometheus-resolution", "15s", "--prometheus-window", "1m", "--prometheus-slow", "0.5s"]
    return ["--provider", "kwok", "--actuate", "apply", "--checkpoint", "configmap", *prometheus]


async def _fill(cluster: Cluster, note: Any) -> None:
    api, documents = cluster.admin, _documents()
    await install(api)
    for document in documents:
        await api.send("POST", path_of(document), document)
    await _buy(api, documents)
    note(f"{NODES} nodes are ready")
    names = [f"web-{number:03}" for number in range(WORKLOADS)]
    await _at_once(_create_workload(cluster, number, name) for number, name in enumerate(names))
    await eventually(partial(_has_sets, api), what="a ReplicaSet for each Deployment", within=60.0)
    # What is there and what is wanted change together: nobody may look in between.
    await cluster.stop("kube-controller-manager")
    sets = json.loads(await api.get(f"{_APPS}/replicasets"))["items"]
    wanted = {"spec": {"replicas": REPLICAS}}
    paths = [f"{_APPS}/replicasets/{each['metadata']['name']}" for each in sets]
    paths += [f"{_APPS}/deployments/{name}" for name in names]
    await _at_once(api.send("PATCH", path, wanted, content_type=MERGE) for path in paths)
    pods = (_pod(sets[number % WORKLOADS], number) for number in range(PODS))
    await _at_once(api.send("POST", _PODS, pod) for pod in pods)
    await cluster.start("kube-controller-manager")
    note(f"{PODS} pods are bound")
    await eventually(partial(_all_run, api), what="all pods Ready", within=FILL_SECONDS, every=2.0)
    note("all pods are ready")


async def _buy(api: ApiServer, documents: list[Json]) -> None:
    policies, problems = read_documents(documents)
    assert not problems, problems
    provider = KwokProvider(api, CLOCK, groups=lambda: policies.node_groups)
    await provider.set_target_size(GROUP, NODES, expected=0)

    async def all_take_pods() -> bool:
        nodes = json.loads(await api.get("/api/v1/nodes"))["items"]
        return sum(not node["spec"].get("taints") for node in nodes) == NODES

    await eventually(all_take_pods, what="all nodes Ready", within=FILL_SECONDS, every=1.0)


async def _create_workload(cluster: Cluster, number: int, name: str) -> None:
    """Make a Deployment without pods yet, its mpa, and its load: half of what it asks for."""
    web = deployment(name, replicas=0, cpu=POD_CPU, memory=POD_MEMORY)
    await cluster.admin.send("POST", f"{_APPS}/deployments", web)
    autoscaler = _mpa(name)
    await cluster.admin.send("POST", path_of(autoscaler), autoscaler)
    cores = 0.185 * REPLICAS
    load = {"requests": 100 * cores} if number % 2 else {"cores": cores}
    await cluster.emulator.set_load("default", name, memory_bytes=640.0 * MIB, **load)


def _documents() -> list[Json]:
    types = [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m7i.xlarge"]},
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
    ]
    group = {"provider": "kwok", "size": {"min": 0, "max": 2000}, "requirements": types}
    everything = {"mode": "Auto", "workloads": {"namespaceSelector": {}}}
    advised = {"defaults": {"policy": {"updateMode": "Recommend"}}}
    return [_document("NodeGroup", GROUP, group), _document("ScalingPolicy", "everything", everything | advised)]


def _mpa(name: str) -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    spec = {"scaleTargetRef": target, "policy": {"updateMode": "Recommend"}}
    return _document("MultidimPodAutoscaler", name, spec)


def _document(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": "podnode.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _pod(owner: Json, number: int) -> Json:
    """Return pod *number* of the cluster as the ReplicaSet controller would make it, bound."""
    meta, template = owner["metadata"], owner["spec"]["template"]
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{meta['name']}-{number:05}",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [reference | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"] | {"nodeName": f"{GROUP}-{number * NODES // PODS}"},
    }


async def _has_sets(api: ApiServer) -> bool:
    listed = json.loads(await api.get(f"{_APPS}/replicasets"))["items"]
    return len(listed) == WORKLOADS


async def _all_run(api: ApiServer) -> bool:
    listed = json.loads(await api.get(f"{_APPS}/deployments"))["items"]
    return sum(int(each["status"].get("readyReplicas", 0)) for each in listed) == PODS


async def _at_once(calls: Iterable[Awaitable[object]]) -> None:
    """Await all *calls*, some at a time; each is made only when its turn comes."""
    left = iter(calls)

    async def work() -> None:
        for call in left:
            await call

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())
