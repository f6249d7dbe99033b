"""
What the simulated cloud sells: NodeGroup documents of provider `kwok` joined with the bundled machine tables.

Each document gives one node group for each machine type, zone and capacity
type that its requirements allow (Karpenter's NodePool, section "requirements"):
named as the document where that is one, else `document.type.zone.capacity`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

import msgspec

from autoscaler.model.node import SPOT, InstanceType, NodeGroup, NodeTemplate, Offering
from autoscaler.model.placement import Effect, Operator, Requirement, Taint, labels_of
from autoscaler.model.policy import GroupPrice, GroupRequirement, NodeGroupPolicy
from autoscaler.model.units import HOUR, MIB
from autoscaler.providers.machines import Machine, machines
from autoscaler.scheduling.requirements import requirement_is_valid, requirement_matches

PROVIDER = "kwok"
GROUP_LABEL = "podnode.io/group"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ZONE = "topology.kubernetes.io/zone"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
BOOT_SECONDS, STOCK, FAILURE_SHARE = "podnode.io/boot-seconds", "podnode.io/stock", "podnode.io/failure-share"
SOLD_OUT, SPOT_SECONDS, NOTICE_SECONDS = "podnode.io/sold-out", "podnode.io/spot-seconds", "podnode.io/notice-seconds"
"""Tags in a document's `match.tags` that say how the simulated cloud behaves."""
_TAGS = (BOOT_SECONDS, STOCK, FAILURE_SHARE, SOLD_OUT, SPOT_SECONDS, NOTICE_SECONDS)
_LONGEST_NAME = 55
"""Leaves room for a node's number: the hostname is a label's value, at most 63 characters."""
_QUICK_BOOT = 5.0
"""What the planner counts with where nodes are ready as soon as kwok sees them."""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """
    How one document's machines behave. `boot_seconds` until Ready; `stock` is how many of
    each group there are to buy, None for any number; `failure_share` (0-1) of the calls that buy fail.
    Spot machines are taken back after `spot_seconds` on average, 0 for never, `notice_seconds` after they
    were told. Nothing is to be had where `sold_out` has the type, or `type/zone`.
    """

    boot_seconds: float = 0.0
    stock: int | None = None
    failure_share: float = 0.0
    sold_out: frozenset[str] = frozenset()
    spot_seconds: float = 0.0
    notice_seconds: float = 120.0


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One group that can be sized; its bounds are those of the whole `document`, its size is not known here."""

    document: str
    group: NodeGroup
    instance_type: InstanceType
    behaviour: Behaviour


def offers_of(documents: Iterable[NodeGroupPolicy]) -> tuple[Mapping[str, Offer], tuple[str, ...]]:
    """
    Return the offers by group name, in order, and what is wrong with documents that offer nothing.

    A document that is wrong harms no other; those of other providers are left out.
    """
    found: dict[str, Offer] = {}
    problems: list[str] = []
    for document in sorted(documents, key=lambda each: each.name):
        if document.spec.provider != PROVIDER:
            continue
        try:
            offers = _offers(document)
        except ValueError as problem:
            problems.append(f"NodeGroup {document.name}: {problem}")
            continue
        taken = [offer.group.name for offer in offers if offer.group.name in found]
        if taken:
            problems.append(f"NodeGroup {document.name}: metadata.name: group {taken[0]} is that of another document")
            continue
        found.update((offer.group.name, offer) for offer in offers)
    return dict(sorted(found.items())), tuple(problems)


def price_of(price: GroupPrice, machine: Machine, *, spot: bool) -> float:
    """
    Return USD an hour for one machine.

    A price by type takes the list price's place, and spot keeps its share of
    it. An adjustment is a share (`-28%`), an amount to add where it has a sign, else the price.
    """
    listed = machine.usd_per_hour_spot if spot else machine.usd_per_hour
    own = price.per_type.get(machine.name)
    if own is not None:
        share = machine.usd_per_hour_spot / machine.usd_per_hour if spot and machine.usd_per_hour else 1.0
        listed = own.number * share
    text = price.adjustment
    if text.endswith("%"):
        listed *= 1 + float(text[:-1]) / 100
    elif text.startswith(("+", "-")):
        listed += float(text)
    elif text:
        listed = float(text)
    return max(0.0, listed)


def _offers(document: NodeGroupPolicy) -> list[Offer]:
    """Raises ValueError, with path, value and what is allowed, for a document that cannot offer anything."""
    behaviour = _behaviour(document.spec.match.tags)
    chosen = list(_candidates(document))
    if not chosen:
        raise ValueError("spec.requirements: no machine type of the tables satisfies them all, in any zone they name")
    _check_variety(document.spec.requirements, [labels for *_, labels in chosen])
    return [
        _offer(document, machine, labels, behaviour=behaviour, spot=capacity_type == SPOT, alone=len(chosen) == 1)
        for machine, capacity_type, labels in chosen
    ]


def _candidates(document: NodeGroupPolicy) -> Iterator[tuple[Machine, str, dict[str, str]]]:
    spec = document.spec
    tests = [_test(requirement, f"spec.requirements[{index}]") for index, requirement in enumerate(spec.requirements)]
    zones = sorted(
        {value for test in tests if test.key == ZONE and test.operator is Operator.IN for value in test.values}
    )
    for name in sorted(machines()):
        machine = machines()[name]
        for zone in zones or [""]:
            for capacity_type in sorted(set(spec.capacity_types)):
                labels = {**spec.template.labels, **_labels(machine, zone, capacity_type)}
                if all(requirement_matches(test, labels) for test in tests):
                    yield machine, capacity_type, labels


def _labels(machine: Machine, zone: str, capacity_type: str) -> dict[str, str]:
    """Return what a node of this kind tells of itself, under the clouds' and Karpenter's own keys."""
    labels = {
        INSTANCE_TYPE: machine.name,
        CAPACITY_TYPE: capacity_type,
        "kubernetes.io/arch": machine.arch,
        "kubernetes.io/os": "linux",
    }
    if zone:
        labels[ZONE] = zone
    if machine.cloud == "gcp":
        return {**labels, "cloud.google.com/machine-family": machine.name.partition("-")[0]}
    family, _, size = machine.name.partition(".")
    prefix = "karpenter.k8s.aws/instance-"
    return {
        **labels,
        f"{prefix}family": family,
        f"{prefix}size": size,
        f"{prefix}cpu": str(machine.capacity.cpu // 1000),
        f"{prefix}memory": str(machine.capacity.memory // MIB),
    }


def _test(requirement: GroupRequirement, path: str) -> Requirement:
    operator, values = requirement.operator, requirement.values
    if operator in ("Gte", "Lte") and values:
        # The scheduler knows whole numbers with Gt and Lt only.
        step = -1 if operator == "Gte" else 1
        operator, values = operator[:2], (str(_whole(values[0], f"{path}.values") + step),)
    if operator not in frozenset(Operator):
        raise ValueError(f"{path}.operator: {operator!r} is not valid; allowed: {', '.join(Operator)}, Gte, Lte")
    test = Requirement(requirement.key, Operator(operator), tuple(values))
    if not requirement_is_valid(test):
        raise ValueError(f"{path}: {requirement.key} {operator} {list(values)} is no test of a label")
    return test


def _check_variety(requirements: Sequence[GroupRequirement], chosen: Sequence[Mapping[str, str]]) -> None:
    for index, requirement in enumerate(requirements):
        least = requirement.min_values or 0
        there = len({labels[requirement.key] for labels in chosen if requirement.key in labels})
        if there < least:
            raise ValueError(f"spec.requirements[{index}].minValues: {least}, and only {there} are to be had")


def _behaviour(tags: Mapping[str, str]) -> Behaviour:
    unknown = sorted(set(tags) - set(_TAGS))
    if unknown:
        raise ValueError(f"spec.match.tags: {unknown[0]!r} is not known; allowed for kwok: {', '.join(_TAGS)}")
    share = _number(tags, FAILURE_SHARE, 0.0)
    if share > 1:
        raise ValueError(f"spec.match.tags: {FAILURE_SHARE} {tags[FAILURE_SHARE]!r} is not valid; allowed: 0 to 1")
    stock = _whole(tags[STOCK], f"spec.match.tags: {STOCK}") if STOCK in tags else None
    return Behaviour(
        boot_seconds=_number(tags, BOOT_SECONDS, 0.0),
        stock=stock,
        failure_share=share,
        sold_out=_sold_out(tags.get(SOLD_OUT, "")),
        spot_seconds=_number(tags, SPOT_SECONDS, 0.0),
        notice_seconds=_number(tags, NOTICE_SECONDS, 120.0),
    )


def _sold_out(text: str) -> frozenset[str]:
    found = frozenset(filter(None, (each.strip() for each in text.split(","))))
    unknown = sorted(each for each in found if each.partition("/")[0] not in machines())
    if unknown:
        raise ValueError(f"spec.match.tags: {SOLD_OUT} {unknown[0]!r} is not valid; allowed: TYPE or TYPE/ZONE")
    return found


def _number(tags: Mapping[str, str], key: str, default: float) -> float:
    text = tags.get(key)
    if text is None:
        return default
    try:
        found = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        found = -1.0
    if not 0 <= found <= 86400:
        raise ValueError(f"spec.match.tags: {key} {text!r} is not valid; allowed: a number from 0 to 86400")
    return found


def _whole(text: str, path: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{path}: {text!r} is not valid; allowed: a whole number")
    return int(text)


def _offer(
    document: NodeGroupPolicy,
    machine: Machine,
    labels: dict[str, str],
    *,
    behaviour: Behaviour,
    spot: bool,
    alone: bool,
) -> Offer:
    spec, zone, capacity_type = document.spec, labels.get(ZONE, ""), labels[CAPACITY_TYPE]
    price = price_of(spec.price, machine, spot=spot)
    kind = InstanceType(
        name=machine.name,
        capacity=machine.capacity,
        allocatable=machine.allocatable,
        labels=labels_of(labels),
        offerings=(Offering(zone=zone, capacity_type=capacity_type, usd_per_hour=price),),
    )
    parts = (document.name,) if alone else (document.name, machine.name, zone, capacity_type)
    name = _short(".".join(filter(None, parts)))
    template = NodeTemplate(
        instance_type=machine.name,
        allocatable=machine.allocatable,
        capacity=machine.capacity,
        labels=labels_of({**labels, GROUP_LABEL: name}),
        taints=tuple(Taint(taint.key, Effect(taint.effect), taint.value) for taint in spec.template.taints),
    )
    group = NodeGroup(
        name=name,
        template=template,
        target_size=0,
        usd_per_hour=price,
        min_size=spec.size.min,
        max_size=spec.size.max,
        zone=zone,
        capacity_type=capacity_type,
        weight=spec.weight,
        boot_seconds=behaviour.boot_seconds or _QUICK_BOOT,
        provider=PROVIDER,
        interruptions_per_hour=HOUR / behaviour.spot_seconds if spot and behaviour.spot_seconds else 0.0,
    )
    if behaviour.sold_out & {machine.name, f"{machine.name}/{zone}"}:
        behaviour = msgspec.structs.replace(behaviour, stock=0)
    return Offer(document=document.name, group=group, instance_type=kind, behaviour=behaviour)


def _short(name: str) -> str:
    """Return *name* as it can be a label's value and the beginning of a node's name."""
    name = name.lower()
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9].rstrip('-.')}-{digest}"
