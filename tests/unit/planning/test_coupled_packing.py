"""Classes that rules tie together: how many nodes, where, and how large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from autoscaler.model.node import SPOT, Node, NodeGroup, NodeTemplate
from autoscaler.model.placement import (
    Affinity,
    HostPort,
    LabelSelector,
    PodTerm,
    TopologySpread,
)
from autoscaler.model.pod import Container, Pod, PodShape
from autoscaler.model.resources import Resources
from autoscaler.planning.coupled_packing import Coupled, pack_coupled
from autoscaler.planning.offers import market_of
from autoscaler.planning.purchase import Bought
from autoscaler.planning.scale_up import ScaleUpRules, scale_up
from autoscaler.planning.spot import SpotShare
from autoscaler.scheduling.simulation import Simulation
from autoscaler.scheduling.topology import HOSTNAME, ZONE

GIB = 1 << 30
CORES = (1, 2, 4, 8)


def group(cores: int, zone: str, **fields: Any) -> NodeGroup:
    template = NodeTemplate(
        instance_type=f"m-{cores}", allocatable=Resources.of(cpu=cores * 1000, memory=cores * 4 * GIB, pods=30)
    )
    name = fields.pop("name", f"m-{cores}-{zone}")
    return NodeGroup(name=name, template=template, target_size=0, usd_per_hour=0.05 * cores, zone=zone, **fields)


GROUPS = tuple(group(cores, zone) for cores in CORES for zone in "abc")


def shape(cpu: int, app: str = "web", **fields: Any) -> PodShape:
    container = Container(
        name="c", requests=Resources.of(cpu=cpu, memory=cpu * GIB // 1000), ports=fields.pop("ports", ())
    )
    return PodShape(namespace="shop", labels=(("app", app),), containers=(container,), **fields)


def of_app(app: str, key: str) -> PodTerm:
    return PodTerm(key, LabelSelector((("app", app),)))


def spread(app: str, key: str, skew: int = 1) -> TopologySpread:
    return TopologySpread(max_skew=skew, topology_key=key, selector=LabelSelector((("app", app),)))


def packed(demand: Sequence[tuple[PodShape, int]], groups: Sequence[NodeGroup] = GROUPS, **fields: Any) -> Coupled:
    counts = {index: count for index, (_, count) in enumerate(demand)}
    return pack_coupled(counts, [each for each, _ in demand], market_of(groups, now=0.0), **fields)


def placed(nodes: Sequence[Bought]) -> Counter[int]:
    found: Counter[int] = Counter()
    for node in nodes:
        found.update(dict(node.pods))
    return found


def by_zone(nodes: Sequence[Bought], *classes: int) -> dict[str, int]:
    found: Counter[str] = Counter()
    for node in nodes:
        found[node.offer.group.zone] += sum(count for index, count in node.pods if index in classes)
    return {zone: pods for zone, pods in sorted(found.items()) if pods}


class TestHosts:
    def test_pods_of_several_sizes_that_keep_apart_get_a_node_each(self) -> None:
        apart = Affinity(pod_anti_required=(of_app("web", HOSTNAME),))
        plan = packed([(shape(500, affinity=apart), 3), (shape(1500, affinity=apart), 2)])
        assert len(plan.nodes) == 5
        assert placed(plan.nodes) == {0: 3, 1: 2}
        assert sorted(node.offer.usd_per_hour for node in plan.nodes) == pytest.approx([0.05] * 3 + [0.1] * 2)

    def test_anti_affinity_keeps_those_away_that_do_not_have_it(self) -> None:
        apart = Affinity(pod_anti_required=(of_app("noisy", HOSTNAME),))
        plan = packed([(shape(500, "quiet", affinity=apart), 2), (shape(500, "noisy"), 2)])
        assert all(len(node.pods) == 1 for node in plan.nodes)

    def test_pods_with_one_host_port_do_not_share_a_node(self) -> None:
        port = (HostPort(8080),)
        plan = packed([(shape(300, "a", ports=port), 1), (shape(300, "b", ports=port), 1)])
        assert [node.pods for node in plan.nodes] == [((0, 1),), ((1, 1),)]

    def test_a_spread_over_hosts_counts_pods_of_every_size(self) -> None:
        rule = (spread("web", HOSTNAME, skew=2),)
        plan = packed([(shape(100, spread=rule), 4), (shape(200, spread=rule), 4)])
        assert all(sum(count for _, count in node.pods) <= 2 for node in plan.nodes)
        assert len(plan.nodes) == 4

    def test_company_on_a_host_is_found(self) -> None:
        near = Affinity(pod_required=(of_app("cache", HOSTNAME),))
        plan = packed([(shape(500, "web", affinity=near), 2), (shape(500, "cache"), 1)])
        assert [node.pods for node in plan.nodes] == [((0, 2), (1, 1))]


class TestZones:
    def test_sizes_that_want_to_be_together_share_a_zone(self) -> None:
        near = Affinity(pod_required=(of_app("web", ZONE),))
        plan = packed([(shape(700, affinity=near), 6), (shape(1100, affinity=near), 5)])
        assert len(by_zone(plan.nodes, 0, 1)) == 1
        assert placed(plan.nodes) == {0: 6, 1: 5}

    def test_sizes_of_one_app_are_spread_over_zones_together(self) -> None:
        rule = (spread("web", ZONE),)
        plan = packed([(shape(700, spread=rule), 4), (shape(1100, spread=rule), 5)])
        assert by_zone(plan.nodes, 0, 1) == {"a": 3, "b": 3, "c": 3}

    def test_pods_that_are_there_count(self) -> None:
        rule = (spread("web", ZONE),)
        nodes = [Node(name=f"n-{zone}", allocatable=Resources.of(), labels=((ZONE, zone),)) for zone in "ab"]
        old = shape(900)
        pods = [Pod(name=f"p{at}", shape=old, node="n-a") for at in range(2)]
        plan = packed(
            [(shape(700, spread=rule), 2), (shape(1100, spread=rule), 2)], there=Simulation.of(nodes, pods), nodes=nodes
        )
        assert by_zone(plan.nodes, 0, 1) == {"b": 2, "c": 2}


class TestSizes:
    def test_a_node_grows_rather_than_another_is_opened(self) -> None:
        """Both cost the same, and fewer nodes are better."""
        rule = (spread("other", HOSTNAME),)
        plan = packed([(shape(500, "web", spread=rule), 8), (shape(1000, "other"), 1), (shape(900, "other"), 1)])
        assert placed(plan.nodes) == {0: 8, 1: 1, 2: 1}
        assert len(plan.nodes) == 1
        assert plan.nodes[0].offer.template.instance_type == "m-8"

    def test_what_has_no_rule_fills_free_room(self) -> None:
        apart = Affinity(pod_anti_required=(of_app("web", HOSTNAME),))
        plan = packed([(shape(600, affinity=apart), 2), (shape(700, affinity=apart), 2), (shape(300, "batch"), 9)])
        assert plan.taken == {0, 1}
        assert plan.filled == {2: 4}
        assert placed(plan.nodes) == {0: 2, 1: 2, 2: 4}

    def test_the_most_important_pods_get_the_room_there_is(self) -> None:
        apart = Affinity(pod_anti_required=(of_app("web", HOSTNAME),))
        only = [group(1, "a", max_size=1, name="only")]
        demand = [(shape(500, affinity=apart), 1), (shape(400, affinity=apart, priority=10), 1)]
        assert placed(packed(demand, only).nodes) == {1: 1}

    def test_groups_that_are_alike_stay_level_and_within_their_maximum(self) -> None:
        apart = Affinity(pod_anti_required=(of_app("web", HOSTNAME),))
        twins = [group(1, "a", name="x", max_size=1), group(1, "a", name="y")]
        plan = packed([(shape(500, affinity=apart), 2), (shape(400, affinity=apart), 2)], twins)
        assert Counter(node.offer.group.name for node in plan.nodes) == {"x": 1, "y": 3}


class TestScaleUp:
    def test_classes_without_a_tie_are_left_to_the_solver(self) -> None:
        alone = Affinity(pod_anti_required=(of_app("web", HOSTNAME),))
        plan = packed([(shape(500, affinity=alone), 3), (shape(500, "batch"), 3)])
        assert plan == Coupled()

    def test_where_spot_is_limited_tied_classes_go_on_demand(self) -> None:
        apart = Affinity(pod_anti_required=(of_app("web", HOSTNAME),))
        spot = group(1, "a", name="spot", capacity_type=SPOT)
        demand = [(shape(500, affinity=apart), 2), (shape(400, affinity=apart), 1)]
        rules = ScaleUpRules(spot=SpotShare(max_share=0.5))
        plan = scale_up(demand, [spot, group(1, "b", name="steady")], now=0.0, rules=rules)
        assert {size.group: size.size for size in plan.sizes} == {"steady": 3}

    def test_what_fits_on_nothing_is_stranded_and_the_rest_is_bought(self) -> None:
        apart = Affinity(pod_anti_required=(of_app("web", HOSTNAME),))
        plan = scale_up([(shape(9000, affinity=apart), 1), (shape(500, affinity=apart), 2)], GROUPS, now=0.0)
        assert [(each.index, each.count) for each in plan.stranded] == [(0, 1)]
        assert sum(size.size for size in plan.sizes) == 2
        assert plan.gap is None
