"""
What one workload's containers used so far: fed from readings, kept as a value between decisions.

Rules: kubernetes/autoscaler, vertical-pod-autoscaler `pkg/recommender/input`
(cluster_feeder.go) and `pkg/recommender/model` (cluster.go). Unlike the peer,
histories are kept per container of a workload, not per label set: merged, as
the peer does for every recommendation, they are the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
import numpy as np
from msgspec.structs import replace

from autoscaler.model.arrays import Floats
from autoscaler.model.pod import Pod, Termination
from autoscaler.model.readings import PodSample, PodSamples, Reading, Series, SignalKind
from autoscaler.model.recommendation import ContainerSize
from autoscaler.recommend.histogram import LARGEST_TIME
from autoscaler.recommend.updater import OOM_KILLED
from autoscaler.recommend.vertical import (
    MAX_AMOUNT,
    SECONDS_PER_SAMPLE,
    ContainerHistory,
    ContainerMemory,
    PodWindow,
    VpaParams,
    observe_memory,
    observe_oom,
)

CLOCK_SKEW_SECONDS = 60.0
"""A sample may be this far ahead of us; one from further ahead would make all others worthless."""


class VpaMemory(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is remembered of one workload, by container and by (pod, container).

    `fed_at` is when samples were last taken in (epoch seconds, 0 for never),
    `estimates` what followed from all there was then.
    """

    containers: tuple[ContainerMemory, ...] = ()
    windows: tuple[PodWindow, ...] = ()
    fed_at: float = 0.0
    estimates: tuple[ContainerSize, ...] = ()


def is_due(memory: VpaMemory, params: VpaParams, *, now: float, period: float) -> bool:
    """
    Tell whether samples are to be taken in: at most one a container and `sample_seconds`.

    Half a *period* early is in time, so that jitter does not double the interval.
    """
    since = now - memory.fed_at
    return not 0.0 <= since < params.sample_seconds - period / 2.0


class UsageHistory:
    """
    A `VpaMemory` while it is fed; `freeze` gives the value after it.

    Mutable: it belongs to the function that made it.
    """

    def __init__(self, memory: VpaMemory, params: VpaParams, pods: Sequence[Pod], *, containers: Sequence[str]) -> None:
        """
        Go on from *memory*; only samples of *pods* and their *containers* will count.

        Raises:
            ValueError: the memory is damaged.
        """
        self._before = memory
        self._params = params
        self._pods = pods
        self._names = tuple(containers)
        self._histories = {one.container: ContainerHistory.thaw(one, params) for one in memory.containers}
        self._windows: dict[tuple[str, str], PodWindow] | None = None

    def of(self, container: str) -> ContainerHistory | None:
        """Return the history of a container, None where there is none."""
        return self._histories.get(container)

    def note_kills(self, now: float) -> list[tuple[Pod, Termination]]:
        """Add the kills for want of memory not seen before; return them in the order of the pods."""
        kills: list[tuple[Pod, Termination]] = []
        latest = _latest(now)
        for pod in self._pods:
            for end in pod.terminations:
                if end.reason == OOM_KILLED and 0.0 < end.finished_at <= latest and end.container in self._names:
                    window = self._opened().get((pod.name, end.container))
                    window = window or PodWindow(pod=pod.name, container=end.container)
                    if end.finished_at > window.oom_at:
                        self._add_kill(pod, end, window)
                        kills.append((pod, end))
        return kills

    def feed(self, cpu: Reading | None, memory: Reading | None, *, now: float, period: float) -> None:
        """Add the samples of this cycle, if it is time for some."""
        if not is_due(self._before, self._params, now=now, period=period):
            return
        known = {pod.name for pod in self._pods}
        fed = False
        if isinstance(cpu, PodSamples):
            fed = self._feed_cpu(self._usable(cpu.samples, known, now))
        if isinstance(memory, PodSamples):
            fed = self._feed_memory(self._usable(memory.samples, known, now)) or fed
        if fed:
            self._before = replace(self._before, fed_at=now)

    def freeze(self, now: float) -> VpaMemory:
        """Return what to remember; histories without a new sample for too long and windows of gone pods are dropped."""
        if self._windows is None:
            return self._before
        known = {pod.name for pod in self._pods}
        keep = self._params.memory_interval_seconds * self._params.memory_interval_count
        return VpaMemory(
            containers=tuple(
                history.freeze(name)
                for name, history in sorted(self._histories.items())
                if not history.samples or now - history.last_sample < keep
            ),
            windows=tuple(window for (pod, _), window in sorted(self._windows.items()) if pod in known),
            fed_at=self._before.fed_at,
        )

    def _feed_cpu(self, samples: Sequence[tuple[str, PodSample]]) -> bool:
        windows = self._opened()
        values: dict[str, list[int]] = {name: [] for name in self._names}
        times: dict[str, list[float]] = {name: [] for name in self._names}
        for name, sample in samples:
            key = (sample.pod, name)
            window = windows.get(key) or PodWindow(pod=sample.pod, container=name)
            if sample.at > window.cpu_at:
                values[name].append(min(sample.value, MAX_AMOUNT))
                times[name].append(sample.at)
                windows[key] = replace(window, cpu_at=sample.at)
        fed = [name for name in self._names if values[name]]
        for name in fed:
            amounts = np.array(values[name], dtype=np.float64)
            self._history(name).add_cpu(amounts, np.array(times[name]))
        return bool(fed)

    def _feed_memory(self, samples: Sequence[tuple[str, PodSample]]) -> bool:
        windows = self._opened()
        interval = self._params.memory_interval_seconds
        for name, sample in samples:
            # A container without a byte does not run yet; as a window's first peak, 0 would hide all that follow.
            if sample.value == 0:
                continue
            key = (sample.pod, name)
            window = windows.get(key) or PodWindow(pod=sample.pod, container=name)
            windows[key] = observe_memory(window, sample.value, sample.at, self._history(name), interval=interval)
        return bool(samples)

    def _add_kill(self, pod: Pod, end: Termination, window: PodWindow) -> None:
        request = next((one.requests.memory for one in pod.shape.containers if one.name == end.container), 0)
        history = self._history(end.container)
        after = observe_oom(window, request, end.finished_at, history, params=self._params)
        self._opened()[pod.name, end.container] = replace(after, oom_at=end.finished_at)

    def _usable(self, samples: Sequence[PodSample], known: Collection[str], now: float) -> list[tuple[str, PodSample]]:
        """Return (container, sample) of those that count; a whole pod's sample is that of its only container."""
        names = frozenset(self._names)
        only = self._names[0] if len(self._names) == 1 else ""
        latest = _latest(now)
        return [
            (name, sample)
            for sample in samples
            if (name := sample.container or only) in names
            and sample.pod in known
            and sample.value >= 0
            and 0.0 < sample.at <= latest
        ]

    def _history(self, container: str) -> ContainerHistory:
        if container not in self._histories:
            self._histories[container] = ContainerHistory(self._params)
        return self._histories[container]

    def _opened(self) -> dict[tuple[str, str], PodWindow]:
        """Return the windows by (pod, container); opening them is left until something is to be changed."""
        if self._windows is None:
            self._windows = {(window.pod, window.container): window for window in self._before.windows}
        return self._windows


