"""
What can be bought: the groups that may grow now, as columns, and what bars the others.

A group-less provider shows one group for each offering it can launch, so the
same holds for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from autoscaler.model.arrays import Bools, Floats, Ints
from autoscaler.model.node import SPOT, NodeGroup, NodeTemplate
from autoscaler.model.placement import labels_of
from autoscaler.model.pod import PodShape
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.resources import PODS, Resources
from autoscaler.planning.cost import list_price, planning_price, room_of
from autoscaler.scheduling.requirements import can_use_volumes, label_map, matches_node_affinity, untolerated_taint
from autoscaler.scheduling.topology import HOSTNAME, ZONE

INSTANCE_TYPE = "node.kubernetes.io/instance-type"


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """
    A group that may gain `room` more nodes. `template` carries the labels that every node has.

    `usd_per_hour` is the list price, `price` what the planner compares.
    """

    group: NodeGroup
    template: NodeTemplate
    room: int
    usd_per_hour: float
    price: float
    left: Resources

    @property
    def is_spot(self) -> bool:
        return self.group.capacity_type == SPOT

    def domain(self, key: str) -> str | None:
        """Return where a new node would be under topology *key*, None where it has no such label."""
        return label_map(self.template.labels).get(key)


class Barred(msgspec.Struct, frozen=True, kw_only=True):
    """A group that may not grow now, and why."""

    group: NodeGroup
    reason: Reason


class Market:
    """All that may be bought, by group name; remembers which pods may go where."""

    def __init__(self, offers: Sequence[Offer], barred: Sequence[Barred]) -> None:
        """Use `market_of` instead."""
        self.offers = tuple(offers)
        self.barred = tuple(barred)
        self._kinds, self._kind_of = _label_kinds(self.offers)
        self._admits: dict[object, Bools] = {}

    def admits(self, shape: PodShape) -> Bools:
        """Return by offer whether labels and taints let the pod and its volumes in; resources are not looked at."""
        key = (
            shape.node_selector, shape.affinity.node_required, shape.tolerations, shape.node_name, shape.volume_terms
        )  # fmt: skip
        found = self._admits.get(key)
        if found is None:
            answers = np.array([_is_admitted(shape, template) for template in self._kinds], dtype=bool)
            found = answers[self._kind_of] if len(answers) else np.zeros(0, dtype=bool)
            self._admits[key] = found
        return found

    def domains(self, key: str) -> list[str | None]:
        """Return each offer's domain under topology *key*."""
        return [offer.domain(key) for offer in self.offers]

    def capacity(self, resources: Sequence[str]) -> Ints:
        """Return what a node of each offer leaves for pods, by (offer, resource)."""
        rows = [[min(offer.left.get(name), 1 << 52) for name in resources] for offer in self.offers]
        return np.array(rows, dtype=np.int64).reshape(len(self.offers), len(resources))

    def prices(self) -> Floats:
        return np.array([offer.price for offer in self.offers], dtype=np.float64)

    def without(self, growth: Mapping[str, int]) -> Market:
        """Return the market after groups have grown by so many nodes."""
        if not growth:
            return self
        rooms = {offer.group.name: offer.room - growth.get(offer.group.name, 0) for offer in self.offers}
        return self.only([True] * len(self.offers), rooms)

    def only(self, keep: Sequence[bool], rooms: Mapping[str, int]) -> Market:
        """Return the market of the offers marked in *keep*, with less room where *rooms* (by group) says so."""
        return Market(
            [
                msgspec.structs.replace(offer, room=rooms.get(offer.group.name, offer.room))
                for offer, kept in zip(self.offers, keep, strict=True)
                if kept and rooms.get(offer.group.name, offer.room) > 0
            ],
            self.barred,
        )


def market_of(
    groups: Sequence[NodeGroup],
    *,
    now: float,
    usd_per_eviction: float = 0.002,
    growing: Mapping[str, int] | None = None,
) -> Market:
    """
    Return what may be bought at *now* (epoch seconds).

    *growing* is how many nodes this decision has already given to a group.
    Of groups with one name the first counts. Order of *groups* does not matter.
    """
    offers, barred = [], []
    seen: set[str] = set()
    for group in sorted(groups, key=lambda group: group.name):
        if group.name in seen:
            continue
        seen.add(group.name)
        size = group.target_size + (growing or {}).get(group.name, 0)
        reason = _why_barred(group, size, now)
        if reason is not None:
            barred.append(Barred(group=group, reason=reason))
            continue
        offers.append(
            Offer(
                group=group,
                template=with_known_labels(group),
                room=group.max_size - size,
                usd_per_hour=list_price(group),
                price=planning_price(group, usd_per_eviction=usd_per_eviction),
                left=room_of(group),
            )
        )
    return Market(offers, barred)


def _why_barred(group: NodeGroup, size: int, now: float) -> Reason | None:
    if group.backoff_until > now:
        wait = group.backoff_until - now
        shown = f"{math.ceil(wait)} s" if math.isfinite(wait) else "long"
        return Reason(
            Code.GROUP_BACKING_OFF,
            f"node group {group.name}: the last launch failed; trying again in {shown}",
            (("group", group.name),),
        )
    if size >= group.max_size:
        return at_maximum(group, size)
    return None


def at_maximum(group: NodeGroup, size: int) -> Reason:
    """Say that *group* may not grow beyond *size*."""
    message = f"node group {group.name} is at its maximum, {size} of {group.max_size}"
    return Reason(Code.GROUP_AT_MAXIMUM, message, (("group", group.name),))


def with_known_labels(group: NodeGroup) -> NodeTemplate:
    """Return the group's template with zone and instance type among its labels: every cloud sets them on a node."""
    known = {ZONE: group.zone, INSTANCE_TYPE: group.template.instance_type}
    labels = {**{key: value for key, value in known.items() if value}, **label_map(group.template.labels)}
    return msgspec.structs.replace(group.template, labels=labels_of(labels))


def _label_kinds(offers: Sequence[Offer]) -> tuple[list[NodeTemplate], Ints]:
    """Return one template for each distinct pair of labels and taints, and which of them each offer is."""
    numbers: dict[object, int] = {}
    kinds: list[NodeTemplate] = []
    rows = []
    for offer in offers:
        key = (offer.template.labels, offer.template.taints)
        if key not in numbers:
            numbers[key] = len(kinds)
            kinds.append(offer.template)
        rows.append(numbers[key])
    return kinds, np.array(rows, dtype=np.int64)


def _is_admitted(shape: PodShape, template: NodeTemplate) -> bool:
    if shape.node_name or untolerated_taint(shape, template.taints) is not None:
        return False
    # A new node's name is not known yet: a rule about host names or node names cannot be met on purpose.
    labels = {key: value for key, value in template.labels if key != HOSTNAME}
    return matches_node_affinity(shape, labels, "") and can_use_volumes(shape, labels)


def resource_names(needs: Sequence[Resources]) -> list[str]:
    """Return every resource that any of *needs* asks for, `pods` included, in name order."""
    return sorted({PODS} | {name for need in needs for name in need.names()})
