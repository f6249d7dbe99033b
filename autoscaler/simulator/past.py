"""
What metrics would have recorded before the run: the load series under a plain HPA.

Used for the metric history only; nothing of it decides how the run goes.
"""

from __future__ import annotations

import math

import numpy as np

from autoscaler.model.arrays import Floats
from autoscaler.simulator.demand import safe_utilisation, waiting
from autoscaler.simulator.spec import Service, WorldSpec

_HPA_TARGET = 0.7
_WINDOW_SECONDS, _LAG_SECONDS = 300.0, 120.0
_NOISE = 0.01


def replicas_before(service: Service, load: Floats, step_seconds: float) -> Floats:
    """
    Return the replicas that an HPA at 70 % of the initial request would have run.

    It holds the highest wish of the last five minutes and acts two minutes late.
    """
    if service.replica_series is not None:
        return service.replica_series[: len(load)].astype(np.float64)
    if not service.scalable or service.max_replicas == service.min_replicas:
        return np.full(len(load), float(service.replicas))
    per_pod = max(_HPA_TARGET * service.pod_requests.cpu / 1000, 1e-3)
    wish = np.ceil(_cores_per_load(service) * load / per_pod)
    wish = np.clip(wish, max(service.min_replicas, 1), max(service.max_replicas, 1))
    highest = _trailing_max(wish, max(1, round(_WINDOW_SECONDS / step_seconds)))
    lag = min(round(_LAG_SECONDS / step_seconds), len(highest))
    return np.concatenate([np.full(lag, highest[0]), highest[: len(highest) - lag]]) if lag else highest


def past_of(service: Service, spec: WorldSpec, steps: int, *, noise: Floats) -> dict[str, Floats]:
    """
    Return the first *steps* values of each metric of a service, by field name of `Measurements`.

    *noise* has one standard normal value a step.
    """
    given = service.requests if service.requests is not None else service.cores
    load = np.zeros(steps) if given is None else given[:steps].astype(np.float64)
    if not steps:
        return {}
    replicas = np.maximum(replicas_before(service, load, spec.step_seconds), 0.0)
    pods = np.maximum(replicas, 1.0)
    idle = 0.0 if service.cores is not None else service.idle_cores
    wanted = _cores_per_load(service) * load / pods + idle
    used = np.minimum(wanted, service.parallelism)
    stretch = 1 + waiting(np.full(steps, service.parallelism), wanted / service.parallelism)
    too_slow = wanted / service.parallelism > safe_utilisation(service.parallelism, service.slowdown)
    return {
        "load": load,
        "ready_cores": used * replicas * np.maximum(1 + _NOISE * noise, 0.0),
        "ready": replicas,
        "slow": np.where((load > 0) & too_slow, 1.0, 0.0),
        "latency": np.where(load > 0, stretch * service.service_seconds, np.nan),
        "throttled": np.zeros(steps),
        "peak_bytes": _peak_bytes(service, load / pods, spec.step_seconds) * (1 + _NOISE * np.abs(noise)),
    }


def _cores_per_load(service: Service) -> float:
    return 1.0 if service.cores is not None else service.cores_per_request


def _peak_bytes(service: Service, rps: Floats, step_seconds: float) -> Floats:
    """Return the working set of a pod: what its load needs, falling no faster than its half-life allows."""
    if service.bytes_used is not None:
        return service.bytes_used[: len(rps)].astype(np.float64)
    most = service.parallelism / max(_cores_per_load(service), 1e-12)
    target = np.maximum(service.base_bytes + service.bytes_per_rps * np.minimum(rps, most), 1.0)
    if service.memory_half_life_seconds <= 0:
        return target
    # max over k <= t of target_k * decay^(t - k), in logarithms a running maximum.
    rate = math.log(2.0) * step_seconds / service.memory_half_life_seconds
    grown = rate * np.arange(len(rps))
    result: Floats = np.exp(np.maximum.accumulate(np.log(target) + grown) - grown)
    return result


def _trailing_max(values: Floats, window: int) -> Floats:
    padded = np.concatenate([np.full(window - 1, values[0]), values])
    result: Floats = np.lib.stride_tricks.sliding_window_view(padded, window).max(axis=1)
    return result
