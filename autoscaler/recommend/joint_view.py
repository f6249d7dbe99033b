"""
What the joint engine knows of one workload: its settings and memory, what was
measured, and how much work one pod can take.

Source: algorithms, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.policy import MpaSpec, SloClass
from autoscaler.model.readings import Sample, Signal, SignalKind
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import CPU, NOTHING
from autoscaler.model.snapshot import DemandModel, WorkloadModel
from autoscaler.model.units import DAY
from autoscaler.model.workload import Workload
from autoscaler.recommend.demand import safe_utilisation

SLOWDOWN = {SloClass.LATENCY_SENSITIVE: 3.0, SloClass.STANDARD: 4.0, SloClass.BATCH: 20.0}
"""How many times slower than on an idle pod a request may be, by class."""
_ABSURD = 1e18
"""No learned amount is so large: the model is damaged."""


class JointParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Settings of the joint engine. The defaults suit most; change `utilisation`
    or `fill` only to move along the frontier between cost and service.

    `utilisation` is the share of a pod's safe load to plan for; `fill` the
    share of its CPU request. `violations` is the share of time in which
    missing the objective is acceptable; `margin_gain` (per minute) and
    `margin_cap` (log) shape the correction when it is missed more often.
    """

    utilisation: Annotated[float, msgspec.Meta(gt=0.0, le=2.0)] = 0.9
    fill: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.88
    violations: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.005
    slow_share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.05
    margin_gain: Annotated[float, msgspec.Meta(ge=0.0, le=10.0)] = 0.02
    margin_cap: Annotated[float, msgspec.Meta(ge=0.0, le=3.0)] = 0.4
    down_window_seconds: Annotated[float, msgspec.Meta(ge=0.0, le=DAY)] = 300.0
    down_share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.04
    level_seconds: Annotated[float, msgspec.Meta(ge=60.0, le=DAY)] = 1800.0
    reactive_seconds: Annotated[float, msgspec.Meta(ge=0.0, le=DAY)] = 60.0
    shape_dwell_seconds: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = 21600.0
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


@lru_cache(maxsize=1 << 16)
def signal_of(workload: str, kind: SignalKind) -> Signal:
    """Return a signal of a workload; one object each, so that its hash is worked out once."""
    return Signal(workload, kind)


def reading_of(view: WorkloadView, kind: SignalKind) -> float | None:
    """Return a measured value of the workload; None where it is missing, or is no finite number of at least 0."""
    found = view.readings.get(signal_of(view.workload.key, kind))
    return found.value if isinstance(found, Sample) and 0 <= found.value < math.inf else None


def lacks_requests(view: WorkloadView) -> bool:
    """
    Tell whether the request rate is missing although its cost is known.

    CPU alone understates what saturated pods are asked for: nothing may shrink by it then.
    """
    if view.model is None or view.model.demand.cores_per_request <= 0:
        return False
    return reading_of(view, SignalKind.REQUESTS) is None


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
