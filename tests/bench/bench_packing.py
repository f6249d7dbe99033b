"""
Packing at the reference size: cost over the certified bound, as planned and as the scheduler realises it.

Baselines run on the same instances: first-fit decreasing on one good type, and
a model of Karpenter's provisioner (pods by size, a node keeps every type that
still holds its pods, the cheapest of them is bought).
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np

from autoscaler.model.node import NodeTemplate
from autoscaler.model.placement import Labels, labels_of
from autoscaler.model.pod import Container, PodShape
from autoscaler.model.resources import Resources
from autoscaler.scheduling.binpack import Packing, PackInput, pack
from autoscaler.scheduling.simulation import Simulation
from tests.bench.instances import RESOURCES, packing_instance

SEEDS = (0, 1, 2)
PODS, CLASSES = 150_000, 300


def run(*, pods: int = PODS, classes: int = CLASSES, seeds: tuple[int, ...] = SEEDS) -> list[dict[str, Any]]:
    """Return one row for each figure; limits are those of the project's goals."""
    pack(packing_instance(pods=500, classes=10, seed=9))
    rows: list[dict[str, Any]] = []
    for kind, spot, limit in (("on_demand", False, 0.02), ("spot", True, 0.05)):
        for seed in seeds:
            name = f"packing_{kind}_seed{seed}"
            instance = packing_instance(pods=pods, classes=classes, seed=seed, spot=spot)
            started = time.process_time()
            packing = pack(instance)
            seconds = time.process_time() - started
            rows += [
                _row(f"{name}_gap_planned", packing.gap, "share", limit),
                _row(f"{name}_cpu", seconds, "cpu_seconds", 1.0),
                _row(f"{name}_gap_first_fit", first_fit(instance) / packing.bound - 1.0, "share", None),
                _row(f"{name}_gap_karpenter_like", karpenter_like(instance) / packing.bound - 1.0, "share", None),
            ]
            if seed == seeds[0]:
                usd, stranded = replay(instance, packing)
                rows += [
                    _row(f"{name}_gap_replayed", usd / packing.bound - 1.0, "share", None),
                    _row(f"{name}_stranded", stranded, "pods", None),
                ]
    return rows + few_pods()


def few_pods() -> list[dict[str, Any]]:
    """Return CPU and quality of purchases for 1 to 50 pods, which load no solver."""
    instances = [
        packing_instance(pods=1 + seed % 50, classes=1 + seed % 8, seed=seed, gpu_share=0.0) for seed in range(60)
    ]
    started = time.process_time()
    quick = [pack(instance) for instance in instances]
    seconds = (time.process_time() - started) / len(instances)
    thorough = [pack(instance, rounds=30) for instance in instances]
    over = sum(each.usd_per_hour for each in quick) / sum(each.usd_per_hour for each in thorough) - 1.0
    return [
        _row("packing_few_pods_cpu", seconds, "cpu_seconds", 0.01),
        _row("packing_few_pods_over_solver", over, "share", 0.02),
    ]


def replay(instance: PackInput, packing: Packing) -> tuple[float, int]:
    """
    Return USD an hour when every pod runs, and how many the first wave stranded.

    Pods arrive mixed on the planned nodes as the scheduler places them; more
    nodes are packed for those that are stranded until none is.
    """
    shapes = [_shape(instance, row) for row in range(len(instance.counts))]
    simulation = Simulation.of(())
    waiting, cost, first = instance.counts.copy(), 0.0, -1
    for _ in range(8):
        _add_nodes(simulation, instance, packing)
        cost += packing.usd_per_hour
        rows = np.flatnonzero(waiting).tolist()
        left = simulation.place_mixed([(shapes[row], int(waiting[row])) for row in rows], waves=4)
        waiting = np.zeros_like(waiting)
        waiting[rows] = left
        first = int(waiting.sum()) if first < 0 else first
        if not waiting.any():
            break
        packing = pack(msgspec.structs.replace(instance, counts=waiting))
    return cost, first


def _add_nodes(simulation: Simulation, instance: PackInput, packing: Packing) -> None:
    for pattern in packing.patterns:
        offer = pattern.offer
        template = NodeTemplate(
            instance_type=f"type-{offer}",
            allocatable=_resources(instance.capacity[offer]),
            labels=_labels(instance, offer),
        )
        for _ in range(pattern.repeat):
            simulation.add_node(template, f"node-{len(simulation.names):06d}")


