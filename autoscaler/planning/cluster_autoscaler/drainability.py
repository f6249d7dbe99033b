"""
May a pod leave its node, must it be placed elsewhere, or does it keep the node: Cluster Autoscaler's drain rules.

Rules are asked in order and the first with an answer counts. Sources:
`simulator/drain.go` (GetPodsToMove), `simulator/drainability/rules/**`,
`utils/drain/drain.go`, `core/scaledown/pdb/basic.go`, 1.36.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

import msgspec

from autoscaler.model.pod import Phase, Pod, PodShape
from autoscaler.model.workload import DisruptionBudget
from autoscaler.planning.blockers import SYSTEM_NAMESPACE, Blocker, Headroom

LONG_TERMINATING_SECONDS = 30.0
"""A pod still there so long after its grace period has run out counts as gone."""
REPLICATED_KINDS = frozenset({"ReplicationController", "Job", "ReplicaSet", "StatefulSet"})
_CHECKED_KINDS = REPLICATED_KINDS | {"DaemonSet", "Deployment"}
_DAEMON_SET = "DaemonSet"
_APPS = "apps"

Owners = Mapping[str, int | None]
"""Controllers that exist, by workload key, with the replicas they want (None: not said)."""


class Leaves(enum.StrEnum):
    """What becomes of a pod when its node is drained."""

    MOVES = "Moves"
    """It has to be placed elsewhere."""
    GOES = "Goes"
    """It belongs to a DaemonSet and goes with the node."""
    SKIPPED = "Skipped"
    """It is nobody's concern: a mirror pod, or one that is as good as gone."""
    COMPLETES = "Completes"
    """The node waits until it has ended by itself."""
    BLOCKS = "Blocks"
    """It keeps the node."""


class DrainRules(msgspec.Struct, frozen=True, kw_only=True):
    """Cluster Autoscaler's flags of the same names. `blocking_system_pod_seconds`: such a pod blocks no longer."""

    skip_nodes_with_system_pods: bool = True
    skip_nodes_with_local_storage: bool = True
    skip_nodes_with_custom_controller_pods: bool = True
    min_replica_count: int = 0
    blocking_system_pod_seconds: float = 3600.0


