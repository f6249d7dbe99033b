"""The triggers of a ScaledObject in our words: metrics, schedules, and counts of pods (KEDA 2.21 `pkg/scalers`)."""

from __future__ import annotations

from typing import Any

import msgspec

from autoscaler.kube.convert_cron import window_minutes
from autoscaler.kube.convert_fields import Fields, given
from autoscaler.kube.decode_placement import selector_of_text
from autoscaler.model.spec import Duration, encode_hook
from autoscaler.recommend.formula import metric_identifier


class Triggers(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the triggers become: `metrics` as in an mpa's goals, `schedules` with the
    largest last (of two that are open the last counts), `workloads` as in the
    parameters of engine keda, each with the path that it came from.
    """

    metrics: tuple[dict[str, Any], ...] = ()
    schedules: tuple[dict[str, Any], ...] = ()
    workloads: tuple[dict[str, Any], ...] = ()
    workload_paths: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.metrics or self.schedules or self.workloads)

    @property
    def names(self) -> frozenset[str]:
        """The triggers that a formula may name, as it spells them."""
        own = [metric["prometheus"] for metric in self.metrics if "prometheus" in metric]
        return frozenset(metric_identifier(each["name"]) for each in (*own, *self.schedules, *self.workloads))


def triggers_of(spec: Fields, *, sleeps: bool, high: int) -> Triggers:
    """Read all triggers, and note those without an equivalent; *sleeps* tells that activity decides on some pods."""
    metrics: list[dict[str, Any]] = []
    schedules: list[dict[str, Any]] = []
    workloads: list[dict[str, Any]] = []
    paths: list[str] = []
    for index, trigger in enumerate(spec.parts("triggers")):
        kind = trigger.text("type")
        name = trigger.text("name") or f"{kind}-{index}"
        trigger.ignore(["useCachedMetrics"])
        if kind in ("cpu", "memory"):
            metrics.append(_resource(kind, trigger, trigger.part("metadata")))
        elif kind == "prometheus":
            metrics.append(_prometheus(name, trigger, trigger.part("metadata"), sleeps=sleeps))
        elif kind == "cron":
            schedules += _schedule(name, trigger, trigger.part("metadata"), high=high)
        elif kind == "kubernetes-workload":
            found = _workload(name, trigger, trigger.part("metadata"))
            workloads += found
            paths += [trigger.path] * len(found)
        else:
            trigger.ignore(trigger.names())
            trigger.note("", f"trigger {kind}: export its number to Prometheus, and scale by a Prometheus metric")
        trigger.lose("authenticationRef", "the controller logs in to its metrics source as its flags say")
        trigger.left()
    return Triggers(
        metrics=tuple(metrics),
        schedules=tuple(sorted(schedules, key=lambda schedule: int(schedule["minReplicas"]))),
        workloads=tuple(workloads),
        workload_paths=tuple(paths),
    )


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


def _prometheus(name: str, trigger: Fields, metadata: Fields, *, sleeps: bool) -> dict[str, Any]:
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
        # Where nothing sleeps, nothing is woken.
        **({"activation": activation} if sleeps else {}),
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


def _workload(name: str, trigger: Fields, metadata: Fields) -> list[dict[str, Any]]:
    """Return the count of pods of a kubernetes-workload trigger, none where its selector or value cannot be read."""
    text, value = metadata.text("podSelector"), metadata.number("value")
    activation, kind = metadata.number("activationValue"), trigger.text("metricType")
    by_node = metadata.text("groupByNode", "false") == "true"
    metadata.left()
    selector = selector_of_text(text)
    if selector is None or not text or value is None:
        trigger.note("metadata", f"podSelector {text!r} is no label selector, or value is not given")
        return []
    tests = [
        {"key": each.key, "operator": each.operator.value, **given(values=list(each.values))}
        for each in selector.match_expressions
    ]
    labels = given(matchLabels=dict(selector.match_labels), matchExpressions=tests)
    optional = given(activation=activation, metric_type=kind, group_by_node=by_node or None)
    return [{"name": name, "selector": labels, "value": value, **optional}]
