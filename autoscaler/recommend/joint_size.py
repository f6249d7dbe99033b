"""
Requests of the joint engine: CPU by the shape that the slow loop chose, memory
for twice the planned load of a pod, with a limit for all it could do at once.

Source: algorithms-2, section 3 ("burstable": request at the planned load,
limit at full parallelism, was cheapest at next to no kills); where the slope
of memory is not known, the peak seen plus 15 %.
"""

from __future__ import annotations

import math

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.bounds import amounts_of, container_rule, replica_bounds, request_bounds
from autoscaler.model.pod import Container
from autoscaler.model.readings import SignalKind
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import CPU, MEMORY, Resources, format_amount
from autoscaler.model.snapshot import DemandModel
from autoscaler.model.units import MIB, format_bytes
from autoscaler.recommend.demand import LADDER
from autoscaler.recommend.joint_view import JointMemory, JointParams, capacity_at, pod_parallelism, reading_of
from autoscaler.recommend.limits import MAX_QUANTITY, limits_for

_OOM_RATIO, _OOM_BYTES = 1.2, 100 * MIB
_FULL_MARGIN, _PEAK_MARGIN, _KEEP_ABOVE = 1.12, 1.15, 1.1
_OOM_SMALL, _OFF = 0.25, "Off"
_BURST = 2.0
"""Memory is asked for this many times the planned load: a spike lands on the pods there are."""
_SHRINK_BAND = 1.25
"""Memory shrinks only when it is this much above what is needed: a change costs a restart or a resize."""


def size(
    view: WorkloadView, params: JointParams, memory: JointMemory, *, demand: float | None
) -> tuple[tuple[ContainerSize, ...], JointMemory, tuple[Reason, ...], bool]:
    """
    Return the sizes of the main container (all others keep theirs), the new
    memory, the reasons, and whether it is urgent (a kill happened).

    *demand* is the work expected, in cores, None where nothing is known of it.
    CPU shrinks only where it is known, memory only where its peak is.
    """
    main = main_container(view)
    if main is None or container_rule(view.spec.constraints, main.name).mode == _OFF:
        return (), memory, (), False
    oom_at, floor = note_kills(view, main, since=memory.oom_at, floor=memory.memory_floor)
    killed = oom_at > memory.oom_at
    memory = msgspec.structs.replace(memory, oom_at=oom_at, memory_floor=floor)
    named = view.spec.constraints.container_controlled_resources
    controlled = (CPU, MEMORY) if named is None else named
    target: dict[str, int] = {}
    reasons: list[Reason] = []
    settled = view.now - memory.sized_at >= params.shape_dwell_seconds or not memory.sized_at
    if params.size_cpu and CPU in controlled:
        least = _least_cpu(view, params, demand)
        wanted, why = _cpu_change(view, main, least=least, settled=settled, may_shrink=demand is not None)
        if why is not None:
            target[CPU] = wanted
            reasons.append(why)
    if params.size_memory and MEMORY in controlled:
        planned = _planned_cores(view, params, main, target)
        wanted, why = _memory_change(view, main, memory, planned=planned, may_shrink=settled)
        if why is not None:
            target[MEMORY] = wanted
            reasons.append(why)
    if not target:
        return (), memory, tuple(reasons), False
    capped = Resources.of(_capped(target, main, view, reasons))
    if any(capped.get(name) != main.requests.get(name) for name in capped.names()):
        memory = msgspec.structs.replace(memory, sized_at=view.now)
    sized = ContainerSize(
        container=main.name, target=capped, lower=capped, upper=capped, uncapped=Resources.of(target),
        limits=_limits(view, main, capped),
    )  # fmt: skip
    return (sized,), memory, tuple(reasons), killed


def main_container(view: WorkloadView) -> Container | None:
    """Return the container that does the work: the one with the largest CPU request, then by name."""
    containers = view.workload.template.containers
    return max(containers, key=lambda c: (c.requests.cpu, c.requests.memory, c.name), default=None)


