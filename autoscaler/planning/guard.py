"""
The last check, with its own eyes: it knows the snapshot and the policies, and
nothing of the planners. It may drop or shrink actions, never add or enlarge one.

What it checks (design, section 8): bounds, change per cycle, missing data,
PodDisruptionBudgets, the disruption budget shared by pods and nodes, group
sizes, nodes not ready, ResourceQuotas and LimitRanges, the money budget, other
autoscalers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from autoscaler.model.bounds import request_bounds
from autoscaler.model.node import NodeGroup
from autoscaler.model.plan import (
    AnyAction,
    CordonNode,
    DeleteInstances,
    EvictPod,
    Note,
    ResizePod,
    SetGroupSize,
    SetReplicas,
    SetRequests,
)
from autoscaler.model.pod import Container, Pod, PodShape
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources, format_amount
from autoscaler.model.workload import DisruptionBudget, LimitRange, Quota, Workload
from autoscaler.planning.effective import Effective
from autoscaler.planning.guard_ranges import outside_range
from autoscaler.planning.guard_rivals import RivalChecks
from autoscaler.planning.index import SnapshotIndex
from autoscaler.scheduling.requests import containers_limits, effective_requests
from autoscaler.scheduling.requirements import label_map, selector_matches

_OF_THE_NODE = ("DaemonSet", "Node")
"""Owners of pods that a node takes with it: DaemonSets, and the node itself (mirror pods)."""


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
        self._budgets_of: dict[str, list[DisruptionBudget]] = {}
        for budget in snapshot.disruption_budgets:
            self._budgets_of.setdefault(budget.namespace, []).append(budget)
        self._sizes_now = {name: group.target_size for name, group in index.groups.items()}
        self._quota_used: dict[tuple[str, str, str], int] = {}
        self._pods: dict[str, dict[str, Pod]] = {}
        self._used: frozenset[str] | None = None
        self._rivals = RivalChecks(index, governed)
        self._ranges: dict[str, list[LimitRange]] = {}
        for one in snapshot.limit_ranges:
            self._ranges.setdefault(one.namespace, []).append(one)
        self._by_kind: dict[type, Callable[..., Verdict]] = {
            SetReplicas: self._replicas,
            SetRequests: self._requests,
            ResizePod: self._resize,
            SetGroupSize: self._group_size,
            EvictPod: self._evict,
            CordonNode: self._cordon,
            DeleteInstances: self._delete,
        }

    def check(self, action: AnyAction) -> Verdict:
        contested = self._rivals.why_not(action)
        if contested is not None:
            return Verdict(action=None, reason=contested)
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
        high = limits.max_replicas if limits and limits.max_replicas is not None else max(current, wanted)
        # Outside the bounds it may stay or come nearer, but not be sent further than the plan asks.
        allowed = min(wanted, max(high, current)) if wanted > current else max(wanted, min(low, current))
        if allowed != wanted:
            reason = Reason(Code.GUARD_BOUNDS, f"{wanted} cut to {allowed}: the policy allows {low} to {high}")
        if allowed < current:
            allowed, reason = self._shrink(workload, allowed, effective, reason)
        elif allowed > current:
            allowed, reason = self._grow(action.workload, current, allowed, reason)
        if allowed == current:
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
        room, binding = wanted, ""
        quotas = [quota for quota in self._index.snapshot.quotas if quota.namespace == workload.namespace]
        for quota in quotas:
            for name, hard in quota.hard.items():
                each = _quota_need(name, workload.template)
                if each <= 0:
                    continue
                left = hard - quota.used.get(name) - self._quota_used.get((quota.namespace, quota.name, name), 0)
                if left // each < room:
                    room, binding = max(0, left // each), quota.name
        self._use_quotas(quotas, workload.template, room)
        return room, binding

    def _use_quotas(self, quotas: Sequence[Quota], shape: PodShape, pods: int) -> None:
        for quota in quotas:
            for name in quota.hard.names():
                key = (quota.namespace, quota.name, name)
                self._quota_used[key] = self._quota_used.get(key, 0) + pods * max(0, _quota_need(name, shape))

    def _requests(self, action: SetRequests) -> Verdict:
        workload = self._index.workloads.get(action.workload)
        return self._sizes(action, workload.template.containers if workload is not None else ())

    def _resize(self, action: ResizePod) -> Verdict:
        pod = self._pod(action.pod, action.workload)
        return self._sizes(action, pod.shape.containers if pod is not None else ())

    def _sizes(self, action: SetRequests | ResizePod, containers: Sequence[Container]) -> Verdict:
        effective = self._governed.get(action.workload)
        if effective is None or not containers:
            return Verdict(action=None, reason=Reason(Code.GUARD_BOUNDS, "the workload is not governed by any policy"))
        now = {container.name: container.requests for container in containers}
        refused = outside_range(action.containers, containers, self._ranges.get(action.workload.partition("/")[0], ()))
        if refused is not None:
            return Verdict(action=None, reason=refused)
        kept, reason = [], None
        for size in action.containers:
            problem = self._why_not(size, now.get(size.container), effective)
            if problem is None:
                kept.append(size)
            reason = reason or problem
        if reason is None:
            return Verdict(action=action)
        left = msgspec.structs.replace(action, containers=tuple(kept)) if kept else None
        return Verdict(action=left, reason=reason)

    def _why_not(self, size: ContainerSize, now: Resources | None, effective: Effective) -> Reason | None:
        """Return what forbids a size: it must neither leave the bounds nor, without data, shrink."""
        if now is None:
            return Reason(Code.GUARD_BOUNDS, f"there is no container {size.container}")
        low, high = request_bounds(effective.spec.constraints, size.container)
        for name, amount in size.target.items():
            asked = now.get(name)
            if amount < asked and effective.workload in self._held:
                return Reason(Code.GUARD_MISSING, "requests are not lowered: a metric is missing")
            beyond = asked < amount and 0 < high.get(name) < amount
            if beyond or (amount < low.get(name) and amount < asked):
                text = format_amount(name, amount)
                return Reason(Code.GUARD_BOUNDS, f"{name} {text} of container {size.container} is out of bounds")
        return None

    def _group_size(self, action: SetGroupSize) -> Verdict:
        group, size = self._index.groups.get(action.group), self._sizes_now.get(action.group)
        if group is None or size != action.expected:
            return Verdict(action=None, reason=Reason(Code.GUARD_BOUNDS, "the group is not what the plan expects"))
        growth = action.size - size
        if growth <= 0:
            return self._lower_group(action, group)
        room, code = group.max_size - size, Code.GUARD_BOUNDS
        if self._node_room < min(growth, room):
            room, code = self._node_room, Code.GUARD_RATE
        if group.usd_per_hour > 0 and math.isfinite(self._limits.usd_per_hour):
            affordable = max(0, math.floor((self._limits.usd_per_hour - self._usd) / group.usd_per_hour + 1e-9))
            if affordable < min(growth, room):
                room, code = affordable, Code.GUARD_BUDGET
        room = max(0, min(room, growth))
        self._node_room -= room
        self._usd += room * group.usd_per_hour
        self._sizes_now[action.group] = size + room
        if room == growth:
            return Verdict(action=action)
        reason = Reason(code, f"size {action.size} cut to {size + room}")
        if room == 0:
            return Verdict(action=None, reason=reason)
        cost = action.usd_per_hour * room / growth
        return Verdict(action=msgspec.structs.replace(action, size=size + room, usd_per_hour=cost), reason=reason)

    def _lower_group(self, action: SetGroupSize, group: NodeGroup) -> Verdict:
        """Lowering a size lets the cloud choose the victims: never allowed, chosen nodes are deleted instead."""
        return Verdict(
            action=None, reason=Reason(Code.GUARD_BOUNDS, f"group {group.name} shrinks by chosen nodes only")
        )

    def _evict(self, action: EvictPod) -> Verdict:
        pod = self._pod(action.pod, action.workload)
        if pod is None or (action.uid and pod.uid and pod.uid != action.uid):
            return Verdict(action=None, reason=Reason(Code.GUARD_PDB, "the pod is not the one the plan expects"))
        if self._evictions <= 0:
            return Verdict(action=None, reason=Reason(Code.GUARD_DISRUPTION, "the disruption budget is spent"))
        if pod.is_ready:
            labels = label_map(pod.shape.labels)
            covering = [
                budget.key
                for budget in self._budgets_of.get(pod.namespace, ())
                if budget.selector is not None and selector_matches(budget.selector, labels)
            ]
            for key in covering:
                if self._budgets[key] <= 0:
                    return Verdict(action=None, reason=Reason(Code.GUARD_PDB, f"PodDisruptionBudget {key} allows none"))
            for key in covering:
                self._budgets[key] -= 1
        self._evictions -= 1
        return Verdict(action=action)

    def _cordon(self, action: CordonNode) -> Verdict:
        if self._too_unready:
            return Verdict(action=None, reason=Reason(Code.GUARD_UNREADY, "too many nodes are not ready"))
        return Verdict(action=action)

    def _delete(self, action: DeleteInstances) -> Verdict:
        group, size = self._index.groups.get(action.group), self._sizes_now.get(action.group)
        if self._too_unready:
            return Verdict(action=None, reason=Reason(Code.GUARD_UNREADY, "too many nodes are not ready"))
        if group is None or size is None or size != action.expected:
            return Verdict(action=None, reason=Reason(Code.GUARD_BOUNDS, "the group is not what the plan expects"))
        nodes = tuple(name for name in action.nodes if name not in self._in_use())
        reason = None if len(nodes) == len(action.nodes) else Reason(Code.GUARD_DISRUPTION, "pods run on a node")
        room = max(0, min(self._removal_room, size - group.min_size))
        if room < len(nodes):
            nodes, reason = nodes[:room], Reason(Code.GUARD_RATE, f"{len(action.nodes)} removals cut to {room}")
        self._removal_room -= len(nodes)
        self._sizes_now[action.group] = size - len(nodes)
        if reason is None:
            return Verdict(action=action)
        if not nodes:
            return Verdict(action=None, reason=reason)
        cost = action.usd_per_hour * len(nodes) / len(action.nodes)
        return Verdict(action=msgspec.structs.replace(action, nodes=nodes, usd_per_hour=cost), reason=reason)

    def _in_use(self) -> frozenset[str]:
        """Return the healthy nodes with pods on them that do not simply go with their node."""
        if self._used is None:
            snapshot = self._index.snapshot
            occupied = {
                pod.node
                for pod in snapshot.pods
                if pod.node and pod.is_active and pod.shape.owner_kind not in _OF_THE_NODE
            }
            self._used = frozenset(node.name for node in snapshot.nodes if node.ready and node.name in occupied)
        return self._used

    def _pod(self, key: str, workload: str) -> Pod | None:
        if workload not in self._pods:
            self._pods[workload] = {pod.key: pod for pod in self._index.pods_of(workload)}
        return self._pods[workload].get(key)


def _quota_need(name: str, shape: PodShape) -> int:
    """Return what one pod takes of a quota's resource (`pods`, `requests.cpu`, `limits.memory`, `cpu`, ...)."""
    if name in ("pods", "count/pods"):
        return 1
    if name.startswith("limits."):
        return containers_limits(shape).get(name.removeprefix("limits."))
    return effective_requests(shape).get(name.removeprefix("requests."))
