"""Reading API objects: real ones, odd ones and wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.errors import InputError
from autoscaler.kube import decode
from autoscaler.model.node import SPOT
from autoscaler.model.placement import HostPort, LabelSelector, Operator, Requirement
from autoscaler.model.pod import Phase, ShapeInterner
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.workload import Workload

DATA = Path(__file__).resolve().parents[2] / "data"
MANIFESTS = sorted((DATA / "manifests").glob("*.yaml"))
CAPTURE = DATA / "captures" / "minikube-1.34.json"


def pod_document(*, spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **meta: Any) -> Any:
    container = {"name": "app", "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}
    return {
        "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "shop", **meta},
        "spec": {"containers": [container], **(spec or {})},
        "status": {"phase": "Running", **(status or {})},
    }


def decode_manifest(path: Path) -> ClusterSnapshot:
    return decode.decode_objects(list(yaml.safe_load_all(path.read_text())), observed_at=0.0)


def workload_in(name: str) -> Workload:
    (workload,) = decode_manifest(DATA / "manifests" / name).workloads
    return workload


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_published_manifest_decodes(path: Path) -> None:
    snapshot = decode_manifest(path)
    assert snapshot.workloads or snapshot.disruption_budgets


def test_a_template_gets_its_limits_as_missing_requests() -> None:
    workload = workload_in("workloads__gpu-nvidia.yaml")
    assert workload.key == "default/Deployment/gpu-nvidia"
    assert workload.template.containers[0].requests.get("nvidia.com/gpu") == 1
    assert workload.template.owner_kind == "ReplicaSet"


def test_a_daemon_set_cannot_be_scaled() -> None:
    workload = workload_in("nodeExporter-daemonset.yaml")
    assert not workload.scalable
    # It runs on the host's network, so what it listens on is taken from the host.
    ports = [port for container in workload.template.containers for port in container.ports]
    assert HostPort(9100) in ports


def test_a_capture_of_a_real_cluster_decodes_from_bytes_and_from_a_document() -> None:
    text = CAPTURE.read_bytes()
    snapshot = decode.decode_list(text, observed_at=9.0)
    assert snapshot == decode.decode_list(json.loads(text), observed_at=9.0)
    pods = {pod.name: pod for pod in snapshot.pods}
    assert [pod.key for pod in snapshot.pods] == sorted(pod.key for pod in snapshot.pods)
    assert pods["coredns-66bc5c9577-d98t2"].workload == "kube-system/Deployment/coredns"
    assert pods["coredns-66bc5c9577-d98t2"].is_ready
    assert pods["etcd-datagen-1-34"].shape.owner_kind == "Node"
    assert pods["etcd-datagen-1-34"].workload == ""
    assert pods["e2e-container-pending"].phase is Phase.PENDING
    assert pods["e2e-failjob-cdhgp"].terminations[0].reason == "Error"
    assert pods["e2e-statefulset-0"].resize is None
    assert snapshot.nodes[0].ready
    assert snapshot.nodes[0].allocatable.get("pods") == 110


def test_equal_pods_share_one_shape() -> None:
    shapes = ShapeInterner()
    one = decode.decode_pod(pod_document(), shapes=shapes)
    other = decode.decode_pod(pod_document(name="web-2", spec={"nodeName": "n1"}), shapes=shapes)
    assert one.shape is other.shape
    assert (one.node, other.node) == ("", "n1")


@pytest.mark.parametrize(
    ("owner", "labels", "workload"),
    [
        pytest.param(("ReplicaSet", "web-7d9"), {"pod-template-hash": "7d9"}, "shop/Deployment/web", id="deployment"),
        pytest.param(("ReplicaSet", "web-7d9"), {}, "shop/ReplicaSet/web-7d9", id="bare-replica-set"),
        pytest.param(("StatefulSet", "db"), {}, "shop/StatefulSet/db", id="stateful-set"),
        pytest.param(("Node", "n1"), {}, "", id="static-pod"),
    ],
)
def test_the_workload_follows_from_the_controller(
    owner: tuple[str, str], labels: dict[str, str], workload: str
) -> None:
    references = [{"kind": owner[0], "name": owner[1], "controller": True}]
    pod = decode.decode_pod(pod_document(labels=labels, ownerReferences=references))
    assert pod.workload == workload
    assert pod.shape.owner_kind == owner[0]


@pytest.mark.parametrize(
    ("annotations", "ban", "local"),
    [
        pytest.param({}, "", True, id="nothing-said"),
        pytest.param(
            {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            "cluster-autoscaler.kubernetes.io/safe-to-evict",
            True,
            id="not-safe-to-evict",
        ),
        pytest.param({"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}, "", False, id="safe-to-evict"),
        pytest.param({"karpenter.sh/do-not-disrupt": "true"}, "karpenter.sh/do-not-disrupt", True, id="karpenter"),
        pytest.param(
            {"cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": "tmp"}, "", False, id="safe-volume"
        ),
    ],
)
def test_what_forbids_eviction(annotations: dict[str, str], ban: str, local: bool) -> None:
    spec = {"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "ram", "emptyDir": {"medium": "Memory"}}]}
    pod = decode.decode_pod(pod_document(spec=spec, annotations=annotations))
    assert (pod.do_not_evict, pod.shape.local_storage) == (ban, local)


def test_claims_come_from_volumes_in_order() -> None:
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "settings", "configMap": {"name": "x"}},
    ]
    assert decode.decode_pod(pod_document(spec={"volumes": volumes})).shape.claims == ("data-0", "web-1-scratch")


def test_statuses_that_repeat_the_spec_are_no_resize() -> None:
    same = {"cpu": "250m", "memory": "64Mi"}
    status = {"name": "app", "allocatedResources": same, "resources": {"requests": same}}
    assert decode.decode_pod(pod_document(status={"containerStatuses": [status]})).resize is None


def test_a_deferred_resize_is_kept_with_its_amounts() -> None:
    status = {"name": "app", "allocatedResources": {"cpu": "100m"}, "restartCount": 3}
    condition = {"type": "PodResizePending", "status": "True", "reason": "Deferred"}
    pod = decode.decode_pod(pod_document(status={"containerStatuses": [status], "conditions": [condition]}))
    assert pod.resize is not None
    assert pod.resize.state == "Deferred"
    assert pod.resize.containers[0].allocated == Resources.of(cpu=100)
    assert pod.restarts == 3


def test_conditions_times_and_gates() -> None:
    since = "2026-01-01T00:00:10Z"
    conditions = [
        {"type": "Ready", "status": "False", "lastTransitionTime": since},
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": since},
    ]
    document = pod_document(
        status={"phase": "Pending", "conditions": conditions, "nominatedNodeName": "node-7"},
        spec={"schedulingGates": [{"name": "wait"}], "resourceClaims": [{"name": "gpu"}, {"name": "nic"}]},
        deletionTimestamp="2026-01-01T00:00:00Z",
    )
    pod = decode.decode_pod(document)
    assert pod.unschedulable_since == 1767225610.0
    assert pod.deleted_at == 1767225600.0
    assert pod.shape.gated
    assert pod.shape.device_claims == 2
    assert (pod.node, pod.nominated_node) == ("", "node-7")
    assert not pod.is_ready


def test_an_absent_selector_is_not_an_empty_one() -> None:
    document: dict[str, Any] = {"metadata": {"name": "b"}, "spec": {}}
    assert decode.decode_budget(document).selector is None
    document["spec"] = {"selector": {}}
    assert decode.decode_budget(document).selector == LabelSelector()


@pytest.mark.parametrize(
    ("taint", "at"),
    [
        pytest.param({"key": "podnode.io/interrupted", "value": "1234"}, 1234.0, id="its-value"),
        pytest.param(
            {"key": "aws-node-termination-handler/spot-itn", "timeAdded": "1970-01-01T00:16:40Z"}, 1120.0, id="aws"
        ),
        pytest.param(
            {"key": "cloud.google.com/impending-node-termination", "timeAdded": "1970-01-01T00:16:40Z"},
            1030.0,
            id="gke",
        ),
        pytest.param({"key": "team"}, None, id="another-taint"),
    ],
)
def test_a_taint_tells_that_the_cloud_takes_the_node(taint: dict[str, str], at: float | None) -> None:
    taints = [{"effect": "NoSchedule", **taint}]
    node = decode.decode_node({"kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": taints}})
    assert node.interrupt_at == at


def test_a_node_tells_its_type_zone_and_terms() -> None:
    labels = {
        "topology.kubernetes.io/zone": "eu-1a",
        "node.kubernetes.io/instance-type": "m7i.large",
        "karpenter.sh/capacity-type": "spot",
    }
    node = decode.decode_node(
        {
            "metadata": {"name": "n1", "labels": labels},
            "spec": {"providerID": "aws:///eu-1a/i-0abc", "taints": [{"key": "gpu", "effect": "NoSchedule"}]},
            "status": {"capacity": {"cpu": "2"}, "conditions": [{"type": "Ready", "status": "Unknown"}]},
        }
    )
    assert (node.zone, node.instance_type, node.capacity_type) == ("eu-1a", "m7i.large", SPOT)
    assert (node.instance_id, node.ready, node.allocatable) == ("i-0abc", False, Resources.of(cpu=2000))


def test_quota_cpu_is_in_millicores_whatever_its_prefix() -> None:
    quota = decode.decode_quota(
        {"metadata": {"name": "q", "namespace": "a"}, "spec": {"hard": {"requests.cpu": "1500m", "pods": "10"}}}
    )
    assert quota.hard == Resources.of({"requests.cpu": 1500, "pods": 10})
    assert quota.used == NOTHING


def test_a_replica_set_of_a_deployment_is_no_workload_of_its_own() -> None:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}
    owned = [{"kind": "Deployment", "name": "a", "controller": True}]
    items = [
        {"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": template, "replicas": 0}},
        {"kind": "ReplicaSet", "metadata": {"name": "a-1", "ownerReferences": owned}, "spec": {"template": template}},
        {"kind": "Unknown", "metadata": {"name": "x"}},
    ]
    snapshot = decode.decode_list({"kind": "List", "items": items}, observed_at=0.0)
    assert [workload.key for workload in snapshot.workloads] == ["default/Deployment/a"]
    assert snapshot.workloads[0].replicas == 0


def test_a_typed_list_gives_its_items_their_kind() -> None:
    document = {"kind": "NodeList", "items": [{"metadata": {"name": "n1"}}]}
    assert [node.name for node in decode.decode_list(document, observed_at=0.0).nodes] == ["n1"]


def test_affinity_requirements_keep_operator_and_values() -> None:
    requirement = {"key": "gen", "operator": "Gt", "values": ["3"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    shape = decode.decode_pod(pod_document(spec={"affinity": affinity})).shape
    assert shape.affinity.node_required is not None
    assert shape.affinity.node_required[0].match_expressions == (Requirement("gen", Operator.GT, ("3",)),)


def test_pod_level_defaults_come_from_containers_then_limits() -> None:
    spec = {"resources": {"limits": {"cpu": "4", "hugepages-2Mi": "4Mi"}}}
    shape = decode.with_pod_level_defaults(decode.decode_pod(pod_document(spec=spec)).shape)
    assert shape.pod_requests == Resources.of({"cpu": 250, "memory": 64 << 20, "hugepages-2Mi": 4 << 20})
    assert decode.with_pod_level_defaults(shape) == shape


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        pytest.param(
            pod_document(spec={"containers": [{"name": "a", "resources": {"requests": {"cpu": "ten"}}}]}),
            ("Pod shop/web-1", "spec.containers[0].resources.requests.cpu", "'ten'", "250m"),
            id="not-a-quantity",
        ),
        pytest.param(
            pod_document(spec={"containers": [{"name": "a", "resources": {"requests": {"memory": "-1Gi"}}}]}),
            ("spec.containers[0].resources.requests.memory", "'-1Gi'", "at least 0"),
            id="negative-quantity",
        ),
        pytest.param(
            pod_document(spec={"containers": [{"name": 7}]}),
            ("Pod shop/web-1", "spec.containers[0].name", "7", "str"),
            id="wrong-type",
        ),
        pytest.param(
            pod_document(status={"phase": "Sleeping"}), ("status.phase", "'Sleeping'", "Pending"), id="unknown-phase"
        ),
        pytest.param(
            pod_document(spec={"tolerations": [{"effect": "Never"}]}), ("'Never'", "NoSchedule"), id="unknown-effect"
        ),
        pytest.param({"kind": "Pod", "metadata": {}}, ("metadata.name", "a name"), id="no-name"),
        pytest.param(b"{", ("document", "JSON"), id="not-json"),
        pytest.param(b"[]", ("document", "object"), id="not-an-object"),
    ],
)
def test_an_error_names_object_field_value_and_what_is_allowed(document: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        decode.decode_pod(document)
    for part in parts:
        assert part in str(caught.value)


def test_an_object_may_be_listed_once_only() -> None:
    with pytest.raises(InputError, match="each object once"):
        decode.decode_list({"kind": "List", "items": [pod_document(), pod_document()]}, observed_at=0.0)
