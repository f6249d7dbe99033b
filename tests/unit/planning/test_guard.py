from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from autoscaler.model.placement import LabelSelector, labels_of
from autoscaler.model.plan import (
    AnyAction,
    CordonNode,
    DeleteInstances,
    EvictPod,
    ResizePod,
    SetGroupSize,
    SetQuota,
    SetReplicas,
    SetRequests,
    UncordonNode,
)
from autoscaler.model.pod import ReadyCondition
from autoscaler.model.policy import Policies
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.units import MIB
from autoscaler.model.workload import DisruptionBudget, Quota
from autoscaler.planning.effective import effective_policies
from autoscaler.planning.guard import Guarded, GuardLimits, guard, target_of
from autoscaler.planning.index import SnapshotIndex
from autoscaler.testing.builders import NOW, make_group, make_node
from tests.unit.planning.decisions import GROUP, cluster, key, mpa, policies

WEB = key("web")


def checked(
    *actions: AnyAction,
    snapshot: ClusterSnapshot | None = None,
    rules: Policies | None = None,
    held: Sequence[str] = (),
    **limits: Any,
) -> Guarded:
    snapshot = snapshot or cluster({"web": (10, 3.0)})
    governed = effective_policies(snapshot, rules or policies())
    return guard(actions, SnapshotIndex(snapshot), governed, held=frozenset(held), limits=GuardLimits(**limits))


def bounded(**bounds: int) -> Policies:
    return msgspec.structs.replace(policies(), mpas=(mpa("web", constraints={"global": bounds}),))


def scale(replicas: int, *, expected: int = 10, usd: float = 0.0) -> SetReplicas:
    return SetReplicas(workload=WEB, replicas=replicas, expected=expected, usd_per_hour=usd)


def requests(*, container: str = "app", **amounts: int) -> SetRequests:
    return SetRequests(workload=WEB, containers=(ContainerSize(container=container, target=Resources.of(amounts)),))


def resize(*, pod: str = "default/web-0", **amounts: int) -> ResizePod:
    size = ContainerSize(container="app", target=Resources.of(amounts))
    return ResizePod(pod=pod, workload=WEB, containers=(size,))


def evict(number: int = 0, *, uid: str | None = None) -> EvictPod:
    return EvictPod(pod=f"default/web-{number}", uid=f"web-{number}" if uid is None else uid, workload=WEB)


def codes(found: Guarded) -> list[Code]:
    return [reason.code for note in found.notes for reason in note.reasons]


def first(found: Guarded) -> Any:
    return found.actions[0] if found.actions else None


@pytest.mark.parametrize(
    ("bounds", "wanted", "allowed"),
    [
        pytest.param({"minReplicas": 2, "maxReplicas": 60}, 12, 12, id="within-the-bounds"),
        pytest.param({"maxReplicas": 11}, 15, 11, id="cut-to-the-maximum"),
        pytest.param({"minReplicas": 9, "maxReplicas": 60}, 8, 9, id="kept-at-the-minimum"),
        pytest.param({"minReplicas": 20, "maxReplicas": 60}, 12, 12, id="towards-the-minimum-but-not-beyond-the-plan"),
        pytest.param({"minReplicas": 12, "maxReplicas": 60}, 8, None, id="below-the-minimum-it-may-not-shrink"),
        pytest.param({"maxReplicas": 5}, 12, None, id="above-the-maximum-it-may-not-grow"),
        pytest.param({"maxReplicas": 5}, 8, 8, id="towards-the-maximum-but-not-beyond-the-plan"),
    ],
)
def test_replica_bounds(bounds: dict[str, int], wanted: int, allowed: int | None) -> None:
    found = checked(scale(wanted), rules=bounded(**bounds))
    assert getattr(first(found), "replicas", None) == allowed
    assert codes(found) == ([] if allowed == wanted else [Code.GUARD_BOUNDS])


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        pytest.param(20, 20, id="doubling-is-fine"),
        pytest.param(40, 20, id="no-more-than-double"),
        pytest.param(8, 8, id="a-quarter-less-is-fine"),
        pytest.param(1, 8, id="no-more-than-a-quarter-less"),
    ],
)
def test_rate_of_replicas(wanted: int, allowed: int) -> None:
    found = checked(scale(wanted))
    assert first(found).replicas == allowed
    assert codes(found) == ([] if allowed == wanted else [Code.GUARD_RATE])


