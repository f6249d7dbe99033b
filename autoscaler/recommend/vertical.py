"""
What a container's use over time says about its requests: samples, peaks, estimates.

Rules: kubernetes/autoscaler, vertical-pod-autoscaler `pkg/recommender/model`
(container.go, aggregate_container_state.go) and `pkg/recommender/logic`
(estimator.go, recommender.go), version 1.8, gates at their defaults. An
estimate is a percentile, plus a margin, times a confidence factor, at least
the minimum; every step truncates to whole millicores or bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec.structs import replace

from autoscaler.model.arrays import Floats
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.model.units import DAY, MIB
from autoscaler.recommend.histogram import CPU_BUCKETS, LARGEST_TIME, MEMORY_BUCKETS, Histogram, Weights, power

CPU_SAMPLE_WEIGHT = 0.1
MEMORY_SAMPLE_WEIGHT = 1.0
MAX_AMOUNT = 10**14
"""The largest amount of the peer's model (ResourceAmount), in millicores or bytes."""
SECONDS_PER_SAMPLE = 60.0
"""Confidence expects one CPU sample a minute."""
_TIME_DIGITS = 6
"""Epoch seconds as floats are good to microseconds; times equal on paper differ in the last bit."""

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Length = Annotated[float, msgspec.Meta(gt=0.0, le=1e9)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]


class VpaParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The flags of the VPA recommender, with its defaults.

    Percentiles and the margin are shares (0-1), times are seconds. What was
    last sampled more than `memory_interval_count` intervals ago is forgotten.
    """

    target_cpu_percentile: Share = 0.9
    lower_cpu_percentile: Share = 0.5
    upper_cpu_percentile: Share = 0.95
    target_memory_percentile: Share = 0.9
    lower_memory_percentile: Share = 0.5
    upper_memory_percentile: Share = 0.95
    safety_margin: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] = 0.15
    cpu_half_life_seconds: Length = DAY
    memory_half_life_seconds: Length = DAY
    memory_interval_seconds: Length = DAY
    memory_interval_count: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    cpu_confidence_seconds: Length = DAY
    memory_confidence_seconds: Length = DAY
    oom_bump_ratio: Annotated[float, msgspec.Meta(ge=1.0, le=100.0)] = 1.2
    oom_min_bump_bytes: Amount = 100 * MIB
    pod_min_cpu_millicores: Amount = 25
    pod_min_memory_bytes: Amount = 250 * MIB
    round_cpu_millicores: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    round_memory_bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)] = 1
    sample_seconds: Length = SECONDS_PER_SAMPLE


class ContainerMemory(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    The history of one container of a workload, all pods together.

    `first_sample` and `last_sample` are of CPU samples only (epoch seconds, 0
    for never); `samples` counts them.
    """

    container: str
    cpu: Weights = Weights()
    memory: Weights = Weights()
    first_sample: float = 0.0
    last_sample: float = 0.0
    samples: int = 0


class PodWindow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    What is remembered of one container of one pod. Times are epoch seconds, 0
    for never; peaks are bytes within the memory window that ends at `window_end`.
    """

    pod: str
    container: str
    cpu_at: float = 0.0
    memory_at: float = 0.0
    window_end: float = 0.0
    usage_peak: int = 0
    oom_peak: int = 0
    oom_at: float = 0.0


class Estimate(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Target and bounds of one container before any policy."""

    target: Resources
    lower: Resources
    upper: Resources


