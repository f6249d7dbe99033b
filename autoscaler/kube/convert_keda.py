"""
KEDA's ScaledObject in our words (keda.sh/v1alpha1, version 2.21).

KEDA goes from nothing to one by itself and leaves the rest to an HPA that it
makes: so the engine is `hpa`. What has no equivalent is noted.
"""

from __future__ import annotations

from typing import Any

from autoscaler.kube.convert_cron import window_minutes
from autoscaler.kube.convert_fields import Fields, Source, given
from autoscaler.kube.convert_parts import Part, target_of
from autoscaler.model.spec import Duration, encode_hook

_ANNOTATION = "autoscaling.keda.sh/"
_PAUSES = {
    "paused": {"up": True, "down": True},
    "paused-replicas": {"up": True, "down": True},
    "paused-scale-in": {"down": True},
    "paused-scale-out": {"up": True},
}
_COOLDOWN_SECONDS = 300
_NEVER_BELOW_ONE = ("Resource", "ContainerResource")
"""Metrics of pods: with nothing but them no pod could be woken from zero."""


def part_of_scaled_object(source: Source, spec: Fields, metadata: Fields) -> Part | None:
    """Read a ScaledObject; None where nothing is left that one could scale by."""
    target = target_of(spec, "scaleTargetRef", unused=("envSourceContainerName",))
    low, high = spec.count("minReplicaCount") or 0, spec.count("maxReplicaCount")
    most = 100 if high is None else high
    metrics, schedules = _triggers(spec, low=low, high=most)
    bounds = _bounds(spec, metrics, schedules, low=low, high=most) if metrics or schedules else {}
    _note_times(spec, low=low)
    spec.lose("fallback", "while a metric is missing, replicas are held; other metrics may still raise them")
    behavior = _advanced(spec.part("advanced"))
    pause = _pause(metadata.part("annotations"))
    spec.left()
    if not metrics and not schedules:
        spec.note("triggers", "none is left to scale by: no document is written")
        return None
    return Part(
        source=source,
        target=target,
        horizontal=True,
        engine="hpa",
        goals=given(metrics=metrics),
        bounds=bounds,
        policy=given(behavior=behavior, schedules=schedules, pause=pause),
    )