@pytest.mark.parametrize(("now", "wanted", "allowed"), [(1, 9, 5), (1, 0, 0), (3, 1, 2)], ids=str)
def test_small_workloads_may_move_by_whole_pods(now: int, wanted: int, allowed: int) -> None:
    rules = bounded(minReplicas=0)
    found = checked(scale(wanted, expected=now), snapshot=cluster({"web": (now, 1.0)}), rules=rules)
    assert first(found).replicas == allowed


def test_the_rate_of_a_peer_s_engine_is_its_own() -> None:
    assert first(checked(scale(1), rules=policies(engine="hpa"))).replicas == 1


def test_a_cut_action_costs_its_share() -> None:
    assert first(checked(scale(40, usd=3.0))).usd_per_hour == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("action", "passes"),
    [
        pytest.param(scale(8), False, id="no-fewer-replicas"),
        pytest.param(scale(12), True, id="more-replicas"),
        pytest.param(requests(cpu=400), False, id="no-lower-request"),
        pytest.param(requests(cpu=600), True, id="a-higher-request"),
        pytest.param(requests(cpu=600, memory=100 * MIB), False, id="no-trade-of-one-for-another"),
        pytest.param(resize(cpu=400), False, id="no-smaller-pod"),
        pytest.param(resize(cpu=600), True, id="a-larger-pod"),
    ],
)
def test_nothing_of_a_held_workload_shrinks(action: AnyAction, *, passes: bool) -> None:
    found = checked(action, held=[WEB])
    assert found.actions == ((action,) if passes else ())
    assert codes(found) == ([] if passes else [Code.GUARD_MISSING])


def test_of_a_held_workload_the_growing_containers_pass() -> None:
    sizes = (
        ContainerSize(container="app", target=Resources.of(cpu=100)),
        ContainerSize(container="app", target=Resources.of(cpu=900)),
    )
    found = checked(SetRequests(workload=WEB, containers=sizes), held=[WEB])
    assert first(found).containers == sizes[1:]


@pytest.mark.parametrize(
    ("bounds", "cpu", "passes"),
    [
        pytest.param({"maxAllowed": {"cpu": "1"}}, 1000, True, id="at-the-maximum"),
        pytest.param({"maxAllowed": {"cpu": "1"}}, 1001, False, id="above-the-maximum"),
        pytest.param({"maxAllowed": {"cpu": "0"}}, 1001, True, id="a-bound-of-0-is-none"),
        pytest.param({"maxAllowed": {"cpu": "100m"}}, 400, True, id="down-towards-the-maximum"),
        pytest.param({"minAllowed": {"cpu": "400m"}}, 400, True, id="at-the-minimum"),
        pytest.param({"minAllowed": {"cpu": "400m"}}, 300, False, id="below-the-minimum"),
        pytest.param({"minAllowed": {"cpu": "4"}}, 600, True, id="up-towards-the-minimum"),
    ],
)
@pytest.mark.parametrize("named", ["app", "*"])
def test_request_bounds(named: str, bounds: dict[str, Any], cpu: int, *, passes: bool) -> None:
    document = {"container": [{"name": named, "requests": bounds}]}
    rules = msgspec.structs.replace(policies(), mpas=(mpa("web", constraints=document),))
    for action in (requests(cpu=cpu), resize(cpu=cpu)):
        found = checked(action, rules=rules)
        assert found.actions == ((action,) if passes else ())
        assert codes(found) == ([] if passes else [Code.GUARD_BOUNDS])


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(scale(12, expected=9), id="another-replica-count"),
        pytest.param(SetReplicas(workload="default/Deployment/gone", replicas=1, expected=2), id="no-such-workload"),
        pytest.param(SetRequests(workload="default/Deployment/gone", containers=()), id="no-such-workload-to-size"),
        pytest.param(requests(container="sidecar", cpu=900), id="no-such-container"),
        pytest.param(resize(pod="default/gone", cpu=900), id="no-such-pod"),
        pytest.param(SetGroupSize(group="gone", size=3, expected=1), id="no-such-group"),
        pytest.param(SetGroupSize(group=GROUP, size=9, expected=3), id="another-group-size"),
        pytest.param(SetGroupSize(group=GROUP, size=3, expected=4), id="a-lower-group-size-chooses-no-node"),
        pytest.param(DeleteInstances(group=GROUP, nodes=("node-3",), expected=7), id="another-size-to-delete-from"),
        pytest.param(DeleteInstances(group="gone", nodes=("node-3",), expected=1), id="no-such-group-to-delete-from"),
        pytest.param(evict(uid="another"), id="another-pod-of-that-name"),
        pytest.param(evict(99), id="no-such-pod-to-evict"),
    ],
)
def test_a_plan_made_for_something_else_is_dropped(action: AnyAction) -> None:
    found = checked(action)
    assert found.actions == ()
    assert found.notes[0].target == target_of(action)


