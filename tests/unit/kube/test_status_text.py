"""What a decision says about each document, in the words of its status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from autoscaler.kube.policies import read_documents
from autoscaler.kube.status_text import ObjectStatus, Told, statuses_of
from autoscaler.model.plan import Decision, DeleteInstances, Note, Plan, SetGroupSize, SetReplicas
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Condition, ContainerSize, Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot, Prices, SeasonalModel, WorkloadModel
from autoscaler.model.spec import decode_hook
from autoscaler.model.state import DecisionState
from autoscaler.model.units import MIB
from autoscaler.policy_files.crd_status import MpaStatus
from autoscaler.testing.builders import make_group, make_node, make_snapshot, make_workload

WEB = "default/Deployment/web"
PRICES = Prices(usd_per_core_hour=0.04, usd_per_gib_hour=0.005)
CHEAPER = Reason(Code.SHAPE_CHEAPER, "3 × 350m serves the same load for less")


def mpa(name: str = "web", *, status: Any = None, generation: int = 3, **policy: Any) -> dict[str, Any]:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "policy": {"updateMode": "Auto", **policy}}
    return {
        "apiVersion": "podnode.io/v1alpha1",
        "kind": "MultidimPodAutoscaler",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": generation},
        "spec": spec,
        "status": status or {},
    }


def advice(**fields: Any) -> Recommendation:
    size = ContainerSize(
        container="app",
        target=Resources.of(cpu=350, memory=640 * MIB),
        lower=Resources.of(cpu=300),
        upper=Resources.of(cpu=600),
    )
    defaults: dict[str, Any] = {
        "workload": WEB, "engine": "joint", "replicas": 3, "lower_replicas": 2, "upper_replicas": 5,
        "containers": (size,), "reasons": (CHEAPER,),
    }  # fmt: skip
    return Recommendation(**{**defaults, **fields})


def snapshot(**fields: Any) -> ClusterSnapshot:
    found = make_snapshot(workloads=[make_workload(replicas=2)])
    return msgspec.structs.replace(found, prices=PRICES, **fields)


def told(
    documents: Sequence[dict[str, Any]],
    *advices: Recommendation,
    seen: ClusterSnapshot | None = None,
    **decision: Any,
) -> tuple[ObjectStatus, ...]:
    policies, problems = read_documents(documents)
    made = Decision(plan=decision.pop("plan", Plan()), recommendations=advices, state=DecisionState(), **decision)
    return statuses_of(
        documents,
        Told(snapshot=seen or snapshot(), policies=policies, decision=made, problems=problems, digest="abc"),
    )


def conditions(status: ObjectStatus) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status.status["conditions"]}


def test_documents_about_the_cluster_tell_their_mode_and_their_nodes() -> None:
    version = "podnode.io/v1alpha1"
    documents: list[dict[str, Any]] = [
        {"apiVersion": version, "kind": "ScalingPolicy", "metadata": {"name": "all"}, "spec": {}},
        {"apiVersion": version, "kind": "NodeGroup", "metadata": {"name": "web"}, "spec": {"provider": "kwok"}},
        {"apiVersion": version, "kind": "NodeGroup", "metadata": {"name": "other"}, "spec": {"provider": "none"}},
    ]
    nodes = [make_node("a", group="web.large"), make_node("b", group="web.large", registered=False, ready=False)]
    groups = [make_group("web.large", size=2), make_group("web.small", size=0), make_group("else", size=3)]
    seen = make_snapshot(nodes=nodes, node_groups=groups)
    grow, shrink = (
        SetGroupSize(group="web.small", size=4, expected=0),
        DeleteInstances(group="web.large", nodes=("a",), expected=2),
    )
    found = told(documents, seen=seen, plan=Plan(actions=(grow,), advised=(shrink,)))
    assert [{name: value for name, value in each.status.items() if name in ("mode", "nodes")} for each in found] == [
        {"mode": "Recommend"},
        {"nodes": {"current": 1, "desired": 5}},
        {},
    ]


def test_a_status_has_what_is_and_what_should_be() -> None:
    (status,) = told([mpa()], advice())
    assert status.path == "/apis/podnode.io/v1alpha1/namespaces/default/multidimpodautoscalers/web/status"
    found = dict(status.status)
    times = {each.pop("lastTransitionTime") for each in found["conditions"]}
    assert times == {"2023-11-15T00:00:00Z"}
    assert found.pop("conditions")[0] == {
        "type": "Valid", "status": "True", "reason": "Valid", "message": "", "observedGeneration": 3,
    }  # fmt: skip
    now, wanted = {"cpu": "500m", "memory": "512Mi"}, {"cpu": "350m", "memory": "640Mi"}
    assert found == {
        "observedGeneration": 3,
        "mode": "Auto",
        "replicas": {"current": 2, "desired": 3, "lower": 2, "upper": 5},
        "pod": {"current": now, "target": wanted},
        "containers": [
            {"name": "app", "current": now, "target": wanted, "lower": {"cpu": "300m"}, "upper": {"cpu": "600m"}}
        ],
        # 24 h of 2 × (0.5 cores at 0.04 + 0.5 GiB at 0.005), and of 3 × (0.35 at 0.04 + 0.625 at 0.005).
        "cost": {"currentPerDay": "1.08", "desiredPerDay": "1.23", "currency": "USD"},
        "reasons": [{"code": "ShapeCheaperAtPrices", "message": CHEAPER.message}],
        "lastDecision": {"digest": "abc", "time": "2023-11-15T00:00:00Z"},
    }


def test_a_workload_that_is_acted_on_is_able_active_and_within_range() -> None:
    (status,) = told([mpa()], advice())
    assert conditions(status) == {
        "Valid": ("True", "Valid"),
        "AbleToScale": ("True", "ReadyForNewScale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
        "RecommendationProvided": ("True", "Provided"),
        "Conflict": ("False", "NoConflict"),
        "Forecasting": ("False", "NoModel"),
    }


HELD = Note(target=f"workload/{WEB}", reasons=(Reason(Code.CONFLICT, "HorizontalPodAutoscaler default/web also acts"),))
BROKEN = Reason(Code.ENGINE_FAILED, "the engine raised an error")
MISSING = Reason(Code.SIGNAL_MISSING, "`requests` is absent")
CAPPED = Reason(Code.AT_MAXIMUM, "8 would be needed, 3 is the maximum")


@pytest.mark.parametrize(
    ("documents", "advices", "decision", "expected"),
    [
        pytest.param(
            [mpa(updateMode="Recommend")], [advice()], {}, {"AbleToScale": ("False", "ModeRecommend")}, id="recommend"
        ),
        pytest.param([mpa(updateMode="Initial")], [advice()], {}, {"AbleToScale": ("True", "Initial")}, id="initial"),
        pytest.param(
            [mpa()],
            [advice()],
            {"held": (HELD,)},
            {
                "AbleToScale": ("False", "Conflict"),
                "Conflict": ("True", "Conflict"),
                "ScalingActive": ("True", "ValidMetricFound"),
            },
            id="a-rival-acts",
        ),
        pytest.param(
            [mpa()],
            [advice(held=True, replicas=2, reasons=(MISSING,))],
            {"held": (Note(target=f"workload/{WEB}", reasons=(MISSING,)),)},
            {"AbleToScale": ("True", "ReadyForNewScale"), "ScalingActive": ("False", "SignalMissing")},
            id="a-metric-is-missing",
        ),
        pytest.param(
            [mpa()],
            [],
            {"held": (Note(target=f"workload/{WEB}", reasons=(BROKEN,)),)},
            {
                "AbleToScale": ("False", "EngineFailed"),
                "ScalingActive": ("False", "EngineFailed"),
                "RecommendationProvided": ("False", "EngineFailed"),
            },
            id="the-engine-failed",
        ),
        pytest.param(
            [mpa()], [advice(reasons=(CAPPED,))], {}, {"ScalingLimited": ("True", "AtMaximum")}, id="at-the-maximum"
        ),
        pytest.param(
            [mpa(engine="hpa")],
            [advice(conditions=(Condition(type="AbleToScale", status="True", reason="SucceededRescale"),))],
            {},
            {"AbleToScale": ("True", "SucceededRescale")},
            id="an-engine-speaks-for-itself",
        ),
        pytest.param(
            [mpa(engine="hpa", updateMode="Recommend")],
            [advice(conditions=(Condition(type="AbleToScale", status="True", reason="SucceededRescale"),))],
            {},
            {"AbleToScale": ("False", "ModeRecommend")},
            id="but-not-where-nobody-listens",
        ),
        pytest.param(
            [{**mpa(), "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "gone"}}}],
            [],
            {},
            {"AbleToScale": ("False", "TargetNotFound")},
            id="no-such-target",
        ),
        pytest.param(
            [{**mpa(), "spec": {"scaleTargetRef": {"kind": "Deployment"}}}],
            [],
            {},
            {"Valid": ("False", "Invalid"), "AbleToScale": ("False", "PolicyInvalid")},
            id="a-wrong-document",
        ),
    ],
)
def test_conditions(
    documents: list[dict[str, Any]],
    advices: list[Recommendation],
    decision: dict[str, Any],
    expected: dict[str, tuple[str, str]],
) -> None:
    (status,) = told(documents, *advices, **decision)
    assert {**conditions(status), **expected} == conditions(status)


@pytest.mark.parametrize(
    ("season", "policy", "expected"),
    [
        pytest.param(SeasonalModel(trusted=True, days=14), {}, ("True", "Trusted"), id="trusted"),
        pytest.param(SeasonalModel(trusted=False), {}, ("False", "NotTrusted"), id="no-better-than-now"),
        pytest.param(SeasonalModel(trusted=True), {"forecast": "Off"}, ("False", "Off"), id="switched-off"),
    ],
)
def test_forecasting(season: SeasonalModel, policy: dict[str, Any], expected: tuple[str, str]) -> None:
    seen = snapshot(models=(WorkloadModel(workload=WEB, fitted_at=0.0, season=season),))
    (status,) = told([mpa(**policy)], advice(), seen=seen)
    assert conditions(status)["Forecasting"] == expected


def test_of_two_documents_on_one_workload_the_second_is_told() -> None:
    note = Note(target="mpa/default/zweb", reasons=(Reason(Code.CONFLICT, "web governs it"),))
    first, second = told([mpa(), mpa("zweb")], advice(), notes=(note,))
    assert conditions(first)["Conflict"] == ("False", "NoConflict")
    assert conditions(second)["AbleToScale"] == ("False", "Outranked")
    assert conditions(second)["Conflict"] == ("True", "Conflict")
    assert "replicas" not in second.status


def test_the_time_of_a_condition_moves_only_with_its_status() -> None:
    old = "2020-01-01T00:00:00Z"
    before = {
        "conditions": [
            {"type": "AbleToScale", "status": "True", "reason": "Other", "lastTransitionTime": old},
            {"type": "Conflict", "status": "True", "reason": "Conflict", "lastTransitionTime": old},
        ]
    }
    (status,) = told([mpa(status=before)], advice())
    times = {each["type"]: each["lastTransitionTime"] for each in status.status["conditions"]}
    assert times["AbleToScale"] == old
    assert times["Conflict"] == "2023-11-15T00:00:00Z"


def test_all_reasons_are_told_once_those_that_hold_first() -> None:
    plan = Plan(actions=(SetReplicas(workload=WEB, replicas=3, expected=2, reasons=(CHEAPER, CAPPED)),))
    (status,) = told([mpa()], advice(), plan=plan, held=(HELD,))
    assert [reason["code"] for reason in status.status["reasons"]] == ["Conflict", "ShapeCheaperAtPrices", "AtMaximum"]


def test_no_price_means_no_cost_and_no_limit_on_words_is_broken() -> None:
    seen = snapshot()
    seen = msgspec.structs.replace(seen, prices=Prices(), node_groups=())
    (status,) = told([mpa()], advice(reasons=(Reason(Code.UNCHANGED, "x" * 5000),)), seen=seen)
    assert "cost" not in status.status
    assert len(status.status["reasons"][0]["message"]) == 1024


def test_every_field_is_one_that_the_api_stores() -> None:
    (status,) = told([mpa()], advice(lower_replicas=None), held=(HELD,))
    read = msgspec.convert(status.status, MpaStatus, dec_hook=decode_hook)
    assert read.replicas is not None
    assert read.replicas.current == 2


def test_other_documents_are_told_whether_they_are_valid_and_gke_s_are_left_alone() -> None:
    def document(kind: str, name: str, spec: Any, version: str = "podnode.io/v1alpha1") -> dict[str, Any]:
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "generation": 1}, "spec": spec}

    gke = {**mpa("gke"), "apiVersion": "autoscaling.gke.io/v1beta1"}
    documents = [
        gke,
        document("ScalingPolicy", "all", {"mode": "Auto"}),
        document("ScalingPolicy", "bad", {"mode": "Sometimes"}),
        document("NodeGroup", "group", {"provider": "kwok"}),
        document("Tenant", "team", {"namespaces": {}}),
    ]
    found = {status.name: status for status in told(documents)}
    assert {name: conditions(status) for name, status in found.items()} == {
        "all": {"Valid": ("True", "Valid")},
        "bad": {"Valid": ("False", "Invalid")},
        "group": {"Valid": ("True", "Valid")},
        "team": {"Valid": ("True", "Valid")},
    }
    assert "Sometimes" in found["bad"].status["conditions"][0]["message"]
