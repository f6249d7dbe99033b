"""The scheduling simulation, rule by rule; the golden vectors have the whole."""

from __future__ import annotations

import pytest

from autoscaler.model.placement import (
    Affinity,
    Effect,
    HostPort,
    NodeSelectorTerm,
    Operator,
    PreferredNodeTerm,
    PreferredPodTerm,
    Requirement,
    Taint,
    Toleration,
)
from autoscaler.model.resources import Resources
from autoscaler.planning.karpenter.existing import ExistingNode
from autoscaler.planning.karpenter.refusals import Refusal
from autoscaler.planning.karpenter.requirements import ARCH, CAPACITY_TYPE, INSTANCE_TYPE, requirement
from autoscaler.planning.karpenter.solve import Cluster, SolveRules
from autoscaler.planning.karpenter.topology import PlacedPods
from autoscaler.scheduling.topology import HOSTNAME, SOFT, ZONE
from tests.unit.planning.karpenter.pools import (
    TYPES,
    contents,
    of_app,
    option,
    pool,
    shape,
    solved,
    spread,
    waiting,
)

GIB = 1 << 30


def node(name: str, *, cpu: int = 2000, zone: str = "a", **fields: object) -> ExistingNode:
    free = Resources.of(cpu=cpu, memory=64 * GIB, pods=10)
    return ExistingNode(name=name, labels=((HOSTNAME, name), (ZONE, zone)), free=free, **fields)  # type: ignore[arg-type]


def zone_term(*zones: str) -> NodeSelectorTerm:
    return NodeSelectorTerm((Requirement(ZONE, Operator.IN, zones),))


class TestPlaces:
    def test_pods_share_a_claim_and_narrow_its_types(self) -> None:
        solution = solved(waiting((shape(700), 3)))
        (claim,) = solution.claims
        assert claim.types == ("amd64.4", "amd64.8")
        assert (claim.cheapest, claim.usd_per_hour) == ("amd64.4", 0.2)
        assert claim.requests.cpu == 2100

    def test_an_existing_node_comes_before_a_claim_and_initialized_ones_first(self) -> None:
        nodes = (node("a", initialized=False), node("b"))
        solution = solved(waiting((shape(1000), 3)), cluster=Cluster(nodes=nodes))
        assert dict(solution.placed) == {"b": ("0-0", "0-1"), "a": ("0-2",)}
        assert not solution.claims

    def test_claims_with_the_fewest_pods_come_first(self) -> None:
        """The large pods need a claim each; the small ones are dealt out evenly."""
        solution = solved(waiting((shape(7000), 2), (shape(100), 6)))
        assert contents(solution.claims) == [["0", "1", "1", "1"], ["0", "1", "1", "1"]]

    def test_pools_are_tried_by_weight_then_by_name_from_the_end(self) -> None:
        pools = (pool("light"), pool("x", weight=5), pool("y", weight=5))
        assert [claim.pool for claim in solved(waiting((shape(), 1)), *pools).claims] == ["y"]

    def test_existing_nodes_must_have_the_labels_that_a_claim_may_yet_get(self) -> None:
        wants = shape(node_selector=((ARCH, "amd64"),))
        solution = solved(waiting((wants, 1)), cluster=Cluster(nodes=(node("a"),)))
        assert not solution.placed
        assert len(solution.claims) == 1


