"""A flash crowd on real components: the controller tells first, and then serves it with pods and machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.cluster.cluster import Cluster
from tests.cluster.scenario import create_workloads
from tests.cluster.waiting import eventually
from tests.e2e.controller_process import (
    ASKED,
    KEPT,
    TOLD,
    Controller,
    controller,
    names,
    release_in,
    what,
)
from tests.e2e.shop import Shop

FLASH_CROWD = Path(__file__).with_name("flash-crowd.yaml")
MORNING, SPEED = 13.5 * 3600, 720.0
"""Seconds of the trace: before the crowd comes; two hours later it is three times as large, and gone after five."""
ACTED = {
    ("patch", "deployments/scale"),
    ("create", "nodes"),
    ("patch", "nodes"),
    ("delete", "nodes"),
    ("create", "pods/eviction"),
}
"""What serving it takes."""
EVERYTHING_AT_ONCE = {"budgets": [{"nodes": "100%", "pods": "100"}]}


async def test_a_flash_crowd(cluster: Cluster, shop: Shop, release: str, tmp_path: Path) -> None:
    file = await open_for_the_crowd(cluster, shop, tmp_path)
    async with release_in(cluster, release) as account, controller(cluster, account, tmp_path / "record") as telling:
        status = await wants_more(shop, "web")
        assert (await row(shop, "web"))[:3] == ["web", "web", "Recommend"]
        assert status["mode"] == "Recommend"
        assert await telling.process.stop() == 0
    assert {what(entry) for entry in telling.trail.writes()} <= TOLD | ASKED
    async with (
        release_in(cluster, release, mode="apply") as account,
        controller(cluster, account, tmp_path / "apply") as acting,
    ):
        # It may act now, but the policy lets it only tell.
        await acting.process.logged("cycle", count=3)
        assert {what(entry) for entry in acting.trail.writes()} <= TOLD | ASKED | KEPT
        before = await shop.replicas("web")
        await cluster.emulator.play(file, speed=SPEED, begin_seconds=MORNING)
        await shop.set_mode("Auto")
        await the_crowd_is_served(shop, acting, before=before)
        await the_crowd_goes_home(cluster, shop)
        assert await acting.process.stop() == 0
    writes = acting.trail.writes()
    assert {what(entry) for entry in writes} <= TOLD | ASKED | KEPT | ACTED
    assert set(names(writes, "delete", "nodes")) == set(names(writes, "create", "nodes"))
    assert acting.process.events("action", result="failed") == []


async def open_for_the_crowd(cluster: Cluster, shop: Shop, folder: Path) -> str:
    """Let the crowd's services run under the load before it, on a machine of their own; return the scenario's file."""
    file = scenario_for(shop, folder)
    patience = {"consolidateAfter": "2s"}
    await shop.govern(mode="Recommend", types=["c7i.xlarge"], nodes=patience, disruption=EVERYTHING_AT_ONCE)
    await shop.add_node("first", cpu="8", memory="32Gi")
    quick = {"down_window_seconds": 5, "reactive_seconds": 5, "size_memory": False}
    await shop.autoscale("web", policy={"params": quick})
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    await shop.autoscale(
        "scores",
        goals={"metrics": [{"type": "Resource", "resource": cpu}]},
        constraints={"global": {"minReplicas": 2, "maxReplicas": 20}},
        policy={"engine": "hpa", "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}},
    )
    await create_workloads(cluster.admin, file, speed=SPEED)
    await cluster.emulator.play(file, speed=1.0, begin_seconds=MORNING)
    return file


async def the_crowd_is_served(shop: Shop, acting: Controller, *, before: int) -> None:
    """Wait until there are four times as many pods, all Ready, and many of them on machines that were bought."""
    pods = await shop.all_ready("web", pods=4 * before, within=90.0)
    await shop.all_ready("scores", pods=3)
    bought = names(acting.trail.writes(), "create", "nodes")
    assert len({pod["spec"]["nodeName"] for pod in pods} & set(bought)) >= 3

    async def is_told() -> bool:
        status, replicas = await shop.status("web"), await shop.replicas("web")
        group = (await shop.get(f"/apis/podnode.io/v1alpha1/nodegroups/{shop.name}"))["status"]["nodes"]
        shown = status["replicas"]["current"] == replicas and group["current"] >= 3
        return shown and await tells(shop, "ScaledUp", ("web", "scores"))

    await eventually(is_told, what="status and events of web and scores")
    shown = await row(shop, "web")
    assert shown[2] == "Auto"
    assert int(shown[3]) > before
    assert float(shown[7]) > 0.0


async def the_crowd_goes_home(cluster: Cluster, shop: Shop) -> None:
    """Let nearly no load be left, and wait until what is left needs none of the machines that were bought."""
    await cluster.emulator.set_load(shop.name, "web", requests=10, cores_per_request=0.02)
    await cluster.emulator.set_load(shop.name, "scores", requests=5, cores_per_request=0.015)

    async def is_alone() -> list[str]:
        found = await shop.nodes()
        return [] if len(found) > 1 else found

    assert await eventually(is_alone, what="one machine left", within=120.0, every=0.3) == [f"{shop.name}-first"]
    await shop.all_ready("web")
    assert await shop.replicas("web") <= 2
    assert await tells(shop, "ScaledDown", ("web", "scores"))


async def tells(shop: Shop, reason: str, workloads: tuple[str, ...]) -> bool:
    """Return whether there is an event of this reason on the mpa of each workload."""
    return set(workloads) <= {event["regarding"]["name"] for event in await shop.events(reason)}


async def wants_more(shop: Shop, workload: str) -> dict[str, Any]:
    """Wait until the mpa shows that it wants more pods than there are."""

    async def look() -> dict[str, Any]:
        status = await shop.status(workload)
        count = status.get("replicas", {})
        return status if count.get("desired", 0) > count.get("current", 0) else {}

    return await eventually(look, what=f"{workload} to want more", within=60.0, every=0.2)


async def row(shop: Shop, workload: str) -> list[str]:
    """Return what `kubectl get mpa` shows of one."""
    head, *rows = (line.split() for line in (await shop.kubectl("get", "mpa")).splitlines())
    assert head == ["NAME", "TARGET", "MODE", "NOW", "WANTED", "CPU", "MEMORY", "USD/DAY", "REASON", "AGE"]
    (found,) = [each for each in rows if each[0] == workload]
    assert len(found) == len(head), "every column has its value"
    return found


def scenario_for(shop: Shop, folder: Path) -> str:
    """Write the flash crowd with the shop's namespace and machines; return the file's name."""
    document = yaml.safe_load(FLASH_CROWD.read_text(encoding="utf-8"))
    for workload in document["workloads"]:
        workload |= {"namespace": shop.name, "placement": shop.placement}
    file = folder / FLASH_CROWD.name
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return str(file)
