"""What became of a plan, as events on the objects that people look at."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.interfaces import Outcome
from autoscaler.kube.event_text import events_of
from autoscaler.kube.scale import OURS
from autoscaler.kube.status_text import ObjectStatus
from autoscaler.model.plan import (
    AnyAction,
    CordonNode,
    DeleteInstances,
    EvictPod,
    GiveBack,
    ResizePod,
    SetAside,
    SetGroupSize,
    SetQuota,
    SetReplicas,
    SetRequests,
    UncordonNode,
)
from autoscaler.model.policy import MpaSpec, MultidimPodAutoscaler, Policies
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.spec import TargetRef

WEB = "shop/Deployment/web"
WHY = (Reason(Code.LOAD_NEEDS_MORE, "load {x} needs it"),)
SIZE = (ContainerSize(container="app", target=Resources.of(cpu=350)),)
MPA = MultidimPodAutoscaler(
    namespace="shop", name="web-mpa", spec=MpaSpec(scale_target_ref=TargetRef(kind="Deployment", name="web"))
)


def status(kind: str, name: str, namespace: str = "", **fields: Any) -> ObjectStatus:
    resource = OURS[kind]
    return ObjectStatus(resource=resource, kind=kind, namespace=namespace, name=name, uid="u", status=fields)


STATUSES = (status("MultidimPodAutoscaler", "web-mpa", "shop"), status("NodeGroup", "pool"))


def told(*outcomes: Outcome) -> list[tuple[str, str, str]]:
    events = events_of(outcomes, STATUSES, Policies(mpas=(MPA,)))
    return [(f"{event.regarding.kind}/{event.regarding.name}", event.reason, event.note) for event in events]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param(
            SetReplicas(workload=WEB, replicas=4, expected=2, reasons=WHY),
            [("MultidimPodAutoscaler/web-mpa", "ScaledUp", "2 → 4 replicas: load {x} needs it")],
            id="up",
        ),
        pytest.param(
            SetReplicas(workload="shop/StatefulSet/db", replicas=1, expected=2),
            [("StatefulSet/db", "ScaledDown", "2 → 1 replicas")],
            id="down-without-a-document",
        ),
        pytest.param(
            SetRequests(workload=WEB, containers=SIZE),
            [("MultidimPodAutoscaler/web-mpa", "RequestsChanged", "new pods get app cpu 350m")],
            id="template",
        ),
        pytest.param(
            EvictPod(pod="shop/web-1", uid="1", workload=WEB, node="n1"),
            [("MultidimPodAutoscaler/web-mpa", "Evicted", "1 pod evicted from node n1")],
            id="eviction",
        ),
        pytest.param(EvictPod(pod="shop/alone", uid="1"), [], id="a-pod-of-nothing"),
        pytest.param(CordonNode(node="n1"), [("Node/n1", "Cordoned", "takes no new pods")], id="cordon"),
        pytest.param(UncordonNode(node="n1"), [("Node/n1", "Uncordoned", "takes pods again")], id="uncordon"),
        pytest.param(
            DeleteInstances(group="pool.m", nodes=("n1", "n2"), expected=2),
            [
                ("Node/n1", "NodeRemoved", "removed from node group pool.m"),
                ("Node/n2", "NodeRemoved", "removed from node group pool.m"),
            ],
            id="nodes-down",
        ),
        pytest.param(
            SetGroupSize(group="pool.m", size=5, expected=2),
            [("NodeGroup/pool", "NodeGroupResized", "node group pool.m: 2 → 5 nodes")],
            id="nodes-up",
        ),
        pytest.param(SetGroupSize(group="other", size=5, expected=2), [], id="a-group-without-a-document"),
        pytest.param(
            SetQuota(namespace="shop", name="team", hard=(("pods", 9),)),
            [("ResourceQuota/team", "QuotaChanged", "limits changed")],
            id="quota",
        ),
        pytest.param(
            SetAside(rival="shop/HorizontalPodAutoscaler/web", workload=WEB),
            [
                (kind, "SetAside", "HorizontalPodAutoscaler web was set aside: it is kept as it was, but does not act")
                for kind in ("HorizontalPodAutoscaler/web", "MultidimPodAutoscaler/web-mpa")
            ],
            id="rival-aside",
        ),
        pytest.param(
            GiveBack(rival="shop/VerticalPodAutoscaler/web", workload=""),
            [("VerticalPodAutoscaler/web", "GivenBack", "VerticalPodAutoscaler web acts again as it did before")],
            id="rival-back",
        ),
    ],
)
def test_what_was_done(action: AnyAction, expected: list[tuple[str, str, str]]) -> None:
    assert told(Outcome(action=action, result="done")) == expected


def test_pods_of_one_workload_are_told_together() -> None:
    resizes = [ResizePod(pod=f"shop/web-{number}", workload=WEB, containers=SIZE) for number in range(3)]
    assert told(*(Outcome(action=action, result="done") for action in resizes)) == [
        ("MultidimPodAutoscaler/web-mpa", "Resized", "3 pods resized in place to app cpu 350m")
    ]


def test_what_failed_says_why_and_what_was_only_recorded_is_silent() -> None:
    action = SetReplicas(workload=WEB, replicas=4, expected=2)
    events = events_of(
        [Outcome(action=action, result="failed", message="409 changed")], STATUSES, Policies(mpas=(MPA,))
    )
    assert [(event.reason, event.note, event.warning) for event in events] == [
        ("FailedScale", "2 → 4 replicas: 409 changed", True)
    ]
    assert told(Outcome(action=action, result="held"), Outcome(action=action, result="valid")) == []


def test_documents_in_trouble_are_told() -> None:
    conditions = [
        {"type": "Valid", "status": "True", "reason": "Valid", "message": ""},
        {"type": "Conflict", "status": "True", "reason": "Conflict", "message": "an HPA also acts"},
    ]
    broken = [{"type": "Valid", "status": "False", "reason": "Invalid", "message": "spec.mode: ..."}]
    statuses = (
        status("MultidimPodAutoscaler", "web-mpa", "shop", conditions=conditions),
        status("ScalingPolicy", "all", conditions=broken),
    )
    events = events_of((), statuses, Policies(mpas=(MPA,)))
    assert [(event.regarding.name, event.reason, event.note, event.warning) for event in events] == [
        ("web-mpa", "Conflict", "an HPA also acts", True),
        ("all", "Invalid", "spec.mode: ...", True),
    ]