def _latest(now: float) -> float:
    return min(now + CLOCK_SKEW_SECONDS, LARGEST_TIME - 1.0)


def seed_from_history(series_by_container: Mapping[str, Mapping[SignalKind, Series]], params: VpaParams) -> VpaMemory:
    """
    Return a memory warmed up with what one pod of a workload used.

    POD_CPU series hold the average of a pod in millicores, POD_MEMORY series
    the peak of a pod in bytes, at one hour's resolution or finer. Gaps are
    skipped. A CPU value stands for as many samples as its step has minutes, so
    that confidence is that of the time covered (the peer counts one).

    Raises:
        ValueError: a step is not above 0, or a time is not in epoch seconds.
    """
    containers = []
    for name, series in sorted(series_by_container.items()):
        history = ContainerHistory(params)
        if SignalKind.POD_CPU in series:
            _seed_cpu(series[SignalKind.POD_CPU], history)
        if SignalKind.POD_MEMORY in series:
            _seed_memory(series[SignalKind.POD_MEMORY], history, name, params)
        containers.append(history.freeze(name))
    return VpaMemory(containers=tuple(containers))


def _seed_cpu(series: Series, history: ContainerHistory) -> None:
    times, values = _measured(series)
    # Steps finer than a minute would count for more than a minute's sample does.
    stride = max(1, round(SECONDS_PER_SAMPLE / max(series.step, 1.0)))
    minutes = max(1, round(series.step / SECONDS_PER_SAMPLE))
    history.add_cpu(np.minimum(values[::stride], MAX_AMOUNT), times[::stride], count_each=minutes)


def _seed_memory(series: Series, history: ContainerHistory, name: str, params: VpaParams) -> None:
    window = PodWindow(pod="", container=name)
    times, values = _measured(series)
    for at, value in zip(times.tolist(), np.minimum(values, MAX_AMOUNT).tolist(), strict=True):
        if value >= 1.0:
            window = observe_memory(window, int(value), at, history, interval=params.memory_interval_seconds)


def _measured(series: Series) -> tuple[Floats, Floats]:
    if not 0.0 < series.step < LARGEST_TIME or not abs(series.start) < LARGEST_TIME:
        raise ValueError(
            f"a series needs a start in epoch seconds and a step above 0, got {series.start}, {series.step}"
        )
    usable = np.isfinite(series.values) & (series.values >= 0.0)
    times = series.start + series.step * np.arange(len(series.values), dtype=np.float64)
    return times[usable], series.values[usable]
