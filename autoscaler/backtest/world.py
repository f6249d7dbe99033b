"""How a scenario file becomes a simulated cluster."""

from __future__ import annotations

import datetime
import math
from pathlib import Path

import msgspec
import numpy as np

from autoscaler.backtest import schema
from autoscaler.backtest.catalogue import pools_of
from autoscaler.backtest.loads import loads_of
from autoscaler.backtest.recorded import recorded_services
from autoscaler.backtest.traces import Field, FloatArray, Grid
from autoscaler.model.placement import Toleration, TopologySpread, labels_of
from autoscaler.model.resources import Resources, format_amount
from autoscaler.model.spec import Quantity
from autoscaler.model.units import DAY
from autoscaler.simulator import spec as world

MAX_STEPS = 200_000
MAX_SERVICES = 5000
_DEFAULT_REQUESTS = {"cpu": Quantity("500m"), "memory": Quantity("512Mi")}
_DEFAULT_DAEMONS = {"cpu": Quantity("250m"), "memory": Quantity("600Mi"), "pods": Quantity("3")}
_FIRST_UTILISATION = 0.7


def build_world(file: schema.ScenarioFile, *, where: str, folders: tuple[Path, ...], seed: int) -> world.WorldSpec:
    """
    Return the simulated cluster that *file* describes.

    *where* is the file's name for errors, *folders* is where traces are looked
    for, in order, and *seed* is that of the generators and the simulated cluster.

    Raises:
        ScenarioError: something in the file, or in a trace it names, cannot be used.
    """
    root = Field(where, "")
    grid = grid_of(file, root)
    warmup = math.floor(file.warmup.seconds / grid.step) * grid.step
    loads = loads_of(file.workloads, grid, folders, seed=seed, file=where)
    first = grid.history - round(warmup / grid.step)
    services = tuple(
        _service(entry, loads[entry.name], first, Field(where, f"workloads[{place}]"))
        for place, entry in enumerate(file.workloads)
    ) + recorded_services(file.imports, grid, folders, root.at("imports"))
    if not 1 <= len(services) <= MAX_SERVICES:
        raise root.at("workloads").error(len(services), f"1 to {MAX_SERVICES} workloads, imported ones included")
    delays = file.delays
    pools = pools_of(file.nodes, folders, root.at("nodes"), boot=(delays.node_boot.seconds, delays.node_boot_spread))
    result = world.WorldSpec(
        name=file.name,
        services=services,
        pools=pools,
        start=grid.start,
        step_seconds=grid.step,
        length_seconds=grid.length * grid.step,
        history_seconds=grid.history * grid.step,
        warmup_seconds=warmup,
        period_seconds=file.period.seconds if file.period is not None else grid.step,
        seed=seed,
        initial_nodes=_initial_nodes(file.nodes, pools, root.at("nodes.initial")),
        daemon_overhead=_resources(_DEFAULT_DAEMONS | file.nodes.daemons, root.at("nodes.daemons")),
        delays=world.Delays(
            metrics_seconds=delays.metrics.seconds,
            launch_failure_share=delays.launch_failures,
            interruption_notice_seconds=delays.interruption_notice.seconds,
        ),
        faults=tuple(
            _fault(fault, _names(file.nodes, pools, services), root.at(f"faults[{place}]"))
            for place, fault in enumerate(file.faults)
        ),
        load_noise=file.load_noise,
    )
    try:
        world.check_world(result)
    except ValueError as error:
        raise root.error(file.name, f"a scenario that can be simulated: {error}") from error
    return result


