"""Pods that preempt others: they have a node, although they are not on it yet."""

from __future__ import annotations

import msgspec
import pytest

from autoscaler.model.plan import Decision, SetGroupSize
from autoscaler.model.pod import Pod
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.planning.decide import decide
from autoscaler.planning.explain import explain_pod
from autoscaler.planning.nominated import with_nominated_pods
from autoscaler.testing.builders import NOW, make_group, make_node, make_pod, make_shape, make_snapshot
from tests.unit.planning.decisions import policies

ENGINES = ("joint", "cluster-autoscaler", "karpenter")


def important(name: str = "first", *, nominated: str = "node-1", cpu: int = 3000) -> Pod:
    return make_pod(name, shape=make_shape(name, cpu=cpu, priority=1000), node="", nominated_node=nominated)


def cluster(*pods: Pod) -> ClusterSnapshot:
    """Return a node that a leaving, less important pod fills, and a group that may grow."""
    leaving = make_pod("victim", shape=make_shape("victim", cpu=3000), deleted_at=NOW - 1)
    return make_snapshot(nodes=(make_node(),), node_groups=(make_group(),), pods=(*pods, leaving))


def decided(snapshot: ClusterSnapshot, engine: str) -> Decision:
    return decide(snapshot, policies(mode="Auto", nodes={"engine": engine}), DecisionState())


def bought(snapshot: ClusterSnapshot, engine: str) -> list[int]:
    return [action.size for action in decided(snapshot, engine).plan.actions if isinstance(action, SetGroupSize)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_nominated_pod_needs_no_node(engine: str) -> None:
    assert bought(cluster(important()), engine) == []
    assert bought(cluster(important(nominated="")), engine) == [2]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_node_that_is_gone_takes_nobody(engine: str) -> None:
    assert bought(cluster(important(nominated="node-9")), engine) == [2]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_room_that_is_made_is_spoken_for(engine: str) -> None:
    second = make_pod("second", shape=make_shape("second", cpu=3000), node="")
    snapshot = cluster(important(), second)
    snapshot = msgspec.structs.replace(snapshot, pods=tuple(pod for pod in snapshot.pods if pod.name != "victim"))
    assert bought(snapshot, engine) == [2]


def test_nothing_changes_without_nominations() -> None:
    snapshot = cluster(important(nominated=""))
    assert with_nominated_pods(snapshot) is snapshot


def test_the_explanation_names_the_node() -> None:
    snapshot = cluster(important())
    pod = next(pod for pod in snapshot.pods if pod.name == "first")
    told = explain_pod(snapshot, pod)
    assert told.summary == (
        "pending; the scheduler has chosen node node-1, where pods of lower priority are leaving for it"
    )


def test_others_are_told_that_the_room_is_taken() -> None:
    second = make_pod("second", shape=make_shape("second", cpu=3000), node="")
    told = explain_pod(cluster(important(), second), second)
    assert [each.where for each in told.obstacles] == [("node node-1",)]
