from __future__ import annotations

import msgspec
import pytest

from autoscaler.forecasting.refit import refit
from autoscaler.model.snapshot import Prices
from autoscaler.simulator.metrics import SimMetrics
from tests.unit.forecasting.clusters import API, WEB, a_world_with_a_past, all_under, snapshot_of


@pytest.mark.parametrize(
    ("engine", "learns", "shapes"),
    [
        pytest.param("joint", True, True, id="joint"),
        pytest.param("hpa+season", True, False, id="hpa-season-has-its-own-rule-for-requests"),
        pytest.param("hpa", False, False, id="hpa"),
        pytest.param("hpa+vpa", False, False, id="hpa-vpa"),
    ],
)
async def test_which_engines_get_models(engine: str, learns: bool, shapes: bool) -> None:
    world = a_world_with_a_past()
    snapshot = await snapshot_of(world)
    models, prices = await refit(snapshot, all_under(engine), SimMetrics(world), at=world.now)
    assert [model.workload for model in models] == ([API, WEB] if learns else [])
    assert all((model.shape is not None) is shapes for model in models)
    assert (prices != Prices()) is shapes


async def test_what_history_teaches() -> None:
    world = a_world_with_a_past()
    snapshot = await snapshot_of(world)
    models, _ = await refit(snapshot, all_under("hpa+season"), SimMetrics(world), at=world.now)
    model = models[1]
    assert model.fitted_at == world.now
    # 300 requests a second at 20 ms each.
    assert model.season.history_max == pytest.approx(6.0, rel=0.05)
    assert model.season.days >= 4
    assert model.season.trusted


async def test_wrong_parameters_cost_a_workload_its_shape_alone() -> None:
    world = a_world_with_a_past()
    snapshot = await snapshot_of(world)
    models, _ = await refit(snapshot, all_under("joint", params={"nonsense": 1}), SimMetrics(world), at=world.now)
    assert [model.shape for model in models] == [None, None]


async def test_without_a_past_nothing_is_learned() -> None:
    world = a_world_with_a_past(1)
    snapshot = msgspec.structs.replace(await snapshot_of(world))
    long_ago = world.now - 100 * 86400.0
    models, prices = await refit(snapshot, all_under("joint"), SimMetrics(world), at=long_ago)
    assert models == ()
    assert prices == Prices()
