"""
Replicas and requests as one decision: serve the demand expected within the
reaction time, on pods of the shape that is cheapest at the cluster's prices.

Sources: algorithms, sections 2-6; the choices of its second part: constant
head-room, memory sized for a pod's full parallelism, one integrator a
workload on the violation of its objective.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.policy import MpaSpec, SloClass, Switch
from autoscaler.model.readings import Sample, Signal, SignalKind
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import CPU, NOTHING
from autoscaler.model.snapshot import DemandModel, SeasonalModel, WorkloadModel
from autoscaler.model.workload import Workload
from autoscaler.recommend import forecast, joint_size
from autoscaler.recommend.demand import safe_utilisation

_NO_SEASON = SeasonalModel()
SLOWDOWN = {SloClass.LATENCY_SENSITIVE: 3.0, SloClass.STANDARD: 4.0, SloClass.BATCH: 20.0}
_WITHIN_PLAN = 1.03
MOST_REPLICAS = 2_147_483_647
_ABSURD = 1e18


class JointParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Settings of the joint engine. The defaults suit most; change `utilisation`
    or `fill` only to move along the frontier between cost and service.

    `utilisation` is the share of a pod's safe load to plan for; `fill` the
    share of its CPU request. `violations` is the share of time in which
    missing the objective is acceptable; `margin_gain` (per minute) and
    `margin_cap` (log) shape the correction when it is missed more often.
    """

    utilisation: float = 0.9
    fill: float = 0.88
    violations: float = 0.005
    slow_share: float = 0.05
    margin_gain: float = 0.02
    margin_cap: float = 0.4
    down_window_seconds: float = 300.0
    down_share: float = 0.04
    level_seconds: float = 1800.0
    reactive_seconds: float = 60.0
    shape_dwell_seconds: float = 21600.0
    size_cpu: bool = True
    size_memory: bool = True


class JointMemory(msgspec.Struct, frozen=True, kw_only=True):
    """
    `work` is (epoch seconds, cores) a minute, oldest first; `wanted` is (epoch
    seconds, replicas) within the down window; `margin` a log factor.
    """

    work: tuple[tuple[float, float], ...] = ()
    wanted: tuple[tuple[float, int], ...] = ()
    margin: float = 0.0
    updated_at: float = 0.0
    oom_at: float = 0.0
    memory_floor: int = 0
    sized_at: float = 0.0


class JointRecommender:
    """The engine `joint`."""

    name: ClassVar[str] = "joint"
    Params: ClassVar[type[msgspec.Struct]] = JointParams
    Memory: ClassVar[type[msgspec.Struct]] = JointMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: JointParams) -> Sequence[Signal]:
        kinds = (SignalKind.CPU, SignalKind.READY, SignalKind.MEMORY_PEAK, SignalKind.REQUESTS, SignalKind.SLOW_SHARE)
        return tuple(Signal(workload.key, kind) for kind in kinds)

    def recommend(
        self, view: WorkloadView, params: JointParams, memory: JointMemory
    ) -> tuple[Recommendation, JointMemory]:
        if view.model is not None and not is_sound(view.model):
            view = msgspec.structs.replace(view, model=None)
        memory = _correct_margin(view, params, memory)
        work = observed_work(view)
        memory = remember_work(view.now, params, memory, work)
        seen = outlook(view, params, memory, work)
        demand = seen.demand(view.reaction_seconds)
        known = demand if work is not None else None
        sizes, memory, size_reasons, urgent = joint_size.size(view, params, memory, demand=known)
        cores = pod_capacity(view, params, sizes)
        if demand is None:
            return _hold(view, sizes, size_reasons, urgent=urgent), memory
        held = work is None or lacks_requests(view)
        wanted, limited = _replicas(demand, cores, view)
        if held:
            wanted = max(wanted, view.workload.replicas)
        target, memory, stabilized = _stabilize(wanted, view, params, memory)
        raised = seen.expected(view.reaction_seconds) > seen.reactive
        why = _why(target, view, raised=raised, demand=demand, cores=cores)
        ahead = seen.demand(view.node_seconds) or 0.0
        forecasted = max(target, _replicas(ahead, cores, view)[0])
        headroom = max(forecasted, _replicas(ahead * node_factor(view), cores, view)[0])
        advice = Recommendation(
            workload=view.workload.key,
            engine=self.name,
            replicas=target,
            lower_replicas=min(wanted, target),
            upper_replicas=max(wanted, headroom),
            forecast_replicas=forecasted,
            headroom_replicas=headroom,
            containers=sizes,
            urgent=urgent,
            held=held,
            reasons=(why, *_margin(memory), *limited, *stabilized, *size_reasons),
        )
        return advice, memory


