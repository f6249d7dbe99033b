"""Karpenter's scheduling simulation against its own answers; where it ties by chance, against the range of them."""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import cache
from typing import Any

from autoscaler.kube import decode
from autoscaler.model.placement import Effect, Taint, Toleration, labels_of
from autoscaler.model.pod import Container, PodShape
from autoscaler.model.resources import Resources
from autoscaler.planning.karpenter.claims import NodePool
from autoscaler.planning.karpenter.instance_types import TypeOffering, TypeOption
from autoscaler.planning.karpenter.queue import WaitingPod
from autoscaler.planning.karpenter.requirements import (
    ARCH,
    CAPACITY_TYPE,
    INSTANCE_TYPE,
    OS,
    Requirements,
    requirement,
)
from autoscaler.planning.karpenter.solve import Cluster, PlannedClaim, Solution, SolveRules, solve
from autoscaler.scheduling.topology import HARD, ZONE
from tests.golden.vectors import Case, check_set, folder

_Answer = dict[str, Any]


def test_solve() -> None:
    check_set("karpenter_solve", _check)


def _check(case: Case) -> str:
    given, expected = case["input"], case["expected"]
    solution = _solve(given)
    got = _answer(given, solution)
    if not expected["deterministic"]:
        return _outside(got, expected)
    wanted = {name: value for name, value in expected.items() if name != "deterministic"}
    for name, value in wanted.items():
        if not _same(got[name], value):
            return f"{name}: {got[name]}, expected {value}"
    return ""


def _solve(given: dict[str, Any]) -> Solution:
    pods = [
        WaitingPod(key=f"{group['name']}-{number:04d}", shape=_shape(group["template"]))
        for group in given["pod_groups"]
        for number in range(group["count"])
    ]
    pools = [_pool(each, given["instance_types"]) for each in given["nodepools"]]
    daemon = given.get("daemonset_pod")
    return solve(
        pods,
        pools,
        cluster=Cluster(daemons=(_daemon(daemon),) if daemon else ()),
        rules=SolveRules(respects_preferences=given["preference_policy"] == "Respect"),
    )


@cache
def _decoded(template: str) -> PodShape:
    pod = json.loads(template)
    pod["metadata"]["name"] = "template"
    pod["spec"]["containers"] = [{"name": f"c{at}", **each} for at, each in enumerate(pod["spec"]["containers"])]
    return decode.decode_pod(pod).shape


def _shape(template: dict[str, Any]) -> PodShape:
    return _decoded(json.dumps(template, sort_keys=True))


def _daemon(given: dict[str, Any]) -> PodShape:
    requests = Resources.of(cpu=given["cpu_millicores"], memory=given["memory_bytes"])
    tolerations = tuple(Toleration(operator=each["operator"]) for each in given.get("tolerations", ()))
    return PodShape(
        namespace="kube-system", containers=(Container(name="c", requests=requests),), tolerations=tolerations
    )


def _pool(given: dict[str, Any], table: str) -> NodePool:
    stated = [
        requirement(each["key"], each["operator"], tuple(each.get("values", ())), each.get("minValues"))
        for each in given["requirements"]
    ]
    limit = given.get("limit_cpu_millicores")
    return NodePool(
        name=given["name"],
        weight=given["weight"],
        requirements=tuple(stated),
        labels=labels_of(given.get("labels", {})),
        taints=tuple(Taint(each["key"], Effect(each["effect"]), each["value"]) for each in given.get("taints", ())),
        limits=Resources.of(cpu=limit) if limit else Resources(),
        types=_types(table),
    )


@cache
def _types(table: str) -> tuple[TypeOption, ...]:
    beside = folder() / table
    return tuple(_type(each) for each in json.loads(beside.read_text(encoding="utf-8"))["instance_types"])


