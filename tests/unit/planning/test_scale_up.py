"""Scale-up: the right groups, within rules and limits, with reasons for what is left."""

from __future__ import annotations

import math
from typing import Any

import pytest

from autoscaler.model.node import SPOT, Node, NodeGroup, NodeTemplate
from autoscaler.model.placement import (
    Affinity,
    Effect,
    HostPort,
    LabelSelector,
    PodTerm,
    Taint,
    Toleration,
    TopologySpread,
)
from autoscaler.model.pod import Container, Pod, PodShape
from autoscaler.model.reasons import Code
from autoscaler.model.resources import Resources
from autoscaler.planning.asks import share_out
from autoscaler.planning.cost import PurchaseLimits, list_price, planning_price
from autoscaler.planning.offers import market_of
from autoscaler.planning.scale_up import ScaleUp, ScaleUpRules, buy_for, scale_up
from autoscaler.planning.spot import SpotShare
from autoscaler.scheduling.simulation import Simulation
from autoscaler.scheduling.topology import HOSTNAME, ZONE

GIB = 1 << 30
NOW = 1_000.0
WEB = LabelSelector((("app", "web"),))


def group(name: str, cpu: int, gib: int, usd: float, **fields: Any) -> NodeGroup:
    """Build a group of nodes with a DaemonSet of 100m and 1 pod."""
    template = NodeTemplate(
        instance_type=name,
        allocatable=Resources.of(cpu=cpu, memory=gib * GIB, pods=30),
        overhead=Resources.of(cpu=100, pods=1),
        taints=fields.pop("taints", ()),
        labels=fields.pop("labels", ()),
    )
    return NodeGroup(name=name, template=template, usd_per_hour=usd, target_size=fields.pop("size", 0), **fields)


def shape(cpu: int = 500, gib: int = 1, app: str = "web", **fields: Any) -> PodShape:
    ports = fields.pop("ports", ())
    container = Container(name="c", requests=Resources.of(cpu=cpu, memory=gib * GIB), ports=ports)
    return PodShape(namespace="shop", labels=(("app", app),), containers=(container,), **fields)


def growth(plan: ScaleUp) -> dict[str, int]:
    return {size.group: size.size - size.expected for size in plan.sizes}


SMALL = group("small", 2000, 8, 0.10)
LARGE = group("large", 8000, 32, 0.39)
ZONES = [group(f"zone-{zone}", 2000, 8, 0.10, zone=zone) for zone in "abc"]


def test_sizes_are_absolute_and_name_what_is_expected() -> None:
    plan = scale_up([(shape(), 1)], [group("small", 2000, 8, 0.10, size=4)], now=NOW)
    assert [(size.group, size.size, size.expected) for size in plan.sizes] == [("small", 5, 4)]
    assert plan.sizes[0].usd_per_hour == pytest.approx(0.10)
    assert plan.sizes[0].reasons[0].code is Code.PENDING_PODS
    assert plan.nodes[0].pods == ((0, 1),)


def test_nodes_that_this_decision_already_added_count() -> None:
    plan = scale_up([(shape(), 1)], [group("small", 2000, 8, 0.10, size=4)], now=NOW, growing={"small": 2})
    assert [(size.size, size.expected) for size in plan.sizes] == [(7, 4)]


@pytest.mark.parametrize(
    ("cpu", "count", "expected"),
    [
        pytest.param(500, 1, {"small": 1}, id="one-pod-one-small-node"),
        pytest.param(5000, 1, {"large": 1}, id="only-the-large-one-holds-it"),
        pytest.param(950, 8, {"large": 1}, id="one-large-is-cheaper-than-four-small"),
        pytest.param(950, 10, {"large": 1, "small": 1}, id="a-small-one-for-the-rest"),
    ],
)
def test_price_decides(cpu: int, count: int, expected: dict[str, int]) -> None:
    plan = scale_up([(shape(cpu), count)], [SMALL, LARGE], now=NOW)
    assert growth(plan) == expected
    assert not plan.stranded


def test_daemon_sets_take_their_share() -> None:
    assert growth(scale_up([(shape(1950), 1)], [SMALL, LARGE], now=NOW)) == {"large": 1}


def test_pods_that_fit_on_what_is_there_need_nothing() -> None:
    node = Node(name="n", allocatable=Resources.of(cpu=1000, memory=8 * GIB, pods=10))
    plan = scale_up([(shape(500), 3)], [SMALL], now=NOW, simulation=Simulation.of([node]), nodes=[node])
    assert plan.placed == 2
    assert growth(plan) == {"small": 1}


def test_alike_groups_grow_level() -> None:
    groups = [group(f"z{zone}", 2000, 8, 0.10, zone=zone, size=size) for zone, size in (("a", 2), ("b", 0), ("c", 1))]
    plan = scale_up([(shape(1500), 6)], groups, now=NOW)
    assert {size.group: size.size for size in plan.sizes} == {"za": 3, "zb": 3, "zc": 3}


