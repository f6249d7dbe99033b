"""
Which requests each workload's pods should have, at the prices of this cluster.

One linear programme over replicas × shape options and node counts in a few
parts of the day; its duals are what a core, a GiB and a pod slot are worth
(algorithms, section 6). Shapes change over hours, so this runs on the slow loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from autoscaler.model.arrays import Codes, Floats
from autoscaler.model.node import NodeGroup
from autoscaler.model.resources import PODS
from autoscaler.model.snapshot import DemandModel, Prices, ShapeOption
from autoscaler.model.units import GIB
from autoscaler.recommend.demand import LADDER, safe_utilisation
from autoscaler.recommend.joint_size import requested_memory

_FILL = 0.93
"""Share of node capacity that packing fills in practice (algorithms, section 6.1)."""
_ADOPT_BELOW = 0.92
"""A shape is adopted when it costs less than this share of the present one."""
_POD_START_USD = 0.002
_ABSURD = 1e15
_ALONE_SHARE = 0.5
"""Weight of what a pod costs when only its like are on a node, beside the duals, when shapes are compared."""


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """
    One workload as the programme sees it. `peaks` are cores of work in equal
    parts of the day; `cpu` is the present request in millicores; `fixed` keeps that request and only adds to the load.
    """

    workload: str
    peaks: tuple[float, ...]
    parallelism: float
    slowdown: float
    demand: DemandModel = DemandModel()
    cpu: int
    memory: int = 0
    """Bytes a pod asks for now, where nothing was learned of its memory."""
    low: int = 1
    high: int = 2_147_483_647
    utilisation: float = 0.9
    fill: float = 0.88
    fixed: bool = False


class Shapes(msgspec.Struct, frozen=True, kw_only=True):
    """Chosen shapes by workload, and the prices they were chosen at."""

    chosen: tuple[tuple[str, ShapeOption], ...] = ()
    prices: Prices = Prices()


class _Option(msgspec.Struct, frozen=True, kw_only=True):
    owner: int
    cpu: int
    memory: int
    pods: tuple[int, ...]


def choose_shapes(sizings: Sequence[Sizing], groups: Sequence[NodeGroup]) -> Shapes:
    """
    Return the cheapest shape of each workload and the shadow prices.

    Without workloads or groups: nothing. A workload whose figures are not
    finite, or that no option can serve within its bounds, gets no shape.

    Raises:
        ValueError: the workloads' `peaks` differ in length.
    """
    sizings = [sizing for sizing in sizings if _is_sound(sizing)]
    if len({len(sizing.peaks) for sizing in sizings}) > 1:
        raise ValueError("all workloads must have peaks for the same parts of the day")
    machines = _machines(groups)
    options = [option for owner, sizing in enumerate(sizings) for option in _options(owner, sizing, machines)]
    if not len(machines) or not options:
        return Shapes()
    parts = len(sizings[0].peaks)
    duals = _solve(options, machines, workloads=len(sizings), parts=parts)
    if duals is None:
        return Shapes()
    costs = np.array([_cost(option, duals, machines) for option in options])
    return Shapes(chosen=_choices(sizings, options, costs), prices=_prices(duals))


def _is_sound(sizing: Sizing) -> bool:
    demand = sizing.demand
    learned = (demand.idle_cores, demand.base_bytes, demand.bytes_per_core, demand.peak_bytes)
    own = (sizing.parallelism, sizing.memory, sizing.cpu, sizing.low)
    return bool(sizing.peaks) and all(0 <= number < _ABSURD for number in (*sizing.peaks, *own, *learned))


def cores_at(sizing: Sizing, cpu: int) -> float:
    """Return the cores of work to plan for a pod of *cpu* millicores."""
    safe = safe_utilisation(round(sizing.parallelism, 3), sizing.slowdown) * sizing.parallelism
    return min(sizing.utilisation * safe, sizing.fill * cpu / 1000) - sizing.demand.idle_cores


def memory_of(sizing: Sizing, cpu: int) -> int:
    """Return the bytes that a pod of *cpu* millicores asks for."""
    learned = requested_memory(sizing.demand, max(cores_at(sizing, cpu), 0.0), sizing.parallelism)
    return math.ceil(learned) if learned > 0 else sizing.memory


def pods_for(sizing: Sizing, cpu: int) -> tuple[int, ...]:
    """Return how many pods of *cpu* millicores each part of the day needs; empty where it cannot be done."""
    usable = cores_at(sizing, cpu)
    if usable <= 0.02:
        return ()
    pods = tuple(min(max(sizing.low, math.ceil(peak / usable - 1e-9)), 10**6) for peak in sizing.peaks)
    return pods if max(pods) <= max(sizing.high, sizing.low) else ()


def _options(owner: int, sizing: Sizing, machines: Floats) -> list[_Option]:
    steps = [] if sizing.fixed else [step for step in LADDER if step <= max(sizing.parallelism * 1000, LADDER[1])]
    found = []
    for cpu in sorted({*steps, sizing.cpu} if sizing.cpu > 0 else steps):
        pods = pods_for(sizing, cpu)
        if not pods and cpu == sizing.cpu:
            # What is there must stay representable, however poor.
            pods = tuple(min(max(sizing.low, 1), sizing.high) for _ in sizing.peaks)
        option = _Option(owner=owner, cpu=cpu, memory=memory_of(sizing, cpu), pods=pods)
        if pods and (cpu == sizing.cpu or _fits(option, machines)):
            found.append(option)
    return found


def _fits(option: _Option, machines: Floats) -> bool:
    size = (option.cpu / 1000, option.memory / GIB, 1.0)
    return bool(np.any(np.all(machines[:, :3] >= size, axis=1)))


def _machines(groups: Sequence[NodeGroup]) -> Floats:
    """Return [cores, GiB, pods, price] of each distinct machine on offer that no other beats in everything."""
    rows = set()
    for group in groups:
        room = group.template.allocatable - group.template.overhead
        if group.usd_per_hour > 0 and room.cpu > 0 and room.memory > 0 and group.max_size > 0:
            rows.add((room.cpu / 1000, room.memory / GIB, float(room.get(PODS, 110)), group.usd_per_hour))
    table = np.array(sorted(rows), dtype=np.float64).reshape(-1, 4)
    keep = [
        row
        for row, machine in enumerate(table)
        if not np.any(
            np.all(table[:, :3] >= machine[:3], axis=1) & (table[:, 3] <= machine[3]) & np.any(table != machine, axis=1)
        )
    ]
    return np.asarray(table[keep])


def _solve(options: Sequence[_Option], machines: Floats, *, workloads: int, parts: int) -> Floats | None:
    """
    Return the duals as parts x [core, GiB, pod] in USD an hour, None where the solver fails.

    Rows: capacity less demand >= 0 for each part and resource; one shape a workload.
    """
    import highspy

    new_solver: Any = highspy.Highs
    solver = new_solver()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    rows = 3 * parts
    # A workload without any option must not make the others' programme infeasible.
    served = np.zeros(workloads)
    served[[option.owner for option in options]] = 1.0
    lower = np.concatenate((np.zeros(rows), served))
    upper = np.concatenate((np.full(rows, highspy.kHighsInf), served))
    nothing = np.zeros(0, dtype=np.int32)
    solver.addRows(rows + workloads, lower, upper, 0, nothing, nothing, np.zeros(0))
    _add_options(solver, options, rows=rows)
    _add_machines(solver, machines, parts=parts)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    duals = np.asarray(solver.getSolution().row_dual)[:rows].reshape(parts, 3)
    return np.asarray(np.maximum(duals, 0.0) * parts, dtype=np.float64)


def _add_options(solver: Any, options: Sequence[_Option], *, rows: int) -> None:
    parts = rows // 3
    pods = np.array([option.pods for option in options], dtype=np.float64)
    cores = np.array([option.cpu for option in options]) / 1000
    memory = np.array([option.memory for option in options]) / GIB
    churn = np.abs(pods - np.roll(pods, 1, axis=1)).sum(axis=1) * _POD_START_USD / 24
    values = np.empty((len(options), rows + 1))
    values[:, 0:rows:3] = -pods * cores[:, None]
    values[:, 1:rows:3] = -pods * memory[:, None]
    values[:, 2:rows:3] = -pods
    values[:, rows] = 1.0
    index = np.empty((len(options), rows + 1), dtype=np.int32)
    index[:, :rows] = np.arange(3 * parts)
    index[:, rows] = rows + np.array([option.owner for option in options])
    _add_columns(solver, cost=churn, index=index, values=values)


def _add_machines(solver: Any, machines: Floats, *, parts: int) -> None:
    for part in range(parts):
        index = np.tile(np.arange(3 * part, 3 * part + 3, dtype=np.int32), (len(machines), 1))
        _add_columns(solver, cost=machines[:, 3] / parts, index=index, values=machines[:, :3] * (_FILL, _FILL, 1.0))


def _add_columns(solver: Any, *, cost: Floats, index: Codes, values: Floats) -> None:
    count, width = index.shape
    starts = np.arange(0, count * width, width, dtype=np.int32)
    infinite = np.full(count, 1e30)
    solver.addCols(count, cost, np.zeros(count), infinite, count * width, starts, index.ravel(), values.ravel())


def _cost(option: _Option, duals: Floats, machines: Floats) -> float:
    """
    Return USD an hour of serving the day with an option.

    Half at the prices of each part of the day, half as if each pod had only its
    like for company: duals sit on kinks (memory is often free at the margin)
    and know no remainders, which a small cluster cannot fill.
    """
    pods = np.array(option.pods, dtype=np.float64)
    size = np.array([option.cpu / 1000, option.memory / GIB, 1.0])
    fluid = float(np.mean(pods * (duals @ size)))
    fitting = np.floor(machines[:, :3] / np.maximum(size, 1e-9)).min(axis=1)
    each = np.where(fitting > 0, machines[:, 3] / np.maximum(fitting, 1.0), np.inf).min()
    alone = float(np.mean(pods)) * float(each) if np.isfinite(each) else fluid
    churn = float(np.abs(pods - np.roll(pods, 1)).sum()) * _POD_START_USD / 24
    return (1 - _ALONE_SHARE) * fluid + _ALONE_SHARE * alone + churn


def _choices(
    sizings: Sequence[Sizing], options: Sequence[_Option], costs: Floats
) -> tuple[tuple[str, ShapeOption], ...]:
    by_owner: dict[int, list[tuple[float, int]]] = {}
    for option, cost in zip(options, costs, strict=True):
        by_owner.setdefault(option.owner, []).append((float(cost), option.cpu))
    chosen = []
    for owner, sizing in enumerate(sizings):
        ranked = sorted(by_owner.get(owner, ()))
        if not ranked or sizing.fixed:
            continue
        best = ranked[0]
        present = next((entry for entry in ranked if entry[1] == sizing.cpu), None)
        if present is not None and pods_for(sizing, sizing.cpu) and best[0] > _ADOPT_BELOW * present[0]:
            best = present
        others = [entry for entry in ranked if entry[1] != best[1]]
        runner_up = f"{others[0][1]}m at {others[0][0] * 24:.2f} USD/day" if others else ""
        shape = ShapeOption(cpu=best[1], memory=memory_of(sizing, best[1]), usd_per_hour=best[0], runner_up=runner_up)
        chosen.append((sizing.workload, shape))
    return tuple(chosen)


def _prices(duals: Floats) -> Prices:
    core, gib, pod = (float(value) for value in duals.mean(axis=0))
    return Prices(usd_per_core_hour=core, usd_per_gib_hour=gib, usd_per_pod_hour=pod)
