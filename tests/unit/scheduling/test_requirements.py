"""Label, node and taint tests."""

from __future__ import annotations

import pytest

from autoscaler.model.placement import (
    Affinity,
    Effect,
    LabelSelector,
    NodeSelectorTerm,
    Operator,
    PodTerm,
    Requirement,
    Taint,
    Toleration,
)
from autoscaler.scheduling.requirements import (
    matches_node_affinity,
    requirement_is_valid,
    requirement_matches,
    selector_matches,
    term_matches_pod,
    tolerates,
    untolerated_taint,
)
from tests.unit.scheduling.build import a_shape, selecting

IN, NOT_IN, EXISTS, ABSENT, GT, LT = Operator


@pytest.mark.parametrize(
    ("operator", "values", "found", "holds"),
    [
        pytest.param(IN, ("a", "b"), "b", True, id="in"),
        pytest.param(IN, ("a",), None, False, id="in-needs-the-key"),
        pytest.param(NOT_IN, ("a",), None, True, id="not-in-passes-without-the-key"),
        pytest.param(NOT_IN, ("a",), "a", False, id="not-in"),
        pytest.param(EXISTS, (), "", True, id="exists-with-an-empty-value"),
        pytest.param(ABSENT, (), None, True, id="does-not-exist"),
        pytest.param(GT, ("7",), "016", True, id="greater-with-leading-zero"),
        pytest.param(GT, ("7",), "7", False, id="greater-is-strict"),
        pytest.param(GT, ("7",), "many", False, id="greater-than-no-number"),
        pytest.param(LT, ("7",), "-1", True, id="less-than-with-a-negative-label"),
        pytest.param(LT, ("7",), "9" * 30, False, id="beyond-64-bits-is-no-number"),
        pytest.param(LT, ("7",), "٣", False, id="only-ascii-digits"),
    ],
)
def test_one_requirement(operator: Operator, values: tuple[str, ...], found: str | None, holds: bool) -> None:
    labels = {} if found is None else {"key": found}
    assert requirement_matches(Requirement("key", operator, values), labels) == holds


@pytest.mark.parametrize(
    "requirement",
    [
        pytest.param(Requirement("key", GT, ("-1",)), id="a-negative-bound-is-no-label-value"),
        pytest.param(Requirement("key", GT, ("x",)), id="a-bound-must-be-a-number"),
        pytest.param(Requirement("key", GT, ()), id="a-bound-is-needed"),
        pytest.param(Requirement("key", IN, ()), id="in-needs-values"),
        pytest.param(Requirement("key", EXISTS, ("a",)), id="exists-takes-none"),
        pytest.param(Requirement("-key", EXISTS), id="a-key-starts-with-a-letter-or-digit"),
        pytest.param(Requirement("UP.example/key", EXISTS), id="a-prefix-is-lower-case"),
        pytest.param(Requirement("key", IN, ("a" * 64,)), id="a-value-has-63-characters-at-most"),
    ],
)
def test_an_invalid_requirement_makes_its_term_match_nothing(requirement: Requirement) -> None:
    assert not requirement_is_valid(requirement)
    shape = a_shape(affinity=Affinity(node_required=(NodeSelectorTerm((requirement,)),)))
    assert not matches_node_affinity(shape, {"key": "5"}, "n1")
    assert not selector_matches(LabelSelector((), (requirement,)), {"key": "5"})


def test_none_selects_nothing_and_empty_everything() -> None:
    assert not selector_matches(None, {"a": "b"})
    assert selector_matches(LabelSelector(), {})


def test_terms_are_alternatives_and_an_empty_one_matches_no_node() -> None:
    named = NodeSelectorTerm((), (Requirement("metadata.name", IN, ("n2",)),))
    shape = a_shape(affinity=Affinity(node_required=(NodeSelectorTerm(), named)))
    assert [matches_node_affinity(shape, {}, name) for name in ("n1", "n2")] == [False, True]
    assert not matches_node_affinity(a_shape(affinity=Affinity(node_required=())), {}, "n1")


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        pytest.param(Toleration(operator="Exists"), True, id="everything"),
        pytest.param(Toleration("gpu", "Exists"), True, id="key"),
        pytest.param(Toleration("gpu", "Equal", "yes"), True, id="value"),
        pytest.param(Toleration("gpu", "", "yes"), True, id="equal-is-the-default"),
        pytest.param(Toleration("gpu", "Equal", "no"), False, id="another-value"),
        pytest.param(Toleration("gpu", "Exists", effect=Effect.NO_EXECUTE), False, id="another-effect"),
        pytest.param(Toleration("gpu", "Gt", "1"), False, id="gated-operators-tolerate-nothing"),
    ],
)
def test_tolerations(toleration: Toleration, tolerated: bool) -> None:
    assert tolerates(toleration, Taint("gpu", Effect.NO_SCHEDULE, "yes")) == tolerated


def test_a_soft_taint_keeps_nobody_off() -> None:
    assert untolerated_taint(a_shape(), (Taint("slow", Effect.PREFER_NO_SCHEDULE),)) is None


@pytest.mark.parametrize(
    ("term", "matches"),
    [
        pytest.param(PodTerm("zone", selecting(app="web")), False, id="own-namespace-by-default"),
        pytest.param(PodTerm("zone", selecting(app="web"), ("other",)), True, id="named-namespace"),
        pytest.param(PodTerm("zone", selecting(app="web"), (), selecting(team="b")), True, id="namespace-selector"),
        pytest.param(PodTerm("zone", selecting(app="web"), (), LabelSelector()), True, id="all-namespaces"),
        pytest.param(PodTerm("zone", None, ("other",)), False, id="no-selector-matches-nothing"),
        pytest.param(
            PodTerm("zone", selecting(app="web"), ("other",), match_label_keys=("rev",)), False, id="match-label-keys"
        ),
        pytest.param(
            PodTerm("zone", selecting(app="web"), ("other",), mismatch_label_keys=("rev",)),
            True,
            id="mismatch-label-keys",
        ),
    ],
)
def test_an_inter_pod_term(term: PodTerm, matches: bool) -> None:
    other = a_shape(namespace="other", labels={"app": "web", "rev": "2"})
    owner = a_shape(labels={"rev": "1"})
    assert term_matches_pod(term, owner, other, {"other": {"team": "b"}}) == matches


def test_an_unknown_namespace_is_chosen_by_no_selector_of_the_incoming_pod() -> None:
    term = PodTerm("zone", LabelSelector(), (), LabelSelector((), (Requirement("team", ABSENT),)))
    assert not term_matches_pod(term, a_shape(), a_shape(), {})
    assert term_matches_pod(term, a_shape(), a_shape(), {}, owner_incoming=False)
