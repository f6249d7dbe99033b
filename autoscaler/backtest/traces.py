"""
Which numbers a trace file holds, put on the scenario's own grid of steps.

Files are CSV or CSV.gz with a header. A name is looked for beside the
scenario file, then in the folder that `AUTOSCALER_DATA` names, then in the
shared data beside the project, then among the bundled traces and tables.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from autoscaler.backtest.schema import Gaps, SeriesLoad
from autoscaler.errors import ScenarioError
from autoscaler.model.units import parse_duration

FloatArray = npt.NDArray[np.floating]

BUNDLED = Path(__file__).parent / "traces"
TABLES = Path(__file__).parents[1] / "providers" / "tables"
MAX_FILE_BYTES = 256 << 20
MAX_ROWS = 2_000_000
LARGEST_VALUE = 1e15
LARGEST_TIME = 1e12
"""Seconds: what lies further from the epoch is no time."""


class Field(NamedTuple):
    """Where in a scenario something stands, for errors."""

    file: str
    path: str

    def error(self, found: object, allowed: str) -> ScenarioError:
        return ScenarioError(self.file, self.path, found, allowed)

    def at(self, part: str) -> Field:
        return Field(self.file, f"{self.path}.{part}" if self.path else part)


class Grid(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Steps of a scenario: `history` before `start` (epoch seconds), then `length`; all `step` seconds long."""

    start: float
    step: float
    history: int
    length: int

    @property
    def count(self) -> int:
        return self.history + self.length

    def offsets(self) -> FloatArray:
        """Start of each step in seconds from the scenario's start; negative in the history."""
        return (np.arange(self.count) - self.history) * self.step


