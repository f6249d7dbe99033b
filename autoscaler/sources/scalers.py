"""
Plug-ins that answer External metrics, as KEDA's scalers do: one for each system that has work waiting.

An External metric called `kafka/orders` is answered by the entry point `kafka`
of the group `autoscaler.metrics_sources`, if one is installed; it is loaded
when it is first asked for. The metric's selector, which the signal's name
carries, is where a plug-in finds its settings (`model.metric_query.query_of`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from autoscaler import plugins
from autoscaler.interfaces import Clock, MetricsSource
from autoscaler.model.metric_query import query_of
from autoscaler.model.readings import Missing, MissingReason, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.sources.together import together

TIMEOUT_SECONDS = 3.0
"""As long as KEDA waits for an answer by default (`KEDA_HTTP_DEFAULT_TIMEOUT`)."""
_OURS = frozenset({"metrics-api", "prometheus"})
"""Entry points of the group that are no scalers: they want more than a clock."""


def _load(name: str) -> Any:
    return plugins.load(plugins.METRICS_SOURCES, name)


class Scalers:
    """The installed scalers by name; one that fails fails its own metrics only."""

    def __init__(
        self,
        clock: Clock,
        *,
        known: Sequence[str] | None = None,
        load: Callable[[str], Any] = _load,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """Know the scalers called *known*, those that are installed if None; `load(name)(clock=clock)` makes one."""
        self._clock, self._given, self._load, self._timeout = clock, known, load, timeout
        self._opened: dict[str, MetricsSource] = {}

    def takes(self, signal: Signal) -> bool:
        """Tell whether a scaler is there for *signal*."""
        return signal.kind is SignalKind.EXTERNAL_METRIC and _scaler_of(signal) in self._known

    async def read(self, signals: Sequence[Signal], at: float) -> dict[Signal, Reading]:
        """Return a reading for each signal, all of which a scaler takes, as of *at*."""
        asked: dict[str, list[Signal]] = {}
        for signal in signals:
            asked.setdefault(_scaler_of(signal), []).append(signal)
        found: dict[Signal, Reading] = {}
        for readings in await together(self._ask(name, group, at) for name, group in asked.items()):
            found.update(readings)
        return found

    async def aclose(self) -> None:
        """Close the scalers that were opened; one that fails to is left."""
        for scaler in self._opened.values():
            try:
                async with asyncio.timeout(self._timeout):
                    await scaler.aclose()
            except Exception:  # noqa: S112  (a plug-in may fail in any way, and nothing is left to be done)
                continue
        self._opened.clear()

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(plugins.names(plugins.METRICS_SOURCES) if self._given is None else self._given) - _OURS

    async def _ask(self, name: str, signals: Sequence[Signal], at: float) -> dict[Signal, Reading]:
        try:
            if name not in self._opened:
                self._opened[name] = self._load(name)(clock=self._clock)
            async with asyncio.timeout(self._timeout):
                answered = await self._opened[name].read(signals, at)
            return {signal: _usable(answered, signal) for signal in signals}
        except TimeoutError:
            text = f"scaler {name} did not answer within {self._timeout:g} s"
        except Exception as problem:
            text = f"scaler {name}: {type(problem).__name__}: {problem}"
        return dict.fromkeys(signals, Missing(MissingReason.FAILED, text))


def _scaler_of(signal: Signal) -> str:
    scaler, slash, _ = query_of(signal.name).metric.partition("/")
    return scaler if slash else ""


def _usable(answered: Mapping[Signal, Reading], signal: Signal) -> Reading:
    reading = answered.get(signal, Missing(MissingReason.ABSENT, "the scaler left it out"))
    if isinstance(reading, Sample):
        amounts = [reading.value]
    elif isinstance(reading, PodSamples):
        amounts = [float(sample.value) for sample in reading.samples]
    else:
        return reading
    if not all(math.isfinite(amount) for amount in amounts):
        return Missing(MissingReason.NOT_A_NUMBER, f"the scaler says {amounts}")
    if any(amount < 0 for amount in amounts):
        return Missing(MissingReason.NEGATIVE, f"the scaler says {amounts}")
    return reading
