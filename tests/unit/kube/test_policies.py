from __future__ import annotations

from typing import Any

import pytest

from autoscaler.documents import parse_documents
from autoscaler.kube.edits import set_aside
from autoscaler.kube.policies import PolicyReader, read_documents
from autoscaler.model.policy import UpdateMode, WorkloadScope
from autoscaler.model.spec import Selector, TargetRef
from tests.unit.policy_files.documents import FULL_GROUP, FULL_MPA, FULL_POLICY, FULL_TENANT, GKE, changed


def plain(text: str) -> Any:
    return parse_documents(text, "f")[0].value


def live(text: str, version: str = "1", **metadata: Any) -> Any:
    """Return a document as the API server gives it back."""
    value = plain(text)
    own = {"uid": f"uid-{value['metadata']['name']}", "resourceVersion": version, "generation": 3, "managedFields": []}
    return {**value, "metadata": {**value["metadata"], **own, **metadata}, "status": {"conditions": []}}


ALL = [live(text) for text in (FULL_MPA, FULL_POLICY, FULL_GROUP, FULL_TENANT, GKE)]


def test_all_kinds_are_read_as_the_server_gives_them() -> None:
    policies, problems = read_documents(ALL)
    assert problems == ()
    assert [mpa.name for mpa in policies.mpas] == ["php-apache-autoscaler", "web"]
    assert [len(each) for each in (policies.scaling, policies.node_groups, policies.tenants)] == [1, 1, 1]
    assert policies.mpas[0].spec.policy.engine == "mpa"
    assert policies.invalid == ()


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        pytest.param(
            ("spec", "policy", "engine"),
            "jiont",
            "spec.policy.engine: 'jiont' is not valid; allowed: one of crane, hpa, ",
            id="an-unknown-engine",
        ),
        pytest.param(("spec", "polcy"), {}, "spec.polcy: 'polcy' is not valid", id="an-unknown-field"),
        pytest.param(("spec", "goals"), 3, "spec.goals: 3 is not valid", id="a-wrong-type"),
    ],
)
def test_one_wrong_object_harms_no_other(path: tuple[str, ...], to: Any, message: str) -> None:
    policies, (problem,) = read_documents([*ALL[1:], changed(ALL[0], path, to)])
    assert [mpa.name for mpa in policies.mpas] == ["php-apache-autoscaler"]
    assert policies.scaling
    assert (problem.kind, problem.namespace, problem.name, problem.uid) == (
        "MultidimPodAutoscaler",
        "shop",
        "web",
        "uid-web",
    )
    assert problem.message.startswith(message)
    (invalid,) = policies.invalid
    assert (invalid.title, invalid.message) == ("MultidimPodAutoscaler shop/web", problem.message)
    assert invalid.target == TargetRef(kind="Deployment", name="web")


def test_all_that_is_wrong_is_told_in_one_message_up_to_five() -> None:
    schedule = {"name": "a", "schedule": "x", "duration": "1h", "minReplicas": 1}
    many = changed(ALL[0], ("spec", "policy", "schedules"), [{**schedule, "name": f"s{at}"} for at in range(7)])
    _, (problem,) = read_documents([many])
    assert problem.message.count("spec.policy.schedules") == 5
    assert problem.message.endswith("; and 2 more")


@pytest.mark.parametrize(
    ("path", "to", "scope"),
    [
        pytest.param(
            ("spec", "mode"), "Maybe", WorkloadScope(namespace_selector=Selector()), id="scope-still-readable"
        ),
        pytest.param(("spec", "workloads", "labelSelector"), 3, None, id="scope-of-a-wrong-type"),
        pytest.param(
            ("spec", "workloads", "labelSelector"),
            {"matchExpressions": [{"key": "a", "operator": "Is"}]},
            None,
            id="scope-with-a-wrong-selector",
        ),
        pytest.param(("spec",), None, None, id="no-spec"),
    ],
)
def test_a_broken_policy_keeps_its_scope_where_that_can_be_read(
    path: tuple[str, ...], to: Any, scope: WorkloadScope | None
) -> None:
    value = changed(live(FULL_POLICY), ("spec", "workloads"), {"namespaceSelector": {}})
    policies, _ = read_documents([changed(value, path, to)])
    assert policies.invalid[0].workloads == scope


