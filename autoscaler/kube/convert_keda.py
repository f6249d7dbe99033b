"""
KEDA's ScaledObject in our words (keda.sh/v1alpha1, version 2.21).

The engine is `keda`, which wakes, rests and falls back as the peer does. Under
another engine (joint, or beside a VPA) that is left out, and noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoscaler.kube.convert_fields import Fields, Note, Source, given
from autoscaler.kube.convert_parts import Elsewhere, Part, target_of
from autoscaler.kube.convert_triggers import Triggers, triggers_of
from autoscaler.recommend.keda_formula import modifier_names

_ANNOTATION = "autoscaling.keda.sh/"
_PAUSES = {
    "paused": {"up": True, "down": True},
    "paused-scale-in": {"down": True},
    "paused-scale-out": {"up": True},
}
_DEFAULTS = {"polling_seconds": 30, "cooldown_seconds": 300, "initial_cooldown_seconds": 0}
"""Of KEDA and of the engine alike."""
_NEVER_BELOW_ONE = ("Resource", "ContainerResource")
"""Metrics of pods: with nothing but them no pod could be woken from zero."""
_WITHOUT = {
    "fallback": "while a metric is missing, replicas are held; other metrics may still raise them",
    "advanced.scalingModifiers": "each metric counts by itself: write goals.formula over their names",
    "initialCooldownPeriod": "a new workload is scaled from the first turn on",
    "idleReplicaCount": "idle or not, there are at least minReplicaCount pods",
    "cooldownPeriod": "the last pod goes as behavior.scaleDown.stabilizationWindowSeconds (300) allows",
}
"""What the fields come to under another engine, by path."""
_FIELDS = {
    "fallback": "fallback",
    "modifiers": "advanced.scalingModifiers",
    "initial_cooldown_seconds": "initialCooldownPeriod",
    "active_replicas": "idleReplicaCount",
    "cooldown_seconds": "cooldownPeriod",
}
"""Where the parameters of the engine come from."""


def part_of_scaled_object(source: Source, spec: Fields, metadata: Fields) -> Part | None:
    """Read a ScaledObject; None where nothing is left that one could scale by."""
    target = target_of(spec, "scaleTargetRef", unused=("envSourceContainerName",))
    low, high = spec.count("minReplicaCount") or 0, spec.count("maxReplicaCount")
    most = 100 if high is None else high
    idle = _idle(spec, low=low)
    triggers = triggers_of(spec, sleeps=low == 0 or idle is not None, high=most)
    params = {**_times(spec), **given(fallback=_fallback(spec.part("fallback")), workloads=list(triggers.workloads))}
    if idle is not None:
        params["active_replicas"] = low
    behavior, modifiers = _advanced(spec.part("advanced"), triggers)
    params.update(given(modifiers=modifiers))
    annotations = metadata.part("annotations")
    pause = _pause(annotations)
    forced = annotations.text(_ANNOTATION + "force-activation") == "true"
    stand = annotations.count(_ANNOTATION + "paused-replicas")
    params.update(given(force_activation=forced or None, paused_replicas=stand))
    least = _least(spec, triggers, low if idle is None else idle) if not triggers.is_empty else 0
    spec.left()
    if triggers.is_empty:
        spec.note("triggers", "none is left to scale by: no document is written")
        return None
    policy = given(behavior=behavior, schedules=list(triggers.schedules))
    return Part(
        source=source,
        target=target,
        horizontal=True,
        engine="keda",
        goals=given(metrics=list(triggers.metrics)),
        bounds={"minReplicas": least, "maxReplicas": most},
        policy={**policy, **given(pause=pause)},
        params=params,
        elsewhere=Elsewhere(
            bounds=_bounds_elsewhere(triggers, low=low, high=most),
            policy={**policy, **given(pause=pause if stand is None else _PAUSES["paused"])},
            notes=_notes_elsewhere(source, params, triggers, low=low),
        ),
    )


def _idle(spec: Fields, *, low: int) -> int | None:
    """Return the replicas while idle, None where there is no such mode."""
    idle = spec.count("idleReplicaCount")
    if idle is not None and idle >= low:
        spec.note("idleReplicaCount", f"{idle} is not below minReplicaCount, {low}: KEDA allows nothing else")
        return None
    return idle


def _times(spec: Fields) -> dict[str, Any]:
    """Return the times that are not KEDA's defaults."""
    fields = zip(_DEFAULTS, ("pollingInterval", "cooldownPeriod", "initialCooldownPeriod"), strict=True)
    found = {name: spec.count(field) for name, field in fields}
    return {name: value for name, value in found.items() if value not in (None, _DEFAULTS[name])}


