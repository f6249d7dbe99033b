"""
Crane's resource recommender: a percentile of a week's use, a margin over it, and what a kill for memory needed.

Source: gocrane/crane `pkg/recommendation/recommender/resource` (defaults,
Recommend, MemoryOOMProtection, resource_spec.go) and `pkg/prediction/percentile`
(weights, order of estimators). The histograms do not decay: the half-lives in
the peer's configuration reach none of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec
from msgspec.structs import replace

from autoscaler.interfaces import WorkloadView
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import Series, Signal, SignalKind
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.model.units import DAY, GIB, MIB
from autoscaler.model.workload import Workload
from autoscaler.recommend.batch_sizing import batch_advice, is_time, only, oom_kills, point, usage_of, usage_signals
from autoscaler.recommend.histogram import Buckets, Histogram, Weights, linear_buckets
from autoscaler.recommend.vpa import controlled_resources, sized_containers

_EPSILON = 1e-10
_LEAST_WEIGHT = 1e-5
_CPU_BUCKETS = linear_buckets(max_value=100.0, width=0.1, epsilon=_EPSILON)
_MEMORY_BUCKETS = linear_buckets(max_value=1000.0 * 100 * MIB, width=100.0 * MIB, epsilon=_EPSILON)
_OOM_MIN_BUMP_BYTES = 100 * MIB
"""OOMMinBumpUp of the VPA library that the peer uses."""
_Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
_Margin = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
_Length = Annotated[float, msgspec.Meta(gt=0.0, le=1e9)]
CATALOGUE = tuple(
    (cores, float(gib))
    for cores, sizes in (
        (0.25, (0.25, 0.5, 1)),
        (0.5, (0.5, 1)),
        (1.0, (1, 2, 4, 8)),
        (2.0, (2, 4, 8, 16)),
        (4.0, (4, 8, 16, 32)),
        (8.0, (8, 16, 32, 64)),
        (16.0, (32, 64, 128)),
        (32.0, (64, 128, 256)),
        (64.0, (128, 256)),
    )
    for gib in sizes
)
"""The peer's default sizes, (cores, GiB), smallest first."""


class CraneParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the recommender, with its defaults; shares are 0-1."""

    cpu_percentile: _Share = 0.99
    cpu_margin: _Margin = 0.15
    cpu_target_utilization: _Share = 1.0
    memory_percentile: _Share = 0.99
    memory_margin: _Margin = 0.15
    memory_target_utilization: _Share = 1.0
    history_seconds: Annotated[float, msgspec.Meta(ge=DAY, le=1e9)] = 7 * DAY
    """How far back use counts, in whole days."""
    oom_protection: bool = True
    oom_bump_ratio: Annotated[float, msgspec.Meta(ge=1.0, le=100.0)] = 1.2
    catalogue: bool = False
    """Round both up to one of the peer's usual sizes."""
    sample_seconds: Annotated[float, msgspec.Meta(gt=0.0, le=DAY)] = 60.0
    run_seconds: _Length = DAY
    """Between two runs; sizes stand in between."""


