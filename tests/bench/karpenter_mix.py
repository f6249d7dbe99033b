"""
The mix of pods and the instance types that Karpenter's own scheduling benchmark uses, drawn anew from a seed.

One fifth each: no rule, spread over zones, spread over hosts, affinity within
a zone, anti-affinity between hosts; 400 types of 1 to 400 cores.

Source: Karpenter `scheduling_benchmark_test.go` (makeDiversePods) and
`pkg/cloudprovider/fake/instancetype.go`.
"""

from __future__ import annotations

import random
from functools import cache

from autoscaler.model.node import InstanceType, NodeGroup, NodeTemplate, Offering
from autoscaler.model.placement import NO_AFFINITY, Affinity, Labels, LabelSelector, PodTerm, TopologySpread, labels_of
from autoscaler.model.pod import Container, PodShape
from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB, MIB
from autoscaler.planning.karpenter.requirements import ARCH, CAPACITY_TYPE, OS
from autoscaler.scheduling.topology import HOSTNAME, ZONE

TYPES = 400
_OFFERINGS = (
    ("test-zone-1", "spot"),
    ("test-zone-2", "spot"),
    ("test-zone-1", "on-demand"),
    ("test-zone-2", "on-demand"),
    ("test-zone-3", "on-demand"),
)
_CPUS = (100, 250, 500, 1000, 1500)
_MEMORIES = (100, 256, 512, 1024, 2048, 4096)


def mixed_pods(count: int, *, seed: int = 42) -> list[PodShape]:
    """Return the shape of each pod, fifth after fifth; equal shapes are one object."""
    draw = random.Random(seed)
    kinds = (_plain, _zone_spread, _host_spread, _zone_affinity, _host_anti_affinity)
    fifth = count // len(kinds)
    shapes = [kind(draw) for kind in kinds for _ in range(fifth)]
    shapes += [_plain(draw) for _ in range(count - len(shapes))]
    interned: dict[PodShape, PodShape] = {}
    return [interned.setdefault(shape, shape) for shape in shapes]


@cache
def instance_types(count: int = TYPES) -> tuple[InstanceType, ...]:
    """Return machines of 1, 2, ... cores with 2 GiB and 10 pods for each core, all at the same price for a core."""
    found = []
    for cores in range(1, count + 1):
        capacity = Resources.of(cpu=cores * 1000, memory=cores * 2 * GIB, pods=cores * 10)
        usd = 0.1 * cores + 0.1 * cores * 2 * GIB / 1e9
        found.append(
            InstanceType(
                name=f"fake-it-{cores:03d}",
                capacity=capacity,
                allocatable=capacity - Resources.of(cpu=100, memory=10 * MIB),
                labels=labels_of({ARCH: "amd64", OS: "linux"}),
                offerings=tuple(
                    Offering(zone=zone, capacity_type=capacity_type, usd_per_hour=usd)
                    for zone, capacity_type in _OFFERINGS
                ),
            )
        )
    return tuple(found)


@cache
def node_groups(count: int = TYPES) -> tuple[NodeGroup, ...]:
    """Return one empty group for each machine, zone and capacity type."""
    return tuple(
        NodeGroup(
            name=f"{machine.name}.{each.zone}.{each.capacity_type}",
            template=NodeTemplate(
                instance_type=machine.name,
                allocatable=machine.allocatable,
                labels=labels_of({**dict(machine.labels), CAPACITY_TYPE: each.capacity_type}),
            ),
            target_size=0,
            max_size=100_000,
            usd_per_hour=each.usd_per_hour,
            zone=each.zone,
            capacity_type=each.capacity_type,
        )
        for machine in instance_types(count)
        for each in machine.offerings
    )


def _plain(draw: random.Random) -> PodShape:
    return _pod(draw, labels=_label(draw))


def _zone_spread(draw: random.Random) -> PodShape:
    return _pod(draw, labels=_label(draw), spread=(_spread(draw, ZONE),))


def _host_spread(draw: random.Random) -> PodShape:
    return _pod(draw, labels=_label(draw), spread=(_spread(draw, HOSTNAME),))


def _zone_affinity(draw: random.Random) -> PodShape:
    labels = _label(draw, "my-affininity")
    term = PodTerm(topology_key=ZONE, selector=LabelSelector(match_labels=labels))
    return _pod(draw, labels=labels, affinity=Affinity(pod_required=(term,)))


def _host_anti_affinity(draw: random.Random) -> PodShape:
    labels = (("app", "nginx"),)
    term = PodTerm(topology_key=HOSTNAME, selector=LabelSelector(match_labels=labels))
    return _pod(draw, labels=labels, affinity=Affinity(pod_anti_required=(term,)))


def _spread(draw: random.Random, key: str) -> TopologySpread:
    return TopologySpread(max_skew=1, topology_key=key, selector=LabelSelector(match_labels=_label(draw)))


def _label(draw: random.Random, key: str = "my-label") -> Labels:
    return ((key, draw.choice("abcdefg")),)


def _pod(
    draw: random.Random, *, labels: Labels, spread: tuple[TopologySpread, ...] = (), affinity: Affinity = NO_AFFINITY
) -> PodShape:
    requests = Resources.of(cpu=draw.choice(_CPUS), memory=draw.choice(_MEMORIES) * MIB)
    return PodShape(
        namespace="bench",
        labels=labels,
        containers=(Container(name="app", requests=requests),),
        affinity=affinity,
        spread=spread,
    )
