"""
Replicas over time: the baseline `hpa` of the simulator beside the real HorizontalPodAutoscaler controller.

`python -m tests.bench_cluster.trajectories` plays hours of three recorded
scenarios to a development cluster, thirty times as fast as they were, with the
controller's times as much shorter, and simulates the same hours; it takes
fifteen minutes, prints a table and appends it to `build/bench.jsonl`. Machines
are plenty on both sides, and the metrics are as fresh, so that what differs is
the controller, the scheduler and the pods.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from autoscaler.backtest.runner import default_settings, prepare
from autoscaler.backtest.scenario import load_scenario
from autoscaler.clock import SystemClock
from autoscaler.kube.client import ApiServer
from autoscaler.model.arrays import Floats
from autoscaler.simulator.results import Moment
from autoscaler.simulator.run import simulate
from autoscaler.simulator.spec import Service, WorldSpec
from tests.bench.__main__ import OUTPUT, lines_of, show
from tests.bench_cluster.figures import Figures, figure
from tests.cluster.cluster import Cluster
from tests.cluster.control_plane import Options
from tests.cluster.objects import node
from tests.cluster.scenario import create_workloads
from tests.cluster.waiting import eventually
from tests.e2e.trajectories import Steps, recording

ENGINE, SPEED, SYNC_SECONDS = "hpa", 30.0, 30.0
"""The baseline; seconds of a trace in one; how often the simulated controller decides, in the trace's time."""
OPTIONS = Options(
    hpa_sync_seconds=SYNC_SECONDS / SPEED,
    hpa_downscale_stabilization_seconds=300 / SPEED,
    hpa_cpu_initialization_seconds=300 / SPEED,
    hpa_readiness_delay_seconds=30 / SPEED,
)
HOURS = {"s1-flash-crowd": (14.5, 16.5), "s2-daily-weekly": (13.0, 15.0), "s4-seven-services": (5.5, 7.5)}
"""The hours of each scenario that are compared, from its start."""
WARM_UP_SECONDS = 1200.0
"""Trace before those hours, in which the real controller finds its replicas."""
_NODES, _SHIFTS = 24, 20
CLOCK = SystemClock()

Series = Mapping[str, Floats]
"""Replicas asked for at each step of the hours compared, by workload key."""


def main(*names: str) -> int:
    rows: Figures = []
    for name in names or HOURS:
        simulated = simulate_hours(name)
        real = asyncio.run(play_hours(name))
        for key in sorted(real):
            rows += compare(f"{name}_{key.rpartition('/')[2]}", simulated[key], real[key])
    OUTPUT.parent.mkdir(exist_ok=True)
    with OUTPUT.open("a", encoding="utf-8") as file:
        file.write(lines_of(rows))
    return show(rows)


def simulate_hours(name: str) -> Series:
    """Return what the simulated controller asks for."""
    begin, end = (hour * 3600 for hour in HOURS[name])
    scenario = load_scenario(name)
    spec, policies = prepare(scenario, ENGINE, default_settings(ENGINE), seed=scenario.file.seed)
    spec = _like_the_cluster(spec, length=end)
    found: dict[str, dict[float, int]] = {service.key: {} for service in spec.services}

    def note(step: int, moment: Moment) -> None:
        for advice in moment.decision.recommendations if moment.decision is not None else ():
            if advice.replicas is not None:
                found[advice.workload][moment.time - spec.start] = advice.replicas

    simulate(spec, policies, observer=note)
    return {key: _sampled(sorted(steps.items()), begin, end) for key, steps in found.items()}


def _like_the_cluster(spec: WorldSpec, *, length: float) -> WorldSpec:
    """Return the world with machines at once and metrics without delay, ending after *length* seconds."""
    steps = spec.history_steps + round(length / spec.step_seconds)
    services = tuple(
        msgspec.structs.replace(
            service,
            **{
                field: series[:steps]
                for field in ("requests", "cores", "bytes_used", "replica_series")
                if (series := getattr(service, field)) is not None
            },
        )
        for service in spec.services
    )
    return msgspec.structs.replace(
        spec,
        services=services,
        length_seconds=length,
        pools=tuple(msgspec.structs.replace(pool, boot_seconds=1.0, boot_spread=0.0) for pool in spec.pools),
        delays=msgspec.structs.replace(spec.delays, metrics_seconds=0.0),
    )


