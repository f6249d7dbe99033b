"""
The scheduling simulation: every waiting pod to a node that is there, to one that is coming, or to a new one.

    queue → existing nodes → claims with the fewest pods → new claim by weight of pool
          ↳ where all refuse, one wish of the pod is given up and it tries again

Source: Karpenter `pkg/controllers/provisioning/scheduling/scheduler.go`, main
of 2026-08-20. Its time limit of one minute is the caller's: nothing here reads
a clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.placement import Effect
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import Resources
from autoscaler.planning.karpenter.claim_order import ClaimOrder
from autoscaler.planning.karpenter.claims import (
    Ask,
    Claim,
    Memory,
    NodePool,
    Step,
    Template,
    ask_of,
    resource_names,
)
from autoscaler.planning.karpenter.existing import ExistingNode, Host
from autoscaler.planning.karpenter.instance_types import MAX_IN_CLAIM
from autoscaler.planning.karpenter.queue import Queue, WaitingPod
from autoscaler.planning.karpenter.refusals import Refusal
from autoscaler.planning.karpenter.relax import relaxed
from autoscaler.planning.karpenter.requirements import Requirements
from autoscaler.planning.karpenter.topology import PlacedPods, Topology
from autoscaler.planning.karpenter.topology_groups import Domains


class PlannedClaim(msgspec.Struct, frozen=True, kw_only=True):
    """
    A node to buy: any of `types` (cheapest first) within `requirements`.

    `cheapest` of them costs `usd_per_hour`. `pods` are keys in the order of
    placing, `requests` what they ask for with the least of DaemonSets.
    """

    pool: str
    requirements: Requirements
    types: tuple[str, ...]
    cheapest: str
    usd_per_hour: float
    pods: tuple[str, ...]
    requests: Resources


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where every pod goes. `placed` has the pods by existing node, by name.

    `refused` says of each pod left over, by key, what each pool in order of
    weight had against it in the end.
    """

    claims: tuple[PlannedClaim, ...] = ()
    placed: tuple[tuple[str, tuple[str, ...]], ...] = ()
    refused: tuple[tuple[str, tuple[Refusal, ...]], ...] = ()


class SolveRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    How to solve: *respects_preferences* takes wishes as rules until they fail.

    *best_effort_values* lets `min_values` sink to what there is
    (`MinValuesPolicy` BestEffort). *max_types* is how many types a claim keeps.
    With more claims than *enough* nobody wants to know the rest: it ends there.
    """

    respects_preferences: bool = True
    best_effort_values: bool = False
    max_types: int = MAX_IN_CLAIM
    enough: int | None = None


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """What is there: nodes that pods may go to, pods on them, labels of namespaces by name, DaemonSets' pods."""

    nodes: tuple[ExistingNode, ...] = ()
    placed: tuple[PlacedPods, ...] = ()
    namespaces: Mapping[str, Mapping[str, str]] = {}
    daemons: tuple[PodShape, ...] = ()


def solve(
    pods: Sequence[WaitingPod],
    pools: Sequence[NodePool],
    *,
    cluster: Cluster = Cluster(),  # noqa: B008 (frozen)
    rules: SolveRules = SolveRules(),  # noqa: B008 (frozen)
) -> Solution:
    """
    Return where the pods go and which nodes must come for them.

    Where pods' rules differ only in what the original does not tell apart, the
    first pod's count, so the order of *pods* can matter.
    """
    return _Solver(pods, pools, cluster, rules).run()


def in_order(pools: Sequence[NodePool]) -> list[NodePool]:
    """Return pools in the order in which they are tried: by weight, of equal ones the name that comes last first."""
    return sorted(sorted(pools, key=lambda pool: pool.name, reverse=True), key=lambda pool: -pool.weight)


