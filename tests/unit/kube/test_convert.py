from __future__ import annotations

from typing import Any

import pytest

from autoscaler.documents import Document
from autoscaler.errors import InputError
from autoscaler.kube.convert import Converted, convert
from autoscaler.kube.convert_cron import window_minutes

WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


def hpa(name: str = "web", **spec: Any) -> dict[str, Any]:
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", name, {"scaleTargetRef": WEB, "maxReplicas": 9, **spec})


def vpa(name: str = "web", **spec: Any) -> dict[str, Any]:
    return _object("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", name, {"targetRef": WEB, **spec})


def scaled_object(*triggers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return _object("keda.sh/v1alpha1", "ScaledObject", "web", {"scaleTargetRef": WEB, "triggers": [*triggers], **spec})


def _object(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def converted(*values: Any, engine: str = "") -> Converted:
    return convert([Document(f"f{at}", value) for at, value in enumerate(values)], engine=engine)


def spec_of(*values: Any, engine: str = "") -> Any:
    (made,) = converted(*values, engine=engine).documents
    return made.value["spec"]


QUEUE = {"type": "prometheus", "metadata": {"query": "sum(queue)", "threshold": "5"}}
CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}
CRON = {
    "type": "cron",
    "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *", "desiredReplicas": "7"},
}


PODS = {"type": "kubernetes-workload", "metadata": {"podSelector": "app=producer", "value": "5"}}


@pytest.mark.parametrize(
    ("mode", "alone", "with_hpa"),
    [
        pytest.param(None, ("vpa", "Auto", "Recreate"), ("hpa+vpa", "Auto", "Recreate"), id="not-given"),
        pytest.param("Auto", ("vpa", "Auto", "Recreate"), ("hpa+vpa", "Auto", "Recreate"), id="auto-is-recreate"),
        pytest.param(
            "InPlaceOrRecreate",
            ("vpa", "Auto", "InPlaceOrRecreate"),
            ("hpa+vpa", "Auto", "InPlaceOrRecreate"),
            id="in-place-or-recreate",
        ),
        pytest.param("InPlace", ("vpa", "Auto", "InPlace"), ("hpa+vpa", "Auto", "InPlace"), id="in-place"),
        pytest.param("Initial", ("vpa", "Initial", None), ("hpa+vpa", "Auto", "OnRestart"), id="initial"),
        pytest.param("Off", ("vpa", "Recommend", None), ("hpa", "Auto", None), id="off"),
    ],
)
def test_modes_of_a_vpa(
    mode: str | None, alone: tuple[str, str, str | None], with_hpa: tuple[str, str, str | None]
) -> None:
    size = vpa(updatePolicy={"updateMode": mode} if mode else {})
    for values, expected in (((size,), alone), ((size, hpa()), with_hpa)):
        policy = spec_of(*values)["policy"]
        assert (policy["engine"], policy["updateMode"], policy.get("resize")) == expected


def test_one_document_for_an_hpa_and_a_vpa_on_one_workload() -> None:
    found = converted(vpa("size"), hpa("count"))
    (made,) = found.documents
    assert [source.title for source in made.sources] == [
        "HorizontalPodAutoscaler shop/count",
        "VerticalPodAutoscaler shop/size",
    ]
    assert made.value["metadata"] == {"name": "count", "namespace": "shop"}
    assert made.value["spec"]["constraints"]["containerControlledResources"] == ["memory"]
    assert ["cpu is what" in note.message for note in found.lost] == [True]


def test_the_joint_engine_sizes_what_it_scales_on() -> None:
    found = converted(vpa(), hpa(), engine="joint")
    assert found.lost == ()
    spec = found.documents[0].value["spec"]
    assert spec["policy"]["engine"] == "joint"
    assert spec["constraints"]["containerControlledResources"] == ["cpu", "memory"]


@pytest.mark.parametrize("side", [hpa(), vpa()], ids=["hpa", "vpa"])
def test_the_joint_engine_in_place_of_one_side_is_told(side: dict[str, Any]) -> None:
    (note,) = converted(side, engine="joint").notes
    assert note.message.startswith("engine joint sets")
    assert not note.lost