class TestRulesBetweenPods:
    def test_a_zone_spread_is_met(self) -> None:
        spread = TopologySpread(max_skew=1, topology_key=ZONE, selector=WEB)
        plan = scale_up([(shape(spread=(spread,)), 7)], ZONES, now=NOW)
        pods = {node.group: sum(count for _, count in node.pods) for node in plan.nodes}
        assert sorted(pods.values()) == [2, 2, 3]

    def test_a_zone_spread_counts_what_is_there(self) -> None:
        spread = TopologySpread(max_skew=1, topology_key=ZONE, selector=WEB)
        web = shape(spread=(spread,))
        room = Resources.of(cpu=1000, memory=2 * GIB, pods=2)
        nodes = [
            Node(name=f"n{zone}", allocatable=room, labels=((HOSTNAME, f"n{zone}"), (ZONE, zone))) for zone in "abc"
        ]
        pods = [Pod(name=f"p{at}", shape=web, node=node) for at, node in enumerate(["na", "na", "nb"])]
        there = Simulation.of(nodes, pods)
        plan = scale_up([(web, 4)], ZONES, now=NOW, simulation=there, nodes=nodes)
        assert plan.placed == 3
        assert sum(growth(plan).values()) == 1

    def test_anti_affinity_takes_a_node_each(self) -> None:
        apart = Affinity(pod_anti_required=(PodTerm(HOSTNAME, WEB),))
        plan = scale_up([(shape(affinity=apart), 5)], [LARGE, SMALL], now=NOW)
        assert growth(plan) == {"small": 5}
        assert all(node.pods == ((0, 1),) for node in plan.nodes)

    def test_a_host_spread_limits_a_node(self) -> None:
        spread = TopologySpread(max_skew=2, topology_key=HOSTNAME, selector=WEB)
        plan = scale_up([(shape(100, spread=(spread,)), 6)], [SMALL], now=NOW)
        assert growth(plan) == {"small": 3}

    def test_a_host_port_is_one_a_node(self) -> None:
        plan = scale_up([(shape(100, ports=(HostPort(80),)), 3)], [SMALL], now=NOW)
        assert growth(plan) == {"small": 3}

    def test_zone_anti_affinity_has_one_a_zone_and_says_so_of_the_rest(self) -> None:
        apart = Affinity(pod_anti_required=(PodTerm(ZONE, WEB),))
        plan = scale_up([(shape(affinity=apart), 5)], ZONES, now=NOW)
        assert growth(plan) == {"zone-a": 1, "zone-b": 1, "zone-c": 1}
        assert [each.count for each in plan.stranded] == [2]

    def test_zone_affinity_keeps_siblings_together(self) -> None:
        together = Affinity(pod_required=(PodTerm(ZONE, WEB),))
        plan = scale_up([(shape(1500, affinity=together), 3)], ZONES, now=NOW)
        assert growth(plan) == {"zone-a": 3}

    def test_nothing_is_bought_for_company_that_no_new_node_has(self) -> None:
        beside = Affinity(pod_required=(PodTerm(HOSTNAME, LabelSelector((("app", "cache"),))),))
        plan = scale_up([(shape(affinity=beside), 1)], [SMALL], now=NOW)
        assert growth(plan) == {}
        assert plan.stranded[0].reasons[0].code is Code.NO_GROUP_FITS


class TestReasons:
    def test_alike_lacks_are_told_together(self) -> None:
        gpu = Taint("gpu", Effect.NO_SCHEDULE, "true")
        groups = [SMALL, group("mid", 4000, 16, 0.2), group("gpu", 64000, 256, 3.0, taints=(gpu,))]
        plan = scale_up([(shape(5000), 2)], groups, now=NOW)
        (stranded,) = plan.stranded
        assert stranded.count == 2
        assert stranded.reasons[0].code is Code.NO_GROUP_FITS
        assert stranded.reasons[0].detail == (
            ("cpu short by 1100m to 3100m", "mid, small"),
            ("taint gpu=true:NoSchedule not tolerated", "gpu"),
        )

    def test_a_selector_that_no_group_meets(self) -> None:
        plan = scale_up([(shape(node_selector=(("disk", "ssd"),)), 1)], [SMALL], now=NOW)
        assert plan.stranded[0].reasons[0].detail == (("node selector disk=ssd not met", "small"),)

    def test_a_group_at_its_maximum(self) -> None:
        plan = scale_up([(shape(1500), 3)], [group("small", 2000, 8, 0.1, size=4, max_size=4)], now=NOW)
        (reason,) = plan.stranded[0].reasons
        assert (reason.code, reason.message) == (Code.GROUP_AT_MAXIMUM, "node group small is at its maximum, 4 of 4")

    def test_a_group_that_backs_off(self) -> None:
        plan = scale_up([(shape(), 1)], [group("small", 2000, 8, 0.1, backoff_until=NOW + 60)], now=NOW)
        (reason,) = plan.stranded[0].reasons
        assert reason.code is Code.GROUP_BACKING_OFF
        assert reason.message.endswith("trying again in 60 s")

    def test_a_group_that_fills_up_on_the_way(self) -> None:
        plan = scale_up([(shape(1500), 3)], [group("small", 2000, 8, 0.1, size=2, max_size=4)], now=NOW)
        assert growth(plan) == {"small": 2}
        (stranded,) = plan.stranded
        assert (stranded.count, stranded.reasons[0].code) == (1, Code.GROUP_AT_MAXIMUM)

    def test_no_group_at_all(self) -> None:
        plan = scale_up([(shape(), 1)], [], now=NOW)
        assert plan.stranded[0].reasons[0].message == "there is no node group to grow"


