from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoscaler.documents import parse_documents
from autoscaler.errors import PolicyError
from autoscaler.model.policy import UpdateMode
from autoscaler.policy_files import dump_policies, find_problems, load_policies, parse_policies, policies_of
from tests.unit.policy_files.documents import ALL, FULL_GROUP, FULL_MPA, FULL_POLICY, FULL_TENANT, GKE, changed

Path_ = tuple[str | int, ...]
SHIFT = {"name": "shift", "schedule": "0 6 * * *", "duration": "12h", "minReplicas": 3}


def _plain(text: str) -> Any:
    return parse_documents(text, "f")[0].value


def test_all_kinds_are_read_in_name_order() -> None:
    policies = parse_policies(ALL, "all.yaml")
    assert [(mpa.namespace, mpa.name) for mpa in policies.mpas] == [
        ("default", "php-apache-autoscaler"),
        ("shop", "web"),
    ]
    assert [policy.name for policy in policies.scaling] == ["everything"]
    assert [group.name for group in policies.node_groups] == ["general"]
    assert [tenant.name for tenant in policies.tenants] == ["payments"]


def test_what_is_written_is_read_back_equal() -> None:
    policies = parse_policies(ALL, "x")
    text = dump_policies(policies)
    assert dump_policies(parse_policies(text, "y")) == text
    assert [mpa.spec for mpa in parse_policies(text, "y").mpas] == [mpa.spec for mpa in policies.mpas]


def test_a_gke_document_means_gke_semantics() -> None:
    (mpa,) = parse_policies(GKE, "gke.yaml").mpas
    assert (mpa.spec.policy.engine, mpa.spec.policy.update_mode) == ("mpa", UpdateMode.AUTO)


def test_the_shortest_document_inherits_everything() -> None:
    (mpa,) = parse_policies(
        "apiVersion: podnode.io/v1alpha1\nkind: MultidimPodAutoscaler\nmetadata: {name: web, namespace: shop}\n"
        "spec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n",
        "short.yaml",
    ).mpas
    assert mpa.spec.policy.update_mode is None
    assert mpa.spec.policy.engine is None


def test_a_list_is_its_items() -> None:
    value = {"apiVersion": "v1", "kind": "List", "items": [_plain(FULL_MPA), _plain(FULL_POLICY)]}
    policies = policies_of([value], "list")
    assert len(policies.mpas) == len(policies.scaling) == 1


def test_status_is_ignored() -> None:
    assert policies_of([{**_plain(FULL_MPA), "status": {"anything": 1}}], "x").mpas


