"""Which machines a scenario offers, and at what price."""

from __future__ import annotations

import math
from pathlib import Path

from autoscaler.backtest.schema import CapacityType, Catalogue, Nodes, NodeTypeEntry
from autoscaler.backtest.traces import Field, find_file, number, read_rows
from autoscaler.model.node import InstanceType, Offering
from autoscaler.model.resources import Resources
from autoscaler.model.units import MIB
from autoscaler.providers.allocatable import GPU, eks_allocatable, gke_allocatable
from autoscaler.simulator.spec import InstancePool

MAX_TYPES = 1500

# spotinfo's bands are shares interrupted within a month: the middle of each.
_MONTHLY_INTERRUPTIONS = {0: 0.025, 1: 0.075, 2: 0.125, 3: 0.175, 4: 0.25}
_HOURS_A_MONTH = 730.0


def pools_of(
    nodes: Nodes, folders: tuple[Path, ...], field: Field, *, boot: tuple[float, float]
) -> tuple[InstancePool, ...]:
    """
    Return what can be bought, by name. *boot* is the median in seconds and the spread of boot times.

    Raises:
        ScenarioError: the catalogue cannot be read, nothing is left of it, or a name stands twice.
    """
    types = [_from_entry(entry, nodes, field.at(f"types[{place}]")) for place, entry in enumerate(nodes.types)]
    if nodes.catalogue is not None:
        types += _from_catalogue(nodes.catalogue, nodes, folders, field.at("catalogue"))
    names = [kind.name for kind in types]
    if not types or len(set(names)) != len(names) or len(types) > MAX_TYPES:
        raise field.error(sorted(names)[:5], f"1 to {MAX_TYPES} instance types with different names")
    return tuple(
        InstancePool(
            instance=kind, max_nodes=nodes.max_count, boot_seconds=boot[0], boot_spread=boot[1], labels=kind.labels
        )
        for kind in sorted(types, key=lambda kind: kind.name)
    )


def _from_entry(entry: NodeTypeEntry, nodes: Nodes, field: Field) -> InstanceType:
    spot = entry.spot_price
    prices = {CapacityType.ON_DEMAND: (entry.price, 0.0)}
    if spot is not None:
        prices[CapacityType.SPOT] = (spot, entry.interruptions_per_hour)
    made = _instance_type(
        entry.name,
        (entry.cpu, entry.memory.whole, entry.gpus, entry.max_pods),
        offerings=_offerings(nodes, prices),
    )
    if not made.offerings:
        raise field.at("spotPrice").error(spot, "a price, since capacityTypes has nothing but spot")
    if made.allocatable.memory <= 0:
        raise field.at("memory").error(entry.memory, "more than the kubelet keeps for itself, such as 2Gi")
    return made


def _from_catalogue(catalogue: Catalogue, nodes: Nodes, folders: tuple[Path, ...], field: Field) -> list[InstanceType]:
    path = find_file(catalogue.file, folders, field.at("file"))
    spot = _spot_advice(catalogue, folders, field) if CapacityType.SPOT in nodes.capacity_types else {}
    columns = ("name", "vcpu", "memory_mib", "gpus", catalogue.price_column)
    rows = read_rows(path, field.at("file"), columns)
    found = [_from_row(row, catalogue, nodes, spot) for row in rows if _is_wanted(row, catalogue)]
    unknown = sorted(set(catalogue.names) - {kind.name for kind in found})
    if unknown or not found:
        wanted = "types in" if unknown else "fields that leave some of the types in"
        raise (field.at("names") if unknown else field).error(
            unknown or catalogue.file, f"{wanted} {path.name}, with a price, not filtered out by the other fields"
        )
    return found


def _is_wanted(row: dict[str, str], catalogue: Catalogue) -> bool:
    name = row["name"]
    family = name.split(".")[0] if "." in name else name.split("-")[0]
    has_gpus = number(row["gpus"]) > 0
    return (
        number(row[catalogue.price_column]) > 0
        and number(row["vcpu"]) > 0
        and number(row["memory_mib"]) > 0
        and (not catalogue.names or name in catalogue.names)
        and (not catalogue.families or family in catalogue.families)
        and catalogue.min_cpu <= number(row["vcpu"]) <= catalogue.max_cpu
        and (catalogue.gpus is None or catalogue.gpus == has_gpus)
        and (name in catalogue.names or row.get("bare_metal", "False") != "True")
    )


def _from_row(
    row: dict[str, str], catalogue: Catalogue, nodes: Nodes, spot: dict[str, tuple[float, float]]
) -> InstanceType:
    name, price = row["name"], number(row[catalogue.price_column])
    pods = number(row.get("max_pods", "") or row.get("default_max_pods", ""))
    prices = {CapacityType.ON_DEMAND: (price, 0.0)}
    if name in spot:
        share, interruptions = spot[name]
        prices[CapacityType.SPOT] = (round(price * share, 6), interruptions * catalogue.interruptions)
    machine = (
        int(number(row["vcpu"])),
        int(number(row["memory_mib"]) * MIB),
        int(number(row["gpus"])),
        110 if math.isnan(pods) else min(250, int(pods)),
    )
    return _instance_type(
        name, machine, offerings=_offerings(nodes, prices), arch=row.get("arch") or "amd64", gke="shared_core" in row
    )


def _instance_type(
    name: str,
    machine: tuple[int, int, int, int],
    *,
    offerings: tuple[Offering, ...],
    arch: str = "amd64",
    gke: bool = False,
) -> InstanceType:
    """Return a type from its (cores, bytes, GPUs, most pods)."""
    cores, memory, gpus, max_pods = machine
    allocatable = gke_allocatable if gke else eks_allocatable
    return InstanceType(
        name=name,
        capacity=Resources.of(
            {"cpu": cores * 1000, "memory": memory, "pods": max_pods} | ({GPU: gpus} if gpus else {})
        ),
        allocatable=allocatable(cores=cores, memory_bytes=memory, max_pods=max_pods, gpus=gpus),
        labels=(("kubernetes.io/arch", arch), ("node.kubernetes.io/instance-type", name)),
        offerings=offerings,
    )


def _spot_advice(catalogue: Catalogue, folders: tuple[Path, ...], field: Field) -> dict[str, tuple[float, float]]:
    """Return (share of the on-demand price, interruptions an hour) by type."""
    if catalogue.spot_advisor is None:
        raise field.at("spotAdvisor").error("nothing", "a file of spot savings, since capacityTypes has spot")
    at = field.at("spotAdvisor")
    advice = {}
    for row in read_rows(find_file(catalogue.spot_advisor, folders, at), at):
        saving, band = number(row.get("savings_pct", "")), number(row.get("interruption_band", ""))
        if row.get("region") == catalogue.region and 0 < saving < 100 and band in _MONTHLY_INTERRUPTIONS:
            monthly = _MONTHLY_INTERRUPTIONS[int(band)]
            advice[row["name"]] = (1 - saving / 100, -math.log(1 - monthly) / _HOURS_A_MONTH)
    return advice


def _offerings(nodes: Nodes, prices: dict[CapacityType, tuple[float, float]]) -> tuple[Offering, ...]:
    return tuple(
        Offering(
            zone=zone,
            capacity_type=capacity.value,
            usd_per_hour=prices[capacity][0],
            interruptions_per_hour=prices[capacity][1],
        )
        for zone in nodes.zones
        for capacity in nodes.capacity_types
        if capacity in prices
    )
