"""How nodes are ranked."""

from __future__ import annotations

from autoscaler.model.placement import (
    Affinity,
    Effect,
    LabelSelector,
    NodeSelectorTerm,
    Operator,
    PodTerm,
    PreferredNodeTerm,
    PreferredPodTerm,
    Requirement,
    Taint,
    TopologySpread,
)
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import Resources
from autoscaler.model.service import Service
from autoscaler.model.workload import Workload
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.scores import PluginScore, balanced_allocation, rank_nodes
from tests.unit.scheduling.build import a_node, a_pod, a_shape, selecting

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def ranked(shape: PodShape, context: SchedulingContext, *, workload: str = "") -> list[str]:
    return [score.node for score in rank_nodes(shape, context, workload=workload).nodes]


def test_the_emptier_node_wins_and_ties_go_by_name() -> None:
    nodes = [a_node("n3"), a_node("n2"), a_node("n1")]
    busy = a_pod("p", a_shape(cpu=2000), node="n1")
    assert ranked(a_shape(), SchedulingContext(nodes, [busy])) == ["n2", "n3", "n1"]


def test_balance_is_75_where_nothing_changes() -> None:
    (state,) = SchedulingContext([a_node()]).nodes.values()
    assert balanced_allocation(Resources.of(cpu=2000, memory=4 << 30), state) == 75
    assert balanced_allocation(Resources.of(cpu=4000), state) == 50


def test_a_pod_without_requests_skips_balance() -> None:
    skipped = rank_nodes(a_shape(cpu=0, memory=0), SchedulingContext([a_node()])).skipped
    assert "NodeResourcesBalancedAllocation" in skipped


def test_soft_taints_cost() -> None:
    slow = a_node("n1", taints=(Taint("slow", Effect.PREFER_NO_SCHEDULE),))
    ranking = rank_nodes(a_shape(), SchedulingContext([slow, a_node("n2")]))
    taints = {score.node: score.plugins[0] for score in ranking.nodes}
    assert taints["n1"] == PluginScore("TaintToleration", 1, 0, 0)
    assert taints["n2"] == PluginScore("TaintToleration", 0, 100, 300)


def test_preferred_node_affinity_adds_up() -> None:
    wanted = NodeSelectorTerm((Requirement("disk", Operator.EXISTS),))
    shape = a_shape(affinity=Affinity(node_preferred=(PreferredNodeTerm(7, wanted),)))
    assert ranked(shape, SchedulingContext([a_node("n1"), a_node("n2", labels={"disk": "ssd"})])) == ["n2", "n1"]


def test_preferred_and_required_pod_affinity_attract() -> None:
    nodes = [a_node("n1"), a_node("n2")]
    term = PodTerm(HOST, selecting(app="web"))
    friendly = a_shape(affinity=Affinity(pod_preferred=(PreferredPodTerm(10, term),)), cpu=1)
    shy = a_shape(affinity=Affinity(pod_anti_preferred=(PreferredPodTerm(10, term),)), cpu=1)
    fan = a_shape(affinity=Affinity(pod_required=(term,)), cpu=1, memory=1)
    web = a_shape(labels={"app": "web"}, cpu=1, memory=1)
    context = SchedulingContext(nodes, [a_pod("p", web, node="n2")])
    assert ranked(friendly, context) == ["n2", "n1"]
    assert ranked(shy, context) == ["n1", "n2"]
    assert ranked(web, SchedulingContext(nodes, [a_pod("p", fan, node="n2")])) == ["n2", "n1"]


def test_soft_spread_prefers_the_emptier_zone() -> None:
    nodes = [a_node("n1", zone="a"), a_node("n2", zone="b"), a_node("n3")]
    spread = TopologySpread(
        max_skew=1, topology_key=ZONE, when_unsatisfiable="ScheduleAnyway", selector=selecting(app="web")
    )
    shape = a_shape(labels={"app": "web"}, spread=(spread,), cpu=1, memory=1)
    context = SchedulingContext(nodes, [a_pod("p", shape, node="n1")])
    assert ranked(shape, context)[0] == "n2"
    spreads = {score.node: score.plugins[2] for score in rank_nodes(shape, context).nodes}
    # A node without the key is not judged and gets nothing.
    assert spreads["n3"].weighted == 0


def test_spreading_by_default_needs_a_service_or_a_controller() -> None:
    nodes = [a_node("n1", zone="a"), a_node("n2", zone="b")]
    shape = a_shape(labels={"app": "web"}, cpu=0, memory=0)
    pods = [a_pod("p", shape, node="n1")]
    plain = SchedulingContext(nodes, pods)
    assert "PodTopologySpread" in rank_nodes(shape, plain).skipped
    service = Service(namespace="shop", name="web", selector=(("app", "web"),))
    served = SchedulingContext(nodes, pods, services=[service])
    owner = Workload(
        namespace="shop",
        kind="Deployment",
        name="web",
        replicas=1,
        template=shape,
        selector=LabelSelector((("app", "web"),)),
    )
    owned = SchedulingContext(nodes, pods, workloads=[owner])
    for ranking in (rank_nodes(shape, served), rank_nodes(shape, owned, workload=owner.key)):
        assert "PodTopologySpread" not in ranking.skipped
        assert ranking.nodes[0].node == "n2"