class Fate(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one pod; `blocker` where it blocks."""

    leaves: Leaves
    blocker: Blocker | None = None


class PodsToMove(msgspec.Struct, frozen=True, kw_only=True):
    """The pods of a node by what becomes of them; with a `blocker` pod `kept_by` keeps it, and the rest is left out."""

    moves: tuple[Pod, ...] = ()
    daemons: tuple[Pod, ...] = ()
    completing: tuple[Pod, ...] = ()
    blocker: Blocker | None = None
    kept_by: Pod | None = None


class RemainingBudgets:
    """
    How many evictions each PodDisruptionBudget still allows in this cycle's plans.

    Unlike `Headroom` a pod may be covered by several budgets: the peer asks
    each of them, whatever the eviction API will say.
    """

    def __init__(self, budgets: Iterable[DisruptionBudget]) -> None:
        budgets = tuple(budgets)
        self._headroom = Headroom(budgets)
        self._left = {budget.key: budget.allowed for budget in budgets}

    def covering(self, shape: PodShape) -> tuple[DisruptionBudget, ...]:
        return self._headroom.covering(shape)

    def spent(self, shape: PodShape) -> DisruptionBudget | None:
        """Return a budget that covers the pod and allows nothing more."""
        return next((budget for budget in self.covering(shape) if self._left[budget.key] < 1), None)

    def allow_at_once(self, pods: Iterable[Pod]) -> bool:
        """Tell whether all *pods* may be evicted together."""
        wanted: dict[str, int] = {}
        for pod in pods:
            for budget in self.covering(pod.shape):
                wanted[budget.key] = wanted.get(budget.key, 0) + 1
        return all(self._left[key] >= count for key, count in wanted.items())

    def take(self, pods: Iterable[Pod]) -> None:
        for pod in pods:
            for budget in self.covering(pod.shape):
                self._left[budget.key] -= 1


def pods_to_move(
    pods: Iterable[Pod], rules: DrainRules, budgets: RemainingBudgets, *, owners: Owners | None, now: float
) -> PodsToMove:
    """
    Return what becomes of the pods on a node, up to the first that keeps it.

    Args:
        pods: in the order in which to look at them.
        rules: what may block.
        budgets: what evictions are left.
        owners: controllers that exist; None where that is not known, and not asked.
        now: epoch seconds.
    """
    found: dict[Leaves, list[Pod]] = {each: [] for each in Leaves}
    for pod in pods:
        fate = fate_of(pod, rules, budgets, owners=owners, now=now)
        if fate.leaves is Leaves.BLOCKS:
            return PodsToMove(blocker=fate.blocker, kept_by=pod)
        found[fate.leaves].append(pod)
    return PodsToMove(
        moves=tuple(found[Leaves.MOVES]),
        daemons=tuple(found[Leaves.GOES]),
        completing=tuple(found[Leaves.COMPLETES]),
    )


def fate_of(pod: Pod, rules: DrainRules, budgets: RemainingBudgets, *, owners: Owners | None, now: float) -> Fate:
    """Return what becomes of one pod; see `pods_to_move`."""
    if pod.drain.mirror or is_long_terminating(pod, now):
        return Fate(Leaves.SKIPPED)
    if rules.skip_nodes_with_custom_controller_pods and owners is not None:
        blocker = _owner_blocker(pod, rules, owners)
        if blocker is not None:
            return Fate(Leaves.BLOCKS, blocker)
    if is_daemon(pod):
        return Fate(Leaves.GOES)
    if pod.drain.safe_to_evict == "true" or _is_terminal(pod):
        return Fate(Leaves.MOVES)
    if pod.drain.safe_to_evict == "on-completion":
        return Fate(Leaves.COMPLETES)
    return _fate_by_blocking_rules(pod, rules, budgets, now=now)


def is_daemon(pod: Pod) -> bool:
    """Tell whether a pod counts as a DaemonSet's, by its owner or by annotation."""
    return pod.shape.owner_kind == _DAEMON_SET or pod.drain.daemon


def is_long_terminating(pod: Pod, now: float) -> bool:
    """Tell whether a pod should have been gone long ago."""
    return pod.deleted_at is not None and pod.deleted_at + pod.drain.grace_seconds + LONG_TERMINATING_SECONDS < now


def _fate_by_blocking_rules(pod: Pod, rules: DrainRules, budgets: RemainingBudgets, *, now: float) -> Fate:
    shape = pod.shape
    kind_counts = not rules.skip_nodes_with_custom_controller_pods or shape.owner_kind in REPLICATED_KINDS
    if not (shape.owner_kind and kind_counts):
        return _blocks(pod, "NotReplicated", f"pod {pod.key} has no controller that would create it again")
    if rules.skip_nodes_with_system_pods and pod.namespace == SYSTEM_NAMESPACE and not budgets.covering(shape):
        if pod.created_at > 0 and now > pod.created_at + rules.blocking_system_pod_seconds:
            return Fate(Leaves.MOVES)
        return _blocks(pod, "UnmovableKubeSystemPod", f"pod {pod.key} is a system pod without a PodDisruptionBudget")
    if pod.drain.safe_to_evict == "false" or pod.do_not_evict:
        return _blocks(pod, "NotSafeToEvictAnnotation", f"an annotation forbids the eviction of pod {pod.key}")
    if rules.skip_nodes_with_local_storage and shape.local_storage:
        return _blocks(pod, "LocalStorageRequested", f"pod {pod.key} would lose its local storage")
    if shape.device_claims:
        return _blocks(pod, "DeviceClaims", f"pod {pod.key} has devices that may be nowhere else")
    spent = budgets.spent(shape)
    if spent is not None:
        message = f"PodDisruptionBudget {spent.key} allows no eviction of pod {pod.key} now"
        return _blocks(pod, "NotEnoughPdb", message, target=f"pdb/{spent.key}")
    return Fate(Leaves.MOVES)


def _owner_blocker(pod: Pod, rules: DrainRules, owners: Owners) -> Blocker | None:
    """Say that the pod's controller is gone, or wants fewer pods than may be disturbed; None if neither."""
    kind = pod.shape.owner_kind
    if not pod.workload or pod.workload.split("/")[1] not in _CHECKED_KINDS:
        return None
    if kind != "ReplicationController":
        if is_daemon(pod) and (kind != _DAEMON_SET or pod.drain.owner_group != _APPS):
            return None
        if kind == "StatefulSet" and pod.drain.owner_group != _APPS:
            return None
    if pod.workload not in owners:
        return _blocks(pod, "ControllerNotFound", f"the controller of pod {pod.key} is gone").blocker
    replicas = owners[pod.workload]
    counted = kind in ("ReplicationController", "ReplicaSet")
    if counted and replicas is not None and replicas < rules.min_replica_count:
        message = f"the controller of pod {pod.key} wants {replicas} pods, fewer than {rules.min_replica_count}"
        return _blocks(pod, "MinReplicasReached", message).blocker
    return None


def _is_terminal(pod: Pod) -> bool:
    """Tell whether a pod has ended for good."""
    if pod.phase is Phase.SUCCEEDED:
        return pod.drain.restart_policy in ("Never", "OnFailure")
    return pod.phase is Phase.FAILED


def _blocks(pod: Pod, reason: str, message: str, *, target: str = "") -> Fate:
    return Fate(Leaves.BLOCKS, Blocker(reason=reason, target=target or f"pod/{pod.key}", message=message))