def test_a_folder_is_the_files_directly_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(FULL_MPA, encoding="utf-8")
    (tmp_path / "b.json").write_text("{}", encoding="utf-8")
    (tmp_path / "b.json").unlink()
    (tmp_path / "notes.txt").write_text("not a policy", encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yaml").write_text("not: a policy", encoding="utf-8")
    assert [mpa.where for mpa in load_policies([tmp_path]).mpas] == [str(tmp_path / "a.yaml")]


@pytest.mark.parametrize(
    ("text", "path", "to", "message"),
    [
        pytest.param(
            FULL_MPA,
            ("spec", "polcy"),
            {},
            "spec.polcy: 'polcy' is not valid; allowed: one of scaleTargetRef, goals, constraints, policy (did you",
            id="unknown-field",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "policy", "updateMode"),
            "auto",
            "updateMode: 'auto' is not valid; allowed: one of Off, Recommend, Initial, Auto",
            id="enum",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "policy", "engine"),
            "jiont",
            "spec.policy.engine: 'jiont' is not valid; allowed: one of crane, hpa, hpa+season, "
            "hpa+vpa, joint, keda, krr, mpa, phpa, vpa",
            id="unknown-engine",
        ),
        pytest.param(
            FULL_MPA, ("spec", "policy", "params", "nope"), 1, "spec.policy.params.nope", id="unknown-parameter"
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "policy", "schedules", 0, "schedule"),
            "61 * * * *",
            "spec.policy.schedules[0].schedule: '61 * * * *'",
            id="cron",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "policy", "schedules", 0, "timeZone"),
            "Europe/Atlantis",
            "spec.policy.schedules[0].timeZone",
            id="time-zone",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "policy", "schedules", 0, "duration"),
            "12 hours",
            "a duration such as 30s",
            id="duration",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "policy", "schedules", 0, "maxReplicas"),
            10,
            "minReplicas: 20 is not valid; allowed: at most maxReplicas, 10",
            id="schedule-bounds",
        ),
        pytest.param(
            FULL_MPA, ("spec", "policy", "pause", "until"), "tomorrow", "spec.policy.pause.until: 'tomorrow'", id="time"
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "policy", "behavior", "scaleUp", "selectPolicy"),
            "Most",
            "one of Max, Min, Disabled",
            id="select-policy",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "policy", "behavior", "scaleUp", "policies", 0, "periodSeconds"),
            1801,
            "a whole number from 1 to 1800",
            id="period",
        ),
        pytest.param(
            FULL_MPA, ("spec", "policy", "behavior", "scaleUp", "policies"), [], "at least one policy", id="no-policies"
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "policy", "behavior", "scaleUp", "tolerance"),
            -0.1,
            "a quantity of at least 0",
            id="negative-tolerance",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "constraints", "global", "minReplicas"),
            61,
            "spec.constraints.global.minReplicas: 61 is not valid; allowed: at most maxReplicas, 60",
            id="min-above-max",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "constraints", "global", "minReplicas"),
            2.5,
            "a whole number from 0",
            id="half-a-replica",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "constraints", "container", 0, "requests", "minAllowed", "cpu"),
            "5",
            "minAllowed.cpu: '5' is not valid; allowed: at most maxAllowed, 4",
            id="request-bounds",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "constraints", "container", 0, "requests", "minAllowed", "cpu"),
            "-1",
            "a quantity of at least 0",
            id="negative-request",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "constraints", "container", 0, "requests", "minAllowed", "cpu"),
            "lots",
            "minAllowed.cpu: 'lots' is not valid; allowed: a quantity such as",
            id="not-a-quantity",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "constraints", "containerControlledResources"),
            ["disk"],
            "containerControlledResources[0]: 'disk' is not valid; allowed: one of cpu, memory",
            id="resource",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "goals", "formula"),
            "max(requests, queue)",
            "spec.goals.formula: 'queue' is not valid; allowed: names of the metrics above: cpu, requests",
            id="formula-name",
        ),
        pytest.param(FULL_MPA, ("spec", "goals", "formula"), "max(requests", "spec.goals.formula", id="formula-syntax"),
        pytest.param(
            FULL_MPA,
            ("spec", "goals", "metrics", 0, "pods"),
            {"metric": {"name": "x"}, "target": {"type": "AverageValue", "averageValue": 1}},
            "only resource, the type being Resource",
            id="two-metrics-in-one",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "goals", "metrics", 0, "type"),
            "External",
            "spec.goals.metrics[0].external: nothing is not valid",
            id="type-matches-field",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "goals", "metrics", 0, "resource", "target", "type"),
            "Value",
            "one of Utilization, AverageValue",
            id="target-type",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "goals", "metrics", 0, "resource", "target", "averageValue"),
            "1",
            "only averageUtilization, the type being Utilization",
            id="two-targets",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "goals", "metrics", 0, "resource", "target"),
            {"type": "AverageValue"},
            "target.averageValue: nothing is not valid",
            id="no-target",
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "goals", "metrics", 1, "prometheus", "target", "averageValue"),
            "0",
            "a quantity above 0",
            id="zero-target",
        ),
        pytest.param(
            FULL_MPA, ("spec", "goals", "slo", "violations"), "1.5", "a number from 0 to 1", id="share-above-one"
        ),
        pytest.param(
            FULL_MPA,
            ("spec", "scaleTargetRef"),
            {"kind": "Deployment"},
            "spec.scaleTargetRef.name: nothing is not valid",
            id="required",
        ),
        pytest.param(
            FULL_MPA, ("spec",), None, "spec: None is not valid; allowed: a mapping with scaleTargetRef", id="no-spec"
        ),
        pytest.param(
            GKE, ("spec", "constraints", "containerControlledResources"), ["cpu"], None, id="gke-defaults-decide-later"
        ),
        pytest.param(GKE, ("metadata", "name"), "Not A Name", "metadata.name: 'Not A Name'", id="object-name"),
        pytest.param(
            GKE,
            ("kind",),
            "ScalingPolicy",
            "kind: 'ScalingPolicy' is not valid; allowed: one of MultidimPodAutoscaler",
            id="gke-has-one-kind",
        ),
        pytest.param(
            GKE, ("apiVersion",), "v2", "apiVersion: 'v2' is not valid; allowed: podnode.io/v1alpha1", id="api-version"
        ),
        pytest.param(
            FULL_POLICY, ("metadata", "namespace"), "x", "this kind belongs to the cluster", id="cluster-kind"
        ),
        pytest.param(
            FULL_POLICY, ("extra",), 1, "extra: 'extra' is not valid; allowed: one of apiVersion", id="envelope"
        ),
        pytest.param(
            FULL_POLICY, ("spec", "objective", "money", "onExceed"), "Panic", "one of Alert, Degrade", id="on-exceed"
        ),
        pytest.param(
            FULL_POLICY, ("spec", "objective", "headroom", "quantile"), 1, "above 0 and below 1", id="quantile"
        ),
        pytest.param(
            FULL_POLICY,
            ("spec", "disruption", "budgets", 0, "nodes"),
            "110%",
            'a share from "0%" to "100%"',
            id="budget-share",
        ),
        pytest.param(
            FULL_POLICY,
            ("spec", "disruption", "budgets", 0, "duration"),
            None,
            "a schedule needs one",
            id="schedule-without-duration",
        ),
        pytest.param(
            FULL_POLICY,
            ("spec", "disruption", "budgets", 0, "reasons"),
            ["Whim"],
            "reasons[0]: 'Whim'",
            id="budget-reason",
        ),
        pytest.param(FULL_POLICY, ("spec", "signals", "minCoverage"), -1, "a number from 0 to 1", id="coverage"),
        pytest.param(FULL_POLICY, ("spec", "nodes", "engine"), "swarm", "one of joint", id="no-such-node-engine"),
        pytest.param(FULL_POLICY, ("spec", "nodes", "spot", "maxShare"), 2, "a number from 0 to 1", id="spot-share"),
        pytest.param(
            FULL_POLICY, ("spec", "nodes", "limits", "cpu"), -3, "a quantity of at least 0", id="negative-limit"
        ),
        pytest.param(
            FULL_POLICY,
            ("spec", "workloads", "labelSelector", "matchExpressions", 0, "operator"),
            "Like",
            "one of In, NotIn, Exists, DoesNotExist",
            id="selector-operator",
        ),
        pytest.param(
            FULL_POLICY,
            ("spec", "workloads", "labelSelector", "matchExpressions", 0, "values"),
            [],
            "at least one value",
            id="selector-values",
        ),
        pytest.param(FULL_GROUP, ("spec", "size", "min"), 41, "at most max, 40", id="group-size"),
        pytest.param(
            FULL_GROUP, ("spec", "capacityTypes"), ["free"], "one of on-demand, spot, reserved", id="capacity-type"
        ),
        pytest.param(
            FULL_GROUP, ("spec", "requirements", 1, "values"), ["many"], "one whole number", id="gt-needs-a-number"
        ),
        pytest.param(
            FULL_GROUP, ("spec", "requirements", 0, "minValues"), 4, "at most the number of values, 3", id="min-values"
        ),
        pytest.param(FULL_GROUP, ("spec", "price", "adjustment"), "cheap", "a share such as", id="price"),
        pytest.param(FULL_GROUP, ("spec", "template", "taints", 0, "effect"), "Maybe", "one of NoSchedule", id="taint"),
        pytest.param(FULL_GROUP, ("spec", "match"), {"asg": "a", "mig": "b"}, "and asg is given", id="two-matches"),
        pytest.param(FULL_TENANT, ("spec", "quota", "floor", "cpu"), "81", "at most ceiling, 80", id="quota-bounds"),
        pytest.param(
            FULL_TENANT, ("spec", "quota", "from", "days"), 0, "a whole number from 1 to 366", id="quota-days"
        ),
        pytest.param(FULL_TENANT, ("spec", "weight"), 0, "a whole number from 1", id="weight"),
    ],
)
def test_one_change(text: str, path: Path_, to: Any, message: str | None) -> None:
    value = changed(_plain(text), path, to)
    if message is None:
        with pytest.raises(PolicyError, match="engine mpa would move a utilisation"):
            policies_of([changed(value, ("spec", "policy", "engine"), "mpa")], "f")
        return
    with pytest.raises(PolicyError) as caught:
        policies_of([value], "f")
    assert message in str(caught.value)


