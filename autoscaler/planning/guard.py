"""
The last check, with its own eyes: it knows the snapshot and the policies, and
nothing of the planners. It may drop or shrink actions, never add or enlarge one.

What it checks (design, section 8): bounds, change per cycle, missing data,
PodDisruptionBudgets, the disruption budget shared by pods and nodes, group
sizes, nodes not ready, ResourceQuotas, the money budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from autoscaler.model.node import NodeGroup
from autoscaler.model.plan import (
    AnyAction,
    CordonNode,
    DeleteInstances,
    EvictPod,
    Note,
    SetGroupSize,
    SetReplicas,
    SetRequests,
)
from autoscaler.model.pod import Pod
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.workload import Quota, Workload
from autoscaler.planning.effective import Effective
from autoscaler.planning.index import SnapshotIndex
from autoscaler.scheduling.requests import effective_requests
from autoscaler.scheduling.requirements import label_map, selector_matches


class GuardLimits(msgspec.Struct, frozen=True, kw_only=True):
    """
    The most that one cycle may change (algorithms, section 6.7). Shares are 0-1.

    `usd_per_hour` is the money budget for all nodes, infinite for none.
    """

    up_replicas: int = 4
    up_share: float = 1.0
    up_nodes: int = 20
    up_nodes_share: float = 1.0
    down_nodes: int = 2
    down_nodes_share: float = 0.15
    unready_share: float = 0.3
    evictions: int = 1_000_000
    usd_per_hour: float = math.inf


class Guarded(msgspec.Struct, frozen=True, kw_only=True):
    actions: tuple[AnyAction, ...]
    notes: tuple[Note, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The action as it may be taken (None: not at all) and why it was changed."""

    action: AnyAction | None
    reason: Reason | None = None


def guard(
    actions: Sequence[AnyAction],
    index: SnapshotIndex,
    governed: Mapping[str, Effective],
    *,
    held: frozenset[str],
    limits: GuardLimits,
) -> Guarded:
    """
    Return the actions that may be taken, and a note for each that was dropped or cut.

    *held* names workloads whose data is missing: nothing of theirs may shrink.
    """
    checks = _Checks(index, governed, held, limits)
    kept: list[AnyAction] = []
    notes: list[Note] = []
    for action in actions:
        verdict = checks.check(action)
        if verdict.action is not None:
            kept.append(verdict.action)
        if verdict.reason is not None:
            notes.append(Note(target=target_of(action), reasons=(verdict.reason,)))
    return Guarded(actions=tuple(kept), notes=tuple(notes))


def target_of(action: AnyAction) -> str:
    """Return what an action is about, as notes name it."""
    for field, kind in (("pod", "pod"), ("workload", "workload"), ("node", "node"), ("group", "group")):
        name = getattr(action, field, "")
        if name:
            return f"{kind}/{name}"
    return f"namespace/{getattr(action, 'namespace', '')}"


