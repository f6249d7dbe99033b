"""
What a controller can read of the simulated cluster: late, and with the faults of the spec.

A sample is taken at the end of each step and averages over it. Whatever is
wrong with it becomes `Missing` with the reason, as from any other source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise, repeat

import msgspec
import numpy as np
import numpy.typing as npt

from autoscaler.model.readings import (
    Missing,
    MissingReason,
    PodSample,
    PodSamples,
    Reading,
    Sample,
    Series,
    Signal,
    SignalKind,
)
from autoscaler.simulator.measurements import (
    CLEAN,
    GAP,
    NEGATIVE,
    NOT_A_NUMBER,
    OUTAGE,
    ZERO,
    Measurements,
    PodScrape,
)
from autoscaler.simulator.spec import Service
from autoscaler.simulator.world import World

STALE_SECONDS = 90.0
"""How much older than the usual delay a sample may be before it counts as stale."""
_SINCE_COLUMNS = 2880

_SERIES = {
    SignalKind.CPU: "ready_cores",
    SignalKind.MEMORY_PEAK: "peak_bytes",
    SignalKind.READY: "ready",
    SignalKind.REQUESTS: "load",
    SignalKind.SLOW_SHARE: "slow",
    SignalKind.LATENCY: "latency",
    SignalKind.THROTTLED: "throttled",
}
_POD_KINDS = {
    SignalKind.POD_CPU: "millicores",
    SignalKind.POD_MEMORY: "bytes_used",
    SignalKind.PODS_METRIC: "milli_rps",
}
_WRONG = {
    OUTAGE: (MissingReason.ABSENT, "the source does not answer"),
    GAP: (MissingReason.STALE, "no sample in time"),
    NOT_A_NUMBER: (MissingReason.NOT_A_NUMBER, "NaN"),
    NEGATIVE: (MissingReason.NEGATIVE, "below 0"),
}


class _Source(msgspec.Struct, frozen=True):
    """The service (by index) and the series that answer a signal."""

    service: int
    series: str


class _Moment:
    """What was measured in one step, taken out of the columns once for all signals."""

    def __init__(self, measured: Measurements, column: int, at: float) -> None:
        self.column, self.at = column, at
        self.quality: list[int] = measured.quality[:, column].tolist()
        self._measured = measured
        self._values: dict[str, list[float]] = {}

    def values(self, name: str) -> list[float]:
        found = self._values.get(name)
        if found is None:
            found = self._values[name] = self._measured.values[name][:, self.column].tolist()
        return found

    @cached_property
    def scrape(self) -> PodScrape | None:
        return next((each for each in reversed(self._measured.scrapes) if each.index == self.column), None)


class SimMetrics:
    """
    MetricsSource on a `World`.

    A service exports requests and latency only if its spec says so, and is
    throttled only if it has a CPU limit; all else about it reads as absent.
    A user's own query (Prometheus, per-pod and external metrics) is answered
    when its name has "request" in it, with the request rate, or "latency" or
    "duration", with the latency.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._delay = world.spec.delays.metrics_seconds
        self._lookback = math.floor(STALE_SECONDS / world.spec.step_seconds)
        self._window = world.spec.step_seconds
        self._sources: dict[Signal, _Source | Missing] = {}
        self._split: tuple[int, list[tuple[int, int]]] = (-1, [])

    async def read(self, signals: Sequence[Signal], at: float) -> Mapping[Signal, Reading]:
        newest = self._newest_column(at)
        if newest < 0:
            return dict.fromkeys(signals, Missing(MissingReason.ABSENT, "nothing was measured yet"))
        moment = self._moment(newest)
        return {signal: self._read(signal, moment) for signal in signals}

    async def history(self, signal: Signal, start: float, end: float, step: float) -> Series:
        """
        Return one value for each *step* from *start*, up to but without *end*.

        Each averages the samples of the step before its time (MEMORY_PEAK: their
        maximum). Pod signals give the average pod (POD_MEMORY: the largest).
        Nothing is newer than the metrics' delay allows.
        """
        if not (step > 0 and math.isfinite(start) and math.isfinite(end)):
            raise ValueError(f"history needs finite times and a step above 0, got {start}, {end}, {step}")
        count = max(0, math.ceil((end - start) / step - 1e-9))
        fleet = self._world.fleet_of.get(signal.workload)
        name = None if fleet is None else _series_of(signal, fleet.service)
        if fleet is None or name is None or not count:
            return Series(start=start, step=step, values=np.full(count, np.nan))
        width = max(1, round(step / self._world.spec.step_seconds))
        ends = self._column_at(np.arange(count, dtype=np.float64) * step + start)
        windows = self._windows(name, fleet.index, ends, width)
        if signal.kind is SignalKind.POD_CPU:
            ready = self._windows("ready", fleet.index, ends, width)
            windows = np.divide(1000 * windows, ready, out=np.full_like(windows, np.nan), where=ready > 0)
        peak = signal.kind in (SignalKind.MEMORY_PEAK, SignalKind.POD_MEMORY)
        return Series(start=start, step=step, values=_reduce(windows, peak=peak))

    async def aclose(self) -> None:
        """Nothing to close."""

    def _column_at(self, times: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return the newest column sampled at or before each time, -1 or less where there is none."""
        spec = self._world.spec
        columns = np.floor((times - spec.start) / spec.step_seconds + 1e-6) + spec.history_steps - 1
        result: npt.NDArray[np.int64] = np.clip(columns, -2, spec.steps + 1).astype(np.int64)
        return result

    def _newest_column(self, at: float) -> int:
        if not math.isfinite(at):
            raise ValueError(f"the time must be finite, got {at}")
        return min(int(self._column_at(np.array([at - self._delay]))[0]), self._world.measured.end - 1)

    def _source(self, signal: Signal) -> _Source | Missing:
        found = self._sources.get(signal)
        if found is None:
            fleet = self._world.fleet_of.get(signal.workload)
            name = None if fleet is None else _series_of(signal, fleet.service)
            if fleet is None:
                found = Missing(MissingReason.ABSENT, "no such workload")
            elif name is None:
                found = Missing(MissingReason.ABSENT, "the workload does not export it")
            else:
                found = _Source(fleet.index, name)
            self._sources[signal] = found
        return found

    def _read(self, signal: Signal, moment: _Moment) -> Reading:
        source = self._source(signal)
        if isinstance(source, Missing):
            return source
        quality = moment.quality[source.service]
        if quality in (CLEAN, ZERO):
            return self._measured(signal, source, moment)
        if quality == GAP:
            return self._read_older(signal, source, moment)
        return self._missing(source.service, moment.column)

    def _read_older(self, signal: Signal, source: _Source, moment: _Moment) -> Reading:
        """Look back past a gap, as far as staleness allows."""
        quality = self._world.measured.quality[source.service]
        for column in range(moment.column, max(moment.column - self._lookback, 0) - 1, -1):
            if quality[column] != GAP:
                return self._read(signal, self._moment(column))
        return self._missing(source.service, moment.column)

    def _measured(self, signal: Signal, source: _Source, moment: _Moment) -> Reading:
        is_zero = moment.quality[source.service] == ZERO
        if signal.kind in _POD_KINDS:
            return self._read_pods(signal, source.service, moment, is_zero=is_zero)
        value = 0.0 if is_zero else moment.values(source.series)[source.service]
        if not math.isfinite(value):
            return Missing(MissingReason.ABSENT, "no requests", since=moment.at)
        if signal.kind in (SignalKind.OBJECT_METRIC, SignalKind.EXTERNAL_METRIC):
            value *= 1000
        if signal.kind is SignalKind.EXTERNAL_METRIC:
            return PodSamples((PodSample("", round(value), moment.at, self._window),))
        return Sample(value, moment.at, self._window)

    def _read_pods(self, signal: Signal, service: int, moment: _Moment, *, is_zero: bool) -> Reading:
        scrape = moment.scrape
        if scrape is None:
            return Missing(MissingReason.ABSENT, "not scraped")
        low, high = self._bounds(scrape)[service]
        values = getattr(scrape, _POD_KINDS[signal.kind])[low:high].tolist()
        if is_zero:
            values = [0] * len(values)
        of_pod = signal.kind is SignalKind.PODS_METRIC
        container = "" if of_pod else self._world.fleets[service].service.container
        rest = (repeat(moment.at), repeat(self._window), repeat(container))
        return PodSamples(tuple(map(PodSample, scrape.names[low:high], values, *rest)))

    def _moment(self, column: int) -> _Moment:
        return _Moment(self._world.measured, column, self._time_of(column))

    def _bounds(self, scrape: PodScrape) -> list[tuple[int, int]]:
        """Return where each service's pods are in a scrape, which has them by service."""
        if self._split[0] != scrape.index:
            edges = np.searchsorted(scrape.services, np.arange(len(self._world.fleets) + 1)).tolist()
            self._split = (scrape.index, list(pairwise(edges)))
        return self._split[1]

    def _missing(self, service: int, column: int) -> Missing:
        quality = self._world.measured.quality[service]
        reason, detail = _WRONG.get(int(quality[column]) if column >= 0 else OUTAGE, _WRONG[GAP])
        first = max(0, column + 1 - _SINCE_COLUMNS)
        good = np.flatnonzero(quality[first : column + 1] == CLEAN)
        since = self._time_of(first + int(good[-1])) if len(good) else 0.0
        return Missing(reason, detail, since=since)

    def _time_of(self, column: int) -> float:
        spec = self._world.spec
        return spec.start + (column + 1 - spec.history_steps) * spec.step_seconds

    def _windows(self, name: str, service: int, ends: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.float64]:
        """Return the *width* samples up to each of *ends* (one row each), NaN where there is none."""
        measured = self._world.measured
        known = self._newest_column(self._world.now) + 1
        low = min(max(0, int(ends.min()) - width + 1), known)
        high = max(low, min(int(ends.max()) + 1, known))
        values = measured.values[name][service, low:high].astype(np.float64)
        quality = measured.quality[service, low:high]
        if quality.any():
            values = np.where(quality == CLEAN, values, np.where(quality == ZERO, 0.0, np.nan))
        before, after = max(0, low - (int(ends.min()) - width + 1)), max(0, int(ends.max()) + 1 - high)
        padded = np.pad(values, (before, after), constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, width)
        result: npt.NDArray[np.float64] = windows[ends - ends.min()]
        return result


def _series_of(signal: Signal, service: Service) -> str | None:
    """Return the name of the series that answers a signal, None where the service does not export it."""
    kind = signal.kind
    if kind in (SignalKind.PROMETHEUS, SignalKind.PODS_METRIC, SignalKind.OBJECT_METRIC, SignalKind.EXTERNAL_METRIC):
        kind = _meant_by(signal.name)
    exported = {
        SignalKind.REQUESTS: service.exports_requests and service.requests is not None,
        SignalKind.SLOW_SHARE: service.exports_latency,
        SignalKind.LATENCY: service.exports_latency,
        SignalKind.THROTTLED: service.pod_limits.has("cpu"),
        SignalKind.PROMETHEUS: False,
    }
    if not exported.get(kind, True):
        return None
    return {SignalKind.POD_CPU: "ready_cores", SignalKind.POD_MEMORY: "peak_bytes"}.get(kind) or _SERIES[kind]


def _meant_by(query: str) -> SignalKind:
    text = query.lower()
    if "latency" in text or "duration" in text:
        return SignalKind.LATENCY
    return SignalKind.REQUESTS if "request" in text else SignalKind.PROMETHEUS


def _reduce(windows: npt.NDArray[np.float64], *, peak: bool) -> npt.NDArray[np.float64]:
    known = ~np.isnan(windows)
    counts = known.sum(axis=1)
    values: npt.NDArray[np.float64]
    if known.all():
        values = windows.max(axis=1) if peak else windows.mean(axis=1)
    elif peak:
        values = np.where(known, windows, -np.inf).max(axis=1)
    else:
        values = np.where(known, windows, 0.0).sum(axis=1) / np.maximum(counts, 1)
    result: npt.NDArray[np.float64] = np.where(counts > 0, values, np.nan)
    return result
