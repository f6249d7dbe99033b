"""
Requests of the joint engine: CPU by the shape that the slow loop chose, memory
for all the work a pod could do at once.

Source: algorithms-2, section 3: sizing memory for full parallelism gave no
kills for 1-4 % of cost; where that is not known, the peak seen plus 15 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from autoscaler.model.pod import Container
from autoscaler.model.readings import Sample, Signal, SignalKind
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.model.snapshot import DemandModel
from autoscaler.model.spec import Quantity
from autoscaler.model.units import MIB

if TYPE_CHECKING:
    from autoscaler.interfaces import WorkloadView
    from autoscaler.recommend.joint import JointMemory, JointParams

_OOM_RATIO, _OOM_BYTES = 1.2, 100 * MIB
_FULL_MARGIN, _PEAK_MARGIN, _KEEP_ABOVE = 1.12, 1.15, 1.1
_SHRINK_BAND = 1.25
"""Memory shrinks only when it is this much above what is needed: a change costs a restart or a resize."""


def size(
    view: WorkloadView, params: JointParams, memory: JointMemory
) -> tuple[tuple[ContainerSize, ...], JointMemory, tuple[Reason, ...], bool]:
    """
    Return the sizes of the main container (all others keep theirs), the new
    memory, the reasons, and whether it is urgent (a kill happened).
    """
    main = main_container(view)
    if main is None:
        return (), memory, (), False
    memory, killed = _note_kills(view, memory)
    controlled = view.spec.constraints.container_controlled_resources or (CPU, MEMORY)
    target: dict[str, int] = {}
    reasons: list[Reason] = []
    settled = view.now - memory.sized_at >= params.shape_dwell_seconds or not memory.sized_at
    if params.size_cpu and CPU in controlled:
        _size_cpu(view, main, target, reasons, settled=settled)
    if params.size_memory and MEMORY in controlled:
        wanted, why = _memory_change(view, main, memory, settled=settled)
        if why:
            target[MEMORY] = wanted
            reasons.append(why)
    if not target:
        return (), memory, tuple(reasons), False
    capped = Resources.of(_capped(target, main, view, reasons))
    if any(capped.get(name) != main.requests.get(name) for name in capped.names()):
        memory = msgspec.structs.replace(memory, sized_at=view.now)
    sized = ContainerSize(
        container=main.name, target=capped, lower=capped, upper=capped, uncapped=Resources.of(target),
        limits=_raised_limits(main, capped),
    )  # fmt: skip
    return (sized,), memory, tuple(reasons), killed


def main_container(view: WorkloadView) -> Container | None:
    """Return the container that does the work: the one with the largest CPU request, then by name."""
    containers = view.workload.template.containers
    return max(containers, key=lambda c: (c.requests.cpu, c.requests.memory, c.name), default=None)


def needed_memory(view: WorkloadView, memory: JointMemory) -> int:
    """Return the bytes one pod of the workload needs, 0 where nothing is known."""
    from autoscaler.recommend.joint import pod_parallelism

    demand = view.model.demand if view.model else None
    peak = view.readings.get(Signal(view.workload.key, SignalKind.MEMORY_PEAK))
    seen = peak.value * _KEEP_ABOVE if isinstance(peak, Sample) else 0.0
    if demand is None:
        return int(max(seen, memory.memory_floor)) if memory.memory_floor else 0
    return _rounded(max(full_memory(demand, pod_parallelism(view)), seen, memory.memory_floor))


def full_memory(demand: DemandModel, parallelism: float) -> float:
    """Return the bytes a pod needs when it does all the work it can at once, by what was learned."""
    if demand.bytes_per_core <= 0:
        return demand.peak_bytes * _PEAK_MARGIN
    full = (demand.base_bytes + demand.bytes_per_core * parallelism) * _FULL_MARGIN
    return max(full, demand.peak_bytes * _KEEP_ABOVE)


def _size_cpu(
    view: WorkloadView, main: Container, target: dict[str, int], reasons: list[Reason], *, settled: bool
) -> None:
    shape = view.model.shape if view.model else None
    if shape is None or not settled:
        return
    others = sum(c.requests.cpu for c in view.workload.template.containers if c is not main)
    wanted = max(shape.cpu - others, 10)
    if wanted != main.requests.cpu:
        target[CPU] = wanted
        runner_up = f"; next best {shape.runner_up}" if shape.runner_up else ""
        message = f"{wanted}m a pod serves the day's load at {shape.usd_per_hour * 24:.2f} USD/day{runner_up}"
        reasons.append(Reason(Code.SHAPE_CHEAPER, message))


def _memory_change(
    view: WorkloadView, main: Container, memory: JointMemory, *, settled: bool
) -> tuple[int, Reason | None]:
    """Return the memory the main container should ask for and why; no reason means leave it."""
    needed = needed_memory(view, memory)
    if needed <= 0:
        return 0, None
    others = sum(c.requests.memory for c in view.workload.template.containers if c is not main)
    needed, now = max(needed - others, 16 * MIB), main.requests.memory
    message = f"memory needs {needed // MIB}Mi at full load, {now // MIB}Mi is asked for"
    if now < needed:
        code = Code.OOM_KILLED if memory.memory_floor >= needed else Code.USAGE_ABOVE_REQUEST
        return needed, Reason(code, message)
    seen = isinstance(view.readings.get(Signal(view.workload.key, SignalKind.MEMORY_PEAK)), Sample)
    if now > needed * _SHRINK_BAND and settled and seen:
        return needed, Reason(Code.USAGE_BELOW_REQUEST, message)
    return 0, None


def _note_kills(view: WorkloadView, memory: JointMemory) -> tuple[JointMemory, bool]:
    """Raise the floor after a kill, as VPA does: the larger of +20 % and +100 MiB over what was allowed."""
    newest, floor = memory.oom_at, memory.memory_floor
    for pod in view.pods:
        for end in pod.terminations:
            if end.reason == "OOMKilled" and end.finished_at > memory.oom_at:
                held = next(
                    (c.limits.memory or c.requests.memory for c in pod.shape.containers if c.name == end.container), 0
                )
                floor = max(
                    floor, int(max(held * _OOM_RATIO, held + _OOM_BYTES if held > 4 * _OOM_BYTES else held * 1.25))
                )
                newest = max(newest, end.finished_at)
    if newest == memory.oom_at:
        return memory, False
    return msgspec.structs.replace(memory, oom_at=newest, memory_floor=floor), True


def _capped(target: dict[str, int], main: Container, view: WorkloadView, reasons: list[Reason]) -> dict[str, int]:
    """Apply the container's own bounds, then the global ones, then what the largest node can hold."""
    constraints = view.spec.constraints
    own = next((c for c in constraints.container if c.name == main.name), None)
    own = own or next((c for c in constraints.container if c.name == "*"), None)
    result = {}
    for name, amount in target.items():
        low, high = _bound(name, own.requests if own else None), 0
        if own and own.requests and name in own.requests.max_allowed:
            high = _amount(name, own.requests.max_allowed[name])
        elif constraints.global_ and constraints.global_.requests and name in constraints.global_.requests.max_allowed:
            high = _amount(name, constraints.global_.requests.max_allowed[name])
        capped = max(amount, low)
        capped = min(capped, high) if high else capped
        if capped != amount:
            reasons.append(Reason(Code.CAPPED_BY_POLICY, f"{name} capped to {capped} from {amount} by the policy"))
        room = view.largest_node.get(name)
        if room and capped > room:
            reasons.append(Reason(Code.CAPPED_BY_NODE, f"{name} capped to {room}: no node is larger"))
            capped = room
        result[name] = capped
    return result


def _bound(name: str, requests: object) -> int:
    low = getattr(requests, "min_allowed", {}).get(name)
    return _amount(name, low) if low is not None else 0


def _amount(name: str, quantity: Quantity) -> int:
    return quantity.milli if name == CPU else quantity.whole


def _raised_limits(main: Container, target: Resources) -> Resources | None:
    """A request above its limit is refused by the API server: raise the limit with it, never lower one."""
    raised = {n: max(limit, target.get(n)) for n, limit in main.limits.items() if target.has(n)}
    changed = any(raised[n] != main.limits.get(n) for n in raised)
    return Resources.of({**dict(main.limits.items()), **raised}) if changed else None


def _rounded(amount: float) -> int:
    """Round bytes up to a step that keeps shapes few: 16 MiB to 512 MiB, then 64 MiB."""
    step = 16 * MIB if amount <= 512 * MIB else 64 * MIB
    return int(-(-amount // step) * step)
