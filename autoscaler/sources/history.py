"""
Regular histories from range queries: one query for many workloads, in pieces that a server can answer.

What was fetched for a batch of workloads is kept until the next ones are asked
for, so that learning 3,000 workloads one by one does not make a query for each.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from autoscaler.errors import TransientError
from autoscaler.model.arrays import Floats
from autoscaler.model.pod import Pod
from autoscaler.model.readings import Series, Signal, SignalKind
from autoscaler.model.workload import workload_key
from autoscaler.sources.answers import BadAnswerError, RangeRow, samples_of, series_of
from autoscaler.sources.connection import RETRY_SECONDS, Connection, QueryError
from autoscaler.sources.history_queries import raw_queries, recorded_query
from autoscaler.sources.ownership import Owner, owner_of, owners_of
from autoscaler.sources.settings import PrometheusSettings
from autoscaler.sources.together import together

BATCH = 64
"""Workloads of one query."""
MOST_POINTS = 11_000
"""Points of one series that Prometheus gives at most (web/api/v1, `maxPoints`)."""
ANSWER_POINTS = 400_000
"""Points of one answer: some 10 MB of JSON."""
KEPT_BYTES = 32 << 20
_SMALLEST_PIECE = 60
_FEW = 0.02
"""Share of times without a value that is not worth another query."""
_BYTES_AT_ONCE = 1 << 19
"""So much JSON is decoded before others get their turn: some 15 ms."""
_UNITS = {SignalKind.POD_CPU: 1000.0}
_Known = npt.NDArray[np.float32]
_Fetched = dict[tuple[str, str], _Known]
"""Histories by (workload key, container)."""


class _Grid:
    """The times of one history: *count* steps from *start*."""

    def __init__(self, start: float, end: float, step: float) -> None:
        if not (step > 0 and math.isfinite(start) and math.isfinite(end)):
            raise ValueError(f"history needs finite times and a step above 0, got {start}, {end}, {step}")
        self.start, self.step = start, step
        self.count = max(0, math.ceil((end - start) / step - 1e-9))

    def pieces(self, series: int) -> list[tuple[int, int]]:
        """Return the grid in pieces, oldest first, for answers of so many series."""
        size = min(MOST_POINTS, max(_SMALLEST_PIECE, ANSWER_POINTS // max(series, 1)))
        return list(pairwise([*range(0, self.count, size), self.count]))


class _Harvest(msgspec.Struct, frozen=True):
    """What is being filled: the histories of some workloads on a grid."""

    grid: _Grid
    workloads: frozenset[str]
    found: _Fetched = {}

    def has_gap(self, piece: tuple[int, int]) -> bool:
        """Tell whether no workload has a value at more than a few times of a piece."""
        first, end = piece
        lacking = np.ones(end - first, np.bool_)
        for known in self.found.values():
            lacking &= np.isnan(known[first:end])
        return bool(lacking.mean() > _FEW)

    def add(self, row: RangeRow) -> None:
        """Take a series in, if it is of one of the workloads."""
        labels = row.metric
        key = workload_key(labels.namespace, labels.workload_kind, labels.workload)
        if key in self.workloads:
            known = self.found.setdefault((key, labels.container), _gaps(self.grid.count))
            _fill(known, row, self.grid)


class History:
    """
    Reads histories; see `PrometheusSource.history` for what they hold.

    Pieces are fetched two at a time, so that a decision's queries get through.
    """

    def __init__(self, settings: PrometheusSettings, connection: Connection, pods: Callable[[], Sequence[Pod]]) -> None:
        self._settings, self._connection, self._pods = settings, connection, pods
        self._turn = asyncio.Lock()
        self._at_once = asyncio.Semaphore(2)
        self._kept: OrderedDict[tuple[object, ...], _Fetched] = OrderedDict()
        self._span: tuple[float, float, float] | None = None
        self._batches: dict[str, tuple[Owner, ...]] = {}

    async def read(self, signal: Signal, start: float, end: float, step: float) -> Series:
        """Return one signal's history; what cannot be known is a gap."""
        grid = _Grid(start, end, step)
        values = np.full(grid.count, np.nan)
        if grid.count:
            async with self._turn:
                found = await self._fetched(signal, (start, end, step), grid)
            values = _values_of(signal, found, values)
        return Series(start=start, step=step, values=values)

    async def _fetched(self, signal: Signal, span: tuple[float, float, float], grid: _Grid) -> _Fetched:
        if signal.kind is SignalKind.PROMETHEUS:
            return await self._fetch_query(signal, grid)
        batch = self._batch_of(signal.workload, span)
        key = (signal.kind, span, batch[0].key)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = await self._fetch(signal.kind, batch, grid)
            self._forget()
        self._kept.move_to_end(key)
        return found

    def _batch_of(self, workload: str, span: tuple[float, float, float]) -> tuple[Owner, ...]:
        """Return the workloads to be fetched together with one: its neighbours by name."""
        if span != self._span:
            owners = owners_of(self._pods())
            parts = [tuple(owners[first : first + BATCH]) for first in range(0, len(owners), BATCH)]
            self._batches = {owner.key: part for part in parts for owner in part}
            self._span = span
        return self._batches.get(workload) or (owner_of(workload),)

    async def _fetch(self, kind: SignalKind, batch: tuple[Owner, ...], grid: _Grid) -> _Fetched:
        """Return the histories of a batch: what rules recorded, and where they did not, what was scraped."""
        harvest = _Harvest(grid, frozenset(owner.key for owner in batch))
        pieces = grid.pieces(len(batch))
        recorded = recorded_query(kind, self._settings, batch, step=grid.step)
        # The newest piece tells whether the rules are there at all.
        if recorded and await self._piece(recorded, pieces[-1], harvest):
            await together(self._piece(recorded, piece, harvest) for piece in pieces[:-1])
        for query in raw_queries(kind, self._settings, batch, step=grid.step):
            lacking = [piece for piece in pieces if harvest.has_gap(piece)]
            await together(self._piece(query, piece, harvest) for piece in lacking)
        return harvest.found

    async def _piece(self, query: str, piece: tuple[int, int], harvest: _Harvest) -> int:
        """Take in what a query gives for a piece of the grid; return how many series it gave."""
        rows = await self._rows(query, harvest.grid, piece)
        decoded = 0
        for row in rows:
            harvest.add(row)
            decoded += len(row.values)
            if decoded > _BYTES_AT_ONCE:
                decoded = 0
                await asyncio.sleep(0)
        return len(rows)

    async def _rows(self, query: str, grid: _Grid, piece: tuple[int, int]) -> tuple[RangeRow, ...]:
        """Return a query's series; a piece that is too much for the server is halved."""
        first, end = piece
        start = grid.start + first * grid.step
        try:
            async with self._at_once:
                answered = await self._connection.query_range(
                    query, start=start, end=grid.start + (end - 1) * grid.step, step=grid.step
                )
            # An answer that lacks data would teach too little demand: a gap teaches nothing.
            return () if answered.partial else series_of(answered)
        except (QueryError, BadAnswerError) as error:
            if end - first <= _SMALLEST_PIECE:
                raise TransientError(f"prometheus: {error}", retry_after_seconds=RETRY_SECONDS) from error
        middle = (first + end) // 2
        return (*await self._rows(query, grid, (first, middle)), *await self._rows(query, grid, (middle, end)))

    async def _fetch_query(self, signal: Signal, grid: _Grid) -> _Fetched:
        """Return the history of a user's own query; a piece with several series is a gap, and so is a refused one."""
        values = _gaps(grid.count)
        for piece in grid.pieces(1):
            try:
                rows = await self._rows(signal.name, grid, piece)
            except TransientError as error:
                if isinstance(error.__cause__, QueryError) and error.__cause__.blames_text:
                    continue
                raise
            if len(rows) == 1:
                _fill(values, rows[0], grid)
        return {("", ""): values}

    def let_go(self) -> None:
        """Drop all that was fetched: nothing more is asked for now."""
        self._kept.clear()

    def _forget(self) -> None:
        """Drop what was used longest ago until the rest is small; the newest always stays."""
        size = sum(_bytes(found) for found in self._kept.values())
        while size > KEPT_BYTES and len(self._kept) > 1:
            size -= _bytes(self._kept.popitem(last=False)[1])


def _values_of(signal: Signal, found: _Fetched, values: Floats) -> Floats:
    key = "" if signal.kind is SignalKind.PROMETHEUS else signal.workload
    series = [
        known
        for (workload, container), known in found.items()
        if workload == key and (not signal.container or container == signal.container)
    ]
    if not series:
        return values
    unit = _UNITS.get(signal.kind, 1.0)
    total: Floats = np.sum(np.stack(series, dtype=np.float64), axis=0) * unit
    return total


def _fill(known: _Known, row: RangeRow, grid: _Grid) -> None:
    """Fill gaps of *known* with the samples of a series, each at the nearest time of the grid."""
    times, values = samples_of(row)
    places = np.rint((times - grid.start) / grid.step).astype(np.int64)
    usable = (places >= 0) & (places < grid.count) & ~np.isnan(values)
    places, values = places[usable], values[usable]
    empty = np.isnan(known[places])
    known[places[empty]] = values[empty]


def _gaps(count: int) -> _Known:
    return np.full(count, np.nan, np.float32)


def _bytes(found: _Fetched) -> int:
    return sum(known.nbytes for known in found.values())
