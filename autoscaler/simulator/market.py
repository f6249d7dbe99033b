"""The machines of a spec as node groups: one for each instance type, zone and capacity type."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.model.node import Node, NodeGroup, NodeTemplate, Offering
from autoscaler.model.placement import labels_of
from autoscaler.providers.memory import CloudRules, Instance, MemoryCloud
from autoscaler.scheduling.topology import HOSTNAME
from autoscaler.simulator.placing import ZONE
from autoscaler.simulator.spec import InitialNodes, InstancePool, WorldSpec

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
CAPACITY_TYPE = "karpenter.sh/capacity-type"


def group_name(instance_type: str, zone: str, capacity_type: str) -> str:
    return f"{instance_type}-{zone}-{capacity_type}" if zone else f"{instance_type}-{capacity_type}"


def make_cloud(spec: WorldSpec, *, seed: int, now: float) -> MemoryCloud:
    """
    Return the cloud of a spec, its initial nodes ready to join at the first `advance`.

    Raises:
        ValueError: initial nodes are asked for that nobody offers.
    """
    initial = {_initial_group(spec, each): 0 for each in spec.initial_nodes}
    for each in spec.initial_nodes:
        initial[_initial_group(spec, each)] += each.count
    groups, spread = [], {}
    for pool in spec.pools:
        for offering in pool.instance.offerings:
            group = _group(spec, pool, offering, initial)
            groups.append(group)
            spread[group.name] = pool.boot_spread
    rules = CloudRules(
        launch_failure_share=spec.delays.launch_failure_share,
        launch_timeout_seconds=spec.delays.launch_timeout_seconds,
        interruption_notice_seconds=spec.delays.interruption_notice_seconds,
    )
    types = [pool.instance for pool in spec.pools]
    return MemoryCloud(groups, types, rules=rules, boot_spread=spread, seed=seed, now=now)


def make_node(group: NodeGroup, machine: Instance, *, now: float) -> Node:
    """Return the node that a machine becomes when it joins the cluster."""
    name = f"{group.name}-{machine.serial:05d}"
    return Node(
        name=name,
        allocatable=group.template.allocatable,
        capacity=group.template.allocatable,
        labels=labels_of({**dict(group.template.labels), HOSTNAME: name}),
        taints=group.template.taints,
        created_at=machine.launched_at,
        ready_since=now,
        group=group.name,
        instance_type=group.template.instance_type,
        instance_id=machine.id,
        zone=group.zone,
        capacity_type=group.capacity_type,
        usd_per_hour=group.usd_per_hour,
        interrupt_at=machine.interrupt_at,
    )


def _group(spec: WorldSpec, pool: InstancePool, offering: Offering, initial: Mapping[str, int]) -> NodeGroup:
    name = group_name(pool.instance.name, offering.zone, offering.capacity_type)
    labels = {**dict(pool.instance.labels), **dict(pool.labels)}
    labels[INSTANCE_TYPE], labels[CAPACITY_TYPE] = pool.instance.name, offering.capacity_type
    if offering.zone:
        labels[ZONE] = offering.zone
    template = NodeTemplate(
        instance_type=pool.instance.name,
        allocatable=pool.instance.allocatable,
        capacity=pool.instance.capacity,
        labels=labels_of(labels),
        taints=pool.taints,
        overhead=spec.daemon_overhead,
    )
    return NodeGroup(
        name=name,
        template=template,
        target_size=initial.get(name, 0),
        usd_per_hour=offering.usd_per_hour,
        min_size=pool.min_nodes,
        max_size=pool.max_nodes,
        zone=offering.zone,
        capacity_type=offering.capacity_type,
        interruptions_per_hour=offering.interruptions_per_hour,
        weight=pool.weight,
        boot_seconds=pool.boot_seconds,
        provider="memory",
    )


def _initial_group(spec: WorldSpec, initial: InitialNodes) -> str:
    for pool in spec.pools:
        for offering in pool.instance.offerings:
            if (
                pool.instance.name == initial.instance_type
                and offering.capacity_type == initial.capacity_type
                and initial.zone in ("", offering.zone)
            ):
                return group_name(pool.instance.name, offering.zone, offering.capacity_type)
    raise ValueError(
        f"initial_nodes: nobody offers {initial.instance_type} {initial.capacity_type} in {initial.zone or 'any zone'}"
    )
