"""Feasibility, scores and requests against kube-scheduler's own answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.kube import decode
from autoscaler.model.pod import Pod, PodShape, ShapeInterner
from autoscaler.model.resources import CPU, EPHEMERAL, MEMORY, Resources
from autoscaler.model.volumes import Volumes
from autoscaler.scheduling import requests
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.predicates import filter_nodes
from autoscaler.scheduling.scores import NodeScore, rank_nodes
from autoscaler.scheduling.verdict import Rejection, Verdict
from tests.golden.vectors import Case, check_set

THEMES = (
    "resources",
    "extended_resources",
    "node_affinity",
    "taints",
    "topology_spread",
    "topology_spread_mixed",
    "inter_pod_affinity",
    "host_ports",
    "volumes",
    "mixed",
)


@pytest.mark.parametrize("theme", THEMES)
def test_theme(theme: str) -> None:
    check_set(f"scheduler_{theme}", _check_theme)


def test_filter() -> None:
    check_set("scheduler_filter", _check_filter)


def test_score() -> None:
    check_set("scheduler_score", _check_score)


def test_requests() -> None:
    check_set("scheduler_requests", _check_requests)


def _check_theme(case: Case) -> str:
    expected = case["expected"]
    verdicts = filter_nodes(_incoming(case), _context(case, "existing_pods"))
    if _feasible(verdicts) != expected["feasible_nodes"]:
        return f"feasible {_feasible(verdicts)}, expected {expected['feasible_nodes']}"
    for name, verdict in verdicts.items():
        wanted = expected["nodes"][name]
        got = _told(verdict.rejection, "prefilter" if wanted.get("plugin") == "prefilter" else "")
        if got != {key: value for key, value in wanted.items() if key != "feasible"}:
            return f"{name}: {got}, expected {wanted}"
    return ""


def _check_filter(case: Case) -> str:
    expected = case["expected"]
    verdicts = filter_nodes(_incoming(case), _context(case, "pods"), every=True)
    if _feasible(verdicts) != expected["feasible_nodes"]:
        return f"feasible {_feasible(verdicts)}, expected {expected['feasible_nodes']}"
    for name, verdict in verdicts.items():
        wanted = expected["nodes"][name]
        got: dict[str, Any] = {"feasible": verdict.feasible}
        if verdict.rejection is not None:
            got |= _told(verdict.rejection) | {"stage": verdict.rejection.stage}
            got["rejected_by"] = {each.plugin: _alone(each) for each in verdict.rejected_by}
        if got != wanted:
            return f"{name}: {got}, expected {wanted}"
    return ""


def _check_score(case: Case) -> str:
    expected = case["expected"]
    ranking = rank_nodes(_incoming(case), _context(case, "pods"))
    got = {score.node: _plugins(score) for score in ranking.nodes}
    if sorted(got) != expected["feasible_nodes"]:
        return f"feasible {sorted(got)}, expected {expected['feasible_nodes']}"
    for name, wanted in expected["nodes"].items():
        if got[name] != wanted:
            return f"{name}: {got[name]}, expected {wanted}"
    if sorted(ranking.skipped) != sorted(expected["skipped_plugins"]):
        return f"skipped {ranking.skipped}, expected {expected['skipped_plugins']}"
    order: dict[int, list[str]] = {}
    for score in ranking.nodes:
        order.setdefault(score.total, []).append(score.node)
    if [{"total": total, "nodes": nodes} for total, nodes in order.items()] != expected["ranking"]:
        return f"ranking {order}, expected {expected['ranking']}"
    return ""


def _plugins(score: NodeScore) -> dict[str, Any]:
    return {
        "raw": {each.plugin: each.raw for each in score.plugins},
        "normalized": {each.plugin: each.normalized for each in score.plugins},
        "weighted": {each.plugin: each.weighted for each in score.plugins},
        "total": score.total,
    }


def _check_requests(case: Case) -> str:
    pod, expected = decode.decode_pod(case["input"]["pod"]), case["expected"]
    for stage in ("as_given", "after_api_defaults"):
        if stage == "after_api_defaults":
            pod = msgspec.structs.replace(pod, shape=decode.with_api_defaults(pod.shape))
        got = {
            "spec_only": _units(requests.effective_requests(pod.shape)),
            "scheduler": _units(requests.placed_requests(pod)),
            "without_overhead": _units(requests.placed_without_overhead(pod)),
            "limits": _units(requests.effective_limits(pod)),
        }
        wanted = {name: amounts["units"] for name, amounts in expected[stage].items()}
        accounting = expected["node_accounting"][stage]
        if got != wanted:
            return f"{stage}: {got}, expected {wanted}"
        if _accounting(pod) != accounting:
            return f"{stage}: {_accounting(pod)}, expected {accounting}"
    return ""


def _incoming(case: Case) -> PodShape:
    pod = decode.decode_pod(case["input"]["pod"])
    return msgspec.structs.replace(pod.shape, node_name=pod.node)


def _context(case: Case, pods: str) -> SchedulingContext:
    given, shapes = case["input"], ShapeInterner()
    return SchedulingContext(
        [decode.decode_node(each) for each in given["nodes"]],
        [decode.decode_pod(each, shapes=shapes) for each in given.get(pods, ())],
        namespaces=[decode.decode_namespace(each) for each in given.get("namespaces", ())],
        services=[decode.decode_service(each) for each in given.get("services", ())],
        volumes=Volumes(
            volumes=tuple(decode.decode_volume(each) for each in given.get("persistent_volumes", ())),
            claims=tuple(decode.decode_claim(each) for each in given.get("persistent_volume_claims", ())),
            classes=tuple(decode.decode_class(each) for each in given.get("storage_classes", ())),
            attach_limits=tuple(decode.decode_attach_limits(each) for each in given.get("csi_nodes", ())),
        ),
    )


def _feasible(verdicts: dict[str, Verdict]) -> list[str]:
    return sorted(name for name, verdict in verdicts.items() if verdict.feasible)


def _told(rejection: Rejection | None, plugin: str = "") -> dict[str, Any]:
    if rejection is None:
        return {}
    return {
        "plugin": plugin or rejection.plugin,
        "code": rejection.code.value,
        "reasons": list(rejection.reasons),
    }


def _alone(rejection: Rejection) -> dict[str, Any]:
    return {
        "feasible": False,
        "stage": rejection.stage,
        "code": rejection.code.value,
        "reasons": list(rejection.reasons),
    }


def _units(amounts: Resources) -> dict[str, int]:
    return {"cpu_milli" if name == CPU else name: amount for name, amount in amounts.items()}


def _accounting(pod: Pod) -> dict[str, Any]:
    amounts, nonzero = requests.placed_requests(pod), requests.nonzero_requests(pod)
    plain = {"cpu_milli": amounts.cpu, MEMORY: amounts.memory, EPHEMERAL: amounts.get(EPHEMERAL)}
    scalar = {name: amount for name, amount in amounts.items() if name not in (CPU, MEMORY, EPHEMERAL)}
    return {
        "requested": {**plain, "scalar": scalar},
        "nonzero": {"cpu_milli": nonzero.cpu, MEMORY: nonzero.memory},
    }
