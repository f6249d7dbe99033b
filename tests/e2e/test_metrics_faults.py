"""
The controller while Prometheus is down, slow, or lies.

What is not known is missing, and nothing shrinks on missing data, however
little there is to do. A zero is an answer: it is believed, within bounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cluster.cluster import Cluster
from tests.cluster.proxy import Proxy, pass_all, prometheus_proxy
from tests.cluster.waiting import eventually
from tests.e2e.controller_process import Controller, controller, release_in
from tests.e2e.faults import CORES_A_POD, CPU_GOAL, all_run, employ, offer
from tests.e2e.lies import LIES, amounts
from tests.e2e.shop import Shop

BUSY, LEAST = 6, 2
STEP = {"type": "Pods", "value": 1, "periodSeconds": 2}
CALM_SECONDS = 4
ENGINES: dict[str, dict[str, Any]] = {
    "web": {
        "goals": CPU_GOAL,
        "policy": {
            "engine": "hpa",
            "params": {"cpu_initialization_period_seconds": 0, "initial_readiness_delay_seconds": 0},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": CALM_SECONDS, "policies": [STEP]}},
        },
    },
    "api": {
        "policy": {
            "engine": "joint",
            "params": {
                "down_window_seconds": CALM_SECONDS,
                "reactive_seconds": 1,
                "size_cpu": False,
                "size_memory": False,
            },
        },
    },
}
"""Two engines, both quick to shrink."""
OUTAGE_CYCLES = 20
"""Ten minutes to a policy whose metrics are stale after 90 s are 20 s to one of 3 s."""


async def test_nothing_shrinks_on_missing_data(cluster: Cluster, shop: Shop, release: str, tmp_path: Path) -> None:
    flags = ("--prometheus-window", "4s", "--prometheus-timeout", "1s")
    await offer(shop, stale_after="3s")
    for name, spec in ENGINES.items():
        await employ(shop, name, LEAST, constraints={"global": {"minReplicas": LEAST, "maxReplicas": BUSY}}, **spec)
    async with prometheus_proxy(cluster.layout) as proxy, release_in(cluster, release, mode="apply") as account:
        by_proxy = ("--prometheus-url", proxy.url, *flags)
        async with controller(cluster, account, tmp_path / "log", *by_proxy) as running:
            await _load(shop, BUSY * 2)
            await all_run(shop, **dict.fromkeys(ENGINES, BUSY))
            await _zeros_are_believed_within_bounds(shop, proxy, running)
            lies = iter(LIES)
            proxy.rule = next(lies).rule
            await _load(shop, 0)
            for lie in LIES:
                proxy.rule = lie.rule
                await _told(running, lie.said)
                assert await _replicas(shop) == dict.fromkeys(ENGINES, BUSY), lie.name
            await cluster.stop("prometheus")
            proxy.rule = pass_all
            try:
                cycles = len(running.process.events("cycle"))
                await running.process.logged("cycle", count=cycles + OUTAGE_CYCLES, within=60.0)
                assert await _replicas(shop) == dict.fromkeys(ENGINES, BUSY)
            finally:
                await cluster.start("prometheus")
            # That there is little to do is the truth: once it is known, all shrink.
            await all_run(shop, **dict.fromkeys(ENGINES, LEAST))
            assert await running.process.stop() == 0


async def _zeros_are_believed_within_bounds(shop: Shop, proxy: Proxy, running: Controller) -> None:
    """
    Let Prometheus say that nothing is used by anybody.

    Nothing tells that from the truth. What limits the harm is what limits every
    fall: stabilisation, so that a lie must last; the step; the minimum. And what
    is too small after all grows as soon as the truth is back.
    """
    began = len(running.process.lines)
    proxy.rule = amounts("0")

    async def fell() -> bool:
        return (await _replicas(shop))["web"] <= BUSY - 2

    await eventually(fell, what="web to fall twice")
    proxy.rule = pass_all
    await all_run(shop, **dict.fromkeys(ENGINES, BUSY))
    falls = [
        line
        for line in running.process.lines[began:]
        if line.get("action") == "SetReplicas" and line["replicas"] < line["expected"]
    ]
    steps = [line["expected"] - line["replicas"] for line in falls if line["workload"].endswith("/web")]
    assert len(steps) >= 2
    assert set(steps) == {STEP["value"]}
    assert min(line["replicas"] for line in falls) >= LEAST


async def _load(shop: Shop, pods: int) -> None:
    """Give each workload work for so many pods."""
    for name in ENGINES:
        await shop.cluster.emulator.set_load(shop.name, name, cores=pods * CORES_A_POD)


async def _replicas(shop: Shop) -> dict[str, int]:
    return {name: await shop.replicas(name) for name in ENGINES}


async def _told(running: Controller, said: str) -> None:
    """Wait until a whole cycle has gone by on what is wrong now, and it says so."""
    begun = len(running.process.events("cycle"))

    async def look() -> bool:
        cycles = running.process.events("cycle")
        _, text = await running.process.get("/metrics")
        named = f'podnode_readings_missing{{reason="{said}"}}' in text.decode()
        # The first may have begun before.
        return len(cycles) >= begun + 2 and (named or any(said in problem for problem in cycles[-1]["problems"]))

    await eventually(look, what=f"{said} told", within=30.0, every=0.2)
