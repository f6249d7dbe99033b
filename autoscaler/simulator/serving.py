"""
One step of load on the cluster's pods: what is used, how it is served, who runs out of memory.

Columns are by service (one entry each) or by pod on a node, as named.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from autoscaler.model.arrays import Floats, Rows
from autoscaler.model.pod import Termination
from autoscaler.simulator.demand import Served, serve
from autoscaler.simulator.spec import WorldSpec
from autoscaler.simulator.tables import READY, NodeTable, PodTable

if TYPE_CHECKING:
    from autoscaler.simulator.world import World


MEMORY_NOISE = 0.02
TIMEOUT_SLOWDOWN = 20.0
"""Requests are given up after this many service times: the latency reported for pods short of CPU."""
_BACKOFF_CAP_SECONDS = 300.0
_BACKOFF_RESET_SECONDS = 600.0


class Behaviour(msgspec.Struct, frozen=True):
    """The services' true coefficients as columns, and their load as [service, step]: requests a second, or cores."""

    load: npt.NDArray[np.float32]
    cores_per_load: Floats
    idle: Floats
    base: Floats
    slope: Floats
    parallelism: Floats
    slowdown: Floats
    allowed: Floats
    service_seconds: Floats
    decay: Floats
    start_cores: Floats
    bytes_used: npt.NDArray[np.float32] | None


class ServiceStep(msgspec.Struct):
    """
    How a step went, by service.

    `slow` and `dropped` are shares of `load`; `latency` is the quantile that
    the objective names, in seconds, NaN without load; `requested` and
    `requested_bytes` sum over pods on nodes, `used_bytes` too.
    """

    load: Floats
    cores: Floats
    ready_cores: Floats
    ready: Floats
    pods: Floats
    slow: Floats
    dropped: Floats
    latency: Floats
    throttled: Floats
    peak_bytes: Floats
    used_bytes: Floats
    requested: Floats
    requested_bytes: Floats
    oom_kills: int


def behaviour_of(spec: WorldSpec) -> Behaviour:
    services = spec.services
    load = np.zeros((len(services), spec.steps), np.float32)
    for row, service in enumerate(services):
        given = service.requests if service.requests is not None else service.cores
        if given is not None:
            load[row] = given
    bytes_used = None
    if any(service.bytes_used is not None for service in services):
        bytes_used = np.full((len(services), spec.steps), np.nan, np.float32)
        for row, service in enumerate(services):
            if service.bytes_used is not None:
                bytes_used[row] = service.bytes_used

    def column(name: str) -> Floats:
        return np.array([getattr(service, name) for service in services], np.float64)

    half_lives = column("memory_half_life_seconds")
    recorded = np.array([service.cores is not None for service in services], bool)
    return Behaviour(
        load=load,
        cores_per_load=np.where(recorded, 1.0, column("cores_per_request")),
        idle=np.where(recorded, 0.0, column("idle_cores")),
        base=column("base_bytes"),
        slope=column("bytes_per_rps"),
        parallelism=column("parallelism"),
        slowdown=column("slowdown"),
        allowed=column("allowed_share"),
        service_seconds=column("service_seconds"),
        decay=np.where(half_lives > 0, 0.5 ** (spec.step_seconds / np.maximum(half_lives, 1e-9)), 0.0),
        start_cores=np.array([math.nan if s.start_cores is None else s.start_cores for s in services], np.float64),
        bytes_used=bytes_used,
    )


class Loaded(Protocol):
    """Pods under load: those of the simulated cluster, or real ones whose work is emulated."""

    spec: WorldSpec
    pods: PodTable
    nodes: NodeTable
    behaviour: Behaviour
    random: np.random.Generator
    index: int
    now: float


def serve_step(world: World) -> ServiceStep:
    """Serve the load of the world's present step and put what was used into its pods."""
    rows, served = serve_pods(world)
    step = _summarise(world, rows, world.behaviour.load[:, world.index].astype(np.float64), served)
    step.oom_kills = _kill_oom(world, rows)
    return step