def test_ungoverned_workloads_are_left_alone() -> None:
    found = checked(scale(12), requests(cpu=900), resize(cpu=900), rules=Policies())
    assert found.actions == ()


@pytest.mark.parametrize(
    ("quota", "allowed"),
    [
        pytest.param({"hard": {"pods": 20}, "used": {"pods": 17}}, 13, id="pods"),
        pytest.param({"hard": {"requests.cpu": 6000}, "used": {"requests.cpu": 5000}}, 12, id="cpu-requests"),
        pytest.param({"hard": {"cpu": 5400}, "used": {"cpu": 5000}}, None, id="cpu-by-its-short-name"),
        pytest.param({"hard": {"requests.memory": 1}, "used": {"requests.memory": 9}}, None, id="overdrawn"),
        pytest.param({"hard": {"limits.memory": 0}, "used": {}}, 16, id="limits-that-are-not-set"),
        pytest.param({"hard": {"count/secrets": 0}, "used": {}}, 16, id="what-pods-do-not-use"),
    ],
)
def test_quotas(quota: dict[str, dict[str, int]], allowed: int | None) -> None:
    made = Quota(namespace="default", name="q", hard=Resources.of(quota["hard"]), used=Resources.of(quota["used"]))
    found = checked(scale(16), snapshot=cluster({"web": (10, 3.0)}, quotas=(made,)))
    assert getattr(first(found), "replicas", None) == allowed
    assert codes(found) == ([] if allowed == 16 else [Code.GUARD_QUOTA])


def test_workloads_share_a_quota_and_namespaces_do_not() -> None:
    mine = Quota(namespace="default", name="q", hard=Resources.of(pods=18), used=Resources.of(pods=13))
    other = msgspec.structs.replace(mine, namespace="other", used=Resources.of(pods=18))
    snapshot = cluster({"api": (3, 1.0), "web": (10, 3.0)}, quotas=(mine, other))
    api = SetReplicas(workload=key("api"), replicas=6, expected=3)
    found = checked(api, scale(16), snapshot=snapshot)
    assert [action.replicas for action in found.actions if isinstance(action, SetReplicas)] == [6, 12]


@pytest.mark.parametrize(
    ("limits", "size", "allowed", "code"),
    [
        pytest.param({}, 9, 9, None, id="fine"),
        pytest.param({}, 90, 20, Code.GUARD_BOUNDS, id="the-maximum-of-the-group"),
        pytest.param({"up_nodes": 3, "up_nodes_share": 0.0}, 9, 7, Code.GUARD_RATE, id="so-many-a-cycle"),
        pytest.param({"up_nodes": 0, "up_nodes_share": 0.5}, 9, 6, Code.GUARD_RATE, id="such-a-share-a-cycle"),
        pytest.param({"usd_per_hour": 1.2}, 9, 6, Code.GUARD_BUDGET, id="the-money-budget"),
        pytest.param({"usd_per_hour": 0.5}, 9, None, Code.GUARD_BUDGET, id="the-money-is-spent"),
    ],
)
def test_growth_of_groups(limits: dict[str, Any], size: int, allowed: int | None, code: Code | None) -> None:
    found = checked(SetGroupSize(group=GROUP, size=size, expected=4, usd_per_hour=float(size - 4)), **limits)
    assert getattr(first(found), "size", None) == allowed
    assert codes(found) == ([] if code is None else [code])
    if allowed is not None:
        assert first(found).usd_per_hour == pytest.approx(allowed - 4)


