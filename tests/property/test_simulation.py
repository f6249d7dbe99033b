"""The columns agree with the rules pod by pod, and placing never over-fills."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.node import Node
from autoscaler.model.placement import (
    Affinity,
    Effect,
    HostPort,
    LabelSelector,
    NodeSelectorTerm,
    Operator,
    PodTerm,
    PreferredNodeTerm,
    PreferredPodTerm,
    Requirement,
    Taint,
    Toleration,
    TopologySpread,
    labels_of,
)
from autoscaler.model.pod import Container, Pod, PodShape
from autoscaler.model.resources import Resources
from autoscaler.model.workload import Namespace
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.predicates import feasible_nodes
from autoscaler.scheduling.simulation import Simulation

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
NAMESPACES = (Namespace("a", (("team", "x"),)), Namespace("b", (("team", "y"),)), Namespace("c"))
APPS = ("web", "db", "job")
GIB = 1 << 30

selectors = st.sampled_from(
    [
        None,
        LabelSelector(),
        *(LabelSelector((("app", app),)) for app in APPS),
        LabelSelector((), (Requirement("app", Operator.NOT_IN, ("web",)),)),
    ]
)
topology_keys = st.sampled_from([ZONE, HOST, "rack"])
pod_terms = st.builds(
    PodTerm,
    topology_key=topology_keys,
    selector=selectors,
    namespaces=st.sampled_from([(), ("a", "b")]),
    namespace_selector=st.sampled_from([None, None, LabelSelector(), LabelSelector((("team", "x"),))]),
)
node_terms = st.sampled_from(
    [
        NodeSelectorTerm((Requirement(ZONE, Operator.IN, ("z1", "z2")),)),
        NodeSelectorTerm((Requirement("rack", Operator.EXISTS),)),
        NodeSelectorTerm((Requirement("cores", Operator.GT, ("4",)),)),
        NodeSelectorTerm((), (Requirement("metadata.name", Operator.IN, ("n1",)),)),
        NodeSelectorTerm(),
    ]
)
sometimes = st.integers(0, 3).map(lambda number: number == 0)


def few(items: st.SearchStrategy[msgspec.Struct]) -> st.SearchStrategy[tuple[msgspec.Struct, ...]]:
    """Mostly none, sometimes one or two."""
    return sometimes.flatmap(lambda some: st.lists(items, min_size=1, max_size=2).map(tuple) if some else st.just(()))


affinities = st.builds(
    Affinity,
    node_required=sometimes.flatmap(lambda some: st.tuples(node_terms) if some else st.none()),
    node_preferred=few(st.builds(PreferredNodeTerm, st.integers(1, 100), node_terms)),
    pod_required=few(pod_terms),
    pod_preferred=few(st.builds(PreferredPodTerm, st.integers(1, 100), pod_terms)),
    pod_anti_required=few(pod_terms),
    pod_anti_preferred=few(st.builds(PreferredPodTerm, st.integers(1, 100), pod_terms)),
)
spreads = st.builds(
    TopologySpread,
    max_skew=st.integers(1, 3),
    topology_key=topology_keys,
    when_unsatisfiable=st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
    selector=selectors,
    min_domains=st.sampled_from([None, 2, 5]),
    node_affinity_policy=st.sampled_from(["Honor", "Ignore"]),
    node_taints_policy=st.sampled_from(["Honor", "Ignore"]),
    match_label_keys=st.sampled_from([(), ("tier",)]),
)
tolerations = st.sampled_from(
    [
        (),
        (Toleration(operator="Exists"),),
        (Toleration(key="dedicated", value="gpu"),),
        (Toleration(key="node.kubernetes.io/unschedulable", operator="Exists"),),
    ]
)
amounts = st.fixed_dictionaries(
    {"cpu": st.sampled_from([0, 100, 900, 3000, 1 << 70]), "memory": st.sampled_from([0, GIB, 7 * GIB, -GIB])},
    optional={"gpu": st.integers(0, 2), "nowhere": st.integers(0, 1), "ephemeral-storage": st.just(5 * GIB)},
)
containers = st.builds(
    lambda requests, ports: Container(name="c", requests=Resources.of(requests), ports=ports),
    amounts,
    few(st.builds(HostPort, st.sampled_from([80, 443]), st.sampled_from(["TCP", "UDP"]), st.sampled_from(["", "::1"]))),
)
shapes = st.builds(
    PodShape,
    namespace=st.sampled_from(["a", "b", "c", "unknown"]),
    labels=st.fixed_dictionaries({"app": st.sampled_from(APPS)}, optional={"tier": st.just("fe")}).map(labels_of),
    containers=st.tuples(containers),
    node_selector=st.sampled_from([(), (), (), ((ZONE, "z1"),)]),
    affinity=affinities,
    tolerations=tolerations,
    spread=few(spreads),
    node_name=st.sampled_from(["", "", "", "", "n0", "gone"]),
)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[Node], list[PodShape], list[Pod]]:
    """A few nodes, classes and pods of them, some where the scheduler would not have put them."""
    nodes = []
    for number in range(draw(st.integers(0, 6))):
        labels = draw(
            st.fixed_dictionaries(
                {}, optional={ZONE: st.sampled_from(["z1", "z2", "z3"]), "rack": st.sampled_from(["r1", "r2"])}
            )
        )
        labels["cores"] = draw(st.sampled_from(["2", "8", "x"]))
        if not draw(sometimes):
            labels[HOST] = f"n{number}"
        taint = st.builds(Taint, st.just("dedicated"), st.sampled_from(list(Effect)), st.sampled_from(["gpu", "db"]))
        room = {"cpu": 4000, "memory": 16 * GIB, "pods": draw(st.sampled_from([2, 20])), "ephemeral-storage": 9 * GIB}
        room |= draw(st.sampled_from([{}, {}, {"gpu": 2}, {"cpu": -1}, {"memory": 1 << 90}]))
        nodes.append(
            Node(
                name=f"n{number}",
                allocatable=Resources.of(room),
                labels=labels_of(labels),
                taints=draw(few(taint)),  # type: ignore[arg-type]
                unschedulable=draw(sometimes),
            )
        )
    classes = draw(st.lists(shapes, min_size=1, max_size=4))
    names = [node.name for node in nodes] + ["", "gone"]
    pods = [
        Pod(
            name=f"p{number}",
            shape=draw(st.sampled_from(classes)),
            node=draw(st.sampled_from(names)),
            deleted_at=1.0 if draw(sometimes) else None,
        )
        for number in range(draw(st.integers(0, 8)))
    ]
    return nodes, classes, pods


@settings(max_examples=35, deadline=None)
@given(cluster=clusters(), data=st.data())
def test_columns_agree_with_the_predicates_after_any_change(
    cluster: tuple[list[Node], list[PodShape], list[Pod]], data: st.DataObject
) -> None:
    nodes, classes, pods = cluster
    simulation = Simulation.of(nodes, pods, namespaces=NAMESPACES)
    _agree(simulation, nodes, classes, pods)
    for number in range(data.draw(st.integers(0, 4))):
        shape = data.draw(st.sampled_from(classes))
        row = simulation.fork().place_pod(shape) if data.draw(st.booleans()) else simulation.place_pod(shape)
        if row is not None and simulation.pods_of(shape).get(row, 0) > sum(
            pod.shape == shape and pod.node == simulation.names[row] and pod.deleted_at is None for pod in pods
        ):
            pods = [*pods, Pod(name=f"new{number}", shape=shape, node=simulation.names[row])]
        movable = [pod for pod in pods if pod.node in simulation and pod.deleted_at is None]
        if data.draw(st.booleans()) and movable:
            gone = data.draw(st.sampled_from(movable))
            simulation.remove_pod(gone.shape, simulation.row(gone.node))
            pods = [pod for pod in pods if pod is not gone]
        if data.draw(sometimes) and nodes:
            lost = data.draw(st.sampled_from(nodes))
            simulation.remove_node(simulation.row(lost.name))
            nodes = [node for node in nodes if node is not lost]
            pods = [pod for pod in pods if pod.node != lost.name]
        _agree(simulation, nodes, classes, pods)


def _agree(simulation: Simulation, nodes: list[Node], classes: list[PodShape], pods: list[Pod]) -> None:
    context = SchedulingContext(nodes, pods, namespaces=NAMESPACES)
    for shape in classes:
        mask = simulation.feasible(shape)
        found = tuple(sorted(simulation.names[row] for row in np.flatnonzero(mask).tolist()))
        assert found == feasible_nodes(shape, context)
        scores = simulation.scores(shape)
        assert ((scores >= 0) == mask).all()


@settings(max_examples=35, deadline=None)
@given(cluster=clusters(), count=st.integers(-1, 30), fill=st.booleans())
def test_placing_many_keeps_every_rule(
    cluster: tuple[list[Node], list[PodShape], list[Pod]], count: int, fill: bool
) -> None:
    """Each pod, judged alone with all the others in place, is where the rules that hang on order allow it."""
    nodes, classes, pods = cluster
    simulation = Simulation.of(nodes, pods, namespaces=NAMESPACES)
    one_by_one = simulation.fork()
    for shape in classes:
        before = {name: simulation.free(name).copy() for name in ("cpu", "memory", "pods", "gpu", "nowhere")}
        placed = simulation.fill(shape, count) if fill else list(Counter(simulation.place(shape, count)).items())
        assert sum(number for _, number in placed) <= max(0, count)
        for name, left in before.items():
            now = simulation.free(name)
            assert (now[left > now] >= 0).all(), f"{name} over-filled"
        for row, number in placed:
            for _ in range(number):
                one_by_one.add_pod(shape, row)
        assert not placed or simulation.open.size == len(nodes)
    names = ("cpu", "memory", "pods")
    assert all((simulation.free(name) == one_by_one.free(name)).all() for name in names)


@settings(max_examples=20, deadline=None)
@given(cluster=clusters(), count=st.integers(0, 12))
def test_many_at_once_is_one_after_the_other(cluster: tuple[list[Node], list[PodShape], list[Pod]], count: int) -> None:
    nodes, classes, pods = cluster
    together = Simulation.of(nodes, pods, namespaces=NAMESPACES)
    apart = together.fork()
    for shape in classes:
        rows = []
        for _ in range(count):
            scores = apart.scores(shape)
            best = [row for row in np.flatnonzero(scores == scores.max(initial=-1)).tolist() if scores[row] >= 0]
            row = apart.place_pod(shape)
            assert row == (min(best, key=lambda each: apart.names[each]) if best else None)
            if row is None:
                break
            rows.append(row)
        assert together.place(shape, count) == rows


@settings(max_examples=20, deadline=None)
@given(cluster=clusters(), count=st.integers(1, 12))
def test_each_pod_of_a_wave_could_be_the_last(
    cluster: tuple[list[Node], list[PodShape], list[Pod]], count: int
) -> None:
    """A fill breaks no hard rule: some order of its pods passes the predicates one by one."""
    nodes, classes, pods = cluster
    simulation = Simulation.of(nodes, pods, namespaces=NAMESPACES)
    replay = simulation.fork()
    for shape in classes:
        for row, number in simulation.fill(shape, count):
            for _ in range(number):
                assert replay.feasible(shape)[row]
                replay.add_pod(shape, row)
