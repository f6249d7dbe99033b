"""
What the controller costs where nothing happens: CPU and memory with 1,000 nodes and 10,000 pods.

The real command on the real components, with Prometheus and half of the pods
instrumented; loads are constant, so that each turn finds what the last one
found. `python -m tests.bench_cluster.bench_idle SECONDS` measures for longer.
"""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np

from tests.bench_cluster.figures import Figures, figure, load_average, values_of
from tests.bench_cluster.full_cluster import CLOCK, full_cluster
from tests.integration.running import Running

IDLE_SECONDS, SETTLE_SECONDS, SAMPLE_SECONDS = 600.0, 60.0, 15.0
LIMIT_CPU_SHARE, LIMIT_RSS_MIB, LIMIT_MIB_AN_HOUR = 0.05, 250.0, 10.0
PHASES = ("cluster", "metrics", "decide", "act")


def run(seconds: float = IDLE_SECONDS) -> Figures:
    """Return the figures of so many idle seconds; filling the cluster takes a few minutes more."""
    return asyncio.run(_run(seconds))


async def _run(seconds: float) -> Figures:
    async with full_cluster("bench-idle") as (_, running):
        await CLOCK.sleep(SETTLE_SECONDS)
        samples = [await _sample(running)]
        while samples[-1]["at"] - samples[0]["at"] < seconds:
            await CLOCK.sleep(SAMPLE_SECONDS)
            samples.append(await _sample(running))
    first, last = samples[0], samples[-1]
    taken = last["at"] - first["at"]
    memory = [each["process_resident_memory_bytes"] / 2**20 for each in samples]
    slope = np.polyfit([each["at"] / 3600 for each in samples], memory, 1)[0]
    quarters = [float(np.median(part)) for part in np.array_split(memory, 4)]
    turns = _rise(first, last, 'podnode_turn_phase_seconds_count{phase="decide"}')
    late = _rise(first, last, "podnode_event_loop_lag_seconds_count")
    late -= _rise(first, last, 'podnode_event_loop_lag_seconds_bucket{le="0.05"}')
    phases = {name: _rise(first, last, f'podnode_turn_phase_seconds_sum{{phase="{name}"}}') for name in PHASES}
    cpu = _rise(first, last, "process_cpu_seconds_total")
    return [
        figure("idle_cpu_1000_nodes", cpu / taken, "of a core", LIMIT_CPU_SHARE),
        figure("idle_turn_1000_nodes", cpu / turns, "s CPU a turn", None),
        *(figure(f"idle_turn_{name}", spent / turns, "s a turn", None) for name, spent in phases.items()),
        figure("idle_rss_1000_nodes", max(memory), "MiB", LIMIT_RSS_MIB),
        *(figure(f"idle_rss_quarter_{number}", mib, "MiB", None) for number, mib in enumerate(quarters, start=1)),
        figure("idle_rss_slope", float(slope), "MiB an hour", LIMIT_MIB_AN_HOUR if seconds >= 3600 else None),
        figure("idle_loop_late_over_50_ms", late, "times", None),
        figure("idle_seconds", taken, "s", None),
        figure("idle_machine_load", load_average(), "runnable", None),
    ]


async def _sample(running: Running) -> dict[str, float]:
    values = values_of((await running.get("/metrics"))[1])
    return values | {"at": CLOCK.monotonic()}


def _rise(first: dict[str, float], last: dict[str, float], name: str) -> float:
    return last.get(name, 0.0) - first.get(name, 0.0)


if __name__ == "__main__":
    for row in run(float(sys.argv[1]) if len(sys.argv) > 1 else IDLE_SECONDS):
        print(json.dumps(row))
