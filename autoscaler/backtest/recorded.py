"""Workloads made from recorded clusters: machines to size, pods to pack, instances that come and go."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np

from autoscaler.backtest.schema import Gaps, Imports, InstancesImport, PodsImport, SeriesLoad, UsageImport
from autoscaler.backtest.traces import (
    Field,
    FloatArray,
    Grid,
    find_file,
    number,
    read_columns,
    read_rows,
    series_on_grid,
)
from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB, MIB
from autoscaler.providers.allocatable import GPU
from autoscaler.simulator.spec import Service

MAX_CLASSES = 2000
_MACHINE_PARALLELISM = 2.0
"""A recorded machine was slow only by its own full cores: as a pod it can use more where its node has more."""


def recorded_services(imports: Imports, grid: Grid, folders: tuple[Path, ...], field: Field) -> tuple[Service, ...]:
    """
    Return the services of all imports.

    Raises:
        ScenarioError: a file cannot be used.
    """
    services: list[Service] = []
    if imports.usage is not None:
        services += _machines(imports.usage, grid, folders, field.at("usage"))
    if imports.pods is not None:
        services += _pods(imports.pods, grid, folders, field.at("pods"))
    if imports.instances is not None:
        services += _instances(imports.instances, grid, folders, field.at("instances"))
    return tuple(services)


def _machines(usage: UsageImport, grid: Grid, folders: tuple[Path, ...], field: Field) -> list[Service]:
    """One replica each, sized by what the machine was given; CPU and memory as recorded."""
    paths = {name: find_file(getattr(usage, name), folders, field.at(name)) for name in ("cpu", "memory", "sizes")}
    columns = (usage.name_column, usage.cores_column, usage.memory_column)
    sizes = {row.get(usage.name_column, ""): row for row in read_rows(paths["sizes"], field.at("sizes"), columns)}
    names = [name for name in read_columns(paths["cpu"], field.at("cpu")) if name in sizes][: usage.limit]
    if not names:
        raise field.at("sizes").error(usage.sizes, f"a row for at least one of the columns of {paths['cpu'].name}")
    services = []
    for name in names:
        cores = number(sizes[name].get(usage.cores_column, ""))
        memory = number(sizes[name].get(usage.memory_column, ""))
        if not (0 < cores < 1e4 and 0 < memory < 1e9):
            raise field.at("sizes").error(sizes[name], f"cores and MiB above 0 for {name}")
        load = SeriesLoad(file=usage.cpu, column=name, scale=0.001, gaps=Gaps.HOLD)
        used = SeriesLoad(file=usage.memory, column=name, gaps=Gaps.HOLD)
        asked = Resources.of(cpu=round(cores * 1000), memory=round(memory * MIB))
        services.append(
            Service(
                name=name,
                namespace=usage.namespace,
                cores=np.minimum(series_on_grid(load, paths["cpu"], grid, field.at("cpu")), cores).astype(np.float32),
                bytes_used=(
                    np.clip(series_on_grid(used, paths["memory"], grid, field.at("memory")), 64, 0.95 * memory) * MIB
                ).astype(np.float32),
                memory_half_life_seconds=0.0,
                idle_cores=0.0,
                parallelism=cores * _MACHINE_PARALLELISM,
                pod_requests=asked,
                pod_limits=asked.only(("memory",)),
                replicas=1,
                min_replicas=1,
                max_replicas=1,
                max_unavailable="1",
                exports_requests=False,
                exports_latency=False,
            )
        )
    return services


def _pods(pods: PodsImport, grid: Grid, folders: tuple[Path, ...], field: Field) -> list[Service]:
    """Pods of equal requests as one workload of fixed replicas."""
    path = find_file(pods.file, folders, field.at("file"))
    kept = 0
    classes: Counter[tuple[int, int, int]] = Counter()
    for row in read_rows(path, field.at("file"), (pods.cpu_column, pods.memory_column, *pods.where)):
        if any(row.get(column) not in values for column, values in pods.where.items()):
            continue
        cpu, memory, gpus = (number(row.get(c, "")) for c in (pods.cpu_column, pods.memory_column, pods.gpu_column))
        if not 0 < cpu <= pods.largest_cpu.milli or not memory > 0:
            continue
        kept += 1
        if (kept - 1) % pods.every == 0:
            classes[round(cpu), round(memory), 0 if math.isnan(gpus) else int(gpus)] += 1
    if not classes or len(classes) > MAX_CLASSES:
        raise field.at("file").error(len(classes), f"1 to {MAX_CLASSES} different requests among the rows kept")
    return [
        _fixed(
            f"class-{place:03d}",
            pods.namespace,
            _request(cpu, memory * MIB, gpus),
            np.full(grid.count, count, np.int32),
            used=pods.utilisation,
        )
        for place, ((cpu, memory, gpus), count) in enumerate(sorted(classes.items()))
    ]


def _instances(apps: InstancesImport, grid: Grid, folders: tuple[Path, ...], field: Field) -> list[Service]:
    """Replica counts over time of each application, role and size, the most variable first."""
    path = find_file(apps.file, folders, field.at("file"))
    times: dict[tuple[str, str, int, int, int, int], list[tuple[float, float]]] = {}
    columns = (apps.app_column, apps.cpu_column, apps.memory_column, apps.created_column, apps.deleted_column)
    for row in read_rows(path, field.at("file"), columns):
        cpu, memory, gpus = (number(row.get(c, "")) for c in (apps.cpu_column, apps.memory_column, apps.gpu_column))
        if not (cpu > 0 and memory > 0):
            continue
        spread = number(row.get(apps.spread_column, ""))
        key = (
            row.get(apps.app_column, "app"),
            row.get(apps.role_column, ""),
            round(cpu * 1000),
            round(memory * GIB),
            0 if math.isnan(gpus) else int(gpus),
            1 if spread == 1 else 0,
        )
        created, deleted = number(row.get(apps.created_column, "")), number(row.get(apps.deleted_column, ""))
        times.setdefault(key, []).append(
            (-math.inf if math.isnan(created) else created, math.inf if math.isnan(deleted) else deleted)
        )
    moments = apps.at.seconds + grid.offsets()
    counts = {key: _alive(np.array(lives), moments) / apps.every for key, lives in times.items()}
    counts = {key: np.ceil(count) for key, count in counts.items() if count.max() >= 1}
    if not counts:
        raise field.at("file").error(path.name, "a file with instances that live within the scenario's length")
    chosen = sorted(counts, key=lambda key: (-float(np.abs(np.diff(counts[key])).sum()), key))[: apps.limit]
    return [
        _fixed(
            "-".join((key[0], key[1], str(key[2]), str(place))).lower().replace("_", "-"),
            apps.namespace,
            _request(key[2], key[3], key[4]),
            counts[key].astype(np.int32),
            used=apps.utilisation,
            alone=bool(key[5]),
        )
        for place, key in enumerate(chosen)
    ]


def _alive(lives: FloatArray, moments: FloatArray) -> FloatArray:
    """Return how many of the (created, deleted) pairs live at each moment."""
    created, deleted = np.sort(lives[:, 0]), np.sort(lives[:, 1])
    begun = np.searchsorted(created, moments, side="right")
    return np.asarray(begun - np.searchsorted(deleted, moments, side="right"), dtype=np.float64)


def _request(cpu_milli: int, memory: int, gpus: int) -> Resources:
    return Resources.of({"cpu": cpu_milli, "memory": memory} | ({GPU: gpus} if gpus else {}))


def _fixed(
    name: str,
    namespace: str,
    asked: Resources,
    counts: np.ndarray[tuple[int], np.dtype[np.int32]],
    *,
    used: float,
    alone: bool = False,
) -> Service:
    """Return a workload whose replicas and sizes nobody may change."""
    first, most = int(counts[0]), int(counts.max())
    return Service(
        name=name,
        namespace=namespace,
        replica_series=counts,
        idle_cores=asked.cpu / 1000 * used,
        base_bytes=asked.memory * used,
        parallelism=max(asked.cpu / 1000, 0.001),
        pod_requests=asked,
        pod_limits=asked.only(("memory",)),
        replicas=first,
        min_replicas=0,
        max_replicas=max(most, 1),
        anti_affinity=("kubernetes.io/hostname",) if alone else (),
        exports_requests=False,
        exports_latency=False,
        scalable=False,
    )
