"""
An Auto Scaling group as a NodeGroup. Pure: all that is needed has been read before.

One group of AWS may launch several instance types in several zones, ours is
of one kind. So its nodes are taken to be no larger than the smallest type, to
cost what the types cost on average, and to come up where the group has fewest
instances: that is where Auto Scaling launches the next (its user guide,
section "Instance distribution").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import msgspec

from autoscaler.model.node import ON_DEMAND, SPOT, InstanceType, NodeGroup, NodeTemplate, Offering
from autoscaler.model.placement import Effect, Taint, labels_of
from autoscaler.model.policy import NodeGroupSpec
from autoscaler.model.resources import Resources
from autoscaler.providers.aws import wire
from autoscaler.providers.aws.documents import NO_DOCUMENT, PROVIDER
from autoscaler.providers.aws.kinds import smallest
from autoscaler.providers.aws.outages import Offer
from autoscaler.providers.aws.tags import EKS_NODEGROUP, Told, tags_of, told_by
from autoscaler.providers.kwok_offers import price_of
from autoscaler.providers.machines import Machine

BOOT_SECONDS = 60.0
"""From the launch to Ready, what AL2023 and Bottlerocket take on usual types."""
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")
"""How a zone's name begins, that of a local zone too."""
_GONE = ("Terminat", "Detach", "Warmed", "EnteringStandby", "Standby")
"""Lifecycle states, by their beginning, of instances that do not count for the desired capacity."""


