"""
Which readings count: what is too old is missing, and too few measured pods are no ground to shrink on.

`signals.staleAfter` and `signals.minCoverage` of the policy that governs a
workload are kept here, once, for all engines. Engines that reproduce a peer
have its own rules for pods that were not measured; only age counts for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.policy import Signals
from autoscaler.model.readings import Missing, MissingReason, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.units import format_duration
from autoscaler.planning.effective import Effective

_BY_POD = (SignalKind.POD_CPU, SignalKind.POD_MEMORY, SignalKind.PODS_METRIC)


def usable_readings(
    readings: Mapping[Signal, Reading], governed: Mapping[str, Effective], *, now: float
) -> Mapping[Signal, Reading]:
    """Return *readings* with those Missing, reason Stale, that are older than their workload's policy lets them be."""
    found: dict[Signal, Reading] = {}
    for signal, reading in readings.items():
        effective = governed.get(signal.workload)
        if effective is None or isinstance(reading, Missing):
            found[signal] = reading
        else:
            found[signal] = _fresh(reading, now=now, seconds=effective.rules.signals.stale_after.seconds)
    return found


def held_for_coverage(
    advice: Recommendation, view: WorkloadView, signals: Iterable[Signal], rules: Signals
) -> Recommendation:
    """Return *advice* held, so that nothing shrinks by it, where a signal of single pods covers too few Ready pods."""
    asked = [signal for signal in signals if signal.kind in _BY_POD]
    if not asked:
        return advice
    ready = {pod.name for pod in view.pods if pod.is_ready}
    for signal in asked:
        reading = view.readings.get(signal)
        seen = {sample.pod for sample in reading.samples} if isinstance(reading, PodSamples) else set()
        measured = len(ready & seen)
        if measured < rules.min_coverage.number * len(ready):
            least = f"signals.minCoverage is {rules.min_coverage.text}"
            message = f"{signal.kind.value}: {measured} of {len(ready)} ready pods were measured, {least}"
            return msgspec.structs.replace(
                advice,
                held=True,
                replicas=None if advice.replicas is None else max(advice.replicas, view.workload.replicas),
                reasons=(*advice.reasons, Reason(Code.SIGNAL_MISSING, message)),
            )
    return advice


def _fresh(reading: Sample | PodSamples, *, now: float, seconds: float) -> Reading:
    oldest = now - seconds
    if isinstance(reading, Sample):
        return reading if reading.at >= oldest else _stale(reading.at, now=now, seconds=seconds)
    if all(sample.at >= oldest for sample in reading.samples):
        return reading
    kept = tuple(sample for sample in reading.samples if sample.at >= oldest)
    # A pod that is not there was not measured.
    return PodSamples(kept) if kept else _stale(reading.samples[0].at, now=now, seconds=seconds)


def _stale(at: float, *, now: float, seconds: float) -> Missing:
    age = format_duration(now - at) if 0 <= now - at < 1e9 else "very long"
    detail = f"{age} old, signals.staleAfter is {format_duration(seconds)}"
    return Missing(MissingReason.STALE, detail, since=at if 0 <= at <= now else 0.0)
