"""Beside the real HorizontalPodAutoscaler controller: twins under one load get the same replicas in the same order."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from autoscaler.clock import SystemClock
from tests.cluster.cluster import Cluster
from tests.cluster.waiting import eventually
from tests.e2e.controller_process import controller, release_in
from tests.e2e.shop import Shop
from tests.e2e.trajectories import Steps, compare, lateness, recording, syncs_of, syncs_of_hpas
from tests.e2e.twins import FIRST, LEVELS, OURS, REAL, TWINS, create_autoscalers, create_workloads, set_level

QUIET_SECONDS = 9.0
"""Longer than any window of the twins, and a sync: what has not changed by then will not."""
_WINDOW_SYNCS = 4
"""How many syncs the longest window spans: so often may a late sync make a change later."""
_VALUES = {"mode": "apply", "provider": "none", "metrics": {"source": "metrics-api"}}

log = logging.getLogger(__name__)


async def test_twins_are_scaled_alike(cluster: Cluster, shop: Shop, release: str, tmp_path: Path) -> None:
    period = cluster.layout.options.hpa_sync_seconds
    await shop.govern(mode="Auto", types=["m7i.xlarge"])
    await shop.add_node("0", cpu="64", memory="256Gi", pods="500")
    await create_workloads(shop)
    await set_level(shop, FIRST)
    async with (
        recording(cluster.admin, shop.name) as recorder,
        release_in(cluster, release, **_VALUES) as account,
        controller(cluster, account, tmp_path / "log", period=f"{period:g}s") as ours,
    ):
        await create_autoscalers(shop)
        await eventually(lambda: _all_active(shop), what="all HPAs and mpas at work", within=60.0)
        # Before the first scrapes agree either side may see less load than there is.
        await SystemClock().sleep(2 * QUIET_SECONDS)
        since = SystemClock().now()
        for level in LEVELS:
            await set_level(shop, level)
            recorder.mark()
            await recorder.quiet(QUIET_SECONDS, within=60.0)
        assert await ours.process.stop() == 0
    theirs = syncs_of_hpas(cluster.audit_log, shop.name)
    our_lateness = lateness([at for at in syncs_of(ours.trail) if at > since], period, over=_WINDOW_SYNCS)
    for twin in TWINS:
        found = compare(*(steps_from(since, recorder.steps[twin.workload(side)]) for side in (REAL, OURS)))
        late = max(our_lateness, lateness(theirs[twin.workload(REAL)], period, over=_WINDOW_SYNCS))
        log.info("%s, late by %.2f s, lags %s\n%s", twin.name, late, found.lags, found.told(since))
        assert found.equal, f"{twin.name}:\n{found.told(since)}"
        assert len(found.lags) >= 3
        assert max(map(abs, found.lags)) <= period + late, f"{twin.name}, late by {late:.2f} s:\n{found.told(since)}"


def steps_from(since: float, steps: Steps) -> Steps:
    """Return what was there at *since*, and the changes after it."""
    before = [replicas for at, replicas in steps if at <= since]
    return [(since, before[-1]), *((at, replicas) for at, replicas in steps if at > since)]


async def _all_active(shop: Shop) -> bool:
    """Return whether both sides of all twins have found their metrics."""
    documents: list[dict[str, Any]] = []
    for kind in ("autoscaling/v2", "podnode.io/v1alpha1"):
        plural = "horizontalpodautoscalers" if kind == "autoscaling/v2" else "multidimpodautoscalers"
        documents += (await shop.get(f"/apis/{kind}/namespaces/{shop.name}/{plural}"))["items"]
    conditions = [document.get("status", {}).get("conditions", []) for document in documents]
    active = sum(any(c["type"] == "ScalingActive" and c["status"] == "True" for c in each) for each in conditions)
    return active == 2 * len(TWINS)
