from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from autoscaler.clock import ManualClock
from autoscaler.controller.actuate import ApplyActuator, RecordActuator
from autoscaler.controller.loop import Cycle, Loop, Ports
from autoscaler.controller.observe import Sources, upcoming_nodes
from autoscaler.errors import TransientError
from autoscaler.interfaces import MetricsSource
from autoscaler.model.plan import Decision, DeleteInstances, Plan, SetGroupSize, SetReplicas
from autoscaler.model.policy import Policies
from autoscaler.model.readings import Signal, SignalKind
from autoscaler.model.snapshot import ClusterSnapshot, Prices, WorkloadModel
from autoscaler.model.state import DecisionState
from autoscaler.providers.memory import MemoryProvider
from autoscaler.simulator.cluster import SimCluster
from autoscaler.simulator.metrics import SimMetrics
from autoscaler.simulator.world import World
from autoscaler.simulator.writing import SimWriter
from autoscaler.testing.builders import make_group, make_node
from tests.unit.simulator.worlds import a_world, play

WEB = "default/Deployment/web"
CPU = Signal(WEB, SignalKind.CPU)


def _decide(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> Decision:
    """Add one replica a cycle and count cycles in the state."""
    workload = snapshot.workloads[0]
    action = SetReplicas(workload=WEB, replicas=workload.replicas + 1, expected=workload.replicas)
    state = DecisionState(last_scale_up_at=state.last_scale_up_at + 1)
    return Decision(plan=Plan(actions=(action,)), recommendations=(), state=state)


def _signals(snapshot: ClusterSnapshot, policies: Policies) -> Sequence[Signal]:
    return [CPU]


def _ports(world: World, *, apply: bool = True) -> Ports:
    provider = MemoryProvider(world.cloud)
    sources = Sources(cluster=SimCluster(world), metrics=SimMetrics(world), provider=provider)
    return Ports(
        clock=ManualClock(world.now),
        sources=sources,
        decide=_decide,
        signals_of=_signals,
        actuator=(lambda seen: ApplyActuator(SimWriter(world), provider, nodes=seen.nodes)) if apply else _record,
    )


def _record(snapshot: ClusterSnapshot) -> RecordActuator:
    return RecordActuator()


async def test_a_turn_observes_decides_and_acts() -> None:
    world = a_world()
    play(world, 5)
    loop = Loop(_ports(world), Policies())
    cycle = await loop.turn()
    assert cycle.snapshot.observed_at == world.now
    assert [signal for signal, _ in cycle.snapshot.readings] == [CPU]
    assert len(cycle.snapshot.node_groups) == 1
    assert [outcome.result for outcome in cycle.outcomes] == ["done"]
    assert world.fleets[0].replicas == 3
    await loop.turn()
    assert loop.state.last_scale_up_at == 2


async def test_recording_changes_nothing() -> None:
    world = a_world()
    play(world, 1)
    cycle = await Loop(_ports(world, apply=False), Policies()).turn()
    assert [outcome.result for outcome in cycle.outcomes] == ["held"]
    assert world.fleets[0].replicas == 2


async def test_models_are_learned_at_once_and_then_every_refit() -> None:
    world = a_world()
    play(world, 1)
    learned: list[float] = []

    async def refit(
        snapshot: ClusterSnapshot, policies: Policies, metrics: MetricsSource, *, at: float
    ) -> tuple[tuple[WorkloadModel, ...], Prices]:
        learned.append(at)
        if len(learned) == 2:
            raise TransientError("no history now", retry_after_seconds=1)
        return (WorkloadModel(workload=WEB, fitted_at=at),), Prices(usd_per_core_hour=len(learned))

    clock = ManualClock(1000.0)
    base = _ports(world)
    ports = Ports(clock=clock, sources=base.sources, decide=_decide, signals_of=_signals, refit=refit, actuator=_record)
    loop = Loop(ports, Policies(), refit_seconds=100.0)
    seen: list[Cycle] = []
    for _ in range(5):
        seen.append(await loop.turn())
        clock.advance(60)
    assert learned == [1000, 1120, 1240]
    # What could not be learned stays as it was.
    assert [cycle.snapshot.prices.usd_per_core_hour for cycle in seen] == [1, 1, 1, 1, 3]
    assert seen[3].snapshot.models[0].fitted_at == 1000


@pytest.mark.parametrize("answers", [True, False])
async def test_the_state_is_warmed_up_once_before_the_first_decision(answers: bool) -> None:
    world = a_world()
    play(world, 1)
    asked: list[float] = []

    async def seed(
        snapshot: ClusterSnapshot, policies: Policies, metrics: MetricsSource, state: DecisionState, *, at: float
    ) -> DecisionState:
        asked.append(at)
        assert [workload.key for workload in snapshot.workloads] == [WEB]
        if not answers:
            raise TransientError("no history now", retry_after_seconds=1)
        return DecisionState(last_scale_up_at=state.last_scale_up_at + 10)

    loop = Loop(msgspec.structs.replace(_ports(world), seed=seed), Policies(), refit_seconds=0.0)
    await loop.turn()
    await loop.turn()
    assert asked == [world.now]
    # Each decision adds one.
    assert loop.state.last_scale_up_at == (12 if answers else 2)


async def test_a_cloud_that_does_not_answer_leaves_no_groups_and_says_so() -> None:
    world = a_world()
    play(world, 1)
    world.cloud.error_share = 1.0
    cycle = await Loop(_ports(world), Policies()).turn()
    assert cycle.snapshot.node_groups == ()
    assert len(cycle.snapshot.nodes) == 2
    assert "node groups" in cycle.problems[0]
    assert [outcome.result for outcome in cycle.outcomes] == ["done"]


class _Particular(MemoryProvider):
    """A provider that leaves something out."""

    problems = ("NodeGroup bad: spec.requirements: no machine type satisfies them",)


async def test_what_a_provider_leaves_out_is_said() -> None:
    world = a_world()
    ports = _ports(world)
    sources = msgspec.structs.replace(ports.sources, provider=_Particular(world.cloud))
    cycle = await Loop(msgspec.structs.replace(ports, sources=sources), Policies()).turn()
    assert cycle.problems == tuple(f"node groups: {problem}" for problem in _Particular.problems)
    assert cycle.snapshot.node_groups


async def test_machines_on_their_way_are_nodes_that_are_not_registered() -> None:
    world = a_world()
    play(world, 1)
    world.cloud.resize("m.xl-a-on-demand", 4, expected=2)
    cycle = await Loop(_ports(world), Policies()).turn()
    upcoming = [node for node in cycle.snapshot.nodes if not node.registered]
    assert [node.name for node in upcoming] == ["m.xl-a-on-demand-upcoming-0", "m.xl-a-on-demand-upcoming-1"]
    assert not any(node.ready for node in upcoming)
    assert [node.name for node in cycle.snapshot.nodes] == sorted(node.name for node in cycle.snapshot.nodes)


def test_more_nodes_than_asked_for_are_nothing_to_wait_for() -> None:
    assert upcoming_nodes([make_group(size=1)], [make_node("a"), make_node("b")], at=0.0) == ()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        pytest.param(SetGroupSize(group="g", size=2, expected=1), "no provider", id="no-provider"),
        pytest.param(DeleteInstances(group="g", nodes=("n",), expected=1), "no provider", id="nor-to-delete"),
    ],
)
async def test_without_a_provider_groups_cannot_change(action: SetGroupSize | DeleteInstances, message: str) -> None:
    (outcome,) = await ApplyActuator(SimWriter(a_world()), None).apply(Plan(actions=(action,)))
    assert outcome.result == "failed"
    assert message in outcome.message


async def test_a_node_whose_machine_is_not_known_is_not_deleted() -> None:
    world = a_world()
    play(world, 1)
    actuator = ApplyActuator(SimWriter(world), MemoryProvider(world.cloud), nodes=[])
    action = DeleteInstances(group="m.xl-a-on-demand", nodes=("m.xl-a-on-demand-00001",), expected=2)
    (outcome,) = await actuator.apply(Plan(actions=(action,)))
    assert "no machine is known" in outcome.message
    assert len(world.cloud.machines("m.xl-a-on-demand")) == 2