def memory_at(demand: DemandModel, cores: float) -> float:
    """Return the bytes a pod needs when it does *cores* of work, by what was learned."""
    if demand.bytes_per_core <= 0:
        return demand.peak_bytes * _PEAK_MARGIN
    needed = (demand.base_bytes + demand.bytes_per_core * cores) * _FULL_MARGIN
    return max(needed, demand.peak_bytes * _KEEP_ABOVE)


def requested_memory(demand: DemandModel, planned: float, parallelism: float) -> float:
    """Return the bytes to ask for on a pod that is planned to do *planned* cores of work."""
    return memory_at(demand, min(_BURST * planned, parallelism))


def _least_cpu(view: WorkloadView, params: JointParams, demand: float | None) -> int:
    """
    Return the millicores that a pod must ask for when there are as many as may be, 0 where nothing is known.

    What cannot scale out any further can only grow: within what one pod can
    use, by steps of the ladder.
    """
    if not demand or not math.isfinite(demand):
        return 0
    idle = view.model.demand.idle_cores if view.model else 0.0
    cores = min((demand / max(replica_bounds(view.spec.constraints)[1], 1) + idle) / params.fill, pod_parallelism(view))
    if cores * 1000 <= LADDER[0]:
        return 0
    return next((step for step in LADDER if step >= cores * 1000), math.ceil(cores * 1000))


def _cpu_change(
    view: WorkloadView, main: Container, *, least: int, settled: bool, may_shrink: bool
) -> tuple[int, Reason | None]:
    """Return the CPU the main container should ask for and why; no reason means leave it."""
    shape, now = view.model.shape if view.model else None, main.requests.cpu
    others = sum(c.requests.cpu for c in view.workload.template.containers if c is not main)
    if now and least - others > now:
        message = f"{least}m a pod serve the work on as many pods as there may be, {now + others}m are asked for"
        return least - others, Reason(Code.USAGE_ABOVE_REQUEST, message)
    if shape is None or not settled:
        return 0, None
    wanted = max(shape.cpu - others, least - others, 10)
    if wanted == now or (wanted < now and not may_shrink):
        return 0, None
    runner_up = f"; next best {shape.runner_up}" if shape.runner_up else ""
    message = f"{shape.cpu}m a pod serves the day's load at {shape.usd_per_hour * 24:.2f} USD/day{runner_up}"
    return wanted, Reason(Code.SHAPE_CHEAPER, message)


def _planned_cores(view: WorkloadView, params: JointParams, main: Container, target: dict[str, int]) -> float:
    """Return the work planned for a pod with the CPU that it is to ask for."""
    asked = sum(c.requests.cpu for c in view.workload.template.containers)
    return capacity_at(view, params, (asked + target.get(CPU, main.requests.cpu) - main.requests.cpu) / 1000)


def _memory_change(
    view: WorkloadView, main: Container, memory: JointMemory, *, planned: float, may_shrink: bool
) -> tuple[int, Reason | None]:
    """Return the memory the main container should ask for and why; no reason means leave it."""
    demand, peak = (view.model.demand if view.model else None), reading_of(view, SignalKind.MEMORY_PEAK)
    others = sum(c.requests.memory for c in view.workload.template.containers if c is not main)
    learned = requested_memory(demand, planned, pod_parallelism(view)) if demand is not None else 0.0
    if learned <= 0 and memory.memory_floor <= 0:
        return 0, None
    # What is learned and seen is of whole pods, the floor after a kill is the container's own.
    whole = min(max(learned, (peak or 0.0) * _KEEP_ABOVE), float(MAX_QUANTITY))
    needed, now = max(_rounded(whole) - others, memory.memory_floor, 16 * MIB), main.requests.memory
    if now < memory.memory_floor:
        message = f"killed for want of memory: it needs {format_bytes(needed)}, {format_bytes(now)} is asked for"
        return needed, Reason(Code.OOM_KILLED, message)
    if now < needed:
        code = Code.USAGE_ABOVE_REQUEST
    elif now > needed * _SHRINK_BAND and may_shrink and peak is not None and learned > 0:
        code = Code.USAGE_BELOW_REQUEST
    else:
        return 0, None
    message = f"memory needs {format_bytes(needed)} at twice the planned load, {format_bytes(now)} is asked for"
    return needed, Reason(code, message)


