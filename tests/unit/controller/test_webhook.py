"""New pods get what was decided for them, and are never held up."""

from __future__ import annotations

import base64
import copy
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from autoscaler.controller.webhook import RESIZED_FROM, WishesOf, json_patch, owner_of, webhook
from autoscaler.errors import TransientError
from autoscaler.kube.wishes import Wishes
from autoscaler.telemetry.metrics import Metrics

POD: dict[str, Any] = {
    "metadata": {
        "labels": {"pod-template-hash": "5d4f"},
        "ownerReferences": [{"controller": True, "kind": "ReplicaSet", "name": "web-5d4f"}],
    },
    "spec": {
        "containers": [
            {"name": "side", "image": "s"},
            {"name": "app", "image": "a", "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}},
        ]
    },
}
WISH: Wishes = {"app": {"requests": {"cpu": "250m", "memory": "1Gi"}}}


@pytest.mark.parametrize(
    ("labels", "owner", "key"),
    [
        pytest.param({"pod-template-hash": "5d4f"}, "ReplicaSet/web-5d4f", "shop/Deployment/web", id="deployment"),
        pytest.param({}, "ReplicaSet/web-5d4f", "shop/ReplicaSet/web-5d4f", id="replica-set-of-its-own"),
        pytest.param({}, "StatefulSet/db", "shop/StatefulSet/db", id="stateful-set"),
        pytest.param({"pod-template-hash": "5d4f"}, "Rollout/web", "shop/Rollout/web", id="custom-kind"),
    ],
)
def test_a_pod_tells_its_workload(labels: dict[str, str], owner: str, key: str) -> None:
    kind, _, name = owner.partition("/")
    references = [{"kind": "X", "name": "y"}, {"controller": True, "kind": kind, "name": name}]
    assert owner_of({"metadata": {"labels": labels, "ownerReferences": references}}, "shop") == key


def test_a_pod_of_nobody_has_no_workload() -> None:
    assert owner_of({}, "shop") == ""
    assert owner_of({"metadata": {"ownerReferences": [{"kind": "Job", "name": "x"}]}}, "shop") == ""


def test_requests_change_and_the_former_are_kept_on_the_pod() -> None:
    pod = _patched(POD, json_patch(POD, WISH))
    resources = pod["spec"]["containers"][1]["resources"]
    assert resources == {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": "1"}}
    assert pod["spec"]["containers"][0] == POD["spec"]["containers"][0]
    before = msgspec.json.decode(pod["metadata"]["annotations"][RESIZED_FROM])
    assert before == {"app": POD["spec"]["containers"][1]["resources"]}


def test_other_annotations_stay() -> None:
    pod = copy.deepcopy(POD)
    pod["metadata"]["annotations"] = {"a/b": "c"}
    assert set(_patched(pod, json_patch(pod, WISH))["metadata"]["annotations"]) == {"a/b", RESIZED_FROM}


def test_a_request_never_exceeds_a_limit_that_stays() -> None:
    pod = _patched(POD, json_patch(POD, {"app": {"requests": {"cpu": "4"}}}))
    assert pod["spec"]["containers"][1]["resources"]["requests"] == {"cpu": "1"}


@pytest.mark.parametrize(
    "wishes",
    [
        pytest.param({}, id="no-wish"),
        pytest.param({"other": {"requests": {"cpu": "1"}}}, id="a-container-that-is-not-there"),
        pytest.param({"app": {"requests": {"cpu": "0.5"}}}, id="what-it-has-in-other-words"),
        pytest.param({"app": {}}, id="an-empty-wish"),
    ],
)
def test_a_pod_that_has_what_it_should_is_untouched(wishes: Wishes) -> None:
    assert json_patch(POD, wishes) == []


async def test_a_review_is_answered_with_a_patch() -> None:
    asked: list[str] = []

    async def wishes_of(workload: str) -> Wishes:
        asked.append(workload)
        return WISH

    metrics = Metrics()
    response = await _reviewed(wishes_of, POD, metrics)
    assert asked == ["shop/Deployment/web"]
    assert (response["uid"], response["allowed"], response["patchType"]) == ("u1", True, "JSONPatch")
    assert msgspec.json.decode(base64.b64decode(response["patch"])) == json_patch(POD, WISH)
    assert metrics.registry.get_sample_value("podnode_webhook_reviews_total", {"result": "resized"}) == 1


async def _no_answer(workload: str) -> Wishes:
    raise TransientError("no", retry_after_seconds=1)


async def _bug(workload: str) -> Wishes:
    raise KeyError(workload)


async def _spoilt(workload: str) -> Wishes:
    return {"app": {"requests": {"cpu": "much"}}}


@pytest.mark.parametrize("wishes_of", [_no_answer, _bug, _spoilt])
async def test_whatever_is_wrong_the_pod_is_allowed_as_it_is(wishes_of: WishesOf) -> None:
    metrics = Metrics()
    assert await _reviewed(wishes_of, POD, metrics) == {"uid": "u1", "allowed": True}
    assert metrics.registry.get_sample_value("podnode_webhook_reviews_total", {"result": "failed"}) == 1


@pytest.mark.parametrize("pod", [None, {}, {"spec": None, "metadata": None}])
async def test_a_pod_that_says_little_is_allowed(pod: dict[str, Any] | None) -> None:
    assert await _reviewed(_bug, pod, Metrics()) == {"uid": "u1", "allowed": True}


async def test_what_is_no_review_is_refused() -> None:
    async with TestClient(TestServer(webhook(_bug, Metrics()))) as client:
        assert (await client.post("/mutate-pods", data=b"{")).status == 400


async def _reviewed(wishes_of: WishesOf, pod: dict[str, Any] | None, metrics: Metrics) -> dict[str, Any]:
    request = {"uid": "u1", "namespace": "shop", "operation": "CREATE", "object": pod}
    async with TestClient(TestServer(webhook(wishes_of, metrics))) as client:
        answer = await client.post("/mutate-pods", json={"request": request})
        assert answer.status == 200
        review = await answer.json()
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: dict[str, Any] = review["response"]
    return response


def _patched(pod: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """Apply the `add` operations of a JSON patch, as RFC 6902 says."""
    pod = copy.deepcopy(pod)
    for operation in patch:
        assert operation["op"] == "add"
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        at: Any = pod
        for part in path:
            at = at[int(part)] if isinstance(at, list) else at[part]
        at[last] = operation["value"]
    return pod
