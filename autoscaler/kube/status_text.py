"""
What a decision says about each document of ours, in the words of its `status`.

Pure: fields as in `policy_files.crd_status`; the document's present status is
read only for the times at which its conditions last changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from autoscaler.kube.group_status import node_counts
from autoscaler.kube.policies import PolicyProblem
from autoscaler.kube.scale import OURS, ResourcePath
from autoscaler.model.plan import Decision
from autoscaler.model.policy import Policies, Switch, UpdateMode
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Condition, Recommendation
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.model.snapshot import ClusterSnapshot, WorkloadModel
from autoscaler.model.workload import Workload, workload_key
from autoscaler.planning.effective import Effective, effective_policies
from autoscaler.planning.guard import target_of
from autoscaler.planning.prices import prices_or_estimate, worth
from autoscaler.recommend.updater import resized
from autoscaler.scheduling.requests import effective_requests

MOST_REASONS = 8
_MOST_TEXT = 1024
"""Characters of a message (`crd_status`)."""
_MPA = "MultidimPodAutoscaler"
_LIMITS = frozenset(
    {
        Code.AT_MINIMUM, Code.AT_MAXIMUM, Code.CAPPED_BY_POLICY, Code.CAPPED_BY_NODE, Code.GUARD_BOUNDS,
        Code.GUARD_RATE, Code.GUARD_QUOTA, Code.GUARD_BUDGET, Code.BUDGET_REACHED, Code.LIMIT_REACHED,
    }
)  # fmt: skip
_FORECASTING = frozenset({"joint", "hpa+season"})


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One cycle, as far as it is told: `digest` is that of its inputs, "" where it is not known."""

    snapshot: ClusterSnapshot
    policies: Policies
    decision: Decision
    problems: Sequence[PolicyProblem] = ()
    digest: str = ""


class ObjectStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an object's status should be, and what it `is`."""

    resource: ResourcePath
    kind: str
    namespace: str
    name: str
    uid: str
    status: dict[str, Any]
    before: Mapping[str, Any] = {}

    @property
    def path(self) -> str:
        """Where it is written."""
        return self.resource.to(self.name, namespace=self.namespace, part="status")


def statuses_of(documents: Iterable[Mapping[str, Any]], told: Told) -> tuple[ObjectStatus, ...]:
    """
    Return the status of each of our documents, in their order.

    GKE's own objects are left out: their status is their controller's to write.
    """
    view = _View(told)
    found = []
    for document in documents:
        kind, resource = document.get("kind", ""), OURS.get(document.get("kind", ""))
        if resource is None or document.get("apiVersion") != resource.api_version:
            continue
        metadata, before = document["metadata"], document.get("status") or {}
        name, namespace = metadata["name"], metadata.get("namespace", "")
        status, conditions = view.status_of(kind, namespace, name)
        generation = metadata.get("generation", 0)
        status["observedGeneration"] = generation
        status["conditions"] = _with_times(conditions, before, generation=generation, now=view.time)
        found.append(
            ObjectStatus(
                resource=resource,
                kind=kind,
                namespace=namespace,
                name=name,
                uid=metadata.get("uid", ""),
                status=status,
                before=before,
            )
        )
    return tuple(found)


