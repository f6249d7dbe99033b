"""Devices by claim are counted: such pods are placed by their other rules, stay where they are, and are told of."""

from __future__ import annotations

import pytest

from autoscaler.model.plan import CordonNode, Decision, SetGroupSize
from autoscaler.model.reasons import Code
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.planning.blockers import EvictionRules, Headroom, pod_blocker
from autoscaler.planning.decide import decide
from autoscaler.planning.explain import explain_pod
from autoscaler.testing.builders import make_group, make_node, make_pod, make_shape, make_snapshot
from tests.unit.planning.decisions import policies

TRAIN = make_shape("train", cpu=3000, device_claims=2)


def waiting() -> ClusterSnapshot:
    """Return a full node and a pod with device claims that waits."""
    full = make_pod("full", shape=make_shape("full", cpu=3900))
    pod = make_pod("train", shape=TRAIN, node="")
    return make_snapshot(nodes=(make_node(),), node_groups=(make_group(),), pods=(full, pod))


def decided(snapshot: ClusterSnapshot, engine: str) -> Decision:
    return decide(snapshot, policies(mode="Auto", nodes={"engine": engine}), DecisionState())


@pytest.mark.parametrize(("engine", "sizes"), [("joint", [2]), ("cluster-autoscaler", [2]), ("karpenter", [])], ids=str)
def test_a_pod_that_waits_is_told_of(engine: str, sizes: list[int]) -> None:
    decision = decided(waiting(), engine)
    assert [action.size for action in decision.plan.actions if isinstance(action, SetGroupSize)] == sizes
    (reason,) = [reason for note in decision.notes for reason in note.reasons if reason.code is Code.DEVICE_CLAIMS]
    assert reason.message.startswith("the pod has 2 device claims: which nodes have such devices is not known")


def test_without_node_planning_nothing_is_said() -> None:
    decision = decided(waiting(), "none")
    assert not [note for note in decision.notes if note.target.startswith("pods/")]


@pytest.mark.parametrize("engine", ["joint", "cluster-autoscaler", "karpenter"])
def test_a_pod_with_devices_keeps_its_node(engine: str) -> None:
    nodes = [make_node(f"node-{number}") for number in range(3)]
    pods = [make_pod(f"train-{number}", shape=TRAIN, node=f"node-{number}") for number in range(3)]
    snapshot = make_snapshot(nodes=nodes, node_groups=(make_group(size=3),), pods=pods)
    assert not [action for action in decided(snapshot, engine).plan.actions if isinstance(action, CordonNode)]


def test_the_blocker_names_the_pod() -> None:
    blocker = pod_blocker(make_pod("train", shape=TRAIN), Headroom(()), EvictionRules())
    assert blocker is not None
    assert (blocker.reason, blocker.target) == ("DeviceClaims", "pod/default/train")


def test_the_explanation_says_what_was_not_looked_at() -> None:
    snapshot = waiting()
    told = explain_pod(snapshot, snapshot.pods[1])
    assert [reason.code for reason in told.reasons] == [Code.DEVICE_CLAIMS]
