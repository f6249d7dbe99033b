"""From a snapshot to group sizes, by the rules of nodes.engine karpenter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from autoscaler.model.node import SPOT, Node, NodeGroup, NodeTemplate
from autoscaler.model.placement import Affinity, NodeSelectorTerm, Operator, Requirement
from autoscaler.model.plan import SetGroupSize
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.reasons import Code
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState, NodeMemory
from autoscaler.model.units import GIB
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.effective import cluster_rules
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.karpenter.engine import plan_nodes
from autoscaler.planning.node_layer import NodePlan
from autoscaler.scheduling.topology import HOSTNAME, ZONE
from autoscaler.testing.builders import NOW, make_node, make_pod, make_shape, make_snapshot
from tests.unit.planning.decisions import policies
from tests.unit.planning.karpenter.pools import of_app


def group(name: str, cpu: int, usd: float, *, zone: str = "a", kind: str = "", **fields: Any) -> NodeGroup:
    template = NodeTemplate(
        instance_type=kind or name,
        allocatable=Resources.of(cpu=cpu, memory=64 * GIB, pods=50),
        labels=fields.pop("labels", ()),
    )
    return NodeGroup(
        name=name, template=template, target_size=0, usd_per_hour=usd, **{"zone": zone, "max_size": 10, **fields}
    )


SMALL = group("small", 2000, 0.10)
LARGE = group("large", 8000, 0.38)


def planned(
    pods: Sequence[Pod],
    groups: Sequence[NodeGroup] = (SMALL, LARGE),
    nodes: Sequence[Node] = (),
    *,
    state: DecisionState = DecisionState(),  # noqa: B008 (frozen)
    mode: str = "Auto",
    **rules: Any,
) -> NodePlan:
    snapshot: ClusterSnapshot = make_snapshot(pods=pods, nodes=nodes, node_groups=groups)
    _, found = cluster_rules(policies(mode=mode, nodes={"engine": "karpenter", **rules}))
    return plan_nodes(
        SnapshotIndex(snapshot), found, state, parts={}, advice=(), room=DisruptionRoom(nodes=10, pods=100)
    )


def waiting(count: int, shape: PodShape | None = None, prefix: str = "web") -> list[Pod]:
    return [make_pod(f"{prefix}-{number}", shape=shape or make_shape(), node="") for number in range(count)]


def sizes(plan: NodePlan) -> dict[str, int]:
    return {action.group: action.size for action in plan.actions if isinstance(action, SetGroupSize)}


def test_a_claim_takes_the_cheapest_group_that_fits() -> None:
    assert sizes(planned(waiting(3, make_shape(cpu=600)))) == {"small": 1}
    assert sizes(planned(waiting(4, make_shape(cpu=600)))) == {"large": 1}


def test_sizes_are_absolute_with_what_is_expected() -> None:
    (action,) = planned(waiting(1), [msgspec.structs.replace(SMALL, target_size=4)]).actions
    assert isinstance(action, SetGroupSize)
    assert (action.size, action.expected) == (5, 4)
    assert [reason.code for reason in action.reasons] == [Code.PENDING_PODS]


def test_where_the_cheapest_group_is_full_the_next_grows_and_then_pods_wait() -> None:
    apart = make_shape(affinity=Affinity(pod_anti_required=(of_app("web", HOSTNAME),)))
    groups = [msgspec.structs.replace(SMALL, max_size=1), msgspec.structs.replace(LARGE, max_size=1)]
    plan = planned(waiting(3, apart), groups)
    assert sizes(plan) == {"small": 1, "large": 1}
    assert [(note.target, note.reasons[0].code) for note in plan.notes] == [("pods/default/web", Code.GROUP_AT_MAXIMUM)]


def test_groups_that_are_alike_stay_level() -> None:
    apart = make_shape(affinity=Affinity(pod_anti_required=(of_app("web", HOSTNAME),)))
    twins = [group(name, 2000, 0.10, zone=name, kind="small") for name in "abc"]
    assert sizes(planned(waiting(6, apart), twins)) == {"a": 2, "b": 2, "c": 2}


def test_a_group_that_backs_off_is_not_asked() -> None:
    away = msgspec.structs.replace(SMALL, backoff_until=NOW + 60)
    assert sizes(planned(waiting(1), [away, LARGE])) == {"large": 1}


def test_the_heavier_pool_comes_first_whatever_it_costs() -> None:
    heavy = msgspec.structs.replace(LARGE, weight=7)
    assert sizes(planned(waiting(1), [SMALL, heavy])) == {"large": 1}


def test_labels_of_groups_are_met() -> None:
    gpu = make_shape(node_selector=(("card", "t4"),))
    labelled = group("gpu", 8000, 0.38, labels=(("card", "t4"),))
    assert sizes(planned(waiting(1, gpu), [SMALL, labelled])) == {"gpu": 1}
    plan = planned(waiting(1, gpu), [SMALL])
    assert not plan.actions
    assert plan.notes[0].reasons[0].code is Code.NO_GROUP_FITS


def test_the_zone_that_a_pod_asks_for_is_bought() -> None:
    zones = [group(f"small-{zone}", 2000, 0.10, zone=zone, kind="small") for zone in "abc"]
    assert sizes(planned(waiting(1, make_shape(node_selector=((ZONE, "b"),))), zones)) == {"small-b": 1}


def test_room_that_is_there_or_coming_is_used_first() -> None:
    coming = make_node("new", cpu=2000, registered=False, ready=False, group="small", created_at=NOW - 30)
    assert not planned(waiting(3), nodes=[coming]).actions
    assert sizes(planned(waiting(5), nodes=[coming])) == {"small": 1}


@pytest.mark.parametrize(
    "node",
    [
        pytest.param(make_node("old", deleting=True), id="deleting"),
        pytest.param(make_node("old", interrupt_at=NOW + 100), id="interrupted"),
        pytest.param(make_node("old", unschedulable=True), id="cordoned"),
    ],
)
def test_a_node_on_its_way_out_takes_no_pods(node: Node) -> None:
    assert sizes(planned(waiting(1), nodes=[node])) == {"small": 1}


def test_pods_of_nodes_going_away_are_placed_anew() -> None:
    node = make_node("old")
    pods = [make_pod("web-1", node="old"), make_pod("ds-1", shape=daemon(), node="old")]
    drained = DecisionState(nodes=(NodeMemory(node="old", drain_since=NOW - 5),))
    assert sizes(planned(pods, nodes=[node], state=drained)) == {"small": 1}
    assert not planned(pods, nodes=[node]).actions


def daemon() -> PodShape:
    return msgspec.structs.replace(make_shape("agent"), owner_kind="DaemonSet")


def test_only_pods_that_the_scheduler_gave_up_on_count() -> None:
    fresh = make_pod("web-1", node="", unschedulable_since=None)
    assert not planned([fresh]).actions


def test_limits_of_the_cluster_bind() -> None:
    apart = make_shape(affinity=Affinity(pod_anti_required=(of_app("web", HOSTNAME),)))
    plan = planned(waiting(2, apart), [SMALL], limits={"cpu": "3"})
    assert sizes(plan) == {"small": 1}
    assert plan.notes[0].reasons[0].code is Code.LIMIT_REACHED


def test_an_overlay_changes_what_is_cheapest() -> None:
    about = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["small"]}
    dear = {"name": "dear", "requirements": [about], "price": "9"}
    assert sizes(planned(waiting(1))) == {"small": 1}
    assert sizes(planned(waiting(1), params={"node-overlays": [dear]})) == {"large": 1}


def test_overlays_that_contradict_are_told_of() -> None:
    both = [{"name": name, "price": "9"} for name in ("a", "b")]
    plan = planned(waiting(1), params={"node-overlays": both})
    assert "a" in plan.notes[-1].reasons[0].message
    assert plan.notes[-1].target == "policy/nodes"


def test_spot_is_bought_where_it_is_cheaper() -> None:
    spot = msgspec.structs.replace(SMALL, name="spot", capacity_type=SPOT, usd_per_hour=0.03)
    assert sizes(planned(waiting(1), [SMALL, spot])) == {"spot": 1}


def test_a_volume_that_is_nowhere_keeps_its_pod_out() -> None:
    lost = make_shape("lost", volume_terms=((),))
    plan = planned([*waiting(1), *waiting(1, lost, "lost")])
    assert sizes(plan) == {"small": 1}
    assert [note.target for note in plan.notes] == ["pods/default/lost"]


def test_a_volume_ties_its_pod_to_a_zone() -> None:
    term = NodeSelectorTerm((Requirement(ZONE, Operator.IN, ("b",)),))
    zones = [group(f"small-{zone}", 2000, 0.10, zone=zone, kind="small") for zone in "ab"]
    assert sizes(planned(waiting(1, make_shape(volume_terms=((term,),))), zones)) == {"small-b": 1}


def test_wrong_parameters_hold_the_nodes() -> None:
    plan = planned(waiting(1), params={"preference-policy": "Maybe"})
    assert not plan.actions
    assert plan.notes[0].reasons[0].code is Code.POLICY_INVALID


def test_as_advice_nothing_is_done() -> None:
    plan = planned(waiting(1), mode="Recommend")
    assert not plan.actions
    assert len(plan.advised) == 1