def serve_pods(world: Loaded) -> tuple[Rows, Served]:
    """Serve the load of the present step on pods that have a node; return their rows and how each was served."""
    pods, traits = world.pods, world.behaviour
    rows = pods.live()
    rows = rows[pods.node[rows] >= 0]
    service, ready = pods.service[rows], pods.state[rows] == READY
    load = traits.load[:, world.index].astype(np.float64)
    rps = _spread_load(world, load, service, ready)
    pods.rps[rows] = rps
    burning = ~ready & (pods.burns_at[rows] <= world.now)
    start_cores = traits.start_cores[service]
    start_cores = np.where(np.isnan(start_cores), 0.5 * pods.cpu[rows], start_cores)
    served = serve(
        rps * traits.cores_per_load[service] * pods.work_factor[rows],
        np.where(ready, traits.idle[service], np.where(burning, start_cores, 0.0)),
        ceiling=traits.parallelism[service],
        limit=pods.cpu_limit[rows],
        weights=pods.cpu[rows],
        node=pods.node[rows],
        cores=world.nodes.cores,
    )
    pods.used_cores[rows] = served.used
    _use_memory(world, rows, ready | burning, ready)
    return rows, served


def _spread_load(world: Loaded, load: Floats, service: Rows, ready: npt.NDArray[np.bool_]) -> Floats:
    """Split each service's load over its ready pods, evenly but for noise; nothing is lost."""
    noise = 1 + world.spec.load_noise * world.random.standard_normal(len(service))
    share = np.where(ready, np.maximum(noise, 0.0), 0.0)
    total = np.bincount(service, share, minlength=len(load))
    result: Floats = np.divide(load, total, out=np.zeros_like(load), where=total > 0)[service] * share
    return result


def _use_memory(world: Loaded, rows: Rows, running: npt.NDArray[np.bool_], ready: npt.NDArray[np.bool_]) -> None:
    """Move working sets: `base + slope * load`, up to what parallelism can serve, falling only slowly; and leaks."""
    pods, traits = world.pods, world.behaviour
    service = pods.service[rows]
    most = traits.parallelism[service] / np.maximum(traits.cores_per_load[service], 1e-12)
    target = traits.base[service] + traits.slope[service] * np.minimum(pods.rps[rows], most)
    if traits.bytes_used is not None:
        given = traits.bytes_used[service, world.index]
        target = np.where(np.isnan(given), target, given)
    target *= pods.memory_factor[rows] * (1 + MEMORY_NOISE * world.random.standard_normal(len(rows)))
    sticky = pods.working_set[rows] * traits.decay[service]
    pods.working_set[rows] = np.where(running, np.maximum(target, sticky), 0.0)
    pods.leaked[rows] += np.where(ready, pods.leak_per_second[rows] * world.spec.step_seconds, 0.0)
    pods.used_bytes[rows] = pods.working_set[rows] + np.where(running, pods.leaked[rows], 0.0)


def _summarise(world: World, rows: Rows, load: Floats, served: Served) -> ServiceStep:
    pods, traits = world.pods, world.behaviour
    service, rps, count = pods.service[rows], pods.rps[rows], len(load)
    ready = pods.state[rows] == READY

    def add(values: Floats | npt.NDArray[np.bool_]) -> Floats:
        return np.bincount(service, values, minlength=count).astype(np.float64)

    unserved = (load > 0) & (add(rps) <= 0)
    safe = np.where(load > 0, load, 1.0)
    is_slow = served.slowdown > traits.slowdown[service]
    peak = np.zeros(count)
    np.maximum.at(peak, service, pods.used_bytes[rows])
    ready_pods = add(ready)
    latency = _latency(traits, service, rps, served.slowdown)
    return ServiceStep(
        load=load,
        cores=add(served.used),
        ready_cores=add(np.where(ready, served.used, 0.0)),
        ready=ready_pods,
        pods=np.array([world.pods.count(index) for index in range(count)], np.float64),
        slow=np.where(unserved, 1.0, np.minimum(add(rps * is_slow) / safe, 1.0)),
        dropped=np.where(unserved, 1.0, np.minimum(add(rps * served.dropped) / safe, 1.0)),
        latency=np.where(unserved, TIMEOUT_SLOWDOWN * traits.service_seconds, latency),
        throttled=add(np.where(ready, served.throttled, 0.0)) / np.maximum(ready_pods, 1.0),
        peak_bytes=peak,
        used_bytes=add(pods.used_bytes[rows]),
        requested=add(pods.cpu[rows]),
        requested_bytes=add(pods.memory[rows]),
        oom_kills=0,
    )


