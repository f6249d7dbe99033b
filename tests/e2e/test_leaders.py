"""
Two controllers, of which one leads: frozen past its lease, and killed while it acts.

Whoever leads last must find and finish what was begun; nothing is done twice,
and who was frozen writes nothing once it goes on.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec

from tests.cluster.cluster import Cluster
from tests.cluster.proxy import Asked, Pass, Verdict, api_proxy
from tests.deploy.installed import Installed
from tests.e2e.controller_process import Entry, controller, release_in, what
from tests.e2e.faults import all_run, ask_for, check_bought_once, employ, offer, second_account
from tests.e2e.shop import Shop

LEASE_SECONDS = 15.0
PERIOD = "5s"
"""Seldom enough that pods that are created together are seen together, and one purchase is for all."""
WORKLOADS = ("api", "cart", "search", "web")


class Interrupted:
    """Holds the answer to the *number*th write of a kind until `go_on`; `reached` is set once the server wrote it."""

    def __init__(self, number: int, *, method: str, ending: str) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self._left = number
        self._method, self._ending = method, ending

    async def __call__(self, asked: Asked) -> Verdict:
        if asked.method == self._method and asked.path.endswith(self._ending):
            self._left -= 1
            if self._left == 0:
                return Pass(then=self._hold)
        return Pass()

    async def _hold(self) -> None:
        self.reached.set()
        await self.go_on.wait()


async def test_of_two_leaders_one_acts(cluster: Cluster, shop: Shop, release: str, tmp_path: Path) -> None:
    await offer(shop)
    async with (
        release_in(cluster, release, mode="apply") as account,
        api_proxy(cluster.layout, account.kubeconfig) as (first_proxy, first_path),
    ):
        other = await second_account(cluster, account, "other")
        async with api_proxy(cluster.layout, other.kubeconfig) as (second_proxy, second_path):
            buying = first_proxy.rule = Interrupted(2, method="POST", ending="/nodes")
            async with controller(cluster, _by(account, first_path), tmp_path / "first", period=PERIOD) as first:
                await first.process.logged("leading")
                async with controller(cluster, _by(other, second_path), tmp_path / "second", period=PERIOD) as second:
                    await second.process.logged("standing by: another process leads")
                    for name in WORKLOADS:
                        await employ(shop, name, 2)
                    await asyncio.wait_for(buying.reached.wait(), 60.0)
                    # Frozen in a purchase of four: two machines are there, the second's answer is on its way.
                    first.process.pause()
                    await second.process.logged("leading", within=LEASE_SECONDS + 30.0)
                    acquired = await _acquired(cluster, release)
                    await all_run(shop, **dict.fromkeys(WORKLOADS, 2))
                    first.process.resume()
                    buying.go_on.set()
                    await first.process.logged("no longer leading, standing by")
                    scaling = second_proxy.rule = Interrupted(2, method="PATCH", ending="/scale")
                    await ask_for(shop, **dict.fromkeys(WORKLOADS, 3))
                    await asyncio.wait_for(scaling.reached.wait(), 30.0)
                    await second.process.kill()
                    ended = await _renewed(cluster, release)
                await first.process.logged("leading", count=2, within=LEASE_SECONDS + 30.0)
                await all_run(shop, **dict.fromkeys(WORKLOADS, 3))
                assert await first.process.stop() == 0
    between = [entry for entry in first.trail.writes() if acquired <= _begun(entry) <= ended]
    assert {what(entry) for entry in between} <= {("update", "leases")}
    assert all(entry["responseStatus"]["code"] == 409 for entry in between)
    await check_bought_once(shop, first.trail.writes() + second.trail.writes(), pods=3 * len(WORKLOADS))


def _by(account: Installed, kubeconfig: Path) -> Installed:
    return msgspec.structs.replace(account, kubeconfig=kubeconfig)


def _begun(entry: Entry) -> str:
    """Return when a request came, as text that sorts by time."""
    begun: str = entry["requestReceivedTimestamp"]
    return begun


async def _lease(cluster: Cluster, release: str) -> dict[str, Any]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{release}/leases/{release}"
    spec: dict[str, Any] = json.loads(await cluster.admin.get(path))["spec"]
    return spec


async def _acquired(cluster: Cluster, release: str) -> str:
    return str((await _lease(cluster, release))["acquireTime"])


async def _renewed(cluster: Cluster, release: str) -> str:
    return str((await _lease(cluster, release))["renewTime"])
