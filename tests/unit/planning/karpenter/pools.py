"""Pools, types and pods for tests of the engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from autoscaler.model.placement import LabelSelector, PodTerm, TopologySpread
from autoscaler.model.pod import Container, PodShape
from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB
from autoscaler.planning.karpenter.claims import NodePool
from autoscaler.planning.karpenter.instance_types import TypeOffering, TypeOption
from autoscaler.planning.karpenter.queue import WaitingPod
from autoscaler.planning.karpenter.requirements import ARCH, CAPACITY_TYPE, INSTANCE_TYPE, Requirements, requirement
from autoscaler.planning.karpenter.solve import PlannedClaim, Solution, solve
from autoscaler.scheduling.topology import ZONE

ZONES = ("a", "b", "c")


def option(cores: int, *, arch: str = "amd64", zones: Sequence[str] = ZONES, spot: bool = False) -> TypeOption:
    """Return a machine of 4 GiB and 10 pods for each core at 5 cents, on spot at 2; a tenth of a core is reserved."""
    name = f"{arch}.{cores}"
    kinds = ("on-demand", "spot") if spot else ("on-demand",)
    capacity = Resources.of(cpu=cores * 1000, memory=cores * 4 * GIB, pods=cores * 10)
    return TypeOption(
        name=name,
        requirements=Requirements.of(
            [
                requirement(INSTANCE_TYPE, "In", (name,)),
                requirement(ARCH, "In", (arch,)),
                requirement(ZONE, "In", tuple(zones)),
                requirement(CAPACITY_TYPE, "In", kinds),
            ]
        ),
        capacity=capacity,
        allocatable=capacity - Resources.of(cpu=100),
        offerings=tuple(
            TypeOffering(
                requirements=Requirements.of_labels([(ZONE, zone), (CAPACITY_TYPE, kind)]),
                usd_per_hour=(0.02 if kind == "spot" else 0.05) * cores,
            )
            for zone in zones
            for kind in kinds
        ),
    )


TYPES = tuple(option(cores) for cores in (1, 2, 4, 8))


def pool(name: str = "default", *, types: Sequence[TypeOption] = TYPES, **fields: Any) -> NodePool:
    return NodePool(name=name, types=tuple(types), **fields)


def shape(cpu: int = 500, *, app: str = "web", gib: int = 1, **fields: Any) -> PodShape:
    ports = fields.pop("ports", ())
    container = Container(name="c", requests=Resources.of(cpu=cpu, memory=gib * GIB), ports=ports)
    return PodShape(namespace="shop", labels=(("app", app),), containers=(container,), **fields)


def waiting(*groups: tuple[PodShape, int]) -> list[WaitingPod]:
    """Return so many pods of each shape, named after the place of the shape and their number."""
    return [
        WaitingPod(key=f"{at}-{number}", shape=each)
        for at, (each, count) in enumerate(groups)
        for number in range(count)
    ]


def solved(pods: Sequence[WaitingPod], *pools: NodePool, **fields: Any) -> Solution:
    return solve(pods, pools or (pool(),), **fields)


def contents(claims: Iterable[PlannedClaim]) -> list[list[str]]:
    """Return which shapes are on each claim, by the place of the shape."""
    return sorted(sorted(key.split("-")[0] for key in claim.pods) for claim in claims)


def of_app(app: str, key: str) -> PodTerm:
    return PodTerm(key, LabelSelector((("app", app),)))


def spread(app: str, key: str, **fields: Any) -> TopologySpread:
    return TopologySpread(
        max_skew=fields.pop("skew", 1), topology_key=key, selector=LabelSelector((("app", app),)), **fields
    )
