"""When nodes go, and why they stay."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.node import Node
from autoscaler.model.placement import LabelSelector, labels_of
from autoscaler.model.pod import DrainTraits, Pod
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState, NodeMemory
from autoscaler.model.workload import DisruptionBudget
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.testing.builders import NOW, make_group, make_node, make_pod, make_shape, make_snapshot
from tests.unit.planning.cluster_autoscaler.turns import after, kinds, later, rules, turn, watched, why

GROUP = "m.xl-a-on-demand"
QUICK = {"scale-down-unneeded-time": "0s", "scale-down-unready-time": "0s"}


def small(name: str, node: str, **fields: Any) -> Pod:
    return make_pod(name, shape=fields.pop("shape", make_shape(cpu=500)), node=node, **fields)


def cluster(pods: list[Pod], *, nodes: int | list[Node] = 3, **fields: Any) -> ClusterSnapshot:
    """Return nodes (that many equal ones, or those given) of one group with *pods*."""
    there = [make_node(f"node-{number}") for number in range(nodes)] if isinstance(nodes, int) else nodes
    defaults: dict[str, Any] = {"nodes": there, "node_groups": [make_group(size=len(there), max_size=99)], "pods": pods}
    return make_snapshot(**{**defaults, **fields})


BUSY = [small(f"busy-{number}", f"node-{number // 5}", shape=make_shape("busy", cpu=500)) for number in range(10)]
"""Two nodes at 62 %: needed, with room for three small pods each."""


def test_an_unneeded_node_goes_after_more_than_ten_minutes() -> None:
    snapshot, state = watched(cluster([*BUSY, small("web-1", "node-2")]), rules(), seconds=600)
    plan = turn(snapshot, rules(), state)
    assert (plan.actions, why(plan, "node-2")) == ((), ["NotUnneededLongEnough"])
    plan = turn(later(snapshot, 1), rules(), state)
    assert kinds(plan.actions) == ["CordonNode node-2", "EvictPod default/web-1"]


def test_a_node_that_is_needed_in_between_starts_anew() -> None:
    idle, busy = (
        cluster([*BUSY, small("web-1", "node-2")]),
        cluster([*BUSY, *(small(f"web-{number}", "node-2") for number in range(5))]),
    )
    _, state = watched(idle, rules(), seconds=0)
    _, state = watched(later(busy, 300), rules(), seconds=0, state=state)
    assert [memory.node for memory in state.nodes] == []


@pytest.mark.parametrize(
    ("cpu", "is_needed"),
    [pytest.param(2000, False, id="half-is-unneeded"), pytest.param(2001, True, id="more-than-half-is-needed")],
)
def test_utilisation_threshold(cpu: int, is_needed: bool) -> None:
    pods = [
        small("web-1", "node-0", shape=make_shape(cpu=cpu)),
        small("big", "node-1", shape=make_shape("big", cpu=9000)),
    ]
    plan = turn(cluster(pods, nodes=[make_node("node-0"), make_node("node-1", cpu=16000)]), rules())
    assert ([memory.node for memory in plan.memory] == ["node-0"]) is not is_needed


def test_pods_of_daemon_sets_do_not_move() -> None:
    daemon = make_shape("agent", namespace="kube-system", cpu=100)
    daemon = msgspec.structs.replace(daemon, owner_kind="DaemonSet")
    plan = turn(cluster([*BUSY, small("agent", "node-2", shape=daemon)]), rules(params=QUICK))
    assert kinds(plan.actions) == ["CordonNode node-2"]
    assert [memory.was_empty for memory in plan.memory] == [True]


def test_empty_nodes_go_ten_at_once_and_one_node_is_drained() -> None:
    pods = [*BUSY, *(small(f"web-{number}", f"node-{number}") for number in range(2, 5))]
    plan = turn(cluster(pods, nodes=16), rules(params=QUICK))
    cordoned = [kind for kind in kinds(plan.actions) if kind.startswith("Cordon")]
    assert len(cordoned) == 10
    assert "CordonNode node-2" not in cordoned
    plan = turn(cluster(pods, nodes=8), rules(params=QUICK))
    assert [kind for kind in kinds(plan.actions) if kind.startswith("Evict")] == ["EvictPod default/web-2"]


def test_the_policys_disruption_budget_holds_besides_the_flags() -> None:
    plan = turn(
        cluster(BUSY, nodes=8),
        rules(params=QUICK),
        room=DisruptionRoom(nodes=2, pods=9),
    )
    assert kinds(plan.actions) == ["CordonNode node-2", "CordonNode node-3"]


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        pytest.param(
            small("bare", "node-2", shape=msgspec.structs.replace(make_shape(), owner_kind="")),
            "NotReplicated",
            id="of-no-controller",
        ),
        pytest.param(
            small("local", "node-2", shape=make_shape(local_storage=True)), "LocalStorageRequested", id="local-storage"
        ),
        pytest.param(
            small("kept", "node-2", do_not_evict="karpenter.sh/do-not-disrupt"),
            "NotSafeToEvictAnnotation",
            id="annotation",
        ),
        pytest.param(
            small("dns", "node-2", shape=make_shape(namespace="kube-system"), created_at=NOW - 60),
            "UnmovableKubeSystemPod",
            id="system",
        ),
    ],
)
def test_blocking_pods(pod: Pod, reason: str) -> None:
    plan = turn(cluster([*BUSY, pod]), rules(params=QUICK))
    assert plan.actions == ()
    (note,) = [note for note in plan.notes if note.target == "node/node-2"]
    facts = dict(note.reasons[0].detail)
    assert (facts["reason"], facts["blocking_reason"], facts["blocker"]) == ("BlockedByPod", reason, f"pod/{pod.key}")


def test_a_spent_disruption_budget_blocks_and_is_named() -> None:
    budget = DisruptionBudget(
        namespace="default", name="web", allowed=0, selector=LabelSelector(labels_of({"app": "web"}))
    )
    plan = turn(cluster([*BUSY, small("web-1", "node-2")], disruption_budgets=[budget]), rules(params=QUICK))
    (note,) = [note for note in plan.notes if note.target == "node/node-2"]
    assert dict(note.reasons[0].detail)["blocker"] == "pdb/default/web"


def test_a_pod_that_may_only_end_by_itself_is_waited_for() -> None:
    pod = small("job-1", "node-2", drain=DrainTraits(safe_to_evict="on-completion"))
    plan = turn(cluster([*BUSY, pod]), rules(params=QUICK))
    assert (plan.actions, why(plan, "node-2")) == ((), ["BlockedByOnCompletionPod"])


def test_a_node_whose_pods_fit_nowhere_is_tried_again_after_five_minutes() -> None:
    snapshot = cluster([*BUSY, small("web-1", "node-2", shape=make_shape(cpu=1900))])
    plan = turn(snapshot, rules(params=QUICK))
    assert why(plan, "node-2") == ["NoPlaceToMovePods"]
    assert why(turn(later(snapshot, 299), rules(params=QUICK), after(plan)), "node-2") == ["RecentlyUnremovable"]
    assert why(turn(later(snapshot, 300), rules(params=QUICK), after(plan)), "node-2") == ["NoPlaceToMovePods"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param(
            {"do_not_remove": "cluster-autoscaler.kubernetes.io/scale-down-disabled"},
            "ScaleDownDisabledAnnotation",
            id="annotation",
        ),
        pytest.param({"group": "elsewhere"}, "NotAutoscaled", id="no-group"),
        pytest.param({"deleting": True}, "CurrentlyBeingDeleted", id="deleting"),
        pytest.param({"allocatable": Resources.of(memory=2**30)}, "UnexpectedError", id="no-cpu"),
    ],
)
def test_nodes_that_are_not_considered(fields: dict[str, Any], reason: str) -> None:
    nodes = [make_node("node-0"), make_node("node-1"), msgspec.structs.replace(make_node("node-2"), **fields)]
    plan = turn(
        cluster(BUSY, nodes=nodes),
        rules(params=QUICK),
    )
    assert why(plan, "node-2") == [reason]


def test_a_group_at_its_minimum_keeps_its_nodes() -> None:
    plan = turn(cluster(BUSY, node_groups=[make_group(size=3, min_size=3)]), rules(params=QUICK))
    assert (plan.actions, plan.notes) == ((), ())


def test_no_more_go_than_the_minimum_leaves() -> None:
    plan = turn(cluster(BUSY, nodes=5, node_groups=[make_group(size=5, min_size=4)]), rules(params=QUICK))
    assert kinds(plan.actions) == ["CordonNode node-2"]
    assert why(plan, "node-3") == ["NodeGroupMinSizeReached"]


def test_cores_that_the_cluster_must_keep() -> None:
    plan = turn(cluster(BUSY, nodes=5), rules(params={**QUICK, "cores-total": "16:999"}))
    assert kinds(plan.actions) == ["CordonNode node-2"]
    assert why(plan, "node-3") == ["MinimalResourceLimitExceeded"]


@pytest.mark.parametrize(
    ("state", "waits"),
    [
        pytest.param(DecisionState(last_scale_up_at=NOW - 599), True, id="ten-minutes-after-growth"),
        pytest.param(DecisionState(last_scale_up_at=NOW - 600), False, id="no-longer"),
        pytest.param(DecisionState(last_removal_failed_at=NOW - 179), True, id="three-minutes-after-a-failure"),
        pytest.param(DecisionState(last_consolidation_at=NOW), False, id="at-once-after-a-removal"),
    ],
)
def test_delays(state: DecisionState, waits: bool) -> None:
    plan = turn(cluster(BUSY), rules(params=QUICK), state)
    assert (not plan.actions) is waits
    assert why(plan, "node-2") == (["NotUnneededOtherReason"] if waits else [])


def test_timers_run_on_during_a_delay() -> None:
    plan = turn(cluster(BUSY), rules(), DecisionState(last_scale_up_at=NOW))
    assert [memory.unneeded_since for memory in plan.memory] == [NOW]


def test_a_node_that_is_not_ready_goes_after_twenty_minutes() -> None:
    nodes = [make_node("node-0"), make_node("node-1"), make_node("node-2", ready=False, created_at=NOW - 9999)]
    snapshot, state = watched(cluster(BUSY, nodes=nodes), rules(), seconds=1200)
    assert why(turn(snapshot, rules(), state), "node-2") == ["NotUnreadyLongEnough"]
    assert kinds(turn(later(snapshot, 1), rules(), state).actions) == ["DeleteInstances ('node-2',)"]
    stays = turn(snapshot, rules(params={"scale-down-unready-enabled": False}), state)
    assert why(stays, "node-2") == ["ScaleDownUnreadyDisabled"]


def test_a_node_that_is_coming_up_is_not_looked_at() -> None:
    nodes = [make_node("node-0"), make_node("node-1"), make_node("node-2", ready=False, created_at=NOW - 60)]
    plan = turn(cluster(BUSY, nodes=nodes), rules(params=QUICK))
    assert (plan.actions, plan.memory, plan.notes) == ((), (), ())


def test_expendable_pods_do_not_keep_a_node() -> None:
    filler = small("balloon", "node-2", shape=make_shape("balloon", cpu=3000, priority=-11))
    plan = turn(cluster([*BUSY, filler]), rules(params=QUICK))
    assert kinds(plan.actions) == ["CordonNode node-2"]


def test_pods_that_will_go_on_a_node_keep_it() -> None:
    waiting = [make_pod(f"web-{number}", node="", shape=make_shape(cpu=1200)) for number in range(3)]
    plan = turn(cluster([*BUSY, *waiting]), rules(params=QUICK))
    assert plan.actions == ()


def test_one_node_after_the_other_with_those_before_gone() -> None:
    """Three nodes with one pod each; a fourth takes two of the pods: so two may go."""
    pods = [small(f"web-{number}", f"node-{number}", shape=make_shape(cpu=1500)) for number in range(3)]
    plan = turn(cluster(pods, nodes=3), rules(params={**QUICK, "max-drain-parallelism": 9}))
    assert kinds(plan.actions) == ["CordonNode node-0", "EvictPod default/web-0"]


def started(*, empty: bool, at: float = NOW) -> DecisionState:
    memory = NodeMemory(node="node-2", unneeded_since=at - 601, drain_since=at, was_empty=empty)
    return DecisionState(nodes=(memory,))


def cordoned(pods: list[Pod]) -> ClusterSnapshot:
    nodes = [make_node("node-0"), make_node("node-1"), make_node("node-2", unschedulable=True)]
    return cluster(pods, nodes=nodes)


def test_a_node_that_is_cordoned_and_empty_is_deleted() -> None:
    plan = turn(cordoned(BUSY), rules(), started(empty=True))
    assert kinds(plan.actions) == ["DeleteInstances ('node-2',)"]


@pytest.mark.parametrize(
    ("pods", "state", "waited", "words"),
    [
        pytest.param([small("web-1", "node-2")], started(empty=True), 15, "not empty any more", id="a-pod-came"),
        pytest.param([small("web-1", "node-2")], started(empty=False), 721, "not gone after 12m", id="too-slow"),
        pytest.param(
            [small("kept", "node-2", drain=DrainTraits(safe_to_evict="false"))],
            started(empty=False),
            15,
            "forbids",
            id="may-not-go",
        ),
    ],
)
def test_removals_that_are_given_up(pods: list[Pod], state: DecisionState, waited: float, words: str) -> None:
    snapshot = later(cordoned([*BUSY, *pods]), waited)
    plan = turn(snapshot, rules(params=QUICK), state)
    assert kinds(plan.actions) == ["UncordonNode node-2"]
    assert any(words in reason.message for note in plan.notes for reason in note.reasons)
    assert plan.last_removal_failed_at == snapshot.observed_at
    assert [memory.recheck_at for memory in plan.memory] == [snapshot.observed_at + 300]


def test_evictions_go_on_while_a_budget_is_spent() -> None:
    budget = DisruptionBudget(
        namespace="default", name="web", allowed=0, selector=LabelSelector(labels_of({"app": "web"}))
    )
    snapshot = cordoned([*BUSY, small("web-1", "node-2")])
    plan = turn(later(snapshot, 60, disruption_budgets=(budget,)), rules(), started(empty=False))
    assert (plan.actions, [memory.drain_since for memory in plan.memory]) == ((), [NOW])


@pytest.mark.parametrize(
    ("nodes", "goes"),
    [
        pytest.param({"consolidation": "Off"}, False, id="off"),
        pytest.param({"consolidation": "WhenEmpty"}, False, id="when-empty"),
        pytest.param({"consolidation": "Joint"}, True, id="as-the-peer-does"),
    ],
)
def test_the_policys_consolidation(nodes: dict[str, Any], goes: bool) -> None:
    plan = turn(cluster([*BUSY, small("web-1", "node-2")]), rules(params=QUICK, **nodes))
    assert bool(plan.actions) is goes
