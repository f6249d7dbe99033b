"""A document that cannot be used holds what it governs; nothing falls to a wider one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.policy import InvalidPolicy, Policies, ScalingPolicy, UpdateMode, WorkloadScope
from autoscaler.model.reasons import Code
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import TargetRef, decode_hook
from autoscaler.model.state import DecisionState
from autoscaler.planning.decide import decide, signals_of
from autoscaler.planning.effective import DEFAULT_RULES, cluster_rules, effective_policies
from autoscaler.testing.builders import make_snapshot, make_workload
from tests.unit.planning.decisions import key, mpa

WEB = TargetRef(kind="Deployment", name="web")
AUTO = {"updateMode": "Auto"}


def policy(name: str, **spec: Any) -> ScalingPolicy:
    return msgspec.convert({"name": name, "spec": spec}, ScalingPolicy, dec_hook=decode_hook)


def broken_mpa(name: str, target: TargetRef | None = WEB) -> InvalidPolicy:
    return InvalidPolicy(
        kind="MultidimPodAutoscaler", namespace="default", name=name, message="spec.x: wrong", target=target
    )


def broken_policy(name: str, scope: dict[str, Any] | None) -> InvalidPolicy:
    workloads = None if scope is None else msgspec.convert(scope, WorkloadScope, dec_hook=decode_hook)
    return InvalidPolicy(kind="ScalingPolicy", name=name, message="spec.x: wrong", workloads=workloads)


def seen() -> ClusterSnapshot:
    return make_snapshot(workloads=[make_workload("web"), make_workload("batch")])


def modes(policies: Policies) -> dict[str, UpdateMode]:
    governed = effective_policies(seen(), policies)
    return {workload.split("/")[-1]: effective.mode for workload, effective in governed.items()}


WIDE = policy("wide", workloads={"namespaceSelector": {}}, mode="Auto", defaults={"policy": AUTO})


@pytest.mark.parametrize(
    ("invalid", "expected"),
    [
        pytest.param([broken_mpa("web")], {"web": "Off", "batch": "Auto"}, id="its-workload-is-held"),
        pytest.param([broken_mpa("web", None)], {"web": "Off", "batch": "Off"}, id="its-namespace-if-it-names-none"),
        pytest.param(
            [broken_policy("a", {"namespaceSelector": {"matchLabels": {"a": "b"}}})],
            {"web": "Auto", "batch": "Auto"},
            id="a-policy-for-others-changes-nothing",
        ),
        pytest.param([broken_policy("a", {"namespaceSelector": {}})], {"web": "Off", "batch": "Off"}, id="its-scope"),
        pytest.param([broken_policy("z", {"namespaceSelector": {}})], {"web": "Auto", "batch": "Auto"}, id="by-name"),
        pytest.param([broken_policy("z", None)], {"web": "Off", "batch": "Off"}, id="a-scope-that-cannot-be-read"),
    ],
)
def test_what_a_broken_document_governs_is_held(invalid: list[InvalidPolicy], expected: dict[str, str]) -> None:
    found = modes(Policies(scaling=(WIDE,), invalid=tuple(invalid)))
    assert {name: mode.value for name, mode in found.items()} == expected


def test_a_broken_policy_holds_the_mpas_under_it() -> None:
    policies = Policies(mpas=(mpa("web", policy=AUTO),), invalid=(broken_policy("limits", {}),))
    assert modes(policies) == {"web": UpdateMode.OFF}


def test_of_two_documents_for_one_workload_the_first_name_counts_even_if_broken() -> None:
    good = mpa("web", policy=AUTO)
    assert modes(Policies(mpas=(good,), invalid=(broken_mpa("zweb"),))) == {"web": UpdateMode.AUTO}
    assert modes(Policies(mpas=(good,), invalid=(broken_mpa("aweb"),))) == {"web": UpdateMode.OFF}


def test_an_mpa_of_its_own_is_not_held_by_a_neighbour_without_a_target() -> None:
    policies = Policies(mpas=(mpa("web", policy=AUTO),), invalid=(broken_mpa("other", None),))
    assert modes(policies) == {"web": UpdateMode.AUTO}


def test_ungoverned_workloads_stay_ungoverned() -> None:
    assert modes(Policies(invalid=(broken_policy("a", None), broken_mpa("x", None)))) == {}


@pytest.mark.parametrize("scope", [{"namespaceSelector": {}}, None])
def test_nodes_are_only_advised_on_while_their_policy_is_broken(scope: dict[str, Any] | None) -> None:
    narrow = policy("z", workloads={"labelSelector": {"matchLabels": {"a": "b"}}}, mode="Auto")
    assert cluster_rules(Policies(scaling=(narrow,), invalid=(broken_policy("a", scope),))) == ("a", DEFAULT_RULES)
    assert DEFAULT_RULES.mode is UpdateMode.RECOMMEND


def test_the_decision_says_which_document_is_broken() -> None:
    policies = Policies(scaling=(WIDE,), invalid=(broken_mpa("web"),))
    assert signals_of(seen(), policies) == signals_of(seen(), Policies(scaling=(WIDE,), invalid=(broken_mpa("web"),)))
    decision = decide(seen(), policies, DecisionState())
    (note,) = [note for note in decision.held if note.target == f"workload/{key('web')}"]
    assert [reason.code for reason in note.reasons] == [Code.POLICY_INVALID]
    assert note.reasons[0].message == "MultidimPodAutoscaler default/web: spec.x: wrong"
    assert not any(key("web") in str(action) for action in decision.plan.actions)


def test_the_decision_says_that_nodes_wait_for_their_policy() -> None:
    policies = Policies(scaling=(WIDE,), invalid=(broken_policy("a", {}), broken_policy("z", {})))
    notes = [note for note in decide(seen(), policies, DecisionState()).notes if note.target.startswith("policy/")]
    assert [note.target for note in notes] == ["policy/a"]
    assert notes[0].reasons[0].message == "nodes are only advised on: ScalingPolicy a: spec.x: wrong"
    assert not [n for n in decide(seen(), Policies(scaling=(WIDE,)), DecisionState()).notes if "policy/" in n.target]
