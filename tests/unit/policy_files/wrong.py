"""
Documents with one thing wrong, and who refuses them.

REFUSED: the program's parser and the API server (by the CRDs), both naming the
field. ADMITTED: only the parser; in a cluster they become a condition.
STRICTER: only the API server.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from autoscaler.documents import parse_documents
from tests.unit.policy_files.documents import FULL_GROUP, FULL_MPA, FULL_POLICY, FULL_TENANT, changed


class Wrong(NamedTuple):
    """A document and the field that an error must name."""

    value: Any
    field: str


# In a cluster decimals are quoted.
SERVED_MPA = FULL_MPA.replace("tolerance: 0.05", 'tolerance: "0.05"')
_BASES = {
    name: parse_documents(text, name)[0].value
    for name, text in {"mpa": SERVED_MPA, "policy": FULL_POLICY, "group": FULL_GROUP, "tenant": FULL_TENANT}.items()
}


def wrong(base: str, path: str, to: Any, *, case: str, field: str = "") -> Any:
    """Return a case: the value at *path* (below spec, by dots; numbers are list indexes) becomes *to*."""
    steps: tuple[str | int, ...] = ("spec", *(int(step) if step.isdecimal() else step for step in path.split(".")))
    shown = field or "spec." + path
    return pytest.param(Wrong(changed(_BASES[base], steps, to), shown), id=case)


def _metric(**changes: Any) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": 70}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}, **changes}


_CPU = {"type": "AverageValue", "averageValue": "1"}
_METRIC = "spec.goals.metrics[0]"
_NONE: dict[str, Any] = {}

REFUSED = [
    wrong("mpa", "polcy", _NONE, case="unknown-field"),
    wrong("mpa", "policy.enigne", "hpa", case="unknown-field-below"),
    wrong("mpa", "scaleTargetRef", {"kind": "Deployment"}, field="spec.scaleTargetRef.name", case="required"),
    wrong("mpa", "scaleTargetRef.name", "", case="empty-name"),
    wrong("mpa", "policy.updateMode", "auto", case="mode-in-lower-case"),
    wrong("mpa", "policy.resize", "Sometimes", case="resize"),
    wrong("mpa", "policy.forecast", "On", case="forecast"),
    wrong("mpa", "policy.takeOver", "yes", case="a-word-for-a-boolean"),
    wrong("mpa", "goals", [], case="a-list-for-a-mapping"),
    wrong("mpa", "goals.metrics.0", _metric(type="Cpu"), field=f"{_METRIC}.type", case="metric-type"),
    wrong("mpa", "goals.metrics.0", {"type": "Resource"}, field=f"{_METRIC}.resource", case="metric-source-missing"),
    wrong(
        "mpa",
        "goals.metrics.0",
        _metric(pods={"metric": {"name": "a"}, "target": _CPU}),
        field=f"{_METRIC}.pods",
        case="two-metric-sources",
    ),
    wrong(
        "mpa", "goals.metrics.0.resource.target.type", "Percent", field=f"{_METRIC}.resource.target.type", case="target"
    ),
    wrong(
        "mpa",
        "goals.metrics.0.resource.target",
        {"type": "Utilization"},
        field=f"{_METRIC}.resource.target.averageUtilization",
        case="target-without-its-amount",
    ),
    wrong(
        "mpa",
        "goals.metrics.0.resource.target",
        {**_CPU, "averageUtilization": 70},
        field=f"{_METRIC}.resource.target.averageUtilization",
        case="target-with-two-amounts",
    ),
    wrong(
        "mpa",
        "goals.metrics.0.resource.target",
        {"type": "AverageValue", "averageValue": "0"},
        field=f"{_METRIC}.resource.target.averageValue",
        case="target-of-zero",
    ),
    wrong(
        "mpa",
        "goals.metrics.0.resource.target.averageUtilization",
        0,
        field=f"{_METRIC}.resource.target.averageUtilization",
        case="utilization-of-zero",
    ),
    wrong(
        "mpa",
        "goals.metrics.0.resource.target",
        {"type": "Value", "value": "1"},
        field=f"{_METRIC}.resource.target.type",
        case="resource-metric-with-a-value",
    ),
    wrong(
        "mpa",
        "goals.metrics.0",
        {"type": "Pods", "pods": {"metric": {"name": "a"}, "target": {"type": "Value", "value": "1"}}},
        field=f"{_METRIC}.pods.target.type",
        case="pods-metric-with-a-value",
    ),
    wrong(
        "mpa",
        "goals.metrics.1.prometheus.target",
        {"type": "Utilization", "averageUtilization": 70},
        field="spec.goals.metrics[1].prometheus.target.type",
        case="prometheus-with-a-utilization",
    ),
    wrong("mpa", "goals.metrics.1.prometheus.query", "", field="prometheus.query", case="empty-query"),
    wrong(
        "mpa", "goals.metrics.1.prometheus.activation", "-1", field="prometheus.activation", case="negative-activation"
    ),
    wrong("mpa", "goals.metrics.1.prometheus.absent", "Never", field="prometheus.absent", case="absent"),
    wrong(
        "mpa",
        "goals.metrics.1.prometheus",
        {"name": "a", "query": "x", "target": _CPU, "absent": "LastFor"},
        field="prometheus.lastFor",
        case="last-for-how-long",
    ),
    wrong("mpa", "goals.slo.class", "Urgent", case="slo-class"),
    wrong("mpa", "goals.slo.violations", "1.5", case="a-share-above-1"),
    wrong("mpa", "goals.slo.parallelism", "0", case="no-parallelism"),
    wrong("mpa", "goals.slo.latency.target", "fast", case="duration"),
    wrong("mpa", "constraints.global.minReplicas", 61, case="minimum-above-maximum"),
    wrong("mpa", "constraints.global.minReplicas", -1, case="negative-replicas"),
    wrong("mpa", "constraints.global.maxReplicas", 0, case="no-replicas-at-most"),
    wrong("mpa", "constraints.container.0.requests.minAllowed.cpu", "5", field="minAllowed", case="request-bounds"),
    wrong("mpa", "constraints.container.0.requests.minAllowed.cpu", "lots", case="quantity", field="minAllowed.cpu"),
    wrong(
        "mpa", "constraints.container.0.requests.minAllowed.cpu", "-1", case="negative-quantity", field="minAllowed.cpu"
    ),
    wrong("mpa", "constraints.container.0.requests.minAllowed.cpu", -1, case="negative-number", field="minAllowed.cpu"),
    wrong("mpa", "constraints.container.0.limits", "None", case="limits", field="limits"),
    wrong("mpa", "constraints.container.0.mode", "On", case="container-mode", field="mode"),
    wrong("mpa", "constraints.container", [{"name": "a"}, {"name": "a"}], case="container-twice", field="container[1]"),
    wrong(
        "mpa", "constraints.containerControlledResources", ["gpu"], case="controlled", field="ControlledResources[0]"
    ),
    wrong(
        "mpa",
        "policy.schedules.0",
        {"name": "a", "schedule": "0 8 * * *", "duration": "1h"},
        field="spec.policy.schedules[0]",
        case="schedule-without-bounds",
    ),
    wrong("mpa", "policy.schedules.0.schedule", "0 8 * *", field="schedules[0].schedule", case="cron-of-four-fields"),
    wrong("mpa", "policy.schedules.0.duration", "1 day", field="schedules[0].duration", case="schedule-duration"),
    wrong("mpa", "policy.schedules.0.maxReplicas", 3, field="schedules[0].minReplicas", case="schedule-bounds"),
    wrong("mpa", "policy.pause.until", "tomorrow", case="pause-until"),
    wrong(
        "mpa",
        "policy.behavior.scaleUp.policies.0.type",
        "Share",
        field="behavior.scaleUp.policies[0].type",
        case="behavior-policy",
    ),
    wrong("mpa", "policy.behavior.scaleUp.policies", [], field="behavior.scaleUp.policies", case="no-behavior-policy"),
    wrong("mpa", "policy.behavior.scaleDown", {"stabilizationWindowSeconds": 3601}, case="window", field="scaleDown"),
    wrong("mpa", "policy.engine", 3, case="engine-of-the-wrong-type"),
    wrong("policy", "mode", "On", case="policy-mode"),
    wrong(
        "policy",
        "workloads.labelSelector.matchExpressions.0",
        {"key": "a", "operator": "In"},
        field="matchExpressions[0].values",
        case="selector-without-values",
    ),
    wrong(
        "policy",
        "workloads.labelSelector.matchExpressions.0.operator",
        "Is",
        field="matchExpressions[0].operator",
        case="selector-operator",
    ),
    wrong("policy", "objective.money.onExceed", "Panic", case="on-exceed"),
    wrong("policy", "objective.headroom.quantile", "1", case="quantile"),
    wrong("policy", "disruption.budgets.0.nodes", "110%", field="budgets[0].nodes", case="budget-share"),
    wrong(
        "policy",
        "disruption.budgets.0",
        {"schedule": "@daily"},
        field="disruption.budgets[0]",
        case="budget-schedule-without-duration",
    ),
    wrong("policy", "disruption.budgets.0.reasons", ["Boredom"], field="budgets[0].reasons[0]", case="budget-reason"),
    wrong("policy", "signals.minCoverage", "2", case="coverage"),
    wrong("policy", "nodes.engine", "swarm", case="no-such-node-engine"),
    wrong("policy", "nodes.spot.maxShare", "101", case="spot-share"),
    wrong("group", "size", {"min": 5, "max": 4}, field="spec.size.min", case="group-size"),
    wrong("group", "capacityTypes", [], case="no-capacity-type"),
    wrong("group", "requirements.0.operator", "Like", field="requirements[0].operator", case="requirement-operator"),
    wrong("group", "requirements.1.values", ["3", "4"], field="requirements[1].values", case="requirement-values"),
    wrong("group", "template.taints.0.effect", "Never", field="template.taints[0].effect", case="taint-effect"),
    wrong("group", "match", {"asg": "a", "mig": "b"}, field="spec.match", case="two-matches"),
    wrong("group", "price.adjustment", "cheap", case="price-adjustment"),
    wrong("tenant", "weight", 0, case="tenant-weight"),
    wrong("tenant", "quota.floor.cpu", "81", field="spec.quota.floor", case="floor-above-ceiling"),
]
ADMITTED = [
    wrong("mpa", "policy.engine", "jiont", case="engine-that-is-not-installed"),
    wrong("mpa", "policy.params", {"nope": 1}, field="spec.policy.params.nope", case="engine-parameter"),
    wrong("mpa", "goals.formula", "max(requests", case="formula"),
    wrong("mpa", "goals.formula", "requests + queue", case="formula-over-a-metric-that-is-not-there"),
    wrong("mpa", "goals.metrics.1.prometheus.query", "sum(", field="prometheus.query", case="promql"),
    wrong("mpa", "goals.slo.latency.query", "x[5m]", case="promql-of-the-latency"),
    wrong("mpa", "goals.slo.latency.target", "0s", case="no-latency"),
    wrong("mpa", "policy.schedules.0.schedule", "61 * * * *", field="schedules[0].schedule", case="cron-minute"),
    wrong("mpa", "policy.schedules.0.timeZone", "Europe/Atlantis", field="schedules[0].timeZone", case="time-zone"),
    wrong("mpa", "policy.schedules.0.duration", "0s", field="schedules[0].duration", case="no-duration"),
    wrong("policy", "signals.staleAfter", "0s", case="no-staleness"),
    wrong("policy", "nodes.consolidateAfter", "500ms", case="no-patience-with-empty-nodes"),
    wrong("policy", "nodes.consolidateAfter", "25h", case="too-much-patience-with-empty-nodes"),
    wrong("policy", "disruption.budgets.0.duration", "30s", field="budgets[0].duration", case="budget-below-a-minute"),
    wrong("tenant", "quota.from", {"days": 0}, field="spec.quota.from.days", case="quota-source"),
]
STRICTER = [
    wrong("mpa", "policy.behavior.scaleUp.tolerance", 0.05, case="a-decimal-without-quotes", field="tolerance"),
    wrong("mpa", "goals.slo.latency.target", 1.5, case="seconds-as-a-decimal"),
    wrong("group", "match.tags", {f"t{at}": "x" for at in range(65)}, case="more-than-64-names"),
]