class DayOfUse(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One container's use on one day since the epoch, all pods together: cores and bytes."""

    day: int
    container: str
    cpu: Weights = Weights()
    memory: Weights = Weights()


class CraneMemory(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is remembered of one workload. `kills` are (container, bytes asked for,
    epoch seconds) of the newest kill of each container for want of memory.
    """

    days: tuple[DayOfUse, ...] = ()
    kills: tuple[tuple[str, int, float], ...] = ()
    fed_at: float = 0.0
    ran_at: float = 0.0
    sizes: tuple[ContainerSize, ...] = ()


class CraneRecommender:
    """Crane's resource recommender: the 99th percentile of a week and 15 %, for CPU and memory."""

    name: ClassVar[str] = "crane"
    Params: ClassVar[type[msgspec.Struct]] = CraneParams
    Memory: ClassVar[type[msgspec.Struct]] = CraneMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: CraneParams) -> Sequence[Signal]:
        return usage_signals(workload.key)

    def seed(self, history: Mapping[str, Mapping[SignalKind, Series]], params: CraneParams) -> CraneMemory:
        """Return a memory of what one pod used before, by container; a value stands for the minutes of its step."""
        samples = [
            (container, CPU if kind is SignalKind.POD_CPU else MEMORY, value, series.start + place * series.step)
            for container, kinds in sorted(history.items())
            for kind, series in kinds.items()
            for place, value in enumerate(series.values.tolist())
            if math.isfinite(value) and value >= 0
        ]
        steps = {series.step for kinds in history.values() for series in kinds.values()}
        each = max(1, round(max(steps, default=params.sample_seconds) / params.sample_seconds))
        return CraneMemory(days=_with_samples((), samples, times=each))

    def recommend(
        self, view: WorkloadView, params: CraneParams, memory: CraneMemory
    ) -> tuple[Recommendation, CraneMemory]:
        """
        Take in this cycle's samples, and recommend anew if it is time to.

        Raises:
            ValueError: the memory is damaged.
        """
        memory = _with_kills(view, memory)
        if is_time(memory.fed_at, every=params.sample_seconds, now=view.now, period=view.period):
            memory = _fed(view, params, memory)
        controlled = controlled_resources(view.spec)
        unknown = _unmeasured(view, memory, controlled)
        if not unknown and is_time(memory.ran_at, every=params.run_seconds, now=view.now, period=view.period):
            sizes = (_sized(one.name, memory, params, now=view.now) for one in sized_containers(view))
            memory = replace(memory, ran_at=view.now, sizes=tuple(sizes))
        return batch_advice(view, self.name, [only(size, controlled) for size in memory.sizes], unknown), memory


def estimate(histogram: Histogram, *, percentile: float, margin: float, utilization: float) -> float:
    """Return the end of the percentile's bucket with the margin on it, at the target utilisation."""
    return histogram.percentile(percentile) * (1 + margin) / utilization


def oom_need(asked: int, ratio: float) -> int:
    """
    Return the bytes that a container needs that was killed when it asked for *asked*.

    >>> oom_need(200 * MIB, 1.2) // MIB, oom_need(1000 * MIB, 1.2) // MIB
    (300, 1200)
    """
    return max(asked + _OOM_MIN_BUMP_BYTES, int(asked * ratio))


def from_catalogue(millicores: int, size: int) -> tuple[int, int]:
    """
    Return the smallest usual size that holds both, as they are where none does.

    >>> from_catalogue(300, 3 * GIB)
    (1000, 4294967296)
    """
    for cores, gib in CATALOGUE:
        if cores * 1000 >= millicores and gib * GIB >= size:
            return round(cores * 1000), round(gib * GIB)
    return millicores, size


def _sized(container: str, memory: CraneMemory, params: CraneParams, *, now: float) -> ContainerSize:
    days = [day for day in memory.days if day.container == container]
    cores = estimate(
        _merged((day.cpu for day in days), _CPU_BUCKETS),
        percentile=params.cpu_percentile,
        margin=params.cpu_margin,
        utilization=params.cpu_target_utilization,
    )
    size = estimate(
        _merged((day.memory for day in days), _MEMORY_BUCKETS),
        percentile=params.memory_percentile,
        margin=params.memory_margin,
        utilization=params.memory_target_utilization,
    )
    cpu, needed = int(cores * 1000), int(size)
    for name, asked, at in memory.kills:
        if params.oom_protection and name == container and now - at <= 7 * DAY:
            needed = max(needed, oom_need(asked, params.oom_bump_ratio))
    if params.catalogue:
        cpu, needed = from_catalogue(cpu, needed)
    return point(container, Resources.of(cpu=cpu, memory=needed))


def _merged(parts: Iterable[Weights], buckets: Buckets) -> Histogram:
    whole = Histogram(buckets)
    for part in parts:
        whole.merge(Histogram.thaw(part, buckets))
    return whole


def _fed(view: WorkloadView, params: CraneParams, memory: CraneMemory) -> CraneMemory:
    samples = [
        (container, resource, float(amount), at)
        for resource in (CPU, MEMORY)
        for _, container, amount, at in usage_of(view, resource)
    ]
    if not samples:
        return memory
    oldest = (view.now - params.history_seconds) // DAY
    kept = tuple(day for day in memory.days if day.day > oldest)
    return replace(memory, days=_with_samples(kept, samples), fed_at=view.now)


def _with_samples(
    days: tuple[DayOfUse, ...], samples: Sequence[tuple[str, str, float, float]], *, times: int = 1
) -> tuple[DayOfUse, ...]:
    """Add (container, resource, amount, epoch seconds); a sample weighs as much as it is large, as in the peer."""
    found = {(day.day, day.container): day for day in days}
    opened: dict[tuple[int, str, str], Histogram] = {}
    for container, resource, amount, at in samples:
        key = (int(at // DAY), container, resource)
        if key not in opened:
            day = found.setdefault(key[:2], DayOfUse(day=key[0], container=container))
            is_cpu = resource == CPU
            weights, buckets = (day.cpu, _CPU_BUCKETS) if is_cpu else (day.memory, _MEMORY_BUCKETS)
            opened[key] = Histogram.thaw(weights, buckets)
        value = amount / 1000 if resource == CPU else amount
        opened[key].add(value, max(_LEAST_WEIGHT, value) * times, at)
    for (day_number, container, resource), histogram in opened.items():
        day = found[day_number, container]
        weights = histogram.freeze()
        found[day_number, container] = replace(day, cpu=weights) if resource == CPU else replace(day, memory=weights)
    return tuple(day for _, day in sorted(found.items()))


def _with_kills(view: WorkloadView, memory: CraneMemory) -> CraneMemory:
    newest = {name: (asked, at) for name, asked, at in memory.kills}
    for container, end in oom_kills(view):
        asked, at = container.requests.memory, newest.get(container.name, (0, 0.0))[1]
        if asked and end.finished_at > at:
            newest[container.name] = (asked, end.finished_at)
    kills = tuple((name, asked, at) for name, (asked, at) in sorted(newest.items()))
    return memory if kills == memory.kills else replace(memory, kills=kills)


def _unmeasured(view: WorkloadView, memory: CraneMemory, controlled: Sequence[str]) -> list[Reason]:
    reasons = []
    for one in sized_containers(view):
        days = [day for day in memory.days if day.container == one.name]
        known = {CPU: any(day.cpu.total for day in days), MEMORY: any(day.memory.total for day in days)}
        missing = [name for name in controlled if not known[name]]
        if missing:
            text = f"container {one.name}: no {' and '.join(missing)} was measured yet"
            reasons.append(Reason(Code.HISTORY_TOO_SHORT, text))
    return reasons