def _triggers(spec: Fields, *, low: int, high: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the metrics, and the schedules with the largest last: of two that are open, the last counts."""
    metrics: list[dict[str, Any]] = []
    schedules: list[dict[str, Any]] = []
    for index, trigger in enumerate(spec.parts("triggers")):
        kind = trigger.text("type")
        name = trigger.text("name") or f"{kind}-{index}"
        trigger.ignore(["useCachedMetrics"])
        if kind in ("cpu", "memory"):
            metrics.append(_resource(kind, trigger, trigger.part("metadata")))
        elif kind == "prometheus":
            metrics.append(_prometheus(name, trigger, trigger.part("metadata"), low=low))
        elif kind == "cron":
            schedules += _schedule(name, trigger, trigger.part("metadata"), high=high)
        else:
            trigger.ignore(trigger.names())
            trigger.note("", f"trigger {kind}: export its number to Prometheus, and scale by a Prometheus metric")
        trigger.lose("authenticationRef", "the controller logs in to its metrics source as its flags say")
        trigger.left()
    return metrics, sorted(schedules, key=lambda schedule: int(schedule["minReplicas"]))


def _resource(resource: str, trigger: Fields, metadata: Fields) -> dict[str, Any]:
    kind = trigger.text("metricType") or metadata.text("type", "Utilization")
    if kind == "Utilization":
        target: dict[str, Any] = {"type": kind, "averageUtilization": metadata.count("value")}
    else:
        target = {"type": kind, "averageValue": metadata.text("value")}
    container = metadata.text("containerName")
    metadata.left()
    if container:
        inner = {"name": resource, "container": container, "target": target}
        return {"type": "ContainerResource", "containerResource": inner}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


def _prometheus(name: str, trigger: Fields, metadata: Fields, *, low: int) -> dict[str, Any]:
    metadata.ignore(["metricName"])
    server = metadata.text("serverAddress")
    if server:
        metadata.note("serverAddress", f"{server}: the controller asks the one that its flags name", lost=False)
    zero = metadata.text("ignoreNullValues", "true") == "true"
    if zero:
        metadata.note("ignoreNullValues", "a query without result means 0, as KEDA has it; Hold is safer", lost=False)
    kind = trigger.text("metricType", "AverageValue")
    threshold = metadata.text("threshold")
    activation = metadata.text("activationThreshold", "0")
    found = {
        "name": name,
        "query": metadata.text("query"),
        "target": {"type": kind, "value" if kind == "Value" else "averageValue": threshold},
        # Without a fixed minimum the workload wakes above it; with one it never sleeps.
        **({"activation": activation} if low == 0 else {}),
        **({"absent": "Zero"} if zero else {}),
    }
    metadata.left()
    return {"type": "Prometheus", "prometheus": found}


def _schedule(name: str, trigger: Fields, metadata: Fields, *, high: int) -> list[dict[str, Any]]:
    """Return the schedule of a cron trigger, none where its windows are not all of one length."""
    start, end = metadata.text("start"), metadata.text("end")
    zone, wanted = metadata.text("timezone", "UTC"), metadata.count("desiredReplicas")
    metadata.left()
    try:
        minutes = window_minutes(start, end)
    except ValueError as cause:
        trigger.note("metadata", str(cause))
        return []
    if minutes is None or wanted is None:
        trigger.note("metadata", f"from {start!r} to {end!r} is not always equally long, or longer than a week")
        return []
    found = {"name": name, "schedule": start, "timeZone": zone, "duration": encode_hook(Duration(60 * minutes))}
    return [{**found, "minReplicas": min(wanted, high)}]


def _bounds(
    spec: Fields, metrics: list[dict[str, Any]], schedules: list[dict[str, Any]], *, low: int, high: int
) -> dict[str, Any]:
    """Return minReplicas and maxReplicas."""
    spec.lose("idleReplicaCount", f"idle or not, there are at least minReplicaCount pods, {low}")
    if all(metric["type"] in _NEVER_BELOW_ONE for metric in metrics) and low == 0:
        spec.note("minReplicaCount", "0 needs a metric that sees work without pods: 1 remains")
        low = 1
    # Schedules alone: outside of them nothing moves the workload.
    return {"minReplicas": low, "maxReplicas": high if metrics or not schedules else low}


def _note_times(spec: Fields, *, low: int) -> None:
    spec.ignore(["pollingInterval"])
    cooldown = spec.count("cooldownPeriod")
    if low == 0 and cooldown not in (None, _COOLDOWN_SECONDS):
        spec.note(
            "cooldownPeriod",
            f"{cooldown} s: the last pod goes as behavior.scaleDown.stabilizationWindowSeconds (300) allows",
        )
    if spec.count("initialCooldownPeriod"):
        spec.note("initialCooldownPeriod", "a new workload is scaled from the first turn on")


def _advanced(advanced: Fields) -> Any:
    """Return the behaviour of the HPA that KEDA makes."""
    own = advanced.part("horizontalPodAutoscalerConfig")
    own.ignore(["name"])
    behavior = own.take("behavior")
    own.left()
    if advanced.text("restoreToOriginalReplicaCount", "false") == "true":
        advanced.note("restoreToOriginalReplicaCount", "replicas stay as they are when the document is deleted")
    advanced.lose("scalingModifiers", "each metric counts by itself: write goals.formula over their names")
    advanced.left()
    return behavior


def _pause(annotations: Fields) -> dict[str, bool]:
    pause: dict[str, bool] = {}
    for name, directions in _PAUSES.items():
        value = annotations.text(_ANNOTATION + name)
        if value and value != "false":
            pause.update(directions)
    return pause
