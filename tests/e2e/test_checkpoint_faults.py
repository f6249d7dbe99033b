"""
The controller killed at ten points, between any two of its writes; and a checkpoint that was damaged.

Every checkpoint that is found is whole, each next process goes on from it, and
in the end all that was asked for is there, bought once.
"""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from random import Random

import msgspec

from autoscaler.kube.checkpoints import ConfigMapCheckpoint
from autoscaler.kube.client import MERGE
from autoscaler.model.state import DecisionState
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.telemetry.checkpoint import decode_checkpoint
from tests.cluster.cluster import Cluster
from tests.cluster.proxy import Asked, Pass, Refuse, Verdict, api_proxy, pass_all
from tests.e2e.controller_process import Entry, controller, release_in
from tests.e2e.faults import all_run, ask_for, check_bought_once, employ, machines_for, offer
from tests.e2e.shop import Shop

WORKLOADS = ("api", "cart", "web")
KILLS, WRITES = 10, len(WORKLOADS) + 2
"""How often it is killed, and before which write at the latest: a pod more for each takes a machine and a save."""
_TALK = ("/status", "/events", "/selfsubjectaccessreviews")
"""Writes that change nothing."""
ALONE = ("--no-leader-elect",)
"""Only one process runs at a time, and the next need not wait for a lease to run out."""


class Deadly:
    """Lets *number* writes *to* somewhere through, and holds the next, before or after the server has it."""

    def __init__(self, number: int, *, to: str, is_written: bool) -> None:
        self.reached = asyncio.Event()
        self._left = number
        self._to = to
        self._is_written = is_written

    async def __call__(self, asked: Asked) -> Verdict:
        if not asked.is_write or self._to not in asked.path or any(each in asked.path for each in _TALK):
            return Pass()
        self._left -= 1
        if self._left >= 0:
            return Pass()
        if self._is_written:
            return Pass(then=self._wait_for_the_end)
        await self._wait_for_the_end()
        return Refuse(status=500)

    async def _wait_for_the_end(self) -> None:
        self.reached.set()
        await asyncio.Event().wait()


async def test_killed_between_any_two_writes(cluster: Cluster, shop: Shop, release: str, tmp_path: Path) -> None:
    random, written = Random(7), list[Entry]()
    before = DecisionState()
    await offer(shop)
    for name in WORKLOADS:
        await employ(shop, name, 1)
    async with (
        release_in(cluster, release, mode="apply") as account,
        api_proxy(cluster.layout, account.kubeconfig) as (proxy, through),
    ):
        by_proxy = msgspec.structs.replace(account, kubeconfig=through)
        for kill in range(KILLS):
            await ask_for(shop, **dict.fromkeys(WORKLOADS, 2 + kill))
            # Every other time it is the checkpoint's own write: in the order of writes that is the last.
            number, to = (random.randrange(WRITES), "/") if kill % 2 else (0, "/configmaps")
            deadly = proxy.rule = Deadly(number, to=to, is_written=random.random() < 0.5)
            async with controller(cluster, by_proxy, tmp_path / f"log-{kill}", *ALONE) as running:
                await asyncio.wait_for(deadly.reached.wait(), 60.0)
                await running.process.kill()
            written += running.trail.writes()
            assert running.process.events("checkpoint not usable, starting cold") == []
            assert len(running.process.events("checkpoint restored")) == (before != DecisionState())
            after = await _saved(cluster, release)
            # What was saved before is kept, or replaced by what is newer.
            assert after.last_scale_up_at >= before.last_scale_up_at
            before = after
        proxy.rule = pass_all
        replicas = 1 + KILLS
        async with controller(cluster, by_proxy, tmp_path / "log", *ALONE) as running:
            await running.process.logged("cycle")
            await all_run(shop, **dict.fromkeys(WORKLOADS, replicas))
            assert await running.process.stop() == 0
            restored = running.process.events("checkpoint restored")
        written += running.trail.writes()
    assert restored
    await check_bought_once(shop, written, pods=replicas * len(WORKLOADS))


async def test_a_damaged_checkpoint_is_told_and_replaced(
    cluster: Cluster, shop: Shop, release: str, tmp_path: Path
) -> None:
    await offer(shop)
    await employ(shop, "web", 2)
    async with release_in(cluster, release, mode="apply") as account:
        async with controller(cluster, account, tmp_path / "first", *ALONE) as running:
            await all_run(shop, web=2)
            assert await running.process.stop() == 0
        await _damage(cluster, release)
        async with controller(cluster, account, tmp_path / "second", *ALONE) as running:
            (told,) = await running.process.logged("checkpoint not usable, starting cold")
            assert "data.digest" in told["reason"]
            await ask_for(shop, web=4)
            await all_run(shop, web=4)
            assert await running.process.stop() == 0
        assert await _saved(cluster, release) != DecisionState()
    assert len(await shop.nodes()) == machines_for(4)


async def _saved(cluster: Cluster, release: str) -> DecisionState:
    """Return what the next process will find; an empty state where nothing was saved."""
    kept = ConfigMapCheckpoint(cluster.admin, name=release, namespace=release)
    data = await kept.load()
    if data is None:
        return DecisionState()
    return decode_checkpoint(data, where=f"ConfigMap {release}", engines=BUILT_IN).state


async def _damage(cluster: Cluster, release: str) -> None:
    path = f"/api/v1/namespaces/{release}/configmaps/{release}"
    payload = base64.b64encode(b"\x00" * 100).decode()
    await cluster.admin.send("PATCH", path, {"binaryData": {"payload": payload}}, content_type=MERGE)
