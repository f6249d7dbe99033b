"""What the emulated applications use, serve and say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.backtest.scenario import load_scenario
from tests.cluster.emulation import Emulation, Load, workload_of
from tests.cluster.exposition import expose
from tests.cluster.metrics_api import selects
from tests.cluster.mirror import Deployment, Node, Pod

NODE = msgspec.convert(
    {"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "4", "memory": "16Gi"}}}, type=Node
)


def pod(
    name: str, *, app: str = "web", ready: bool = True, restarts: int = 0, uid: str = "", limits: Any = None
) -> Pod:
    resources = {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": limits or {}}
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "shop",
                "uid": uid or name,
                "labels": {"app": app, "pod-template-hash": "abc"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": f"{app}-abc", "controller": True}],
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "app", "resources": resources}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": str(ready)}],
                "containerStatuses": [{"name": "app", "restartCount": restarts}],
            },
        },
        type=Pod,
    )


def keyed(*pods: Pod) -> dict[tuple[str, str], Pod]:
    return {(each.metadata.namespace, each.metadata.name): each for each in pods}


def samples(emulation: Emulation, pods: dict[tuple[str, str], Pod]) -> dict[tuple[str, str], float]:
    """Return what is exposed, by metric and pod; only the widest bucket of a histogram."""
    text = expose(emulation, pods, ())
    return {
        (sample.name, sample.labels["pod"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("le", "+Inf") == "+Inf"
    }


def test_ready_pods_share_the_load_evenly() -> None:
    emulation, pods = Emulation(), keyed(pod("a"), pod("b"), pod("c", ready=False))
    emulation.set_load(Load(namespace="shop", name="web", requests=60.0, cores_per_request=0.01))
    emulation.update(pods, [NODE])
    emulation.advance(2.0)
    found = samples(emulation, pods)
    assert [found["http_requests_total", name] for name in "abc"] == [60.0, 60.0, 0.0]
    assert found["container_cpu_usage_seconds_total", "a"] == pytest.approx(0.6)
    assert found["http_request_duration_seconds_count", "b"] == 60.0


def test_rates_do_not_depend_on_speed_but_the_trace_does() -> None:
    world = load_scenario("tiny").world()
    service = world.services[0]
    assert service.requests is not None
    emulation = Emulation()
    emulation.play(world, speed=60.0)
    emulation.advance(1.0)
    now = world.history_steps + int(60.0 / world.step_seconds)
    assert emulation.loads()[service.key] == pytest.approx(float(service.requests[now]))
    assert emulation.trace_seconds == 60.0


def test_a_load_by_hand_comes_before_the_trace() -> None:
    world = load_scenario("tiny").world()
    service = world.services[0]
    emulation = Emulation()
    emulation.play(world, speed=1.0)
    emulation.set_load(Load(namespace=service.namespace, name=service.name, kind=service.kind, cores=3.0))
    emulation.advance(1.0)
    assert emulation.loads()[service.key] == 3.0


def test_a_reset_leaves_every_pod_idle() -> None:
    emulation = Emulation()
    emulation.play(load_scenario("tiny").world(), speed=60.0)
    emulation.set_load(Load(namespace="shop", name="web", cores=3.0))
    emulation.reset()
    emulation.update(keyed(pod("a")), [NODE])
    emulation.advance(1.0)
    assert set(emulation.loads().values()) == {0.0}


def test_use_that_is_not_measured_is_not_published() -> None:
    emulation, pods = Emulation(), keyed(pod("a"), pod("b"), pod("c"), pod("d", app="api"))
    emulation.set_load(Load(namespace="shop", name="web", cores=3.0, measured=0.5))
    emulation.update(pods, [NODE])
    emulation.advance(1.0)
    assert emulation.measured_pods() == [("shop", name) for name in "abd"]
    assert [name for metric, name in samples(emulation, pods) if metric == "container_cpu_usage_seconds_total"] == [
        *"abd"
    ]


def test_a_pod_over_its_limit_is_named_until_it_was_restarted() -> None:
    emulation, limits = Emulation(), {"memory": "128Mi"}
    emulation.set_load(Load(namespace="shop", name="web", memory_bytes=200e6))
    emulation.update(keyed(pod("a", limits=limits), pod("b")), [NODE])
    assert emulation.advance(0.5) == [("shop", "a")]
    emulation.update(keyed(pod("a", limits=limits, ready=False, restarts=1), pod("b")), [NODE])
    assert emulation.advance(0.5) == []


def test_a_new_pod_of_an_old_name_counts_from_zero() -> None:
    emulation = Emulation()
    emulation.set_load(Load(namespace="shop", name="web", cores=1.0))
    emulation.update(keyed(pod("a")), [NODE])
    emulation.advance(10.0)
    pods = keyed(pod("a", uid="another"))
    emulation.update(pods, [NODE])
    emulation.advance(1.0)
    assert samples(emulation, pods)["container_cpu_usage_seconds_total", "a"] == pytest.approx(1.0)


def test_a_cpu_limit_throttles_and_shows() -> None:
    emulation, pods = Emulation(), keyed(pod("a", limits={"cpu": "1"}))
    emulation.set_load(Load(namespace="shop", name="web", cores=2.0))
    emulation.update(pods, [NODE])
    emulation.advance(10.0)
    found = samples(emulation, pods)
    assert found["container_cpu_usage_seconds_total", "a"] == pytest.approx(10.0)
    assert found["container_cpu_cfs_throttled_periods_total", "a"] == pytest.approx(50.0)


def test_a_pod_without_its_node_says_nothing_and_comes_back_with_it() -> None:
    emulation, pods = Emulation(), keyed(pod("a"))
    emulation.update(pods, [])
    emulation.advance(1.0)
    assert ("container_memory_working_set_bytes", "a") not in samples(emulation, pods)
    emulation.update(pods, [NODE])
    emulation.advance(1.0)
    assert samples(emulation, pods)["container_memory_working_set_bytes", "a"] > 0


def test_deployments_and_pods_show_their_state() -> None:
    deployment = msgspec.convert(
        {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": 4}}, Deployment
    )
    text = expose(Emulation(), keyed(pod("a")), [deployment])
    assert 'kube_deployment_spec_replicas{namespace="shop",deployment="web"} 4' in text
    assert 'kube_pod_status_ready{namespace="shop",pod="a",condition="true"} 1' in text
    assert 'resource="cpu",unit="core"} 0.5' in text


@pytest.mark.parametrize(
    ("owner", "key"),
    [
        pytest.param({"kind": "ReplicaSet", "name": "web-abc"}, "shop/Deployment/web", id="of-a-deployment"),
        pytest.param({"kind": "ReplicaSet", "name": "bare"}, "shop/ReplicaSet/bare", id="of-a-bare-replica-set"),
        pytest.param({"kind": "StatefulSet", "name": "db"}, "shop/StatefulSet/db", id="of-a-stateful-set"),
        pytest.param(None, "shop/Pod/a", id="of-nothing"),
    ],
)
def test_a_pod_belongs_to_a_workload(owner: dict[str, str] | None, key: str) -> None:
    owners = [] if owner is None else [owner | {"controller": True}]
    plain = msgspec.to_builtins(pod("a"))
    plain["metadata"]["ownerReferences"] = owners
    assert workload_of(msgspec.convert(plain, type=Pod)) == key


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        pytest.param("", True, id="everything"),
        pytest.param("app=web,tier==front", True, id="all-labels-match"),
        pytest.param("app=web,tier=back", False, id="one-differs"),
        pytest.param("absent=", False, id="absent-label"),
    ],
)
def test_the_metrics_api_selects_by_labels(selector: str, selected: bool) -> None:
    assert selects(selector, {"app": "web", "tier": "front"}) is selected
