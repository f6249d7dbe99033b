"""Whatever a planner asks for, the guard only drops and cuts."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.plan import (
    AnyAction,
    CordonNode,
    DeleteInstances,
    EvictPod,
    ResizePod,
    SetGroupSize,
    SetReplicas,
    SetRequests,
)
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.workload import DisruptionBudget, Quota
from autoscaler.planning.effective import effective_policies
from autoscaler.planning.guard import GuardLimits, guard
from autoscaler.planning.index import SnapshotIndex
from tests.unit.planning.decisions import GROUP, cluster, key, policies

counts = st.one_of(st.integers(-3, 40), st.sampled_from([0, 2**31, 2**63, -(2**63)]))
money = st.one_of(st.floats(-10, 10), st.sampled_from([math.nan, math.inf, -math.inf]))
names = st.sampled_from([key("api"), key("web"), "default/Deployment/gone", ""])
pods = st.sampled_from(["default/api-0", "default/web-0", "default/web-1", "default/gone", ""])
amounts = st.dictionaries(
    st.sampled_from(["cpu", "memory", "odd"]), st.one_of(st.integers(0, 4000), counts), max_size=3
)
sizes = st.lists(
    st.builds(
        lambda container, target: ContainerSize(container=container, target=Resources.of(target)),
        st.sampled_from(["app", "gone"]),
        amounts,
    ),
    max_size=3,
).map(tuple)
actions = st.one_of(
    st.builds(SetReplicas, workload=names, replicas=counts, expected=st.sampled_from([6, 4, 9]), usd_per_hour=money),
    st.builds(SetRequests, workload=names, containers=sizes),
    st.builds(ResizePod, pod=pods, workload=names, containers=sizes),
    st.builds(
        SetGroupSize,
        group=st.sampled_from([GROUP, "gone"]),
        size=counts,
        expected=st.sampled_from([4, 5]),
        usd_per_hour=money,
    ),
    st.builds(EvictPod, pod=pods, uid=st.sampled_from(["", "web-0", "api-0"]), workload=names),
    st.builds(CordonNode, node=st.sampled_from(["node-0", "gone"])),
    st.builds(
        DeleteInstances,
        group=st.sampled_from([GROUP, "gone"]),
        nodes=st.lists(st.sampled_from(["node-0", "node-3", "gone"]), unique=True).map(tuple),
        expected=st.sampled_from([4, 3]),
        usd_per_hour=money,
    ),
)
limits = st.builds(
    GuardLimits,
    up_replicas=st.integers(0, 9),
    up_nodes=st.integers(0, 9),
    evictions=st.integers(-1, 3),
    usd_per_hour=money,
    unready_share=st.floats(0, 1),
)


def seen(bounds: dict[str, int], quota: int, allowed: int) -> tuple[ClusterSnapshot, Any]:
    snapshot = cluster(
        {"api": (4, 1.0), "web": (6, 2.0)},
        quotas=(
            Quota(namespace="default", name="q", hard=Resources.of(pods=quota, cpu=quota), used=Resources.of(pods=10)),
        ),
        disruption_budgets=[DisruptionBudget(namespace="default", name="b", allowed=allowed)],
    )
    rules = policies(defaults={"constraints": {"global": bounds}, "policy": {"updateMode": "Auto"}})
    return snapshot, effective_policies(snapshot, rules)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(actions, max_size=12),
    st.sampled_from([{}, {"maxReplicas": 7}, {"minReplicas": 5}, {"minReplicas": 20, "maxReplicas": 30}]),
    counts,
    counts,
    limits,
    st.sets(names),
)
def test_it_only_drops_and_cuts(
    wanted: list[AnyAction], bounds: dict[str, int], quota: int, allowed: int, most: GuardLimits, held: set[str]
) -> None:
    snapshot, governed = seen(bounds, quota, allowed)
    found = guard(wanted, SnapshotIndex(snapshot), governed, held=frozenset(held), limits=most)
    rest = iter(wanted)
    replicas = {workload.key: workload.replicas for workload in snapshot.workloads}
    for kept in found.actions:
        # Each action that is left is one of those asked for, in their order, and no larger.
        assert any(_is_no_more(kept, asked) for asked in rest)
        if isinstance(kept, SetReplicas) and kept.workload in held:
            assert kept.replicas >= replicas[kept.workload]
    dropped = len(wanted) - len(found.actions)
    assert len(found.notes) >= dropped - sum(isinstance(a, SetReplicas) and a.replicas == a.expected for a in wanted)
    assert sum(isinstance(action, EvictPod) for action in found.actions) <= max(0, most.evictions)


def _is_no_more(kept: AnyAction, asked: AnyAction) -> bool:
    if type(kept) is not type(asked):
        return False
    if isinstance(kept, SetReplicas) and isinstance(asked, SetReplicas):
        low, high = sorted((asked.expected, asked.replicas))
        return kept.workload == asked.workload and low <= kept.replicas <= high
    if isinstance(kept, SetGroupSize) and isinstance(asked, SetGroupSize):
        return kept.group == asked.group and asked.expected < kept.size <= asked.size
    if isinstance(kept, DeleteInstances) and isinstance(asked, DeleteInstances):
        return kept.group == asked.group and set(kept.nodes) <= set(asked.nodes)
    if isinstance(kept, (SetRequests, ResizePod)) and isinstance(asked, (SetRequests, ResizePod)):
        return kept.workload == asked.workload and set(kept.containers) <= set(asked.containers)
    return kept == asked
