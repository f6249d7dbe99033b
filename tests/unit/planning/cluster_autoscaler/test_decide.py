"""The engine within whole decisions: chosen by the policy, with a memory that outlives the cycle."""

from __future__ import annotations

import msgspec

from autoscaler.model.node import Node
from autoscaler.model.plan import CordonNode, DeleteInstances
from autoscaler.model.state import DecisionState
from autoscaler.planning.decide import decide
from autoscaler.testing.builders import make_group, make_node
from tests.unit.planning.decisions import cluster, later, policies

RULES = policies(engine="hpa", nodes={"engine": "cluster-autoscaler", "params": {"scale-down-unneeded-time": "2m"}})


def with_spare(*, cordoned: bool = False) -> tuple[Node, ...]:
    spare = make_node("spare", unschedulable=cordoned)
    return (*(make_node(f"node-{number}") for number in range(2)), spare)


def test_an_empty_node_is_watched_cordoned_and_deleted() -> None:
    snapshot = cluster({"web": (12, 4.0)}, nodes=2)
    snapshot = msgspec.structs.replace(snapshot, nodes=with_spare(), node_groups=(make_group(size=3, max_size=20),))
    state, done = DecisionState(), []
    for minute in range(5):
        decision = decide(later(snapshot, 60.0 * minute), RULES, state)
        state = decision.state
        done += [
            (minute, type(each)) for each in decision.plan.actions if isinstance(each, (CordonNode, DeleteInstances))
        ]
        if any(isinstance(each, CordonNode) for each in decision.plan.actions):
            snapshot = msgspec.structs.replace(snapshot, nodes=with_spare(cordoned=True))
    assert done[:2] == [(3, CordonNode), (4, DeleteInstances)]


def test_what_is_remembered_of_groups_outlives_the_cycle() -> None:
    snapshot = cluster({"web": (4, 1.0)}, nodes=2)
    failing = make_group(size=2, max_size=20, backoff_until=snapshot.observed_at + 30)
    first = decide(msgspec.structs.replace(snapshot, node_groups=(failing,)), RULES, DecisionState())
    again = decide(later(snapshot, 60), RULES, first.state)
    assert [memory.backoff_until for memory in again.state.groups] == [snapshot.observed_at + 300]


def test_equal_input_gives_equal_output() -> None:
    snapshot = cluster({"web": (12, 4.0)}, nodes=2, waiting=3)
    assert decide(snapshot, RULES, DecisionState()) == decide(snapshot, RULES, DecisionState())
