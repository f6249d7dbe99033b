"""
MetricsSource on the cluster's own metrics APIs, for clusters without Prometheus.

Use comes from metrics.k8s.io in one call a cycle; Pods, Object and External
metrics from custom.metrics.k8s.io and external.metrics.k8s.io, as for the HPA.
These APIs have no past: every history is all gaps, and nothing is learned from
them. They know no requests, latencies or throttling either.

Sources: k8s.io/metrics `pkg/apis/metrics/v1beta1`; metrics-server
(`timestamp` is the end of `window`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
import numpy as np

from autoscaler.errors import TransientError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import ApiServer, NotFoundError
from autoscaler.model.pod import Pod
from autoscaler.model.readings import Missing, MissingReason, Reading, Series, Signal, SignalKind
from autoscaler.sources.custom_metrics import CUSTOM_KINDS, CustomMetrics
from autoscaler.sources.noting import Noting
from autoscaler.sources.pod_readings import Measured, Moment, count_ready, read_pods, read_total
from autoscaler.sources.quantities import epoch, thousandths, window_seconds
from autoscaler.sources.scalers import Scalers
from autoscaler.sources.tables import Members, Table, Values, fresh
from autoscaler.sources.together import together

POD_METRICS = "/apis/metrics.k8s.io/v1beta1/pods"
RETRY_SECONDS = 5.0
_CPU, _MEMORY = "cpu", "memory"
_RESOURCE_OF = {
    SignalKind.POD_CPU: _CPU,
    SignalKind.CPU: _CPU,
    SignalKind.POD_MEMORY: _MEMORY,
    SignalKind.MEMORY_PEAK: _MEMORY,
}
_PER_POD = frozenset({SignalKind.POD_CPU, SignalKind.POD_MEMORY})


class MetricsApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a sample is too old, and how many of a workload's Ready pods (share) must have one."""

    stale_after_seconds: float = 90.0
    resolution_seconds: float = 30.0
    min_coverage: float = 0.8
    timeout_seconds: float = 10.0


DEFAULTS = MetricsApiSettings()