class TestLimits:
    def test_a_new_claim_is_charged_with_the_largest_type_it_may_become(self) -> None:
        limited = pool(limits=Resources.of(cpu=12_000))
        apart = Affinity(pod_anti_required=(of_app("web", HOSTNAME),))
        solution = solved(waiting((shape(affinity=apart), 3)), limited)
        # The first may become 8 cores, so 4 are left for the second, and none for the third.
        assert [claim.types[-1] for claim in solution.claims] == ["amd64.8", "amd64.4"]
        assert dict(solution.refused) == {"0-2": (Refusal.LIMITS,)}

    def test_nodes_that_are_there_count(self) -> None:
        there = node("a", cpu=0, pool="default", capacity=Resources.of(cpu=8000))
        limited = pool(limits=Resources.of(cpu=12_000))
        solution = solved(waiting((shape(), 1)), limited, cluster=Cluster(nodes=(there,)))
        assert solution.claims[0].types == ("amd64.1", "amd64.2", "amd64.4")

    def test_no_further_node_where_their_number_is_reached(self) -> None:
        full = pool(max_nodes=1)
        solution = solved(waiting((shape(), 1)), full, cluster=Cluster(nodes=(node("a", cpu=0, pool="default"),)))
        assert dict(solution.refused) == {"0-0": (Refusal.LIMITS,)}

    def test_too_few_different_types_are_refused_unless_best_effort(self) -> None:
        picky = pool(requirements=(requirement(INSTANCE_TYPE, "Exists", (), 3),))
        pods = waiting((shape(3000), 1))
        assert dict(solved(pods, picky).refused) == {"0-0": (Refusal.MIN_VALUES,)}
        solution = solved(pods, picky, rules=SolveRules(best_effort_values=True))
        least = solution.claims[0].requirements.get(INSTANCE_TYPE)
        assert least is not None
        assert least.min_values == 2

    def test_a_claim_keeps_the_cheapest_types(self) -> None:
        solution = solved(waiting((shape(), 1)), rules=SolveRules(max_types=2))
        assert solution.claims[0].types == ("amd64.1", "amd64.2")

    def test_a_claim_cut_below_min_values_is_given_up(self) -> None:
        picky = pool(requirements=(requirement(INSTANCE_TYPE, "Exists", (), 3),))
        solution = solved(waiting((shape(), 1)), picky, rules=SolveRules(max_types=2))
        assert not solution.claims
        assert dict(solution.refused) == {"0-0": (Refusal.MIN_VALUES,)}


class TestRefusals:
    @pytest.mark.parametrize(
        ("pod", "refusal"),
        [
            pytest.param(shape(90_000), Refusal.NOT_LARGE, id="too-large"),
            pytest.param(shape(node_selector=(("team", "x"),)), Refusal.REQUIREMENTS, id="unknown-label"),
            pytest.param(shape(node_selector=((ARCH, "s390x"),)), Refusal.NOT_MATCHING, id="no-such-type"),
            pytest.param(shape(node_selector=((ZONE, "z"),)), Refusal.NOT_MATCHING_OR_OFFERED, id="no-such-zone"),
            pytest.param(shape(node_selector=((HOSTNAME, "n1"),)), Refusal.REQUIREMENTS, id="host-by-name"),
            pytest.param(
                shape(affinity=Affinity(pod_required=(of_app("other", ZONE),))), Refusal.TOPOLOGY, id="no-company"
            ),
        ],
    )
    def test_it_says_why(self, pod: object, refusal: Refusal) -> None:
        solution = solved(waiting((pod, 1)))  # type: ignore[arg-type]
        assert dict(solution.refused) == {"0-0": (refusal,)}

    def test_each_pool_says_its_own(self) -> None:
        tainted = pool("tainted", weight=1, taints=(Taint("gpu", Effect.NO_SCHEDULE),))
        small = pool("small", types=TYPES[:1])
        solution = solved(waiting((shape(1500), 1)), tainted, small)
        assert dict(solution.refused) == {"0-0": (Refusal.TAINT, Refusal.NOT_LARGE)}

    def test_no_pool_with_any_type(self) -> None:
        bare = pool(requirements=(requirement(ARCH, "In", ("s390x",)),))
        assert dict(solved(waiting((shape(), 1)), bare).refused) == {"0-0": (Refusal.NO_TYPES,)}


