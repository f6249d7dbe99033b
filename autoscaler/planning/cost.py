"""What a node of a group costs in a plan, and how much more may be bought."""

from __future__ import annotations

import math

import msgspec

from autoscaler.model.node import SPOT, NodeGroup
from autoscaler.model.policy import ScalingPolicySpec
from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB, HOUR

USD_PER_CORE_HOUR, USD_PER_GIB_HOUR = 0.04, 0.005
"""Stand in for a price that nobody gave: about the list price of balanced machines on the large clouds."""
DEAREST = 1e6
"""USD an hour that no node costs: a price above it is a mistake."""
_POD_MILLICORES = 500
"""A node is taken to hold a pod for each half core when the harm of losing it is estimated."""


class PurchaseLimits(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much more may be bought in this decision. Infinite where nothing limits it.

    `cpu` in millicores and `memory` in bytes of allocatable, `usd_per_hour` of
    list price, `nodes` as a count. A limit below zero allows nothing.
    """

    cpu: float = math.inf
    memory: float = math.inf
    usd_per_hour: float = math.inf
    nodes: float = math.inf


def money_per_hour(rules: ScalingPolicySpec) -> float:
    """Return what all nodes together may cost, USD an hour; infinite where the policy names no budget."""
    money = rules.objective.money.per_day
    return money.number / 24 if money is not None else math.inf


def list_price(group: NodeGroup) -> float:
    """
    Return USD an hour for one node of *group*.

    A price that is negative, not a number or above `DEAREST` counts as not given
    and is estimated from the size; 0 is a price (machines of one's own).
    """
    price = group.usd_per_hour
    if 0 <= price <= DEAREST:
        return price
    room = group.template.allocatable
    estimate = room.cpu / 1000 * USD_PER_CORE_HOUR + room.memory / GIB * USD_PER_GIB_HOUR
    return min(max(0.0, estimate), DEAREST)


def planning_price(group: NodeGroup, *, usd_per_eviction: float) -> float:
    """
    Return USD an hour as the planner compares them: a spot node's interruptions are paid for.

    Each costs the moves of its pods and twice the boot of a replacement
    (algorithms, section 5.7). *usd_per_eviction* is what moving one pod costs.

    >>> from autoscaler.model.node import NodeTemplate
    >>> room = NodeTemplate(instance_type="m", allocatable=Resources.of(cpu=4000, pods=58))
    >>> spot = NodeGroup(name="s", template=room, target_size=0, usd_per_hour=0.1, capacity_type="spot",
    ...                  interruptions_per_hour=0.1, boot_seconds=90.0)
    >>> round(planning_price(spot, usd_per_eviction=0.002), 5)
    0.1021
    """
    price, rate = list_price(group), group.interruptions_per_hour
    if group.capacity_type != SPOT or not math.isfinite(rate) or rate <= 0:
        return price
    room = group.template.allocatable
    pods = min(room.cpu / _POD_MILLICORES, room.get("pods", 110))
    boot = group.boot_seconds if math.isfinite(group.boot_seconds) and group.boot_seconds > 0 else 0.0
    return min(price + rate * (usd_per_eviction * max(0.0, pods) + 2.0 * price * boot / HOUR), 2 * DEAREST)


def room_of(group: NodeGroup) -> Resources:
    """Return what a new node of *group* leaves for pods, DaemonSets taken off; never below zero."""
    left = group.template.allocatable - group.template.overhead
    return Resources.of((name, max(0, amount)) for name, amount in left.items())
