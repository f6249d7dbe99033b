"""CPU seconds of the simulated cluster: alone, and with the engines that decide in it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from autoscaler.backtest.engines import ENGINES
from autoscaler.backtest.runner import default_settings
from autoscaler.model.plan import AnyAction, Decision, Plan, SetGroupSize, SetReplicas
from autoscaler.model.policy import Policies
from autoscaler.model.readings import Sample, Signal, SignalKind
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.model.units import GIB
from autoscaler.simulator.run import simulate
from autoscaler.simulator.spec import InitialNodes, Service, WorldSpec
from autoscaler.testing.builders import make_pool, make_service, make_world

SERVICES, STEPS, HISTORY = 30, 720, 2880
KINDS = (SignalKind.CPU, SignalKind.MEMORY_PEAK, SignalKind.REQUESTS, SignalKind.SLOW_SHARE, SignalKind.POD_CPU)
LIMIT_MS = 3.0
DAY_STEPS, THREE_DAYS_LIMIT = 2880, 60.0
ENGINES_TIMED = ("hpa", "hpa+vpa", "joint")


def run() -> list[dict[str, object]]:
    """Return the figures of 30 services, some 450 pods and 60 nodes over six hours at 30 s steps."""
    start = time.process_time()
    spec = _spec()
    made = time.process_time()
    result = simulate(spec, Policies(), decide=_decide, signals_of=_signals)
    step = (time.process_time() - made) / STEPS * 1000
    three_days = 8640 * step / 1000
    return [
        _figure("simulator_step", step, "ms CPU", LIMIT_MS),
        _figure("simulator_three_days_without_decide", three_days, "s CPU", 8640 * LIMIT_MS / 1000),
        _figure("simulator_mean_pods", float(result.by_service["pods"].sum(axis=1).mean()), "pods", None),
        _figure("simulator_mean_nodes", float(result.nodes.sum(axis=1).mean()), "nodes", None),
        _figure("simulator_make_spec", made - start, "s CPU", None),
        *(_engine(name) for name in ENGINES_TIMED),
    ]


def _engine(name: str) -> dict[str, object]:
    """Return the CPU seconds of three days under an engine, three times those of one day."""
    world, policies = ENGINES[name].prepare(_spec(steps=DAY_STEPS), default_settings(name))
    started = time.process_time()
    simulate(world, policies)
    seconds = 3 * (time.process_time() - started)
    return _figure(f"simulator_three_days_{name.replace('+', '_')}", seconds, "s CPU", THREE_DAYS_LIMIT)


def _figure(name: str, value: float, unit: str, limit: float | None) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "limit": limit, "ok": limit is None or value <= limit}


def _spec(steps: int = STEPS) -> WorldSpec:
    random = np.random.default_rng(0)
    pool = make_pool("m.2xl", cpu=7900, memory=29 * GIB, zones=("a", "b", "c"), usd_per_hour=0.4)
    return make_world(
        *(_service(index, random, steps) for index in range(SERVICES)),
        steps=steps,
        history=HISTORY,
        pools=(pool,),
        initial_nodes=(InitialNodes(instance_type="m.2xl", count=30, zone="a"),),
        load_noise=0.05,
    )


def _service(index: int, random: np.random.Generator, steps: int) -> Service:
    day = np.arange(HISTORY + steps) * 30 / 86400
    swing = 1 + 0.5 * np.sin(2 * np.pi * (day + random.uniform(0, 1)))
    noise = 1 + 0.05 * random.standard_normal(len(day))
    rate = np.maximum(swing * noise, 0) * np.exp(random.uniform(np.log(20), np.log(800)))
    return make_service(
        f"service-{index:02d}",
        requests=rate.astype(np.float32),
        pod_requests=Resources.of(cpu=500, memory=GIB),
        pod_limits=Resources.of(memory=GIB),
        replicas=8,
    )


def _signals(snapshot: ClusterSnapshot, policies: Policies) -> Sequence[Signal]:
    return [Signal(workload.key, kind) for workload in snapshot.workloads for kind in KINDS]


def _decide(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> Decision:
    readings = dict(snapshot.readings)
    actions: list[AnyAction] = []
    cores = 0.0
    for workload in snapshot.workloads:
        reading = readings[Signal(workload.key, SignalKind.CPU)]
        wanted = math.ceil(reading.value / 0.35) if isinstance(reading, Sample) else workload.replicas
        wanted = max(2, wanted)
        cores += 0.5 * wanted
        # A small change is noise: leave it.
        if wanted > workload.replicas or wanted < 0.8 * workload.replicas:
            actions.append(SetReplicas(workload=workload.key, replicas=wanted, expected=workload.replicas))
    missing = math.ceil(cores / 7) - sum(group.target_size for group in snapshot.node_groups)
    if missing > 0:
        group = min(snapshot.node_groups, key=lambda each: (each.target_size, each.name))
        size = group.target_size + missing
        actions.append(SetGroupSize(group=group.name, size=size, expected=group.target_size))
    return Decision(plan=Plan(actions=tuple(actions)), recommendations=(), state=state)


if __name__ == "__main__":
    for figure in run():
        print(figure)
