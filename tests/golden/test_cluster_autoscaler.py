"""Cluster Autoscaler's own functions against ours: estimator, drain rules, utilisation, expanders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import yaml

from autoscaler.kube import decode
from autoscaler.model.node import Node, NodeTemplate
from autoscaler.model.pod import Pod
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.planning.cluster_autoscaler.drainability import (
    DrainRules,
    Owners,
    PodsToMove,
    RemainingBudgets,
    pods_to_move,
)
from autoscaler.planning.cluster_autoscaler.estimator import estimate
from autoscaler.planning.cluster_autoscaler.expanders import (
    Facts,
    Option,
    PriceTerms,
    price_terms,
    priorities_of,
    run_chain,
)
from autoscaler.planning.cluster_autoscaler.first_fit import RoundRobin
from autoscaler.planning.cluster_autoscaler.pod_groups import PodGroup
from autoscaler.planning.cluster_autoscaler.removal import remove_if_possible
from autoscaler.planning.cluster_autoscaler.utilization import UtilizationRules, utilization
from autoscaler.scheduling.requests import node_demand
from autoscaler.scheduling.simulation import Simulation
from tests.golden.vectors import Case, check_set


def test_estimator() -> None:
    check_set("ca_estimator", _check_estimate)


def test_drain() -> None:
    check_set("ca_drain", _check_drain)


def test_utilization() -> None:
    check_set("ca_utilization", _check_utilization)


def test_expanders() -> None:
    check_set("ca_expanders", _check_expanders)


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


def _check_drain(case: Case) -> str:
    given, removes = case["input"], case["function"] == "RemovalSimulator.SimulateNodeRemoval"
    pods = list(map(decode.decode_pod, given["pods"]))
    residents = [pod for pod in pods if pod.node == given["node"]] if removes else pods
    found = _leaving(residents, given)
    got = _removal(found, pods, residents, given) if removes else _fates(found)
    return "" if got == case["expected"] else f"{got}, expected {case['expected']}"


def _leaving(pods: Sequence[Pod], given: dict[str, Any]) -> PodsToMove:
    options = given["options"]
    owners: Owners = {
        f"{each['namespace']}/{each['kind']}/{each['name']}": each.get("replicas") for each in given["owners"]
    }
    return pods_to_move(
        pods,
        DrainRules(
            skip_nodes_with_system_pods=options["skip_nodes_with_system_pods"],
            skip_nodes_with_local_storage=options["skip_nodes_with_local_storage"],
            skip_nodes_with_custom_controller_pods=options["skip_nodes_with_custom_controller_pods"],
            min_replica_count=options["min_replica_count"],
            blocking_system_pod_seconds=options["bsp_disruption_timeout_seconds"],
        ),
        RemainingBudgets(map(decode.decode_budget, given["pdbs"])),
        owners=owners if given["owners_known"] else None,
        now=_seconds(given["now"]),
    )


def _fates(found: PodsToMove) -> dict[str, Any]:
    if found.blocker is not None and found.kept_by is not None:
        return {"blocked": True, "blocking_pod": found.kept_by.key, "blocking_reason": found.blocker.reason}
    return {
        "blocked": False,
        "pods": _keys(found.moves),
        "daemonset_pods": _keys(found.daemons),
        "on_completion_pods": _keys(found.completing),
    }


def _removal(found: PodsToMove, pods: Sequence[Pod], residents: Sequence[Pod], given: dict[str, Any]) -> dict[str, Any]:
    if found.blocker is not None and found.kept_by is not None:
        why = {"reason": "BlockedByPod", "blocking_pod": found.kept_by.key, "blocking_reason": found.blocker.reason}
        return {"removable": False, **why}
    nodes = list(map(decode.decode_node, given["nodes"]))
    simulation = Simulation.of(nodes, pods)
    destinations = np.array([name in given["destination_nodes"] for name in simulation.names])
    node = next(each for each in nodes if each.name == given["node"])
    search = RoundRobin(simulation)
    if remove_if_possible(node, residents, found.moves, search=search, destinations=destinations) is None:
        return {"removable": False, "reason": "NoPlaceToMovePods"}
    return {"removable": True, "pods_to_reschedule": _keys(found.moves), "daemonset_pods": _keys(found.daemons)}


def _check_utilization(case: Case) -> str:
    given, expected = case["input"], case["expected"]
    found = utilization(
        decode.decode_node(given["node"]).allocatable,
        map(decode.decode_pod, given["pods"]),
        now=_seconds(given["now"]),
        rules=UtilizationRules(skip_daemons=given["skip_daemonset_pods"], skip_mirrors=given["skip_mirror_pods"]),
        gpu=given.get("gpu_resource", ""),
    )
    if found is None:
        return "" if expected["error"] else f"nothing, expected {expected}"
    got = {"cpu": found.cpu, "memory": found.memory, "gpu": found.gpu, "utilization": found.share}
    near = all(math.isclose(value, expected[name], rel_tol=1e-9) for name, value in got.items())
    right = near and found.resource == expected["resource"] and not expected["error"]
    return "" if right else f"{found}, expected {expected}"


def _check_expanders(case: Case) -> str:
    given, expected = case["input"], case["expected"]
    facts = Facts(
        cluster_nodes=given["cluster_node_count"],
        usd_per_core_hour=given["pod_price"]["cpu_usd_per_core_hour"],
        usd_per_gib_hour=given["pod_price"]["memory_usd_per_gib_hour"],
        priorities=priorities_of(yaml.safe_load(given.get("priority_config", ""))),
    )
    options = [_option(each, given["pods"]) for each in given["options"]]
    stages = run_chain(options, given["chain"], facts)
    got = {
        "stages": [{"expander": stage.expander, "best": _groups(stage.best)} for stage in stages],
        "best": _groups(stages[-1].best),
    }
    terms = {option.group: _terms(price_terms(option, facts)) for option in options}
    for stage in expected["stages"]:
        for group, text in stage.pop("price_terms", {}).items():
            if terms[group] != text:
                return f"{group}: {terms[group]}, expected {text}"
    return "" if got == expected else f"{got}, expected {expected}"


def _option(given: dict[str, Any], pods: list[dict[str, Any]]) -> Option:
    some = pods[: given["pods_first_n"]]
    return Option(
        group=given["node_group"],
        nodes=given["node_count"],
        pods=len(some),
        requests=Resources.of(
            cpu=sum(pod["cpu_millicores"] for pod in some), memory=sum(pod["memory_bytes"] for pod in some)
        ),
        capacity=Resources.of(cpu=given["capacity"]["cpu_millicores"], memory=given["capacity"]["memory_bytes"]),
        usd_per_hour=given["node_price_usd_per_hour"],
        exists=given["exists"],
        gpu=given["gpu_node"],
    )


def _terms(terms: PriceTerms) -> str:
    """Print as the peer's debug text does."""
    return (
        f"all_nodes_price={terms.nodes_price:f} pods_price={terms.pods_price:f} stabilized_ratio={terms.ratio:f} "
        f"unfitness={terms.unfitness:f} suppressed={terms.suppressed:f} final_score={terms.score:f}"
    )


def _groups(options: Sequence[Option]) -> list[str]:
    return [option.group for option in options]


def _keys(pods: Sequence[Pod]) -> list[str]:
    return [pod.key for pod in pods]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