def data_folders(scenario_folder: Path, environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return where traces are looked for, in order."""
    named = environment.get("AUTOSCALER_DATA", "")
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return (scenario_folder, *((Path(named),) if named else ()), beside, BUNDLED, TABLES)


def find_file(name: str, folders: tuple[Path, ...], field: Field) -> Path:
    """
    Return the first file of that relative name in *folders*.

    Raises:
        ScenarioError: there is none, or the name leaves the folders.
    """
    parts = Path(name)
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise field.error(
            name, "a file name relative to the scenario or to the folder in AUTOSCALER_DATA, without '..'"
        )
    for folder in folders:
        path = folder / parts
        if path.is_file():
            return path
    raise field.error(
        name,
        "a file that is there: put it beside the scenario, or set AUTOSCALER_DATA to the folder that has it "
        "(docs/how-to/get-the-traces.md says where those of the bundled scenarios come from)",
    )


def read_rows(path: Path, field: Field, columns: Collection[str] = ()) -> Iterator[dict[str, str]]:
    """
    Yield the rows of a CSV or CSV.gz file, which must have *columns*, by column name.

    Raises:
        ScenarioError: the file is too large, is not CSV text, lacks a column, or a row has more cells than the header.
    """
    size, rows = 0, 0
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            if not header or len(set(header)) != len(header):
                raise field.error(path.name, "a CSV file whose first row names the columns, each once")
            for column in columns:
                check_column(column, header, path, field)
            for cells in reader:
                size += sum(map(len, cells))
                rows += 1
                if size > MAX_FILE_BYTES or rows > MAX_ROWS:
                    raise field.error(
                        path.name, f"a file of at most {MAX_ROWS} rows and {MAX_FILE_BYTES >> 20} MiB of text"
                    )
                if len(cells) > len(header):
                    raise field.error(path.name, f"at most {len(header)} cells a row; row {rows} has {len(cells)}")
                yield dict(zip(header, cells, strict=False))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise field.error(path.name, f"readable CSV text ({error})") from error


def check_column(column: str, columns: Iterable[str], path: Path, field: Field) -> None:
    """
    Make sure that a file has a column.

    Raises:
        ScenarioError: it has not; names those that it has.
    """
    known = list(columns)
    if column not in known:
        raise field.error(column, f"one of the columns of {path.name}: {', '.join(known[:20])}")


def number(cell: str) -> float:
    """Return a cell as a finite float, NaN when it is empty or anything else."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def read_columns(path: Path, field: Field) -> dict[str, list[str]]:
    """
    Return all columns of a file as text, in the file's order.

    Raises:
        ScenarioError: the file is not CSV, too large, or has no rows.
    """
    try:
        return _cached_columns(path, path.stat().st_mtime_ns)
    except ScenarioError as error:
        raise field.error(error.found, error.allowed) from error


@lru_cache(maxsize=4)
def _cached_columns(path: Path, _changed: int) -> dict[str, list[str]]:
    field = Field(path.name, "")
    columns: dict[str, list[str]] = {}
    for row in read_rows(path, field):
        if not columns:
            columns = {name: [] for name in row}
        for name, cells in columns.items():
            cells.append(row.get(name, ""))
    if not columns:
        raise field.error(path.name, "a file with at least one row")
    return columns


def _epoch(text: str, unit: float) -> float:
    """Return a cell of a time column in seconds, NaN if it is no time."""
    value = number(text)
    if not math.isnan(value):
        return value * unit
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def read_series(load: SeriesLoad, path: Path, field: Field) -> tuple[FloatArray, FloatArray]:
    """
    Return (times, values) of a trace, in rising order of time; rows of one time add up, rows without one are left out.

    Values are per second (see `per`), not yet scaled; what is not a number from
    0 to 1e15 is NaN.

    Raises:
        ScenarioError: a column is missing or nothing usable is in it.
    """
    columns = read_columns(path, field)
    stamps = load.time or next(iter(columns))
    for name, part in ((load.column, "column"), (stamps, "time")):
        check_column(name, columns, path, field.at(part))
    texts = columns[load.column]
    if load.interval is not None and load.time is None:
        times = np.arange(len(texts)) * load.interval.seconds
    else:
        times = np.array([_epoch(text, load.time_unit.seconds) for text in columns[stamps]])
    values = np.array([number(text) for text in texts])
    values[(values < 0) | (values > LARGEST_VALUE)] = np.nan
    known = np.abs(times) <= LARGEST_TIME
    times, values = times[known], values[known]
    if len(times) < 2 or np.isnan(values).all():
        raise field.error(path.name, "a trace of at least two rows with times, and some values of at least 0")
    moments, places = np.unique(times, return_inverse=True)
    if len(moments) < len(times):
        values = np.bincount(places, weights=np.nan_to_num(values, nan=0.0))
    else:
        values = values[np.argsort(times, kind="stable")]
    return moments, values / load.per.seconds


def fill_gaps(times: FloatArray, values: FloatArray, gaps: Gaps, field: Field) -> tuple[FloatArray, FloatArray]:
    """
    Return a regular series with what is missing filled in.

    The interval is the median distance of rows; a row's value holds from its
    time until one interval later.

    Raises:
        ScenarioError: all rows have one time, or gaps make the series too long.
    """
    interval = float(np.median(np.diff(times))) or float(np.diff(times).max())
    if interval <= 0 or (times[-1] - times[0]) / interval > MAX_ROWS:
        raise field.at("time").error(interval, f"times that rise, no gap longer than {MAX_ROWS} intervals")
    slots = np.round((times - times[0]) / interval).astype(np.int64)
    whole = np.full(int(slots[-1]) + 1, np.nan)
    whole[slots] = values
    known = np.flatnonzero(np.isfinite(whole))
    if gaps is Gaps.ZERO:
        whole = np.nan_to_num(whole, nan=0.0)
    elif gaps is Gaps.LINEAR:
        whole = np.interp(np.arange(len(whole)), known, whole[known])
    else:
        last = np.searchsorted(known, np.arange(len(whole)), side="right") - 1
        whole = whole[known[np.maximum(last, 0)]]
    return times[0] + np.arange(len(whole)) * interval, whole


def resample(times: FloatArray, values: FloatArray, edges: FloatArray, *, repeat: bool) -> FloatArray:
    """
    Return the mean of a regular step function within each pair of *edges*.

    Averages when steps are longer than the trace's interval, holds when they
    are shorter; the integral is kept either way. Outside the trace the value
    is NaN, or with *repeat* the trace again.
    """
    interval = times[1] - times[0]
    span = interval * len(values)
    total = np.concatenate(([0.0], np.cumsum(values * interval)))
    knots = np.arange(len(values) + 1) * interval
    at = edges - times[0]
    if repeat:
        laps = np.floor(at / span)
        integral = laps * total[-1] + np.interp(at - laps * span, knots, total)
    else:
        integral = np.interp(at, knots, total, left=np.nan, right=np.nan)
    return np.asarray(np.diff(integral) / np.diff(edges), dtype=np.float64)


def _anchor(load: SeriesLoad, times: FloatArray, grid: Grid, field: Field) -> float:
    """Return the file's time that is the scenario's start."""
    if load.at is None:
        return float(times[0]) + grid.history * grid.step
    try:
        return float(times[0]) + parse_duration(load.at)
    except ValueError:
        moment = _epoch(load.at, 1.0)
    if math.isnan(moment):
        raise field.at("at").error(load.at, "an ISO 8601 time, or a duration from the first row such as 14d")
    return moment


def series_on_grid(load: SeriesLoad, path: Path, grid: Grid, field: Field) -> FloatArray:
    """
    Return the trace's values a second for every step of history and length.

    Raises:
        ScenarioError: the trace does not cover history and length and is not repeated.
    """
    for name, duration in (("per", load.per), ("timeUnit", load.time_unit), ("interval", load.interval)):
        if duration is not None and duration.seconds <= 0:
            raise field.at(name).error(duration, "a duration above 0")
    times, values = fill_gaps(*read_series(load, path, field), load.gaps, field)
    anchor = _anchor(load, times, grid, field)
    edges = anchor + (np.arange(grid.count + 1) - grid.history) * grid.step
    result = resample(times, values, edges, repeat=load.repeat)
    if np.isnan(result).any():
        raise field.at("at").error(
            load.at or "the end of history",
            f"a moment so that history and length are in {path.name}, which covers {_day(times[0])} to "
            f"{_day(times[-1])} (asked: {_day(edges[0])} to {_day(edges[-1])}); or `repeat: true`",
        )
    if load.peak is not None:
        top = float(np.quantile(result, 0.999))
        return result * (load.peak / top) if top > 0 else result
    return result * load.scale


def _day(seconds: float) -> str:
    if abs(seconds) < 400 * 86400:
        return f"{seconds / 86400:.2f} d"
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="minutes")
