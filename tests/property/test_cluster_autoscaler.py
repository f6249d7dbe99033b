"""What holds for every estimate, every choice and every plan of the Cluster Autoscaler engine."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.node import NodeTemplate
from autoscaler.model.plan import DeleteInstances, EvictPod, SetGroupSize
from autoscaler.model.policy import ScalingPolicySpec
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import decode_hook
from autoscaler.model.state import DecisionState
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.cluster_autoscaler.estimator import Estimate, estimate
from autoscaler.planning.cluster_autoscaler.expanders import EXPANDERS, Facts, Option, run_chain
from autoscaler.planning.cluster_autoscaler.pod_groups import PodGroup
from autoscaler.planning.cluster_autoscaler.similar import balance
from autoscaler.planning.index import SnapshotIndex, in_order
from autoscaler.planning.node_engines import plan_nodes
from autoscaler.planning.node_layer import NodePlan
from autoscaler.scheduling.simulation import Simulation
from autoscaler.testing.builders import make_group, make_node, make_pod, make_shape, make_snapshot

MACHINE = NodeTemplate(instance_type="m", allocatable=Resources.of(cpu=4000, memory=16 * 2**30, pods=20))
AMOUNTS = st.sampled_from((0, 100, 250, 700, 1000, 2500, 4000, 5000))
GROUPS = st.lists(st.tuples(AMOUNTS, st.integers(1, 30)), min_size=1, max_size=5)
QUICK = {"scale-down-unneeded-time": "0s", "scale-down-delay-after-add": "0s"}


def groups_of(drawn: list[tuple[int, int]]) -> list[PodGroup]:
    return [
        PodGroup(shape=make_shape(f"web-{number}", cpu=cpu, memory=2**28), count=count)
        for number, (cpu, count) in enumerate(drawn)
    ]


def estimated(drawn: list[tuple[int, int]], *, most: int = 0, fast: bool = False) -> Estimate:
    return estimate(groups_of(drawn), MACHINE, Simulation.of(()), max_nodes=most, fast_path=fast)


@settings(max_examples=60, deadline=None)
@given(drawn=GROUPS, most=st.integers(0, 8), fast=st.booleans())
def test_estimates_are_bounded(drawn: list[tuple[int, int]], most: int, fast: bool) -> None:
    found = estimated(drawn, most=most, fast=fast)
    assert not most or found.nodes <= most
    cpu = sum(pods * cpu for pods, (cpu, _) in zip(found.pods, drawn, strict=True))
    assert found.nodes * 4000 >= cpu
    assert found.nodes * 20 >= sum(found.pods)
    for pods, (cpu, count) in zip(found.pods, drawn, strict=True):
        assert pods <= (count if cpu <= 4000 else 0)
        assert most or cpu > 4000 or pods == count


@settings(max_examples=40, deadline=None)
@given(drawn=GROUPS, most=st.integers(1, 8))
def test_a_higher_limit_places_no_fewer_pods(drawn: list[tuple[int, int]], most: int) -> None:
    assert sum(estimated(drawn, most=most + 1).pods) >= sum(estimated(drawn, most=most).pods)


@st.composite
def options(draw: st.DrawFn) -> list[Option]:
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True))
    return [
        Option(
            group=name,
            nodes=draw(st.integers(1, 5)),
            pods=draw(st.integers(0, 9)),
            requests=Resources.of(cpu=draw(AMOUNTS), memory=draw(AMOUNTS)),
            capacity=Resources.of(cpu=draw(st.sampled_from((1000, 4000, 8000))), memory=16000),
            usd_per_hour=draw(st.sampled_from((0.0, 0.1, 0.4))),
            exists=draw(st.booleans()),
        )
        for name in names
    ]


@settings(max_examples=80, deadline=None)
@given(options=options(), chain=st.permutations(sorted(set(EXPANDERS) - {"random"})), data=st.data())
def test_expanders_filter_and_order_does_not_matter(
    options: list[Option], chain: list[str], data: st.DataObject
) -> None:
    facts = Facts(usd_per_core_hour=0.03, usd_per_gib_hour=0.004, priorities={1: ["a|b"], 2: ["c"]})
    shuffled = data.draw(st.permutations(options))
    stages = run_chain(options, chain, facts)
    for one, other in zip(stages, run_chain(shuffled, chain, facts), strict=True):
        assert {each.group for each in one.best} == {each.group for each in other.best}
    left = set(options)
    for stage in stages:
        assert set(stage.best) <= left
        left = set(stage.best)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=4), nodes=st.integers(0, 20)
)
def test_even_growth(sizes: list[tuple[int, int]], nodes: int) -> None:
    groups = [make_group(f"g{at}", size=size, max_size=most) for at, (size, most) in enumerate(sizes)]
    gains = balance(groups, nodes)
    room = {group.name: max(0, group.max_size - group.target_size) for group in groups}
    assert sum(gains.values()) == min(nodes, sum(room.values()))
    for group in groups:
        gain = gains.get(group.name, 0)
        assert gain <= room[group.name]
        for other in groups:
            if gain and gains.get(other.name, 0) < room[other.name]:
                assert group.target_size + gain <= other.target_size + gains.get(other.name, 0) + 1


@st.composite
def clusters(draw: st.DrawFn) -> ClusterSnapshot:
    """Return up to six nodes of two groups, with pods on them that fit, and pods that wait."""
    shapes = [make_shape("web", cpu=500), make_shape("api", cpu=1500), make_shape("big", cpu=3900)]
    nodes, pods = [], []
    for at in range(draw(st.integers(1, 6))):
        name, free = f"node-{at}", 4000
        nodes.append(make_node(name, group="ab"[at % 2], unschedulable=draw(st.integers(0, 9)) == 0))
        for number, shape in enumerate(draw(st.lists(st.sampled_from(shapes), max_size=4))):
            cpu = shape.containers[0].requests.cpu
            if cpu <= free:
                free -= cpu
                pods.append(make_pod(f"on-{at}-{number}", shape=shape, node=name))
    for number, shape in enumerate(draw(st.lists(st.sampled_from(shapes), max_size=6))):
        pods.append(make_pod(f"waits-{number}", shape=shape, node=""))
    sizes = Counter(node.group for node in nodes)
    groups = [
        make_group(name, size=sizes[name], min_size=draw(st.integers(0, sizes[name])), max_size=sizes[name] + 3)
        for name in "ab"
    ]
    return make_snapshot(nodes=nodes, pods=pods, node_groups=groups)


def planned(snapshot: ClusterSnapshot, state: DecisionState = DecisionState(), **params: Any) -> NodePlan:  # noqa: B008 (frozen)
    document = {"mode": "Auto", "nodes": {"engine": "cluster-autoscaler", "params": {**QUICK, **params}}}
    rules = msgspec.convert(document, ScalingPolicySpec, dec_hook=decode_hook)
    room = DisruptionRoom(nodes=99, pods=99)
    return plan_nodes(SnapshotIndex(in_order(snapshot)), rules, state, parts={}, advice=(), room=room)


@settings(max_examples=60, deadline=None)
@given(snapshot=clusters(), data=st.data())
def test_plans_keep_bounds_and_do_not_hang_on_order(snapshot: ClusterSnapshot, data: st.DataObject) -> None:
    plan = planned(snapshot)
    shuffled = msgspec.structs.replace(
        snapshot,
        nodes=tuple(data.draw(st.permutations(snapshot.nodes))),
        pods=tuple(data.draw(st.permutations(snapshot.pods))),
    )
    assert planned(shuffled) == plan
    groups = {group.name: group for group in snapshot.node_groups}
    leaving = Counter(
        node.group
        for node in snapshot.nodes
        if any(each.node == node.name and each.drain_since for each in plan.memory)
    )
    for action in plan.actions:
        if isinstance(action, SetGroupSize):
            assert groups[action.group].target_size < action.size <= groups[action.group].max_size
        if isinstance(action, EvictPod):
            assert action.node
        if isinstance(action, DeleteInstances):
            assert not {pod.node for pod in snapshot.pods} & set(action.nodes)
    for name, group in groups.items():
        assert group.target_size - leaving[name] >= min(group.min_size, group.target_size)


@settings(max_examples=30, deadline=None)
@given(snapshot=clusters())
def test_deciding_again_on_the_same_changes_nothing_more(snapshot: ClusterSnapshot) -> None:
    """What was begun goes on; nothing else is begun but where a drain may start now."""
    first = planned(snapshot)
    state = DecisionState(nodes=first.memory, last_consolidation_at=first.last_consolidation_at)
    again = planned(snapshot, state)
    begun = {each.node for each in first.memory if each.drain_since}
    assert begun <= {each.node for each in again.memory if each.drain_since}
