"""What is remembered is saved when it must be, all or nothing, and read back as it was."""

from __future__ import annotations

import pytest

from autoscaler.clock import ManualClock
from autoscaler.controller.checkpointing import Keeper
from autoscaler.controller.observe import Learned
from autoscaler.errors import InputError, TransientError
from autoscaler.model.snapshot import Prices, SeasonalModel, WorkloadModel
from autoscaler.model.state import DecisionState, NodeMemory, WorkloadMemory
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.telemetry.checkpoint import CheckpointFile, decode_checkpoint, encode_checkpoint
from autoscaler.telemetry.metrics import Metrics
from tests.unit.controller.controllers import Kept

MEASURED = DecisionState(workloads=(WorkloadMemory(workload="a/Deployment/b", engine="joint"),))
BOUGHT = DecisionState(last_scale_up_at=100.0)
DRAINING = DecisionState(nodes=(NodeMemory(node="n", drain_since=5.0),))
EVICTED = DecisionState(disruptions=((1.0, "a/Deployment/b"),))


def _keeper(kept: Kept | None, clock: ManualClock, identity: str = "me") -> Keeper:
    return Keeper(kept, clock, identity=identity, engines=BUILT_IN, metrics=Metrics())


@pytest.mark.parametrize("state", [BOUGHT, DRAINING, EVICTED])
async def test_deeds_are_saved_at_once(state: DecisionState) -> None:
    keeper = _keeper(Kept(), ManualClock())
    assert keeper.is_due(state)
    await keeper.save(state, Learned())
    assert not keeper.is_due(state)


async def test_measurements_are_saved_once_a_minute() -> None:
    clock = ManualClock()
    keeper = _keeper(Kept(), clock)
    assert not keeper.is_due(MEASURED)
    clock.advance(60.0)
    assert keeper.is_due(MEASURED)
    await keeper.save(MEASURED, Learned())
    clock.advance(3600.0)
    assert not keeper.is_due(MEASURED)


async def test_nothing_is_due_without_a_place_to_keep_it() -> None:
    keeper = _keeper(None, ManualClock())
    assert not keeper.is_due(BOUGHT)
    await keeper.save(BOUGHT, Learned())
    assert await keeper.restore() is None


async def test_what_was_saved_comes_back() -> None:
    kept, clock = Kept(), ManualClock(50.0)
    model = WorkloadModel(workload="a/Deployment/b", fitted_at=1.0, season=SeasonalModel(peak=b"\0\1", trusted=True))
    learned = Learned(models=(model,), prices=Prices(usd_per_core_hour=0.03))
    engine = BUILT_IN["joint"]
    memory = WorkloadMemory(workload="a/Deployment/b", engine="joint", memory=engine.Memory())
    state = DecisionState(workloads=(memory,), last_scale_up_at=3.0)
    await _keeper(kept, clock, "first").save(state, learned)
    file = await _keeper(kept, clock, "second").restore(unless_own=True)
    assert file == CheckpointFile(
        version=1, identity="first", saved_at=50.0, state=state, models=learned.models, prices=learned.prices
    )
    assert await _keeper(kept, clock, "first").restore(unless_own=True) is None


class _Broken(Kept):
    async def load(self) -> bytes | None:
        raise TransientError("no", retry_after_seconds=1)

    async def save(self, data: bytes) -> None:
        raise OSError("disk full")


async def test_a_place_that_does_not_answer_costs_only_warmth() -> None:
    metrics = Metrics()
    keeper = Keeper(_Broken(), ManualClock(), identity="me", engines=BUILT_IN, metrics=metrics)
    assert await keeper.restore() is None
    await keeper.save(BOUGHT, Learned())
    assert keeper.is_due(BOUGHT)
    assert metrics.registry.get_sample_value("podnode_checkpoints_total", {"result": "failed"}) == 1


@pytest.mark.parametrize("length", [0, 1, 10, 60, -1])
def test_a_file_that_was_cut_off_is_refused(length: int) -> None:
    data = encode_checkpoint(CheckpointFile(version=1, identity="me", saved_at=1.0, state=EVICTED))
    with pytest.raises(InputError):
        decode_checkpoint(data[:length], where="checkpoint", engines=BUILT_IN)
