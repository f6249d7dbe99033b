"""Why pods fit on none of the groups, in words that say what would help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autoscaler.model.node import NodeTemplate
from autoscaler.model.pod import PodShape
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.resources import Resources, format_amount
from autoscaler.planning.cost import room_of
from autoscaler.planning.offers import Market, at_maximum, with_known_labels
from autoscaler.scheduling.requests import node_demand
from autoscaler.scheduling.requirements import can_use_volumes, label_map, matches_node_affinity, untolerated_taint

_NAMES_SHOWN = 5


def why_nowhere(shape: PodShape, market: Market, growth: Mapping[str, int]) -> tuple[Reason, ...]:
    """
    Return why no group of *market* can take the pod besides its *growth* so far, alike groups together.

    The first reason sums up; its detail has one entry for each lack, naming the
    groups. Groups that would do but may not grow now follow with their own.
    """
    need = node_demand(shape)
    lacks: dict[str, list[str]] = {}
    short: dict[str, list[tuple[str, int]]] = {}
    barred: list[Reason] = []
    held_up = {each.group.name: each.reason for each in market.barred}
    full = (offer for offer in market.offers if growth.get(offer.group.name, 0) >= offer.room)
    held_up.update((offer.group.name, at_maximum(offer.group, offer.group.max_size)) for offer in full)
    groups = [offer.group for offer in market.offers] + [each.group for each in market.barred]
    for group in sorted(groups, key=lambda group: group.name):
        lack = _label_lack(shape, with_known_labels(group))
        missing = _missing(need, room_of(group))
        if lack:
            lacks.setdefault(lack, []).append(group.name)
        elif missing:
            name = min(missing)
            short.setdefault(name, []).append((group.name, missing[name]))
        elif group.name in held_up:
            barred.append(held_up[group.name])
        else:
            lacks.setdefault("rules between pods or on spot forbid it", []).append(group.name)
    for resource, found in short.items():
        lacks[_short_by(resource, [amount for _, amount in found])] = [name for name, _ in found]
    return (_summary(lacks, bool(groups)), *barred) if lacks or not barred else tuple(barred)


def _summary(lacks: Mapping[str, list[str]], any_group: bool) -> Reason:
    if not any_group:
        return Reason(Code.NO_GROUP_FITS, "there is no node group to grow", ())
    detail = tuple(sorted((lack, _names(names)) for lack, names in lacks.items()))
    parts = "; ".join(f"{_names(lacks[lack])}: {lack}" for lack, _ in detail)
    return Reason(Code.NO_GROUP_FITS, f"fits on no node group: {parts}", detail)


def _label_lack(shape: PodShape, template: NodeTemplate) -> str:
    taint = untolerated_taint(shape, template.taints)
    if taint is not None:
        value = f"={taint.value}" if taint.value else ""
        return f"taint {taint.key}{value}:{taint.effect.value} not tolerated"
    if shape.node_name:
        return f"the pod names node {shape.node_name}"
    labels = label_map(template.labels)
    for key, value in shape.node_selector:
        if labels.get(key) != value:
            return f"node selector {key}={value} not met"
    if not matches_node_affinity(shape, labels, ""):
        return "required node affinity not met"
    if () in shape.volume_terms:
        return "a volume of the pod is not there, nor made when the pod is placed, or is another pod's alone"
    return "" if can_use_volumes(shape, labels) else "a volume of the pod cannot be used there"


def _missing(need: Resources, room: Resources) -> dict[str, int]:
    """Return what an empty node is short of, by resource."""
    return {name: amount - room.get(name) for name, amount in need.items() if amount > room.get(name)}


def _short_by(resource: str, amounts: Iterable[int]) -> str:
    amounts = sorted(amounts)
    low, high = format_amount(resource, amounts[0]), format_amount(resource, amounts[-1])
    return f"{resource} short by {low}" if low == high else f"{resource} short by {low} to {high}"


def _names(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