def note_kills(view: WorkloadView, main: Container, *, since: float, floor: int) -> tuple[float, int]:
    """
    Return when the main container was last killed for want of memory and the bytes it must have since.

    Each kill after *since* raises the *floor*: by a fifth, and at least by
    100 MiB (VPA's rule) or by a quarter where that is less.
    """
    newest = since
    for pod in view.pods:
        for end in pod.terminations:
            if end.reason == "OOMKilled" and end.container == main.name and end.finished_at > since:
                killed = next((c for c in pod.shape.containers if c.name == main.name), main)
                held = killed.limits.memory or killed.requests.memory
                more = held + max(held * (_OOM_RATIO - 1), min(_OOM_BYTES, held * _OOM_SMALL))
                floor, newest = max(floor, _rounded(more)), max(newest, end.finished_at)
    return newest, floor


def _capped(target: dict[str, int], main: Container, view: WorkloadView, reasons: list[Reason]) -> dict[str, int]:
    """Apply the container's own bounds and the global ones, those of the pod, then what the largest node can hold."""
    least, most = request_bounds(view.spec.constraints, main.name)
    result = {}
    for name, amount in target.items():
        low, high = _within_pod(name, main, view, low=least.get(name), high=most.get(name))
        capped = max(amount, low)
        capped = min(capped, high) if high else capped
        if capped != amount:
            reasons.append(_capping(Code.CAPPED_BY_POLICY, name, capped, "by the policy"))
        room = view.largest_node.get(name)
        if room and capped > room:
            capped = room
            reasons.append(_capping(Code.CAPPED_BY_NODE, name, capped, "since no node is larger"))
        result[name] = capped
    return result


def _within_pod(name: str, main: Container, view: WorkloadView, *, low: int, high: int) -> tuple[int, int]:
    """Return the bounds of *main* such that the pod's sum keeps to `constraints.pod`; 0 is no bound."""
    pod = view.spec.constraints.pod
    if pod is None or pod.requests is None:
        return low, high
    others = sum(c.requests.get(name) for c in view.workload.template.containers if c is not main)
    least, most = amounts_of(pod.requests.min_allowed).get(name), amounts_of(pod.requests.max_allowed).get(name)
    # Where the others take more than there may be, no size of this one can mend it.
    if most > others:
        high = min(high or most, most - others)
    return max(low, least - others), high


def _capping(code: Code, name: str, amount: int, why: str) -> Reason:
    return Reason(code, f"{name} capped to {format_amount(name, amount)} {why}")


def _limits(view: WorkloadView, main: Container, target: Resources) -> Resources | None:
    """
    Return what the limits become: as the policy says, but never below a
    request, which the API server refuses, nor below memory at full load.
    """
    chosen = limits_for(container_rule(view.spec.constraints, main.name).limits, main.limits, main.requests, target)
    if chosen is not None:
        return Resources.of({**dict(main.limits.items()), **dict(chosen.items())})
    raised = {n: max(limit, target.get(n)) for n, limit in main.limits.items()}
    if main.limits.has(MEMORY):
        raised[MEMORY] = max(raised[MEMORY], _full_load(view))
    changed = any(raised[n] != main.limits.get(n) for n in raised)
    return Resources.of({**dict(main.limits.items()), **raised}) if changed else None


def _full_load(view: WorkloadView) -> int:
    """Return the bytes at which a limit does not kill a pod at full load, as far as its node's size; 0 if unknown."""
    if view.model is None or view.model.demand.bytes_per_core <= 0:
        return 0
    full = _rounded(min(memory_at(view.model.demand, pod_parallelism(view)), float(MAX_QUANTITY)))
    return min(full, view.largest_node.memory or full)


def _rounded(amount: float) -> int:
    """Round bytes up to a step that keeps shapes few: 16 MiB to 512 MiB, then 64 MiB."""
    step = 16 * MIB if amount <= 512 * MIB else 64 * MIB
    return int(-(-amount // step) * step)
