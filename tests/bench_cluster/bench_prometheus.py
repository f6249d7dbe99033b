"""
Queries and CPU seconds of one cycle, and of histories, on prepared answers from a server in another process.

CPU is this process' own; a loop block is the CPU time between two turns of the event loop.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress

from autoscaler.clock import SystemClock
from autoscaler.model.pod import Pod
from autoscaler.model.readings import Missing, Signal, SignalKind
from autoscaler.sources.answers import samples_of, series_of
from autoscaler.sources.connection import Connection
from autoscaler.sources.prometheus import ASKS, PrometheusSource
from autoscaler.sources.settings import PrometheusSettings
from autoscaler.testing.builders import make_pod, make_shape
from tests.bench_cluster.figures import Figures, figure
from tests.bench_cluster.recorded_prometheus import POINTS, SERIES, pod_names

CLOCK = SystemClock()
PODS, WORKLOADS, USER_QUERIES, CYCLES = 10_000, 3_000, 300, 5
DAYS, STEP = 14.0, 60.0
LIMIT_QUERIES, LIMIT_RANGE_SECONDS, LIMIT_CYCLE_SECONDS = 12, 1.0, 0.4
TICK_SECONDS = 0.002
JOINT = (SignalKind.CPU, SignalKind.READY, SignalKind.MEMORY_PEAK, SignalKind.REQUESTS, SignalKind.SLOW_SHARE)
LEARNT = (SignalKind.CPU, SignalKind.READY, SignalKind.REQUESTS, SignalKind.MEMORY_PEAK)


def run() -> Figures:
    """Return the figures of 10,000 pods in 3,000 workloads."""
    with _server(PODS, WORKLOADS) as url:
        return asyncio.run(_measure(url))


async def _measure(url: str) -> list[dict[str, object]]:
    pods = _pods(PODS, WORKLOADS)
    settings = PrometheusSettings(url=url, slow_seconds=0.5)
    keys = sorted({pod.workload for pod in pods})
    users = [Signal(key, SignalKind.PROMETHEUS, f'sum(up{{job="{key}"}})') for key in keys[:USER_QUERIES]]
    joint = [Signal(key, kind) for key in keys for kind in JOINT]
    every = [Signal(key, kind) for key in keys for kind in (*ASKS, SignalKind.READY)]
    rows: list[dict[str, object]] = []
    gc.collect()
    gc.freeze()
    async with aclosing(PrometheusSource(settings, pods=lambda: pods, clock=CLOCK)) as source:
        for name, signals in (("joint", joint), ("every_kind", every + users)):
            spent, block = await _cycles(source, signals)
            limit = LIMIT_CYCLE_SECONDS if name == "joint" else None
            rows += [
                figure(f"prometheus_queries_{name}", source.last_queries, "queries a cycle", LIMIT_QUERIES),
                figure(f"prometheus_cycle_{name}", spent, "s CPU", limit),
                figure(f"prometheus_block_{name}", block * 1000, "ms CPU", None),
            ]
    rows.append(figure("prometheus_range_10k_x_60", await _range(settings), "s CPU", LIMIT_RANGE_SECONDS))
    return [*rows, await _history_queries(settings, pods)]


async def _cycles(source: PrometheusSource, signals: list[Signal]) -> tuple[float, float]:
    """Return the CPU seconds of one cycle and of its longest turn, each the best of a few."""
    spent: list[float] = []
    blocks: list[float] = []
    for _ in range(CYCLES):
        ticker = _Ticker()
        task = asyncio.create_task(ticker.run())
        began = time.process_time()
        readings = await source.read(signals, time.time())
        spent.append(time.process_time() - began)
        await CLOCK.sleep(2 * TICK_SECONDS)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        blocks.append(ticker.longest)
        lost = [reading for reading in readings.values() if isinstance(reading, Missing)]
        assert not lost, lost[0]
    return min(spent), min(blocks)


async def _range(settings: PrometheusSettings) -> float:
    """Return the CPU seconds for 10,000 series of 60 points, from the socket to arrays."""
    async with aclosing(Connection(settings)) as connection:
        spent: list[float] = []
        for _ in range(3):
            began = time.process_time()
            answered = await connection.query_range("up", start=0.0, end=3540.0, step=60.0)
            points = sum(len(samples_of(row)[1]) for row in series_of(answered))
            spent.append(time.process_time() - began)
            assert points == SERIES * POINTS
    return min(spent)


async def _history_queries(settings: PrometheusSettings, pods: list[Pod]) -> dict[str, object]:
    """Return how many queries learning from two weeks of all workloads sends, asked one by one as `refit` does."""
    now = time.time()
    async with aclosing(PrometheusSource(settings, pods=lambda: pods, clock=CLOCK)) as source:
        keys = sorted({pod.workload for pod in pods})[:256]
        for key in keys:
            for kind in LEARNT:
                await source.history(Signal(key, kind), now - DAYS * 86400, now, STEP)
        sent = source.outcomes.total() * WORKLOADS / len(keys)
    return figure("prometheus_history_queries", round(sent), "queries for 3,000 workloads", None)


def _pods(pods: int, workloads: int) -> list[Pod]:
    shapes = {name: make_shape(name, namespace="shop") for name, _ in pod_names(workloads, workloads)}
    return [
        make_pod(pod, shape=shapes[name], workload=f"shop/Deployment/{name}")
        for name, pod in pod_names(pods, workloads)
    ]


@contextmanager
def _server(pods: int, workloads: int) -> Iterator[str]:
    program = [sys.executable, "-m", "tests.bench_cluster.recorded_prometheus", str(pods), str(workloads)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


class _Ticker:
    """Notes the most CPU time that passed between two turns of the event loop."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        last = time.process_time()
        while True:
            await CLOCK.sleep(TICK_SECONDS)
            now = time.process_time()
            self.longest = max(self.longest, now - last)
            last = now
