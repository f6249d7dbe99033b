"""
MetricsSource on Prometheus, and on what speaks its API: Thanos, Mimir, VictoriaMetrics.

A cycle costs at most `asking.MOST_QUERIES` queries, whatever the number of workloads.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from autoscaler.errors import AutoscalerError
from autoscaler.interfaces import Clock, MetricsSource
from autoscaler.model.pod import Pod
from autoscaler.model.readings import Missing, MissingReason, Reading, Series, Signal, SignalKind
from autoscaler.sources.asking import Answers, Asker, failed
from autoscaler.sources.connection import Connection
from autoscaler.sources.history import History
from autoscaler.sources.noting import Noting
from autoscaler.sources.pod_readings import Measured, Moment, count_ready, read_pods, read_total
from autoscaler.sources.promql import CONVENTIONS, Question, fixed_queries
from autoscaler.sources.settings import PrometheusSettings, check_settings
from autoscaler.sources.tables import Members, Table, fresh, without
from autoscaler.sources.together import together
from autoscaler.sources.user_queries import UserQueries

_OF_APIS = frozenset({SignalKind.PODS_METRIC, SignalKind.OBJECT_METRIC, SignalKind.EXTERNAL_METRIC})
_MEMORY = (Question.MEMORY_TIME, Question.DUPLICATES)
_CPU = (Question.CPU, Question.CPU_TIME, Question.DUPLICATES)
ASKS: Mapping[SignalKind, tuple[Question, ...]] = {
    SignalKind.POD_CPU: _CPU,
    SignalKind.CPU: _CPU,
    SignalKind.POD_MEMORY: (Question.MEMORY, *_MEMORY),
    SignalKind.MEMORY_PEAK: (Question.MEMORY_PEAK, *_MEMORY),
    SignalKind.THROTTLED: (Question.THROTTLED, Question.CPU_TIME),
    SignalKind.REQUESTS: (Question.REQUESTS,),
    SignalKind.SLOW_SHARE: (Question.SLOW_SHARE,),
    SignalKind.LATENCY: (Question.LATENCY,),
}
"""The questions behind each kind: its own first, then when it was measured, and what was measured twice."""
_TIMES = (Question.CPU_TIME, Question.MEMORY_TIME)
_KEPT_SECONDS = 60.0
"""How long after the last question about the past its histories are kept."""
_SIGNALS_AT_ONCE = 1000
"""So many readings are put together before others on the event loop get their turn."""
_PER_POD = frozenset({SignalKind.POD_CPU, SignalKind.POD_MEMORY})


class PrometheusSource:
    """
    Reads what was measured; a bad value is `Missing`, with the reason.

    `missing` counts readings that were Missing by reason, `flaws` bad samples
    of pods by reason, `outcomes` queries by what became of them; all since the
    start. `last_queries` is how many the last cycle sent, `last_seconds` how
    long it took.

    Raises (read, history): TransientError (no answer at all), AccessError (401, 403).
    """

    def __init__(
        self,
        settings: PrometheusSettings,
        *,
        pods: Callable[[], Sequence[Pod]],
        clock: Clock,
        other: MetricsSource | None = None,
    ) -> None:
        """
        Take pods as they are now from *pods*; ask *other* for Pods, Object and External metrics.

        Raises:
            InputError: a setting cannot be used.
        """
        check_settings(settings, questions=frozenset(Question), conventions=frozenset(CONVENTIONS))
        self._settings, self._pods, self._clock, self._other = settings, pods, clock, other
        self._connection, self._past = Connection(settings), Connection(settings, at_once=2)
        self._users = UserQueries()
        self._asker = Asker(
            self._connection, fixed_queries(settings), self._users, lookback=settings.stale_after_seconds
        )
        self._history = History(settings, self._past, pods)
        self._noting, self._members = Noting(), Members()
        self.flaws: Counter[MissingReason] = Counter()
        self.last_queries = 0
        self.last_seconds = 0.0
        self._looked_back_at = -math.inf

    @property
    def outcomes(self) -> Counter[str]:
        """How many queries were answered (ok, partial), failed, were refused, or got no answer."""
        return self._connection.outcomes + self._past.outcomes

    @property
    def missing(self) -> Counter[MissingReason]:
        """How many readings were Missing, by reason."""
        return self._noting.missing

    async def read(self, signals: Sequence[Signal], at: float) -> Mapping[Signal, Reading]:
        """Return a reading for each signal, as of *at*."""
        if not math.isfinite(at):
            raise ValueError(f"the time must be finite, got {at}")
        if self._clock.monotonic() - self._looked_back_at > _KEPT_SECONDS:
            self._history.let_go()
        apart = [signal for signal in signals if signal.kind in _OF_APIS]
        own = [signal for signal in signals if signal.kind not in _OF_APIS]
        sent, began = self._connection.outcomes.total(), self._clock.monotonic()
        found: dict[Signal, Reading] = {}
        for readings in await together((self._read_own(own, at), self._read_other(apart, at))):
            found.update(readings)
        self.last_queries = self._connection.outcomes.total() - sent
        self.last_seconds = self._clock.monotonic() - began
        return self._noting.noted(signals, found)

    async def history(self, signal: Signal, start: float, end: float, step: float) -> Series:
        """
        Return one value for each *step* from *start*, up to but without *end*; a gap is NaN.

        Each averages the step before its time (memory: its maximum). Pod
        signals give the average pod (POD_MEMORY: the largest). CPU is that of
        all pods, Ready or not: what was scraped does not tell them apart.
        """
        if signal.kind in _OF_APIS and self._other is not None:
            return await self._other.history(signal, start, end, step)
        self._looked_back_at = self._clock.monotonic()
        return await self._history.read(signal, start, end, step)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connection.aclose()
        await self._past.aclose()
        if self._other is not None:
            await self._other.aclose()

    async def _read_own(self, signals: Sequence[Signal], at: float) -> Mapping[Signal, Reading]:
        kinds = dict.fromkeys(signal.kind for signal in signals)
        questions = dict.fromkeys(question for kind in kinds for question in ASKS.get(kind, ()))
        texts = [signal.name for signal in signals if signal.kind is SignalKind.PROMETHEUS]
        answers = await self._asker.ask(questions, texts, at=at)
        lost = answers.no_answer()
        if lost is not None:
            raise lost
        for table in answers.tables.values():
            self.flaws.update(table.flaws.values())
        return await self._assemble(signals, answers, at)

    async def _assemble(self, signals: Sequence[Signal], answers: Answers, at: float) -> dict[Signal, Reading]:
        settings = self._settings
        moment = Moment(
            at=at,
            window=settings.window_seconds,
            resolution=settings.resolution_seconds,
            min_coverage=settings.min_coverage,
            pods=self._members.of(self._pods(), frozenset(signal.workload for signal in signals)),
        )
        measured: dict[SignalKind, Measured] = {}
        for kind in {signal.kind for signal in signals} & ASKS.keys():
            await asyncio.sleep(0)
            measured[kind] = self._measured(kind, answers.tables, at)
        readings: dict[Signal, Reading] = {}
        for number, signal in enumerate(signals):
            if number % _SIGNALS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if signal.kind is SignalKind.PROMETHEUS:
                readings[signal] = self._users.reading_of(signal.name, answers.users)
            elif signal.kind is SignalKind.READY:
                readings[signal] = count_ready(signal, moment)
            elif signal.kind in _PER_POD:
                readings[signal] = read_pods(signal, measured[signal.kind], moment)
            else:
                readings[signal] = read_total(signal, measured[signal.kind], moment)
        return readings

    def _measured(self, kind: SignalKind, tables: Mapping[Question, Table], at: float) -> Measured:
        """Return the table behind a kind, without what is stale or measured twice."""
        asks = ASKS[kind]
        question = asks[0]
        if question not in tables:
            said = "no objective: slow_seconds is not set" if question is Question.SLOW_SHARE else "no query for it"
            return Measured(table=Table(problem=Missing(MissingReason.ABSENT, said)), taken={}, what=question)
        table = tables[question]
        if Question.DUPLICATES in asks and Question.DUPLICATES in tables:
            table = without(table, tables[Question.DUPLICATES].values.keys(), MissingReason.DUPLICATE)
        times = next((tables[each] for each in asks if each in _TIMES and each in tables), None)
        kept, taken = fresh(table, times, at=at, stale_after=self._settings.stale_after_seconds)
        return Measured(table=kept, taken=taken, what=question)

    async def _read_other(self, signals: Sequence[Signal], at: float) -> Mapping[Signal, Reading]:
        """Return what the cluster's own metrics APIs say; their failure is not Prometheus'."""
        if not signals:
            return {}
        if self._other is None:
            return dict.fromkeys(signals, Missing(MissingReason.ABSENT, "no custom or external metrics API is asked"))
        try:
            return await self._other.read(signals, at)
        except AutoscalerError as error:
            return dict.fromkeys(signals, failed(error))