async def play_hours(name: str) -> Series:
    """Return what the real controller asks for."""
    begin, end = (hour * 3600 for hour in HOURS[name])
    services = [service for service in load_scenario(name).world().services if service.scalable]
    cluster = await Cluster.up(name="trajectories", options=OPTIONS, say=_say)
    try:
        async with cluster.connected():
            steps = await _play(cluster, name, services, begin=begin - WARM_UP_SECONDS, end=end)
    finally:
        cluster.close()
    return {service.key: _sampled(steps[service.name], begin, end) for service in services}


async def _play(
    cluster: Cluster, name: str, services: Sequence[Service], *, begin: float, end: float
) -> Mapping[str, Steps]:
    """Return replicas by name of the workload, times in seconds from the scenario's start."""
    api, namespace = cluster.admin, services[0].namespace
    for number in range(_NODES):
        body = node(f"large-{number:02d}", cpu="64", memory="512Gi", pods="250", zone=f"zone-{'abc'[number % 3]}")
        await api.send("POST", "/api/v1/nodes", body)
    await create_workloads(api, name, speed=SPEED)
    await cluster.emulator.play(name, speed=SPEED, begin_seconds=begin)
    async with recording(api, namespace) as recorder:
        for service in services:
            await _autoscale(api, service)

        async def reached() -> float:
            """Return the present time if the trace has come to the end."""
            seconds = (await cluster.emulator.progress())["traceSeconds"]
            return CLOCK.now() - (seconds - end) / SPEED if seconds >= end else 0.0

        at_end = await eventually(reached, what="the end of the trace", within=2 * (end - begin) / SPEED, every=0.5)
    return {
        name: [(end + (at - at_end) * SPEED, replicas) for at, replicas in steps]
        for name, steps in recorder.steps.items()
    }


async def _autoscale(api: ApiServer, service: Service) -> None:
    target = {"type": "Utilization", "averageUtilization": round(100 * default_settings(ENGINE)["target"])}
    hpa = {
        "metadata": {"name": service.name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": service.kind, "name": service.name},
            "minReplicas": service.min_replicas,
            "maxReplicas": service.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }
    await api.send("POST", f"/apis/autoscaling/v2/namespaces/{service.namespace}/horizontalpodautoscalers", hpa)


def compare(name: str, simulated: Floats, real: Floats) -> Figures:
    """
    Return pod-hours of both in relation, the mean difference in percent, and the shift that makes it least.

    A shift above 0 means that the simulated controller comes later; in seconds of the trace.
    """

    def apart(shift: int) -> float:
        mine, theirs = simulated[max(0, shift) :], real[max(0, -shift) :]
        length = min(len(mine), len(theirs))
        return float(np.abs(mine[:length] - theirs[:length]).mean() / real.mean())

    shifts = sorted(range(-_SHIFTS, _SHIFTS + 1), key=lambda shift: (apart(shift), abs(shift)))
    return [
        figure(f"{name}_pod_hours", float(simulated.sum() / real.sum()), "of the real", None),
        figure(f"{name}_apart", 100 * apart(0), "% on average", None),
        figure(f"{name}_shift", shifts[0] * SYNC_SECONDS, "s later", None),
        figure(f"{name}_apart_shifted", 100 * apart(shifts[0]), "% on average", None),
        figure(f"{name}_peak", float(simulated.max() - real.max()), "replicas more", None),
    ]


def _sampled(steps: Steps, begin: float, end: float) -> Floats:
    """Return the replicas asked for at each step from *begin* to *end*."""
    times, values = zip(*steps, strict=True)
    at = np.arange(begin, end, SYNC_SECONDS)
    found = np.searchsorted(np.array(times), at, side="right") - 1
    return np.array(values, np.float64)[np.maximum(found, 0)]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
