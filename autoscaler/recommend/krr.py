"""
KRR's simple strategy: CPU by a high percentile of the busiest pod, memory by the peak and a buffer.

Source: robusta-dev/krr `robusta_krr/strategies/simple.py`, the queries in
`core/integrations/prometheus/metrics`, rounding and minima in `core/runner.py`.
On purpose unlike the peer, which reads two weeks of samples anew at each run:
CPU is remembered in steps of 1 %, rounded up; and with less than three hours of
history nothing is recommended, where the peer warns and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from msgspec.structs import replace

from autoscaler.interfaces import WorkloadView
from autoscaler.model.arrays import Floats
from autoscaler.model.bounds import ANY_CONTAINER
from autoscaler.model.policy import ContainerConstraints, Limits, MpaSpec
from autoscaler.model.readings import Series, Signal, SignalKind
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.model.units import DAY, HOUR, MIB
from autoscaler.model.workload import Workload
from autoscaler.recommend.batch_sizing import batch_advice, is_time, only, oom_kills, point, usage_of, usage_signals
from autoscaler.recommend.vpa import controlled_resources, sized_containers

_STEP = math.log(1.01)
_MOST_STEPS = 2_400
"""Steps of 1 % from one millicore: 24 million cores."""
_Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
_Margin = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
_Amount = Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class KrrParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the strategy, with its defaults; shares are 0-1."""

    cpu_percentile: _Share = 0.95
    memory_buffer: _Margin = 0.15
    points_required: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 100
    """Fewer samples of all pods together recommend nothing."""
    span_required_seconds: _Seconds = 3 * HOUR
    allow_hpa: bool = False
    """Size also what a metric of the document scales on."""
    use_oom_data: bool = False
    """After a kill for want of memory the limit of then counts."""
    oom_memory_buffer: _Margin = 0.25
    min_cpu_millicores: _Amount = 10
    min_memory_bytes: _Amount = 100 * MIB
    history_seconds: Annotated[float, msgspec.Meta(gt=0.0, le=1e9)] = 14 * DAY
    """A pod that is gone for longer is forgotten."""
    step_seconds: Annotated[float, msgspec.Meta(gt=0.0, le=DAY)] = 75.0
    """Between two samples."""
    run_seconds: Annotated[float, msgspec.Meta(gt=0.0, le=1e9)] = DAY
    """Between two runs; sizes stand in between."""


class PodUse(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one container of one pod used. `cpu` counts samples by steps of 1 % from
    `first` on, little-endian uint32; `peak` is in bytes, `points` are samples of CPU and of memory.
    Of a pod that is gone only the percentile is kept, `busiest` (millicores).
    """

    pod: str
    container: str
    first: int = 0
    cpu: bytes = b""
    busiest: float = 0.0
    peak: int = 0
    points: tuple[int, int] = (0, 0)
    since: float = 0.0
    last: float = 0.0


class KrrMemory(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is remembered of one workload. `killed` is the largest memory limit of a
    killed container, by its name. Times are epoch seconds, 0 for never.
    """

    uses: tuple[PodUse, ...] = ()
    killed: tuple[tuple[str, int], ...] = ()
    fed_at: float = 0.0
    ran_at: float = 0.0
    sizes: tuple[ContainerSize, ...] = ()


class KrrRecommender:
    """KRR's simple strategy: CPU by the busiest pod's 95th percentile, memory by the peak and 15 %."""

    name: ClassVar[str] = "krr"
    Params: ClassVar[type[msgspec.Struct]] = KrrParams
    Memory: ClassVar[type[msgspec.Struct]] = KrrMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: KrrParams) -> Sequence[Signal]:
        return usage_signals(workload.key)

    def seed(self, history: Mapping[str, Mapping[SignalKind, Series]], params: KrrParams) -> KrrMemory:
        """Return a memory with one pod that used what one pod did on average: of single pods history says nothing."""
        uses = []
        for container, series in sorted(history.items()):
            use = PodUse(pod="", container=container)
            for kind in (SignalKind.POD_CPU, SignalKind.POD_MEMORY):
                if kind in series:
                    use = _seeded(use, series[kind], params, is_cpu=kind is SignalKind.POD_CPU)
            uses.append(use)
        return KrrMemory(uses=tuple(uses))

    def recommend(self, view: WorkloadView, params: KrrParams, memory: KrrMemory) -> tuple[Recommendation, KrrMemory]:
        """
        Take in this cycle's samples, and run the strategy if it is time to.

        Raises:
            ValueError: the memory is damaged.
        """
        if is_time(memory.fed_at, every=params.step_seconds, now=view.now, period=view.period):
            memory = _fed(view, params, memory)
        memory = _with_kills(view, memory)
        controlled = _controlled(view.spec, params)
        unknown = _too_little(view, memory, controlled, params)
        if not unknown and is_time(memory.ran_at, every=params.run_seconds, now=view.now, period=view.period):
            sizes = (_sized(one.name, memory, controlled, params) for one in sized_containers(view))
            memory = replace(memory, ran_at=view.now, sizes=tuple(size for size in sizes if size.target.amounts))
        advice = batch_advice(
            _with_own_limits(view), self.name, [only(size, controlled) for size in memory.sizes], unknown
        )
        return replace(advice, containers=tuple(_with_limit(size, view) for size in advice.containers)), memory


