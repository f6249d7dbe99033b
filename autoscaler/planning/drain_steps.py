"""The next step for each node that is being taken out, within what budgets allow this cycle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.plan import CordonNode, DeleteInstances, EvictPod, Note, SetGroupSize, UncordonNode
from autoscaler.model.pod import Phase, Pod
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import NodeMemory
from autoscaler.planning.blockers import Blocker, Headroom, goes_with_node, must_move
from autoscaler.planning.removals import Growth, Removal, RemovalPlan, RemovalRules

_SPENT = Blocker(
    reason="DisruptionBudget", target="policy", message="the policy's disruption budget allows no more evictions now"
)
CONTINUED = Reason(Code.PODS_FIT_ELSEWHERE, "the node is being drained")


class Steps:
    """
    Collects the actions of one cycle; mutable.

    *sizes* are the groups' sizes as they will be, and are counted down. *pods*
    is how many evictions may be made to save money; forced drains are free of it.
    """

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        *,
        groups: Mapping[str, NodeGroup],
        sizes: dict[str, int],
        headroom: Headroom,
        rules: RemovalRules,
        pods: int,
    ) -> None:
        self._snapshot, self._groups, self.sizes, self._rules = snapshot, groups, sizes, rules
        self._headroom, self._pods_left = headroom, pods
        self._away: dict[str, list[int]] | None = None
        self.notes: list[Note] = []
        self._grown: list[SetGroupSize] = []
        self._cordons: list[CordonNode | UncordonNode] = []
        self._evictions: list[EvictPod] = []
        self._deleted: dict[str, list[tuple[Node, Reason]]] = {}

    @property
    def evictions_left(self) -> int:
        """How many more pods may be evicted in this cycle to save money."""
        return self._pods_left

    def grow(self, removal: Removal, reason: Reason) -> Growth:
        """Ask for the nodes that a repack needs; return (group, ready nodes to wait for)."""
        awaited = []
        for group, count in removal.growth:
            size = self.sizes[group]
            self.sizes[group] = size + count
            usd = self._groups[group].usd_per_hour * count
            self._grown.append(
                SetGroupSize(group=group, size=size + count, expected=size, reasons=(reason,), usd_per_hour=usd)
            )
            ready = sum(1 for node in self._snapshot.nodes if node.group == group and node.ready and not node.deleting)
            awaited.append((group, ready + count))
        return tuple(awaited)

    def cordon(self, node: Node, reason: Reason) -> None:
        """Let no more pods on the node, and no more than that."""
        if not node.unschedulable:
            self._cordons.append(CordonNode(node=node.name, reasons=(reason,)))

    def step(self, node: Node, pods: Sequence[Pod], reason: Reason | None, *, forced: bool = False) -> None:
        """Cordon, evict or delete, whichever is next; *reason* None goes on with what was begun."""
        why = reason or CONTINUED
        unreachable = not node.ready or not node.registered
        if not node.unschedulable and not unreachable:
            self._cordons.append(CordonNode(node=node.name, reasons=(why,)))
        moving = [pod for pod in pods if must_move(pod)]
        if moving:
            self._evict(node, moving, why, forced=forced)
        elif (node.unschedulable and not any(map(self._is_ending, pods))) or unreachable:
            self._delete(node, why)

    def give_up(self, node: Node, reason: Reason) -> None:
        """Let pods on the node again."""
        if node.unschedulable:
            self._cordons.append(UncordonNode(node=node.name, reasons=(reason,)))
        self.notes.append(Note(target=f"node/{node.name}", reasons=(reason,)))

    def plan(self, memory: Mapping[str, NodeMemory], *, consolidated: bool) -> RemovalPlan:
        """Return all steps in order."""
        deletions = []
        for group, gone in sorted(self._deleted.items()):
            names = tuple(sorted(node.name for node, _ in gone))
            reasons = tuple(dict.fromkeys(reason for _, reason in gone))
            # A price that is not known is no reason to keep a lost node, and no figure to report.
            usd = -sum(node.usd_per_hour for node, _ in gone if math.isfinite(node.usd_per_hour))
            expected = self.sizes[group] + len(names)
            deletions.append(
                DeleteInstances(group=group, nodes=names, expected=expected, reasons=reasons, usd_per_hour=usd)
            )
        return RemovalPlan(
            actions=(*self._grown, *self._cordons, *self._evictions, *deletions),
            memory=tuple(memory[name] for name in sorted(memory)),
            notes=tuple(self.notes),
            consolidated=consolidated,
        )

    def _evict(self, node: Node, moving: Sequence[Pod], reason: Reason, *, forced: bool) -> None:
        """Evict what may go now; the least important pods first."""
        held: Blocker | None = None
        for pod in sorted(moving, key=lambda pod: (pod.shape.priority, pod.key)):
            if not forced and self._pods_left <= 0:
                held = held or _SPENT
                break
            blocker = _banned(pod) or self._headroom.blocker(pod)
            if blocker is not None:
                held = held or blocker
                continue
            if not forced and not self._spares(pod):
                continue
            self._headroom.take(pod)
            self._pods_left -= 0 if forced else 1
            self._evictions.append(
                EvictPod(pod=pod.key, uid=pod.uid, workload=pod.workload, node=node.name, reasons=(reason,))
            )
        if held is not None:
            self.notes.append(Note(target=f"node/{node.name}", reasons=(held.as_reason(),)))

    def _spares(self, pod: Pod) -> bool:
        """Tell whether a workload can spare a pod now, and count it: so many of its pods may be away at once."""
        if not pod.workload or not pod.is_ready:
            return True
        if self._away is None:
            self._away = {}
            for each in self._snapshot.pods:
                if each.is_active and each.workload:
                    counts = self._away.setdefault(each.workload, [0, 0])
                    counts[0] += 1
                    counts[1] += not each.is_ready
        counts = self._away[pod.workload]
        if counts[1] >= max(1, int(counts[0] * self._rules.workload_share)):
            return False
        counts[1] += 1
        return True

    def _delete(self, node: Node, reason: Reason) -> None:
        group = self._groups.get(node.group)
        if group is None:
            message = "the node belongs to no group that may be sized"
            blocker = Blocker(reason="NotAutoscaled", target=f"node/{node.name}", message=message)
        elif self.sizes[node.group] <= group.min_size:
            message = f"group {group.name} is at its minimum of {group.min_size}"
            blocker = Blocker(reason="NodeGroupMinSizeReached", target=f"group/{group.name}", message=message)
        else:
            self.sizes[node.group] -= 1
            self._deleted.setdefault(node.group, []).append((node, reason))
            return
        self.notes.append(Note(target=f"node/{node.name}", reasons=(blocker.as_reason(),)))

    def _is_ending(self, pod: Pod) -> bool:
        """Tell whether a deleted pod may still need its node to end in good order."""
        if pod.deleted_at is None or goes_with_node(pod) or pod.phase in (Phase.SUCCEEDED, Phase.FAILED):
            return False
        return not self._snapshot.observed_at >= pod.deleted_at + self._rules.termination_seconds


def describe(removal: Removal) -> Reason:
    """Say why nodes go, in a sentence with the figures."""
    detail = (("net_usd", f"{removal.net_usd:.4f}"), ("pods", str(removal.pods)))
    saved = f"saves {-removal.usd_per_hour:.4f} USD an hour"
    if removal.code is Code.EMPTY_NODE:
        return Reason(removal.code, f"the node holds no pods; its removal {saved}", detail)
    if removal.code is Code.CHEAPER_REPACK:
        bought = " and ".join(f"{count} of {group}" for group, count in removal.growth) or "no new node"
        return Reason(removal.code, f"{len(removal.nodes)} nodes give way to {bought}: {saved}", detail)
    pods = "pod fits on another node" if removal.pods == 1 else f"{removal.pods} pods fit on other nodes"
    return Reason(removal.code, f"its {pods}; its removal {saved}", detail)


def _banned(pod: Pod) -> Blocker | None:
    if not pod.do_not_evict:
        return None
    message = f"{pod.do_not_evict} forbids the eviction of pod {pod.key}"
    return Blocker(reason="NotSafeToEvictAnnotation", target=f"pod/{pod.key}", message=message)
