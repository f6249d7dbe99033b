"""
CPU seconds and memory of the store, on recorded pods from a server in another process.

The base is the same process with no pods; a loop block is the CPU time between
two turns of the event loop, which unlike wall time no other process lengthens.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from autoscaler.clock import SystemClock
from autoscaler.kube.client import ApiServer
from autoscaler.kube.store import ClusterStore
from tests.bench_cluster.figures import Figures, figure

PODS, EVENTS = 150_000, 30_000
LIMIT_LIST_SECONDS, LIMIT_POD_BYTES, LIMIT_EVENTS, LIMIT_BLOCK_MS = 15.0, 1024.0, 10_000.0, 50.0
WAIT_SECONDS = 300.0
TICK_SECONDS = 0.005
CLOCK = SystemClock()
_RUN = "import sys; from tests.bench_cluster.bench_store import child; child(int(sys.argv[1]), sys.argv[2])"


def run() -> Figures:
    """Return the figures of a cluster of 150,000 pods."""
    base, full = _measured(0), _measured(PODS)
    bytes_a_pod = (full["rss_bytes"] - base["rss_bytes"]) / PODS
    rate = EVENTS / full["events_cpu_seconds"]
    return [
        figure("store_list_150k_pods", full["list_cpu_seconds"], "s CPU", LIMIT_LIST_SECONDS),
        figure("store_memory", bytes_a_pod, "bytes a pod", LIMIT_POD_BYTES),
        figure("store_base", base["rss_bytes"] / 2**20, "MiB", None),
        figure("store_full", full["rss_bytes"] / 2**20, "MiB", None),
        figure("store_peak", full["peak_bytes"] / 2**20, "MiB", None),
        {**figure("store_watch", rate, "events a CPU s", LIMIT_EVENTS), "ok": rate >= LIMIT_EVENTS},
        figure("store_list_block", full["list_block_ms"], "ms CPU", LIMIT_BLOCK_MS),
        figure("store_watch_block", full["events_block_ms"], "ms CPU", LIMIT_BLOCK_MS),
        figure("store_observe_first", full["observe_first_ms"], "ms CPU", LIMIT_BLOCK_MS),
        figure("store_observe_same", full["observe_same_ms"], "ms CPU", LIMIT_BLOCK_MS),
        figure("store_observe_changed", full["observe_changed_ms"], "ms CPU", LIMIT_BLOCK_MS),
    ]


def child(pods: int, url: str) -> None:
    """Measure in this process and print the figures."""
    print(json.dumps(asyncio.run(_measure(pods, url))))


def _measured(pods: int) -> dict[str, float]:
    with _server(pods) as url:
        done = subprocess.run([sys.executable, "-c", _RUN, str(pods), url], check=True, stdout=subprocess.PIPE)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@contextmanager
def _server(pods: int) -> Iterator[str]:
    program = [sys.executable, "-m", "tests.bench_cluster.recorded_server", str(pods)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


async def _measure(pods: int, url: str) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        api = await ApiServer.connect(kubeconfig=_kubeconfig(Path(folder), url))
    store = ClusterStore(api, CLOCK)
    # As `autoscaler run` does, so that no collection walks through the libraries again.
    gc.collect()
    gc.freeze()
    ticker = _Ticker()
    tasks = [asyncio.create_task(ticker.run()), asyncio.create_task(store.run())]
    try:
        began = time.process_time()
        await store.wait_ready(WAIT_SECONDS)
        listed = {"list_cpu_seconds": time.process_time() - began, "list_block_ms": ticker.longest_ms()}
        first, same = await _observe_ms(store), await _observe_ms(store)
        memory = {"rss_bytes": _status("VmRSS"), "peak_bytes": _status("VmHWM")}
        seen = {"observe_first_ms": first, "observe_same_ms": same}
        return listed | memory | seen | (await _events(store, ticker, url) if pods else {})
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await api.aclose()


async def _events(store: ClusterStore, ticker: _Ticker, url: str) -> dict[str, float]:
    await CLOCK.sleep(2 * TICK_SECONDS)
    ticker.longest_ms()
    began = time.process_time()
    async with aiohttp.ClientSession() as session, session.get(f"{url}/events", params={"count": str(EVENTS)}):
        pass
    while next(each.events for each in store.counts() if each.kind == "Pod") < EVENTS:
        await CLOCK.sleep(0.01)
    spent, block = time.process_time() - began, ticker.longest_ms()
    return {
        "events_cpu_seconds": spent,
        "events_block_ms": block,
        "observe_changed_ms": await _observe_ms(store),
    }


async def _observe_ms(store: ClusterStore) -> float:
    began = time.process_time()
    await store.observe(0.0)
    return (time.process_time() - began) * 1000


class _Ticker:
    """Notes the most CPU time that passed between two turns of the event loop."""

    def __init__(self) -> None:
        self._longest = 0.0

    async def run(self) -> None:
        last = time.process_time()
        while True:
            await CLOCK.sleep(TICK_SECONDS)
            now = time.process_time()
            self._longest = max(self._longest, now - last)
            last = now

    def longest_ms(self) -> float:
        """Return the longest block since the last call."""
        longest, self._longest = self._longest, 0.0
        return longest * 1000


def _kubeconfig(folder: Path, url: str) -> str:
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [{"name": "bench", "user": {}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    return str(path)


def _status(field: str) -> float:
    """Return a figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    for row in run():
        print(json.dumps(row))