def percentile_of(pods: Iterable[Floats], share: float) -> float:
    """
    Return the largest of the pods' percentiles, each interpolated between samples as quantile_over_time does.

    >>> percentile_of([np.array([1.0, 2.0, 3.0]), np.array([9.0, 0.0])], 0.5)
    4.5
    """
    return max(float(np.quantile(samples, share)) for samples in pods)


def cpu_request(uses: Iterable[PodUse], params: KrrParams) -> int:
    """Return millicores, rounded up; *uses* are of one container and not empty."""
    busiest = max(_busiest(use, params) for use in uses)
    return max(math.ceil(busiest - 1e-6), params.min_cpu_millicores)


def memory_request(peak: int, killed: int, params: KrrParams) -> int:
    """
    Return bytes, rounded up to a MiB: the *peak* and a buffer, or the limit at which a container was *killed*.

    >>> memory_request(1000 * MIB, 0, KrrParams()) // MIB
    1150
    """
    wanted = peak * (1 + params.memory_buffer)
    if params.use_oom_data:
        wanted = max(wanted, killed * (1 + params.oom_memory_buffer))
    return max(math.ceil(wanted / MIB - 1e-9) * MIB, params.min_memory_bytes)


def _controlled(spec: MpaSpec, params: KrrParams) -> tuple[str, ...]:
    """Return what is sized: not what a utilisation metric scales on, as the peer leaves what an HPA scales on."""
    resources = (metric.resource or metric.container_resource for metric in spec.goals.metrics)
    scaled_on = {each.name for each in resources if each is not None and each.target.average_utilization}
    return tuple(name for name in controlled_resources(spec) if params.allow_hpa or name not in scaled_on)


def _fed(view: WorkloadView, params: KrrParams, memory: KrrMemory) -> KrrMemory:
    uses = {(use.pod, use.container): use for use in memory.uses}
    fed = False
    for resource in (CPU, MEMORY):
        for pod, container, amount, at in usage_of(view, resource):
            use = uses.get((pod, container)) or PodUse(pod=pod, container=container)
            uses[pod, container] = _noted(use, amount, at, is_cpu=resource == CPU)
            fed = True
    if not fed:
        return memory
    there = {pod.name for pod in view.pods}
    kept = (use for _, use in sorted(uses.items()) if view.now - use.last <= params.history_seconds)
    shortened = (use if use.pod in there else _gone(use, params) for use in kept)
    return replace(memory, uses=tuple(shortened), fed_at=view.now)


def _gone(use: PodUse, params: KrrParams) -> PodUse:
    return replace(use, first=0, cpu=b"", busiest=_busiest(use, params)) if use.cpu else use


def _busiest(use: PodUse, params: KrrParams) -> float:
    """Return the pod's percentile in millicores, 0 where its CPU was not measured."""
    return max(use.busiest, _percentile(use, params.cpu_percentile) if use.cpu else 0.0)


def _noted(use: PodUse, amount: int, at: float, *, is_cpu: bool, times: int = 1) -> PodUse:
    use = replace(use, since=min(use.since or at, at), last=max(use.last, at))
    cpu, memory = use.points
    if not is_cpu:
        return replace(use, peak=max(use.peak, amount), points=(cpu, memory + times))
    step = min(max(math.ceil(math.log(amount) / _STEP - 1e-9), 0) if amount > 1 else 0, _MOST_STEPS)
    counts = np.frombuffer(use.cpu, dtype="<u4")
    first = step if not len(counts) else min(use.first, step)
    size = max(use.first + len(counts), step + 1) - first if len(counts) else 1
    new = np.zeros(size, dtype="<u4")
    new[use.first - first : use.first - first + len(counts)] = counts if len(counts) else new[:0]
    new[step - first] += times
    return replace(use, first=first, cpu=new.tobytes(), points=(cpu + times, memory))


