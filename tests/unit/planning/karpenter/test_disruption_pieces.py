"""The parts of disruption by themselves: replacements, commands under way, templates, order and budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from autoscaler.model.node import ON_DEMAND, SPOT, NodeGroup
from autoscaler.model.placement import Effect, Taint
from autoscaler.model.policy import BudgetWindow
from autoscaler.model.state import NodeMemory, TemplateMemory
from autoscaler.planning.karpenter.balanced import PoolTotals, can_pass, score_move, scores_of, totals_by_pool
from autoscaler.planning.karpenter.candidates import Candidate
from autoscaler.planning.karpenter.claims import NodePool
from autoscaler.planning.karpenter.commands import interwoven
from autoscaler.planning.karpenter.commands_under_way import Progress, progress_of, under_way
from autoscaler.planning.karpenter.disruption_budgets import DisruptionReason, allowed_disruptions, budgets_of
from autoscaler.planning.karpenter.drift import drift_of, note_templates, template_digest
from autoscaler.planning.karpenter.replacement import cheaper_claim, costing_less, with_types, without_same_types
from autoscaler.planning.karpenter.requirements import CAPACITY_TYPE, INSTANCE_TYPE, Requirements, requirement
from autoscaler.planning.karpenter.solve import PlannedClaim
from autoscaler.scheduling.topology import ZONE
from autoscaler.testing.builders import NOW, make_node
from tests.unit.planning.karpenter.pools import option, pool, shape, solved, waiting
from tests.unit.planning.karpenter.turns import group, node_of

MIXED = pool(types=[option(cores, spot=True) for cores in (1, 2, 4, 8)])
ON_DEMAND_ONLY = (requirement(CAPACITY_TYPE, "In", (ON_DEMAND,)),)
PLAIN = pool(requirements=ON_DEMAND_ONLY)


def claim_in(of: NodePool, *, cpu: int = 500) -> PlannedClaim:
    (claim,) = solved(waiting((shape(cpu), 1)), of).claims
    return claim


def going(usd: float, *, kind: str = "amd64.8", capacity: str = ON_DEMAND, name: str = "a") -> Candidate:
    return Candidate(node=make_node(name, capacity_type=capacity), pool="default", type=kind, usd_per_hour=usd)


def test_only_types_that_cost_less_wherever_they_come_from_are_left() -> None:
    found = cheaper_claim(claim_in(PLAIN), [going(0.20)], PLAIN, spot_to_spot=False)
    assert isinstance(found, PlannedClaim)
    assert (found.types, found.usd_per_hour) == (("amd64.1", "amd64.2"), 0.05)


def test_the_dearest_zone_decides() -> None:
    dear = option(1)
    offers = [
        msgspec.structs.replace(each, usd_per_hour=0.05 + 0.1 * number) for number, each in enumerate(dear.offerings)
    ]
    of = pool(types=[msgspec.structs.replace(dear, offerings=tuple(offers))], requirements=ON_DEMAND_ONLY)
    assert cheaper_claim(claim_in(of), [going(0.25)], of, spot_to_spot=False) == "nothing cheaper could replace it"
    assert isinstance(cheaper_claim(claim_in(of), [going(0.26)], of, spot_to_spot=False), PlannedClaim)


def test_an_on_demand_node_gives_way_to_spot_alone() -> None:
    found = cheaper_claim(claim_in(MIXED), [going(0.10)], MIXED, spot_to_spot=False)
    assert isinstance(found, PlannedClaim)
    kinds = found.requirements.get(CAPACITY_TYPE)
    assert kinds is not None
    assert kinds.values == {SPOT}
    # By the price on spot: 4 cores at 0.08 are less than 0.10, on demand they are not.
    assert found.types == ("amd64.1", "amd64.2", "amd64.4")


def test_several_spot_nodes_need_no_fifteen_types() -> None:
    two = [going(0.10, capacity=SPOT), going(0.10, capacity=SPOT, name="b")]
    found = cheaper_claim(claim_in(MIXED), two, MIXED, spot_to_spot=True)
    assert isinstance(found, PlannedClaim)
    assert len(found.types) == 4
    assert isinstance(cheaper_claim(claim_in(MIXED), two[:1], MIXED, spot_to_spot=True), str)


def test_what_goes_does_not_come_again_nor_anything_dearer() -> None:
    nodes = [going(0.40), going(0.40, name="b"), going(0.10, kind="amd64.2", name="c")]
    assert without_same_types(claim_in(PLAIN), nodes, PLAIN).types == ("amd64.1",)
    assert without_same_types(claim_in(PLAIN), nodes[:2], PLAIN).types == ("amd64.1", "amd64.2", "amd64.4")


def test_with_too_few_values_left_nothing_is() -> None:
    claim = claim_in(PLAIN)
    wants = Requirements.of([*claim.requirements.items, requirement(INSTANCE_TYPE, "Exists", (), 3)])
    claim = msgspec.structs.replace(claim, requirements=wants)
    assert len(costing_less(claim, 0.21, PLAIN).types) == 3
    assert costing_less(claim, 0.20, PLAIN).types == ()


def test_types_are_cut_in_order_of_price() -> None:
    claim = claim_in(PLAIN)
    assert with_types(claim, ("amd64.8", "amd64.2"), PLAIN).types == ("amd64.2", "amd64.8")


def member(name: str, **fields: Any) -> NodeMemory:
    return NodeMemory(node=name, **{"unneeded_since": NOW, "replaced_by": (("g", 1),), "command": name, **fields})


GROUP = group("g", 2000, 0.1)


def progress(memories: Sequence[NodeMemory], *fresh: float, now: float = NOW + 60, of: NodeGroup = GROUP) -> list[str]:
    nodes = [node_of(of, f"new-{number}", created_at=at) for number, at in enumerate(fresh)]
    return [each.value for each in progress_of(under_way(memories), nodes, {of.name: of}, now=now).values()]


def test_a_command_waits_for_a_node_that_came_after_it_began() -> None:
    assert progress([member("a")]) == ["Wait"]
    assert progress([member("a")], NOW - 30) == ["Wait"]
    assert progress([member("a")], NOW + 30) == ["Go"]


def test_one_new_node_serves_one_command() -> None:
    both = [member("a"), member("b")]
    assert progress(both, NOW + 30) == ["Go", "Wait"]
    assert progress(both, NOW + 30, NOW + 31) == ["Go", "Go"]
    draining = [member("a", drain_since=NOW + 20), member("b")]
    assert progress(draining, NOW + 30) == ["Go", "Wait"]


def test_nodes_of_one_command_wait_for_the_same() -> None:
    assert progress([member("a"), member("b", command="a")], NOW + 30) == ["Go"]


@pytest.mark.parametrize(
    ("count", "seconds"),
    [pytest.param(1, 600, id="few"), pytest.param(10_000, 800, id="more"), pytest.param(60_000, 3600, id="very-many")],
)
def test_the_wait_ends(count: int, seconds: int) -> None:
    many = [member(f"n{number}", command="a") for number in range(count)]
    assert progress(many, now=NOW + seconds) == ["Wait"]
    assert progress(many, now=NOW + seconds + 1) == ["Fail"]


def test_it_ends_at_once_where_nothing_can_be_had() -> None:
    away = msgspec.structs.replace(GROUP, backoff_until=NOW + 300)
    assert progress([member("a")], of=away) == [Progress.FAIL.value]
    assert progress_of(under_way([member("a")]), [], {}, now=NOW)["a"] is Progress.FAIL


def test_a_drain_without_replacement_goes_on() -> None:
    assert progress([NodeMemory(node="a", drain_since=NOW)]) == ["Go"]
    assert under_way([NodeMemory(node="a", recheck_at=NOW)]) == []


def test_templates_are_remembered_with_their_time() -> None:
    first = note_templates([GROUP], (), now=NOW)
    assert first == (TemplateMemory(group="g", templates=((0.0, template_digest(GROUP)),)),)
    assert note_templates([GROUP], first, now=NOW + 60) == first
    template = msgspec.structs.replace(GROUP.template, taints=(Taint("k", Effect.NO_SCHEDULE),))
    changed = msgspec.structs.replace(GROUP, template=template)
    (then,) = note_templates([changed], first, now=NOW + 60)
    assert [at for at, _ in then.templates] == [0.0, NOW + 60]
    assert note_templates([], first, now=NOW) == ()


def test_what_is_measured_is_not_what_is_stated() -> None:
    less = msgspec.structs.replace(GROUP.template, overhead=GROUP.template.allocatable)
    assert template_digest(msgspec.structs.replace(GROUP, template=less)) == template_digest(GROUP)


def drift(created_at: float, *templates: tuple[float, str], **fields: Any) -> str:
    node = node_of(GROUP, "n", created_at=created_at, instance_type="amd64.1", **fields)
    memory = {"g": TemplateMemory(group="g", templates=templates)} if templates else {}
    found = drift_of(node, PLAIN, memory, now=NOW)
    return "" if found is None else found.reason


@pytest.mark.parametrize(
    ("created_at", "templates", "reason"),
    [
        pytest.param(NOW - 60, ((0.0, "x"),), "", id="never-changed"),
        pytest.param(NOW - 60, ((0.0, "x"), (NOW - 30, "y")), "NodePoolDrifted", id="changed-since"),
        pytest.param(NOW - 20, ((0.0, "x"), (NOW - 30, "y")), "", id="made-from-the-new-one"),
        pytest.param(NOW - 60, ((0.0, "x"), (NOW - 50, "y"), (NOW - 30, "x")), "", id="changed-and-changed-back"),
        pytest.param(NOW - 60, ((NOW - 50, "y"), (NOW - 30, "x")), "NodePoolDrifted", id="older-than-what-is-known"),
    ],
)
def test_a_node_has_drifted_from_its_template(
    created_at: float, templates: tuple[tuple[float, str], ...], reason: str
) -> None:
    assert drift(created_at, *templates) == reason


def test_a_node_has_drifted_from_its_pool() -> None:
    only_b = pool(requirements=(requirement(ZONE, "In", ("b",)),))
    node = node_of(GROUP, "n", instance_type="amd64.1", labels=((ZONE, "a"),))
    found = drift_of(node, only_b, {}, now=NOW)
    assert found is not None
    assert found.reason == "RequirementsDrifted"


@pytest.mark.parametrize(("age", "reason"), [(3600, ""), (3601, "InstanceTypeNotFound")])
def test_a_type_that_is_gone_counts_after_an_hour(age: float, reason: str) -> None:
    found = drift_of(node_of(GROUP, "n", created_at=NOW - age, instance_type="gone"), PLAIN, {}, now=NOW)
    assert (found.reason if found is not None else "") == reason


def test_pools_take_turns() -> None:
    names = [("a1", "a"), ("b1", "b"), ("b2", "b"), ("b3", "b"), ("a2", "a")]
    candidates = [Candidate(node=make_node(name), pool=of) for name, of in names]
    assert [each.name for each in interwoven(candidates)] == ["a1", "b1", "a2", "b2", "b3"]


def test_a_move_across_pools_shares_its_savings_by_cost() -> None:
    one, other = going(0.3), msgspec.structs.replace(going(0.1, name="b"), pool="other")
    scores = scores_of([one, other], 0.2, totals_by_pool([one, other]))
    assert scores["default"].savings_share == pytest.approx(0.5)
    assert scores["other"].savings_share == pytest.approx(0.5)


def test_without_a_price_nothing_passes_and_nothing_is_ruled_out_before() -> None:
    assert not score_move(1.0, 1.0, PoolTotals()).approved
    assert can_pass(going(0.0), {})


def test_budgets_of_a_policy_are_for_their_reasons_and_times() -> None:
    windows = (
        BudgetWindow(nodes="50%"),
        BudgetWindow(nodes="1", reasons=("Consolidation",)),
        BudgetWindow(nodes="0", schedule="@daily"),
    )
    budgets = budgets_of(windows, ())
    allowed = [allowed_disruptions(budgets, node_count=7, reason=reason) for reason in DisruptionReason]
    assert allowed == [1, 1, 4]
