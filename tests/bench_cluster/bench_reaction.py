"""
From pods that fit nowhere to the provider's call, with 1,000 nodes and 10,000 pods.

The real command on the real components. Both times are the API server's own,
from its audit log: when the scheduler's word that the last pod of a burst fits
nowhere was stored, and when the first node was. The second of quiet that a
burst is waited out is part of it; `since_first` counts from its first pod.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from tests.bench_cluster.figures import Figures, figure, load_average
from tests.bench_cluster.full_cluster import CLOCK, full_cluster
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment
from tests.cluster.waiting import eventually
from tests.integration.running import USER, Running

BURSTS = (1, 1, 2, 5, 10)
ROUNDS = 40
PAUSE_SECONDS = 8.0
"""At most, at random, so that bursts meet turns of the period at every point."""
LIMIT_P99_SECONDS = 2.0
PHASES = ("cluster", "metrics", "decide")


class Reaction(NamedTuple):
    """Seconds to the provider's call, from the last and the first pod of a burst, and of the turn's phases."""

    since_last: float
    since_first: float
    phases: dict[str, float]


def run() -> Figures:
    """Return the figures; takes about ten minutes."""
    return asyncio.run(_run())


async def _run() -> Figures:
    random = Random(1)
    seen: list[Reaction] = []
    async with full_cluster("bench-reaction") as (cluster, running):
        for number in range(ROUNDS):
            await CLOCK.sleep(random.uniform(0.0, PAUSE_SECONDS))
            seen.append(await _reaction(cluster, running, number))
    last, first = ([getattr(each, name) for each in seen] for name in ("since_last", "since_first"))
    phases = [
        figure(f"reaction_{name}", float(np.median([each.phases[name] for each in seen])), "s, median", None)
        for name in PHASES
    ]
    return [
        figure("reaction_p50_1000_nodes", float(np.quantile(last, 0.5)), "s", None),
        figure("reaction_p99_1000_nodes", float(np.quantile(last, 0.99)), "s", LIMIT_P99_SECONDS),
        figure("reaction_worst_1000_nodes", max(last), "s", None),
        figure("reaction_since_first_p99", float(np.quantile(first, 0.99)), "s", None),
        *phases,
        figure("reaction_machine_load", load_average(), "runnable", None),
    ]


async def _reaction(cluster: Cluster, running: Running, number: int) -> Reaction:
    """Create pods that fit on no node, wait until they have one, and see how it went."""
    api, start, replicas = cluster.admin, cluster.audit_log.stat().st_size, BURSTS[number % len(BURSTS)]
    cycles, name = len(running.events("cycle")), f"burst-{number:02}"
    burst = deployment(name, replicas=replicas, cpu="3")
    await api.send("POST", "/apis/apps/v1/namespaces/default/deployments", burst)

    async def all_placed() -> bool:
        found = json.loads(await api.get("/api/v1/namespaces/default/pods", params={"labelSelector": f"app={name}"}))
        return sum("nodeName" in pod["spec"] for pod in found["items"]) == replicas

    await eventually(all_placed, what=f"the pods of {name} on nodes", within=90.0, every=0.5)
    entries = _entries(cluster.audit_log, start)
    bought = min(_stored(entry) for entry in entries if _is_purchase(entry))
    refused = [_stored(entry) for entry in entries if _is_refusal(entry, name)]
    # Those that were refused after the nodes were asked for were not what they were asked for.
    before = [at for at in refused if at <= bought]
    cycle = next(line for line in running.events("cycle")[cycles:] if line["actions"])
    return Reaction(bought - max(before), bought - min(before), cycle["seconds"])


def _entries(log: Path, start: int) -> list[dict[str, Any]]:
    with log.open("rb") as file:
        file.seek(start)
        return [json.loads(line) for line in file.read().splitlines() if b'"objectRef"' in line]


def _is_purchase(entry: dict[str, Any]) -> bool:
    return _who_what(entry) == (USER, "create", "nodes")


def _is_refusal(entry: dict[str, Any], name: str) -> bool:
    what = entry["objectRef"]
    is_word = _who_what(entry) == ("system:kube-scheduler", "patch", "pods") and what.get("subresource") == "status"
    return is_word and str(what["name"]).startswith(f"{name}-")


def _who_what(entry: dict[str, Any]) -> tuple[str, str, str]:
    return entry["user"]["username"], entry["verb"], entry["objectRef"]["resource"]


def _stored(entry: dict[str, Any]) -> float:
    return datetime.fromisoformat(entry["stageTimestamp"]).timestamp()


if __name__ == "__main__":
    for row in run():
        print(json.dumps(row))
