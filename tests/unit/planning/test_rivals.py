from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from autoscaler.cli.plan_text import view_of
from autoscaler.model.plan import Decision, GiveBack, Note, SetAside, SetReplicas, SetRequests
from autoscaler.model.policy import InvalidPolicy, Policies
from autoscaler.model.reasons import Code
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import TargetRef
from autoscaler.model.state import DecisionState
from autoscaler.model.workload import Rival
from autoscaler.planning.decide import decide
from autoscaler.planning.effective import effective_policies
from autoscaler.planning.explain import explain_workload
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.rivals import acts_on
from autoscaler.testing.builders import make_rival
from tests.unit.planning.decisions import cluster, key, mpa, policies

WEB = key("web")
HPA = make_rival()
VPA = make_rival(kind="VerticalPodAutoscaler")
KEDA = make_rival(kind="ScaledObject")
KEDAS_HPA = make_rival("keda-hpa-web", workload=WEB, owner="ScaledObject/web")
STOPPED = msgspec.structs.replace(HPA, set_aside=True)


def seen(*rivals: Rival) -> ClusterSnapshot:
    """Return a workload under load that needs more replicas, and who else acts on it."""
    return cluster({"web": (2, 3.0)}, rivals=rivals)


def rules(*, mode: str = "Auto", engine: str = "joint", take_over: bool = False, **policy: Any) -> Policies:
    given = {"updateMode": mode, "engine": engine, "takeOver": take_over, **policy}
    return msgspec.structs.replace(policies(nodes={"consolidation": "Off"}), mpas=(mpa(policy=given),))


def decided(*rivals: Rival, **how: Any) -> Decision:
    return decide(seen(*rivals), rules(**how), DecisionState())


def on_web(decision: Decision) -> list[Any]:
    return [action for action in decision.plan.actions if getattr(action, "workload", "") == WEB]


def conflicts(notes: Sequence[Note]) -> list[str]:
    return [reason.message for note in notes for reason in note.reasons if reason.code is Code.CONFLICT]


@pytest.mark.parametrize(
    ("rival", "engine", "held"),
    [
        pytest.param(HPA, "joint", True, id="an-hpa-and-the-joint-engine"),
        pytest.param(HPA, "hpa", True, id="an-hpa-and-an-hpa"),
        pytest.param(HPA, "vpa", False, id="an-hpa-leaves-requests-alone"),
        pytest.param(VPA, "vpa", True, id="a-vpa-and-a-vpa"),
        pytest.param(VPA, "hpa", False, id="a-vpa-leaves-replicas-alone"),
        pytest.param(VPA, "mpa", True, id="a-vpa-and-both-sides"),
        pytest.param(KEDA, "hpa", True, id="keda"),
    ],
)
def test_a_workload_is_held_while_another_acts_on_the_same_thing(rival: Rival, engine: str, held: bool) -> None:
    found = decided(rival, engine=engine)
    assert bool(conflicts(found.held)) == held
    assert not (held and on_web(found))
    # What it should have is said all the same.
    assert [advice.workload for advice in found.recommendations] == [WEB]


def test_the_message_names_the_object_and_both_ways_out() -> None:
    [message] = conflicts(decided(HPA).held)
    assert message == (
        "HorizontalPodAutoscaler default/web also sets the replicas: delete it, or set policy.takeOver: true"
    )


def test_what_would_be_done_is_told() -> None:
    advised = decided(HPA).plan.advised
    assert [type(action) for action in advised] == [SetReplicas]
    assert decided(HPA).plan.actions == ()


@pytest.mark.parametrize("mode", ["Recommend", "Off", "Initial"])
def test_a_mode_that_does_not_set_replicas_is_not_held(mode: str) -> None:
    found = decided(HPA, mode=mode, take_over=True)
    assert conflicts(found.held) == []
    assert not [action for action in found.plan.actions if isinstance(action, SetAside)]


def test_recommend_tells_of_the_conflict_and_of_what_would_be_set_aside() -> None:
    assert len(conflicts(decided(HPA, mode="Recommend").notes)) == 1
    advised = decided(HPA, mode="Recommend", take_over=True).plan.advised
    assert [action.rival for action in advised if isinstance(action, SetAside)] == [HPA.key]


def test_it_is_set_aside_first_and_acted_on_once_that_is_seen() -> None:
    first = decided(HPA, take_over=True)
    assert [type(action) for action in on_web(first)] == [SetAside]
    assert len(conflicts(first.held)) == 1
    later = decided(STOPPED, take_over=True)
    assert [type(action) for action in on_web(later)] == [SetReplicas]
    assert conflicts(later.held) == []


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"take_over": False}, id="take-over-was-withdrawn"),
        pytest.param({"take_over": True, "mode": "Recommend"}, id="it-only-recommends-now"),
        pytest.param({"take_over": True, "mode": "Off"}, id="it-is-off-now"),
        pytest.param({"take_over": True, "engine": "vpa"}, id="its-engine-leaves-replicas-alone-now"),
    ],
)
def test_it_is_given_back_when_it_is_not_taken_over_any_more(how: dict[str, Any]) -> None:
    found = decided(STOPPED, **how)
    assert [action.rival for action in found.plan.actions if isinstance(action, GiveBack)] == [HPA.key]
    # Not in the same cycle as it begins to act again.
    assert not [action for action in found.plan.actions if isinstance(action, SetReplicas)]


