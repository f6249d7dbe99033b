"""
The strongest way to run the peers' engines: an HPA whose requests fit the
objective and whose minimum follows the season, with a VPA for memory whose
kills count for all pods at once.

Source: algorithms-2, sections 1 (B3) and 3 (bump): the baseline to beat. It shares the
demand and season models of the joint engine, and has no prices, no margin and
no view of nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec
from msgspec.structs import replace

from autoscaler.interfaces import WorkloadView
from autoscaler.model.bounds import MAX_REPLICAS, replica_bounds
from autoscaler.model.policy import GlobalConstraints, MpaSpec, SloClass
from autoscaler.model.readings import Series, Signal, SignalKind
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import CPU, MEMORY, NOTHING, Resources
from autoscaler.model.units import DAY
from autoscaler.model.workload import Workload
from autoscaler.recommend import demand
from autoscaler.recommend.forecast import day_peaks
from autoscaler.recommend.hpa import HpaMemory, HpaParams
from autoscaler.recommend.hpa_metrics import metrics_of
from autoscaler.recommend.joint_size import main_container, note_kills
from autoscaler.recommend.joint_view import SLOWDOWN, observed_work, pod_parallelism
from autoscaler.recommend.mpa import HpaVpaRecommender, MpaMemory, MpaParams
from autoscaler.recommend.outlook import outlook, remember_work
from autoscaler.recommend.usage_history import VpaMemory
from autoscaler.recommend.vertical import VpaParams
from autoscaler.recommend.vpa import controlled_resources, fit_sizes

LADDER = tuple(step for step in demand.LADDER if 100 <= step <= 8000)
"""Millicores that people ask for: the steps of the joint engine but the least and the largest."""
_LEAST_CORES = 0.02
_LEAST_MILLICORES = 10
_FLOOR_SECONDS = 8 * DAY
_BOTH_SIDES = HpaVpaRecommender()


class SeasonParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The parameters of both sides, and how requests fit the objective: a pod is
    filled to the share `fill` of its safe load, and at least
    `replicas_at_peak` share the day's peak. CPU requests stay for
    `dwell_seconds`; `level_seconds` of load tell today's level.
    """

    hpa: HpaParams = HpaParams()
    vpa: VpaParams = VpaParams()
    fill: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.9
    replicas_at_peak: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 4
    level_seconds: Annotated[float, msgspec.Meta(ge=60.0, le=DAY)] = 1800.0
    dwell_seconds: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = DAY


class SeasonMemory(msgspec.Struct, frozen=True, kw_only=True):
    """
    The memories of both sides. `work` is (epoch seconds, cores) a minute,
    oldest first; `sized_at` is when the CPU request last changed (0: never).
    `floors` is (epoch seconds, replicas) within the HPA's window for scaling
    down. `parallelism` is the cores a pod could use by the request that was
    found first: once that is changed it tells nothing any more.
    """

    hpa: HpaMemory = HpaMemory()
    vpa: VpaMemory = VpaMemory()
    work: tuple[tuple[float, float], ...] = ()
    floors: tuple[tuple[float, int], ...] = ()
    sized_at: float = 0.0
    parallelism: float = 0.0
    oom_at: float = 0.0
    memory_floor: int = 0


