"""CapacityBuffers as they are read, and what their status says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.errors import InputError
from autoscaler.kube.buffers import (
    BufferRow,
    CapacityBuffer,
    PodTemplate,
    buffer_of,
    buffer_statuses,
    joined,
    template_of,
)
from autoscaler.kube.decode_shape import ShapeReader
from autoscaler.kube.status import News, news_of
from autoscaler.testing.builders import NOW, make_workload

SCALABLE = {"scalableRef": {"apiGroup": "apps", "kind": "Deployment", "name": "web"}}
TEMPLATE = {"podTemplateRef": {"name": "spare"}}
REQUESTS = {"requests": {"cpu": "1500m"}}


def read(spec: dict[str, Any], **fields: Any) -> BufferRow | None:
    document = {"kind": "CapacityBuffer", "metadata": {"name": "b", "namespace": "default"}, "spec": spec, **fields}
    return buffer_of(msgspec.convert(document, CapacityBuffer))


def row(spec: dict[str, Any], **fields: Any) -> BufferRow:
    found = read(spec, **fields)
    assert found is not None
    return found


def spare() -> PodTemplate:
    pod = {"spec": {"containers": [{"name": "app", "resources": REQUESTS}]}}
    return msgspec.convert({"metadata": {"name": "spare", "namespace": "default"}, "template": pod}, PodTemplate)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        pytest.param({}, "one of podTemplateRef and scalableRef", id="neither"),
        pytest.param({**SCALABLE, **TEMPLATE}, "one of podTemplateRef and scalableRef", id="both"),
        pytest.param({**TEMPLATE, "percentage": 10}, "spec.percentage: allowed only", id="percentage-of-a-template"),
        pytest.param({**SCALABLE, "replicas": -1}, "spec.replicas: -1", id="a-negative-number"),
        pytest.param({**SCALABLE, "replicas": 1}, "", id="right"),
    ],
)
def test_what_is_wrong_is_named(spec: dict[str, Any], problem: str) -> None:
    found = row(spec).buffer.problem
    assert found.startswith(problem) if not problem else problem in found


def test_a_limit_that_is_no_quantity_is_refused() -> None:
    with pytest.raises(InputError, match=r"spec\.limits"):
        read({**SCALABLE, "limits": {"cpu": "much"}})


def test_buffers_of_other_strategies_are_somebody_elses() -> None:
    assert read({**SCALABLE, "provisioningStrategy": "buffer.gke.io/standby-capacity"}) is None
    assert read({**SCALABLE, "provisioningStrategy": "buffer.x-k8s.io/active-capacity"}) is not None


def test_a_template_is_joined_by_name_within_the_namespace() -> None:
    template = template_of(spare(), ShapeReader())
    [buffer] = joined([row({**TEMPLATE, "replicas": 1})], [template])
    assert buffer.template == template.shape
    [buffer] = joined([row({**TEMPLATE, "replicas": 1})], [])
    assert "there is no PodTemplate default/spare" in buffer.problem


def test_a_status_changes_only_with_what_it_says() -> None:
    web = make_workload("web", replicas=10)
    spec = {**SCALABLE, "percentage": 20}

    def told(before: dict[str, Any], *, why_not: str = "", now: float = NOW) -> dict[str, Any]:
        each = row(spec, status=before)
        [status] = buffer_statuses([each], [each.buffer], [web], why_not=why_not, now=now)
        assert status.path.endswith("/namespaces/default/capacitybuffers/b/status")
        return status.status

    first = told({})
    assert first["replicas"] == 2
    assert [(each["type"], each["status"]) for each in first["conditions"]] == [
        ("ReadyForProvisioning", "True"),
        ("Provisioning", "True"),
    ]
    assert told(first, now=NOW + 60) == first
    assert news_of(first, {}) is News.CHANGE
    assert news_of(told(first), first) is News.NONE
    held = told(first, why_not="mode Recommend", now=NOW + 60)
    assert news_of(held, first) is News.CHANGE
    ready, provisioning = held["conditions"]
    assert ready["lastTransitionTime"] == first["conditions"][0]["lastTransitionTime"]
    assert (provisioning["status"], provisioning["message"]) == ("False", "mode Recommend")
    assert provisioning["lastTransitionTime"] != first["conditions"][1]["lastTransitionTime"]
