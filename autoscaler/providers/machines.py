"""The bundled tables of machine types: what each has, and what it costs by list price."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

import msgspec

from autoscaler.model.resources import Resources
from autoscaler.model.units import MIB
from autoscaler.providers.allocatable import GPU, eks_allocatable, gke_allocatable

_TABLES = {"aws_instance_types.csv": "aws", "gcp_machine_types.csv": "gcp"}
_SPOT_SHARE = 0.35
"""Share of the list price that spot costs where the table has no spot price."""


class Machine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    One machine type. `capacity` is what it has, `allocatable` what its cloud's kubelet leaves for pods;
    DaemonSets are not taken off.
    """

    name: str
    cloud: str
    arch: str
    capacity: Resources
    allocatable: Resources
    usd_per_hour: float
    usd_per_hour_spot: float


@lru_cache(maxsize=1)
def machines() -> Mapping[str, Machine]:
    """Return all machine types by name; names differ between the clouds."""
    return {
        machine.name: machine
        for table, cloud in _TABLES.items()
        for machine in (_machine(row, cloud) for row in _rows(table))
    }


def _rows(table: str) -> csv.DictReader[str]:
    text = files("autoscaler.providers").joinpath("tables", table).read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())


def _machine(row: Mapping[str, str], cloud: str) -> Machine:
    cores, pods, gpus = int(row["vcpu"]), int(row["max_pods"]), int(row["gpus"])
    memory, price = int(row["memory_mib"]) * MIB, float(row["usd_per_hour"])
    if cloud == "gcp":
        shared = row["shared_core"] == "true"
        left = gke_allocatable(cores=cores, memory_bytes=memory, max_pods=pods, gpus=gpus, shared_core=shared)
    else:
        left = eks_allocatable(cores=cores, memory_bytes=memory, max_pods=pods, gpus=gpus)
    return Machine(
        name=row["name"],
        cloud=cloud,
        arch=row["arch"],
        capacity=Resources.of({GPU: gpus} if gpus else {}, cpu=cores * 1000, memory=memory, pods=pods),
        allocatable=left,
        usd_per_hour=price,
        usd_per_hour_spot=float(row.get("usd_per_hour_spot") or price * _SPOT_SHARE),
    )