def test_groups_share_money_and_rate_and_may_grow_twice() -> None:
    other = make_group("other", size=0, max_size=20, usd_per_hour=0.4)
    snapshot = cluster({"web": (10, 3.0)}, node_groups=[make_group(size=4, max_size=20), other])
    steps = (
        SetGroupSize(group=GROUP, size=6, expected=4),
        SetGroupSize(group=GROUP, size=7, expected=6),
        SetGroupSize(group="other", size=4, expected=0),
    )
    found = checked(*steps, snapshot=snapshot, usd_per_hour=0.8 + 3 * 0.2 + 2 * 0.4)
    assert [(a.group, a.size) for a in found.actions if isinstance(a, SetGroupSize)] == [
        (GROUP, 6),
        (GROUP, 7),
        ("other", 2),
    ]


def budget(name: str, allowed: int, **labels: str) -> DisruptionBudget:
    selector = LabelSelector(match_labels=labels_of(labels))
    return DisruptionBudget(namespace="default", name=name, allowed=allowed, selector=selector)


@pytest.mark.parametrize(
    ("budgets", "evicted", "code"),
    [
        pytest.param([], 3, None, id="no-budget"),
        pytest.param([budget("b", 2, app="web")], 2, Code.GUARD_PDB, id="the-budget-binds"),
        pytest.param([budget("b", 0, app="other")], 3, None, id="a-budget-for-others"),
        pytest.param([budget("a", 9, app="web"), budget("b", 1)], 1, Code.GUARD_PDB, id="the-tighter-of-two"),
        pytest.param(
            [DisruptionBudget(namespace="default", name="b", allowed=0)], 3, None, id="no-selector-selects-nothing"
        ),
        pytest.param(
            [msgspec.structs.replace(budget("b", 0, app="web"), namespace="x")], 3, None, id="another-namespace"
        ),
    ],
)
def test_disruption_budgets_of_pods(budgets: list[DisruptionBudget], evicted: int, code: Code | None) -> None:
    snapshot = cluster({"web": (10, 3.0)}, disruption_budgets=budgets)
    found = checked(*(evict(number) for number in range(3)), snapshot=snapshot)
    assert len(found.actions) == evicted
    assert set(codes(found)) == (set() if code is None else {code})


def test_a_pod_that_is_not_ready_needs_no_budget() -> None:
    snapshot = cluster({"web": (10, 3.0)}, disruption_budgets=[budget("b", 0, app="web")])
    unready = tuple(msgspec.structs.replace(p, ready=ReadyCondition("False", NOW)) for p in snapshot.pods)
    assert checked(evict(), snapshot=msgspec.structs.replace(snapshot, pods=unready)).actions == (evict(),)


def test_the_disruption_budget_of_the_policy() -> None:
    found = checked(*(evict(number) for number in range(4)), evictions=2)
    assert len(found.actions) == 2
    assert codes(found) == [Code.GUARD_DISRUPTION] * 2


def empty_nodes(count: int, *, min_size: int = 0) -> ClusterSnapshot:
    """Return a cluster with a pod on `node-0`, and *count* empty nodes."""
    group = make_group(size=count + 1, max_size=count + 1, min_size=min_size)
    return cluster({"web": (1, 0.4)}, nodes=count + 1, node_groups=[group])


def delete(*numbers: int, expected: int) -> DeleteInstances:
    return DeleteInstances(group=GROUP, nodes=tuple(f"node-{n}" for n in numbers), expected=expected, usd_per_hour=-1.0)


