"""Consolidation on real components: a drain waits for the PodDisruptionBudget, and goes on when it is raised."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path

from autoscaler.kube.client import MERGE
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment
from tests.cluster.waiting import eventually
from tests.e2e.controller_process import Controller, Entry, controller, names, release_in, what
from tests.e2e.shop import Shop
from tests.integration.running import command

_START_SECONDS = 3


async def test_a_drain_waits_for_the_disruption_budget(
    cluster: Cluster, shop: Shop, release: str, tmp_path: Path
) -> None:
    budget = f"/apis/policy/v1/namespaces/{shop.name}/poddisruptionbudgets"
    nodes, moves = {"consolidateAfter": "2s"}, {"budgets": [{"nodes": "100%", "pods": "100"}]}
    await shop.govern(mode="Auto", types=["m7i.xlarge"], nodes=nodes, disruption=moves)
    spec = {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}}
    await cluster.admin.send("POST", budget, {"metadata": {"name": "web"}, "spec": spec})
    slow = {"podnode.io/start-seconds": str(_START_SECONDS)}
    await shop.run(deployment("web", replicas=8, cpu="900m", annotations=slow, **shop.placement))
    async with (
        release_in(cluster, release, mode="apply") as account,
        controller(cluster, account, tmp_path / "log") as acting,
    ):
        await shop.all_ready("web", pods=8, within=60.0)
        assert len(await shop.nodes()) == 2
        # Now all would fit on one machine, but no pod may be moved.
        path = f"/apis/apps/v1/namespaces/{shop.name}/deployments/web"
        await cluster.admin.send("PATCH", path, {"spec": {"replicas": 4}}, content_type=MERGE)
        await shop.all_ready("web", pods=4)
        await considers_it(acting)
        assert await forbids(cluster, await shop.nodes()) == "PodDisruptionBudget"
        assert not [entry for entry in acting.trail.writes() if what(entry) == ("create", "pods/eviction")]
        await cluster.admin.send("PATCH", f"{budget}/web", {"spec": {"maxUnavailable": 1}}, content_type=MERGE)

        async def is_alone() -> bool:
            return len(await shop.nodes()) == 1

        await eventually(is_alone, what="one machine left", within=90.0, every=0.2)
        assert len(await shop.all_ready("web")) == 4
        assert await acting.process.stop() == 0
    one_at_a_time(acting.trail.writes())
    assert acting.process.events("action", result="failed") == []


async def considers_it(acting: Controller) -> None:
    """Wait for a round of consolidation that is held from now on."""
    before = (await acting.decision()).state.last_consolidation_at

    async def look() -> bool:
        return (await acting.decision()).state.last_consolidation_at > before

    await eventually(look, what="a round of consolidation", within=60.0, every=0.2)


async def forbids(cluster: Cluster, nodes: list[str]) -> str:
    """Return the first word of what `explain` says keeps a node, the same for all *nodes*."""
    flags = ("--live", "--kubeconfig", str(cluster.kubeconfig), "--provider", "kwok")
    found = set()
    for node in nodes:
        code, text = await command("explain", "node", node, *flags, "--prometheus-url", cluster.prometheus_url)
        assert code == 0, text
        found |= {line.split(": ", 1)[1].split()[0] for line in text.splitlines() if "NodeBlocked" in line}
    (word,) = found
    return word


def one_at_a_time(writes: list[Entry]) -> None:
    """Check that the next eviction was asked for only when the pod before was Ready again, and the node went last."""
    evictions = [entry for entry in writes if what(entry) == ("create", "pods/eviction")]
    # Which four of the eight pods stayed was not ours to say: two on each machine nearly always, else three and one.
    assert [entry["responseStatus"]["code"] for entry in evictions] in ([201, 201], [201])
    evicted = [entry["objectRef"]["name"] for entry in evictions]
    times = [datetime.fromisoformat(entry["requestReceivedTimestamp"]) for entry in evictions]
    assert all((second - first).total_seconds() >= _START_SECONDS for first, second in pairwise(times))
    (gone,) = names(writes, "delete", "nodes")
    order = [what(entry) for entry in writes if entry["objectRef"].get("name") in (gone, *evicted)]
    cordoned, moved, removed = ("patch", "nodes"), ("create", "pods/eviction"), ("delete", "nodes")
    assert order[-len(evicted) - 2 :] == [cordoned, *[moved] * len(evicted), removed]
