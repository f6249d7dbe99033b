from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoscaler.backtest.loads import bursts, loads_of, ramp, spike
from autoscaler.backtest.schema import BurstsLoad, RampLoad, SpikeLoad, WorkloadEntry
from autoscaler.backtest.traces import FloatArray, Grid
from autoscaler.errors import ScenarioError
from autoscaler.mismatch import convert
from autoscaler.model.spec import Duration

GRID = Grid(start=1_767_571_200.0, step=60.0, history=60, length=24 * 60)


def loads(*entries: dict[str, Any], seed: int = 0) -> dict[str, FloatArray]:
    parsed = tuple(convert(entry, WorkloadEntry, "s.yaml", error=ScenarioError) for entry in entries)
    return loads_of(parsed, GRID, (Path(),), seed=seed, file="s.yaml")


def test_sources_add_up() -> None:
    both = {"constant": {"rate": 2}, "ramp": {"before": 0, "after": 10, "at": 0, "lasts": 0}}
    load = loads({"name": "a", "load": both})["a"]
    assert load[GRID.history - 1] == 2
    assert load[-1] == 12


def test_calls_follow_their_caller_in_any_order() -> None:
    result = loads(
        {"name": "c", "load": {"calls": {"workload": "b", "ratio": 0.5}}},
        {"name": "b", "load": {"calls": {"workload": "a", "ratio": 3}}},
        {"name": "a", "load": {"constant": {"rate": 4}}},
    )
    assert result["b"][0] == 12
    assert result["c"][0] == 6


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(({"name": "a", "load": {}},), id="no-source"),
        pytest.param(({"name": "a", "load": {"calls": {"workload": "z", "ratio": 1}}},), id="unknown-caller"),
        pytest.param(({"name": "a", "load": {"calls": {"workload": "a", "ratio": 1}}},), id="a-circle"),
    ],
)
def test_loads_that_cannot_be(entries: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(ScenarioError):
        loads(*entries)


def test_a_workload_has_its_own_random_numbers() -> None:
    noisy = {"name": "a", "load": {"diurnal": {"peak": 100}, "poisson": True}}
    alone = loads(noisy)["a"]
    assert alone.tolist() == loads({"name": "b", "load": {"constant": {"rate": 1}}}, noisy)["a"].tolist()
    assert alone.tolist() != loads(noisy, seed=1)["a"].tolist()


def test_a_day_peaks_when_it_should() -> None:
    day = loads({"name": "a", "load": {"diurnal": {"peak": 100, "peakAt": "14h", "noise": 0}}})["a"]
    assert int(np.argmax(day)) - GRID.history == 14 * 60
    assert day.max() == pytest.approx(100)


def test_a_spike_rises_holds_and_falls() -> None:
    load = SpikeLoad(
        base=1, peak=11, at=Duration("0"), rise=Duration("10s"), hold=Duration("10s"), fall=Duration("10s")
    )
    values = spike(load, np.array([-1.0, 5.0, 10.0, 20.0, 30.0, 1e6]))
    assert values.round(2).tolist() == [1, 6, 11, 11, 4.68, 1]


def test_a_ramp_may_fall() -> None:
    values = ramp(RampLoad(before=4, after=0, at=Duration(10), lasts=Duration(20)), np.array([0.0, 20.0, 99.0]))
    assert values.tolist() == [4, 2, 0]


def test_bursts_come_back() -> None:
    load = BurstsLoad(base=1, peak=5, every=Duration(60), lasts=Duration(10), offset=Duration(30))
    assert bursts(load, np.array([-30.0, 0.0, 30.0, 39.0, 40.0, 90.0])).tolist() == [5, 1, 5, 5, 1, 5]
