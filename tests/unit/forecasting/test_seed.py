from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autoscaler.forecasting.seed import seed_state
from autoscaler.interfaces import SeedsMemory
from autoscaler.model.readings import Series, SignalKind
from autoscaler.model.state import DecisionState, WorkloadMemory
from autoscaler.model.units import GIB, HOUR, MIB
from autoscaler.planning.decide import decide
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.recommend.mpa import MpaMemory
from autoscaler.recommend.usage_history import VpaMemory
from autoscaler.simulator.metrics import SimMetrics
from autoscaler.simulator.world import World
from tests.unit.forecasting.clusters import API, WEB, a_world_with_a_past, all_under, snapshot_of

PAST = {
    "app": {
        SignalKind.POD_CPU: Series(start=1.7e9, step=HOUR, values=np.array([200.0, 300.0, np.nan, 250.0])),
        SignalKind.POD_MEMORY: Series(start=1.7e9, step=HOUR, values=np.array([1.0, 2.0, np.nan, 1.5]) * GIB),
    }
}


async def seeded(world: World, engine: str, state: DecisionState | None = None, **policy: Any) -> DecisionState:
    snapshot = await snapshot_of(world)
    policies = all_under(engine, **policy)
    return await seed_state(snapshot, policies, SimMetrics(world), state or DecisionState(), at=world.now)


@pytest.mark.parametrize("engine", ["vpa", "mpa", "hpa+vpa"])
def test_engines_that_size_by_percentiles_learn_from_the_past(engine: str) -> None:
    recommender = BUILT_IN[engine]
    assert isinstance(recommender, SeedsMemory)
    memory = recommender.seed(PAST, recommender.Params())
    assert isinstance(memory, recommender.Memory)
    vertical = memory if isinstance(memory, VpaMemory) else getattr(memory, "vpa", None)
    assert isinstance(vertical, VpaMemory)
    (container,) = vertical.containers
    assert container.samples == 3 * 60
    assert container.memory.total > 0


@pytest.mark.parametrize("engine", ["hpa", "joint"])
async def test_other_engines_begin_with_nothing(engine: str) -> None:
    assert not isinstance(BUILT_IN[engine], SeedsMemory)
    assert await seeded(a_world_with_a_past(1), engine) == DecisionState()


async def test_every_workload_that_is_not_remembered_is_seeded() -> None:
    world = a_world_with_a_past()
    old = WorkloadMemory(workload=API, engine="vpa", memory=VpaMemory(fed_at=5.0))
    state = await seeded(world, "hpa+vpa", DecisionState(workloads=(old,), last_scale_up_at=7.0))
    assert [entry.workload for entry in state.workloads] == [API, WEB]
    assert state.workloads[0] is old
    assert state.last_scale_up_at == 7.0
    memory = state.workloads[1].memory
    assert isinstance(memory, MpaMemory)
    # One value an hour for four days, each for an hour's worth of samples.
    assert memory.vpa.containers[0].samples == pytest.approx(4 * 24 * 60, abs=120)


@pytest.mark.parametrize(
    ("mode", "policy"),
    [
        pytest.param("Off", {}, id="mode-off"),
        pytest.param("Auto", {"params": {"nonsense": 1}}, id="parameters-that-are-wrong"),
    ],
)
async def test_what_cannot_decide_is_not_seeded(mode: str, policy: dict[str, Any]) -> None:
    assert await seeded(a_world_with_a_past(1), "hpa+vpa", mode=mode, **policy) == DecisionState()


async def test_the_first_decision_sizes_by_the_past() -> None:
    world = a_world_with_a_past()
    snapshot = await snapshot_of(world)
    policies = all_under("hpa+vpa")
    cold = decide(snapshot, policies, DecisionState())
    warm = decide(snapshot, policies, await seeded(world, "hpa+vpa"))
    assert all(not advice.containers for advice in cold.recommendations)
    targets = {advice.workload: [size.target.memory for size in advice.containers] for advice in warm.recommendations}
    # An HPA at 70 % of half a core gave each pod 17 requests a second, 30 MiB each, over a base of 256 MiB.
    # Nothing was read now, so the other workload's memory may not shrink.
    assert targets[API] == []
    assert 700 * MIB < targets[WEB][0] < GIB