def _percentile(use: PodUse, share: float) -> float:
    """Return millicores at the percentile, between the two nearest samples."""
    counts = np.frombuffer(use.cpu, dtype="<u4")
    if not 0 <= use.first <= _MOST_STEPS:
        raise ValueError(f"the remembered use of pod {use.pod!r} begins at step {use.first}")
    reached = np.cumsum(counts)
    rank = share * (int(reached[-1]) - 1)
    low, high = (int(np.searchsorted(reached, math.floor(rank) + extra + 1)) for extra in (0, 1))
    below, above = (math.exp((use.first + min(place, len(counts) - 1)) * _STEP) for place in (low, high))
    return below + (above - below) * (rank - math.floor(rank))


def _seeded(use: PodUse, series: Series, params: KrrParams, *, is_cpu: bool) -> PodUse:
    times = max(1, round(series.step / params.step_seconds))
    for place, value in enumerate(series.values.tolist()):
        if math.isfinite(value) and value >= 0:
            use = _noted(use, int(value), series.start + place * series.step, is_cpu=is_cpu, times=times)
    return use


def _with_kills(view: WorkloadView, memory: KrrMemory) -> KrrMemory:
    killed = dict(memory.killed)
    for container, _ in oom_kills(view):
        if container.limits.memory > killed.get(container.name, 0):
            killed[container.name] = container.limits.memory
    return memory if killed == dict(memory.killed) else replace(memory, killed=tuple(sorted(killed.items())))


def _too_little(view: WorkloadView, memory: KrrMemory, controlled: Sequence[str], params: KrrParams) -> list[Reason]:
    """Return a reason for each container of which there is not enough to go by."""
    reasons = []
    for one in sized_containers(view):
        uses = [use for use in memory.uses if use.container == one.name]
        span = max((use.last for use in uses), default=0.0) - min((use.since for use in uses), default=0.0)
        points = [sum(use.points[0] for use in uses), sum(use.points[1] for use in uses)]
        fewest = min((points[0 if name == CPU else 1] for name in controlled), default=params.points_required)
        if controlled and (fewest < params.points_required or span < params.span_required_seconds):
            text = f"container {one.name}: {fewest} samples over {span / HOUR:.1f} h"
            least = f"{params.points_required} over {params.span_required_seconds / HOUR:.1f} h are needed"
            reasons.append(Reason(Code.HISTORY_TOO_SHORT, f"{text}, {least}"))
    return reasons


def _sized(container: str, memory: KrrMemory, controlled: Sequence[str], params: KrrParams) -> ContainerSize:
    uses = [use for use in memory.uses if use.container == container]
    amounts = {}
    if CPU in controlled and any(use.points[0] for use in uses):
        amounts[CPU] = cpu_request(uses, params)
    if MEMORY in controlled and any(use.points[1] for use in uses):
        killed = dict(memory.killed).get(container, 0)
        amounts[MEMORY] = memory_request(max(use.peak for use in uses), killed, params)
    return point(container, Resources.of(amounts))


def _with_own_limits(view: WorkloadView) -> WorkloadView:
    """Return the view with limits that move with requests, so that none caps a request."""
    rules = [replace(rule, limits=Limits.GUARANTEED) for rule in view.spec.constraints.container]
    if all(rule.name != ANY_CONTAINER for rule in rules):
        rules.append(ContainerConstraints(limits=Limits.GUARANTEED))
    constraints = replace(view.spec.constraints, container=tuple(rules))
    return replace(view, spec=replace(view.spec, constraints=constraints))


def _with_limit(size: ContainerSize, view: WorkloadView) -> ContainerSize:
    """Return the size with KRR's limits: memory at its request, none for CPU; what is not sized keeps its own."""
    container = next(one for one in view.workload.template.containers if one.name == size.container)
    kept = {name: amount for name, amount in container.limits.items() if not size.target.has(name)}
    if size.target.has(MEMORY):
        kept[MEMORY] = size.target.memory
    return replace(size, limits=Resources.of(kept))
