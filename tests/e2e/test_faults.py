"""
The controller while what it stands on fails: the API server, its watches, etcd.

Each time the same must hold: what was asked for is there in the end, every
machine was bought once, and nothing was done on a view that is not whole.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec

from autoscaler.clock import SystemClock
from autoscaler.model.snapshot import ClusterSnapshot
from tests.cluster.cluster import Cluster
from tests.cluster.proxy import Asked, Pass, Refuse, Verdict, api_proxy, pass_all
from tests.cluster.waiting import eventually
from tests.e2e.controller_process import Controller, controller, release_in
from tests.e2e.faults import all_run, ask_for, check_bought_once, employ, last_seen, offer
from tests.e2e.shop import Shop
from tests.integration.running import free_port

CLOCK = SystemClock()
RETRY_AFTER = 2


async def test_the_api_server_restarts(cluster: Cluster, shop: Shop, release: str, tmp_path: Path) -> None:
    async def listed_anew() -> bool:
        return await _metric(running, "podnode_watch_restarts_total") > 0

    await offer(shop)
    await employ(shop, "web", 2)
    async with (
        release_in(cluster, release, mode="apply") as account,
        controller(cluster, account, tmp_path / "log") as running,
    ):
        await all_run(shop, web=2)
        await cluster.restart("kube-apiserver")
        await ask_for(shop, web=7)
        await all_run(shop, web=7)
        # What was seen last is older than all that the new server remembers (410): lists were read anew.
        await eventually(listed_anew, what="a list read anew")
        assert await running.process.stop() == 0
    await check_bought_once(shop, running.trail.writes(), pods=7)


async def test_answers_break_off_within_a_line(cluster: Cluster, shop: Shop, release: str, tmp_path: Path) -> None:
    random, cut, port = Random(0), set[str](), free_port()

    async def cut_once(asked: Asked) -> Verdict:
        """Break off the first answer of each path at an arbitrary byte."""
        if asked.is_write or "/leases/" in asked.path or asked.path in cut:
            return Pass()
        cut.add(asked.path)
        return Pass(cut_after=random.randint(1, 3000))

    await offer(shop)
    await employ(shop, "web", 2)
    async with (
        release_in(cluster, release, mode="apply") as account,
        api_proxy(cluster.layout, account.kubeconfig) as (proxy, through),
    ):
        proxy.rule = cut_once
        by_proxy = msgspec.structs.replace(account, kubeconfig=through)
        async with controller(cluster, by_proxy, tmp_path / "log", "--debug-port", str(port)) as running:
            # At first it is lists that break off.
            await all_run(shop, web=2)
            cut.clear()
            proxy.break_off()
            # Now it is watches that many events come by.
            await ask_for(shop, web=8)
            await all_run(shop, web=8)
            within = [bytes_ for bytes_ in proxy.cuts if bytes_]
            assert len(within) >= 10
            await _sees_all(shop, port)
            assert await running.process.stop() == 0
    await check_bought_once(shop, running.trail.writes(), pods=8)


async def test_a_server_that_has_too_much_to_do(cluster: Cluster, shop: Shop, release: str, tmp_path: Path) -> None:
    came: dict[str, list[float]] = {}

    async def refuse(asked: Asked) -> Verdict:
        """Refuse the first of all requests that are alike, but for the lease's."""
        times = came.setdefault(f"{'WATCH' if asked.is_watch else asked.method} {asked.path}", [])
        times.append(asked.at)
        if "/leases/" in asked.path or len(times) > 1:
            return Pass()
        return Refuse(status=429, headers={"Retry-After": str(RETRY_AFTER)})

    await offer(shop)
    await employ(shop, "web", 2)
    async with (
        release_in(cluster, release, mode="apply") as account,
        api_proxy(cluster.layout, account.kubeconfig) as (proxy, through),
    ):
        by_proxy = msgspec.structs.replace(account, kubeconfig=through)
        async with controller(cluster, by_proxy, tmp_path / "log") as running:
            await all_run(shop, web=2)
            proxy.rule = refuse
            proxy.break_off()
            await ask_for(shop, web=7)
            await all_run(shop, web=7)
            assert await running.process.stop() == 0
    again = {what: times[1] - times[0] for what, times in came.items() if len(times) > 1 and "/leases/" not in what}
    assert {"POST /api/v1/nodes", "WATCH /api/v1/pods"} < again.keys()
    assert len(again) >= 10
    assert min(again.values()) >= RETRY_AFTER
    await check_bought_once(shop, running.trail.writes(), pods=7)


async def test_etcd_stalls_while_machines_are_bought(
    cluster: Cluster, shop: Shop, release: str, tmp_path: Path
) -> None:
    def bought() -> list[Asked]:
        return [each for each in proxy.asked if each.method == "POST" and each.path == "/api/v1/nodes"]

    async def stall(asked: Asked) -> Verdict:
        """Let etcd stand still just before the second machine is written."""
        if len(bought()) == 2:
            cluster.pause("etcd")
        return Pass()

    async def lost() -> bool:
        return len(bought()) >= 2 and await _metric(running, "podnode_leader") == 0

    async def tried() -> bool:
        return any("/leases/" in each.path for each in proxy.since(since))

    await offer(shop)
    await employ(shop, "web", 7)
    async with (
        release_in(cluster, release, mode="apply") as account,
        api_proxy(cluster.layout, account.kubeconfig) as (proxy, through),
    ):
        proxy.rule = stall
        by_proxy = msgspec.structs.replace(account, kubeconfig=through)
        try:
            async with controller(cluster, by_proxy, tmp_path / "log") as running:
                await eventually(lost, what="the lead lost", within=20.0)
                since = CLOCK.monotonic()
                await eventually(tried, what="a call for the lease after that")
                others = [each for each in proxy.since(since) if each.is_write and "/leases/" not in each.path]
                assert others == []
                proxy.rule = pass_all
                cluster.resume("etcd")
                await all_run(shop, web=7)
                assert await running.process.stop() == 0
        finally:
            cluster.resume("etcd")
    await check_bought_once(shop, running.trail.writes(), pods=7)


async def _sees_all(shop: Shop, debug_port: int) -> None:
    """Wait until what is decided on has the shop's pods and machines as the API server has them."""
    pods = {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in await shop.pods()}

    async def seen() -> bool:
        snapshot: ClusterSnapshot = await last_seen(debug_port)
        ours = {pod.name: pod.node for pod in snapshot.pods if pod.namespace == shop.name}
        return ours == pods and {node.name for node in snapshot.nodes} >= set(await shop.nodes())

    await eventually(seen, what="a view equal to the API server's")


async def _metric(running: Controller, name: str) -> float:
    _, text = await running.process.get("/metrics")
    values = [line.rpartition(" ")[2] for line in text.decode().splitlines() if line.startswith(f"{name} ")]
    return float(values[0])
