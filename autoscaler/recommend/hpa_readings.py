"""
From readings to thousandths: what the metrics clients of the HPA do.

Source: Kubernetes 1.37 `pkg/controller/podautoscaler/metrics/client.go`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from autoscaler.model.pod import Pod
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Sample
from autoscaler.recommend.horizontal import MetricError, Usage, sum_series

_LARGEST = 1e300
"""Keeps products with a unit finite; the calculator saturates far below."""


def pod_usage(
    reading: Reading, pods: Iterable[Pod], *, api: str, unit: int = 1, container: str = ""
) -> dict[str, Usage]:
    """
    Return usage in thousandths by pod, summed over containers or of *container* alone.

    *unit* is how many thousandths one of the samples' is: 1000 for bytes. A pod
    counts as not measured if a sample is negative or one of its containers has
    none (stricter than the peer, which adds what it is given).

    Raises:
        MetricError: nothing was read; names the *api*.
    """
    if not isinstance(reading, PodSamples) or not reading.samples:
        raise MetricError(_why_missing(reading, api))
    found: dict[str, Usage] = {}
    dropped = set() if container else _partly_measured(pods, reading.samples)
    for sample in reading.samples:
        if container and sample.container not in (container, ""):
            continue
        if sample.value < 0:
            dropped.add(sample.pod)
        milli, at, window = sample.value * unit, sample.at, sample.window
        before = found.get(sample.pod)
        if before is not None:
            milli, at, window = before.milli + milli, min(before.at, at), max(before.window, window)
        found[sample.pod] = Usage(milli, at, window)
    for pod in dropped:
        found.pop(pod, None)
    return found


def total_usage(reading: Reading, *, api: str, unit: int = 1) -> int:
    """
    Return one total in thousandths, rounded up; series are added.

    *unit* is how many thousandths one of the reading's is: 1000 for plain units.

    Raises:
        MetricError: nothing usable was read; names the *api*.
    """
    if isinstance(reading, Sample):
        if not math.isfinite(reading.value):
            raise MetricError(f"{api} returned {reading.value}, which is not a finite number")
        return math.ceil(max(-_LARGEST, min(reading.value, _LARGEST)) * unit)
    if isinstance(reading, Missing) or not reading.samples:
        raise MetricError(_why_missing(reading, api))
    return sum_series(sample.value * unit for sample in reading.samples)


def _why_missing(reading: Reading, api: str) -> str:
    if isinstance(reading, Missing) and reading.reason is not MissingReason.ABSENT:
        return f"unable to fetch metrics from {api}: {reading.detail or reading.reason.value}"
    return f"no metrics returned from {api}"


def _partly_measured(pods: Iterable[Pod], samples: Iterable[PodSample]) -> set[str]:
    several = [pod for pod in pods if len(pod.shape.containers) + len(pod.shape.init_containers) > 1]
    if not several:
        return set()
    seen = {(sample.pod, sample.container) for sample in samples}
    return {
        pod.name
        for pod in several
        if (pod.name, "") not in seen and any((pod.name, each.name) not in seen for each in pod.shape.containers)
    }