@pytest.mark.parametrize(
    ("triggers", "spec", "bounds"),
    [
        pytest.param([QUEUE], {}, (0, 100), id="keda-s-defaults"),
        pytest.param([QUEUE], {"minReplicaCount": 2, "maxReplicaCount": 5}, (2, 5), id="given"),
        pytest.param([CPU], {}, (1, 100), id="cpu-alone-cannot-wake-it"),
        pytest.param([CPU, QUEUE], {}, (0, 100), id="one-that-can-is-enough"),
        pytest.param([CRON, CPU], {}, (0, 100), id="a-schedule-wakes-it"),
        pytest.param([PODS], {}, (0, 100), id="pods-elsewhere-wake-it"),
        pytest.param([QUEUE], {"minReplicaCount": 2, "idleReplicaCount": 0}, (0, 100), id="idle-is-the-fewest"),
        pytest.param([QUEUE], {"minReplicaCount": 2, "idleReplicaCount": 2}, (2, 100), id="idle-must-be-fewer"),
    ],
)
def test_bounds_of_a_scaled_object(
    triggers: list[dict[str, Any]], spec: dict[str, Any], bounds: tuple[int, int]
) -> None:
    made = spec_of(scaled_object(*triggers, **spec))
    found = made["constraints"]["global"]
    assert made["policy"]["engine"] == "keda"
    assert (found["minReplicas"], found["maxReplicas"]) == bounds


@pytest.mark.parametrize(
    ("triggers", "spec", "bounds"),
    [
        pytest.param([QUEUE], {"minReplicaCount": 2, "idleReplicaCount": 0}, (2, 100), id="no-idle-mode"),
        pytest.param([CRON], {"minReplicaCount": 2}, (2, 2), id="schedules-alone-hold-it-outside"),
        pytest.param([CRON, CPU], {}, (1, 100), id="schedules-do-not-wake-it"),
        pytest.param([PODS], {}, (1, 1), id="pods-elsewhere-are-not-counted"),
    ],
)
def test_bounds_of_a_scaled_object_under_another_engine(
    triggers: list[dict[str, Any]], spec: dict[str, Any], bounds: tuple[int, int]
) -> None:
    made = spec_of(scaled_object(*triggers, **spec), engine="joint")
    assert "params" not in made["policy"]
    assert (made["constraints"]["global"]["minReplicas"], made["constraints"]["global"]["maxReplicas"]) == bounds


@pytest.mark.parametrize(
    ("spec", "params"),
    [
        pytest.param({"pollingInterval": 30, "cooldownPeriod": 300}, None, id="defaults-need-no-words"),
        pytest.param({"cooldownPeriod": 0}, {"cooldown_seconds": 0}, id="times"),
        pytest.param(
            {"fallback": {"failureThreshold": 3, "replicas": 0}},
            {"fallback": {"failure_threshold": 3, "replicas": 0}},
            id="fallback",
        ),
        pytest.param(
            {"advanced": {"scalingModifiers": {"formula": "prometheus_0 / 2", "target": "2.5"}}},
            {"modifiers": {"formula": "prometheus_0 / 2", "target": 2.5}},
            id="formula",
        ),
        pytest.param({"advanced": {"scalingModifiers": {"formula": "1 +", "target": "2"}}}, None, id="not-a-formula"),
    ],
)
def test_parameters_of_a_scaled_object(spec: dict[str, Any], params: dict[str, Any] | None) -> None:
    assert spec_of(scaled_object(QUEUE, **spec))["policy"].get("params") == params


def test_beside_a_vpa_the_triggers_stay_and_what_only_keda_does_is_told() -> None:
    found = converted(scaled_object(QUEUE, fallback={"failureThreshold": 3, "replicas": 6}), vpa())
    spec = found.documents[0].value["spec"]
    assert spec["policy"]["engine"] == "hpa+vpa"
    assert [note.path for note in found.lost] == ["spec.fallback"]
    assert spec["goals"]["metrics"][0]["prometheus"]["activation"] == "0"


@pytest.mark.parametrize(
    ("low", "metadata", "activation"),
    [(0, {}, "0"), (0, {"activationThreshold": "3"}, "3"), (1, {"activationThreshold": "3"}, None)],
)
def test_only_what_may_sleep_has_an_activation(low: int, metadata: dict[str, str], activation: str | None) -> None:
    trigger = {"type": "prometheus", "metadata": {**QUEUE["metadata"], **metadata}}  # type: ignore[dict-item]
    (metric,) = spec_of(scaled_object(trigger, minReplicaCount=low))["goals"]["metrics"]
    assert metric["prometheus"].get("activation") == activation


