"""
Packing instances for benchmarks and tests: synthetic pod classes on real machine types.

Machine types, prices and pod limits are those of the bundled AWS table; pods
are drawn from a seed, with the shapes of a mixed cluster: many small services,
some memory-heavy stores, a few GPU jobs, two architectures.
"""

from __future__ import annotations

import csv
from importlib.resources import files

import msgspec
import numpy as np

from autoscaler.model.units import GIB, MIB
from autoscaler.providers.allocatable import GPU, eks_allocatable
from autoscaler.scheduling.binpack import PackInput

RESOURCES = ("cpu", "memory", "pods", GPU)
DAEMON_CPU, DAEMON_MEMORY, DAEMON_PODS = 250, 512 * MIB, 5


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the bundled table; `room` is allocatable less DaemonSets, in the order of `RESOURCES`."""

    name: str
    arch: str
    gpus: int
    usd_per_hour: float
    room: tuple[int, int, int, int]


def aws_machines() -> list[Machine]:
    """Return the bundled types that have room for pods at all."""
    text = (files("autoscaler.providers") / "tables" / "aws_instance_types.csv").read_text("utf-8")
    machines = []
    for row in csv.DictReader(text.splitlines()):
        gpus, cores, pods = int(row["gpus"]), int(row["vcpu"]), int(row["max_pods"])
        left = eks_allocatable(cores=cores, memory_bytes=int(row["memory_mib"]) * MIB, max_pods=pods, gpus=gpus)
        room = (left.cpu - DAEMON_CPU, left.memory - DAEMON_MEMORY, pods - DAEMON_PODS, gpus)
        if min(room[:3]) > 0:
            price = float(row["usd_per_hour"])
            machines.append(Machine(name=row["name"], arch=row["arch"], gpus=gpus, usd_per_hour=price, room=room))
    return machines


def packing_instance(*, pods: int, classes: int, seed: int, spot: bool = False, gpu_share: float = 0.003) -> PackInput:
    """
    Draw an instance.

    *gpu_share* of the pods ask for GPUs. *spot* multiplies each price by its own
    U(0.25, 0.6), which makes any type the odd one out.
    """
    rng = np.random.default_rng(seed)
    machines = aws_machines()
    prices = np.array([machine.usd_per_hour for machine in machines])
    if spot:
        prices = prices * rng.uniform(0.25, 0.6, len(machines))
    gpu_classes = max(1, classes // 20) if gpu_share > 0 else 0
    requests = _requests(rng, classes, gpu_classes)
    # Larger pods have fewer siblings.
    weights = (rng.pareto(1.3, classes) + 0.1) / np.sqrt(requests[:, 0])
    weights[classes - gpu_classes :] = 0.0
    counts = rng.multinomial(pods - int(pods * gpu_share), weights / weights.sum())
    if gpu_classes:
        counts[classes - gpu_classes :] = rng.multinomial(int(pods * gpu_share), np.full(gpu_classes, 1 / gpu_classes))
    allowed = _architectures(rng, machines, classes, gpu_classes)
    has_gpu = np.array([machine.gpus > 0 for machine in machines])
    # A CPU pod on a GPU machine wastes the GPU: clusters taint these, so the mask bars them.
    allowed[: classes - gpu_classes, has_gpu] = False
    return PackInput(
        requests=requests,
        counts=np.maximum(counts, 0).astype(np.int64),
        capacity=np.array([machine.room for machine in machines], dtype=np.int64),
        usd_per_hour=prices,
        room=np.full(len(machines), np.inf),
        compatible=allowed,
        max_per_node=np.zeros(classes, dtype=np.int64),
    )


def _requests(rng: np.random.Generator, classes: int, gpu_classes: int) -> np.ndarray:
    ladder = np.array([20, 50, 50, 100, 100, 100, 200, 200, 250, 250, 500, 500, 1000, 2000, 4000, 7000])
    cpu = rng.choice(ladder, classes)
    gib_per_core = np.exp(rng.normal(np.log(3.2), 0.8, classes))
    memory = np.clip(cpu / 1000 * gib_per_core * GIB, 64 * MIB, 56 * GIB)
    memory = np.ceil(memory / (32 * MIB)) * 32 * MIB
    gpus = np.zeros(classes)
    first = classes - gpu_classes
    gpus[first:] = rng.choice([1, 1, 1, 2, 4], gpu_classes)
    cpu[first:] = np.maximum(1000, gpus[first:] * rng.choice([1500, 3000, 6000], gpu_classes))
    memory[first:] = gpus[first:] * rng.choice([6, 12, 24], gpu_classes) * GIB
    return np.column_stack([cpu, memory, np.ones(classes), gpus]).astype(np.int64)


def _architectures(rng: np.random.Generator, machines: list[Machine], classes: int, gpu_classes: int) -> np.ndarray:
    """Six in ten run on both architectures, the others on amd64 only (as all GPU pods do), a few on arm64 only."""
    arm = np.array([machine.arch == "arm64" for machine in machines])
    choice = rng.choice(3, classes, p=[0.6, 0.37, 0.03])
    allowed = np.ones((classes, len(machines)), dtype=bool)
    choice[classes - gpu_classes :] = 1
    allowed[choice == 1] = ~arm
    allowed[choice == 2] = arm
    return allowed
