"""
What objects of other controllers say of the nodes they own, as node groups.

The annotations on capacity are those of Cluster Autoscaler's Cluster API
provider (its README, section "Scale from zero support"); they are read on
every kind. Everything here is pure, and raises ValueError with path, value and
what is allowed for an object that cannot be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from autoscaler.model.node import ON_DEMAND, SPOT, InstanceType, NodeGroup, NodeTemplate, Offering
from autoscaler.model.placement import Effect, Taint, labels_of
from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB
from autoscaler.providers.machines import Machine, machines

Document = Mapping[str, Any]
CAPACITY = "capacity.cluster-autoscaler.kubernetes.io/"
USD_PER_HOUR, BOOT_SECONDS = "podnode.io/usd-per-hour", "podnode.io/boot-seconds"
"""Annotations on an object of any kind: what a node costs, and how long it takes to come up."""
INSTANCE_TYPE, ZONE = "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone"
_AMOUNTS = {"cpu": "cpu", "memory": "memory", "ephemeral-disk": "ephemeral-storage", "maxPods": "pods"}
_MOST_PODS = 110
"""The kubelet's own default."""
_USD_PER_CORE, _USD_PER_GIB, _SPOT_SHARE = 0.0316, 0.0042, 0.35
"""An estimate for machines that no table knows: what a general machine costs by Google's list (N2, us-central1)."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """
    A kind of object that sizes nodes. `size` is the path of the one field that is set.

    `read` makes a group of an object, None of one that nobody gave us. `node_label` is
    what nodes say of their group; `chooses` tells that single nodes can be deleted.
    """

    kind: str
    api_group: str
    versions: tuple[str, ...]
    plural: str
    size: tuple[str, ...]
    read: Callable[[Document], NodeGroup | None]
    selector: str = ""
    node_label: str = ""
    chooses: bool = False


class Design(msgspec.Struct, frozen=True, kw_only=True):
    """What an object says of its nodes; `types` are names of machine types, any of which a node may be."""

    types: tuple[str, ...] = ()
    spot: bool = False
    zone: str = ""
    labels: Mapping[str, str] = {}
    taints: tuple[Taint, ...] = ()
    boot_seconds: float = 90.0


def field(document: Document, *path: str) -> Any:
    """Return what is at *path*, None where that leads nowhere."""
    found: Any = document
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def words(document: Document, *path: str) -> dict[str, str]:
    """Return a map of texts, empty where there is none."""
    found = field(document, *path)
    if found is None:
        return {}
    if not isinstance(found, Mapping) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError(f"{'.'.join(path)}: {found!r} is not valid; allowed: a map of texts")
    return dict(found)


def annotations_of(document: Document) -> dict[str, str]:
    return words(document, "metadata", "annotations")


def count(document: Document, *path: str, default: int | None = None) -> int:
    """Return a whole number of at least 0."""
    return whole(field(document, *path), ".".join(path), default=default)


def whole(found: object, path: str, *, default: int | None = None) -> int:
    """Return *found*, a number or a number's digits, as a whole number of at least 0."""
    if found is None and default is not None:
        return default
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 10:
        return int(found)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ValueError(f"{path}: {found!r} is not valid; allowed: a whole number of at least 0")
    return found


def group_of(  # one value for each thing that kinds tell in ways of their own
    document: Document, design: Design, *, name: str, size: int, bounds: tuple[int, int], kind: Kind, provider: str
) -> NodeGroup:
    """Return the group that an object with this *design* sizes."""
    notes, least, most = annotations_of(document), *bounds
    if most < least:
        raise ValueError(f"the size's bounds: {least} to {most} is not valid; allowed: a maximum not below the minimum")
    told = told_capacity(notes)
    is_told = told.cpu > 0 and told.memory > 0
    known = [_machine(each) for each in design.types if each in machines() or not is_told]
    zone, labels = design.zone, {**design.labels, **_pairs(notes.get(f"{CAPACITY}labels", ""), f"{CAPACITY}labels")}
    machine_type = design.types[0] if design.types else labels.get(INSTANCE_TYPE, name)
    labels = {"kubernetes.io/os": "linux", INSTANCE_TYPE: machine_type, **labels}
    labels |= {"kubernetes.io/arch": known[0].arch} if known and "kubernetes.io/arch" not in labels else {}
    labels |= {ZONE: zone} if zone else {}
    capacity = _smallest([each.capacity for each in known], told)
    return NodeGroup(
        name=name,
        template=NodeTemplate(
            instance_type=machine_type,
            allocatable=_smallest([each.allocatable for each in known], told),
            capacity=capacity,
            labels=labels_of(labels),
            taints=(*design.taints, *_taints(notes.get(f"{CAPACITY}taints", ""))),
        ),
        target_size=size,
        usd_per_hour=_price(notes, known, capacity, spot=design.spot),
        min_size=least,
        max_size=most,
        zone=labels.get(ZONE, ""),
        capacity_type=SPOT if design.spot else ON_DEMAND,
        boot_seconds=_number(notes, BOOT_SECONDS, design.boot_seconds),
        provider=provider,
        deletes_chosen=kind.chooses,
    )


