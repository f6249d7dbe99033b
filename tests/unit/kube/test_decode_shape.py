"""Specs are translated once each, and never mistaken for one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from autoscaler.kube import decode_wire as wire
from autoscaler.kube.decode_pod import pod_of
from autoscaler.kube.decode_shape import ShapeReader

CAPTURE = Path(__file__).resolve().parents[2] / "data" / "captures" / "minikube-1.34.json"
TOKEN = {"name": "kube-api-access-7x2vq", "projected": {"sources": []}}


def pod(name: str = "web-1", *, meta: dict[str, Any] | None = None, **spec: Any) -> wire.Pod:
    container = {"name": "app", "resources": {"requests": {"cpu": "250m"}}}
    document = {
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}, **(meta or {})},
        "spec": {"containers": [container], "volumes": [TOKEN], **spec},
    }
    return msgspec.convert(document, wire.Pod)


def test_siblings_share_one_shape_whatever_is_theirs_alone() -> None:
    shapes = ShapeReader()
    other = pod("web-2", meta={"uid": "2"}, nodeName="n", volumes=[{**TOKEN, "name": "kube-api-access-b"}])
    assert shapes.read(pod(), owner_kind="") is shapes.read(other, owner_kind="")
    assert len(shapes) == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(pod(meta={"namespace": "bank"}), id="namespace"),
        pytest.param(pod(meta={"labels": {"app": "api"}}), id="labels"),
        pytest.param(pod(priority=3), id="priority"),
        pytest.param(pod(nodeSelector={"disk": "ssd"}), id="node-selector"),
        pytest.param(pod(tolerations=[{"operator": "Exists"}]), id="tolerations"),
        pytest.param(pod(schedulingGates=[{"name": "wait"}]), id="gates"),
        pytest.param(pod(resourceClaims=[{"name": "gpu"}]), id="device-claims"),
        pytest.param(pod(volumes=[{"name": "c", "persistentVolumeClaim": {"claimName": "c"}}]), id="claims"),
        pytest.param(pod(volumes=[{"name": "tmp", "emptyDir": {}}]), id="local-storage"),
        pytest.param(pod("web-2", volumes=[{"name": "e", "ephemeral": {}}]), id="ephemeral"),
        pytest.param(pod(containers=[{"name": "app"}]), id="requests"),
    ],
)
def test_what_matters_makes_another_shape(other: wire.Pod) -> None:
    shapes = ShapeReader()
    assert shapes.read(pod(), owner_kind="") != shapes.read(other, owner_kind="")
    assert shapes.read(pod(), owner_kind="") != shapes.read(pod(), owner_kind="Job")


@pytest.mark.parametrize("name", ["safe-to-evict", "safe-to-evict-local-volumes"])
def test_annotations_about_local_storage_count(name: str) -> None:
    shapes = ShapeReader()
    value = "true" if name == "safe-to-evict" else "tmp"
    local: Any = {"volumes": [{"name": "tmp", "emptyDir": {}}]}
    safe = pod(meta={"annotations": {f"cluster-autoscaler.kubernetes.io/{name}": value}}, **local)
    assert shapes.read(pod(**local), owner_kind="").local_storage
    assert not shapes.read(safe, owner_kind="").local_storage


def test_what_is_remembered_is_what_would_be_translated() -> None:
    items = json.loads(CAPTURE.read_text())["items"]
    pods = [msgspec.convert(item, wire.Pod) for item in items if item["kind"] == "Pod"]
    shapes = ShapeReader()
    first = [pod_of(each, shapes) for each in pods]
    assert [pod_of(each, shapes) for each in pods] == first == [pod_of(each, ShapeReader()) for each in pods]


def test_shapes_that_nothing_has_are_forgotten() -> None:
    shapes = ShapeReader()
    kept, dropped = shapes.read(pod(), owner_kind=""), shapes.read(pod(priority=3), owner_kind="")
    shapes.forget_all_but([kept])
    assert len(shapes) == 1
    assert shapes.read(pod(), owner_kind="") is kept
    again = shapes.read(pod(priority=3), owner_kind="")
    assert again == dropped
    assert again is not dropped