class TestRelaxation:
    def test_required_terms_are_alternatives(self) -> None:
        affinity = Affinity(node_required=(zone_term("z"), zone_term("b")))
        (claim,) = solved(waiting((shape(affinity=affinity), 1))).claims
        zone = claim.requirements.get(ZONE)
        assert zone is not None
        assert zone.values == {"b"}

    def test_a_preference_counts_while_it_can(self) -> None:
        affinity = Affinity(node_preferred=(PreferredNodeTerm(1, zone_term("a")), PreferredNodeTerm(9, zone_term("z"))))
        (claim,) = solved(waiting((shape(affinity=affinity), 1))).claims
        zone = claim.requirements.get(ZONE)
        assert zone is not None
        assert zone.values == {"a"}

    def test_preferences_may_be_ignored(self) -> None:
        apart = Affinity(pod_anti_preferred=(PreferredPodTerm(1, of_app("web", HOSTNAME)),))
        pods = waiting((shape(200, affinity=apart), 3))
        assert len(solved(pods).claims) == 3
        assert len(solved(pods, rules=SolveRules(respects_preferences=False)).claims) == 1

    def test_a_soft_spread_is_given_up_last_but_one(self) -> None:
        soft = spread("web", ZONE, when_unsatisfiable=SOFT)
        only = pool(types=[option(1, zones=("a",))])
        assert len(solved(waiting((shape(200, spread=(soft,)), 3)), only).claims) == 1

    def test_a_soft_taint_is_tolerated_in_the_end(self) -> None:
        soft = pool(taints=(Taint("busy", Effect.PREFER_NO_SCHEDULE),))
        assert len(solved(waiting((shape(), 1)), soft).claims) == 1


class TestTopology:
    def test_hard_zone_spread_balances(self) -> None:
        solution = solved(waiting((shape(3000, spread=(spread("web", ZONE),)), 6)))
        zones: dict[str, int] = {}
        for claim in solution.claims:
            zone = claim.requirements.get(ZONE)
            assert zone is not None
            (name,) = zone.values
            zones[name] = zones.get(name, 0) + len(claim.pods)
        assert zones == {"a": 2, "b": 2, "c": 2}

    def test_pods_that_are_there_count(self) -> None:
        nodes = tuple(node(f"n-{zone}", cpu=0, zone=zone) for zone in "ab")
        placed = (PlacedPods(shape=shape(), node="n-a", count=2), PlacedPods(shape=shape(), node="n-b"))
        pods = waiting((shape(spread=(spread("web", ZONE),)), 1))
        (claim,) = solved(pods, cluster=Cluster(nodes=nodes, placed=placed)).claims
        zone = claim.requirements.get(ZONE)
        assert zone is not None
        assert zone.values == {"c"}

    def test_anti_affinity_of_pods_that_are_there_keeps_others_away(self) -> None:
        hermit = shape(app="hermit", affinity=Affinity(pod_anti_required=(of_app("web", ZONE),)))
        cluster = Cluster(nodes=(node("n", zone="a"),), placed=(PlacedPods(shape=hermit, node="n"),))
        solution = solved(waiting((shape(), 1)), cluster=cluster)
        assert not solution.placed
        zone = solution.claims[0].requirements.get(ZONE)
        assert zone is not None
        assert zone.values == {"b", "c"}

    def test_host_ports_are_taken_once(self) -> None:
        assert len(solved(waiting((shape(200, ports=(HostPort(80),)), 2))).claims) == 2

    def test_a_daemons_port_is_taken_on_its_types_only(self) -> None:
        daemon = shape(100, ports=(HostPort(80),), node_selector=((ARCH, "arm64"),))
        mixed = pool(types=[*TYPES, option(2, arch="arm64")])
        solution = solved(waiting((shape(ports=(HostPort(80),)), 1)), mixed, cluster=Cluster(daemons=(daemon,)))
        assert all(name.startswith("amd64") for name in solution.claims[0].types)

    def test_daemons_take_their_part(self) -> None:
        daemon = shape(300, tolerations=(Toleration(operator="Exists"),))
        (claim,) = solved(waiting((shape(700), 1)), cluster=Cluster(daemons=(daemon,))).claims
        assert claim.cheapest == "amd64.2"
        assert claim.requests.cpu == 1000

    def test_volumes_leave_alternatives(self) -> None:
        tied = shape(volume_terms=((zone_term("z"), zone_term("b")),))
        (claim,) = solved(waiting((tied, 1))).claims
        zone = claim.requirements.get(ZONE)
        assert zone is not None
        assert zone.values == {"b"}


def test_spot_is_cheaper_where_it_is_allowed() -> None:
    both = pool(types=[option(1, spot=True)])
    assert solved(waiting((shape(), 1)), both).claims[0].usd_per_hour == pytest.approx(0.02)
    steady = pool(types=[option(1, spot=True)], requirements=(requirement(CAPACITY_TYPE, "In", ("on-demand",)),))
    assert solved(waiting((shape(), 1)), steady).claims[0].usd_per_hour == pytest.approx(0.05)