def test_it_is_given_back_when_the_document_or_the_workload_is_gone() -> None:
    for snapshot in (seen(STOPPED), cluster({}, rivals=(STOPPED,))):
        found = decide(snapshot, Policies(), DecisionState())
        assert [type(action) for action in found.plan.actions] == [GiveBack]


def test_a_document_that_became_invalid_changes_nothing() -> None:
    broken = InvalidPolicy(
        kind="MultidimPodAutoscaler",
        namespace="default",
        name="web",
        message="spec.x",
        target=TargetRef(kind="Deployment", name="web"),
    )
    for rival in (STOPPED, HPA):
        found = decide(seen(rival), Policies(invalid=(broken,)), DecisionState())
        assert found.plan.actions == ()


def test_nothing_is_set_aside_before_there_is_an_answer() -> None:
    blind = cluster({"web": (2, None)}, rivals=(HPA,))
    found = decide(blind, rules(take_over=True), DecisionState())
    assert found.plan.actions == ()
    assert "until there is a recommendation" in conflicts(found.held)[0]
    unknown = decide(seen(HPA), rules(take_over=True, engine="nobodys"), DecisionState())
    assert unknown.plan.actions == ()


def test_of_a_chain_only_the_first_counts() -> None:
    found = decided(KEDA, KEDAS_HPA, take_over=True)
    assert [action.rival for action in on_web(found)] == [KEDA.key]
    assert len(conflicts(found.held)) == 1
    stopped = msgspec.structs.replace(KEDA, set_aside=True)
    assert [type(action) for action in on_web(decided(stopped, KEDAS_HPA, take_over=True))] == [SetReplicas]


def test_what_somebody_unknown_controls_is_not_touched() -> None:
    owned = msgspec.structs.replace(HPA, owner="Fleet/shop")
    found = decided(owned, take_over=True)
    assert found.plan.actions == ()
    assert "belongs to Fleet/shop" in conflicts(found.held)[0]


def test_each_rival_of_a_workload_has_to_go() -> None:
    found = decided(HPA, VPA, take_over=True)
    assert [action.rival for action in on_web(found)] == [HPA.key, VPA.key]
    half = decided(STOPPED, VPA, take_over=True)
    assert [type(action) for action in on_web(half)] == [SetAside]


def test_the_second_document_of_a_workload_is_told_so() -> None:
    second = msgspec.structs.replace(mpa(), name="zweb")
    snapshot = seen()
    found = decide(snapshot, msgspec.structs.replace(rules(), mpas=(second, *rules().mpas)), DecisionState())
    [note] = [note for note in found.notes if note.target == "mpa/default/zweb"]
    assert "governed by MultidimPodAutoscaler web" in note.reasons[0].message
    assert [type(action) for action in on_web(found)] == [SetReplicas]


@pytest.mark.parametrize(
    ("engine", "controlled", "mode", "wanted"),
    [
        pytest.param("joint", None, "Auto", {"replicas", "requests"}, id="both"),
        pytest.param("joint", [], "Auto", {"replicas"}, id="no-resource-is-controlled"),
        pytest.param("nobodys", ["memory"], "Auto", {"replicas", "requests"}, id="a-plug-in-may-do-anything"),
        pytest.param("hpa", None, "Auto", {"replicas"}, id="replicas"),
        pytest.param("vpa", None, "Auto", {"requests"}, id="requests"),
        pytest.param("joint", None, "Initial", {"requests"}, id="new-pods-alone"),
        pytest.param("hpa", None, "Initial", set(), id="nothing"),
        pytest.param("joint", None, "Recommend", {"replicas", "requests"}, id="as-if-it-acted"),
    ],
)
def test_what_an_engine_acts_on(engine: str, controlled: list[str] | None, mode: str, wanted: set[str]) -> None:
    document = mpa(
        constraints={} if controlled is None else {"containerControlledResources": controlled},
        policy={"engine": engine, "updateMode": mode},
    )
    governed = effective_policies(seen(), msgspec.structs.replace(policies(), mpas=(document,)))
    assert acts_on(governed[WEB]) == wanted


def test_plan_and_explanation_show_it() -> None:
    snapshot = seen(HPA)
    found = decide(snapshot, rules(take_over=True), DecisionState())
    assert ("HorizontalPodAutoscaler default/web", "set aside") in [
        (change.subject, change.what) for change in view_of(snapshot, found).changes
    ]
    reasons = explain_workload(snapshot, WEB, found).reasons
    assert [reason.code for reason in reasons].count(Code.CONFLICT) == 1


def test_the_index_keeps_those_that_nobody_else_controls() -> None:
    other = msgspec.structs.replace(KEDAS_HPA, namespace="shop")
    snapshot = seen(KEDA, KEDAS_HPA, other)
    assert set(SnapshotIndex(snapshot).rivals) == {KEDA, other}


def test_requests_alone_go_on_beside_an_hpa() -> None:
    found = decided(HPA, engine="joint", mode="Initial")
    assert not [action for action in found.plan.actions if not isinstance(action, SetRequests)]
