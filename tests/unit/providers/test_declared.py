"""What objects of other controllers say of their nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from autoscaler.errors import ConflictError
from autoscaler.model.node import SPOT, NodeGroup
from autoscaler.model.placement import Effect, Taint
from autoscaler.model.units import GIB
from autoscaler.providers.ack import SIZED_BY, nodegroup_of
from autoscaler.providers.cluster_api import (
    MAX_SIZE,
    MIN_SIZE,
    PAUSED,
    REPLICAS_MANAGED_BY,
    Machine,
    check_choice,
    deployment_of,
    machine_of,
    pool_of,
)
from autoscaler.providers.config_connector import node_pool_of
from autoscaler.providers.declared import CAPACITY, appliers_of, instance_type_of
from autoscaler.providers.machines import machines

Read = Callable[[dict[str, Any]], NodeGroup | None]


def thing(spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    notes = {key.replace("__", "/").replace("_", "-"): value for key, value in annotations.items()}
    return {"metadata": {"name": "web", "namespace": "ops", "annotations": notes}, "spec": spec}


def deployment(spec: dict[str, Any] | None = None, notes: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    document = thing({"replicas": 2, **(spec or {})})
    document["metadata"]["annotations"] = {
        MIN_SIZE: "1",
        MAX_SIZE: "5",
        f"{CAPACITY}cpu": "4",
        f"{CAPACITY}memory": "16Gi",
        **notes,
    }
    return document


def group(found: NodeGroup | None) -> NodeGroup:
    assert found is not None
    return found


def nodegroup(**spec: Any) -> dict[str, Any]:
    return thing({"name": "eks-web", "scalingConfig": {"minSize": 1, "maxSize": 9, "desiredSize": 3}, **spec})


def pool(spec: dict[str, Any] | None = None, **annotations: str) -> dict[str, Any]:
    base = {"location": "europe-west1-b", "initialNodeCount": 2}
    return thing({**base, **(spec or {})}, **{"podnode.io__max_size": "6", **annotations})


def test_a_machine_deployment_is_told_by_its_annotations() -> None:
    template = {
        "metadata": {"labels": {"node-role.kubernetes.io/web": "", "team": "shop", "a.node.cluster.x-k8s.io/b": "c"}},
        "spec": {"failureDomain": "zone-a"},
    }
    notes = {
        f"{CAPACITY}maxPods": "40",
        f"{CAPACITY}gpu-count": "2",
        f"{CAPACITY}labels": "disk=ssd, kubernetes.io/arch=arm64",
        f"{CAPACITY}taints": "gpu=true:NoSchedule,slow:NoExecute",
        "podnode.io/usd-per-hour": "0.5",
        "podnode.io/boot-seconds": "33",
    }
    found = group(deployment_of(deployment({"template": template}, notes)))
    assert (found.name, found.target_size, found.min_size, found.max_size) == ("web", 2, 1, 5)
    assert (found.zone, found.usd_per_hour, found.boot_seconds, found.deletes_chosen) == ("zone-a", 0.5, 33.0, True)
    allocatable = found.template.allocatable
    assert (allocatable.cpu, allocatable.memory, allocatable.get("pods")) == (4000, 16 * GIB, 40)
    assert allocatable.get("nvidia.com/gpu") == 2
    assert found.template.taints == (Taint("gpu", Effect.NO_SCHEDULE, "true"), Taint("slow", Effect.NO_EXECUTE))
    labels = dict(found.template.labels)
    assert labels["disk"] == "ssd"
    assert labels["kubernetes.io/arch"] == "arm64"
    assert {"node-role.kubernetes.io/web", "a.node.cluster.x-k8s.io/b"} <= set(labels)
    assert "team" not in labels
    assert instance_type_of(found).offerings[0].usd_per_hour == 0.5


def test_without_bounds_an_object_is_nobodys_to_size() -> None:
    assert deployment_of(thing({"replicas": 2})) is None
    assert pool_of(thing({"replicas": 2})) is None


def test_a_known_type_tells_what_its_nodes_have() -> None:
    template = {"metadata": {"labels": {"node.kubernetes.io/instance-type": "m5.large"}}}
    document = deployment({"template": template})
    for key in ("cpu", "memory"):
        del document["metadata"]["annotations"][f"{CAPACITY}{key}"]
    found = group(deployment_of(document))
    assert found.template.allocatable == machines()["m5.large"].allocatable
    assert found.usd_per_hour == machines()["m5.large"].usd_per_hour


def test_an_unknown_price_is_estimated_from_what_a_node_has() -> None:
    assert group(deployment_of(deployment())).usd_per_hour == pytest.approx(4 * 0.0316 + 16 * 0.0042)


def test_a_nodegroup_of_eks() -> None:
    taints = [{"key": "gpu", "value": "a", "effect": "PREFER_NO_SCHEDULE"}]
    kinds = ["m5.large", "m5.xlarge"]
    found = nodegroup_of(nodegroup(capacityType="SPOT", instanceTypes=kinds, taints=taints, labels={"team": "shop"}))
    assert (found.name, found.target_size, found.min_size, found.max_size) == ("eks-web", 3, 1, 9)
    assert (found.capacity_type, found.deletes_chosen) == (SPOT, False)
    assert found.template.allocatable.cpu == machines()["m5.large"].allocatable.cpu
    assert found.usd_per_hour == max(machines()[kind].usd_per_hour_spot for kind in kinds)
    assert found.template.taints == (Taint("gpu", Effect.PREFER_NO_SCHEDULE, "a"),)
    assert {"eks.amazonaws.com/nodegroup", "team"} <= set(dict(found.template.labels))
    assert nodegroup_of(nodegroup()).template.instance_type == "t3.medium"


def test_a_node_pool_of_gke() -> None:
    config = {
        "machineType": "e2-standard-4",
        "spot": True,
        "taint": [{"key": "a", "value": "", "effect": "NO_EXECUTE"}],
    }
    found = node_pool_of(pool({"resourceID": "gke-web", "nodeConfig": config}))
    assert (found.name, found.target_size, found.min_size, found.max_size) == ("gke-web", 2, 0, 6)
    assert (found.zone, found.capacity_type, found.deletes_chosen) == ("europe-west1-b", SPOT, False)
    assert found.template.taints == (Taint("a", Effect.NO_EXECUTE, ""),)
    assert node_pool_of(pool({"nodeCount": 4})).target_size == 4


def test_annotations_stand_in_for_a_type_that_no_table_has() -> None:
    document = nodegroup(instanceTypes=["m9.huge"])
    document["metadata"]["annotations"] = {f"{CAPACITY}cpu": "8", f"{CAPACITY}memory": "32Gi"}
    template = nodegroup_of(document).template
    assert (template.instance_type, template.allocatable.cpu) == ("m9.huge", 8000)


@pytest.mark.parametrize(
    ("read", "document", "problem"),
    [
        pytest.param(deployment_of, deployment(None, {MAX_SIZE: "0"}), "1 to 0 is not valid", id="bounds"),
        pytest.param(deployment_of, deployment(None, {MIN_SIZE: "-1"}), "'-1' is not valid", id="a-negative-bound"),
        pytest.param(deployment_of, deployment({"replicas": True}), "spec.replicas: True", id="a-size"),
        pytest.param(deployment_of, deployment(None, {PAUSED: ""}), "is paused", id="paused"),
        pytest.param(
            deployment_of, deployment(None, {f"{CAPACITY}cpu": "lots"}), "'lots' is not valid", id="an-amount"
        ),
        pytest.param(deployment_of, deployment(None, {f"{CAPACITY}cpu": "0"}), "nothing tells what", id="no-cpu"),
        pytest.param(deployment_of, deployment(None, {f"{CAPACITY}taints": "a:Never"}), "'a:Never'", id="a-taint"),
        pytest.param(deployment_of, deployment(None, {f"{CAPACITY}labels": "a"}), "'a' is not valid", id="a-label"),
        pytest.param(deployment_of, deployment(None, {"podnode.io/usd-per-hour": "nan"}), "'nan'", id="a-price"),
        pytest.param(
            pool_of, deployment(None, {REPLICAS_MANAGED_BY: "eks"}), "'eks' sizes the pool", id="managed-pool"
        ),
        pytest.param(nodegroup_of, nodegroup(instanceTypes=["m9.huge"]), "'m9.huge' is not known", id="a-type"),
        pytest.param(nodegroup_of, nodegroup(launchTemplate={"id": "lt"}), "nothing tells what", id="a-template"),
        pytest.param(nodegroup_of, nodegroup(scalingConfig={}), "minSize: None is not valid", id="no-scaling"),
        pytest.param(nodegroup_of, nodegroup(labels={"a": 1}), "allowed: a map of texts", id="labels"),
        pytest.param(nodegroup_of, nodegroup(taints=[{"key": "a", "effect": "X"}]), "'X' is not valid", id="effect"),
        pytest.param(
            nodegroup_of, {**nodegroup(), **thing({}, **{SIZED_BY: "external-autoscaler"})}, SIZED_BY, id="ack"
        ),
        pytest.param(node_pool_of, pool({"autoscaling": {"maxNodeCount": 3}}), "GKE's own autoscaler", id="gke-scales"),
        pytest.param(node_pool_of, pool({"location": "europe-west1"}), "allowed: one zone", id="a-region"),
        pytest.param(node_pool_of, thing({"location": "europe-west1-b"}), "max-size: None", id="no-maximum"),
    ],
)
def test_what_cannot_be_used_says_why(read: Read, document: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("(", r"\(")):
        read(document)


def test_who_applies_a_field_is_found_among_its_managers() -> None:
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    managers = [
        {"manager": "kubectl", "operation": "Update", "fieldsV1": fields},
        {"manager": "flux", "operation": "Apply", "fieldsV1": fields},
        {"manager": "status", "operation": "Apply", "fieldsV1": fields, "subresource": "status"},
        {"manager": "other", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}},
    ]
    document = {"metadata": {"name": "web", "managedFields": managers}}
    assert appliers_of(document, "spec", "replicas") == ("flux",)


def machine(name: str, **fields: Any) -> Machine:
    return Machine(name=name, namespace="ops", uid=name, deployment="web", machine_set="one", id=name, **fields)


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        pytest.param([machine("a", deleting=True), machine("b"), machine("c")], "", id="one-is-going-already"),
        pytest.param([machine("a"), machine("b"), machine("c")], "3 machines are there", id="one-too-many"),
        pytest.param([machine("b"), machine("c", marked=True)], "machine c has the annotation", id="another-marked"),
        pytest.param([machine("b", marked=True), machine("c")], "", id="the-chosen-is-marked"),
    ],
)
def test_only_a_sure_choice_is_made(there: list[Machine], problem: str) -> None:
    if not problem:
        check_choice(there, ["b"], group="web", size=2)
        return
    with pytest.raises(ConflictError, match=problem):
        check_choice(there, ["b"], group="web", size=2)


def test_a_machine_is_known_by_the_end_of_its_provider_id() -> None:
    document = {"metadata": {"name": "m", "uid": "u"}, "spec": {"providerID": "aws:///eu-west-1a/i-0123"}}
    assert machine_of(document).id == "i-0123"
    assert machine_of({"metadata": {"name": "m"}}).id == ""
