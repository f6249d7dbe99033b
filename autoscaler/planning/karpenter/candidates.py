"""
Which nodes may be disrupted, what each costs, and what it would cost to disturb its pods.

Source: Karpenter `pkg/controllers/disruption/types.go` (NewCandidate,
SavingsRatio, IsEmpty), `pkg/controllers/state/statenode.go`
(ValidateNodeDisruptable, ValidatePodsDisruptable), `pkg/utils/pod/scheduling.go`,
`pkg/utils/pdb/pdb.go` and `pkg/controllers/nodeclaim/disruption/consolidation.go`,
main of 2026-08-20.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.placement import Effect, Taint
from autoscaler.model.pod import Pod
from autoscaler.model.state import NodeMemory
from autoscaler.planning.blockers import Blocker, Headroom
from autoscaler.planning.karpenter.claims import NodePool
from autoscaler.planning.karpenter.requirements import CAPACITY_TYPE
from autoscaler.planning.karpenter.taints import tolerates_all
from autoscaler.planning.node_worth import disruption_cost
from autoscaler.scheduling.topology import ZONE

DISRUPTED = Taint("karpenter.sh/disrupted", Effect.NO_SCHEDULE)
"""What the peer puts on a node on its way out: pods that tolerate it are not evicted."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """
    A node that may be disrupted, unless something is in the way.

    `pods` are those that would need another place. `disruption` is 1 and what
    it costs to evict them, `usd_per_hour` what the node costs, 0 where that is
    not known. `type` is "" for a machine that the pool does not offer.

    `blocker` forbids every disruption, `pod_blocker` those that are not due in
    any case. `changed_at` is when a pod last came, ended or left (epoch seconds).
    """

    node: Node
    pool: str
    type: str = ""
    usd_per_hour: float = 0.0
    pods: tuple[Pod, ...] = ()
    disruption: float = 1.0
    blocker: Blocker | None = None
    pod_blocker: Blocker | None = None
    changed_at: float = 0.0

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def is_empty(self) -> bool:
        """Tell whether disturbing it costs nothing: no pods, or only such as cost nothing to evict."""
        return self.disruption <= 1.0

    @property
    def savings_ratio(self) -> float:
        """US dollars an hour for each unit of disruption."""
        return self.usd_per_hour / self.disruption

    @property
    def is_free(self) -> bool:
        """Tell whether nothing is in the way."""
        return self.blocker is None and self.pod_blocker is None


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """
    What candidates are judged by. `pods` are those on each node by name, `going` nodes on their way out.

    `pools` and `pool_of` (by name of group) are those of the scene; `nominated`
    are nodes that pods are about to get.
    """

    pods: Mapping[str, Sequence[Pod]]
    groups: Mapping[str, NodeGroup]
    pools: Mapping[str, NodePool]
    pool_of: Mapping[str, str]
    headroom: Headroom
    memory: Mapping[str, NodeMemory] = {}
    going: Collection[str] = ()
    nominated: Collection[str] = ()


def candidates_of(nodes: Sequence[Node], sight: Sight) -> list[Candidate]:
    """Return every node of a pool, also those that nothing may be done about, in the order of *nodes*."""
    leaving: dict[str, int] = {}
    for node in nodes:
        if node.deleting or node.name in sight.going:
            leaving[node.group] = leaving.get(node.group, 0) + 1
    return [_candidate(node, sight, leaving) for node in nodes if node.group in sight.pool_of]


def is_reschedulable(pod: Pod) -> bool:
    """Tell whether a pod on a node will need another place (IsReschedulable)."""
    kind = pod.shape.owner_kind
    comes_again = pod.is_active or (kind == "StatefulSet" and pod.deleted_at is not None)
    return comes_again and kind not in ("DaemonSet", "Node")


def price_of(node: Node, pool: NodePool) -> tuple[str, float]:
    """Return a node's type and price, "" and 0 where the pool offers no such thing (resolveNodePrice)."""
    labels = {ZONE: node.zone, CAPACITY_TYPE: node.capacity_type}
    for option in pool.types:
        if option.name == node.instance_type:
            for each in option.offerings:
                own = [one for one in each.requirements.items if one.key in labels]
                if all(one.has(labels[one.key]) for one in own):
                    return option.name, each.usd_per_hour
            return option.name, 0.0
    return "", 0.0


def _candidate(node: Node, sight: Sight, leaving: Mapping[str, int]) -> Candidate:
    pool = sight.pools[sight.pool_of[node.group]]
    pods = sight.pods.get(node.name, ())
    moving = tuple(pod for pod in pods if is_reschedulable(pod))
    kind, usd = price_of(node, pool)
    return Candidate(
        node=node,
        pool=pool.name,
        type=kind,
        usd_per_hour=usd,
        pods=moving,
        disruption=disruption_cost(moving),
        blocker=_node_blocker(node, sight, leaving),
        pod_blocker=_pod_blocker(pods, sight.headroom),
        changed_at=changed_at(node, pods, sight.memory.get(node.name)),
    )


def _node_blocker(node: Node, sight: Sight, leaving: Mapping[str, int]) -> Blocker | None:
    group, itself = sight.groups[node.group], f"node/{node.name}"
    if not node.registered or not node.ready:
        return Blocker(reason="NotInitialized", target=itself, message="the node is not ready yet, or no more")
    if node.deleting or node.name in sight.going or node.interrupt_at is not None:
        return Blocker(reason="MarkedForDeletion", target=itself, message="the node is on its way out")
    if node.name in sight.nominated:
        return Blocker(reason="Nominated", target=itself, message="pods are about to get the node")
    if node.do_not_remove:
        message = f"{node.do_not_remove} forbids the node's removal"
        return Blocker(reason="DoNotDisrupt", target=itself, message=message)
    if group.target_size - leaving.get(group.name, 0) <= group.min_size:
        message = f"group {group.name} is at its minimum of {group.min_size}"
        return Blocker(reason="NodeGroupMinSizeReached", target=f"group/{group.name}", message=message)
    return None


def _pod_blocker(pods: Sequence[Pod], headroom: Headroom) -> Blocker | None:
    """Return what forbids evicting one of the pods: an annotation, also on a DaemonSet's, or its disruption budget."""
    for pod in pods:
        if pod.do_not_evict and pod.is_active:
            message = f"{pod.do_not_evict} forbids the eviction of pod {pod.key}"
            return Blocker(reason="PodBlockEviction", target=f"pod/{pod.key}", message=message)
    for pod in pods:
        if pod.is_active and pod.shape.owner_kind != "Node":
            blocker = headroom.blocker(pod)
            if blocker is not None and not tolerates_all(pod.shape.tolerations, (DISRUPTED,)):
                return blocker
    return None


def changed_at(node: Node, pods: Iterable[Pod], memory: NodeMemory | None) -> float:
    """
    Return when a pod last came to the node, ended there or began to leave; else when the node came up.

    DaemonSets' pods do not count. Pods that have gone since are remembered.
    """
    times = [memory.pods_changed_at if memory is not None else 0.0]
    for pod in pods:
        if pod.shape.owner_kind == "DaemonSet":
            continue
        times.append(pod.started_at if pod.started_at is not None else pod.created_at)
        times += [each.finished_at for each in pod.terminations if not pod.is_active]
        if pod.deleted_at is not None:
            times.append(pod.deleted_at)
    last = max(times)
    return last if last > 0 else node.ready_since