def _fallback(fallback: Fields) -> dict[str, Any]:
    found = {
        "failure_threshold": fallback.count("failureThreshold"),
        "replicas": fallback.count("replicas"),
        "behavior": fallback.text("behavior"),
    }
    fallback.left()
    return given(**found)


def _least(spec: Fields, triggers: Triggers, low: int) -> int:
    """Return the fewest replicas: none need a trigger that sees work without pods (KEDA's webhook asks for it too)."""
    if low == 0 and _is_blind(triggers) and not triggers.schedules and not triggers.workloads:
        spec.note("minReplicaCount", "0 needs a metric that sees work without pods: 1 remains")
        return 1
    return low


def _is_blind(triggers: Triggers) -> bool:
    return all(metric["type"] in _NEVER_BELOW_ONE for metric in triggers.metrics)


def _bounds_elsewhere(triggers: Triggers, *, low: int, high: int) -> dict[str, int]:
    """Return the bounds under another engine, which sees neither schedules nor counts of pods as triggers."""
    least = max(low, 1) if _is_blind(triggers) else low
    # Without a metric nothing moves the workload outside of its schedules.
    return {"minReplicas": least, "maxReplicas": high if triggers.metrics else least}


def _notes_elsewhere(source: Source, params: Mapping[str, Any], triggers: Triggers, *, low: int) -> tuple[Note, ...]:
    notes = [
        Note(source=source.title, path=f"spec.{path}", message=_WITHOUT[path])
        for name, path in _FIELDS.items()
        if name in params and (name != "cooldown_seconds" or low == 0)
    ]
    notes += [
        Note(source=source.title, path=path, message="only engine keda counts pods: export their number to Prometheus")
        for path in triggers.workload_paths
    ]
    if low == 0 and _is_blind(triggers) and (triggers.schedules or triggers.workloads):
        told = "0 needs a metric that sees work without pods: 1 remains"
        notes.append(Note(source=source.title, path="spec.minReplicaCount", message=told))
    annotated = {"paused_replicas": "replicas stay as they are", "force_activation": "nothing is kept awake"}
    notes += [
        Note(
            source=source.title,
            path=f"metadata.annotations.{_ANNOTATION}{name.replace('_', '-')}",
            message=told,
        )
        for name, told in annotated.items()
        if name in params
    ]
    return tuple(notes)


def _advanced(advanced: Fields, triggers: Triggers) -> tuple[Any, dict[str, Any]]:
    """Return the behaviour of the HPA that KEDA makes, and the formula over the triggers."""
    own = advanced.part("horizontalPodAutoscalerConfig")
    own.ignore(["name"])
    behavior = own.take("behavior")
    own.left()
    if advanced.text("restoreToOriginalReplicaCount", "false") == "true":
        advanced.note("restoreToOriginalReplicaCount", "replicas stay as they are when the document is deleted")
    modifiers = _modifiers(advanced.part("scalingModifiers"), triggers)
    advanced.left()
    return behavior, modifiers


def _modifiers(modifiers: Fields, triggers: Triggers) -> dict[str, Any]:
    """Return the formula over the triggers, nothing where the engine cannot evaluate it."""
    formula = modifiers.text("formula")
    found = {
        "target": modifiers.number("target"),
        "activation_target": modifiers.number("activationTarget"),
        "metric_type": modifiers.text("metricType"),
    }
    modifiers.left()
    if not formula:
        return {}
    try:
        unknown = sorted(modifier_names(formula) - triggers.names)
        problem = f"it names {', '.join(unknown)}, no trigger of the document" if unknown else ""
    except ValueError as cause:
        problem = str(cause)
    if problem:
        modifiers.note("formula", f"{problem}: each metric counts by itself")
        return {}
    return {"formula": formula, **given(**found)}


def _pause(annotations: Fields) -> dict[str, bool]:
    pause: dict[str, bool] = {}
    for name, directions in _PAUSES.items():
        value = annotations.text(_ANNOTATION + name)
        if value and value != "false":
            pause.update(directions)
    return pause