def instance_type_of(group: NodeGroup) -> InstanceType:
    """Return the one machine type that stands for a group's."""
    template = group.template
    offering = Offering(zone=group.zone, capacity_type=group.capacity_type, usd_per_hour=group.usd_per_hour)
    return InstanceType(
        name=template.instance_type,
        capacity=template.capacity,
        allocatable=template.allocatable,
        labels=template.labels,
        offerings=(offering,),
    )


def told_capacity(notes: Mapping[str, str]) -> Resources:
    """
    Return what the annotations on capacity tell.

    >>> told_capacity({CAPACITY + "cpu": "4", CAPACITY + "memory": "16Gi", CAPACITY + "gpu-count": "1"})
    Resources(cpu=4, memory=16Gi, nvidia.com/gpu=1)
    """
    found: dict[str, int] = {}
    for key, resource in _AMOUNTS.items():
        text = notes.get(f"{CAPACITY}{key}")
        if text is not None:
            found[resource] = _amount(resource, text, f"{CAPACITY}{key}")
    gpus = whole(notes.get(f"{CAPACITY}gpu-count", "0"), f"annotation {CAPACITY}gpu-count")
    if gpus:
        found[notes.get(f"{CAPACITY}gpu-type", "nvidia.com/gpu")] = gpus
    return Resources.of(found)


def effect_of(text: object, path: str) -> Effect:
    """Return the effect that the clouds write in capitals: `NO_SCHEDULE`."""
    found = {each.upper(): each for each in Effect}.get(str(text).replace("_", "").upper())
    if found is None:
        allowed = "NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE"
        raise ValueError(f"{path}: {text!r} is not valid; allowed: {allowed}")
    return found


def appliers_of(document: Document, *path: str) -> tuple[str, ...]:
    """
    Return who set the field at *path* by server-side apply, and so will set it again.

    Source: Kubernetes documentation, "Server-Side Apply", section "Field management".
    """
    found = []
    for entry in field(document, "metadata", "managedFields") or ():
        owned: Any = entry.get("fieldsV1", {})
        for key in path:
            owned = owned.get(f"f:{key}") if isinstance(owned, Mapping) else None
        if owned is not None and entry.get("operation") == "Apply" and not entry.get("subresource"):
            found.append(str(entry.get("manager", "")))
    return tuple(sorted(found))


def _machine(name: str) -> Machine:
    found = machines().get(name)
    if found is None:
        raise ValueError(f"machine type {name!r} is not known; allowed: one of the tables, or annotations {CAPACITY}*")
    return found


def _smallest(known: list[Resources], told: Resources) -> Resources:
    """Return the least that all machines have, with what is told in its place."""
    least = dict(known[0].items()) if known else {}
    for each in known[1:]:
        least = {name: min(amount, each.get(name)) for name, amount in least.items()}
    found = Resources.of({"pods": _MOST_PODS, **least, **dict(told.items())})
    if found.cpu <= 0 or found.memory <= 0:
        raise ValueError(f"nothing tells what a node has; allowed: annotations {CAPACITY}cpu and {CAPACITY}memory")
    return found


def _price(notes: Mapping[str, str], known: list[Machine], capacity: Resources, *, spot: bool) -> float:
    if USD_PER_HOUR in notes:
        return _number(notes, USD_PER_HOUR, 0.0)
    if known:
        return max(each.usd_per_hour_spot if spot else each.usd_per_hour for each in known)
    whole_price = capacity.cpu / 1000 * _USD_PER_CORE + capacity.memory / GIB * _USD_PER_GIB
    return whole_price * (_SPOT_SHARE if spot else 1.0)


def _number(notes: Mapping[str, str], key: str, default: float) -> float:
    text = notes.get(key)
    if text is None:
        return default
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < 1e6:
        raise ValueError(f"annotation {key}: {text!r} is not valid; allowed: a number of at least 0")
    return found


def _amount(resource: str, text: str, key: str) -> int:
    try:
        found = Resources.parse({resource: text}).get(resource)
    except ValueError as error:
        raise ValueError(f"annotation {key}: {text!r} is not valid; allowed: a Kubernetes quantity") from error
    if found < 0:
        raise ValueError(f"annotation {key}: {text!r} is not valid; allowed: at least 0")
    return found


def _pairs(text: str, key: str) -> dict[str, str]:
    """Read `a=b,c=d`."""
    found = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, sign, value = part.partition("=")
        if not name or not sign:
            raise ValueError(f"annotation {key}: {part!r} is not valid; allowed: `key=value`, several with commas")
        found[name] = value
    return found


def _taints(text: str) -> tuple[Taint, ...]:
    """Read `key=value:Effect,key:Effect`."""
    found = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        head, _, effect = part.rpartition(":")
        key, _, value = head.partition("=")
        if not key or effect not in frozenset(Effect):
            allowed = f"`key=value:Effect`, Effect one of {', '.join(Effect)}"
            raise ValueError(f"annotation {CAPACITY}taints: {part!r} is not valid; allowed: {allowed}")
        found.append(Taint(key, Effect(effect), value))
    return tuple(found)
