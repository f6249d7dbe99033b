"""Karpenter's requirement algebra against its own answers."""

from __future__ import annotations

from typing import Any

from autoscaler.kube import decode
from autoscaler.planning.karpenter.requirements import (
    WELL_KNOWN,
    Conflict,
    Requirement,
    Requirements,
    pod_requirements,
    requirement,
)
from tests.golden.vectors import Case, check_set


def test_requirements() -> None:
    check_set("karpenter_requirements", _check)


def _check(case: Case) -> str:
    given = case["input"]
    match case["function"]:
        case "Requirement.Intersection":
            got = _intersection(_stated(given["a"]), _stated(given["b"]), given["probe_values"])
        case "Requirements.Compatible":
            existing = Requirements.of(map(_stated, given["existing"]))
            got = _compatible(existing, given)
            got["merged"] = _states(existing & Requirements.of(map(_stated, given["incoming"])))
            got["incoming"] = _states(Requirements.of(map(_stated, given["incoming"])))
        case "NewLabelRequirements+Compatible":
            got = _compatible(Requirements.of_labels(given["labels"].items()), given)
        case "NewPodRequirements":
            shape = decode.decode_pod({"metadata": {}, **given["pod"]}).shape
            got = {
                "required_only": _states(pod_requirements(shape, with_preference=False)),
                "with_heaviest_preference": _states(pod_requirements(shape, with_preference=True)),
            }
        case other:
            return f"unknown function {other}"
    wanted = case["expected"]
    return "" if got == wanted else f"{case['function']}: {got}, expected {wanted}"


def _intersection(a: Requirement, b: Requirement, probes: list[str]) -> dict[str, Any]:
    both = a & b
    return {
        "a": _state(a),
        "b": _state(b),
        "intersection": _state(both),
        "has_intersection": a.meets(b),
        "a_has": {value: a.has(value) for value in probes},
        "b_has": {value: b.has(value) for value in probes},
        "intersection_has": {value: both.has(value) for value in probes},
    }


def _compatible(existing: Requirements, given: dict[str, Any]) -> dict[str, Any]:
    incoming = Requirements.of(map(_stated, given["incoming"]))
    got: dict[str, Any] = {
        "existing": _states(existing),
        "intersects": existing.intersects(incoming),
        "intersects_failing_keys": [text.split(",")[0].removeprefix("key ") for text in existing.conflicts(incoming)],
        "intersects_errors": list(existing.conflicts(incoming)),
    }
    for name, allowed in (("compatible", frozenset[str]()), ("compatible_allow_well_known", WELL_KNOWN)):
        conflict = existing.conflict(incoming, may_be_undefined=allowed)
        got[name] = conflict is None
        got[f"{name}_failing_keys"] = list(conflict.keys) if conflict else []
        got[f"{name}_error_kind"] = _kind(conflict)
    return got


def _kind(conflict: Conflict | None) -> str:
    if conflict is None:
        return ""
    return "undefined_label" if conflict.undefined else "no_intersection"


def _stated(given: dict[str, Any]) -> Requirement:
    return requirement(given["key"], given["operator"], tuple(given.get("values", ())), given.get("minValues"))


def _states(requirements: Requirements) -> list[dict[str, Any]]:
    return [_state(each) for each in requirements.items]


def _state(given: Requirement) -> dict[str, Any]:
    bounds = {"gte": given.gte, "lte": given.lte, "minValues": given.min_values}
    least = {} if given.min_values is None else {"minValues": given.min_values}
    tests = [
        {"key": given.key, "operator": operator, **({"values": list(values)} if values else {}), **least}
        for operator, values in given.tests()
    ]
    return {
        "key": given.key,
        "operator": given.operator,
        "complement": given.complement,
        "values": sorted(given.values),
        "string": str(given),
        "node_selector_requirements": tests,
        **{name: bound for name, bound in bounds.items() if bound is not None},
    }