def _latency(traits: Behaviour, service: Rows, rps: Floats, slowdown: Floats) -> Floats:
    """Return the latency that all but the allowed share of requests keep, by service; NaN where none was served."""
    count = len(traits.slowdown)
    result = np.full(count, np.nan)
    busy = np.flatnonzero(rps > 0)
    if not len(busy):
        return result
    capped = np.minimum(slowdown[busy], TIMEOUT_SLOWDOWN)
    order = np.lexsort((capped, service[busy]))
    where, weight, value = service[busy][order], rps[busy][order], capped[order]
    totals = np.bincount(where, weight, minlength=count)
    passed = np.cumsum(weight)
    before = np.cumsum(totals) - totals
    enough = (passed - before[where]) >= (1 - traits.allowed[where]) * totals[where] - 1e-9
    # The first pod in slow-down order by which enough requests are served sets the quantile.
    found, first = np.unique(where[enough], return_index=True)
    result[found] = value[np.flatnonzero(enough)[first]] * traits.service_seconds[found]
    return result


def _kill_oom(world: World, rows: Rows) -> int:
    """Kill containers above their limit, and on nodes short of memory those most above their request."""
    pods = world.pods
    used = pods.used_bytes[rows]
    victims = rows[used > pods.memory_limit[rows]].tolist()
    by_node = np.bincount(pods.node[rows], used, minlength=len(world.nodes.memory))
    for node in np.flatnonzero(by_node > world.nodes.memory).tolist():
        victims += _pressed(world, rows, node, float(by_node[node] - world.nodes.memory[node]))
    for row in dict.fromkeys(victims):
        _restart(world, row)
    world.counters.oom_kills += len(dict.fromkeys(victims))
    return len(dict.fromkeys(victims))


def _pressed(world: World, rows: Rows, node: int, excess: float) -> list[int]:
    """Return who goes on a node short of so many bytes (kubelet `eviction/helpers.go`: most above request first)."""
    pods = world.pods
    there = rows[pods.node[rows] == node]
    victims = []
    for row in there[np.argsort(pods.memory[there] - pods.used_bytes[there], kind="stable")].tolist():
        if excess <= 0:
            break
        victims.append(row)
        excess -= float(pods.used_bytes[row])
    return victims


def _restart(world: World, row: int) -> None:
    """Restart a killed container after its back-off: 10 s, doubling to 5 min, forgotten after 10 min of running."""
    pods = world.pods
    started = float(pods.ready_at[row]) if pods.state[row] == READY else float(pods.burns_at[row])
    last = world.terminations.get(row)
    streak = pods.restarts[row] if last is not None and world.now - started < _BACKOFF_RESET_SECONDS else 0
    wait = min(world.spec.delays.restart_backoff_seconds * 2.0 ** min(int(streak), 10), _BACKOFF_CAP_SECONDS)
    pods.restarts[row] += 1
    world.terminations[row] = Termination(
        container=world.fleets[pods.service[row]].service.container,
        reason="OOMKilled",
        started_at=started,
        finished_at=world.now,
    )
    world.start_pod(row, after=wait)
