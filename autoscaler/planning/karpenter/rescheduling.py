"""
Where would the pods go if these nodes were gone.

Source: Karpenter `pkg/controllers/disruption/helpers.go` (SimulateScheduling)
and `pkg/controllers/provisioning/scheduling/scheduler.go`
(AllNonPendingPodsScheduled), main of 2026-08-20.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autoscaler.model.pod import Pod
from autoscaler.planning.karpenter.candidates import Candidate
from autoscaler.planning.karpenter.existing import ExistingNode
from autoscaler.planning.karpenter.queue import WaitingPod
from autoscaler.planning.karpenter.scene import Scene
from autoscaler.planning.karpenter.solve import PlannedClaim, SolveRules, solve


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What must be bought for everything to find a place; `why_not` says that it does not, "" if it does."""

    claims: tuple[PlannedClaim, ...] = ()
    why_not: str = ""


class Rescheduling(msgspec.Struct, frozen=True, kw_only=True):
    """
    The cluster as it is simulated without some nodes.

    `pending` pods wait already: that they find no place is nobody's fault.
    `leaving` pods are on nodes on their way out, which the scene has not;
    `coming` nodes have just been asked for.
    """

    scene: Scene
    rules: SolveRules
    pending: tuple[Pod, ...] = ()
    leaving: tuple[Pod, ...] = ()
    coming: tuple[ExistingNode, ...] = ()

    def without(self, candidates: Sequence[Candidate], *, most_claims: int | None = None) -> Outcome:
        """
        Return what happens when *candidates* go.

        With more than *most_claims* new nodes it ends early, and says no more than that there are too many.
        """
        gone = {each.name for each in candidates}
        moved = [pod for each in candidates for pod in each.pods if not pod.do_not_evict]
        lost = next((pod for pod in (*moved, *self.leaving) if () in pod.shape.volume_terms), None)
        if lost is not None:
            return Outcome(why_not=f"a volume of pod {lost.key} is nowhere to be had")
        bound = next((pod for pod in (*moved, *self.leaving) if pod.shape.device_claims), None)
        if bound is not None:
            return Outcome(why_not=f"pod {bound.key} has devices that may be nowhere else")
        cluster = msgspec.structs.replace(
            self.scene.cluster,
            nodes=(*(node for node in self.scene.cluster.nodes if node.name not in gone), *self.coming),
            placed=tuple(each for each in self.scene.cluster.placed if each.node not in gone),
        )
        pods = [
            pod
            for pod in (*self.pending, *moved, *self.leaving)
            if () not in pod.shape.volume_terms and not pod.shape.device_claims
        ]
        rules = msgspec.structs.replace(self.rules, enough=most_claims)
        solution = solve(list(map(waiting_pod, pods)), self.scene.pools, cluster=cluster, rules=rules)
        if most_claims is not None and len(solution.claims) > most_claims:
            return Outcome(claims=solution.claims)
        counted = {pod.key for pod in (*moved, *self.leaving)}
        for key, _ in solution.refused:
            if key in counted:
                return Outcome(claims=solution.claims, why_not=f"pod {key} fits nowhere else")
        mine = {pod.key for pod in moved}
        unready = {node.name for node in cluster.nodes if not node.initialized}
        for name, keys in solution.placed:
            if name in unready and not mine.isdisjoint(keys):
                return Outcome(claims=solution.claims, why_not=f"its pods would wait for node {name} to be ready")
        return Outcome(claims=solution.claims)


def waiting_pod(pod: Pod) -> WaitingPod:
    """Return a pod as the queue takes it; ages count in whole seconds."""
    return WaitingPod(key=pod.key, shape=pod.shape, created_at=float(int(pod.created_at)), uid=pod.uid)