@pytest.mark.parametrize("target", [None, 3, {"kind": "Deployment"}, {"kind": 1, "name": "x"}])
def test_a_target_that_cannot_be_read_is_none(target: Any) -> None:
    policies, (problem,) = read_documents([changed(ALL[0], ("spec", "scaleTargetRef"), target)])
    assert policies.invalid[0].target is None
    assert "spec.scaleTargetRef" in problem.message


@pytest.mark.parametrize("broken", [False, True], ids=["ours", "ours-though-broken"])
def test_ours_counts_rather_than_gke_s_for_one_workload(*, broken: bool) -> None:
    own = live(GKE, apiVersion="x")
    own["apiVersion"] = "podnode.io/v1alpha1"
    own = changed(own, ("spec", "policy", "engine"), "unheard-of" if broken else "hpa")
    policies, problems = read_documents([live(GKE), own])
    assert [mpa.spec.policy.engine for mpa in policies.mpas] == ([] if broken else ["hpa"])
    assert len(policies.invalid) == len(problems) == int(broken)


def test_what_has_not_changed_is_not_read_anew() -> None:
    reader = PolicyReader()
    first, _ = reader.read(ALL)
    again, _ = reader.read([live(text) for text in (FULL_MPA, FULL_POLICY, FULL_GROUP, FULL_TENANT, GKE)])
    assert again is first
    newer = changed(live(FULL_MPA, generation=4), ("spec", "policy", "engine"), "hpa")
    after, _ = reader.read([newer, *ALL[1:]])
    assert [mpa.spec.policy.engine for mpa in after.mpas] == ["mpa", "hpa"]
    assert after.scaling[0] is first.scaling[0]
    assert reader.read(ALL[1:])[0].mpas == first.mpas[:1]


def test_the_same_version_of_an_object_made_anew_is_another() -> None:
    reader = PolicyReader()
    reader.read([ALL[0]])
    newer = changed(live(FULL_MPA, uid="other"), ("spec", "policy", "engine"), "hpa")
    assert reader.read([newer])[0].mpas[0].spec.policy.engine == "hpa"


def test_objects_without_a_version_are_always_read() -> None:
    reader = PolicyReader()
    assert reader.read([plain(FULL_MPA)])[0].mpas[0].spec.policy.engine == "joint"
    assert (
        reader.read([changed(plain(FULL_MPA), ("spec", "policy", "engine"), "hpa")])[0].mpas[0].spec.policy.engine
        == "hpa"
    )


@pytest.mark.parametrize(
    "value", [{}, {"kind": 3}, {"metadata": []}, {"apiVersion": "v1", "kind": "Pod", "metadata": {}}]
)
def test_what_is_no_policy_at_all_is_a_problem(value: dict[str, Any]) -> None:
    policies, problems = read_documents([value])
    assert len(problems) == 1
    assert policies.mpas == ()


def test_a_status_that_moves_is_no_reason_to_read_anew() -> None:
    reader = PolicyReader()
    first, _ = reader.read([live(FULL_MPA, "1", generation=3)])
    again, _ = reader.read([live(FULL_MPA, "2", generation=3)])
    assert again is first


def test_gke_s_object_that_we_set_aside_is_read_as_its_author_wrote_it() -> None:
    aside = live(GKE)
    set_aside(aside, kind="MultidimPodAutoscaler", where="")
    assert aside["spec"]["policy"]["updateMode"] == "Off"
    reader = PolicyReader()
    assert [mpa.spec.policy.update_mode for mpa in reader.read([aside])[0].mpas] == [UpdateMode.AUTO]
    assert aside["spec"]["policy"]["updateMode"] == "Off"
    spoilt = changed(aside, ("metadata", "annotations"), {"podnode.io/set-aside": "{"})
    assert [mpa.spec.policy.update_mode for mpa in reader.read([spoilt])[0].mpas] == [UpdateMode.OFF]
