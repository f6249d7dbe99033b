"""What load reaches each workload in each step: traces and generators, added up."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np

from autoscaler.backtest.schema import BurstsLoad, DiurnalLoad, Load, RampLoad, SpikeLoad, WorkloadEntry
from autoscaler.backtest.traces import Field, FloatArray, Grid, find_file, series_on_grid
from autoscaler.model.units import DAY

SOURCES = ("series", "constant", "diurnal", "ramp", "spike", "bursts", "calls")
_MONDAY = 345_600.0  # 1970-01-05, the first Monday of the epoch
_HOURLY_CORRELATION = 3600.0


def random_of(seed: int, name: str) -> np.random.Generator:
    """Return the random numbers of one workload: other workloads do not change them."""
    return np.random.default_rng((seed, zlib.crc32(name.encode())))


def loads_of(
    entries: tuple[WorkloadEntry, ...], grid: Grid, folders: tuple[Path, ...], *, seed: int, file: str
) -> dict[str, FloatArray]:
    """
    Return each workload's load by its name, one value a step, in the unit of its `measure`.

    Raises:
        ScenarioError: a load has no source, a trace cannot be used, or calls go in a circle.
    """
    loads: dict[str, FloatArray] = {}
    for place, entry in enumerate(entries):
        field = Field(file, f"workloads[{place}].load")
        if all(getattr(entry.load, source) is None for source in SOURCES):
            raise field.error({}, f"at least one of {', '.join(SOURCES)}")
        loads[entry.name] = _own_load(entry.load, grid, folders, random=random_of(seed, entry.name), field=field)
    _add_calls(entries, loads, file)
    return {
        entry.name: _poisson(loads[entry.name], grid.step, random_of(seed + 1, entry.name))
        if entry.load.poisson
        else loads[entry.name]
        for entry in entries
    }


def _own_load(
    load: Load, grid: Grid, folders: tuple[Path, ...], *, random: np.random.Generator, field: Field
) -> FloatArray:
    offsets, total = grid.offsets(), np.zeros(grid.count)
    if load.series is not None:
        at = field.at("series")
        total += series_on_grid(load.series, find_file(load.series.file, folders, at.at("file")), grid, at)
    if load.constant is not None:
        total += load.constant.rate
    if load.diurnal is not None:
        total += diurnal(load.diurnal, offsets + grid.start, grid.step, random)
    if load.ramp is not None:
        total += ramp(load.ramp, offsets)
    if load.spike is not None:
        total += spike(load.spike, offsets)
    if load.bursts is not None:
        if load.bursts.every.seconds <= 0:
            raise field.at("bursts.every").error("0s", "a duration above 0")
        total += bursts(load.bursts, offsets)
    return total


def _add_calls(entries: tuple[WorkloadEntry, ...], loads: dict[str, FloatArray], file: str) -> None:
    """Add what callers send on, callers first."""
    waiting = {
        entry.name: (entry.load.calls, Field(file, f"workloads[{place}].load.calls.workload"))
        for place, entry in enumerate(entries)
        if entry.load.calls is not None
    }
    for calls, field in waiting.values():
        if calls.workload not in loads:
            raise field.error(calls.workload, f"one of the workloads: {', '.join(sorted(loads))}")
    while waiting:
        ready = [name for name, (calls, _) in waiting.items() if calls.workload not in waiting]
        if not ready:
            calls, field = next(iter(waiting.values()))
            raise field.error(calls.workload, "calls that do not go in a circle")
        for name in ready:
            calls, _ = waiting.pop(name)
            loads[name] = loads[name] + loads[calls.workload] * calls.ratio


def diurnal(load: DiurnalLoad, times: FloatArray, step: float, random: np.random.Generator) -> FloatArray:
    """
    Return a day's double sine with autocorrelated log-normal noise (algorithms, section 8.1).

    *times* are epoch seconds, *step* apart; weekends are those of UTC.
    """
    day = (times - load.peak_at.seconds) / DAY * 2 * np.pi
    swing = (np.cos(day) + 0.25 * np.cos(2 * day)) / 1.25
    level = (1 + load.amplitude * swing) / (1 + load.amplitude)
    weekend = np.floor((times - _MONDAY) / DAY).astype(np.int64) % 7 >= 5
    level = level * np.where(weekend, load.weekend, 1.0)
    return np.asarray(load.peak * level * np.exp(_correlated(len(times), step, load.noise, random)))


def _correlated(count: int, step: float, deviation: float, random: np.random.Generator) -> FloatArray:
    """Return AR(1) noise whose correlation fades within about an hour, by blocks of steps for speed."""
    if deviation == 0:
        return np.zeros(count)
    block = max(1, round(_HOURLY_CORRELATION / 4 / step))
    knots = count // block + 2
    fade = math.exp(-0.25)
    shocks = random.standard_normal(knots) * deviation * math.sqrt(1 - fade * fade)
    slow = np.empty(knots)
    slow[0] = shocks[0] / math.sqrt(1 - fade * fade)
    for i in range(1, knots):
        slow[i] = fade * slow[i - 1] + shocks[i]
    return np.interp(np.arange(count), np.arange(knots) * block, slow) + random.standard_normal(count) * deviation / 3


def ramp(load: RampLoad, offsets: FloatArray) -> FloatArray:
    """Return a straight rise or fall; *offsets* are seconds from the scenario's start."""
    share = np.clip((offsets - load.at.seconds) / max(load.lasts.seconds, 1e-9), 0.0, 1.0)
    return np.asarray(load.before + (load.after - load.before) * share)


def spike(load: SpikeLoad, offsets: FloatArray) -> FloatArray:
    """Return a base with one flash crowd on it; *offsets* are seconds from the scenario's start."""
    since = offsets - load.at.seconds
    rise = np.clip(since / max(load.rise.seconds, 1e-9), 0.0, 1.0)
    late = np.maximum(since - load.rise.seconds - load.hold.seconds, 0.0)
    share = np.where(since < 0, 0.0, rise * np.exp(-late / max(load.fall.seconds, 1e-9)))
    return np.asarray(load.base + (load.peak - load.base) * share)


def bursts(load: BurstsLoad, offsets: FloatArray) -> FloatArray:
    """Return regular bursts; *offsets* are seconds from the scenario's start."""
    within = (offsets - load.offset.seconds) % load.every.seconds
    return np.where(within < load.lasts.seconds, load.peak, load.base)


def _poisson(rates: FloatArray, step: float, random: np.random.Generator) -> FloatArray:
    return np.asarray(random.poisson(np.minimum(rates * step, 1e15)) / step, dtype=np.float64)
