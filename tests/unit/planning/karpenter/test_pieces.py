"""The pieces of the engine by themselves: order, relaxations, taints, sets of types, overlays."""

from __future__ import annotations

import pytest

from autoscaler.model.node import InstanceType, Offering
from autoscaler.model.placement import (
    Affinity,
    Effect,
    NodeSelectorTerm,
    Operator,
    PreferredNodeTerm,
    PreferredPodTerm,
    Requirement,
    Taint,
    Toleration,
)
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import Resources
from autoscaler.planning.karpenter.claim_order import ClaimOrder
from autoscaler.planning.karpenter.claims import Claim, NodePool, Template
from autoscaler.planning.karpenter.instance_types import Catalogue, positions, type_option
from autoscaler.planning.karpenter.overlays import Overlay, adjusted, overlaid
from autoscaler.planning.karpenter.params import param_problems, read_params
from autoscaler.planning.karpenter.queue import Queue, WaitingPod
from autoscaler.planning.karpenter.relax import relaxed
from autoscaler.planning.karpenter.requirements import (
    CAPACITY_TYPE,
    INSTANCE_TYPE,
    Requirements,
    requirement,
)
from autoscaler.planning.karpenter.taints import tolerates_all
from autoscaler.planning.karpenter.unstable_sort import sort_unstably
from autoscaler.scheduling.topology import HOSTNAME, SOFT, ZONE
from tests.unit.planning.karpenter.pools import TYPES, of_app, option, pool, shape, spread

TEMPLATE = Template(pool(), ["cpu"], ())


class TestQueue:
    def test_larger_then_older_pods_come_first(self) -> None:
        pods = [
            WaitingPod(key="young", shape=shape(500), created_at=2.0),
            WaitingPod(key="small", shape=shape(400, gib=9)),
            WaitingPod(key="old", shape=shape(500), created_at=1.0),
            WaitingPod(key="wide", shape=shape(500, gib=2), created_at=9.0),
        ]
        queue = Queue(pods)
        assert [pod.key for _ in pods if (pod := queue.pop())] == ["wide", "old", "young", "small"]

    def test_it_ends_when_all_came_back_and_nothing_changed(self) -> None:
        queue = Queue([WaitingPod(key=key, shape=shape()) for key in "ab"])
        tried = []
        while (pod := queue.pop()) is not None:
            tried.append(pod.key)
            queue.push(pod)
        assert tried == ["a", "b"]


def test_wishes_are_given_up_in_order() -> None:
    term = NodeSelectorTerm((Requirement(ZONE, Operator.IN, ("a",)),))
    pod: PodShape | None = shape(
        affinity=Affinity(
            node_required=(term, term),
            node_preferred=(PreferredNodeTerm(1, term),),
            pod_preferred=(PreferredPodTerm(1, of_app("light", ZONE)), PreferredPodTerm(5, of_app("heavy", ZONE))),
            pod_anti_preferred=(PreferredPodTerm(1, of_app("web", HOSTNAME)),),
        ),
        spread=(spread("web", HOSTNAME), spread("web", ZONE, when_unsatisfiable=SOFT)),
    )
    left = []
    while (pod := relaxed(pod, tolerate_prefer_no_schedule=True)) is not None:
        affinity = pod.affinity
        counts = (affinity.node_required, affinity.pod_preferred, affinity.pod_anti_preferred, affinity.node_preferred)
        left.append((*(len(each or ()) for each in counts), len(pod.spread), len(pod.tolerations)))
    assert left == [
        (1, 2, 1, 1, 2, 0),
        (1, 1, 1, 1, 2, 0),
        (1, 0, 1, 1, 2, 0),
        (1, 0, 0, 1, 2, 0),
        (1, 0, 0, 0, 2, 0),
        (1, 0, 0, 0, 1, 0),
        (1, 0, 0, 0, 1, 1),
    ]


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        pytest.param(Toleration("n", "Gt", "3"), True, id="greater"),
        pytest.param(Toleration("n", "Gt", "5"), False, id="not-greater"),
        pytest.param(Toleration("n", "Lt", "9", Effect.NO_SCHEDULE), True, id="less"),
        pytest.param(Toleration("n", "Lt", "9", Effect.NO_EXECUTE), False, id="other-effect"),
        pytest.param(Toleration("n", "Lt", "09"), False, id="not-a-canonical-number"),
        pytest.param(Toleration("m", "Gt", "3"), False, id="other-key"),
        pytest.param(Toleration("n", "Equal", "5"), True, id="equal"),
    ],
)
def test_tolerations_may_compare(toleration: Toleration, tolerated: bool) -> None:
    assert tolerates_all([toleration], [Taint("n", Effect.NO_SCHEDULE, "5")]) is tolerated


