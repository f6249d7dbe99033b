"""
Which nodes are up, coming or broken, and which groups may grow.

Sources: `clusterstate/clusterstate.go` (updateReadinessStats, IsClusterHealthy,
IsNodeGroupHealthy, GetUpcomingNodes) and `utils/backoff/exponential_backoff.go`,
1.36. Failures are read off what is seen: the provider backs off, or machines
never register.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.state import GroupMemory
from autoscaler.planning.cluster_autoscaler.params import ClusterAutoscalerParams


class Standing(enum.StrEnum):
    """Where a node is in its life."""

    READY = "Ready"
    NOT_STARTED = "NotStarted"
    """Registered, and still coming up."""
    UNREADY = "Unready"
    """Registered, and not ready for so long that it should have been."""
    UNREGISTERED = "Unregistered"
    """Asked for, and not seen in the cluster yet."""
    LONG_UNREGISTERED = "LongUnregistered"
    """Asked for so long ago that it will never come."""

    @property
    def is_coming(self) -> bool:
        return self in (Standing.NOT_STARTED, Standing.UNREGISTERED)


def standing_of(node: Node, params: ClusterAutoscalerParams, now: float) -> Standing:
    """Return where *node* is in its life at *now* (epoch seconds)."""
    if not node.registered:
        late = 0 < node.created_at < now - params.max_node_provision_time.seconds
        return Standing.LONG_UNREGISTERED if late else Standing.UNREGISTERED
    if node.ready:
        return Standing.READY
    coming = node.created_at + params.max_node_startup_time.seconds > now
    return Standing.NOT_STARTED if coming else Standing.UNREADY


def cluster_problem(standings: Iterable[Standing], params: ClusterAutoscalerParams) -> str:
    """Say that too many nodes are broken to do anything, "" if not."""
    counts = Counter(standings)
    unready = counts[Standing.UNREADY]
    registered = unready + counts[Standing.READY] + counts[Standing.NOT_STARTED]
    if _too_many(unready, registered, params):
        return f"{unready} of {registered} nodes are not ready: nothing is done until they are"
    return ""


def unhealthy_groups(
    nodes: Sequence[Node], standings: Mapping[str, Standing], params: ClusterAutoscalerParams
) -> frozenset[str]:
    """Return the groups that have too many broken nodes to be given more."""
    counts: dict[str, Counter[Standing]] = {}
    for node in nodes:
        counts.setdefault(node.group, Counter())[standings[node.name]] += 1
    found = set()
    for group, count in counts.items():
        registered = count[Standing.READY] + count[Standing.UNREADY] + count[Standing.NOT_STARTED]
        if _too_many(count[Standing.UNREADY], registered, params):
            found.add(group)
    return frozenset(found)


def note_failures(
    groups: Sequence[NodeGroup],
    failed: frozenset[str],
    before: Sequence[GroupMemory],
    params: ClusterAutoscalerParams,
    *,
    now: float,
) -> tuple[GroupMemory, ...]:
    """
    Return the memory of groups whose growth failed, this cycle's failures added and stale ones forgotten.

    Args:
        groups: as the provider shows them; one that backs off anew has failed.
        failed: groups with machines that never came.
        before: the memory so far.
        params: how long to wait, and when to forget.
        now: epoch seconds.
    """
    known = {
        each.group: each for each in before if each.failed_at + params.node_group_backoff_reset_timeout.seconds >= now
    }
    for group in groups:
        memory = known.get(group.name)
        told = group.backoff_until > now and (memory is None or group.backoff_until > memory.told_until)
        if told or group.name in failed:
            known[group.name] = _failed(group, memory, params, now)
    return tuple(known[name] for name in sorted(known))


def backed_off(groups: Iterable[NodeGroup], memory: Iterable[GroupMemory], *, now: float) -> Mapping[str, float]:
    """Return until when groups are left alone, for those that are."""
    until = {group.name: group.backoff_until for group in groups if group.backoff_until > now}
    for each in memory:
        if each.backoff_until >= now:
            until[each.group] = max(until.get(each.group, 0.0), each.backoff_until)
    return until


def _failed(group: NodeGroup, before: GroupMemory | None, params: ClusterAutoscalerParams, now: float) -> GroupMemory:
    seconds = params.initial_node_group_backoff_duration.seconds
    if before is not None:
        # Several failures of one attempt count once.
        again = before.backoff_until < now
        seconds = before.backoff_seconds
        if again:
            seconds = min(2 * seconds, params.max_node_group_backoff_duration.seconds)
    return GroupMemory(
        group=group.name,
        failed_at=now,
        backoff_seconds=seconds,
        backoff_until=now + seconds,
        told_until=max(group.backoff_until, before.told_until if before is not None else 0.0),
    )


def _too_many(unready: int, registered: int, params: ClusterAutoscalerParams) -> bool:
    return (
        unready > params.ok_total_unready_count and unready > params.max_total_unready_percentage / 100.0 * registered
    )