class Design(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a group launches: `names` of instance types in the group's order, at least one; the share of
    on-demand instances (0-1) beyond the first `on_demand_base`.
    """

    names: tuple[str, ...]
    on_demand_share: float = 1.0
    on_demand_base: int = 0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A group of AWS with what is known of its machines; `machines` in its order."""

    name: str
    raw: wire.Group
    told: Told
    design: Design
    machines: tuple[Machine, ...]
    document: NodeGroupSpec = NO_DOCUMENT

    @property
    def max_size(self) -> int:
        """The smaller of AWS's and the document's."""
        return min(self.raw.max_size, self.document.size.max)

    @property
    def min_size(self) -> int:
        """The larger of AWS's and the document's, within the maximum."""
        return min(max(self.raw.min_size, self.document.size.min), self.max_size)

    @property
    def members(self) -> tuple[wire.Instance, ...]:
        return live(self.raw)

    @property
    def capacity_type(self) -> str:
        """What the next instance most likely is."""
        return SPOT if self._on_demand < 0.5 else ON_DEMAND

    @property
    def zone(self) -> str:
        """Where the next instance comes up: fewest instances, then by name; "" without any zone."""
        there = Counter(each.availability_zone for each in self.members)
        return min(self.raw.availability_zones, key=lambda zone: (there[zone], zone), default="")

    @property
    def offers(self) -> tuple[Offer, ...]:
        """All that a launch may turn to."""
        return tuple(
            (machine.name, zone, self.capacity_type)
            for machine in self.machines
            for zone in self.raw.availability_zones
        )

    @property
    def _on_demand(self) -> float:
        return 1.0 if self.raw.desired_capacity < self.design.on_demand_base else self.design.on_demand_share

    @property
    def usd_per_hour(self) -> float:
        """What an instance costs on average, by list price or as the document says."""
        share = self._on_demand
        each = [share * self.price(one, spot=False) + (1 - share) * self.price(one, spot=True) for one in self.machines]
        return sum(each) / len(each)

    def price(self, machine: Machine, *, spot: bool) -> float:
        return price_of(self.document.price, machine, spot=spot)


def live(group: wire.Group) -> tuple[wire.Instance, ...]:
    """Return the instances that count for the desired capacity, those that are starting included."""
    return tuple(each for each in group.instances if not each.lifecycle_state.startswith(_GONE))


def group_names(groups: Sequence[wire.Group]) -> dict[str, str]:
    """
    Return our name for each group by its own: that of its EKS node group, which its nodes
    have as a label, where no other group has it, too.
    """
    own = [group.auto_scaling_group_name for group in groups]
    nodegroups = {group.auto_scaling_group_name: tags_of(group).get(EKS_NODEGROUP, "") for group in groups}
    count = Counter([*own, *filter(None, nodegroups.values())])
    return {name: nodegroups[name] if count[nodegroups[name]] == 1 else name for name in own}


def found_group(name: str, raw: wire.Group, design: Design, kind_of: Callable[[str], Machine | None]) -> Found:
    """
    Join what is known of a group.

    Raises:
        ValueError: a tag cannot be read, or a type is known to nobody; names it and what is allowed.
    """
    machines = [(kind, kind_of(kind)) for kind in design.names]
    unknown = next((kind for kind, machine in machines if machine is None), "")
    if unknown:
        raise ValueError(f"instance type {unknown!r} is not known; allowed: a type that EC2 has in this region")
    return Found(
        name=name,
        raw=raw,
        told=told_by(tags_of(raw)),
        design=design,
        machines=tuple(machine for _, machine in machines if machine is not None),
    )


def node_group(found: Found, *, target_size: int, backoff_until: float = 0.0) -> NodeGroup:
    """Return the group as planners see it."""
    return NodeGroup(
        name=found.name,
        template=NodeTemplate(
            instance_type=found.machines[0].name,
            allocatable=_with(smallest(each.allocatable for each in found.machines), found.told.resources),
            capacity=_with(smallest(each.capacity for each in found.machines), found.told.resources),
            labels=labels_of(_labels(found, found.machines[0])),
            taints=_taints(found),
        ),
        target_size=target_size,
        usd_per_hour=found.usd_per_hour,
        min_size=found.min_size,
        max_size=found.max_size,
        zone=found.zone,
        capacity_type=found.capacity_type,
        weight=found.document.weight,
        boot_seconds=BOOT_SECONDS,
        backoff_until=backoff_until,
        provider=PROVIDER,
    )


def instance_types(found: Found, *, out: Collection[Offer]) -> tuple[InstanceType, ...]:
    """Return what the group may launch, in its order; offers in *out* are not available."""
    return tuple(
        InstanceType(
            name=machine.name,
            capacity=_with(machine.capacity, found.told.resources),
            allocatable=_with(machine.allocatable, found.told.resources),
            labels=labels_of(_labels(found, machine)),
            offerings=tuple(_offering(found, machine, zone, out) for zone in found.raw.availability_zones),
        )
        for machine in found.machines
    )


def _offering(found: Found, machine: Machine, zone: str, out: Collection[Offer]) -> Offering:
    capacity_type = found.capacity_type
    return Offering(
        zone=zone,
        capacity_type=capacity_type,
        usd_per_hour=found.price(machine, spot=capacity_type == SPOT),
        available=(machine.name, zone, capacity_type) not in out,
    )


def _labels(found: Found, machine: Machine) -> dict[str, str]:
    """Return what kubelet and the AWS cloud controller put on each node, and EKS on those of its node groups."""
    labels = {
        "kubernetes.io/arch": machine.arch,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": machine.name,
    }
    if found.zone:
        labels["topology.kubernetes.io/zone"] = found.zone
        labels["topology.ebs.csi.aws.com/zone"] = found.zone
    region = _REGION.match(found.zone)
    if region:
        labels["topology.kubernetes.io/region"] = region.group()
    if found.told.nodegroup:
        labels["eks.amazonaws.com/nodegroup"] = found.told.nodegroup
        labels["eks.amazonaws.com/capacityType"] = "SPOT" if found.capacity_type == SPOT else "ON_DEMAND"
    return {**labels, **found.told.labels, **found.document.template.labels}


def _taints(found: Found) -> tuple[Taint, ...]:
    """Return the taints that tags tell and the document adds, each once."""
    added = (Taint(each.key, Effect(each.effect), each.value) for each in found.document.template.taints)
    return tuple(dict.fromkeys((*found.told.taints, *added)))


def _with(there: Resources, told: Resources) -> Resources:
    """Return *there* with the amounts that tags tell in place of its own; `cpu` is in millicores in both."""
    return Resources.of({**dict(there.items()), **dict(told.items())}) if told.amounts else there
