"""
What was measured: a `Sample` or, explicitly, `Missing`.

Zero is a measurement; absence is not. NaN, infinities and negatives never get
past the adapter that read them: they become `Missing` with the reason.
"""

from __future__ import annotations

import enum

import msgspec

from autoscaler.model.arrays import Floats


class SignalKind(enum.StrEnum):
    """What a signal measures, and the unit of its values."""

    POD_CPU = "PodCpu"
    """Per pod and container: millicores used. Reading: PodSamples."""
    POD_MEMORY = "PodMemory"
    """Per pod and container: working set bytes. Reading: PodSamples."""
    CPU = "Cpu"
    """Cores used by all Ready pods of the workload together: what a start-up burns is not demand."""
    MEMORY_PEAK = "MemoryPeak"
    """Largest working set of any pod, bytes, over the scrape window."""
    READY = "Ready"
    """Ready pods of the workload."""
    REQUESTS = "Requests"
    """Requests a second that reach the workload."""
    SLOW_SHARE = "SlowShare"
    """Share (0-1) of requests that miss the latency objective or fail."""
    LATENCY = "Latency"
    """Latency quantile of the objective, seconds."""
    THROTTLED = "Throttled"
    """Share (0-1) of CPU periods that were throttled."""
    PODS_METRIC = "PodsMetric"
    """A custom metric per pod, milli-units. Reading: PodSamples."""
    OBJECT_METRIC = "ObjectMetric"
    """A metric of one object, milli-units."""
    EXTERNAL_METRIC = "ExternalMetric"
    """A metric from outside the cluster, milli-units, one value per series. Reading: PodSamples."""
    POD_COUNT = "PodCount"
    """Pods of the namespace that a selector matches (`name` says which); the snapshot has it, no source is asked."""
    PROMETHEUS = "Prometheus"
    """The user's own query (`name` holds it), plain units."""


class Signal(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """
    One thing to measure for one workload (by key). `name` is the metric (see
    `metric_query` for one of an object, or narrowed by labels), `container` "" for all.
    """

    workload: str
    kind: SignalKind
    name: str = ""
    container: str = ""


class MissingReason(enum.StrEnum):
    """Why nothing usable was read; which of these a source can tell apart is its own affair."""

    ABSENT = "Absent"
    STALE = "Stale"
    NOT_A_NUMBER = "NotANumber"
    NEGATIVE = "Negative"
    INFINITE = "Infinite"
    PARTIAL = "Partial"
    DUPLICATE = "Duplicate"
    FAILED = "Failed"
    NOT_READ = "NotRead"


class Sample(msgspec.Struct, frozen=True, gc=False, tag="sample"):
    """A finite value of at least 0; `at` is when it was true, `window` the seconds it averages over."""

    value: float
    at: float
    window: float = 0.0


class PodSample(msgspec.Struct, frozen=True, gc=False):
    """One pod's value (whole units, see the signal's kind); `container` is "" for a per-pod metric."""

    pod: str
    value: int
    at: float
    window: float = 0.0
    container: str = ""


class PodSamples(msgspec.Struct, frozen=True, gc=False, tag="pods"):
    """Values by pod. A pod that is not here was not measured."""

    samples: tuple[PodSample, ...]


class Missing(msgspec.Struct, frozen=True, gc=False, tag="missing"):
    """Nothing usable was read. `since` is when it was last usable, 0 if never."""

    reason: MissingReason
    detail: str = ""
    since: float = 0.0


Reading = Sample | PodSamples | Missing


class Series(msgspec.Struct, frozen=True):
    """
    A regular history. `values` has one float64 per step from `start`; a gap is
    NaN, here and nowhere else.
    """

    start: float
    step: float
    values: Floats