class _Checks:
    """Counts what the plan has used up so far; one object a plan."""

    def __init__(
        self, index: SnapshotIndex, governed: Mapping[str, Effective], held: frozenset[str], limits: GuardLimits
    ) -> None:
        self._index, self._governed, self._held, self._limits = index, governed, held, limits
        snapshot = index.snapshot
        present = [node for node in snapshot.nodes if node.registered]
        unready = sum(1 for node in present if not node.ready)
        self._too_unready = len(present) >= 3 and unready > limits.unready_share * len(present)
        self._node_room = max(limits.up_nodes, math.ceil(limits.up_nodes_share * len(snapshot.nodes)))
        self._removal_room = max(limits.down_nodes, math.ceil(limits.down_nodes_share * len(snapshot.nodes)))
        self._evictions = limits.evictions
        self._usd = sum(node.usd_per_hour for node in snapshot.nodes)
        self._budgets = {budget.key: budget.allowed for budget in snapshot.disruption_budgets}
        self._quota_used: dict[tuple[str, str], int] = {}
        self._pods: dict[str, Pod] | None = None
        self._by_kind: dict[type, Callable[..., Verdict]] = {
            SetReplicas: self._replicas,
            SetRequests: self._requests,
            SetGroupSize: self._group_size,
            EvictPod: self._evict,
            CordonNode: self._cordon,
            DeleteInstances: self._delete,
        }

    def check(self, action: AnyAction) -> Verdict:
        rule = self._by_kind.get(type(action))
        return rule(action) if rule is not None else Verdict(action=action)

    def _replicas(self, action: SetReplicas) -> Verdict:
        effective = self._governed.get(action.workload)
        workload = self._index.workloads.get(action.workload)
        if effective is None or workload is None:
            return Verdict(action=None, reason=Reason(Code.GUARD_BOUNDS, "the workload is not governed by any policy"))
        if workload.replicas != action.expected:
            return Verdict(
                action=None, reason=Reason(Code.GUARD_BOUNDS, "the replica count is not what the plan expects")
            )
        limits, current, wanted = effective.spec.constraints.global_, workload.replicas, action.replicas
        reason = None
        low = limits.min_replicas if limits and limits.min_replicas is not None else 0
        high = limits.max_replicas if limits and limits.max_replicas is not None else wanted
        allowed = max(min(wanted, high), min(low, high))
        if allowed != wanted:
            reason = Reason(Code.GUARD_BOUNDS, f"{wanted} cut to {allowed}: the policy allows {low} to {high}")
        if allowed < current:
            allowed, reason = self._shrink(workload, allowed, effective, reason)
        elif allowed > current:
            allowed, reason = self._grow(action.workload, current, allowed, reason)
        if allowed == current or (allowed - current) * (wanted - current) < 0:
            return Verdict(action=None, reason=reason)
        if allowed == wanted:
            return Verdict(action=action, reason=reason)
        share = (allowed - current) / (wanted - current)
        cut = msgspec.structs.replace(action, replicas=allowed, usd_per_hour=action.usd_per_hour * share)
        return Verdict(action=cut, reason=reason)

    def _shrink(
        self, workload: Workload, allowed: int, effective: Effective, reason: Reason | None
    ) -> tuple[int, Reason | None]:
        current = workload.replicas
        if workload.key in self._held:
            return current, Reason(Code.GUARD_MISSING, f"kept at {current}: a metric is missing")
        floor = current - max(1, math.floor(effective.down_share * current))
        if allowed < floor:
            return floor, Reason(Code.GUARD_RATE, f"{allowed} cut to {floor}: the most that may go in one cycle")
        return allowed, reason

    def _grow(self, key: str, current: int, allowed: int, reason: Reason | None) -> tuple[int, Reason | None]:
        ceiling = current + max(self._limits.up_replicas, math.ceil(self._limits.up_share * current))
        if allowed > ceiling:
            allowed, reason = ceiling, Reason(Code.GUARD_RATE, f"cut to {ceiling}: the most that may come in one cycle")
        room, quota = self._quota_room(key, allowed - current)
        if room < allowed - current:
            allowed = current + room
            reason = Reason(Code.GUARD_QUOTA, f"cut to {allowed}: ResourceQuota {quota} leaves no more")
        return allowed, reason

    def _quota_room(self, key: str, wanted: int) -> tuple[int, str]:
        """Return how many more pods the namespace's quotas leave, and count them as used."""
        workload = self._index.workloads[key]
        requests = effective_requests(workload.template)
        room, binding = wanted, ""
        quotas = [quota for quota in self._index.snapshot.quotas if quota.namespace == workload.namespace]
        for quota in quotas:
            for name, hard in quota.hard.items():
                each = _quota_need(name, requests.get)
                if each <= 0:
                    continue
                left = hard - quota.used.get(name) - self._quota_used.get((quota.name, name), 0)
                if left // each < room:
                    room, binding = max(0, left // each), quota.name
        self._use_quotas(quotas, requests.get, room)
        return room, binding

    def _use_quotas(self, quotas: Sequence[Quota], amount: Callable[[str], int], pods: int) -> None:
        for quota in quotas:
            for name in quota.hard.names():
                key = (quota.name, name)
                self._quota_used[key] = self._quota_used.get(key, 0) + pods * max(0, _quota_need(name, amount))

    def _requests(self, action: SetRequests) -> Verdict:
        workload = self._index.workloads.get(action.workload)
        if workload is None or action.workload not in self._governed:
            return Verdict(action=None, reason=Reason(Code.GUARD_BOUNDS, "the workload is not governed by any policy"))
        if action.workload not in self._held:
            return Verdict(action=action)
        now = {container.name: container.requests for container in workload.template.containers}
        growing = tuple(
            size
            for size in action.containers
            if all(amount >= now[size.container].get(name) for name, amount in size.target.items())
        )
        if len(growing) == len(action.containers):
            return Verdict(action=action)
        reason = Reason(Code.GUARD_MISSING, "requests are not lowered: a metric is missing")
        return Verdict(action=msgspec.structs.replace(action, containers=growing) if growing else None, reason=reason)

    def _group_size(self, action: SetGroupSize) -> Verdict:
        group = self._index.groups.get(action.group)
        if group is None or group.target_size != action.expected:
            return Verdict(action=None, reason=Reason(Code.GUARD_BOUNDS, "the group is not what the plan expects"))
        growth = action.size - group.target_size
        if growth <= 0:
            return self._lower_group(action, group)
        room = min(growth, group.max_size - group.target_size, self._node_room)
        code = (
            Code.GUARD_RATE if self._node_room < min(growth, group.max_size - group.target_size) else Code.GUARD_BOUNDS
        )
        if group.usd_per_hour > 0 and math.isfinite(self._limits.usd_per_hour):
            affordable = max(0, math.floor((self._limits.usd_per_hour - self._usd) / group.usd_per_hour + 1e-9))
            if affordable < room:
                room, code = affordable, Code.GUARD_BUDGET
        room = max(room, 0)
        self._node_room -= room
        self._usd += room * group.usd_per_hour
        if room == growth:
            return Verdict(action=action)
        size = group.target_size + room
        reason = Reason(code, f"size {action.size} cut to {size}")
        if room == 0:
            return Verdict(action=None, reason=reason)
        cost = action.usd_per_hour * room / growth
        return Verdict(action=msgspec.structs.replace(action, size=size, usd_per_hour=cost), reason=reason)

    def _lower_group(self, action: SetGroupSize, group: NodeGroup) -> Verdict:
        """Lowering a size lets the cloud choose the victims: never allowed, chosen nodes are deleted instead."""
        return Verdict(
            action=None, reason=Reason(Code.GUARD_BOUNDS, f"group {group.name} shrinks by chosen nodes only")
        )

    def _evict(self, action: EvictPod) -> Verdict:
        pod = self._pod(action.pod)
        if pod is None or (action.uid and pod.uid and pod.uid != action.uid):
            return Verdict(action=None, reason=Reason(Code.GUARD_PDB, "the pod is not the one the plan expects"))
        if self._evictions <= 0:
            return Verdict(action=None, reason=Reason(Code.GUARD_DISRUPTION, "the disruption budget is spent"))
        covering = [
            budget
            for budget in self._index.snapshot.disruption_budgets
            if budget.namespace == pod.namespace
            and budget.selector is not None
            and selector_matches(budget.selector, label_map(pod.shape.labels))
        ]
        if pod.is_ready:
            for budget in covering:
                if self._budgets[budget.key] <= 0:
                    return Verdict(
                        action=None, reason=Reason(Code.GUARD_PDB, f"PodDisruptionBudget {budget.key} allows none")
                    )
            for budget in covering:
                self._budgets[budget.key] -= 1
        self._evictions -= 1
        return Verdict(action=action)

    def _cordon(self, action: CordonNode) -> Verdict:
        if self._too_unready:
            return Verdict(action=None, reason=Reason(Code.GUARD_UNREADY, "too many nodes are not ready"))
        return Verdict(action=action)

    def _delete(self, action: DeleteInstances) -> Verdict:
        group = self._index.groups.get(action.group)
        if self._too_unready:
            return Verdict(action=None, reason=Reason(Code.GUARD_UNREADY, "too many nodes are not ready"))
        if group is None:
            return Verdict(action=None, reason=Reason(Code.GUARD_BOUNDS, "the group is not known"))
        room = min(self._removal_room, group.target_size - group.min_size)
        nodes = action.nodes[: max(room, 0)]
        self._removal_room -= len(nodes)
        if len(nodes) == len(action.nodes):
            return Verdict(action=action)
        reason = Reason(Code.GUARD_RATE, f"{len(action.nodes)} removals cut to {len(nodes)}")
        if not nodes:
            return Verdict(action=None, reason=reason)
        cost = action.usd_per_hour * len(nodes) / len(action.nodes)
        return Verdict(action=msgspec.structs.replace(action, nodes=nodes, usd_per_hour=cost), reason=reason)

    def _pod(self, key: str) -> Pod | None:
        if self._pods is None:
            self._pods = {pod.key: pod for pod in self._index.snapshot.pods}
        return self._pods.get(key)


def _quota_need(name: str, amount: Callable[[str], int]) -> int:
    """Return what one pod takes of a quota's resource (`pods`, `requests.cpu`, `cpu`, ...)."""
    if name in ("pods", "count/pods"):
        return 1
    if name.startswith("limits."):
        return 0
    return amount(name.removeprefix("requests."))
