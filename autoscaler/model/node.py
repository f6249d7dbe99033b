"""Nodes, the groups that the cloud resizes, and what can be bought."""

from __future__ import annotations

import msgspec

from autoscaler.model.placement import Labels, Taint
from autoscaler.model.resources import NOTHING, Resources

ON_DEMAND = "on-demand"
SPOT = "spot"


class Offering(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One way to buy an instance type. `interruptions_per_hour` is 0 for on-demand."""

    zone: str
    capacity_type: str
    usd_per_hour: float
    available: bool = True
    interruptions_per_hour: float = 0.0


class InstanceType(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A machine model. `allocatable` is what pods can use: capacity less what
    kubelet, system and eviction threshold reserve; DaemonSets are not taken off.
    """

    name: str
    capacity: Resources
    allocatable: Resources
    labels: Labels = ()
    offerings: tuple[Offering, ...] = ()


class NodeTemplate(msgspec.Struct, frozen=True, gc=False, cache_hash=True, kw_only=True):
    """
    What a new node of a group will look like to the scheduler.

    `overhead` is what DaemonSets will take on it, the pod count included;
    `capacity` is all that the machine has, empty where that is not known.
    """

    instance_type: str
    allocatable: Resources
    capacity: Resources = NOTHING
    labels: Labels = ()
    taints: tuple[Taint, ...] = ()
    overhead: Resources = NOTHING


class NodeGroup(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Like nodes that the cloud resizes as one: one instance type, zone and capacity type.

    A group-less provider shows one such group for each offering it can launch.
    `target_size` is what was last asked for; `backoff_until` tells that the
    last launch failed and none should be tried before (epoch seconds).
    Where `deletes_chosen` is False, only all of its nodes at once can be given back.
    """

    name: str
    template: NodeTemplate
    target_size: int
    usd_per_hour: float
    min_size: int = 0
    max_size: int = 1000
    zone: str = ""
    capacity_type: str = ON_DEMAND
    interruptions_per_hour: float = 0.0
    weight: int = 0
    boot_seconds: float = 90.0
    backoff_until: float = 0.0
    provider: str = ""
    deletes_chosen: bool = True


class Node(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    One machine in the cluster, or on its way into it (`registered` False).

    `usd_per_hour` is what it costs now. `deleting` means its removal has been
    asked for. `do_not_remove` names what forbids removal, "" if nothing does.
    """

    name: str
    allocatable: Resources
    labels: Labels = ()
    taints: tuple[Taint, ...] = ()
    capacity: Resources = NOTHING
    unschedulable: bool = False
    ready: bool = True
    registered: bool = True
    deleting: bool = False
    created_at: float = 0.0
    ready_since: float = 0.0
    group: str = ""
    instance_type: str = ""
    instance_id: str = ""
    zone: str = ""
    capacity_type: str = ON_DEMAND
    usd_per_hour: float = 0.0
    interrupt_at: float | None = None
    do_not_remove: str = ""