class ContainerHistory:
    """
    CPU samples and memory peaks of one container, growing while they are fed.

    Mutable: it belongs to the function that made it; `freeze` gives the value.
    """

    __slots__ = ("cpu", "first_sample", "last_sample", "memory", "samples")

    def __init__(self, params: VpaParams) -> None:
        self.cpu = Histogram(CPU_BUCKETS, half_life=params.cpu_half_life_seconds)
        self.memory = Histogram(MEMORY_BUCKETS, half_life=params.memory_half_life_seconds)
        self.first_sample = 0.0
        self.last_sample = 0.0
        self.samples = 0

    @classmethod
    def thaw(cls, memory: ContainerMemory, params: VpaParams) -> ContainerHistory:
        """
        Go on from a remembered history.

        Raises:
            ValueError: the memory is damaged.
        """
        history = cls(params)
        history.cpu = Histogram.thaw(memory.cpu, CPU_BUCKETS, half_life=params.cpu_half_life_seconds)
        history.memory = Histogram.thaw(memory.memory, MEMORY_BUCKETS, half_life=params.memory_half_life_seconds)
        history.first_sample, history.last_sample = memory.first_sample, memory.last_sample
        history.samples = memory.samples
        return history

    def freeze(self, container: str) -> ContainerMemory:
        return ContainerMemory(
            container=container,
            cpu=self.cpu.freeze(),
            memory=self.memory.freeze(),
            first_sample=self.first_sample,
            last_sample=self.last_sample,
            samples=self.samples,
        )

    def add_cpu(self, millicores: Floats, times: Floats, *, count_each: int = 1) -> None:
        """
        Add CPU samples, shape (n,); each stands for *count_each* minutes.

        Raises:
            ValueError: a value or time is not finite.
        """
        if not len(times):
            return
        self.cpu.add_samples(millicores / 1000.0, CPU_SAMPLE_WEIGHT * count_each, times)
        self._count(float(times.min()), float(times.max()), len(times) * count_each)

    def add_cpu_sample(self, millicores: int, at: float) -> None:
        """Add one CPU sample; raises ValueError as `Histogram.add`."""
        self.cpu.add(min(millicores, MAX_AMOUNT) / 1000.0, CPU_SAMPLE_WEIGHT, at)
        self._count(at, at, 1)

    def merge(self, other: ContainerHistory) -> None:
        """Add all of *other*; its reference times may move, see `Histogram.merge`."""
        self.cpu.merge(other.cpu)
        self.memory.merge(other.memory)
        if other.samples:
            self._count(other.first_sample, other.last_sample, other.samples)

    def _count(self, first: float, last: float, samples: int) -> None:
        self.first_sample = min(self.first_sample, first) if self.samples else first
        self.last_sample = max(self.last_sample, last)
        self.samples += samples


def observe_cpu(window: PodWindow, millicores: int, at: float, history: ContainerHistory) -> PodWindow:
    """
    Add a CPU sample to *history*; return the window after it.

    A sample not newer than the newest one is refused: the very same window is returned.

    Raises:
        ValueError: the time is not finite.
    """
    if millicores < 0 or at <= window.cpu_at:
        return window
    history.add_cpu_sample(millicores, at)
    return replace(window, cpu_at=at)


def observe_memory(
    window: PodWindow, value: int, at: float, history: ContainerHistory, *, interval: float
) -> PodWindow:
    """
    Add a memory sample (bytes) to *history*; return the window after it.

    Only the peak of each window of *interval* seconds is kept, stamped with
    the window's end: a higher sample takes the old peak's place. A sample
    older than the newest one is refused: the very same window is returned. In
    a window whose peak is 0 nothing more counts (so it is in container.go).

    Raises:
        ValueError: the time is not finite.
    """
    if value < 0 or at < window.memory_at:
        return window
    return _observe(window, value, at, history, interval=interval, oom=False)


def observe_oom(
    window: PodWindow, request: int, at: float, history: ContainerHistory, *, params: VpaParams
) -> PodWindow:
    """
    Add an OOM kill at *at* of a container that asked for *request* bytes.

    The need is the larger of request and measured peak, plus the bump; the
    estimate of an earlier OOM does not count, lest one OOM after another runs
    away. A kill more than one interval older than the newest sample is
    refused: the very same window is returned. An accepted one makes its own
    time that of the newest sample, even if that is earlier.

    Raises:
        ValueError: the time is not finite.
    """
    if request < 0 or at < window.memory_at - params.memory_interval_seconds:
        return window
    used = min(max(request, window.usage_peak), MAX_AMOUNT)
    need = max(_whole(used + params.oom_min_bump_bytes), _whole(used * params.oom_bump_ratio))
    return _observe(window, need, at, history, interval=params.memory_interval_seconds, oom=True)


