"""
A controller of one's own: the project's loop and decision, with a rule of the house put around the decision.

The rule: between 22 and 6 o'clock UTC nothing is made smaller. Everything else
(when to turn, who leads, what outlives a restart, metrics) is the project's.

It runs on a simulated cluster, so that it can be tried anywhere:

    python examples/custom_controller.py

On a real one the four adapters in `parts` are `ClusterStore`, `PrometheusSource`,
a provider and `KubeWriter`; `autoscaler/controller/run.py` shows them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from autoscaler import Controller, Decision, DecisionState, Parts, Policies, decide
from autoscaler.controller.actuate import ApplyActuator
from autoscaler.controller.gate import Gate
from autoscaler.controller.loop import Cycle, Decide, Ports
from autoscaler.controller.observe import Sources
from autoscaler.controller.triggers import Triggers
from autoscaler.interfaces import Outcome
from autoscaler.model.plan import SetGroupSize, SetReplicas
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.planning.decide import signals_of
from autoscaler.policy_files import parse_policies
from autoscaler.providers.memory import MemoryProvider
from autoscaler.simulator.cluster import SimCluster
from autoscaler.simulator.metrics import SimMetrics
from autoscaler.simulator.world import World
from autoscaler.simulator.writing import SimWriter
from autoscaler.testing.builders import make_service, make_world

POLICY = """
apiVersion: podnode.io/v1alpha1
kind: ScalingPolicy
metadata: {name: everything}
spec:
  mode: Auto
  workloads: {namespaceSelector: {}}
  defaults: {policy: {updateMode: Auto}, constraints: {global: {minReplicas: 2, maxReplicas: 20}}}
"""
TURNS = 160
STEPS = 1000
"""A step is half a minute of the simulated cluster's time."""
NIGHT = (22, 6)


def decide_by_house_rules(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> Decision:
    """Decide as the project does, then take out what would shrink anything at night."""
    decision = decide(snapshot, policies, state)
    hour = int(snapshot.observed_at // 3600) % 24
    if NIGHT[1] <= hour < NIGHT[0]:
        return decision
    kept = tuple(
        action
        for action in decision.plan.actions
        if not (isinstance(action, SetReplicas) and action.replicas < action.expected)
    )
    return msgspec.structs.replace(decision, plan=msgspec.structs.replace(decision.plan, actions=kept))


class WorldClock:
    """Time passes in the simulated cluster while the controller sleeps."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.now

    def monotonic(self) -> float:
        return self._world.now

    async def sleep(self, seconds: float) -> None:
        until = self._world.now + seconds
        while self._world.now < until:
            self._world.step()
        await asyncio.sleep(0)


async def run(*, decide: Decide = decide_by_house_rules, turns: int = TURNS) -> Controller:
    """Run the controller from midnight on for so many turns, telling what it does."""
    rush = [100.0 if 20 <= step < 50 else 20.0 for step in range(STEPS)]
    world = World(make_world(make_service(load=rush, steps=STEPS), steps=STEPS))
    clock, provider, writer = WorldClock(world), MemoryProvider(world.cloud), SimWriter(world)
    gate = Gate(clock)
    ports = Ports(
        clock=clock,
        sources=Sources(cluster=SimCluster(world), metrics=SimMetrics(world), provider=provider),
        decide=decide,
        signals_of=signals_of,
        actuator=lambda seen: ApplyActuator(writer, provider, nodes=seen.nodes, why_not=gate.why_not),
    )
    done = 0

    async def tell(cycle: Cycle, outcomes: Sequence[Outcome]) -> None:
        nonlocal done
        done += 1
        for outcome in outcomes:
            print(f"turn {done}: {_said(outcome)} {outcome.message}".rstrip())
        if done >= turns:
            controller.stop()

    policies = parse_policies(POLICY, "the house's policy")
    parts = Parts(
        ports=ports, triggers=Triggers(clock, period=15.0), policies=lambda: policies, gate=gate, publish=tell
    )
    controller = Controller(parts)
    await controller.run()
    return controller


def _said(outcome: Outcome) -> str:
    action = outcome.action
    if isinstance(action, SetReplicas):
        return f"{action.workload} {action.expected} -> {action.replicas}: {outcome.result}"
    if isinstance(action, SetGroupSize):
        return f"{action.group} {action.expected} -> {action.size}: {outcome.result}"
    return f"{type(action).__name__}: {outcome.result}"


if __name__ == "__main__":
    asyncio.run(run())