def is_sound(model: WorkloadModel) -> bool:
    """Tell whether a learned model holds finite numbers of at least 0 only; one from a damaged file may not."""
    demand = model.demand
    amounts = (
        demand.cores_per_request,
        demand.idle_cores,
        demand.base_bytes,
        demand.bytes_per_core,
        demand.peak_bytes,
        model.season.history_max,
    )
    return all(0 <= amount < _ABSURD for amount in amounts) and all(abs(row[2]) < 50 for row in model.season.quantiles)


def lacks_requests(view: WorkloadView) -> bool:
    """
    Tell whether the request rate is missing although its cost is known.

    CPU alone understates what saturated pods are asked for: nothing may shrink by it then.
    """
    if view.model is None or view.model.demand.cores_per_request <= 0:
        return False
    return reading_of(view, SignalKind.REQUESTS) is None


def reading_of(view: WorkloadView, kind: SignalKind) -> float | None:
    """Return a measured value of the workload; None where it is missing, or is no finite number of at least 0."""
    found = view.readings.get(Signal(view.workload.key, kind))
    return found.value if isinstance(found, Sample) and 0 <= found.value < math.inf else None


def observed_work(view: WorkloadView) -> float | None:
    """
    Return the cores of work asked of the workload by the newest metrics, None where nothing is known.

    Work that queues is not in the CPU that is used, so requests count where
    their cost is known; CPU counts too, since a new version may cost more.
    """
    demand = view.model.demand if view.model else DemandModel()
    cpu, rate, ready = (reading_of(view, k) for k in (SignalKind.CPU, SignalKind.REQUESTS, SignalKind.READY))
    found = None
    if cpu is not None:
        pods = float(len(view.pods)) if ready is None else ready
        found = max(cpu - demand.idle_cores * pods, 0.0)
    if rate is not None and demand.cores_per_request > 0:
        found = max(found or 0.0, demand.cores_per_request * rate)
    return found


def pod_parallelism(view: WorkloadView) -> float:
    """Return the cores one pod can use, see `declared_parallelism`."""
    return declared_parallelism(view.workload, view.spec, view.model)


def declared_parallelism(workload: Workload, spec: MpaSpec, before: WorkloadModel | None = None) -> float:
    """
    Return the cores one pod can use: as declared, else what its developer asked for, at least one.

    What the model of *before* took stays: by now the request may be the
    engine's own. Taking the developer's was as good as knowing in simulation;
    a lower guess was bad (algorithms, section 8.6).
    """
    if spec.goals.slo is not None and spec.goals.slo.parallelism is not None:
        return max(spec.goals.slo.parallelism.number, 0.05)
    if workload.parallelism > 0:
        return workload.parallelism
    if before is not None and before.demand.parallelism > 0:
        return before.demand.parallelism
    return max(1.0, sum(container.requests.cpu for container in workload.template.containers) / 1000)


def pod_capacity(view: WorkloadView, params: JointParams, sizes: Sequence[ContainerSize] = ()) -> float:
    """
    Return the cores of work to plan for one pod: within its safe load and within its request.

    With *sizes* to come the smaller request counts: pods that shrink need
    company at once, pods that grow lose none before they have grown.
    """
    containers = view.workload.template.containers
    coming = {size.container: size.target for size in sizes}
    then = sum(coming.get(c.name, NOTHING).get(CPU, c.requests.cpu) for c in containers)
    return capacity_at(view, params, min(then, sum(c.requests.cpu for c in containers)) / 1000)


def capacity_at(view: WorkloadView, params: JointParams, request: float) -> float:
    """Return the cores of work to plan for a pod that asks for *request* cores (0: it asks for none)."""
    parallelism = pod_parallelism(view)
    slo = view.spec.goals.slo
    safe = safe_utilisation(round(parallelism, 3), SLOWDOWN[slo.class_ if slo else SloClass.STANDARD]) * parallelism
    usable = params.utilisation * safe
    if request > 0:
        usable = min(usable, params.fill * request)
    idle = view.model.demand.idle_cores if view.model else 0.0
    return max(usable - idle, 0.02)