def _observe(
    window: PodWindow, value: int, at: float, history: ContainerHistory, *, interval: float, oom: bool
) -> PodWindow:
    if not abs(at) < LARGEST_TIME:
        raise ValueError(f"a time must be in epoch seconds, got {at}")
    value = min(value, MAX_AMOUNT)
    end = window.window_end or at
    usage, killed = window.usage_peak, window.oom_peak
    if at < end:
        peak = max(usage, killed)
        if peak == 0 or value <= peak:
            return replace(window, memory_at=at)
        history.memory.subtract(peak, MEMORY_SAMPLE_WEIGHT, end)
    else:
        end = round(end + (math.floor((at - end) / interval) + 1) * interval, _TIME_DIGITS)
        usage = killed = 0
    history.memory.add(value, MEMORY_SAMPLE_WEIGHT, end)
    if oom:
        killed = value
    else:
        usage = value
    return replace(window, memory_at=at, window_end=end, usage_peak=usage, oom_peak=killed)


def estimate(history: ContainerHistory, params: VpaParams, *, containers: int) -> Estimate:
    """
    Return what a container needs, as one of *containers* that share the pod's minimum.

    Without CPU samples confidence is 0, for memory too: the lower bound is
    then the minimum and the upper one the largest amount there is, or the
    minimum where the histogram is empty.
    """
    shares = (params.lower_cpu_percentile, params.target_cpu_percentile, params.upper_cpu_percentile)
    cpu = _bounds(
        [_whole(cores * 1000.0) for cores in history.cpu.percentiles(shares)],
        margin=params.safety_margin,
        confidence=confidence_of(history, interval=params.cpu_confidence_seconds),
        minimum=_whole(params.pod_min_cpu_millicores * (1.0 / max(containers, 1))),
    )
    shares = (params.lower_memory_percentile, params.target_memory_percentile, params.upper_memory_percentile)
    memory = _bounds(
        [_whole(size) for size in history.memory.percentiles(shares)],
        margin=params.safety_margin,
        confidence=confidence_of(history, interval=params.memory_confidence_seconds),
        minimum=_whole(params.pod_min_memory_bytes * (1.0 / max(containers, 1))),
    )
    lower, target, upper = (
        Resources(((CPU, millicores), (MEMORY, size))) for millicores, size in zip(cpu, memory, strict=True)
    )
    return Estimate(target=target, lower=lower, upper=upper)


def confidence_of(history: ContainerHistory, *, interval: float) -> float:
    """Return how many *intervals* (seconds) of CPU samples there are, by time span or by count, the smaller."""
    span = round(history.last_sample - history.first_sample, _TIME_DIGITS) if history.samples else 0.0
    return min(span / interval, history.samples / (interval / SECONDS_PER_SAMPLE))


def with_margin(amount: int, share: float) -> int:
    """
    Return *amount* plus *share* of it; the addition is truncated, not the sum.

    >>> with_margin(1001, 0.15)
    1151
    """
    return amount + _whole(amount * share)


def upper_factor(confidence: float) -> float:
    """
    Return what the upper bound is multiplied with (recommender.go: 1 + 1/confidence).

    >>> [round(upper_factor(days), 2) for days in (0.5, 1.0, 7.0)]
    [3.0, 2.0, 1.14]
    """
    return 1.0 + 1.0 / confidence if confidence > 0.0 else math.inf


def lower_factor(confidence: float) -> float:
    """
    Return what the lower bound is multiplied with (recommender.go: (1 + 0.001/confidence) ** -2).

    >>> [round(lower_factor(minutes / 1440), 2) for minutes in (5, 30, 60)]
    [0.6, 0.91, 0.95]
    """
    return power(1.0 + 0.001 / confidence, -2) if confidence > 0.0 else 0.0


def _bounds(percentiles: Iterable[int], *, margin: float, confidence: float, minimum: int) -> tuple[int, int, int]:
    """Return lower bound, target and upper bound; *percentiles* come in that order."""
    lower, target, upper = (with_margin(amount, margin) for amount in percentiles)
    return (
        max(_whole(lower * lower_factor(confidence)), minimum),
        max(target, minimum),
        max(_whole(upper * upper_factor(confidence)), minimum),
    )


def _whole(amount: float) -> int:
    """Truncate to the range of the peer's ResourceAmount; what is not a number (0 times infinity) is 0."""
    if not amount > 0.0:
        return 0
    return int(min(amount, MAX_AMOUNT))
