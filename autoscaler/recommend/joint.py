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
from autoscaler.model.bounds import MAX_REPLICAS, replica_bounds
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import Signal, SignalKind
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.workload import Workload
from autoscaler.recommend import joint_size
from autoscaler.recommend.joint_view import (
    JointMemory,
    JointParams,
    is_sound,
    lacks_requests,
    observed_work,
    pod_capacity,
    reading_of,
    signal_of,
)
from autoscaler.recommend.outlook import node_factor, outlook, remember_work

_WITHIN_PLAN = 1.03
"""Pods with up to so many times their planned load are not short."""


class JointRecommender:
    """Replicas, CPU and memory requests together: the cheapest at which the objective is expected to hold."""

    name: ClassVar[str] = "joint"
    Params: ClassVar[type[msgspec.Struct]] = JointParams
    Memory: ClassVar[type[msgspec.Struct]] = JointMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: JointParams) -> Sequence[Signal]:
        kinds = (SignalKind.CPU, SignalKind.READY, SignalKind.MEMORY_PEAK, SignalKind.REQUESTS, SignalKind.SLOW_SHARE)
        return tuple(signal_of(workload.key, kind) for kind in kinds)

    def recommend(
        self, view: WorkloadView, params: JointParams, memory: JointMemory
    ) -> tuple[Recommendation, JointMemory]:
        if view.model is not None and not is_sound(view.model):
            view = msgspec.structs.replace(view, model=None)
        memory = _correct_margin(view, params, memory)
        work = observed_work(view)
        history = remember_work(memory.work, work, now=view.now, keep_seconds=params.level_seconds)
        memory = msgspec.structs.replace(memory, work=history)
        seen = outlook(
            view,
            history,
            work,
            level_seconds=params.level_seconds,
            reactive_seconds=params.reactive_seconds,
            margin=memory.margin,
        )
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


def _bounded(replicas: int, view: WorkloadView) -> tuple[int, tuple[Reason, ...]]:
    low, high = replica_bounds(view.spec.constraints)
    if replicas < low:
        return low, (Reason(Code.AT_MINIMUM, f"load needs {replicas}, the minimum is {low}"),)
    if replicas > high:
        return high, (Reason(Code.AT_MAXIMUM, f"load needs {replicas}, the maximum is {high}"),)
    return replicas, ()


def _pods(demand: float, cores: float) -> int:
    return min(math.ceil(demand / cores - 1e-9), MAX_REPLICAS)


def _replicas(demand: float, cores: float, view: WorkloadView) -> tuple[int, tuple[Reason, ...]]:
    if view.workload.replicas == 0 and replica_bounds(view.spec.constraints)[0] > 0:
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