@pytest.mark.parametrize(
    ("fields", "limits", "gone", "code"),
    [
        pytest.param({}, {}, 2, Code.GUARD_RATE, id="two-at-least-or-15-percent-a-cycle"),
        pytest.param({}, {"down_nodes_share": 0.4}, 3, None, id="a-larger-share"),
        pytest.param({"min_size": 9}, {}, 1, Code.GUARD_RATE, id="the-minimum-of-the-group"),
        pytest.param({"min_size": 10}, {}, 0, Code.GUARD_RATE, id="at-the-minimum"),
    ],
)
def test_removals(fields: dict[str, int], limits: dict[str, Any], gone: int, code: Code | None) -> None:
    found = checked(delete(1, 2, 3, expected=10), snapshot=empty_nodes(9, **fields), **limits)
    assert len(getattr(first(found), "nodes", ())) == gone
    assert codes(found) == ([] if code is None else [code])
    if gone:
        assert first(found).usd_per_hour == pytest.approx(-gone / 3)


def test_a_node_with_pods_is_not_deleted() -> None:
    found = checked(delete(0, 1, expected=10), snapshot=empty_nodes(9))
    assert first(found).nodes == ("node-1",)
    assert codes(found) == [Code.GUARD_DISRUPTION]


@pytest.mark.parametrize(
    ("deleted_at", "owner"),
    [
        pytest.param(None, "DaemonSet", id="of-a-daemon-set"),
        pytest.param(None, "Node", id="of-the-node-itself"),
        pytest.param(NOW - 600, "ReplicaSet", id="on-its-way-out"),
    ],
)
def test_a_node_with_pods_that_go_with_it_is_deleted(deleted_at: float | None, owner: str) -> None:
    snapshot = empty_nodes(9)
    shape = msgspec.structs.replace(snapshot.pods[0].shape, owner_kind=owner)
    pod = msgspec.structs.replace(snapshot.pods[0], deleted_at=deleted_at, shape=shape)
    found = checked(delete(0, expected=10), snapshot=msgspec.structs.replace(snapshot, pods=(pod,)))
    assert first(found).nodes == ("node-0",)


def test_a_node_that_is_not_ready_is_deleted_with_its_pods() -> None:
    snapshot = empty_nodes(9)
    dead = (msgspec.structs.replace(snapshot.nodes[0], ready=False), *snapshot.nodes[1:])
    found = checked(delete(0, expected=10), snapshot=msgspec.structs.replace(snapshot, nodes=dead))
    assert first(found).nodes == ("node-0",)


@pytest.mark.parametrize(("unready", "passes"), [(3, True), (4, False)], ids=["a-few", "too-many"])
def test_too_many_unready_nodes_stop_all_removals(unready: int, *, passes: bool) -> None:
    nodes = tuple(make_node(f"node-{number}", ready=number < 10 - unready) for number in range(10))
    snapshot = msgspec.structs.replace(empty_nodes(9), nodes=nodes)
    found = checked(CordonNode(node="node-1"), delete(2, expected=10), snapshot=snapshot)
    assert len(found.actions) == (2 if passes else 0)
    assert set(codes(found)) == (set() if passes else {Code.GUARD_UNREADY})


def test_what_has_no_rule_passes() -> None:
    others = (UncordonNode(node="node-1"), SetQuota(namespace="default", name="q", hard=(("pods", 3),)))
    assert checked(*others).actions == others


def test_actions_keep_their_order_and_each_cut_has_a_note() -> None:
    actions = (SetGroupSize(group=GROUP, size=90, expected=4), scale(40), evict(0), evict(1))
    found = checked(*actions, evictions=1)
    assert [type(action) for action in found.actions] == [SetGroupSize, SetReplicas, EvictPod]
    assert [note.target for note in found.notes] == [f"group/{GROUP}", f"workload/{WEB}", "pod/default/web-1"]
    assert all(note.reasons[0].message for note in found.notes)


def test_no_budget_is_no_limit() -> None:
    assert checked(SetGroupSize(group=GROUP, size=9, expected=4), usd_per_hour=math.inf).notes == ()