class Outlook(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    What is known of the demand to come: `reactive` cores of work were just
    seen, `usual` is how today's load compares to `season` (0: no forecast).
    """

    now: float
    known: bool
    reactive: float
    usual: float
    season: SeasonalModel
    margin: float

    def expected(self, horizon: float) -> float:
        """Return the cores of work that the season has within *horizon* seconds; 0 without a forecast."""
        if self.usual <= 0:
            return 0.0
        peak = self.usual * forecast.season_peak(self.season, start=self.now, end=self.now + horizon)
        return min(peak, 1.5 * max(self.season.history_max, self.reactive))

    def demand(self, horizon: float) -> float | None:
        """Return the cores of work to be ready for within *horizon* seconds; None: nothing is known."""
        expected = self.expected(horizon)
        if not self.known and expected <= 0:
            return None
        return max(self.reactive, expected) * math.exp(self.margin)


def outlook(view: WorkloadView, params: JointParams, memory: JointMemory, work: float | None) -> Outlook:
    """Return what to expect, from the work seen lately and from the season where it is trusted."""
    since = view.now - params.reactive_seconds - view.period
    reactive = max([cores for at, cores in memory.work if at >= since] + [work or 0.0])
    season, usual = view.model.season if view.model else _NO_SEASON, 0.0
    if season.trusted and season.peak and memory.work and view.spec.policy.forecast is not Switch.OFF:
        recent = [cores for at, cores in memory.work if at >= view.now - params.level_seconds]
        if recent:
            usual = forecast.level(season, sum(recent) / len(recent), now=view.now, span=params.level_seconds)
    return Outlook(
        now=view.now,
        known=work is not None,
        reactive=reactive,
        usual=usual,
        season=season,
        margin=memory.margin,
    )


def node_factor(view: WorkloadView) -> float:
    """
    Return by how much (at least 1) demand may exceed its forecast before a new node is ready.

    The quantile is that of the policy, but no more than long boots need
    (algorithms-2, section 4: 1 - 0.2 * 90 / boot seconds, within 0.8-0.97).
    """
    if view.model is None or view.headroom <= 0:
        return 1.0
    boot = max(view.node_seconds - view.reaction_seconds, 1.0)
    share = min(view.headroom, max(0.8, min(0.97, 1 - 0.2 * 90 / boot)))
    return max(1.0, math.exp(forecast.error_quantile(view.model.season, horizon=view.node_seconds, share=share)))


def bounds(view: WorkloadView) -> tuple[int, int]:
    """Return the fewest and the most replicas that the policy allows."""
    limits = view.spec.constraints.global_
    low = limits.min_replicas if limits and limits.min_replicas is not None else 1
    high = limits.max_replicas if limits and limits.max_replicas is not None else MOST_REPLICAS
    return min(low, high), high


def _bounded(replicas: int, view: WorkloadView) -> tuple[int, tuple[Reason, ...]]:
    low, high = bounds(view)
    if replicas < low:
        return low, (Reason(Code.AT_MINIMUM, f"load needs {replicas}, the minimum is {low}"),)
    if replicas > high:
        return high, (Reason(Code.AT_MAXIMUM, f"load needs {replicas}, the maximum is {high}"),)
    return replicas, ()


def _pods(demand: float, cores: float) -> int:
    return min(math.ceil(demand / cores - 1e-9), MOST_REPLICAS)


def _replicas(demand: float, cores: float, view: WorkloadView) -> tuple[int, tuple[Reason, ...]]:
    if view.workload.replicas == 0 and bounds(view)[0] > 0:
        return 0, (Reason(Code.PAUSED, "scaled to 0 by hand: left alone until it is scaled up"),)
    return _bounded(_pods(demand, cores), view)


def _why(target: int, view: WorkloadView, *, raised: bool, demand: float, cores: float) -> Reason:
    current = view.workload.replicas
    if target == current:
        code = Code.UNCHANGED
    elif target > current:
        code = Code.FORECAST_RISE if raised else Code.LOAD_NEEDS_MORE
    else:
        code = Code.LOAD_NEEDS_FEWER
    return Reason(code, f"{demand:.2f} cores of work expected, {cores:.2f} a pod")


def _margin(memory: JointMemory) -> tuple[Reason, ...]:
    if memory.margin <= 0.01:
        return ()
    more = math.expm1(memory.margin)
    return (Reason(Code.SLO_CORRECTION, f"head-room +{more:.0%}: the objective was missed lately"),)


def _stabilize(
    wanted: int, view: WorkloadView, params: JointParams, memory: JointMemory
) -> tuple[int, JointMemory, tuple[Reason, ...]]:
    """Up at once; down to the most wanted within the window, and not for a few per cent."""
    current, since = view.workload.replicas, view.now - params.down_window_seconds
    history = (*(entry for entry in memory.wanted if entry[0] > since), (view.now, wanted))
    # A first sight, also after a gap, counts as wanting what is there: neither a restart nor an outage shrinks at once.
    if not memory.wanted or view.now - memory.wanted[-1][0] > params.down_window_seconds:
        history = ((view.now, max(current, wanted)),)
    memory = msgspec.structs.replace(memory, wanted=_thin(history))
    if wanted >= current:
        return wanted, memory, ()
    most = max(replicas for _, replicas in history)
    target = min(current, most)
    if current - target < max(1.0, params.down_share * current):
        target = current
    if target > wanted:
        return target, memory, (Reason(Code.STABILIZED, f"load needs {wanted}; {most} were needed in the last 5 min"),)
    return target, memory, ()


def _thin(history: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    """Keep what can still be a maximum: each entry larger than all after it."""
    kept: list[tuple[float, int]] = []
    for entry in history:
        while kept and kept[-1][1] <= entry[1]:
            kept.pop()
        kept.append(entry)
    return tuple(kept)


def remember_work(now: float, params: JointParams, memory: JointMemory, work: float | None) -> JointMemory:
    if work is None or not math.isfinite(work):
        return memory
    kept = memory.work
    if kept and now - kept[-1][0] < 60 and int(now // 60) == int(kept[-1][0] // 60):
        kept = (*kept[:-1], (kept[-1][0], max(kept[-1][1], work)))
    else:
        since = now - params.level_seconds
        kept = (*(kept[1:] if kept and kept[0][0] < since else kept), (now, work))
    return msgspec.structs.replace(memory, work=kept)


def _correct_margin(view: WorkloadView, params: JointParams, memory: JointMemory) -> JointMemory:
    """
    One integrator a workload: widen the head-room while the objective is missed
    more often than accepted although no pod had more work than planned, narrow
    it slowly else (algorithms-2, section 5, with the condition of section 2 of
    the first part).
    """
    slow = reading_of(view, SignalKind.SLOW_SHARE)
    margin = memory.margin
    if slow is not None and memory.updated_at:
        minutes = min(max(view.now - memory.updated_at, 0.0), 600.0) / 60
        target = view.spec.goals.slo.violations if view.spec.goals.slo else None
        accepted = target.number if target is not None else params.violations
        missed = 1.0 if slow > params.slow_share and not _was_short(view, params) else 0.0
        margin = min(max(margin + 2 * params.margin_gain * (missed - accepted) * minutes, 0.0), params.margin_cap)
    return msgspec.structs.replace(memory, margin=margin, updated_at=view.now)


def _was_short(view: WorkloadView, params: JointParams) -> bool:
    """
    Tell whether ready pods had more work than planned: then lag was at fault, not the plan.

    More head-room at all times is a dear cure for spikes that nobody foresaw.
    """
    ready, work = reading_of(view, SignalKind.READY), observed_work(view)
    if not ready or work is None:
        return False
    return work / ready > _WITHIN_PLAN * pod_capacity(view, params)


def _hold(
    view: WorkloadView, sizes: tuple[ContainerSize, ...], reasons: tuple[Reason, ...], *, urgent: bool
) -> Recommendation:
    message = f"no usable reading of cpu and requests: held at {view.workload.replicas}"
    return Recommendation(
        workload=view.workload.key,
        engine=JointRecommender.name,
        containers=sizes,
        urgent=urgent,
        held=True,
        reasons=(Reason(Code.SIGNAL_MISSING, message), *reasons),
    )
