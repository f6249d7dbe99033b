"""Placing pods as the scheduler would, and as densely as can be."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.model.node import Node, NodeTemplate
from autoscaler.model.placement import Affinity, Effect, LabelSelector, PodTerm, Taint, TopologySpread, labels_of
from autoscaler.model.pod import Container, Phase, PodShape
from autoscaler.model.resources import Resources
from autoscaler.scheduling.ranking import resource_score, resource_scores
from autoscaler.scheduling.simulation import Simulation
from autoscaler.testing.builders import make_node, make_pod, make_shape

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
WEB = LabelSelector((("app", "web"),))
GIB = 1 << 30


def zones(count: int, *, each: int = 1, cpu: int = 4000) -> list[Node]:
    return [
        make_node(f"n{zone}{number}", labels=labels_of({ZONE: f"z{zone}", HOST: f"n{zone}{number}"}), cpu=cpu)
        for zone in range(count)
        for number in range(each)
    ]


def spread(key: str, *, skew: int = 1, when: str = "DoNotSchedule") -> PodShape:
    constraint = TopologySpread(max_skew=skew, topology_key=key, when_unsatisfiable=when, selector=WEB)
    return make_shape(spread=(constraint,))


def apart(key: str) -> PodShape:
    return make_shape(affinity=Affinity(pod_anti_required=(PodTerm(key, WEB),)))


def test_pods_go_to_the_emptiest_node_and_ties_to_the_first_name() -> None:
    simulation = Simulation.of([make_node("b"), make_node("a"), make_node("c")], [make_pod(node="a")])
    names = [simulation.names[row] for row in simulation.place(make_shape(), 3)]
    assert names == ["b", "c", "a"]


def test_a_node_takes_pods_until_it_is_full_and_no_further() -> None:
    simulation = Simulation.of([make_node(cpu=1000, pods=10)])
    assert simulation.place(make_shape(cpu=300), 9) == [0, 0, 0]
    assert simulation.free("cpu").tolist() == [100]
    assert simulation.place_pod(make_shape(cpu=300)) is None
    assert simulation.place_pod(make_shape(cpu=100)) == 0


def test_pod_slots_run_out_too() -> None:
    simulation = Simulation.of([make_node(pods=2)])
    assert len(simulation.place(make_shape(cpu=1, memory=1), 5)) == 2


def test_ended_pending_and_lost_pods_do_not_count() -> None:
    pods = [make_pod("a", phase=Phase.SUCCEEDED), make_pod("b", node=""), make_pod("c", node="gone"), make_pod("d")]
    simulation = Simulation.of([make_node("node-1")], pods)
    assert simulation.requested("pods").tolist() == [1]


def test_removing_a_pod_gives_its_room_back_and_no_more() -> None:
    simulation = Simulation.of([make_node()], [make_pod()])
    simulation.remove_pod(make_shape(), 0, pods=5)
    assert simulation.requested("cpu").tolist() == [0]
    assert simulation.requested("pods").tolist() == [0]


@pytest.mark.parametrize(
    ("shape", "counts"),
    [
        pytest.param(spread(ZONE), [2, 2, 2], id="hard-spread-keeps-zones-level"),
        pytest.param(spread(ZONE, skew=2), [2, 2, 2], id="the-emptiest-node-is-also-in-the-emptiest-zone"),
        pytest.param(apart(ZONE), [1, 1, 1], id="one-a-zone"),
        pytest.param(make_shape(), [2, 2, 2], id="no-rule"),
    ],
)
@pytest.mark.parametrize("how", ["place", "fill"])
def test_domains(shape: PodShape, counts: list[int], how: str) -> None:
    simulation = Simulation.of(zones(3, cpu=1000))
    if how == "place":
        simulation.place(shape, 6)
    else:
        simulation.fill(shape, 6)
    assert simulation.requested("pods").tolist() == counts


def test_full_zone_stops_a_spread() -> None:
    nodes = [*zones(2), make_node("n20", cpu=600, labels=labels_of({ZONE: "z2", HOST: "n20"}))]
    simulation = Simulation.of(nodes)
    assert len(simulation.place(spread(ZONE), 10)) == 5


def test_soft_spread_prefers_the_emptier_zone() -> None:
    nodes = zones(2, each=2)
    pods = [make_pod("web-1", node="n00")]
    simulation = Simulation.of(nodes, pods)
    row = simulation.place_pod(spread(ZONE, when="ScheduleAnyway"))
    assert row is not None
    assert simulation.names[row].startswith("n1")


def test_default_spread_is_added_to_pods_without_their_own() -> None:
    def level_hosts(shape: PodShape) -> tuple[TopologySpread, ...]:
        return (TopologySpread(max_skew=3, topology_key=HOST, when_unsatisfiable="ScheduleAnyway", selector=WEB),)

    big, small = make_node("big", cpu=64_000, memory=256 * GIB), make_node("small")
    plain, levelled = Simulation.of([big, small]), Simulation.of([big, small], default_spread=level_hosts)
    assert plain.place(make_shape(), 4) == [0, 0, 0, 0]
    assert sorted(levelled.place(make_shape(), 4)) == [0, 0, 1, 1]


def test_pods_keep_those_away_that_they_want_to_be_far_from() -> None:
    simulation = Simulation.of([make_node("a"), make_node("b")], [make_pod(shape=apart(HOST), node="a")])
    assert simulation.feasible(make_shape()).tolist() == [False, True]
    assert simulation.feasible(make_shape("db")).tolist() == [True, True]
    simulation.remove_pod(apart(HOST), 0)
    assert simulation.feasible(make_shape()).all()


def test_pods_that_belong_together_follow_the_first() -> None:
    together = make_shape(affinity=Affinity(pod_required=(PodTerm(ZONE, WEB),)))
    simulation = Simulation.of(zones(3, each=2))
    rows = simulation.place(together, 6)
    assert len({simulation.names[row][1] for row in rows}) == 1
    placed = simulation.fork().fill(together, 4)
    assert {simulation.names[row][1] for row, _ in placed} == {simulation.names[rows[0]][1]}


def test_closed_nodes_take_nothing_and_still_count_as_domains() -> None:
    simulation = Simulation.of(zones(2))
    simulation.close_node(1)
    assert len(simulation.place(spread(ZONE), 5)) == 1
    simulation.open_node(1)
    assert len(simulation.place(spread(ZONE), 5)) == 5


def test_a_node_of_a_template_has_its_labels_its_name_and_the_daemons_on_it() -> None:
    template = NodeTemplate(
        instance_type="m",
        allocatable=Resources.of(cpu=4000, memory=16 * GIB, pods=10),
        labels=labels_of({ZONE: "z1", HOST: "template"}),
        taints=(Taint("boot", Effect.NO_EXECUTE),),
        overhead=Resources.of(cpu=500, memory=GIB, pods=3),
    )
    simulation = Simulation.of([])
    row = simulation.add_node(template, "new-1")
    assert (simulation.row("new-1"), simulation.free("cpu")[row], simulation.free("pods")[row]) == (0, 3500, 7)
    assert not simulation.feasible(make_shape()).any()
    assert simulation.same_domain(row, HOST).tolist() == [True]


def test_removed_nodes_take_their_pods_along() -> None:
    simulation = Simulation.of([make_node("a"), make_node("b")], [make_pod(shape=apart(HOST), node="a")])
    simulation.remove_node(0)
    assert "a" not in simulation
    assert simulation.add_observed_node(make_node("c")) == 0
    assert simulation.feasible(apart(HOST)).all()
    assert simulation.requested("pods").tolist() == [0, 0]


def test_mixed_arrival_leaves_less_stranded_than_class_after_class() -> None:
    nodes = [make_node(f"n{number}", cpu=4000, memory=16 * GIB) for number in range(10)]
    demand = [(make_shape("cpu", cpu=1000, memory=GIB), 30), (make_shape("mem", cpu=250, memory=4 * GIB), 30)]
    stranded = [sum(Simulation.of(nodes).place_mixed(demand, waves=waves)) for waves in (1, 15)]
    assert stranded[1] <= stranded[0]


def test_fill_is_denser_than_the_scheduler() -> None:
    nodes = [make_node(f"n{number}", cpu=1000) for number in range(3)]
    simulation = Simulation.of(nodes)
    assert simulation.fill(make_shape(cpu=400), 3) == [(0, 2), (1, 1)]
    simulation.unfill(make_shape(cpu=400), [(0, 2), (1, 1)])
    assert simulation.requested("cpu").tolist() == [0, 0, 0]
    within = simulation.same_domain(2, HOST)
    assert simulation.fill(make_shape(cpu=400), 3, within=within) == [(2, 2)]


def test_one_node_scores_as_a_column_of_one() -> None:
    for room, scored, taken, asks in (
        ((4000, 16 * GIB), [500, GIB], [400, GIB // 2], (100, GIB // 2)),
        ((4000, 0), [5000, GIB], [4900, GIB], (100, 0)),
        ((0, 0), [0, 0], [0, 0], (0, 0)),
        ((7, 11), [3, 5], [2, 1], (1, 4)),
    ):
        columns = [np.array(values, np.int64)[:, None] for values in (room, scored, taken)]
        expected = int(resource_scores(*columns, asks=asks)[0])
        assert resource_score(room, scored, taken, asks=asks) == expected


def test_pods_without_requests_still_take_a_slot() -> None:
    empty = PodShape(namespace="default", containers=(Container(name="c"),))
    simulation = Simulation.of([make_node(pods=1)])
    assert simulation.fill(empty, 3) == [(0, 1)]
    assert simulation.place(empty, 1) == []