class _Solver:
    """Mutable state of one solution."""

    def __init__(
        self, pods: Sequence[WaitingPod], pools: Sequence[NodePool], cluster: Cluster, rules: SolveRules
    ) -> None:
        self._pods, self._rules = pods, rules
        shapes = list(dict.fromkeys(pod.shape for pod in pods))
        self._resources = resource_names([*shapes, *cluster.daemons])
        templates = [
            Template(pool, self._resources, cluster.daemons, best_effort_values=rules.best_effort_values)
            for pool in in_order(pools)
        ]
        self._templates = [template for template in templates if template.types]
        self._dislikes = any(taint.effect is Effect.PREFER_NO_SCHEDULE for pool in pools for taint in pool.taints)
        self._topology = Topology(
            _domains(pools),
            nodes=[node.present() for node in cluster.nodes],
            placed=cluster.placed,
            namespaces=cluster.namespaces,
            respects_preferences=rules.respects_preferences,
        )
        for shape in shapes:
            self._topology.learn(shape)
        self._hosts = [
            Host(node, self._resources)
            for node in sorted(cluster.nodes, key=lambda node: (not node.initialized, node.name))
        ]
        for host in self._hosts:
            self._topology.register_host(host.hostname)
        self._left = {pool.name: _limits_left(pool, cluster.nodes) for pool in pools}
        self._memory = Memory()
        self._claims = ClaimOrder()
        self._asks: dict[PodShape, Ask] = {}

    def run(self) -> Solution:
        queue = Queue(self._pods)
        refused: dict[str, tuple[Refusal, ...]] = {}
        while (pod := queue.pop()) is not None and not self._is_enough():
            reasons = self._place(pod)
            if reasons:
                refused[pod.key] = reasons
                queue.push(pod)
            else:
                refused.pop(pod.key, None)
        claims = []
        for claim in self._claims.in_order():
            planned = self._planned(claim)
            if planned is None:
                refused.update(dict.fromkeys(claim.pods, (Refusal.MIN_VALUES,)))
            else:
                claims.append(planned)
        return Solution(
            claims=tuple(claims),
            placed=tuple((host.node.name, tuple(host.pods)) for host in self._hosts if host.pods),
            refused=tuple(sorted(refused.items())),
        )

    def _is_enough(self) -> bool:
        return self._rules.enough is not None and len(self._claims) > self._rules.enough

    def _place(self, pod: WaitingPod) -> tuple[Refusal, ...]:
        """Place a pod, giving up its wishes one by one; return why it fits nowhere, nothing when it was placed."""
        shape: PodShape | None = pod.shape
        reasons: tuple[Refusal, ...] = ()
        while shape is not None:
            ask = self._ask(shape)
            reasons = self._try(pod.key, ask)
            if not reasons:
                return ()
            shape = relaxed(shape, tolerate_prefer_no_schedule=self._dislikes)
        return reasons

    def _ask(self, shape: PodShape) -> Ask:
        self._topology.learn(shape)
        found = self._asks.get(shape)
        if found is None:
            found = self._asks[shape] = ask_of(
                shape,
                self._resources,
                self._topology,
                respects_preferences=self._rules.respects_preferences,
            )
        return found

    def _try(self, key: str, ask: Ask) -> tuple[Refusal, ...]:
        for host in self._hosts:
            if host.take(key, ask, self._topology):
                return ()
        for position, claim in enumerate(self._claims.in_order()):
            if claim.may_hold(ask):
                step = claim.step(ask, self._topology, self._memory)
                if isinstance(step, Step):
                    claim.add(key, ask, step, self._topology)
                    self._claims.took(position)
                    return ()
        return self._try_new(key, ask)

    def _try_new(self, key: str, ask: Ask) -> tuple[Refusal, ...]:
        reasons = []
        for template in self._templates:
            left = self._left[template.pool.name]
            types = template.types & template.catalogue.within(left)
            if left.get("nodes") == 0 or not types:
                reasons.append(Refusal.LIMITS)
                continue
            claim = Claim(template, len(self._claims), types)
            step = claim.step(ask, self._topology, self._memory, relax_values=self._rules.best_effort_values)
            if isinstance(step, Step):
                claim.add(key, ask, step, self._topology)
                self._claims.append(claim)
                self._charge(claim)
                return ()
            reasons.append(step)
        return tuple(reasons) or (Refusal.NO_TYPES,)

    def _charge(self, claim: Claim) -> None:
        """Take the largest type that the claim may become off its pool's limits."""
        left = self._left[claim.template.pool.name]
        if left:
            largest = claim.template.catalogue.largest(claim.types)
            for name in left:
                left[name] -= largest.get(name)

    def _planned(self, claim: Claim) -> PlannedClaim | None:
        """Return a claim as a value, None where too few types are left for `min_values` once cut."""
        catalogue, requirements = claim.template.catalogue, claim.requirements
        types = catalogue.cut(claim.types, requirements, most=self._rules.max_types)
        if catalogue.short_of_values(types, requirements) and not self._rules.best_effort_values:
            return None
        ranking = catalogue.by_price(types, requirements)
        return PlannedClaim(
            pool=claim.template.pool.name,
            requirements=requirements,
            types=tuple(name for _, name in ranking),
            cheapest=ranking[0][1],
            usd_per_hour=ranking[0][0],
            pods=tuple(claim.pods),
            requests=claim.requests(),
        )


def _domains(pools: Sequence[NodePool]) -> Domains:
    """Return every value that a label may have on a new node."""
    found = Domains()
    for pool in pools:
        stated = Requirements.of([*pool.requirements, *Requirements.of_labels(pool.labels).items])
        for option in pool.types:
            for each in (stated & option.requirements).items:
                found.add(each.key, sorted(each.values), pool.taints)
        for each in stated.items:
            if not each.complement:
                found.add(each.key, sorted(each.values), pool.taints)
    return found


def _limits_left(pool: NodePool, nodes: Sequence[ExistingNode]) -> dict[str, int]:
    left = dict(pool.limits.items())
    if pool.max_nodes is not None:
        left["nodes"] = pool.max_nodes
    for node in nodes:
        if node.pool == pool.name:
            for name in left:
                left[name] -= 1 if name == "nodes" else node.capacity.get(name)
    return left