def test_a_utilisation_target_on_a_controlled_resource_is_for_the_joint_engine() -> None:
    both = changed(_plain(FULL_MPA), ("spec", "policy", "engine"), "hpa+vpa")
    with pytest.raises(PolicyError, match="engine joint, or cpu in only one"):
        policies_of([both], "f")
    assert policies_of([_plain(FULL_MPA)], "f").mpas


def test_zero_replicas_need_a_metric_that_sees_work_without_pods() -> None:
    blind = changed(_plain(GKE), ("spec", "constraints", "global", "minReplicas"), 0)
    with pytest.raises(PolicyError, match="unless an Object, External or Prometheus metric"):
        policies_of([blind], "f")
    assert policies_of([changed(_plain(FULL_MPA), ("spec", "constraints", "global", "minReplicas"), 0)], "f").mpas


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        pytest.param({"engine": "keda"}, False, id="cpu-alone"),
        pytest.param({"engine": "keda", "schedules": [SHIFT]}, True, id="a-schedule-is-a-trigger"),
        pytest.param({"engine": "hpa", "schedules": [SHIFT]}, False, id="to-an-hpa-it-is-not"),
        pytest.param(
            {"engine": "keda", "params": {"workloads": [{"name": "p", "selector": {}, "value": 5}]}},
            True,
            id="pods-elsewhere-are-a-trigger",
        ),
        pytest.param({"engine": "keda", "params": {"workloads": []}}, False, id="none-is-not"),
    ],
)
def test_engine_keda_goes_to_zero_where_a_trigger_can_wake_it(policy: dict[str, Any], *, allowed: bool) -> None:
    value = changed(_plain(FULL_MPA), ("spec", "policy"), policy)
    value = changed(value, ("spec", "goals"), {"metrics": value["spec"]["goals"]["metrics"][:1]})
    value = changed(value, ("spec", "constraints"), {"global": {"minReplicas": 0}})
    problems = [problem.path for problem in find_problems(json.dumps(value), "f")]
    assert problems == ([] if allowed else ["spec.constraints.global.minReplicas"])


