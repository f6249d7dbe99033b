"""Which objects of other autoscalers are rivals, and of what."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.kube import decode
from autoscaler.model.resources import NOTHING, Resources

HPA = ("autoscaling/v2", "HorizontalPodAutoscaler")
VPA = ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler")
KEDA = ("keda.sh/v1alpha1", "ScaledObject")
GKE = ("autoscaling.gke.io/v1beta1", "MultidimPodAutoscaler")
OURS = ("podnode.io/v1alpha1", "MultidimPodAutoscaler")
WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
ASIDE = {"podnode.io/set-aside": "{}"}


def rival(kind: tuple[str, str], spec: dict[str, Any], **meta: Any) -> Any:
    metadata = {"name": "r", "namespace": "shop", **meta}
    return decode.decode_rival({"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, "spec": spec})


@pytest.mark.parametrize(
    ("kind", "spec", "acts_on"),
    [
        pytest.param(HPA, {"scaleTargetRef": WEB, "maxReplicas": 9}, ("replicas",), id="hpa"),
        pytest.param(HPA, {"scaleTargetRef": WEB, "minReplicas": 4, "maxReplicas": 4}, ("replicas",), id="hpa-fixed"),
        pytest.param(VPA, {"targetRef": WEB}, ("requests",), id="vpa-by-default"),
        pytest.param(VPA, {"targetRef": WEB, "updatePolicy": {"updateMode": "Initial"}}, ("requests",), id="vpa-once"),
        pytest.param(KEDA, {"scaleTargetRef": {"name": "web"}}, ("replicas",), id="keda-means-a-deployment"),
        pytest.param(GKE, {"scaleTargetRef": WEB}, ("replicas", "requests"), id="gke"),
    ],
)
def test_what_acts_is_a_rival(kind: tuple[str, str], spec: dict[str, Any], acts_on: tuple[str, ...]) -> None:
    found = rival(kind, spec)
    assert (found.workload, found.acts_on, found.set_aside) == ("shop/Deployment/web", acts_on, False)
    assert found.key == f"shop/{kind[1]}/r"


@pytest.mark.parametrize(
    ("kind", "spec", "meta"),
    [
        pytest.param(VPA, {"targetRef": WEB, "updatePolicy": {"updateMode": "Off"}}, {}, id="vpa-off"),
        pytest.param(
            KEDA, {"scaleTargetRef": WEB}, {"annotations": {"autoscaling.keda.sh/paused": "true"}}, id="keda-paused"
        ),
        pytest.param(GKE, {"scaleTargetRef": WEB, "policy": {"updateMode": "Off"}}, {}, id="gke-off"),
        pytest.param(GKE, {"scaleTargetRef": "web"}, {}, id="gke-unreadable"),
        pytest.param(OURS, {"scaleTargetRef": WEB}, {}, id="ours"),
    ],
)
def test_what_does_nothing_is_none(kind: tuple[str, str], spec: dict[str, Any], meta: dict[str, Any]) -> None:
    assert rival(kind, spec, **meta) is None


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        pytest.param(HPA, {"scaleTargetRef": WEB}, id="hpa"),
        pytest.param(VPA, {"targetRef": WEB, "updatePolicy": {"updateMode": "Off"}}, id="vpa"),
        pytest.param(KEDA, {"scaleTargetRef": WEB}, id="keda"),
        pytest.param(GKE, {"scaleTargetRef": WEB, "policy": {"updateMode": "Off"}}, id="gke"),
    ],
)
def test_what_we_stopped_is_known_by_our_annotation(kind: tuple[str, str], spec: dict[str, Any]) -> None:
    assert rival(kind, spec, annotations=ASIDE).set_aside


def test_an_hpa_that_keda_made_names_it() -> None:
    owner = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "web", "uid": "1", "controller": True}
    assert rival(HPA, {"scaleTargetRef": WEB}, ownerReferences=[owner]).owner == "ScaledObject/web"


def test_rivals_and_limit_ranges_of_a_file_are_in_the_snapshot() -> None:
    limits = [
        {"type": "Container", "min": {"cpu": "50m"}, "max": {"cpu": "2", "memory": "1Gi"}},
        {"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "4"}},
        {"type": "Pod", "max": {"memory": "8Gi"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Ti"}},
    ]
    meta = {"name": "r", "namespace": "shop"}
    snapshot = decode.decode_objects(
        [
            {"kind": "LimitRange", "metadata": meta, "spec": {"limits": limits}},
            {"apiVersion": HPA[0], "kind": HPA[1], "metadata": meta, "spec": {"scaleTargetRef": WEB}},
        ],
        observed_at=0.0,
    )
    assert [each.key for each in snapshot.rivals] == ["shop/HorizontalPodAutoscaler/r"]
    (bounds,) = snapshot.limit_ranges
    assert bounds.container_min == Resources.of(cpu=100)
    assert bounds.container_max == Resources.of(cpu=2000, memory=1 << 30)
    assert (bounds.pod_min, bounds.pod_max) == (NOTHING, Resources.of(memory=8 << 30))