@pytest.mark.parametrize(
    ("annotation", "value", "pause"),
    [
        ("paused", "true", {"up": True, "down": True}),
        ("paused", "false", None),
        ("paused-scale-in", "true", {"down": True}),
        ("paused-scale-out", "true", {"up": True}),
    ],
)
def test_pauses(annotation: str, value: str, pause: dict[str, bool] | None) -> None:
    thing = scaled_object(QUEUE)
    thing["metadata"]["annotations"] = {f"autoscaling.keda.sh/{annotation}": value}
    assert spec_of(thing)["policy"].get("pause") == pause


def test_paused_replicas_are_a_count_to_engine_keda_and_a_pause_to_others() -> None:
    thing = scaled_object(QUEUE)
    thing["metadata"]["annotations"] = {"autoscaling.keda.sh/paused-replicas": "0"}
    assert spec_of(thing)["policy"]["params"] == {"paused_replicas": 0}
    assert spec_of(thing, engine="joint")["policy"]["pause"] == {"up": True, "down": True}


def test_nothing_that_is_given_is_lost_in_silence() -> None:
    found = converted(hpa(unheard=1, behavior={"scaleUp": {"stabilizationWindowSeconds": 0}}), vpa(novelty={"a": 1}))
    said = [str(note) for note in found.lost]
    assert "no equivalent: HorizontalPodAutoscaler shop/web: spec.unheard: 1 has no counterpart" in said
    assert 'no equivalent: VerticalPodAutoscaler shop/web: spec.novelty: {"a":1} has no counterpart' in said


def test_a_field_that_our_document_refuses_says_so_and_writes_nothing() -> None:
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}, "more": 1}}
    found = converted(hpa(metrics=[metric]), hpa("other", scaleTargetRef={**WEB, "name": "other"}))
    assert [made.value["metadata"]["name"] for made in found.documents] == ["other"]
    assert "spec.goals.metrics[0].resource.more" in found.lost[0].message


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (hpa(maxReplicas="many"), "spec.maxReplicas"),
        (hpa(scaleTargetRef=[]), ""),
        (vpa(resourcePolicy={"containerPolicies": {"a": 1}}), "spec.resourcePolicy.containerPolicies"),
        (vpa(updatePolicy={"updateMode": ["Auto"]}), "spec.updatePolicy.updateMode"),
        (scaled_object(3), "spec.triggers[0]"),  # type: ignore[arg-type]
        (scaled_object({**PODS, "metadata": {"value": "many"}}), "spec.triggers[0].metadata.value"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(value: dict[str, Any], path: str) -> None:
    if not path:
        assert converted(value).documents == ()
        return
    with pytest.raises(InputError) as caught:
        converted(value)
    assert caught.value.path == path
    assert "shop/web" in str(caught.value)


def test_of_two_that_count_for_one_workload_the_first_by_name_is_taken() -> None:
    found = converted(hpa("b", minReplicas=3), hpa("a", minReplicas=2))
    assert found.documents[0].value["spec"]["constraints"]["global"]["minReplicas"] == 2
    assert [note.source for note in found.lost] == ["HorizontalPodAutoscaler shop/b"]


def test_what_keda_made_is_left_out_and_other_kinds_are_counted() -> None:
    made = hpa("keda-hpa-web")
    made["metadata"]["ownerReferences"] = [{"kind": "ScaledObject", "name": "web"}]
    found = converted(made, scaled_object(QUEUE), {"kind": "Pod"}, "text")
    assert len(found.documents) == 1
    assert found.skipped == 2
    assert not any(note.lost for note in found.notes)


def test_a_list_is_its_items_and_an_object_given_twice_counts_once() -> None:
    found = converted({"apiVersion": "v1", "kind": "List", "items": [hpa(), vpa()]}, hpa())
    assert len(found.documents) == 1
    assert any("given twice" in note.message for note in found.lost)


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        ("0 8 * * *", "0 9 * * *", 60),
        ("0 22 * * *", "0 4 * * *", 360),
        ("0 8 * * mon-fri", "30 17 * * mon-fri", 570),
        ("0 8 * * mon", "0 17 * * fri", 4 * 1440 + 540),
        ("0 8 27 11 *", "0 20 27 11 *", 720),
        ("0 8 * * *", "0 17 * * mon-fri", None),
        ("0 0 1 * *", "0 0 20 * *", None),
        ("*/10 8 * * *", "0 9 * * *", None),
        ("0 8 30 2 *", "0 9 * * *", None),
    ],
)
def test_windows_of_a_cron_trigger(start: str, end: str, minutes: int | None) -> None:
    assert window_minutes(start, end) == minutes