class TestOrder:
    def test_equals_come_as_gos_sort_leaves_them(self) -> None:
        """Made with sort.Slice of Go 1.26 on 20 items with keys i % 3."""
        keys, items = [at % 3 for at in range(20)], list(range(20))
        sort_unstably(keys, items)
        assert keys == sorted(keys)
        assert items == [9, 18, 15, 3, 12, 0, 6, 10, 7, 4, 13, 16, 1, 19, 8, 5, 11, 14, 2, 17]

    @pytest.mark.parametrize("length", [5, 13, 49, 50, 200])
    def test_following_one_change_is_sorting_anew(self, length: int) -> None:
        for changed in range(length):
            order, items = ClaimOrder(), [Claim(TEMPLATE, number, 0) for number in range(length)]
            for each in items:
                order.append(each)
            order.in_order()
            order.took(changed)
            keys = [1 + (at == changed) for at in range(length)]
            sort_unstably(keys, items)
            assert list(order.in_order()) == items


class TestTypes:
    def test_a_machine_is_offered_where_it_is_available(self) -> None:
        machine = InstanceType(
            name="m",
            capacity=Resources.of(cpu=2000),
            allocatable=Resources.of(cpu=1900),
            labels=(("family", "m7"),),
            offerings=(
                Offering(zone="a", capacity_type="spot", usd_per_hour=0.1),
                Offering(zone="b", capacity_type="on-demand", usd_per_hour=0.2, available=False),
            ),
        )
        found = type_option(machine)
        assert [str(each) for each in found.requirements.items] == [
            "family In [m7]",
            "karpenter.sh/capacity-type In [spot]",
            "node.kubernetes.io/instance-type In [m]",
            "topology.kubernetes.io/zone In [a]",
        ]
        catalogue = Catalogue([found], ["cpu"])
        assert catalogue.offered(Requirements.of([requirement(ZONE, "In", ("b",))])) == 0
        assert catalogue.cheapest(1, Requirements()) == (0.1, "m")

    def test_sets_answer_by_size_limit_and_price(self) -> None:
        catalogue = Catalogue(TYPES, ["cpu", "pods"])
        assert catalogue.names(catalogue.fitting([1901, 0])) == ("amd64.4", "amd64.8")
        assert catalogue.names(catalogue.within({"cpu": 2000})) == ("amd64.1", "amd64.2")
        assert catalogue.names(catalogue.cut(catalogue.all, Requirements(), most=3)) == (
            "amd64.1",
            "amd64.2",
            "amd64.4",
        )
        assert catalogue.largest(0b0011).cpu == 2000
        assert catalogue.fitting([1 << 40, 0]) == 0
        assert list(positions(0b1010)) == [1, 3]

    def test_different_values_are_counted_over_the_types_left(self) -> None:
        catalogue = Catalogue(TYPES, ["cpu"])
        asked = Requirements.of([requirement(INSTANCE_TYPE, "Exists", (), 3), requirement(ZONE, "Exists", (), 3)])
        assert catalogue.short_of_values(0b0011, asked) == {INSTANCE_TYPE: 2}
        assert catalogue.short_of_values(0b0111, asked) == {}
        assert catalogue.short_of_values(0, asked) == {}


def overlay(name: str, **fields: object) -> Overlay:
    stated = (requirement(INSTANCE_TYPE, "In", ("amd64.1",)),)
    return Overlay(name=name, **{"requirements": stated, **fields})  # type: ignore[arg-type]


def prices(pools: tuple[NodePool, ...]) -> dict[str, float]:
    return {each.name: each.offerings[0].usd_per_hour for each in pools[0].types}