def rfc3339(seconds: float) -> str:
    """Return a moment as the API writes it: UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shortened(text: str) -> str:
    """Cut a message to what the API takes."""
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


class _View:
    """A cycle, by workload."""

    def __init__(self, told: Told) -> None:
        snapshot, decision = told.snapshot, told.decision
        self.time = rfc3339(snapshot.observed_at)
        self._digest = told.digest
        self._governed = effective_policies(snapshot, told.policies)
        self._targets = {
            (mpa.namespace, mpa.name): workload_key(
                mpa.namespace, mpa.spec.scale_target_ref.kind, mpa.spec.scale_target_ref.name
            )
            for mpa in told.policies.mpas
        }
        self._workloads = {workload.key: workload for workload in snapshot.workloads}
        self._advice = {advice.workload: advice for advice in decision.recommendations}
        self._models = {model.workload: model for model in snapshot.models}
        self._prices = prices_or_estimate(snapshot.prices, snapshot.node_groups)
        self._problems = {
            (each.kind, each.namespace, each.name): each.message
            for each in told.problems
            if each.api_version in ("", OURS[_MPA].api_version)
        }
        self._held, self._notes, self._deeds = _reasons_by_target(decision)
        self._modes = {policy.name: policy.spec.mode for policy in told.policies.scaling}
        self._nodes = node_counts(snapshot, decision, {group.name for group in told.policies.node_groups})

    def status_of(self, kind: str, namespace: str, name: str) -> tuple[dict[str, Any], list[Condition]]:
        """Return a document's status without its conditions, and those."""
        problem = self._problems.get((kind, namespace, name))
        if problem is not None:
            invalid = Condition(type="Valid", status="False", reason="Invalid", message=problem)
            held = [_false("AbleToScale", Code.POLICY_INVALID, problem)] if kind == _MPA else []
            return {}, [invalid, *held]
        valid = Condition(type="Valid", status="True", reason="Valid")
        if kind != _MPA:
            return self._of_cluster(kind, name), [valid]
        status, conditions = self._mpa(namespace, name)
        return status, [valid, *conditions]

    def _of_cluster(self, kind: str, name: str) -> dict[str, Any]:
        """Return the status of a document of the cluster without its conditions."""
        if kind == "ScalingPolicy" and name in self._modes:
            return {"mode": self._modes[name].value}
        if kind == "NodeGroup" and name in self._nodes:
            current, desired = self._nodes[name]
            return {"nodes": {"current": current, "desired": desired}}
        return {}

    def _mpa(self, namespace: str, name: str) -> tuple[dict[str, Any], list[Condition]]:
        key = self._targets.get((namespace, name), "")
        workload, effective = self._workloads.get(key), self._governed.get(key)
        if workload is None or effective is None:
            missing = f"{key or 'the target'} does not exist"
            return self._nothing(), [_false("AbleToScale", "TargetNotFound", missing)]
        outranked = self._notes.get(f"mpa/{namespace}/{name}")
        if outranked:
            conflict = Condition(type="Conflict", status="True", reason=outranked[0].code, message=outranked[0].message)
            return self._nothing(), [_false("AbleToScale", "Outranked", outranked[0].message), conflict]
        about, advice = f"workload/{key}", self._advice.get(key)
        held, notes = self._held.get(about, []), self._notes.get(about, [])
        reasons = [*held, *(advice.reasons if advice else ()), *self._deeds.get(about, []), *notes]
        status = {
            **self._nothing(),
            "mode": effective.mode.value,
            **self._amounts(workload, advice),
            "reasons": _reason_texts(reasons),
        }
        conditions = conditions_of(
            effective, advice, held=held, others=[*notes, *self._deeds.get(about, [])], model=self._models.get(key)
        )
        return status, conditions

    def _nothing(self) -> dict[str, Any]:
        return {"lastDecision": {**({"digest": self._digest} if self._digest else {}), "time": self.time}}

    def _amounts(self, workload: Workload, advice: Recommendation | None) -> dict[str, Any]:
        """Return replicas, sizes and costs, now and wanted."""
        sizes = advice.containers if advice else ()
        desired = workload.replicas if advice is None or advice.replicas is None else advice.replicas
        replicas = {"current": workload.replicas, "desired": desired}
        if advice is not None:
            bounds = {"lower": advice.lower_replicas, "upper": advice.upper_replicas}
            replicas |= {name: count for name, count in bounds.items() if count is not None}
        now, wanted = workload.template, resized(workload.template, sizes)
        present = {container.name: container.requests for container in now.containers}
        containers = [
            {
                "name": size.container,
                **_quantities("current", present.get(size.container, Resources()).only(size.target.names())),
                **_quantities("target", size.target),
                **_quantities("lower", size.lower),
                **_quantities("upper", size.upper),
            }
            for size in sizes
        ]
        pods = [effective_requests(shape) for shape in (now, wanted)]
        pod = {
            **_quantities("current", pods[0].only((CPU, MEMORY))),
            **_quantities("target", pods[1].only((CPU, MEMORY))),
        }
        found: dict[str, Any] = {"replicas": replicas, "pod": pod, "containers": containers}
        costs = [
            24 * count * worth(pod, self._prices) for count, pod in zip((workload.replicas, desired), pods, strict=True)
        ]
        if any(costs):
            current, then = (f"{cost:.2f}" for cost in costs)
            found["cost"] = {"currentPerDay": current, "desiredPerDay": then, "currency": "USD"}
        return found


def conditions_of(
    effective: Effective,
    advice: Recommendation | None,
    *,
    held: Sequence[Reason],
    others: Sequence[Reason],
    model: WorkloadModel | None,
) -> list[Condition]:
    """
    Return the conditions of an mpa in force, the engine's own where it gives them.

    *held* is why nothing may be done to the workload, *others* what else the plan says about it.
    """
    reasons = [*held, *(advice.reasons if advice else ()), *others]
    conflict = next((reason for reason in reasons if reason.code is Code.CONFLICT), None)
    limit = next((reason for reason in reasons if reason.code in _LIMITS), None)
    # What is held only because something was not measured could be scaled.
    stopped = [reason for reason in held if advice is None or reason not in advice.reasons]
    found = [
        _able(effective, stopped),
        _active(advice, held),
        _limited(limit),
        _provided(advice, held),
        Condition(type="Conflict", status="False", reason="NoConflict")
        if conflict is None
        else Condition(type="Conflict", status="True", reason=conflict.code, message=conflict.message),
    ]
    if effective.engine in _FORECASTING:
        found.append(_forecasting(effective, model))
    own = {condition.type: condition for condition in (advice.conditions if advice else ())}
    if stopped or effective.mode is not UpdateMode.AUTO:
        # An engine does not know that it is not listened to.
        own.pop("AbleToScale", None)
    named = {condition.type for condition in found}
    return [own.get(each.type, each) for each in found] + [each for each in own.values() if each.type not in named]