def grid_of(file: schema.ScenarioFile, root: Field) -> Grid:
    """Return the steps of a scenario, after checking that there are not too many."""
    step = file.step.seconds
    if not 1 <= step <= 3600:
        raise root.at("step").error(step, "a duration from 1s to 1h")
    if not step <= file.length.seconds <= 366 * DAY:
        raise root.at("length").error(file.length, "a duration from one step to 366d")
    if not file.warmup.seconds <= file.history.seconds <= 366 * DAY:
        raise root.at("history").error(file.history, "a duration from `warmup` to 366d")
    try:
        moment = datetime.datetime.fromisoformat(file.start)
    except ValueError as error:
        raise root.at("start").error(file.start, "an ISO 8601 time such as 2026-01-05T00:00:00Z") from error
    start = (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    grid = Grid(
        start=start, step=step, history=round(file.history.seconds / step), length=round(file.length.seconds / step)
    )
    if grid.count > MAX_STEPS or start < 0:
        raise root.at("step").error(step, f"a step so that history and length are at most {MAX_STEPS} steps")
    return grid


def _service(entry: schema.WorkloadEntry, load: FloatArray, first: int, field: Field) -> world.Service:
    asked = _resources(_DEFAULT_REQUESTS | entry.requests, field.at("requests"))
    limits = _resources({"memory": Quantity(asked.memory)} | entry.limits, field.at("limits"))
    if asked.cpu <= 0 or asked.memory <= 0:
        raise field.at("requests").error(asked, "cpu and memory above 0")
    for name, limit in limits.items():
        if limit < asked.get(name):
            least = format_amount(name, asked.get(name))
            raise field.at(f"limits.{name}").error(format_amount(name, limit), f"at least the request, {least}")
    if entry.replicas.min > entry.replicas.max:
        raise field.at("replicas").error(entry.replicas.min, f"min of at most max ({entry.replicas.max})")
    per_request, measure = entry.cpu_per_request.number, entry.load.measure
    if measure is schema.Measure.REQUESTS and not 0 < per_request < 1e6:
        raise field.at("cpuPerRequest").error(entry.cpu_per_request, "core-seconds above 0 and below 1e6, such as 10m")
    cores = load * per_request if measure is schema.Measure.REQUESTS else load
    counts = np.rint(load).astype(np.int32) if measure is schema.Measure.REPLICAS else None
    initial = entry.replicas.initial or math.ceil(float(cores[first]) / (asked.cpu / 1000 * _FIRST_UTILISATION))
    initial = int(counts[first]) if counts is not None else min(max(initial, entry.replicas.min), entry.replicas.max)
    return world.Service(
        name=entry.name,
        namespace=entry.namespace,
        kind=entry.kind.value,
        priority=entry.priority,
        requests=load.astype(np.float32) if measure is schema.Measure.REQUESTS else None,
        cores=load.astype(np.float32) if measure is schema.Measure.CORES else None,
        replica_series=counts,
        cores_per_request=per_request,
        idle_cores=entry.cpu_idle.number,
        base_bytes=entry.memory.base.number,
        bytes_per_rps=entry.memory.per_core.number * per_request,
        parallelism=entry.parallelism,
        start_seconds=entry.start_time.seconds,
        start_cores=entry.start_cpu.number if entry.start_cpu is not None else None,
        memory_half_life_seconds=entry.memory.half_life.seconds,
        leak_bytes_per_hour=entry.memory.leak_per_hour.number,
        service_seconds=entry.slo.service_time.seconds,
        slowdown=entry.slo.slowdown,
        allowed_share=entry.slo.violations,
        pod_requests=asked,
        pod_limits=limits,
        replicas=initial,
        min_replicas=entry.replicas.min,
        max_replicas=entry.replicas.max if counts is None else max(entry.replicas.max, int(counts.max())),
        max_unavailable=entry.max_unavailable,
        node_selector=labels_of(entry.placement.node_selector),
        tolerations=tuple(
            Toleration(key=each.key, operator=each.operator.value, value=each.value, effect=each.effect)
            for each in entry.placement.tolerations
        ),
        anti_affinity=(entry.placement.anti_affinity,) if entry.placement.anti_affinity else (),
        spread=tuple(
            TopologySpread(
                max_skew=spread.max_skew,
                topology_key=spread.topology_key,
                when_unsatisfiable=spread.when_unsatisfiable.value,
            )
            for spread in entry.placement.spread
        ),
        exports_requests=entry.exports_requests and measure is schema.Measure.REQUESTS,
        exports_latency=entry.exports_latency and measure is schema.Measure.REQUESTS,
        declares_parallelism=entry.declares_parallelism,
        scalable=counts is None,
    )


def _initial_nodes(
    nodes: schema.Nodes, pools: tuple[world.InstancePool, ...], field: Field
) -> tuple[world.InitialNodes, ...]:
    known = {pool.instance.name for pool in pools}
    for name, count in nodes.initial.items():
        if name not in known:
            raise field.at(name).error(name, f"one of {', '.join(sorted(known)[:20])}")
        if count > nodes.max_count:
            raise field.at(name).error(count, f"at most maxCount, {nodes.max_count}")
    zone, capacity_type = nodes.zones[0], nodes.capacity_types[0].value
    return tuple(
        world.InitialNodes(instance_type=name, count=count, zone=zone, capacity_type=capacity_type)
        for name, count in sorted(nodes.initial.items())
    )


def _resources(quantities: dict[str, Quantity], field: Field) -> Resources:
    amounts = {name: q.milli if name == "cpu" else q.whole for name, q in quantities.items()}
    for name, amount in amounts.items():
        if not 0 <= amount < 2**60:
            raise field.at(name).error(format_amount(name, amount), "a quantity of at least 0")
    return Resources.of(amounts)


def _names(
    nodes: schema.Nodes, pools: tuple[world.InstancePool, ...], services: tuple[world.Service, ...]
) -> dict[str, set[str]]:
    """Return what a fault may name, by the fault's field."""
    return {
        "workload": {service.name for service in services},
        "instance_type": {pool.instance.name for pool in pools},
        "zone": set(nodes.zones),
        "capacity_type": {kind.value for kind in nodes.capacity_types},
    }


def _fault(fault: schema.Fault, names: dict[str, set[str]], field: Field) -> world.AnyFault:
    start, end = fault.at.seconds, fault.at.seconds + fault.lasts.seconds
    for info in msgspec.structs.fields(fault):
        known, name = names.get(info.name, set()), getattr(fault, info.name)
        if info.name in names and name and name not in known:
            raise field.at(info.encode_name).error(name, f"one of {', '.join(sorted(known)[:20])}")
    named = getattr(fault, "workload", "")
    match fault:
        case schema.MetricsOutage():
            return world.MetricsOutage(start=start, end=end, service=named)
        case schema.DirtyMetrics():
            return world.DirtyMetrics(start=start, end=end, kind=fault.dirt.value, share=fault.share, service=named)
        case schema.NodeLoss():
            return world.NodeLoss(
                start=start, end=end, count=fault.count, instance_type=fault.instance_type, zone=fault.zone
            )
        case schema.StockOut():
            return world.StockOut(
                start=start,
                end=end,
                instance_type=fault.instance_type,
                zone=fault.zone,
                capacity_type=fault.capacity_type,
            )
        case schema.ApiErrors():
            return world.ApiErrors(start=start, end=end, share=fault.share)
        case schema.BadDeploy():
            return world.BadDeploy(
                start=start,
                end=end,
                service=named,
                cores_factor=fault.cpu_factor,
                memory_factor=fault.memory_factor,
                leak_bytes_per_hour=fault.leak_per_hour.number,
            )
        case schema.SlowStarts():
            return world.SlowStarts(start=start, end=end, factor=fault.factor, service=named)