class SeasonFloorRecommender:
    """`hpa+vpa` with CPU requests that fit the objective, and replicas never below what the season brings next."""

    name: ClassVar[str] = "hpa+season"
    Params: ClassVar[type[msgspec.Struct]] = SeasonParams
    Memory: ClassVar[type[msgspec.Struct]] = SeasonMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: SeasonParams) -> Sequence[Signal]:
        own = (Signal(workload.key, kind) for kind in (SignalKind.CPU, SignalKind.READY, SignalKind.REQUESTS))
        return tuple(dict.fromkeys((*_BOTH_SIDES.signals(workload, spec, _sides(params)), *own)))

    def seed(self, history: Mapping[str, Mapping[SignalKind, Series]], params: SeasonParams) -> SeasonMemory:
        """Return a memory of which the vertical side knows what one pod used before, by container."""
        return SeasonMemory(vpa=_BOTH_SIDES.seed(history, _sides(params)).vpa)

    def recommend(
        self, view: WorkloadView, params: SeasonParams, memory: SeasonMemory
    ) -> tuple[Recommendation, SeasonMemory]:
        """
        Return what HPA and VPA say, with the season as the HPA's minimum.

        Raises:
            ValueError: the memory is damaged.
        """
        memory = _note_kills(view, replace(memory, parallelism=memory.parallelism or pod_parallelism(view)))
        work = observed_work(view)
        history = remember_work(memory.work, work, now=view.now, keep_seconds=params.level_seconds)
        request, memory = _cpu_request(view, params, replace(memory, work=history), known=work is not None)
        seen = outlook(view, history, work, level_seconds=params.level_seconds)
        expected = seen.expected(view.reaction_seconds)
        wanted = _floor(view, expected, pod_work(view, params, memory, coming=request))
        memory = replace(memory, floors=_lately(view.now, wanted, memory.floors, params))
        floor = memory.floors[0][1]
        advice, sides = _BOTH_SIDES.recommend(
            replace(view, spec=_at_least(view, floor)), _sides(params), MpaMemory(hpa=memory.hpa, vpa=memory.vpa)
        )
        sizes, why = _sizes(advice.containers, view, request, memory.memory_floor)
        reasons = (*_why_floor(advice, view, floor, expected), *advice.reasons, *_why_cpu(view, request), *why)
        return (
            replace(advice, engine=self.name, containers=sizes, reasons=reasons),
            replace(memory, hpa=sides.hpa, vpa=sides.vpa),
        )


def cpu_target(spec: MpaSpec) -> float | None:
    """Return the share of the CPU requests that the HPA holds use at, None where it scales on something else."""
    for metric in metrics_of(spec):
        resource = metric.resource or metric.container_resource
        if resource is not None and resource.name == CPU and resource.target.average_utilization:
            return resource.target.average_utilization / 100
    return None


def safe_cores(view: WorkloadView, memory: SeasonMemory) -> float:
    """Return the cores that one pod can use while it still meets its objective."""
    slo = view.spec.goals.slo
    is_declared = view.workload.parallelism > 0 or (slo is not None and slo.parallelism is not None)
    parallelism = pod_parallelism(view) if is_declared or not memory.parallelism > 0 else memory.parallelism
    slowdown = SLOWDOWN[slo.class_ if slo else SloClass.STANDARD]
    return demand.safe_utilisation(round(parallelism, 3), slowdown) * parallelism


def matched_request(safe: float, peak: float, target: float, params: SeasonParams) -> int:
    """
    Return the millicores of the ladder at which an HPA with *target* (a share)
    neither fills a pod over its *safe* cores nor serves the *peak* (cores) with too few.

    >>> matched_request(1.6, 12.0, 0.8, SeasonParams())
    1500
    """
    cores = min(params.fill * safe, peak / params.replicas_at_peak) / target
    return max((step for step in LADDER if step <= cores * 1000 + 1e-6), default=LADDER[0])


def pod_work(view: WorkloadView, params: SeasonParams, memory: SeasonMemory, *, coming: int | None) -> float:
    """
    Return the cores of work at which the HPA holds one pod, at least 0.02.

    While requests change to *coming* (millicores of the pod) the smaller counts.
    """
    request = sum(container.requests.cpu for container in view.workload.template.containers)
    request = request if coming is None else min(request or coming, coming)
    cores, target = params.fill * safe_cores(view, memory), cpu_target(view.spec)
    if target is not None and request > 0:
        cores = min(cores, target * request / 1000)
    idle = view.model.demand.idle_cores if view.model else 0.0
    return max(cores - idle if 0 <= idle < math.inf else cores, _LEAST_CORES)


def _sides(params: SeasonParams) -> MpaParams:
    return MpaParams(hpa=params.hpa, vpa=params.vpa)


def _cpu_request(
    view: WorkloadView, params: SeasonParams, memory: SeasonMemory, *, known: bool
) -> tuple[int | None, SeasonMemory]:
    """Return the millicores that a whole pod should ask for, None to leave requests alone."""
    target = cpu_target(view.spec)
    if target is None or view.model is None or not known or CPU not in controlled_resources(view.spec):
        return None, memory
    peak = float(day_peaks(view.model.season, 1)[0])
    now = sum(container.requests.cpu for container in view.workload.template.containers)
    # What is being changed is said again until all pods have it.
    settled = not memory.sized_at or view.now - memory.sized_at >= params.dwell_seconds
    if not settled or not 0 < peak < math.inf:
        return now or None, memory
    wanted = matched_request(safe_cores(view, memory), peak, target, params)
    return wanted, replace(memory, sized_at=view.now) if wanted != now else memory