class TestLimits:
    def test_money_that_is_left_goes_to_the_more_important(self) -> None:
        pending = [(shape(1500, app="batch"), 2), (shape(1500, priority=100), 2)]
        plan = scale_up(pending, [SMALL], now=NOW, rules=ScaleUpRules(limits=PurchaseLimits(usd_per_hour=0.25)))
        assert [node.pods for node in plan.nodes] == [((1, 1),), ((1, 1),)]
        assert [(each.index, each.count, each.reasons[0].code) for each in plan.stranded] == [
            (0, 2, Code.BUDGET_REACHED)
        ]
        assert plan.gap is None

    @pytest.mark.parametrize(
        "limits",
        [
            pytest.param(PurchaseLimits(cpu=4100), id="cores"),
            pytest.param(PurchaseLimits(memory=17 * GIB), id="memory"),
            pytest.param(PurchaseLimits(nodes=2), id="nodes"),
        ],
    )
    def test_limits_of_the_cluster_bind(self, limits: PurchaseLimits) -> None:
        plan = scale_up([(shape(1500), 5)], [SMALL], now=NOW, rules=ScaleUpRules(limits=limits))
        assert growth(plan) == {"small": 2}
        assert plan.stranded[0].reasons[0].code is Code.LIMIT_REACHED

    def test_a_limit_below_zero_allows_nothing(self) -> None:
        rules = ScaleUpRules(limits=PurchaseLimits(cpu=-1))
        assert growth(scale_up([(shape(), 1)], [SMALL], now=NOW, rules=rules)) == {}


class TestSpot:
    SPOT_SMALL = group("spot", 2000, 8, 0.03, capacity_type=SPOT, interruptions_per_hour=0.001)

    def test_spot_is_taken_where_nothing_forbids_it(self) -> None:
        assert growth(scale_up([(shape(1500), 4)], [SMALL, self.SPOT_SMALL], now=NOW)) == {"spot": 4}

    def test_a_share_of_spot_is_kept(self) -> None:
        rules = ScaleUpRules(spot=SpotShare(max_share=0.5))
        plan = scale_up([(shape(1500), 4)], [SMALL, self.SPOT_SMALL], now=NOW, rules=rules)
        assert growth(plan) == {"small": 2, "spot": 2}

    def test_a_base_is_on_demand(self) -> None:
        rules = ScaleUpRules(spot=SpotShare(base=3, on_demand_nodes=2))
        plan = scale_up([(shape(1500), 4)], [SMALL, self.SPOT_SMALL], now=NOW, rules=rules)
        assert growth(plan) == {"small": 1, "spot": 3}

    def test_nodes_that_are_there_count(self) -> None:
        nodes = [
            Node(name="a", allocatable=Resources.of(cpu=4000), capacity_type=SPOT),
            Node(name="b", allocatable=Resources.of(cpu=2000)),
        ]
        assert SpotShare.of(nodes, max_share=0.5, base=1) == SpotShare(
            max_share=0.5, base=1, spot_cpu=4000, all_cpu=6000, on_demand_nodes=1
        )

    def test_frequent_interruptions_make_spot_dear(self) -> None:
        shaky = group("shaky", 2000, 8, 0.09, capacity_type=SPOT, interruptions_per_hour=2.0)
        assert planning_price(shaky, usd_per_eviction=0.002) > SMALL.usd_per_hour
        assert growth(scale_up([(shape(1500), 1)], [SMALL, shaky], now=NOW)) == {"small": 1}


@pytest.mark.parametrize("price", [math.nan, math.inf, -1.0])
def test_a_price_that_is_none_is_estimated(price: float) -> None:
    assert list_price(group("odd", 2000, 8, price)) == pytest.approx(0.12)
    assert growth(scale_up([(shape(), 1)], [group("odd", 2000, 8, price)], now=NOW)) == {"odd": 1}


