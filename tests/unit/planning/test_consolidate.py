"""Which nodes go: empty ones, those whose pods fit elsewhere, those that cheaper ones replace."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from autoscaler.model.node import Node
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.policy import Consolidation
from autoscaler.model.reasons import Code
from autoscaler.model.snapshot import Prices
from autoscaler.model.workload import DisruptionBudget
from autoscaler.planning.blockers import Headroom
from autoscaler.planning.consolidate import consolidate
from autoscaler.planning.node_worth import balanced_score, disruption_cost, eviction_cost, value_for_money
from autoscaler.planning.removals import Buy, Consolidated, Demand, Growth, RemovalRules
from autoscaler.planning.repack import Round, Tenants, place_ghosts
from autoscaler.scheduling.simulation import Simulation
from autoscaler.testing.builders import make_group, make_node, make_pod, make_shape

GIB = 1 << 30
PRICES = Prices(usd_per_core_hour=0.04, usd_per_gib_hour=0.002)
SMALL, LARGE = make_shape(cpu=500, memory=GIB), make_shape(cpu=3000, memory=GIB)


def pods_on(node: str, count: int, shape: PodShape = SMALL, **fields: object) -> list[Pod]:
    return [make_pod(f"{node}-{number}", shape=shape, node=node, **fields) for number in range(count)]


def run(
    nodes: Sequence[Node],
    pods: Sequence[Pod],
    *,
    rules: RemovalRules | None = None,
    ghosts: Demand = (),
    buy: Buy | None = None,
    most: int = 10,
    budgets: Sequence[DisruptionBudget] = (),
    min_size: int = 0,
) -> Consolidated:
    on: dict[str, list[Pod]] = {}
    for pod in pods:
        on.setdefault(pod.node, []).append(pod)
    group = make_group(size=len(nodes), min_size=min_size)
    tenants = Tenants(
        nodes={node.name: node for node in nodes},
        pods=on,
        groups={group.name: group},
        sizes={group.name: group.target_size},
    )
    simulation = Simulation.of(nodes, pods)
    rules = rules or RemovalRules()
    current = Round(
        tenants,
        simulation,
        ghosts=place_ghosts(simulation, ghosts),
        rules=rules,
        headroom=Headroom(budgets),
    )
    busy = [node for node in nodes if node.name in on]
    ranked = [name for _, name in value_for_money(simulation, busy, PRICES)]
    empty = [node.name for node in nodes if node.name not in on]
    return consolidate(current, rules, empty=empty, ranked=ranked, buy=buy, most=most)


def removed(found: Consolidated) -> list[tuple[str, ...]]:
    return [removal.nodes for removal in found.removals]


def offer(growth: Growth, usd: float) -> Buy:
    return lambda demand: (growth, usd)


def test_the_node_least_worth_its_price_goes_first_and_the_others_take_its_pods() -> None:
    nodes = [make_node("a"), make_node("b", usd_per_hour=0.4), make_node("c")]
    found = run(nodes, [*pods_on("a", 3), *pods_on("b", 2), *pods_on("c", 4)])
    assert removed(found)[0] == ("b",)
    assert found.removals[0].code is Code.PODS_FIT_ELSEWHERE
    assert found.removals[0].usd_per_hour == -0.4
    assert found.removals[0].net_usd == pytest.approx(0.4 - 2 * 0.002)


def test_a_node_that_has_just_been_given_pods_is_not_emptied_in_turn() -> None:
    nodes = [make_node("a"), make_node("b")]
    found = run(nodes, [*pods_on("a", 2), *pods_on("b", 3)])
    assert removed(found) == [("a",)]


def test_pods_that_fit_nowhere_keep_their_node_with_a_reason() -> None:
    found = run([make_node("a"), make_node("b")], [*pods_on("a", 1, LARGE), *pods_on("b", 1, LARGE)])
    assert found.removals == ()
    assert [(note.target, note.reasons[0].code) for note in found.notes] == [
        ("node/a", Code.NODE_IN_USE),
        ("node/b", Code.NODE_IN_USE),
    ]


def test_ghosts_keep_their_room() -> None:
    nodes = [make_node("a"), make_node("b")]
    assert removed(run(nodes, pods_on("b", 2))) == [("a",)]
    assert removed(run(nodes, pods_on("b", 2), ghosts=[(SMALL, 5)])) == [("a",)]
    assert removed(run(nodes, pods_on("b", 2), ghosts=[(SMALL, 9)])) == []


def test_moves_must_pay() -> None:
    rules = RemovalRules(min_savings_per_eviction=0.05)
    found = run([make_node("a"), make_node("b")], [*pods_on("a", 4), *pods_on("b", 4)], rules=rules)
    assert found.removals == ()
    assert {note.reasons[0].code for note in found.notes} == {Code.SAVINGS_TOO_SMALL}
    longer = RemovalRules(min_savings_per_eviction=0.05, hold_seconds=4 * 3600.0)
    assert len(run([make_node("a"), make_node("b")], [*pods_on("a", 4), *pods_on("b", 4)], rules=longer).removals) == 1


def test_blockers_are_named() -> None:
    budget = DisruptionBudget(namespace="default", name="web", allowed=0, selector=None)
    nodes = [make_node("a"), make_node("b")]
    found = run(nodes, [*pods_on("a", 1, do_not_evict="keep"), *pods_on("b", 2)], budgets=[budget])
    assert removed(found) == [("b",)]
    assert dict(found.notes[0].reasons[0].detail)["reason"] == "NotSafeToEvictAnnotation"


def test_a_group_is_not_taken_below_its_minimum() -> None:
    nodes = [make_node(name) for name in "abcd"]
    found = run(nodes, pods_on("d", 1), min_size=2)
    assert len(found.removals) == 2
    assert dict(found.notes[0].reasons[0].detail)["reason"] == "NodeGroupMinSizeReached"


def test_volumes_keep_pods_in_their_zone() -> None:
    zone = "topology.kubernetes.io/zone"
    nodes = [make_node(name, labels=((zone, f"z{name}"),)) for name in "ab"]
    bound = make_shape(claims=("data",))
    pods = [*pods_on("a", 1, bound), *pods_on("b", 2)]
    assert removed(run(nodes, pods)) == [("b",)]
    assert removed(run(nodes, [*pods_on("a", 1, bound), *pods_on("b", 1, bound)])) == []


def test_two_poor_nodes_give_way_to_a_cheaper_one() -> None:
    nodes = [make_node(name, usd_per_hour=1.0) for name in "abc"]
    pods = [pod for name in "abc" for pod in pods_on(name, 1, LARGE)]
    found = run(nodes, pods, buy=offer((("m.xl-a-on-demand", 1),), 0.5))
    (removal,) = found.removals
    assert (removal.nodes, removal.growth, removal.code) == (
        ("a", "b", "c"),
        (("m.xl-a-on-demand", 1),),
        Code.CHEAPER_REPACK,
    )
    assert removal.usd_per_hour == -2.5
    assert removal.net_usd == pytest.approx(2.5 - 3 * 0.002 - 0.5 * 90 / 3600 * 2)
    assert found.notes == ()


@pytest.mark.parametrize("buy", [None, offer((("x", 1),), 3.5), lambda demand: None])
def test_nothing_is_replaced_by_what_is_dearer_or_not_to_be_had(buy: Buy | None) -> None:
    nodes = [make_node(name, usd_per_hour=1.0) for name in "abc"]
    assert run(nodes, [pod for name in "abc" for pod in pods_on(name, 1, LARGE)], buy=buy).removals == ()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        pytest.param(Consolidation.OFF, [], id="off-keeps-all"),
        pytest.param(Consolidation.WHEN_EMPTY, [("e",)], id="only-empty-ones"),
        pytest.param(Consolidation.JOINT, [("e",), ("a",)], id="all-that-pays"),
        pytest.param(Consolidation.BALANCED, [("e",), ("a",)], id="a-third-of-the-cost-for-a-third-of-the-moves"),
    ],
)
def test_modes(mode: Consolidation, expected: list[tuple[str, ...]]) -> None:
    nodes = [make_node("a"), make_node("b"), make_node("e")]
    found = run(nodes, [*pods_on("a", 2), *pods_on("b", 3)], rules=RemovalRules(consolidation=mode))
    assert removed(found) == expected


def test_balanced_refuses_much_disruption_for_little_money() -> None:
    nodes = [make_node("a", usd_per_hour=0.05), make_node("b", usd_per_hour=0.5)]
    pods = [*pods_on("a", 3), *pods_on("b", 3)]
    rules = RemovalRules(consolidation=Consolidation.BALANCED)
    found = run(nodes, pods, rules=rules)
    assert removed(found) == [("b",)]
    assert removed(run(nodes[:1], pods_on("a", 3), rules=rules)) == []


def test_no_more_nodes_than_allowed() -> None:
    nodes = [make_node(f"n{number}") for number in range(6)]
    assert len(run(nodes, pods_on("n0", 1), most=3).removals) == 3
    assert run(nodes, pods_on("n0", 1), most=0).removals == ()


def test_karpenters_costs_and_score() -> None:
    assert eviction_cost(make_pod()) == 1.0
    assert eviction_cost(make_pod(deletion_cost=2**31 - 1)) == 10.0
    assert eviction_cost(make_pod(deletion_cost=-(2**27))) == 0.0
    assert disruption_cost([make_pod(), make_pod(deletion_cost=-(2**31))]) == 2.0
    assert balanced_score(0.03, 0.1, disruption=3.0, total_disruption=3.0) == pytest.approx(0.3)
    assert balanced_score(-1.0, 0.1, disruption=3.0, total_disruption=3.0) == 0.0
    assert balanced_score(1.0, 0.0, disruption=3.0, total_disruption=0.0) == 0.0
