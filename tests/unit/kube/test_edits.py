"""What a write makes of a document, and that its undo gives back what was there."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from autoscaler.errors import ConflictError, InputError
from autoscaler.kube import edits
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.units import MIB

SIZE = ContainerSize(container="app", target=Resources.of(cpu=700))


def workload(**resources: Any) -> dict[str, Any]:
    container = {"name": "app", "image": "app:1", "resources": resources}
    sidecar = {"name": "proxy", "restartPolicy": "Always"}
    return {
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [container], "initContainers": [sidecar]}}},
    }


def app_of(document: dict[str, Any]) -> Any:
    return document["spec"]["template"]["spec"]["containers"][0]["resources"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"a": 1}, {"a": 1}, id="equal"),
        pytest.param({"a": 1}, {}, id="removed"),
        pytest.param({}, {"a": {"b": 2}}, id="added"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, id="changed-inside"),
        pytest.param({"a": [1, 2]}, {"a": [2]}, id="lists-are-replaced"),
        pytest.param({"a": {"b": 1}}, {"a": 1}, id="another-type"),
    ],
)
def test_a_merge_patch_turns_one_into_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert _merged(before, edits.merge_patch(before, after)) == after


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, as it is written there."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = _merged(target.get(name), value)
    return target


def test_only_what_is_named_changes_and_the_first_state_is_kept() -> None:
    document = workload(requests={"cpu": "250m", "memory": "64Mi"}, limits={"memory": "128Mi"})
    first = copy.deepcopy(app_of(document))
    edits.set_sizes(document, [SIZE], where="web")
    larger = ContainerSize(container="app", target=Resources.of(cpu=900), limits=Resources.of(cpu=1800))
    edits.set_sizes(document, [larger], where="web")
    assert app_of(document) == {
        "requests": {"cpu": "900m", "memory": "64Mi"},
        "limits": {"memory": "128Mi", "cpu": "1800m"},
    }
    noted = json.loads(document["metadata"]["annotations"][edits.ORIGINAL_REQUESTS])
    assert noted["app"]["was"] == first
    edits.restore_sizes(document, where="web")
    assert app_of(document) == first
    assert "annotations" not in document["metadata"]


def test_what_was_wished_for_new_pods_is_forgotten_too() -> None:
    document = workload(requests={"cpu": "250m"})
    before = copy.deepcopy(document)
    edits.wish_sizes(document, [SIZE], where="web")
    edits.restore_sizes(document, where="web")
    assert document == before


def test_a_person_s_change_becomes_what_is_put_back() -> None:
    document = workload(requests={"cpu": "250m"})
    edits.set_sizes(document, [SIZE], where="web")
    app_of(document)["requests"]["cpu"] = "2"
    edits.set_sizes(document, [SIZE], where="web")
    edits.restore_sizes(document, where="web")
    assert app_of(document) == {"requests": {"cpu": "2"}}


def test_a_person_s_last_change_is_not_undone() -> None:
    document = workload(requests={"cpu": "250m"})
    edits.set_sizes(document, [SIZE], where="web")
    app_of(document)["requests"]["cpu"] = "2"
    edits.restore_sizes(document, where="web")
    assert app_of(document) == {"requests": {"cpu": "2"}}


def test_amounts_are_compared_not_their_spelling() -> None:
    document = workload(requests={"cpu": "0.7", "memory": "65536Ki"})
    before = copy.deepcopy(document)
    same = ContainerSize(container="app", target=Resources.of(cpu=700, memory=64 * MIB))
    edits.set_sizes(document, [same], where="web")
    assert document == before


def test_a_sidecar_is_sized_too() -> None:
    document = workload()
    edits.set_sizes(document, [ContainerSize(container="proxy", target=Resources.of(cpu=50))], where="web")
    assert document["spec"]["template"]["spec"]["initContainers"][0]["resources"] == {"requests": {"cpu": "50m"}}


@pytest.mark.parametrize(
    ("document", "error", "said"),
    [
        pytest.param({"metadata": {}, "spec": {}}, InputError, "spec.template.spec.containers", id="no-template"),
        pytest.param(
            {**workload(), "metadata": {"annotations": {edits.ORIGINAL_REQUESTS: "{"}}},
            InputError,
            edits.ORIGINAL_REQUESTS,
            id="a-spoilt-note",
        ),
        pytest.param(
            {"metadata": {}, "spec": {"template": {"spec": {"containers": []}}}},
            ConflictError,
            "no container app",
            id="no-such-container",
        ),
    ],
)
def test_what_cannot_be_sized_is_said(document: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said.replace("[", "\\[")):
        edits.set_sizes(document, [SIZE], where="web")


def hpa(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": {"maxReplicas": 9, **spec}}


def test_an_hpa_that_is_set_aside_neither_scales_nor_bounds() -> None:
    document = hpa(minReplicas=3)
    edits.set_aside(document, kind="HorizontalPodAutoscaler", where="web")
    assert document["spec"] == {
        "minReplicas": 1,
        "maxReplicas": 2**31 - 1,
        "behavior": {"scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": {"selectPolicy": "Disabled"}},
    }
    noted = json.loads(document["metadata"]["annotations"][edits.SET_ASIDE])
    assert noted == {"behavior": None, "minReplicas": 3, "maxReplicas": 9}


def test_what_the_server_adds_to_a_stopped_hpa_does_not_matter() -> None:
    document = hpa()
    edits.set_aside(document, kind="HorizontalPodAutoscaler", where="web")
    document["spec"]["behavior"]["scaleUp"]["policies"] = [{"type": "Pods", "value": 4, "periodSeconds": 15}]
    edits.set_aside(document, kind="HorizontalPodAutoscaler", where="web")
    edits.give_back(document, kind="HorizontalPodAutoscaler", where="web")
    assert document == hpa()


def test_what_a_person_changed_while_it_was_aside_stays() -> None:
    document = hpa()
    edits.set_aside(document, kind="HorizontalPodAutoscaler", where="web")
    document["spec"]["maxReplicas"] = 20
    edits.give_back(document, kind="HorizontalPodAutoscaler", where="web")
    assert document == hpa(maxReplicas=20)


def test_a_scaled_object_that_was_paused_by_its_user_stays_paused() -> None:
    document = {"metadata": {"annotations": {edits.KEDA_PAUSED: "true"}}, "spec": {}}
    before = copy.deepcopy(document)
    edits.set_aside(document, kind="ScaledObject", where="web")
    edits.give_back(document, kind="ScaledObject", where="web")
    assert document == before


def test_a_rival_that_was_not_set_aside_is_left_alone() -> None:
    document = hpa(behavior={"scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": {"selectPolicy": "Disabled"}})
    before = copy.deepcopy(document)
    edits.give_back(document, kind="HorizontalPodAutoscaler", where="web")
    assert document == before


def test_a_spoilt_note_on_a_rival_is_told_by_name() -> None:
    document = hpa()
    document["metadata"]["annotations"] = {edits.SET_ASIDE: "[1]"}
    with pytest.raises(InputError, match=r"autoscaler web.*set-aside"):
        edits.give_back(document, kind="HorizontalPodAutoscaler", where="autoscaler web")