class TestOverlays:
    def test_the_highest_weight_counts(self) -> None:
        found = overlaid([pool()], [overlay("low", price="9", weight=1), overlay("high", adjustment="-50%", weight=2)])
        assert prices(found.pools)["amd64.1"] == pytest.approx(0.025)
        assert prices(found.pools)["amd64.2"] == pytest.approx(0.10)
        assert found.conflicting == ()

    def test_of_equal_weight_the_last_by_name_counts_and_the_other_is_left_out(self) -> None:
        found = overlaid([pool()], [overlay("a", price="9"), overlay("b", price="7")])
        assert prices(found.pools)["amd64.1"] == 7.0
        assert found.conflicting == ("a",)

    def test_offerings_can_be_told_apart(self) -> None:
        spot = overlay("spot", requirements=(requirement(CAPACITY_TYPE, "In", ("spot",)),), price="1")
        found = overlaid([pool(types=[option(1, spot=True)])], [spot])
        assert sorted({each.usd_per_hour for each in found.pools[0].types[0].offerings}) == [0.05, 1.0]

    def test_capacity_is_merged_and_what_is_reserved_stays_so(self) -> None:
        first = overlay("a", capacity=Resources.of({"smarter.io/fuse": 4}), weight=2)
        second = overlay("b", capacity=Resources.of({"smarter.io/fuse": 9, "fpga": 1}), weight=1)
        (changed,) = overlaid([pool()], [first, second]).pools
        assert dict(changed.types[0].capacity.items()) == {
            **dict(TYPES[0].capacity.items()),
            "fpga": 1,
            "smarter.io/fuse": 4,
        }
        assert changed.types[0].allocatable.get("smarter.io/fuse") == 4
        assert changed.types[1] == TYPES[1]

    def test_one_pool_may_be_meant(self) -> None:
        only = overlay("a", requirements=(requirement("karpenter.sh/nodepool", "In", ("x",)),), price="3")
        found = overlaid([pool("x"), pool("y")], [only])
        assert prices(found.pools)["amd64.1"] == 3.0
        assert prices(found.pools[1:])["amd64.1"] == pytest.approx(0.05)

    @pytest.mark.parametrize(
        ("change", "price"), [("+10%", 2.2), ("-100%", 0.0), ("-5", 0.0), ("+.5", 2.5), ("3", 3.0), ("", 2.0)]
    )
    def test_prices_never_fall_below_nothing(self, change: str, price: float) -> None:
        assert adjusted(2.0, change) == pytest.approx(price)


class TestParams:
    def test_defaults_respect_preferences(self) -> None:
        rules = read_params({}).solve_rules
        assert rules.respects_preferences
        assert not rules.best_effort_values

    def test_an_overlay_is_read(self) -> None:
        given = {
            "preference-policy": "Ignore",
            "node-overlays": [
                {
                    "name": "own",
                    "weight": 3,
                    "requirements": [{"key": ZONE, "operator": "In", "values": ["a"]}],
                    "priceAdjustment": "-10%",
                    "capacity": {"example.com/card": "2"},
                }
            ],
        }
        params = read_params(given)
        assert not params.solve_rules.respects_preferences
        (found,) = params.overlays
        assert (found.name, found.weight, found.adjustment) == ("own", 3, "-10%")
        assert found.capacity == Resources.of({"example.com/card": 2})
        assert not list(param_problems(params))

    @pytest.mark.parametrize(
        ("overlay", "field"),
        [
            pytest.param({"price": "1", "priceAdjustment": "+1"}, "priceAdjustment", id="both-prices"),
            pytest.param({"price": "-1"}, "price", id="price-below-nothing"),
            pytest.param({"priceAdjustment": "10%"}, "priceAdjustment", id="share-without-sign"),
            pytest.param({"capacity": {"cpu": "4"}}, "capacity.cpu", id="standard-resource"),
            pytest.param(
                {"requirements": [{"key": "x", "operator": "Is"}]}, "requirements[0].operator", id="unknown-operator"
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, overlay: dict[str, object], field: str) -> None:
        params = read_params({"node-overlays": [{"name": "own", **overlay}]})
        assert [name for name, _, _ in param_problems(params)] == [f"node-overlays[0].{field}"]

    def test_names_are_unique(self) -> None:
        params = read_params({"node-overlays": [{"name": "x"}, {"name": "x"}]})
        assert [name for name, _, _ in param_problems(params)] == ["node-overlays[1].name"]
