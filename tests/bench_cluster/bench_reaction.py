"""
From pods that fit nowhere to the provider's call, and what the controller costs, with 1,000 nodes and 10,000 pods.

The real command runs on the real components. Both times are the API server's
own, from its audit log: when the scheduler said that the last pod of a burst
fits nowhere, and when the first node was asked for. The second of quiet that
a burst is waited out is part of it.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from autoscaler.clock import SystemClock
from autoscaler.kube.client import ApiServer
from tests.cluster.cluster import Cluster
from tests.cluster.control_plane import Options
from tests.cluster.objects import deployment, node
from tests.cluster.waiting import eventually
from tests.integration.crds import install, path_of
from tests.integration.running import USER, Running, autoscaler_run

NODES, WORKLOADS, REPLICAS = 1000, 100, 100
ROUNDS, BURST = 30, 10
IDLE_SECONDS = 60.0
LIMIT_P99_SECONDS, LIMIT_CPU_SHARE, LIMIT_RSS_MIB = 2.0, 0.05, 250.0
AT_ONCE = 32
CLOCK = SystemClock()
LABEL = {"podnode.io/test": "bought"}
Figures = list[dict[str, object]]


def run() -> Figures:
    """Return the figures; takes about six minutes."""
    return asyncio.run(_run())


async def _run() -> Figures:
    cluster = await Cluster.up(name="bench", options=Options(metrics=False))
    try:
        async with cluster.connected():
            await _fill(cluster.admin)
            with TemporaryDirectory() as folder:
                flags = ("--provider", "kwok", "--actuate", "apply", "--metrics-source", "metrics-api")
                async with autoscaler_run(cluster, Path(folder) / "log", *flags, period="15s") as running:
                    await running.logged("cycle", count=2, within=120.0)
                    cost = await _cost(running)
                    waits = [await _reaction(cluster, number) for number in range(ROUNDS)]
                    lag = await _lag(running)
    finally:
        cluster.close()
    p50, p99 = (float(np.quantile(waits, share)) for share in (0.5, 0.99))
    return [
        _row("reaction_p50_1000_nodes", p50, "s", None),
        _row("reaction_p99_1000_nodes", p99, "s", LIMIT_P99_SECONDS),
        _row("controller_idle_1000_nodes", cost[0], "of a core", LIMIT_CPU_SHARE),
        _row("controller_rss_1000_nodes", cost[1], "MiB", LIMIT_RSS_MIB),
        _row("controller_loop_lag_over_50_ms", lag, "of samples", None),
    ]


async def _fill(api: ApiServer) -> None:
    """Make the nodes, and Deployments whose pods fill half of them."""
    await install(api)
    for document in _documents():
        await api.send("POST", path_of(document), document)
    turns = asyncio.Semaphore(AT_ONCE)

    async def create(path: str, body: dict[str, Any]) -> None:
        async with turns:
            await api.send("POST", path, body)

    async with asyncio.TaskGroup() as group:
        for number in range(NODES):
            group.create_task(create("/api/v1/nodes", node(f"node-{number:04}")))
    for number in range(WORKLOADS):
        web = deployment(f"web-{number:03}", replicas=REPLICAS, cpu="200m", memory="500Mi")
        await create("/apis/apps/v1/namespaces/default/deployments", web)

    async def all_run() -> bool:
        listed = json.loads(await api.get("/apis/apps/v1/namespaces/default/deployments"))["items"]
        ready = [int(each["status"].get("readyReplicas", 0)) for each in listed]
        return sum(ready) == WORKLOADS * REPLICAS

    await eventually(all_run, what="all pods Ready", within=900.0, every=2.0)


def _documents() -> list[dict[str, Any]]:
    version = "podnode.io/v1alpha1"
    types = [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m7i.xlarge"]}]
    group = {"provider": "kwok", "size": {"min": 0, "max": 1000}, "requirements": types, "template": {"labels": LABEL}}
    policy = {
        "mode": "Auto",
        "workloads": {"namespaceSelector": {}},
        "defaults": {"policy": {"updateMode": "Recommend"}},
    }
    return [
        {"apiVersion": version, "kind": "NodeGroup", "metadata": {"name": "bought"}, "spec": group},
        {"apiVersion": version, "kind": "ScalingPolicy", "metadata": {"name": "everything"}, "spec": policy},
    ]


async def _cost(running: Running) -> tuple[float, float]:
    """Return the share of a core that an idle minute takes, and the resident memory in MiB."""
    before = await _process(running)
    await CLOCK.sleep(IDLE_SECONDS)
    after = await _process(running)
    return (after["cpu"] - before["cpu"]) / IDLE_SECONDS, after["rss"] / 2**20


async def _process(running: Running) -> dict[str, float]:
    values = await _metrics(running)
    return {"cpu": values["process_cpu_seconds_total"], "rss": values["process_resident_memory_bytes"]}


async def _lag(running: Running) -> float:
    values = await _metrics(running)
    name = "podnode_event_loop_lag_seconds"
    return 1.0 - values[f'{name}_bucket{{le="0.05"}}'] / values[f"{name}_count"]


async def _metrics(running: Running) -> dict[str, float]:
    text = (await running.get("/metrics"))[1].decode()
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


async def _reaction(cluster: Cluster, number: int) -> float:
    """Create pods that need nodes of the group, and return the seconds until it was asked for some."""
    api, seen = cluster.admin, cluster.audit_log.stat().st_size
    name = f"burst-{number:02}"
    burst = deployment(name, replicas=BURST, cpu="3", nodeSelector=LABEL)
    await api.send("POST", "/apis/apps/v1/namespaces/default/deployments", burst)

    async def all_placed() -> bool:
        found = json.loads(await api.get("/api/v1/namespaces/default/pods", params={"labelSelector": f"app={name}"}))
        return sum("nodeName" in pod["spec"] for pod in found["items"]) == BURST

    await eventually(all_placed, what=f"the pods of {name} on nodes", within=90.0, every=0.5)
    entries = _entries(cluster.audit_log, seen)
    refused = [
        entry
        for entry in entries
        if entry["user"]["username"].endswith("kube-scheduler")
        and entry["objectRef"].get("subresource") == "status"
        and entry["objectRef"]["name"].startswith(name)
    ]
    asked = [
        entry
        for entry in entries
        if entry["user"]["username"] == USER and entry["verb"] == "create" and entry["objectRef"]["resource"] == "nodes"
    ]
    first = min(_received(entry) for entry in asked)
    # Those that were refused after the nodes were asked for were not what they were asked for.
    return first - max(_received(entry) for entry in refused if _received(entry) <= first)


def _entries(log: Path, start: int) -> list[dict[str, Any]]:
    with log.open("rb") as file:
        file.seek(start)
        return [json.loads(line) for line in file.read().splitlines() if b'"objectRef"' in line]


def _received(entry: dict[str, Any]) -> float:
    return datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp()


def _row(name: str, value: float, unit: str, limit: float | None) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "limit": limit, "ok": limit is None or value <= limit}