def _type(given: dict[str, Any]) -> TypeOption:
    offerings = tuple(
        TypeOffering(
            requirements=Requirements.of_labels([(ZONE, each["zone"]), (CAPACITY_TYPE, each["capacity_type"])]),
            usd_per_hour=each["price_usd_per_hour"],
            available=each.get("available", False),
        )
        for each in given["offerings"]
    )
    there = [each for each in given["offerings"] if each.get("available", False)]
    pods = given["capacity_pods"]
    return TypeOption(
        name=given["name"],
        requirements=Requirements.of(
            requirement(key, "In", values)
            for key, values in (
                (INSTANCE_TYPE, (given["name"],)),
                (ARCH, (given["arch"],)),
                (OS, (given["os"],)),
                (ZONE, tuple(each["zone"] for each in there)),
                (CAPACITY_TYPE, tuple(each["capacity_type"] for each in there)),
            )
        ),
        capacity=Resources.of(cpu=given["capacity_cpu_millicores"], memory=given["capacity_memory_bytes"], pods=pods),
        allocatable=Resources.of(
            cpu=given["allocatable_cpu_millicores"], memory=given["allocatable_memory_bytes"], pods=pods
        ),
        offerings=offerings,
    )


def _answer(given: dict[str, Any], solution: Solution) -> _Answer:
    claims = sorted((_claim(each) for each in solution.claims), key=_claim_order)
    left: dict[str, list[tuple[str, ...]]] = {}
    for key, reasons in solution.refused:
        left.setdefault(key[:-5], []).append(tuple(map(str, reasons)))
    return {
        "claims": claims,
        "new_node_claims": len(claims),
        "total_price_usd_per_hour": round(sum(each["price_usd_per_hour"] for each in claims), 4),
        "unschedulable_pods": len(solution.refused),
        "unschedulable": [
            {"group": group["name"], "count": len(left[group["name"]]), "error_kinds": list(left[group["name"]][-1])}
            for group in given["pod_groups"]
            if group["name"] in left
        ],
        "zone_spread_counts": _zone_counts(given, solution),
    }


def _claim(claim: PlannedClaim) -> _Answer:
    return {
        "nodepool": claim.pool,
        "cheapest_instance_type": claim.cheapest,
        "price_usd_per_hour": claim.usd_per_hour,
        "pods": len(claim.pods),
        "pods_per_group": dict(sorted(Counter(key[:-5] for key in claim.pods).items())),
        "instance_type_options": len(claim.types),
        "requests_cpu_millicores": claim.requests.cpu,
        "requests_memory_bytes": claim.requests.memory,
    }


def _claim_order(claim: _Answer) -> tuple[float, str]:
    return -claim["price_usd_per_hour"], json.dumps(claim, sort_keys=True)


def _zone_counts(given: dict[str, Any], solution: Solution) -> dict[str, list[int]]:
    spread = [group["name"] for group in given["pod_groups"] if _spreads_over_zones(group["template"]["spec"])]
    counts: dict[str, Counter[str]] = {name: Counter() for name in spread}
    for claim in solution.claims:
        zone = claim.requirements.get(ZONE)
        for key in claim.pods:
            if key[:-5] in spread and zone is not None:
                counts[key[:-5]][" ".join(sorted(zone.values))] += 1
    return {name: sorted(found.values(), reverse=True) for name, found in sorted(counts.items())}


def _spreads_over_zones(spec: dict[str, Any]) -> bool:
    return any(
        each["topologyKey"] == ZONE and each["whenUnsatisfiable"] == HARD
        for each in spec.get("topologySpreadConstraints", ())
    )


def _outside(got: _Answer, expected: _Answer) -> str:
    for name in ("new_node_claims", "total_price_usd_per_hour", "unschedulable_pods"):
        low, high = expected[f"{name}_min"], expected[f"{name}_max"]
        if not low - 1e-9 <= got[name] <= high + 1e-9:
            return f"{name}: {got[name]}, expected {low} to {high}"
    return ""


def _same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, float):
        return math.isclose(got, wanted, rel_tol=1e-9)
    if isinstance(wanted, list):
        ordered = sorted(wanted, key=_claim_order) if wanted and "price_usd_per_hour" in str(wanted[0]) else wanted
        return len(got) == len(ordered) and all(map(_same, got, ordered))
    if isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(_same(got[name], wanted[name]) for name in wanted)
    return bool(got == wanted)
