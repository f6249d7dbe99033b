"""What is known of workloads beyond their own objects: priorities, start-up times, changes, owners, custom kinds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.clock import ManualClock
from autoscaler.kube import decode_wire as wire
from autoscaler.kube import kinds
from autoscaler.kube.decode_placement import selector_of_text
from autoscaler.kube.decode_shape import ShapeReader
from autoscaler.kube.discovery import CustomRow, ScalableKind, custom_row_of
from autoscaler.kube.table import Table
from autoscaler.kube.workload_notes import MOST_STARTS, WorkloadNotes, start_seconds_of
from autoscaler.kube.workloads import WorkloadView
from autoscaler.model.placement import LabelSelector, Operator, Requirement
from autoscaler.model.pod import Phase, Pod, PodShape, ReadyCondition
from autoscaler.model.workload import Workload

ROLLOUTS = ScalableKind(
    kind="Rollout",
    api_version="argoproj.io/v1alpha1",
    resource="rollouts",
    replicas_path=".spec.size",
    status_replicas_path=".status.size.now",
    selector_path=".status.selector",
)
WEB = "shop/Deployment/web"


class Seen:
    """Tables as a store has them, and the view of them."""

    def __init__(self) -> None:
        self.clock = ManualClock(5000.0)
        self.shapes = ShapeReader()
        self.deployments: Table[wire.Workload, Any] = Table(
            lambda thing: kinds.workload_row_of(thing, self.shapes),
            changed=self._changed,
        )
        self.priorities: Table[wire.PriorityClass, Any] = Table(_priority)
        self.rollouts: Table[wire.Document, CustomRow] = Table(
            lambda thing: custom_row_of(thing, ROLLOUTS, self.shapes)
        )
        self.view = WorkloadView(
            self.clock,
            shapes=self.shapes,
            tables=[self.deployments],
            priorities=self.priorities,
            custom=lambda: [self.rollouts],
        )

    def _changed(self, key: str, old: object, new: object) -> None:
        self.view.row_changed(key, old, new)

    @property
    def workload(self) -> Workload:
        (found,) = self.view.workloads()
        return found


def _priority(thing: wire.PriorityClass) -> Any:
    return kinds.PRIORITIES.translate(thing, ShapeReader())


def deployment(*, cpu: str = "100m", revision: str = "1", replicas: int = 2, **pod: Any) -> wire.Workload:
    container = {"name": "app", "resources": {"requests": {"cpu": cpu}}}
    document = {
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "creationTimestamp": "1970-01-01T00:01:40Z",
            "annotations": {"deployment.kubernetes.io/revision": revision},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], **pod}},
        },
    }
    return msgspec.convert(document, wire.Workload)


def priority_class(name: str, value: int, **more: Any) -> wire.PriorityClass:
    return msgspec.convert({"metadata": {"name": name}, "value": value, **more}, wire.PriorityClass)


def pod(name: str = "web-1", *, workload: str = WEB, ready_at: float | None = 130.0, **more: Any) -> Pod:
    return Pod(
        name=name,
        shape=PodShape(namespace="shop", priority=7, owner_kind="ReplicaSet"),
        workload=workload,
        ready=None if ready_at is None else ReadyCondition("True", ready_at),
        **{"created_at": 100.0, "started_at": 101.0, **more},
    )


@pytest.mark.parametrize(
    ("pod_spec", "priority", "preempts"),
    [
        pytest.param({"priorityClassName": "high"}, 1000, "Never", id="the-class-it-names"),
        pytest.param({}, 5, "PreemptLowerPriority", id="the-default-class"),
        pytest.param({"priorityClassName": "system-node-critical"}, 2_000_001_000, "PreemptLowerPriority", id="system"),
        pytest.param({"priorityClassName": "unknown"}, 0, "PreemptLowerPriority", id="a-class-that-is-not-there"),
    ],
)
def test_a_template_gets_the_priority_that_its_pods_will_get(
    pod_spec: dict[str, Any], priority: int, preempts: str
) -> None:
    seen = Seen()
    seen.deployments.put(deployment(**pod_spec))
    seen.priorities.put(priority_class("high", 1000, preemptionPolicy="Never"))
    seen.priorities.put(priority_class("low", 5, globalDefault=True))
    seen.priorities.put(priority_class("lower", 9, globalDefault=True))
    template = seen.workload.template
    assert (template.priority, template.preemption_policy) == (priority, preempts)


@pytest.mark.parametrize(
    ("change", "changed_at"),
    [
        pytest.param({"cpu": "200m"}, 5060.0, id="its-template"),
        pytest.param({"revision": "2"}, 5060.0, id="its-revision"),
        pytest.param({"replicas": 9}, 100.0, id="not-its-replicas"),
    ],
)
def test_when_a_workload_changed(change: dict[str, Any], changed_at: float) -> None:
    seen = Seen()
    seen.deployments.put(deployment())
    assert seen.workload.changed_at == 100.0
    seen.clock.advance(60.0)
    seen.deployments.put(deployment(**change))
    assert seen.workload.changed_at == changed_at


def test_equal_workloads_are_not_made_again() -> None:
    seen = Seen()
    seen.deployments.put(deployment())
    before = seen.view.workloads()
    seen.deployments.put(deployment())
    assert seen.view.workloads() is before


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        pytest.param(pod(), 30.0, id="from-creation-to-ready"),
        pytest.param(pod(started_at=190.0, ready_at=200.0), 10.0, id="less-the-wait-for-a-node"),
        pytest.param(pod(ready_at=100.0), 1.0, id="at-least-a-second"),
        pytest.param(pod(restarts=1), None, id="not-after-a-restart"),
        pytest.param(pod(ready_at=None), None, id="not-before-it-is-ready"),
        pytest.param(pod(phase=Phase.PENDING), None, id="not-while-pending"),
    ],
)
def test_how_long_a_pod_took_to_start(given: Pod, seconds: float | None) -> None:

    assert start_seconds_of(given) == seconds


def test_the_ninth_of_ten_newest_pods_is_the_start_up_time() -> None:
    notes = WorkloadNotes()
    for number in range(100):
        notes.note_start(WEB, created_at=float(number), seconds=1000.0 if number < 80 else number - 79.0)
    assert MOST_STARTS == 20
    assert notes.start_seconds(WEB) == 18.0
    version = notes.version
    notes.note_start(WEB, created_at=3.0, seconds=9999.0)
    assert (notes.version, notes.start_seconds(WEB)) == (version, 18.0)


def test_a_pod_that_becomes_ready_again_is_not_counted_twice() -> None:
    seen = Seen()
    seen.deployments.put(deployment())
    seen.view.pod_changed(None, pod(ready_at=None))
    seen.view.pod_changed(pod(ready_at=None), pod())
    assert seen.workload.start_seconds == 30.0
    seen.view.pod_changed(pod(), pod(ready_at=500.0))
    assert seen.workload.start_seconds == 30.0


def test_notes_go_with_their_workload() -> None:
    seen = Seen()
    seen.deployments.put(deployment())
    seen.view.pod_changed(None, pod())
    seen.deployments.drop(deployment())
    seen.deployments.put(deployment())
    assert seen.workload.start_seconds == 0.0


def rollout(**spec: Any) -> wire.Document:
    document = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"size": 3, **spec},
        "status": {"size": {"now": 2}, "selector": "app=web"},
    }
    return msgspec.convert(document, wire.Document)


def test_a_custom_workload_is_read_at_the_paths_of_its_definition() -> None:
    seen = Seen()
    container = {"name": "app", "resources": {"requests": {"cpu": "250m"}}}
    seen.rollouts.put(rollout(template={"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}))
    found = seen.workload
    assert (found.key, found.replicas, found.status_replicas) == ("shop/Rollout/web", 3, 2)
    assert found.selector == LabelSelector((("app", "web"),))
    assert found.template.containers[0].requests.cpu == 250
    seen.view.pod_changed(None, pod(workload=found.key))
    assert (seen.workload.template.priority, seen.workload.template.owner_kind) == (7, "ReplicaSet")


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="none"),
        pytest.param({"template": {"kind": "Cluster"}}, id="of-something-else"),
        pytest.param({"template": {"spec": {"containers": [{"name": 3}]}}}, id="unreadable"),
    ],
)
def test_a_custom_workload_without_a_template_waits_for_a_pod(spec: dict[str, Any]) -> None:
    seen = Seen()
    seen.rollouts.put(rollout(**spec))
    assert seen.view.workloads() == ()
    assert seen.view.untold() == ("shop/Rollout/web",)
    first = pod(workload="shop/Rollout/web")
    seen.view.pod_changed(None, first)
    assert seen.workload.template is first.shape
    assert seen.view.untold() == ()


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        pytest.param("", LabelSelector(), id="everything"),
        pytest.param("a=1,b==2", LabelSelector((("a", "1"), ("b", "2"))), id="equal"),
        pytest.param("a!=1", LabelSelector((), (Requirement("a", Operator.NOT_IN, ("1",)),)), id="not-equal"),
        pytest.param(
            "t in (b, a),u notin (c)",
            LabelSelector((), (Requirement("t", Operator.IN, ("a", "b")), Requirement("u", Operator.NOT_IN, ("c",)))),
            id="sets",
        ),
        pytest.param(
            "a/b,!c",
            LabelSelector((), (Requirement("a/b", Operator.EXISTS), Requirement("c", Operator.DOES_NOT_EXIST))),
            id="presence",
        ),
        pytest.param("a=(", None, id="nonsense"),
    ],
)
def test_selectors_as_text(text: str, selector: LabelSelector | None) -> None:
    assert selector_of_text(text) == selector
