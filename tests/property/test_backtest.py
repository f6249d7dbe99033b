"""Scenario files and traces of any content: the documented error, or a world that can be run."""

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.backtest.loads import bursts, diurnal, ramp, spike
from autoscaler.backtest.scenario import BUNDLED, parse_scenario
from autoscaler.backtest.schema import BurstsLoad, DiurnalLoad, RampLoad, SpikeLoad
from autoscaler.backtest.traces import number, resample
from autoscaler.errors import InputError
from autoscaler.model.spec import Duration
from autoscaler.simulator.spec import check_world

TINY: dict[str, Any] = yaml.safe_load((BUNDLED / "tiny.yaml").read_text(encoding="utf-8"))
NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**15, max_value=10**30),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["-1", "1e400", "9e18", "0s", "1ns", "9" * 60, "-5Gi", "nan", "../x", "\0", "1d"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)
AMOUNTS = st.floats(min_value=0, max_value=1e12)
TIMES = st.floats(min_value=0, max_value=1e9).map(Duration)


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in [(*prefix, key), *paths(item, (*prefix, key))]]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(paths(TINY)), NASTY)
def test_a_mutated_scenario_is_refused_or_can_be_run(path: tuple[Any, ...], value: Any) -> None:
    document = msgspec.json.decode(msgspec.json.encode(TINY))
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    try:
        text = yaml.safe_dump(document, allow_unicode=True)
        world = parse_scenario(text, "s.yaml", folders=(Path(),)).world()
    except InputError:
        return
    check_world(world)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_refused_or_a_scenario(text: str) -> None:
    try:
        parse_scenario(text, "s.yaml")
    except InputError:
        return


@given(st.text(max_size=20))
def test_a_cell_is_finite_or_a_gap(text: str) -> None:
    value = number(text)
    assert math.isfinite(value) or math.isnan(value)


@settings(max_examples=60, deadline=None)
@given(AMOUNTS, AMOUNTS, TIMES, TIMES, TIMES)
def test_generated_loads_are_finite_and_not_negative(
    low: float, high: float, one: Duration, two: Duration, three: Duration
) -> None:
    offsets = np.arange(-50, 50) * 60.0
    every = Duration(max(one.seconds, 1e-3))
    for values in (
        ramp(RampLoad(before=low, after=high, at=one, lasts=two), offsets),
        spike(SpikeLoad(base=low, peak=high, at=one, rise=two, hold=three, fall=two), offsets),
        bursts(BurstsLoad(base=low, peak=high, every=every, lasts=two, offset=three), offsets),
        diurnal(DiurnalLoad(peak=high, peak_at=one), offsets + 1.7e9, 60.0, np.random.default_rng(0)),
    ):
        assert np.isfinite(values).all()
        assert (values >= 0).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(min_value=0, max_value=1e9), min_size=2, max_size=20),
    st.integers(min_value=1, max_value=7),
)
def test_resampling_keeps_the_mean_and_the_bounds(values: list[float], parts: int) -> None:
    times = np.arange(len(values)) * 60.0
    edges = np.linspace(0, 60.0 * len(values), len(values) * parts + 1)
    result = resample(times, np.array(values), edges, repeat=False)
    slack = 1e-6 * (1 + max(values))
    assert abs(float(result.mean()) - float(np.mean(values))) <= slack
    assert float(result.min()) >= min(values) - slack
    assert float(result.max()) <= max(values) + slack
