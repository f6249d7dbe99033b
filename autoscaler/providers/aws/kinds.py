"""
What machines of an instance type are like: from the bundled table, or from EC2 for a type that is not in it.

EC2 tells no prices: such a type costs what its neighbours in the table cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from autoscaler.interfaces import Clock
from autoscaler.model.resources import Resources
from autoscaler.model.units import MIB
from autoscaler.providers.allocatable import GPU, eks_allocatable
from autoscaler.providers.aws import wire
from autoscaler.providers.aws.calls import AwsCalls
from autoscaler.providers.machines import Machine, machines

DESCRIBE_TYPES = "ec2:DescribeInstanceTypes"
ASK_AGAIN_SECONDS = 3600.0
_MOST_NAMES = 100
"""As many names as DescribeInstanceTypes takes."""
_ARCHITECTURES = {"arm64": "arm64", "x86_64": "amd64"}
_NEIGHBOURS = 3


class Kinds:
    """
    Instance types by name; EC2 is asked once for each that the table lacks.

    `estimated` are those whose price is their neighbours'; `unknown` those that EC2 does not know either.
    """

    def __init__(self, calls: AwsCalls, clock: Clock) -> None:
        self._calls, self._clock = calls, clock
        self._asked: dict[str, Machine] = {}
        self._unknown: dict[str, float] = {}

    @property
    def estimated(self) -> frozenset[str]:
        return frozenset(self._asked)

    def get(self, name: str) -> Machine | None:
        """Return a type that `learn` was given, None for one that nobody knows."""
        return machines().get(name) or self._asked.get(name)

    async def learn(self, names: Iterable[str]) -> None:
        """
        Ask EC2 about those of *names* that are not known.

        One that it does not know is not asked about again for an hour.
        """
        now = self._clock.now()
        new = sorted({name for name in names if self.get(name) is None and self._unknown.get(name, 0.0) <= now})
        for begin in range(0, len(new), _MOST_NAMES):
            chunk = new[begin : begin + _MOST_NAMES]
            # By filter and not by name: one wrong name would be an error for all.
            found = await self._calls.read(
                DESCRIBE_TYPES,
                wire.Kinds,
                Filters=[{"Name": "instance-type", "Values": chunk}],
                MaxResults=_MOST_NAMES,
            )
            self._asked.update((kind.name, machine_of(kind)) for kind in found.instance_types)
            self._unknown.update((name, now + ASK_AGAIN_SECONDS) for name in chunk if name not in self._asked)


def machine_of(kind: wire.Kind) -> Machine:
    """
    Return a machine as EC2 describes it, with the price of its neighbours.

    A node takes `interfaces * (addresses - 1) + 2` pods (amazon-vpc-cni-k8s, "ENI allocation").
    """
    cores, memory = kind.cpus.default, kind.memory.mib * MIB
    pods = kind.network.interfaces * (kind.network.addresses - 1) + 2
    gpus = sum(gpu.count for gpu in kind.gpus.gpus if gpu.manufacturer.upper() == "NVIDIA")
    first = next((each for each in kind.processor.supported_architectures if each in _ARCHITECTURES), "x86_64")
    arch = _ARCHITECTURES[first]
    listed, spot = _price(cores, memory, gpus, arch)
    return Machine(
        name=kind.name,
        cloud="aws",
        arch=arch,
        capacity=Resources.of({GPU: gpus} if gpus else {}, cpu=cores * 1000, memory=memory, pods=pods),
        allocatable=eks_allocatable(cores=cores, memory_bytes=memory, max_pods=pods, gpus=gpus),
        usd_per_hour=listed,
        usd_per_hour_spot=spot,
    )


def _price(cores: int, memory: int, gpus: int, arch: str) -> tuple[float, float]:
    """Return USD an hour, on demand and spot: the mean of what the most similar types cost by core."""
    known = [each for each in machines().values() if each.cloud == "aws" and bool(_gpus(each)) == bool(gpus)]

    def distance(machine: Machine) -> tuple[float, str]:
        apart = abs(math.log(max(1, memory) / cores) - math.log(machine.capacity.memory / _cores(machine)))
        apart += 0.2 * abs(math.log(cores / _cores(machine))) + (machine.arch != arch)
        return (apart + abs(gpus / cores - _gpus(machine) / _cores(machine)), machine.name)

    near = sorted(known, key=distance)[:_NEIGHBOURS]
    share = cores / len(near)
    return (
        share * sum(each.usd_per_hour / _cores(each) for each in near),
        share * sum(each.usd_per_hour_spot / _cores(each) for each in near),
    )


def _cores(machine: Machine) -> float:
    return machine.capacity.cpu / 1000


def _gpus(machine: Machine) -> int:
    return machine.capacity.get(GPU)


def smallest(found: Iterable[Resources]) -> Resources:
    """Return the least of each amount: what fits in it fits in each of *found*."""
    each = [dict(resources.items()) for resources in found]
    names: Mapping[str, int] = each[0]
    return Resources.of({name: min(one.get(name, 0) for one in each) for name in names})