def test_tolerated_taints_and_labels_of_the_zone_are_met() -> None:
    gpu = Taint("gpu", Effect.NO_SCHEDULE, "true")
    groups = [SMALL, group("gpu", 2000, 8, 0.3, taints=(gpu,), zone="b")]
    pod = shape(tolerations=(Toleration("gpu", "Exists"),), node_selector=((ZONE, "b"),))
    assert growth(scale_up([(pod, 1)], groups, now=NOW)) == {"gpu": 1}


def test_the_replay_finds_what_a_packing_cannot_see() -> None:
    """The scheduler spreads small pods over nodes that the packing would have left to large ones."""
    plan = scale_up([(shape(475), 16), (shape(1900), 4)], [SMALL], now=NOW)
    assert plan.planned_price == pytest.approx(0.80)
    assert plan.price == pytest.approx(1.00)
    assert not plan.stranded


def test_kinds_that_keep_off_each_others_hosts_do_not_share_a_node() -> None:
    apart = Affinity(pod_anti_required=(PodTerm(HOSTNAME, LabelSelector((("app", "noisy"),))),))
    plan = scale_up([(shape(500, app="quiet", affinity=apart), 1), (shape(500, app="noisy"), 1)], [SMALL], now=NOW)
    assert growth(plan) == {"small": 2}
    assert plan.planned_price == pytest.approx(0.20)
    assert not plan.stranded


def test_one_shape_may_be_pending_twice() -> None:
    """As it is when pods wait and more of them are expected."""
    plan = scale_up([(shape(1500), 2), (shape(1500), 3)], [group("small", 2000, 8, 0.1, max_size=4)], now=NOW)
    assert growth(plan) == {"small": 4}
    served = [pods for node in plan.nodes for pods in node.pods]
    assert [sum(count for row, count in served if row == index) for index in (0, 1)] == [2, 2]
    assert [(each.index, each.count) for each in plan.stranded] == [(1, 1)]


def test_input_is_not_changed_and_answers_repeat() -> None:
    node = Node(name="n", allocatable=Resources.of(cpu=1000, memory=8 * GIB, pods=10))
    there = Simulation.of([node])
    pending = [(shape(700), 3), (shape(300, app="b"), 4)]
    first = scale_up(pending, [SMALL, LARGE], now=NOW, simulation=there, nodes=[node])
    assert there.free("cpu").tolist() == [1000]
    assert scale_up(pending, [LARGE, SMALL], now=NOW, simulation=there, nodes=[node]) == first


class TestBuyer:
    def test_it_prices_a_demand(self) -> None:
        offer = buy_for([SMALL, LARGE], now=NOW)([(shape(950), 10)])
        assert offer is not None
        assert offer[0] == (("large", 1), ("small", 1))
        assert offer[1] == pytest.approx(0.49)

    def test_it_has_no_price_for_what_fits_nowhere(self) -> None:
        assert buy_for([SMALL], now=NOW)([(shape(9000), 1)]) is None

    def test_it_keeps_to_limits(self) -> None:
        rules = ScaleUpRules(limits=PurchaseLimits(nodes=1))
        assert buy_for([SMALL], now=NOW, rules=rules)([(shape(1500), 2)]) is None

    def test_nothing_costs_nothing(self) -> None:
        assert buy_for([SMALL], now=NOW)([]) == ((), 0.0)


@pytest.mark.parametrize(
    ("count", "open_", "fixed", "skew", "shares"),
    [
        pytest.param(6, {"a": 0, "b": 0, "c": 0}, {}, 1, {"a": 2, "b": 2, "c": 2}, id="evenly"),
        pytest.param(3, {"a": 5, "b": 0}, {}, 1, {"a": 0, "b": 3}, id="the-lowest-first"),
        pytest.param(9, {"a": 0, "b": 0}, {"full": 1}, 1, {"a": 2, "b": 2}, id="a-full-domain-holds-the-others-back"),
        pytest.param(9, {"a": 1, "b": 0}, {}, 0, {"a": 0, "b": 1}, id="anti-affinity"),
        pytest.param(10**6, {"a": 0, "b": 3, "c": 9}, {}, 1, {"a": 333338, "b": 333334, "c": 333328}, id="many"),
        pytest.param(2, {}, {}, 1, {}, id="no-domain"),
    ],
)
def test_share_out(count: int, open_: dict[str, int], fixed: dict[str, int], skew: int, shares: dict[str, int]) -> None:
    assert share_out(count, open_, fixed=fixed, skew=skew) == shares


def test_of_groups_with_one_name_one_counts() -> None:
    assert len(market_of([SMALL, SMALL], now=NOW).offers) == 1
