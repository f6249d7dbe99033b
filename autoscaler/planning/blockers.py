"""
What forbids removing a node or evicting a pod, by name.

Reasons carry Cluster Autoscaler's own words (`simulator/cluster.go`,
UnremovableReason, and `utils/drain`, BlockingPodReason; 1.36), with the object
that blocks. Pods of DaemonSets and mirror pods go with their node; pods that
have ended or are being deleted need no move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.workload import DisruptionBudget
from autoscaler.scheduling.requirements import label_map, selector_matches

SYSTEM_NAMESPACE = "kube-system"
NODE_OWNERS = frozenset({"DaemonSet", "Node"})
"""Owner kinds of pods that live and die with their node; `Node` owns mirror pods."""


class EvictionRules(msgspec.Struct, frozen=True, kw_only=True):
    """What may be moved. Off by default, as in Cluster Autoscaler (`skip-nodes-with-...` flags)."""

    local_storage: bool = False
    """Pods whose emptyDir or hostPath data would be lost."""
    unowned: bool = False
    """Pods that nothing would create again."""
    system_without_budget: bool = False
    """Pods of kube-system that no PodDisruptionBudget covers."""


class Blocker(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`target` is the blocking object as notes name it; `reason` the peer's word for it."""

    reason: str
    target: str
    message: str

    def as_reason(self) -> Reason:
        return Reason(Code.NODE_BLOCKED, self.message, (("blocker", self.target), ("reason", self.reason)))


class Headroom:
    """
    How many evictions each PodDisruptionBudget still allows.

    Counts what is taken, so one object serves one cycle. The eviction API
    refuses a pod that more than one budget selects, and so does this.
    """

    def __init__(self, budgets: Iterable[DisruptionBudget]) -> None:
        self._by_namespace: dict[str, list[DisruptionBudget]] = {}
        self._allowed: dict[str, int] = {}
        self._of_shape: dict[PodShape, tuple[DisruptionBudget, ...]] = {}
        for budget in sorted(budgets, key=lambda budget: budget.key):
            self._by_namespace.setdefault(budget.namespace, []).append(budget)
            self._allowed[budget.key] = budget.allowed

    def copy(self) -> Headroom:
        """Return headroom of the same budgets that counts on its own from here."""
        twin = Headroom(())
        twin._by_namespace, twin._of_shape = self._by_namespace, self._of_shape
        twin._allowed = self._allowed.copy()
        return twin

    def covering(self, shape: PodShape) -> tuple[DisruptionBudget, ...]:
        """Return the budgets that select pods of a shape, by name."""
        found = self._of_shape.get(shape)
        if found is None:
            budgets = self._by_namespace.get(shape.namespace, ())
            labels = label_map(shape.labels)
            found = tuple(budget for budget in budgets if selector_matches(budget.selector, labels))
            self._of_shape[shape] = found
        return found

    def blocker(self, pod: Pod) -> Blocker | None:
        """Return the budget that allows no eviction of this pod now, None if all do."""
        budgets = self.covering(pod.shape)
        if len(budgets) > 1:
            names = " and ".join(budget.key for budget in budgets)
            return _blocks(f"pdb/{budgets[0].key}", "NotEnoughPdb", f"pod {pod.key} is covered by two budgets: {names}")
        for budget in budgets:
            if self._allowed[budget.key] < 1:
                return _blocks(
                    f"pdb/{budget.key}",
                    "NotEnoughPdb",
                    f"PodDisruptionBudget {budget.key} allows no eviction of pod {pod.key} now",
                )
        return None

    def take(self, pod: Pod) -> None:
        """Count one eviction."""
        for budget in self.covering(pod.shape):
            self._allowed[budget.key] -= 1


def goes_with_node(pod: Pod) -> bool:
    """Tell whether a pod lives and dies with its node, so that it neither blocks nor moves."""
    return pod.shape.owner_kind in NODE_OWNERS


def must_move(pod: Pod) -> bool:
    """Tell whether a pod on a node has to be placed elsewhere before the node can go."""
    return pod.is_active and not goes_with_node(pod)


def pod_blocker(pod: Pod, headroom: Headroom, rules: EvictionRules) -> Blocker | None:
    """
    Return why a pod may not be evicted, None if it may.

    The first rule that applies counts, in this order: it goes by itself (never
    blocks), forbidden by annotation, owned by nothing, a system pod without a
    budget, local storage, devices by claim, no room in its disruption budget.
    """
    if not must_move(pod):
        return None
    return _own_blocker(pod, headroom, rules) or headroom.blocker(pod)


def permanent_pod_blocker(pod: Pod, headroom: Headroom, rules: EvictionRules) -> Blocker | None:
    """Return `pod_blocker` without the disruption budgets, which open again by themselves."""
    return _own_blocker(pod, headroom, rules) if must_move(pod) else None


def node_blocker(
    node: Node, pods: Sequence[Pod], group: NodeGroup | None, *, size: int, headroom: Headroom, rules: EvictionRules
) -> Blocker | None:
    """
    Return why a node may not be removed, None if it may.

    *pods* are those on it, *size* is the group's target after what this plan
    has already changed. Whether the pods fit elsewhere is not asked here.
    """
    itself = f"node/{node.name}"
    if node.do_not_remove:
        return _blocks(itself, "ScaleDownDisabledAnnotation", f"{node.do_not_remove} forbids the node's removal")
    if node.deleting:
        return _blocks(itself, "CurrentlyBeingDeleted", "the node is being deleted")
    if group is None:
        return _blocks(itself, "NotAutoscaled", "the node belongs to no group that may be sized")
    if size <= group.min_size:
        message = f"group {group.name} is at its minimum of {group.min_size}"
        return _blocks(f"group/{group.name}", "NodeGroupMinSizeReached", message)
    for pod in pods:
        blocker = pod_blocker(pod, headroom, rules)
        if blocker is not None:
            return blocker
    return None


def _own_blocker(pod: Pod, headroom: Headroom, rules: EvictionRules) -> Blocker | None:
    target, shape = f"pod/{pod.key}", pod.shape
    if pod.do_not_evict:
        return _blocks(target, "NotSafeToEvictAnnotation", f"{pod.do_not_evict} forbids the eviction of pod {pod.key}")
    if not shape.owner_kind and not rules.unowned:
        return _blocks(target, "NotReplicated", f"pod {pod.key} has no controller that would create it again")
    if shape.namespace == SYSTEM_NAMESPACE and not rules.system_without_budget and not headroom.covering(shape):
        message = f"pod {pod.key} is a system pod without a PodDisruptionBudget"
        return _blocks(target, "UnmovableKubeSystemPod", message)
    if shape.local_storage and not rules.local_storage:
        return _blocks(target, "LocalStorageRequested", f"pod {pod.key} would lose its local storage")
    if shape.device_claims:
        return _blocks(target, "DeviceClaims", f"pod {pod.key} has devices that may be nowhere else")
    return None


def _blocks(target: str, reason: str, message: str) -> Blocker:
    return Blocker(reason=reason, target=target, message=message)