def test_an_object_and_a_target_belong_to_one_document() -> None:
    with pytest.raises(PolicyError, match="each MultidimPodAutoscaler once; f \\(document 1\\) has it"):
        parse_policies(f"{FULL_MPA}---\n{FULL_MPA}", "f")
    with pytest.raises(PolicyError, match="a workload that no other document targets"):
        parse_policies(f"{FULL_MPA}---\n{FULL_MPA.replace('{name: web,', '{name: web2,')}", "f")


def test_every_problem_is_found() -> None:
    value = changed(_plain(FULL_MPA), ("spec", "constraints", "global", "minReplicas"), 61)
    value = changed(value, ("spec", "goals", "slo", "violations"), 7)
    problems = find_problems(f"{json.dumps(value)}\n---\nkind: What\n", "f")
    assert [problem.path for problem in problems] == [
        "spec.goals.slo.violations",
        "spec.constraints.global.minReplicas",
        "apiVersion",
    ]
    assert find_problems("a: [", "f")[0].where == "f"


@pytest.mark.parametrize("given", ["utilisation: -5", "fill: .nan", "fill: 0", "down_window_seconds: .inf"])
def test_parameters_of_the_joint_engine_have_ranges(given: str) -> None:
    text = (
        "apiVersion: podnode.io/v1alpha1\nkind: ScalingPolicy\nmetadata: {name: x}\n"
        f"spec: {{defaults: {{policy: {{engine: joint, params: {{{given}}}}}}}}}\n"
    )
    (problem,) = find_problems(text, "x.yaml")
    assert problem.path == f"spec.defaults.policy.params.{given.partition(':')[0]}"
    assert problem.allowed.startswith("a number ")