def _able(effective: Effective, held: Sequence[Reason]) -> Condition:
    if held:
        return _false("AbleToScale", held[0].code, held[0].message)
    if effective.mode is UpdateMode.AUTO:
        return Condition(type="AbleToScale", status="True", reason="ReadyForNewScale")
    if effective.mode is UpdateMode.INITIAL:
        return Condition(type="AbleToScale", status="True", reason="Initial", message="only new pods get new sizes")
    code = Code.MODE_OFF if effective.mode is UpdateMode.OFF else Code.MODE_RECOMMEND
    return _false("AbleToScale", code, f"mode {effective.mode.value}: told, not done")


def _active(advice: Recommendation | None, held: Sequence[Reason]) -> Condition:
    """Tell whether a count rests on what was measured."""
    if advice is not None and advice.replicas is not None and not advice.held:
        return Condition(type="ScalingActive", status="True", reason="ValidMetricFound")
    reasons = (*(advice.reasons if advice else ()), *held)
    code, message = (reasons[0].code.value, reasons[0].message) if reasons else ("NoOpinion", "no count is wanted")
    return _false("ScalingActive", code, message)


def _limited(limit: Reason | None) -> Condition:
    if limit is None:
        return Condition(type="ScalingLimited", status="False", reason="DesiredWithinRange")
    return Condition(type="ScalingLimited", status="True", reason=limit.code, message=limit.message)


def _provided(advice: Recommendation | None, held: Sequence[Reason]) -> Condition:
    if advice is not None and (advice.containers or advice.replicas is not None):
        return Condition(type="RecommendationProvided", status="True", reason="Provided")
    reasons = (*(advice.reasons if advice else ()), *held)
    code, message = (reasons[0].code.value, reasons[0].message) if reasons else ("NoOpinion", "")
    return _false("RecommendationProvided", code, message)


def _forecasting(effective: Effective, model: WorkloadModel | None) -> Condition:
    if effective.spec.policy.forecast is Switch.OFF:
        return _false("Forecasting", "Off", "the policy uses no forecast")
    if model is None:
        return _false("Forecasting", "NoModel", "there is not enough history yet")
    if not model.season.trusted:
        return _false("Forecasting", "NotTrusted", "the forecast did no better than the present load lately")
    return Condition(
        type="Forecasting", status="True", reason="Trusted", message=f"learned from {model.season.days:.0f} days"
    )


def _false(kind: str, reason: str, message: str) -> Condition:
    return Condition(type=kind, status="False", reason=reason, message=message)


def _with_times(
    conditions: Sequence[Condition], before: Mapping[str, Any], *, generation: int, now: str
) -> list[dict[str, Any]]:
    """Return conditions as the API has them; the time moves only when a status changes (meta/v1 Condition)."""
    old = {each.get("type"): each for each in before.get("conditions") or ()}
    return [
        {
            "type": each.type,
            "status": each.status,
            "reason": str(each.reason),
            "message": shortened(each.message),
            "observedGeneration": generation,
            "lastTransitionTime": _since(old.get(each.type), each.status) or now,
        }
        for each in conditions
    ]


def _since(old: Mapping[str, Any] | None, status: str) -> str:
    return str(old.get("lastTransitionTime") or "") if old is not None and old.get("status") == status else ""


def _reasons_by_target(decision: Decision) -> tuple[dict[str, list[Reason]], ...]:
    """Return by target why nothing is done, what else is noted, and why something is done."""
    held: dict[str, list[Reason]] = defaultdict(list)
    notes: dict[str, list[Reason]] = defaultdict(list)
    deeds: dict[str, list[Reason]] = defaultdict(list)
    for note in decision.held:
        held[note.target].extend(note.reasons)
    for note in decision.notes:
        notes[note.target].extend(note.reasons)
    for action in (*decision.plan.actions, *decision.plan.advised):
        deeds[target_of(action)].extend(action.reasons)
    return held, notes, deeds


def _reason_texts(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    first: dict[str, str] = {}
    for reason in reasons:
        first.setdefault(reason.code.value, reason.message)
    return [{"code": code, "message": shortened(text)} for code, text in list(first.items())[:MOST_REASONS]]


def _quantities(name: str, amounts: Resources) -> dict[str, dict[str, str]]:
    """Return amounts under *name*; nothing where there are none."""
    return {name: amounts.quantities()} if amounts.amounts else {}
