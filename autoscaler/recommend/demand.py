"""
How much work there is, and how much of it one pod can take.

Demand is absolute (cores, bytes, requests), never a share of a request that
the vertical side may change: that is what keeps the two sides from fighting.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from autoscaler.model.arrays import Floats
from autoscaler.model.snapshot import DemandModel

LADDER = (50, 100, 150, 250, 350, 500, 750, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 12_000, 16_000)
"""Millicores that pods are sized to; a step is about 40 %, which gives hysteresis and few classes."""
_COLLINEAR = 30.0
"""Condition number of [requests, pods] above which a fit cannot tell them apart."""
_MEMORY_QUANTILE = 0.98
_SOME = 0.1
"""Fewer ready pods than this on average are none."""
_ABSURD = 1e18
"""No series of cores, requests, pods or bytes is so large; squares of it would overflow."""
_ROUNDS = 40


def queue_wait(servers: float, utilisation: float) -> float:
    """
    Return the mean wait in service times (Sakasegawa's approximation of M/M/c).

    >>> round(queue_wait(1, 0.5), 3), round(queue_wait(4, 0.9), 2)
    (1.0, 1.99)
    """
    if not utilisation > 0 or not servers > 0:
        return 0.0
    rho = min(utilisation, 0.995)
    return float(rho ** (math.sqrt(2 * (servers + 1)) - 1) / (servers * (1 - rho)))


@lru_cache(maxsize=4096)
def safe_utilisation(parallelism: float, slowdown: float) -> float:
    """
    Return the highest share (0-0.97) of *parallelism* cores at which requests
    take at most *slowdown* times their service time.

    The more a pod can do at once, the fuller it may run (algorithms, section 2).

    >>> [round(safe_utilisation(p, 3.0), 2) for p in (1, 2, 4, 8)]
    [0.67, 0.81, 0.9, 0.95]
    """
    allowed = max(slowdown, 1.01) - 1
    low, high = 0.0, 0.97
    if queue_wait(parallelism, high) <= allowed:
        return high
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if queue_wait(parallelism, middle) <= allowed else (low, middle)
    return low


def fit_demand(
    cpu: Floats, requests: Floats, ready: Floats, memory: Floats, *, parallelism: float = 0.0
) -> DemandModel:
    """
    Fit what the pods of one workload use.

    All arrays are of one length, one value a step: cores used by all pods,
    requests a second, ready pods, the largest working set in bytes. NaN marks
    a gap; *requests* all NaN means there is no such metric, and work is CPU.
    Values that are infinite or negative count as gaps.
    """
    cpu, requests, ready, memory = (measured(series) for series in (cpu, requests, ready, memory))
    known = np.isfinite(cpu) & np.isfinite(ready) & (ready > _SOME)
    rates, cores_per_request, idle = np.isfinite(requests), 0.0, 0.0
    weak = True
    usable = known & rates
    if np.count_nonzero(usable) >= 30 and float(np.max(requests[usable])) > 0:
        cores_per_request, idle, weak = _non_negative_fit(requests[usable], ready[usable], cpu[usable])
    base, slope, peak = _fit_memory(cpu, ready, memory, idle=idle)
    per_pod = cpu[known] / ready[known]
    seen = float(np.max(per_pod)) if len(per_pod) else 0.0
    return DemandModel(
        cores_per_request=cores_per_request,
        idle_cores=idle,
        base_bytes=base,
        bytes_per_core=slope,
        peak_bytes=peak,
        parallelism=parallelism if parallelism > 0 else seen,
        weak=weak,
        samples=int(np.count_nonzero(known)),
    )


def measured(series: Floats) -> Floats:
    """Return a series with NaN for what no measurement can be: infinite, negative, absurdly large."""
    return np.where(np.isfinite(series) & (series >= 0) & (series < _ABSURD), series, np.nan)


def _non_negative_fit(load: Floats, pods: Floats, cpu: Floats) -> tuple[float, float, bool]:
    """Least squares of cpu = c * load + o * pods with c, o >= 0; weak where the two move together."""
    columns = np.column_stack((load / load.max(), pods / pods.max()))
    weak = float(np.linalg.cond(columns)) > _COLLINEAR
    (c, o), *_ = np.linalg.lstsq(columns, cpu, rcond=None)
    slope, idle = float(c) / float(load.max()), float(o) / float(pods.max())
    if idle < 0 or slope < 0:
        slope = float(np.dot(load, cpu) / max(np.dot(load, load), 1e-12))
        idle = 0.0
    return max(slope, 0.0), idle, weak


def _fit_memory(cpu: Floats, ready: Floats, memory: Floats, *, idle: float) -> tuple[float, float, float]:
    """Return base bytes, bytes per core of work and the peak: an upper line (quantile) through the daily cloud."""
    usable = np.isfinite(memory) & np.isfinite(cpu) & np.isfinite(ready) & (ready > _SOME)
    if np.count_nonzero(usable) < 30:
        peak = float(np.nanmax(memory)) if np.any(np.isfinite(memory)) else 0.0
        return peak, 0.0, peak
    work = np.maximum(cpu[usable] / ready[usable] - idle, 0.0)
    used = memory[usable]
    spread = float(np.std(work))
    slope = 0.0
    if spread > 1e-6:
        slope = max(float(np.mean((work - work.mean()) * (used - used.mean())) / spread**2), 0.0)
    base = float(np.quantile(used - slope * work, _MEMORY_QUANTILE))
    return max(base, 0.0), slope, float(np.max(used))
