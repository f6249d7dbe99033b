"""The filters, their order, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.model.node import Node
from autoscaler.model.placement import (
    Affinity,
    Effect,
    HostPort,
    NodeSelectorTerm,
    Operator,
    PodTerm,
    Requirement,
    Taint,
    Toleration,
    TopologySpread,
)
from autoscaler.model.pod import Container, Phase, PodShape
from autoscaler.model.resources import Resources
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.predicates import Question, feasible_nodes, filter_node, filter_nodes
from autoscaler.scheduling.verdict import FilterCode, Rejection, Shortfall
from tests.unit.scheduling.build import GIB, a_node, a_pod, a_shape, selecting

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
ON_HOST = PodTerm(HOST, selecting(app="web"))


def named(*names: str) -> tuple[NodeSelectorTerm, ...]:
    return tuple(NodeSelectorTerm((), (Requirement("metadata.name", Operator.IN, (name,)),)) for name in names)


def rejection(shape: PodShape, *nodes: Node, pods: Any = ()) -> Rejection:
    found = filter_node(Question(shape, SchedulingContext(nodes, pods)), nodes[0].name).rejection
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("shape", "node", "plugin", "code"),
    [
        pytest.param(a_shape(node_name="x"), {}, "NodeName", "UnschedulableAndUnresolvable", id="another-node-named"),
        pytest.param(
            a_shape(), {"unschedulable": True}, "NodeUnschedulable", "UnschedulableAndUnresolvable", id="cordoned"
        ),
        pytest.param(
            a_shape(),
            {"taints": (Taint("gpu", Effect.NO_SCHEDULE),)},
            "TaintToleration",
            "UnschedulableAndUnresolvable",
            id="taint",
        ),
        pytest.param(
            a_shape(node_selector=(("disk", "ssd"),)), {}, "NodeAffinity", "UnschedulableAndUnresolvable", id="selector"
        ),
        pytest.param(a_shape(cpu=4001), {}, "NodeResourcesFit", "UnschedulableAndUnresolvable", id="too-big-for-any"),
        pytest.param(
            a_shape(labels={"app": "web"}, affinity=Affinity(pod_required=(PodTerm("rack", selecting(app="web")),))),
            {},
            "InterPodAffinity",
            "UnschedulableAndUnresolvable",
            id="affinity-needs-the-label",
        ),
    ],
)
def test_what_one_filter_rejects(shape: PodShape, node: dict[str, Any], plugin: str, code: str) -> None:
    found = rejection(shape, a_node(**node))
    assert (found.plugin, found.code) == (plugin, code)


def test_the_first_filter_speaks_and_all_are_listed_on_demand() -> None:
    node = a_node(unschedulable=True, taints=(Taint("gpu", Effect.NO_SCHEDULE),))
    verdict = filter_nodes(a_shape(cpu=9000), SchedulingContext([node]), every=True)["n1"]
    assert verdict.rejection is not None
    assert verdict.rejection.plugin == "NodeUnschedulable"
    assert [each.plugin for each in verdict.rejected_by] == [
        "NodeUnschedulable",
        "TaintToleration",
        "NodeResourcesFit",
    ]


def test_a_cordon_is_tolerated_by_its_taint() -> None:
    toleration = Toleration("node.kubernetes.io/unschedulable", "Exists")
    assert feasible_nodes(a_shape(tolerations=(toleration,)), SchedulingContext([a_node(unschedulable=True)])) == (
        "n1",
    )


def test_shortfalls_are_in_numbers() -> None:
    pods = [a_pod("p", a_shape(cpu=3800, memory=0))]
    found = rejection(a_shape(cpu=500, memory=9 * GIB), a_node(), pods=pods)
    assert found.reasons == ("Insufficient cpu", "Insufficient memory")
    assert found.code is FilterCode.UNRESOLVABLE
    assert found.shortfalls == (Shortfall("cpu", 500, 200, 4000), Shortfall("memory", 9 * GIB, 8 * GIB, 8 * GIB))
    assert found.shortfalls[0].missing == 300


def test_a_request_of_zero_needs_a_free_slot_only() -> None:
    full = [a_pod(str(index), a_shape(cpu=0, memory=0)) for index in range(10)]
    shape = a_shape(cpu=0, memory=0)
    assert rejection(shape, a_node(), pods=full).reasons == ("Too many pods",)
    absent = Container(name="c", requests=Resources.of({"example.com/fpga": 0}))
    assert feasible_nodes(a_shape(containers=(absent,)), SchedulingContext([a_node()], full[1:])) == ("n1",)


def test_ended_pods_and_pods_elsewhere_do_not_count() -> None:
    big = a_shape(cpu=4000)
    pods = [a_pod("done", big, phase=Phase.SUCCEEDED), a_pod("gone", big, node="lost"), a_pod("wait", big, node="")]
    assert feasible_nodes(big, SchedulingContext([a_node()], pods)) == ("n1",)


@pytest.mark.parametrize(
    ("mine", "theirs", "free"),
    [
        pytest.param(HostPort(80), HostPort(80), False, id="same"),
        pytest.param(HostPort(80), HostPort(80, "UDP"), True, id="another-protocol"),
        pytest.param(HostPort(80, host_ip="10.0.0.1"), HostPort(80, host_ip="10.0.0.2"), True, id="another-address"),
        pytest.param(HostPort(80, host_ip="10.0.0.1"), HostPort(80), False, id="wildcard"),
    ],
)
def test_host_ports(mine: HostPort, theirs: HostPort, free: bool) -> None:
    def on(port: HostPort) -> PodShape:
        return a_shape(containers=(Container(name="c", ports=(port,)),))

    context = SchedulingContext([a_node()], [a_pod("p", on(theirs))])
    assert bool(feasible_nodes(on(mine), context)) == free


def test_a_list_of_names_excludes_before_any_filter() -> None:
    found = rejection(a_shape(affinity=Affinity(node_required=named("n2"))), a_node(unschedulable=True))
    assert (found.plugin, found.stage) == ("NodeAffinity", "PreFilter")
    assert found.reasons == ("node(s) didn't satisfy plugin(s) [NodeAffinity]",)


def test_two_lists_of_names_that_contradict() -> None:
    shape = a_shape(node_name="n1", affinity=Affinity(node_required=named("n2", "n3")))
    found = rejection(shape, a_node())
    assert found.plugin == "NodeAffinity"
    assert found.reasons == ("node(s) didn't satisfy plugin(s) [NodeAffinity NodeName] simultaneously",)


def test_a_term_that_names_two_nodes_at_once_is_hopeless() -> None:
    both = NodeSelectorTerm((), named("n1")[0].match_fields + named("n2")[0].match_fields)
    found = rejection(a_shape(affinity=Affinity(node_required=(both,))), a_node())
    assert found.reasons == ("pod affinity terms conflict",)


def test_spread_counts_living_pods_of_the_namespace() -> None:
    shape = a_shape(
        labels={"app": "web"}, spread=(TopologySpread(max_skew=1, topology_key=ZONE, selector=selecting(app="web")),)
    )
    nodes = [a_node("n1", zone="a"), a_node("n2", zone="b")]
    one = [a_pod("p1", shape, node="n1")]
    assert feasible_nodes(shape, SchedulingContext(nodes, one)) == ("n2",)
    leaving = [a_pod("p1", shape, node="n1", deleted_at=1.0)]
    assert feasible_nodes(shape, SchedulingContext(nodes, leaving)) == ("n1", "n2")
    elsewhere = [a_pod("p1", a_shape(namespace="other", labels={"app": "web"}))]
    assert feasible_nodes(shape, SchedulingContext(nodes, elsewhere)) == ("n1", "n2")


def test_too_few_domains_count_as_an_empty_one() -> None:
    spread = TopologySpread(max_skew=1, topology_key=ZONE, selector=selecting(app="web"), min_domains=3)
    shape = a_shape(labels={"app": "web"}, spread=(spread,))
    nodes = [a_node("n1", zone="a"), a_node("n2", zone="b")]
    pods = [a_pod("p1", shape, node="n1"), a_pod("p2", shape, node="n2")]
    assert feasible_nodes(shape, SchedulingContext(nodes, pods)) == ()


def test_the_first_of_a_group_may_start_and_others_join_it() -> None:
    shape = a_shape(labels={"app": "web"}, affinity=Affinity(pod_required=(ON_HOST,)))
    nodes = [a_node("n1"), a_node("n2")]
    assert feasible_nodes(shape, SchedulingContext(nodes)) == ("n1", "n2")
    assert feasible_nodes(shape, SchedulingContext(nodes, [a_pod("p", shape, node="n2")])) == ("n2",)


def test_anti_affinity_holds_both_ways() -> None:
    hermit = a_shape(labels={"app": "db"}, affinity=Affinity(pod_anti_required=(ON_HOST,)))
    web = a_shape(labels={"app": "web"})
    with_web = rejection(hermit, a_node(), pods=[a_pod("p", web)])
    with_hermit = rejection(web, a_node(), pods=[a_pod("p", hermit)])
    assert with_web.reasons == ("node(s) didn't match pod anti-affinity rules",)
    assert with_hermit.reasons == ("node(s) didn't satisfy existing pods anti-affinity rules",)
