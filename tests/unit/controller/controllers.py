"""A controller on a small simulated cluster, with a decision that is easy to foresee."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from autoscaler.clock import SystemClock
from autoscaler.controller.actuate import ApplyActuator
from autoscaler.controller.app import Controller, Parts
from autoscaler.controller.gate import Gate
from autoscaler.controller.loop import Ports
from autoscaler.controller.observe import Sources
from autoscaler.controller.triggers import Triggers
from autoscaler.interfaces import Outcome
from autoscaler.model.plan import Decision, Plan, SetReplicas
from autoscaler.model.policy import Policies
from autoscaler.model.readings import Reading, Series, Signal, SignalKind
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.providers.memory import MemoryProvider
from autoscaler.simulator.cluster import SimCluster
from autoscaler.simulator.metrics import SimMetrics
from autoscaler.simulator.world import World
from autoscaler.simulator.writing import SimWriter
from tests.unit.simulator.worlds import a_world, play

WEB = "default/Deployment/web"
CPU = Signal(WEB, SignalKind.CPU)


def decide_one_more(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> Decision:
    """Add one replica a turn, and count turns in the state."""
    replicas = snapshot.workloads[0].replicas
    action = SetReplicas(workload=WEB, replicas=replicas + 1, expected=replicas)
    return Decision(
        plan=Plan(actions=(action,)),
        recommendations=(),
        state=DecisionState(last_scale_up_at=state.last_scale_up_at + 1),
    )


def signals(snapshot: ClusterSnapshot, policies: Policies) -> Sequence[Signal]:
    return [CPU]


class CountedMetrics:
    """The simulator's metrics, counting how often they are read; they answer while `answers` is set."""

    def __init__(self, world: World) -> None:
        self.reads = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self._metrics = SimMetrics(world)

    async def read(self, signals: Sequence[Signal], at: float) -> dict[Signal, Reading]:
        self.reads += 1
        await self.answers.wait()
        return dict(await self._metrics.read(signals, at))

    async def history(self, signal: Signal, start: float, end: float, step: float) -> Series:
        return await self._metrics.history(signal, start, end, step)

    async def aclose(self) -> None:
        """Nothing to close."""


class Lead:
    """Leadership that a test gives and takes."""

    def __init__(self, *, leads: bool = True) -> None:
        self.leads = leads
        self._changed = asyncio.Event()

    def may_act(self) -> bool:
        return self.leads

    async def wait_leader(self) -> None:
        while not self.leads:
            self._changed.clear()
            await self._changed.wait()

    async def release(self) -> None:
        self.leads = False

    def give(self) -> None:
        self.leads = True
        self._changed.set()


class Fresh:
    """A view of the cluster that a test lets grow old."""

    def __init__(self) -> None:
        self.is_ready = True
        self.age = 0.0

    async def wait_ready(self, timeout: float) -> None:
        """It is ready."""

    def staleness(self, monotonic: float) -> float:
        return self.age


class Kept:
    """A checkpoint in memory."""

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data

    async def load(self) -> bytes | None:
        return self.data

    async def save(self, data: bytes) -> None:
        self.data = data


class Setting:
    """A world of two nodes, and the parts of a controller that adds one replica a turn."""

    def __init__(self, *, lead: Lead | None = None, fresh: Fresh | None = None, period: float = 0.02) -> None:
        self.world = a_world()
        play(self.world, 5)
        self.metrics = CountedMetrics(self.world)
        self.told: list[Outcome] = []
        clock = SystemClock()
        self.gate = Gate(clock, lead=lead, fresh=fresh)
        provider, writer = MemoryProvider(self.world.cloud), SimWriter(self.world)
        self.ports = Ports(
            clock=clock,
            sources=Sources(cluster=SimCluster(self.world), metrics=self.metrics, provider=provider),
            decide=decide_one_more,
            signals_of=signals,
            actuator=lambda seen: ApplyActuator(
                writer, provider, nodes=seen.nodes, why_not=self.gate.why_not, told=self.told.append
            ),
        )
        self.triggers = Triggers(clock, period=period, quiet=0.01)
        self.parts = Parts(
            ports=self.ports, triggers=self.triggers, policies=Policies, gate=self.gate, period=max(period, 1.0)
        )

    @property
    def replicas(self) -> int:
        return self.world.fleets[0].replicas

    def controller(self, **fields: Any) -> Controller:
        return Controller(msgspec.structs.replace(self.parts, **fields))


@asynccontextmanager
async def running(controller: Controller) -> AsyncIterator[Controller]:
    """Run *controller* beside the block, and stop it after."""
    task = asyncio.create_task(controller.run())
    try:
        yield controller
    finally:
        controller.stop()
        async with asyncio.timeout(20):
            await task