class _Metadata(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    namespace: str = ""


class _Container(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    usage: dict[str, str] = {}


class _PodMetrics(msgspec.Struct, frozen=True, gc=False):
    metadata: _Metadata
    timestamp: str = ""
    window: str = ""
    containers: tuple[_Container, ...] = ()


class _PodMetricsList(msgspec.Struct, frozen=True):
    items: tuple[_PodMetrics, ...]


_LIST = msgspec.json.Decoder(_PodMetricsList)


class _Usage(msgspec.Struct, frozen=True):
    """What one list says: a table by resource, when each pod was measured, and over how many seconds."""

    tables: Mapping[str, Table]
    times: Table
    windows: Mapping[str, float]


class MetricsApiSource:
    """
    Reads the metrics APIs; a bad value is `Missing`, with the reason, and counted in `missing`.

    Raises (read): TransientError (no answer), AccessError (no right to read).
    """

    def __init__(
        self,
        api: ApiServer,
        *,
        clock: Clock,
        pods: Callable[[], Sequence[Pod]],
        settings: MetricsApiSettings = DEFAULTS,
        scalers: Scalers | None = None,
    ) -> None:
        """Ask *scalers* for the External metrics that one of them answers, the cluster for all others."""
        self._api, self._pods, self._settings = api, pods, settings
        self._scalers = scalers or Scalers(clock, known=())
        self._custom = CustomMetrics(api, clock, timeout=settings.timeout_seconds)
        self._noting, self._members = Noting(), Members()

    @property
    def missing(self) -> Counter[MissingReason]:
        """How many readings were Missing, by reason."""
        return self._noting.missing

    async def read(self, signals: Sequence[Signal], at: float) -> Mapping[Signal, Reading]:
        """Return a reading for each signal, as of *at*."""
        if not math.isfinite(at):
            raise ValueError(f"the time must be finite, got {at}")
        moment = self._moment(signals, at)
        found: dict[Signal, Reading] = {}
        scaled = [signal for signal in signals if self._scalers.takes(signal)]
        custom = [signal for signal in signals if signal.kind in CUSTOM_KINDS and not self._scalers.takes(signal)]
        own = [signal for signal in signals if signal.kind not in CUSTOM_KINDS]
        for readings in await together(
            (
                self._read_usage(own, moment),
                self._custom.read(custom, moment, stale_after=self._settings.stale_after_seconds),
                self._scalers.read(scaled, at),
            )
        ):
            found.update(readings)
        return self._noting.noted(signals, found)

    async def history(self, signal: Signal, start: float, end: float, step: float) -> Series:
        """Return gaps only: the metrics APIs have no past."""
        if not (step > 0 and math.isfinite(start) and math.isfinite(end)):
            raise ValueError(f"history needs finite times and a step above 0, got {start}, {end}, {step}")
        return Series(start=start, step=step, values=np.full(max(0, math.ceil((end - start) / step - 1e-9)), np.nan))

    async def aclose(self) -> None:
        """Close the scalers; the connection belongs to who made it."""
        await self._scalers.aclose()

    def _moment(self, signals: Sequence[Signal], at: float) -> Moment:
        settings = self._settings
        return Moment(
            at=at,
            window=settings.resolution_seconds,
            resolution=settings.resolution_seconds,
            min_coverage=settings.min_coverage,
            pods=self._members.of(self._pods(), frozenset(signal.workload for signal in signals)),
        )

    async def _read_usage(self, signals: Sequence[Signal], moment: Moment) -> Mapping[Signal, Reading]:
        kinds = {signal.kind for signal in signals} & _RESOURCE_OF.keys()
        usage = await self._usage() if kinds else None
        measured = {kind: self._measured(kind, usage, moment.at) for kind in kinds if usage is not None}
        found: dict[Signal, Reading] = {}
        for signal in signals:
            if signal.kind is SignalKind.READY:
                found[signal] = count_ready(signal, moment)
            elif signal.kind not in measured:
                found[signal] = Missing(MissingReason.ABSENT, f"the metrics APIs have no {signal.kind.value}")
            elif signal.kind in _PER_POD:
                found[signal] = read_pods(signal, measured[signal.kind], moment)
            else:
                found[signal] = read_total(signal, measured[signal.kind], moment)
        return found

    async def _usage(self) -> _Usage:
        try:
            body = await self._api.get(POD_METRICS, timeout=self._settings.timeout_seconds)
            items = _LIST.decode(body).items
        except NotFoundError:
            problem = Missing(
                MissingReason.ABSENT, "the cluster has no metrics.k8s.io API: is metrics-server installed?"
            )
            return _Usage({_CPU: Table(problem=problem), _MEMORY: Table(problem=problem)}, Table(), {})
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TransientError(
                f"{POD_METRICS}: not a PodMetricsList: {error}", retry_after_seconds=RETRY_SECONDS
            ) from error
        times: Values = {}
        for item in items:
            when = epoch(item.timestamp)
            if when is not None:
                times[f"{item.metadata.namespace}/{item.metadata.name}"] = (("", when),)
        windows = {f"{i.metadata.namespace}/{i.metadata.name}": window_seconds(i.window) for i in items}
        return _Usage({name: _table(items, name) for name in (_CPU, _MEMORY)}, Table(times), windows)

    def _measured(self, kind: SignalKind, usage: _Usage, at: float) -> Measured:
        table = usage.tables[_RESOURCE_OF[kind]]
        kept, taken = fresh(table, usage.times, at=at, stale_after=self._settings.stale_after_seconds)
        return Measured(table=kept, taken=taken, what=_RESOURCE_OF[kind], windows=usage.windows)


def _table(items: Collection[_PodMetrics], resource: str) -> Table:
    """Return cores, or bytes, by pod and container; a pod with one bad container has no value."""
    values: Values = {}
    flaws: dict[str, MissingReason] = {}
    for item in items:
        key = f"{item.metadata.namespace}/{item.metadata.name}"
        found: list[tuple[str, float]] = []
        for container in item.containers:
            amount = thousandths(container.usage.get(resource, ""))
            if isinstance(amount, MissingReason):
                flaws[key] = amount
            else:
                found.append((container.name, amount / 1000))
        if key in values:
            flaws[key] = MissingReason.DUPLICATE
        if found:
            values[key] = tuple(found)
    for key in flaws:
        values.pop(key, None)
    return Table(values, flaws)