def _note_kills(view: WorkloadView, memory: SeasonMemory) -> SeasonMemory:
    """Raise the memory floor after a kill; forget it when the VPA forgets its history."""
    main = main_container(view)
    if main is None:
        return memory
    kept = memory.memory_floor if view.now - memory.oom_at <= _FLOOR_SECONDS else 0
    oom_at, floor = note_kills(view, main, since=memory.oom_at, floor=kept)
    return replace(memory, oom_at=oom_at, memory_floor=floor)


def _sizes(
    sizes: tuple[ContainerSize, ...], view: WorkloadView, request: int | None, least: int
) -> tuple[tuple[ContainerSize, ...], list[Reason]]:
    """Return *sizes* with the pod's CPU *request* and at least *least* bytes for its main container."""
    main = main_container(view)
    if main is None or (request is None and not least):
        return sizes, []
    size = next((one for one in sizes if one.container == main.name), None)
    changed = size or ContainerSize(container=main.name, target=NOTHING)
    if request is not None:
        others = sum(one.requests.cpu for one in view.workload.template.containers if one is not main)
        # A point, not a range: of CPU every pod gets the same.
        cores = max(request - others, _LEAST_MILLICORES)
        changed = _mapped(changed, lambda amounts: amounts.with_(cpu=cores))
    sized = changed.target.has(MEMORY) or (least > main.requests.memory and MEMORY in _vertical(view.spec))
    if least and sized:
        floor = Resources.of(memory=least)
        changed = _mapped(changed, lambda amounts: amounts.largest(floor))
    if changed == size or not changed.target.amounts:
        return sizes, []
    return fit_sizes([*(one for one in sizes if one is not size), changed], view)


def _mapped(size: ContainerSize, change: Callable[[Resources], Resources]) -> ContainerSize:
    parts = (size.target, size.lower, size.upper, size.uncapped)
    target, lower, upper, uncapped = map(change, parts)
    return replace(size, target=target, lower=lower, upper=upper, uncapped=uncapped)


def _vertical(spec: MpaSpec) -> tuple[str, ...]:
    return controlled_resources(_BOTH_SIDES.vertical_spec(spec))


def _floor(view: WorkloadView, expected: float, cores: float) -> int:
    if view.workload.replicas <= 0 or not 0 < expected < math.inf:
        return 0
    return min(math.ceil(expected / cores - 1e-9), MAX_REPLICAS)


def _lately(
    now: float, floor: int, before: tuple[tuple[float, int], ...], params: SeasonParams
) -> tuple[tuple[float, int], ...]:
    """Return the floors that can still be the highest of the window, this one included; the highest comes first."""
    since = now - params.hpa.downscale_stabilization_seconds
    return (*(entry for entry in before if since < entry[0] <= now and entry[1] > floor), (now, floor))


def _at_least(view: WorkloadView, floor: int) -> MpaSpec:
    """Return the spec with *floor* as its minimum, within its maximum."""
    constraints = view.spec.constraints
    low, high = replica_bounds(constraints)
    if floor <= low:
        return view.spec
    limits = replace(constraints.global_ or GlobalConstraints(), min_replicas=min(floor, high))
    return replace(view.spec, constraints=replace(constraints, global_=limits))


def _why_floor(advice: Recommendation, view: WorkloadView, floor: int, expected: float) -> tuple[Reason, ...]:
    if floor <= replica_bounds(view.spec.constraints)[0] or advice.replicas is None or advice.replicas > floor:
        return ()
    message = f"the season brings {expected:.2f} cores of work within {view.reaction_seconds:.0f} s: at least {floor}"
    return (Reason(Code.FORECAST_RISE, message),)


def _why_cpu(view: WorkloadView, request: int | None) -> tuple[Reason, ...]:
    now = sum(container.requests.cpu for container in view.workload.template.containers)
    if request is None or request == now:
        return ()
    code = Code.USAGE_ABOVE_REQUEST if request > now else Code.USAGE_BELOW_REQUEST
    return (Reason(code, f"{request}m a pod fits the objective and the day's peak, {now}m is asked for"),)
