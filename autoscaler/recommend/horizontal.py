"""
How many replicas one metric asks for: the HPA replica calculator on plain values.

Source: Kubernetes 1.37 `pkg/controller/podautoscaler/replica_calculator.go` and
`metrics/utilization.go`. All amounts are in thousandths of the metric's unit
(millicores; bytes x 1000), divisions truncate, replicas round up. Where the
peer's 64-bit and 32-bit numbers overflow, these saturate; where it divides by
zero replicas, the average is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from autoscaler.model.bounds import MAX_REPLICAS
from autoscaler.model.pod import Container, Phase, Pod, PodShape
from autoscaler.model.resources import CPU, HUGEPAGES_PREFIX, MEMORY

_MAX_INT64 = 2**63 - 1
_NO_METRICS = "did not receive metrics for targeted pods (pods might be unready)"
_NO_PODS = "no pods returned by selector while calculating replica count"


class MetricError(ValueError):
    """No proposal can be made from this metric; the text is the peer's own where the peer has the case."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What one pod used, in thousandths (at least 0); `at` is the end of the `window` (seconds) it averages over."""

    milli: int
    at: float = 0.0
    window: float = 0.0


class Tolerance(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How far the ratio of usage to target may be above (`up`) and below (`down`) 1 without a change."""

    up: float = 0.1
    down: float = 0.1

    def holds(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Readiness(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The moment, and how long a starting pod's CPU usage is mistrusted (controller flags, seconds)."""

    now: float
    cpu_initialization_period_seconds: float = 300.0
    initial_readiness_delay_seconds: float = 30.0


class PodGroups(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Pods by what their usage is good for; names in the order of the pods."""

    ready: int
    unready: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class Proposal(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Replicas that a metric asks for, before any policy.

    `usage` is what was compared with the target, in thousandths (an average,
    or the total for a Value target); None where it is undefined because there
    are no replicas to share it. `utilization` is in percent of requests.
    """

    replicas: int
    usage: int | None = None
    utilization: int | None = None


def group_pods(
    pods: Iterable[Pod], usage: Mapping[str, Usage], readiness: Readiness, *, resource: str = ""
) -> PodGroups:
    """
    Sort pods into ready, unready, missing and ignored (`groupPods`).

    Only for cpu does readiness matter: the usage of a starting pod says nothing of load.
    """
    ready = 0
    unready: list[str] = []
    missing: list[str] = []
    ignored: list[str] = []
    for pod in pods:
        if pod.deleted_at is not None or pod.phase is Phase.FAILED:
            ignored.append(pod.name)
            continue
        if pod.phase is Phase.PENDING:
            unready.append(pod.name)
            continue
        measured = usage.get(pod.name)
        if measured is None:
            missing.append(pod.name)
        elif resource == CPU and _is_starting(pod, measured, readiness):
            unready.append(pod.name)
        else:
            ready += 1
    return PodGroups(ready=ready, unready=tuple(unready), missing=tuple(missing), ignored=tuple(ignored))


def propose_by_utilization(
    pods: Sequence[Pod],
    usage: Mapping[str, Usage],
    readiness: Readiness,
    *,
    resource: str,
    target_percent: int,
    current: int,
    container: str = "",
    tolerance: Tolerance,
) -> Proposal:
    """
    Return replicas that bring usage to *target_percent* of requests (`GetResourceReplicas`).

    Requests are read from every pod, also deleted and pending ones; usage of
    pods that are not in *pods* counts as a pod but not in the sums.

    Raises:
        MetricError: no pods, no usable metrics, or a pod without the request.
        ValueError: the target is not above 0.
    """
    _check_target(target_percent)
    groups, kept = _usable(pods, usage, readiness, resource)
    requests = requests_milli(pods, resource, container)
    used = asked = measured = 0
    for name, reading in kept.items():
        request = requests.get(name)
        if request is not None:
            used += reading.milli
            asked += request
            measured += 1
    utilization = _percent(used, asked)
    ratio = utilization / target_percent
    add_unready = bool(groups.unready) and ratio > 1.0
    usage_average = used // measured
    if not add_unready and not groups.missing:
        replicas = current if tolerance.holds(ratio) else _count(ratio * groups.ready)
        return Proposal(replicas=replicas, usage=usage_average, utilization=utilization)
    counted = len(kept)
    if groups.missing and ratio != 1.0:
        asked += sum(requests[name] for name in groups.missing)
        counted += len(groups.missing)
        if ratio < 1.0:
            # A pod that was not measured may be using all it asked for: never shrink on its absence.
            full = max(100, target_percent)
            used += sum(requests[name] * full // 100 for name in groups.missing)
    if add_unready:
        asked += sum(requests[name] for name in groups.unready)
        counted += len(groups.unready)
    replicas = _recount(ratio, _percent(used, asked) / target_percent, counted, tolerance=tolerance, current=current)
    return Proposal(replicas=replicas, usage=usage_average, utilization=utilization)


def propose_by_average(
    pods: Sequence[Pod],
    usage: Mapping[str, Usage],
    readiness: Readiness,
    *,
    target: int,
    current: int,
    resource: str = "",
    tolerance: Tolerance,
) -> Proposal:
    """
    Return replicas that bring the average usage of pods to *target* thousandths.

    `GetRawResourceReplicas` with a *resource*, `GetMetricReplicas` without.

    Raises:
        MetricError: no pods, or no usable metrics.
        ValueError: the target is not above 0.
    """
    goal = _check_target(target)
    groups, kept = _usable(pods, usage, readiness, resource)
    used, counted = sum(reading.milli for reading in kept.values()), len(kept)
    average = min(used // counted, _MAX_INT64)
    ratio = average / goal
    add_unready = bool(groups.unready) and ratio > 1.0
    if not add_unready and not groups.missing:
        replicas = current if tolerance.holds(ratio) else _count(ratio * groups.ready)
        return Proposal(replicas=replicas, usage=average)
    if groups.missing and ratio != 1.0:
        counted += len(groups.missing)
        if ratio < 1.0:
            used += goal * len(groups.missing)
    if add_unready:
        counted += len(groups.unready)
    again = min(used // counted, _MAX_INT64) / goal
    return Proposal(replicas=_recount(ratio, again, counted, tolerance=tolerance, current=current), usage=average)


def propose_by_value(total: int, pods: Iterable[Pod], *, target: int, current: int, tolerance: Tolerance) -> Proposal:
    """
    Return replicas that bring one total to *target*, both in thousandths, taking it to be proportional to ready pods.

    `GetObjectMetricReplicas` and `GetExternalMetricReplicas`.

    Raises:
        MetricError: the total is negative, or there are no pods to multiply.
        ValueError: the target is not above 0.
    """
    usage = _check_total(total)
    ratio = usage / _check_target(target)
    if current == 0:
        return Proposal(replicas=_count(ratio), usage=usage)
    if tolerance.holds(ratio):
        return Proposal(replicas=current, usage=usage)
    seen = list(pods)
    if not seen:
        raise MetricError(f"unable to calculate ready pods: {_NO_PODS}")
    return Proposal(replicas=_count(ratio * sum(pod.is_ready for pod in seen)), usage=usage)


def propose_per_pod(total: int, *, target: int, status_replicas: int, tolerance: Tolerance) -> Proposal:
    """
    Return replicas such that each serves *target* of the total, both in thousandths.

    `GetObjectPerPodMetricReplicas` and `GetExternalPerPodMetricReplicas`.

    Raises:
        MetricError: the total is negative.
        ValueError: the target is not above 0.
    """
    usage, goal = _check_total(total), _check_target(target)
    if status_replicas <= 0:
        return Proposal(replicas=_count(usage / goal))
    sharing = min(status_replicas, MAX_REPLICAS)
    within = tolerance.holds(usage / (float(goal) * sharing))
    # The peer rounds up by adding first: near the 64-bit maximum its average is that maximum.
    average = -(-usage // sharing) if usage <= _MAX_INT64 - (sharing - 1) else _MAX_INT64
    return Proposal(replicas=sharing if within else _count(usage / goal), usage=average)


def requests_milli(pods: Iterable[Pod], resource: str, container: str = "") -> dict[str, int]:
    """
    Return what each pod asks for, in thousandths (`calculatePodRequests`).

    Raises:
        MetricError: the first pod, in order, that has not all the requests.
    """
    requests = {}
    for pod in pods:
        request = _request(pod.shape, resource, container)
        if isinstance(request, str):
            raise MetricError(f"{request} {pod.name}")
        requests[pod.name] = request
    return requests


def sum_series(values: Iterable[int]) -> int:
    """Return the sum of an external metric's series; it stops at the 64-bit maximum, as the peer does."""
    total = 0
    for value in values:
        total += value
        if total > _MAX_INT64:
            return _MAX_INT64
    return max(total, -_MAX_INT64 - 1)


def _is_starting(pod: Pod, measured: Usage, readiness: Readiness) -> bool:
    condition, started = pod.ready, pod.started_at
    if condition is None or started is None:
        return True
    if started + readiness.cpu_initialization_period_seconds > readiness.now:
        return condition.status == "False" or measured.at < condition.since + measured.window
    # Past that period, mistrust only a pod that has never been ready.
    return condition.status == "False" and started + readiness.initial_readiness_delay_seconds > condition.since


def _usable(
    pods: Sequence[Pod], usage: Mapping[str, Usage], readiness: Readiness, resource: str
) -> tuple[PodGroups, Mapping[str, Usage]]:
    if not pods:
        raise MetricError(_NO_PODS)
    groups = group_pods(pods, usage, readiness, resource=resource)
    dropped = {*groups.unready, *groups.ignored}
    kept = {name: reading for name, reading in usage.items() if name not in dropped} if dropped else usage
    if not kept:
        raise MetricError(_NO_METRICS)
    return groups, kept


def _recount(ratio: float, again: float, counted: int, *, tolerance: Tolerance, current: int) -> int:
    """Apply the ratio found with assumptions for unmeasured pods, unless it contradicts the one found without."""
    if tolerance.holds(again) or (ratio < 1.0 < again) or (again < 1.0 < ratio):
        return current
    replicas = _count(again * counted)
    if (again < 1.0 and replicas > current) or (again > 1.0 and replicas < current):
        return current
    return replicas


def _percent(used: int, asked: int) -> int:
    if asked <= 0:
        raise MetricError("no metrics returned matched known pods")
    return min(used * 100 // asked, MAX_REPLICAS)


def _count(replicas: float) -> int:
    return max(0, math.ceil(replicas)) if replicas < MAX_REPLICAS else MAX_REPLICAS


def _check_target(target: int) -> int:
    if target <= 0:
        raise ValueError(f"a target must be above 0, got {target}")
    return min(target, _MAX_INT64)


def _check_total(total: int) -> int:
    if total < 0:
        raise MetricError(f"the metric is negative ({total} thousandths): no size follows from it")
    return min(total, _MAX_INT64)


@lru_cache(maxsize=1 << 14)
def _request(shape: PodShape, resource: str, container: str) -> int | str:
    """Return the request in thousandths, or what is missing (to be followed by the pod's name)."""
    milli = 1 if resource == CPU else 1000
    if not container and _has_pod_level(shape):
        effective = _effective_request(shape, resource)
        return f"missing pod-level request for {resource} in Pod" if effective is None else effective * milli
    sidecars = (each for each in shape.init_containers if each.restart_always)
    total, found = 0, False
    for each in (*shape.containers, *sidecars):
        if container and each.name != container:
            continue
        if not each.requests.has(resource):
            return f"missing request for {resource} in container {each.name} of Pod"
        total, found = total + each.requests.get(resource), True
    if container and not found:
        return f"container {container} not found in Pod"
    return total * milli


def _has_pod_level(shape: PodShape) -> bool:
    level = shape.pod_requests
    return level is not None and any(
        name in (CPU, MEMORY) or name.startswith(HUGEPAGES_PREFIX) for name in level.names()
    )


def _effective_request(shape: PodShape, resource: str) -> int | None:
    """Return what the pod as a whole asks for, overhead included; None where nothing names the resource."""
    if shape.pod_requests is not None and shape.pod_requests.has(resource):
        return shape.pod_requests.get(resource) + shape.overhead.get(resource)
    everything: tuple[Container, ...] = (*shape.containers, *shape.init_containers)
    if not any(each.requests.has(resource) for each in everything) and not shape.overhead.has(resource):
        return None
    running = peak = 0
    for each in shape.init_containers:
        amount = each.requests.get(resource)
        if each.restart_always:
            running += amount
            peak = max(peak, running)
        else:
            peak = max(peak, running + amount)
    running += sum(each.requests.get(resource) for each in shape.containers)
    return max(peak, running) + shape.overhead.get(resource)
