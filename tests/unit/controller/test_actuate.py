"""Plans are carried out in order, asking before each action; in a dry run nothing changes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from autoscaler.controller.actuate import ApplyActuator, RecordActuator, ValidateActuator
from autoscaler.errors import CapacityError
from autoscaler.interfaces import Outcome
from autoscaler.model.plan import CordonNode, DeleteInstances, Plan, ResizePod, SetGroupSize, SetReplicas
from autoscaler.providers.memory import MemoryProvider
from autoscaler.simulator.writing import SimWriter
from tests.unit.controller.controllers import WEB
from tests.unit.simulator.worlds import a_world, play

GROUP = "m.xl-a-on-demand"
SCALE = SetReplicas(workload=WEB, replicas=5, expected=2)
GROW = SetGroupSize(group=GROUP, size=3, expected=2)
GONE = SetReplicas(workload="default/Deployment/gone", replicas=1, expected=2)


async def test_each_action_is_told_as_it_comes_and_one_that_fails_stops_no_other() -> None:
    world = a_world()
    play(world, 3)
    told: list[Outcome] = []
    actuator = ApplyActuator(SimWriter(world), MemoryProvider(world.cloud), told=told.append)
    outcomes = await actuator.apply(Plan(actions=(GROW, GONE, SCALE)))
    assert [outcome.result for outcome in outcomes] == ["done", "failed", "done"]
    assert told == list(outcomes)
    assert world.fleets[0].replicas == 5
    assert world.cloud.group(GROUP).target_size == 3


async def test_leadership_lost_on_the_way_holds_the_rest() -> None:
    world = a_world()
    play(world, 3)
    answers = iter(["", "not the leader"])
    actuator = ApplyActuator(SimWriter(world), MemoryProvider(world.cloud), why_not=lambda: next(answers))
    outcomes = await actuator.apply(Plan(actions=(GROW, SCALE)))
    assert [(outcome.result, outcome.message) for outcome in outcomes] == [("done", ""), ("held", "not the leader")]
    assert world.fleets[0].replicas == 2


async def test_like_actions_keep_their_order_in_the_outcomes() -> None:
    world = a_world()
    play(world, 3)
    pods = [f"default/{world.pods.names[row]}" for row in world.pods.of_service(0).tolist()]
    actions = tuple(ResizePod(pod=pod, workload=WEB, containers=()) for pod in [*pods, "default/none"])
    outcomes = await ApplyActuator(SimWriter(world), None).apply(Plan(actions=actions))
    assert [outcome.action for outcome in outcomes] == list(actions)
    assert outcomes[-1].result == "failed"


class _Cloud(MemoryProvider):
    """A provider that fails in the ways a plug-in can."""

    error: Exception = CapacityError("none left", retry_after_seconds=60)

    async def set_target_size(self, group: str, size: int, *, expected: int) -> None:
        raise self.error

    async def delete_instances(self, group: str, ids: Sequence[str], *, expected: int) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(CapacityError("none left", retry_after_seconds=60), "none left", id="no-capacity"),
        pytest.param(TimeoutError(), "no answer within 30 s", id="too-slow"),
        pytest.param(KeyError("x"), "KeyError: 'x'", id="a-bug-of-a-plug-in"),
    ],
)
async def test_a_cloud_that_fails_fails_its_action_alone(error: Exception, message: str) -> None:
    world = a_world()
    play(world, 3)
    cloud = _Cloud(world.cloud)
    cloud.error = error
    outcomes = await ApplyActuator(SimWriter(world), cloud).apply(Plan(actions=(GROW, SCALE)))
    assert [(outcome.result, outcome.message) for outcome in outcomes] == [("failed", message), ("done", "")]


async def test_a_dry_run_asks_for_objects_and_records_node_groups() -> None:
    world = a_world()
    play(world, 3)
    actions = (GROW, SCALE, GONE, DeleteInstances(group=GROUP, nodes=("n",), expected=2))
    outcomes = await ValidateActuator(SimWriter(world)).apply(Plan(actions=actions))
    assert [outcome.result for outcome in outcomes] == ["held", "valid", "failed", "held"]
    assert world.cloud.group(GROUP).target_size == 2


async def test_recording_tells_of_each_action() -> None:
    told: list[Outcome] = []
    await RecordActuator(told=told.append).apply(Plan(actions=(SCALE, CordonNode(node="n"))))
    assert [outcome.result for outcome in told] == ["held", "held"]
