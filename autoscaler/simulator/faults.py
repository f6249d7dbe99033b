"""
When scripted faults strike: stock-outs, API errors, lost nodes, bad deploys, slow starts.

Faults of the metrics are `measurements`' business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from autoscaler.model.node import NodeGroup
from autoscaler.simulator.spec import ApiErrors, BadDeploy, Fault, NodeLoss, SlowStarts, StockOut, WorldSpec

if TYPE_CHECKING:
    from autoscaler.simulator.world import World


class FaultSchedule:
    """The faults of a spec; `start_factor` is how many times as long pods of each service take to start."""

    def __init__(self, spec: WorldSpec) -> None:
        self.start_factor = np.ones(len(spec.services))
        self._names = [service.name for service in spec.services]
        self._start = spec.start
        self._step = spec.step_seconds
        self._faults = spec.faults
        self._active: frozenset[int] | None = None

    def apply(self, world: World) -> None:
        """Put in force what holds at the world's `now`; one-off events strike in the step that covers their time."""
        if not self._faults:
            return
        at = world.now - self._start
        for fault in self._faults:
            if isinstance(fault, NodeLoss) and at <= fault.start < at + self._step:
                world.cloud.lose(_node_filter(fault), fault.count)
        active = frozenset(number for number, fault in enumerate(self._faults) if fault.start <= at < fault.end)
        if active != self._active:
            self._change(world, [self._faults[number] for number in sorted(active)])
            self._active = active

    def _change(self, world: World, active: list[Fault]) -> None:
        stock_outs = [fault for fault in active if isinstance(fault, StockOut)]
        world.cloud.stocked_out = frozenset(
            group.name for group in world.cloud.groups if any(_sells_not(fault, group) for fault in stock_outs)
        )
        world.cloud.error_share = max((fault.share for fault in active if isinstance(fault, ApiErrors)), default=0.0)
        for index, name in enumerate(self._names):
            slow = (f.factor for f in active if isinstance(f, SlowStarts) and f.service in ("", name))
            self.start_factor[index] = max(slow, default=1.0)
            self._deploy(world, index, [f for f in active if isinstance(f, BadDeploy) and f.service == name])

    def _deploy(self, world: World, index: int, deploys: list[BadDeploy]) -> None:
        fleet = world.fleets[index]
        work = memory = 1.0
        leak = fleet.service.leak_bytes_per_hour
        for deploy in deploys:
            work *= deploy.cores_factor
            memory *= deploy.memory_factor
            leak += deploy.leak_bytes_per_hour
        if (work, memory, leak / 3600) != (fleet.work_factor, fleet.memory_factor, fleet.leak_per_second):
            fleet.roll_out(work_factor=work, memory_factor=memory, leak_per_second=leak / 3600, now=world.now)
            world.unsettled.add(index)
            world.changed_fleets.add(index)


def _node_filter(fault: NodeLoss) -> Callable[[NodeGroup], bool]:
    def matches(group: NodeGroup) -> bool:
        return fault.instance_type in ("", group.template.instance_type) and fault.zone in ("", group.zone)

    return matches


def _sells_not(fault: StockOut, group: NodeGroup) -> bool:
    return (
        fault.instance_type in ("", group.template.instance_type)
        and fault.zone in ("", group.zone)
        and fault.capacity_type in ("", group.capacity_type)
    )