def _labels(instance: PackInput, offer: int) -> Labels:
    """Say which of the instance's kinds of pods may go there: the mask, as labels."""
    kinds = np.unique(instance.compatible, axis=0)
    return labels_of({f"kind-{kind}": "yes" for kind in np.flatnonzero(kinds[:, offer]).tolist()})


def _shape(instance: PackInput, row: int) -> PodShape:
    kinds = np.unique(instance.compatible, axis=0)
    kind = int(np.flatnonzero((kinds == instance.compatible[row]).all(axis=1))[0])
    requests = _resources(instance.requests[row])
    return PodShape(
        namespace="bench",
        labels=(("app", f"app-{row}"),),
        containers=(Container(name="app", requests=Resources.of(p for p in requests.items() if p[0] != "pods")),),
        node_selector=((f"kind-{kind}", "yes"),),
    )


def _resources(amounts: np.ndarray) -> Resources:
    return Resources.of(zip(RESOURCES, amounts.tolist(), strict=True))


def first_fit(instance: PackInput) -> float:
    """Return the cost of first-fit decreasing, each class on the type that is cheapest for its shape."""
    share = _shares(instance)
    best = np.argmin(np.where(np.isfinite(share), share * instance.usd_per_hour[None], np.inf), axis=1)
    cost = 0.0
    for offer in np.unique(best).tolist():
        rows = np.flatnonzero(best == offer)
        rows = rows[np.argsort(-share[rows, offer], kind="stable")]
        cost += float(instance.usd_per_hour[offer]) * _first_fit_nodes(instance, offer, rows)
    return cost


def _first_fit_nodes(instance: PackInput, offer: int, rows: np.ndarray) -> int:
    """Count nodes that first fit opens; nodes of equal content are one entry with a count."""
    free: list[tuple[np.ndarray, int]] = []
    for row in rows.tolist():
        left, need = int(instance.counts[row]), instance.requests[row]
        asked = need > 0
        after: list[tuple[np.ndarray, int]] = []
        for room, nodes in free:
            each = int((room[asked] // need[asked]).min())
            full = min(nodes, left // each) if each else 0
            part = left - full * each if each and full < nodes else 0
            left -= full * each + part
            for pods, count in ((each, full), (part, int(part > 0)), (0, nodes - full - int(part > 0))):
                if count:
                    after.append((room - pods * need, count))
        each = int((instance.capacity[offer][asked] // need[asked]).min())
        full, part = divmod(left, each)
        after += [
            (instance.capacity[offer] - pods * need, count)
            for pods, count in ((each, full), (part, int(part > 0)))
            if count
        ]
        free = after
    return sum(nodes for _, nodes in free)


def karpenter_like(instance: PackInput) -> float:
    """Return the cost of filling nodes by size with all types open, each then bought as the cheapest that holds it."""
    order = np.lexsort((-instance.requests[:, 1], -instance.requests[:, 0]))
    left = instance.counts.copy()
    fits = instance.compatible & (instance.requests[:, None] <= instance.capacity[None]).all(axis=2)
    cost = 0.0
    while left.any():
        held = np.zeros_like(left)
        used = np.zeros(instance.requests.shape[1], dtype=np.int64)
        open_ = np.ones(len(instance.usd_per_hour), dtype=bool)
        for row in order[left[order] > 0].tolist():
            candidates = open_ & fits[row]
            if not candidates.any():
                continue
            need = instance.requests[row]
            asked = need > 0
            room = (instance.capacity[candidates] - used)[:, asked] // need[asked]
            pods = min(int(left[row]), int(room.min(axis=1).max()))
            if pods <= 0:
                continue
            used = used + pods * need
            held[row] = pods
            open_ = candidates & (used <= instance.capacity).all(axis=1)
        if not held.any():
            break
        taken = held > 0
        repeat = int((left[taken] // held[taken]).min())
        cost += repeat * float(instance.usd_per_hour[open_].min())
        left = left - repeat * held
    return cost


def _shares(instance: PackInput) -> np.ndarray:
    """Return the largest share of a node that a pod takes, infinite where it may not go (C x T)."""
    share = (instance.requests[:, None] / np.maximum(instance.capacity[None], 0.5)).max(axis=2)
    return np.where(instance.compatible & (share <= 1.0), share, np.inf)


def _row(name: str, value: float, unit: str, limit: float | None) -> dict[str, Any]:
    return {"name": name, "value": round(value, 5), "unit": unit, "limit": limit, "ok": limit is None or value <= limit}


if __name__ == "__main__":
    for row in run():
        print(row)
