"""Cluster Autoscaler's own functions against ours: estimator, drain rules, utilisation, expanders."""

from __future__ import annotations

from typing import Any

from autoscaler.kube import decode
from autoscaler.model.node import Node, NodeTemplate
from autoscaler.model.resources import NOTHING
from autoscaler.planning.cluster_autoscaler.estimator import estimate
from autoscaler.planning.cluster_autoscaler.pod_groups import PodGroup
from autoscaler.scheduling.requests import node_demand
from autoscaler.scheduling.simulation import Simulation
from tests.golden.vectors import Case, check_set


def test_estimator() -> None:
    check_set("ca_estimator", _check_estimate)


def _check_estimate(case: Case) -> str:
    given = case["input"]
    groups = [PodGroup(shape=decode.decode_pod(each["pod"]).shape, count=each["count"]) for each in given["pod_groups"]]
    names = [each["pod"]["metadata"]["name"] for each in given["pod_groups"]]
    found = estimate(
        groups,
        _template(given["node_template"], given.get("node_template_pods", ())),
        Simulation.of(map(decode.decode_node, given.get("existing_nodes", ()))),
        max_nodes=given["max_nodes"],
        fast_path=given["fastpath"],
    )
    got = {
        "node_count": found.nodes,
        "scheduled_pods": sum(found.pods),
        "scheduled_pods_per_group": dict(zip(names, found.pods, strict=True)),
        "group_order": [names[at] for at in found.order],
    }
    return "" if got == case["expected"] else f"{got}, expected {case['expected']}"


def _template(document: dict[str, Any], daemons: Any) -> NodeTemplate:
    node: Node = decode.decode_node(document)
    overhead = NOTHING
    for pod in daemons:
        overhead = overhead + node_demand(decode.decode_pod(pod).shape)
    return NodeTemplate(
        instance_type="any",
        allocatable=node.allocatable,
        capacity=node.capacity,
        labels=node.labels,
        taints=node.taints,
        overhead=overhead,
    )
