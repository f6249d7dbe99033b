"""Whatever rules tie classes together, each placement is one that kube-scheduler's filters accept."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.node import NodeGroup, NodeTemplate
from autoscaler.model.placement import (
    NO_AFFINITY,
    Affinity,
    LabelSelector,
    PodTerm,
    TopologySpread,
    labels_of,
)
from autoscaler.model.pod import Container, PodShape
from autoscaler.model.resources import Resources
from autoscaler.planning.coupled_packing import CoupledPacking
from autoscaler.planning.offers import Market, market_of
from autoscaler.planning.rule_groups import RuleBook
from autoscaler.scheduling.requests import node_demand
from autoscaler.scheduling.simulation import Simulation
from autoscaler.scheduling.topology import HOSTNAME, ZONE

KEYS = st.sampled_from([HOSTNAME, ZONE])
APPS = st.sampled_from("abc")
GROUPS = tuple(
    NodeGroup(
        name=f"{cores}-{zone}",
        template=NodeTemplate(instance_type=f"m{cores}", allocatable=Resources.of(cpu=cores * 1000, pods=20)),
        target_size=0,
        max_size=6,
        usd_per_hour=0.05 * cores,
        zone=zone,
    )
    for cores in (1, 2, 4)
    for zone in "xyz"
)


@st.composite
def terms(draw: st.DrawFn) -> tuple[PodTerm, ...]:
    chosen = draw(st.lists(st.tuples(KEYS, APPS), max_size=1))
    return tuple(PodTerm(key, LabelSelector((("app", app),))) for key, app in chosen)


@st.composite
def shapes(draw: st.DrawFn) -> PodShape:
    requests = Resources.of(cpu=draw(st.sampled_from([200, 500, 900, 1500])))
    spreads = tuple(
        TopologySpread(max_skew=skew, topology_key=key, selector=LabelSelector((("app", app),)))
        for key, app, skew in draw(st.lists(st.tuples(KEYS, APPS, st.integers(1, 2)), max_size=2))
    )
    affinity = draw(st.just(NO_AFFINITY) | st.builds(Affinity, pod_required=terms(), pod_anti_required=terms()))
    return PodShape(
        namespace="n",
        labels=(("app", draw(APPS)),),
        containers=(Container(name="c", requests=requests),),
        spread=spreads,
        affinity=affinity,
    )


demands = st.lists(st.tuples(shapes(), st.integers(1, 4)), min_size=1, max_size=6)


def packing_of(demand: list[tuple[PodShape, int]], market: Market) -> CoupledPacking:
    known = {index: shape for index, (shape, _) in enumerate(demand)}
    counts = {index: count for index, (_, count) in enumerate(demand)}
    return CoupledPacking(known, counts, RuleBook(known, {}), market)


@given(demands)
@settings(max_examples=120, deadline=None)
def test_every_step_is_one_that_the_scheduler_accepts(demand: list[tuple[PodShape, int]]) -> None:
    packing = packing_of(demand, market_of(GROUPS, now=0.0))
    simulation, before = Simulation.of(()), list[Counter[int]]()
    for index in packing.in_order(range(len(demand))):
        shape, count = demand[index]
        for _ in range(count):
            packing.place(index, 1)
            after = [Counter(dict(node.pods)) for node in packing.bought()]
            for row in range(len(before), len(after)):
                # Room is another property's matter: nodes grow as pods come.
                zone = packing.bought()[row].offer.group.zone
                wide = NodeTemplate(
                    instance_type="wide", allocatable=Resources.of(cpu=10**6, pods=1000), labels=labels_of({ZONE: zone})
                )
                simulation.add_node(wide, f"new-{row}")
            before += [Counter()] * (len(after) - len(before))
            for row in [row for row in range(len(after)) if after[row] != before[row]]:
                assert simulation.feasible(shape)[row]
                simulation.add_pod(shape, row)
            before = after


@given(demands)
@settings(max_examples=120, deadline=None)
def test_nodes_hold_their_pods_and_groups_keep_within_their_size(demand: list[tuple[PodShape, int]]) -> None:
    packing = packing_of(demand, market_of(GROUPS, now=0.0))
    placed = {index: packing.place(index, demand[index][1]) for index in packing.in_order(range(len(demand)))}
    nodes, found = packing.bought(), Counter[int]()
    for node in nodes:
        assert node.pods
        found.update(dict(node.pods))
        total = Resources()
        for index, count in node.pods:
            total += node_demand(demand[index][0]) * count
        assert total.fits_in(node.offer.left)
    assert {index: found[index] for index in placed} == placed
    assert all(placed[index] <= count for index, (_, count) in enumerate(demand))
    sizes = Counter(node.offer.group.name for node in nodes)
    assert all(size <= 6 for size in sizes.values())


@given(demands)
@settings(max_examples=40, deadline=None)
def test_the_order_of_offers_does_not_matter(demand: list[tuple[PodShape, int]]) -> None:
    answers = []
    for groups in (GROUPS, GROUPS[::-1]):
        packing = packing_of(demand, market_of(groups, now=0.0))
        for index in packing.in_order(range(len(demand))):
            packing.place(index, demand[index][1])
        answers.append([(node.offer.group.name, node.pods) for node in packing.bought()])
    assert answers[0] == answers[1]
