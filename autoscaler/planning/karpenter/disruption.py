"""
One cycle of disruption: what must go, what was begun, what was proposed, what comes next.

A command of consolidation is looked at again 15 seconds after it was found,
and begun if it still holds; meanwhile no other is looked for. Drift begins at
once. Source: Karpenter `pkg/controllers/disruption/{controller,validation,
queue}.go`, `pkg/controllers/nodeclaim/{expiration,lifecycle}`, main of 2026-08-20.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.plan import Note
from autoscaler.model.pod import Pod
from autoscaler.model.policy import Consolidation
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import NodeMemory, NodeProposal, TemplateMemory
from autoscaler.planning.drain_steps import Steps
from autoscaler.planning.karpenter.balanced import totals_by_pool
from autoscaler.planning.karpenter.candidates import Candidate
from autoscaler.planning.karpenter.commands import (
    Command,
    Method,
    Setting,
    alone,
    drifted,
    emptied,
    scored,
    together,
)
from autoscaler.planning.karpenter.commands_under_way import Progress, progress_of, under_way
from autoscaler.planning.karpenter.disruption_budgets import DisruptionReason, NodeBudget, allowed_disruptions
from autoscaler.planning.karpenter.drift import Drift, drift_of
from autoscaler.planning.karpenter.growth import groups_for
from autoscaler.planning.karpenter.params import KarpenterParams
from autoscaler.planning.karpenter.replacement import with_types
from autoscaler.planning.karpenter.rescheduling import Rescheduling
from autoscaler.planning.karpenter.scene import coming_node
from autoscaler.planning.removals import Removal

VALIDATION_SECONDS = 15.0
"""How long after it was found a command of consolidation is looked at again (commandValidationDelay)."""
RECHECK_SECONDS = 300.0
"""Where there are too many nodes to try all of them in a cycle, those tried wait for so long."""
_REASONS = {
    Method.EMPTY: DisruptionReason.EMPTY,
    Method.DRIFT: DisruptionReason.DRIFTED,
    Method.MULTI: DisruptionReason.UNDERUTILIZED,
    Method.SINGLE: DisruptionReason.UNDERUTILIZED,
}


class View(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a cycle of disruption works on.

    `candidates` are all nodes of pools, `pods` those on each node by name;
    `going` names nodes on their way out. `is_advice` tells that nothing is carried out.
    """

    snapshot: ClusterSnapshot
    candidates: Sequence[Candidate]
    pods: Mapping[str, Sequence[Pod]]
    groups: Mapping[str, NodeGroup]
    setting: Setting
    budgets: tuple[NodeBudget, ...]
    templates: Mapping[str, TemplateMemory]
    consolidation: Consolidation
    consolidate_after: float
    params: KarpenterParams
    proposal: NodeProposal | None = None
    is_advice: bool = False


class Disruption:
    """Looks for commands and begins them; one object a cycle, which changes as commands begin."""

    def __init__(self, view: View, steps: Steps, memory: dict[str, NodeMemory]) -> None:
        """*memory* is that of nodes on their way out, and gets what is begun."""
        self._view, self._steps, self.memory = view, steps, memory
        self._now = view.snapshot.observed_at
        self._setting = view.setting
        if view.consolidation is Consolidation.BALANCED:
            totals = totals_by_pool(view.candidates)
            self._setting = msgspec.structs.replace(view.setting, totals=totals)
        self._begun: set[str] = set()
        self._gained: dict[str, int] = {}
        self._stays: dict[str, Reason] = {}
        self.proposal: NodeProposal | None = None
        self.began = False

    def run(self) -> None:
        """Judge what was proposed, or look for what to do next."""
        proposed = self._view.proposal
        if proposed is not None and self._now - proposed.at < VALIDATION_SECONDS:
            self.proposal = proposed
            return
        if proposed is not None and self._confirm(proposed):
            return
        while self._next():
            pass

    def notes(self) -> list[Note]:
        """Return why nodes stay."""
        for each in self._view.candidates:
            blocker = each.blocker or each.pod_blocker
            if blocker is not None and each.name not in self.memory:
                self._stays.setdefault(each.name, blocker.as_reason())
        return [Note(target=f"node/{name}", reasons=(reason,)) for name, reason in sorted(self._stays.items())]

    def _next(self) -> bool:
        """Find the next command; tell whether it was begun at once, so that there may be another."""
        command = emptied(self._eligible(Method.EMPTY), self._allowed(Method.EMPTY))
        if command is not None:
            self._propose(command)
            return False
        if self._steps.evictions_left <= 0:
            # A node that is cordoned while none of its pods may be moved serves nobody.
            return False
        command = drifted(self._drifted(), self._allowed(Method.DRIFT), self._setting, self._note)
        if command is not None and self._start(command):
            return not self._view.is_advice
        if self._view.consolidation is not Consolidation.WHEN_EMPTY:
            self._consolidate()
        return False

    def _consolidate(self) -> None:
        candidates = self._eligible(Method.MULTI)
        command = together(candidates, self._allowed(Method.MULTI), self._setting)
        if command is None:
            search = alone(candidates, self._allowed(Method.SINGLE), self._setting, self._note)
            command = search.command
            for name in search.tried:
                known = self.memory.get(name, NodeMemory(node=name))
                self.memory[name] = msgspec.structs.replace(known, recheck_at=self._now + RECHECK_SECONDS)
        if command is not None:
            self._propose(command)

    def _propose(self, command: Command) -> None:
        self.proposal = NodeProposal(
            at=self._now,
            method=command.method.value,
            nodes=tuple(each.name for each in command.candidates),
            types=tuple(name for claim in command.claims for name in claim.types),
        )

    def _confirm(self, proposed: NodeProposal) -> bool:
        """Begin what was proposed if it still holds; tell whether the cycle ends with that."""
        command = self._still_holds(proposed)
        if command is None:
            return False
        growth = groups_for(command.claims, self._setting.rescheduling.scene, now=self._now, gained=self._gained)
        if growth is not None and any(self._shrinks(group) for group in growth):
            # Nodes of the same group are deleted in this very cycle, which would make its size ambiguous.
            self.proposal = proposed
            return True
        if not self._start(command):
            return False
        if self._view.is_advice:
            self.proposal = proposed
        return self._view.is_advice

    def _still_holds(self, proposed: NodeProposal) -> Command | None:
        method = Method(proposed.method)
        chosen = [each for each in self._eligible(method) if each.name in set(proposed.nodes)]
        allowed, within = dict(self._allowed(method)), []
        for each in chosen:
            if allowed.get(each.pool, 0) > 0:
                allowed[each.pool] -= 1
                within.append(each)
        if method is Method.EMPTY:
            return Command(method=method, candidates=tuple(within)) if within else None
        if len(within) != len(proposed.nodes) or self._steps.evictions_left <= 0:
            return None
        outcome = self._setting.rescheduling.without(within, most_claims=1)
        if outcome.why_not or len(outcome.claims) != (1 if proposed.types else 0):
            return None
        claims = outcome.claims
        if claims:
            if not set(proposed.types) <= set(claims[0].types):
                return None
            claims = (with_types(claims[0], proposed.types, self._setting.pools[claims[0].pool]),)
        return scored(Command(method=method, candidates=tuple(within), claims=claims), self._setting)

    def _start(self, command: Command) -> bool:
        """Begin a command; tell whether there was room for what it needs."""
        scene = self._setting.rescheduling.scene
        growth = groups_for(command.claims, scene, now=self._now, gained=self._gained)
        if growth is None or any(self._shrinks(group) for group in growth):
            for each in command.candidates:
                self._note(each, "the groups that could replace it have no room")
            return False
        name = command.candidates[0].name
        wanted = tuple(sorted(growth.items()))
        for each in command.candidates:
            self.memory[each.name] = NodeMemory(
                node=each.name,
                unneeded_since=self._now,
                drain_since=0.0 if wanted else self._now,
                replaced_by=wanted,
                was_empty=not each.pods,
                command=name,
            )
            self._begun.add(each.name)
            self._stays.pop(each.name, None)
            reason = _why(command, each)
            if wanted:
                self._steps.cordon(each.node, reason)
            else:
                self._steps.step(each.node, self._view.pods.get(each.name, ()), reason)
        if wanted:
            self._buy(command, wanted)
        self._leave(command)
        self.began = True
        return True

    def _buy(self, command: Command, wanted: tuple[tuple[str, int], ...]) -> None:
        names = tuple(each.name for each in command.candidates)
        removal = Removal(nodes=names, code=_code(command), growth=wanted)
        self._steps.grow(removal, _why(command, command.candidates[0]))
        for group, count in wanted:
            self._gained[group] = self._gained.get(group, 0) + count

    def _leave(self, command: Command) -> None:
        """Let what comes next see the cluster without the command's nodes, and with what replaces them."""
        known = self._setting.rescheduling
        names = {each.name for each in command.candidates}
        cluster = known.scene.cluster
        cluster = msgspec.structs.replace(
            cluster,
            nodes=tuple(node for node in cluster.nodes if node.name not in names),
            placed=tuple(each for each in cluster.placed if each.node not in names),
        )
        pool_of = {group.name: pool for pool, groups in known.scene.groups.items() for group in groups}
        coming = [
            coming_node(self._view.groups[group], pool_of[group], number)
            for group, count in self._gained.items()
            for number in range(count)
        ]
        moved = [pod for each in command.candidates for pod in each.pods if not pod.do_not_evict]
        after = Rescheduling(
            scene=msgspec.structs.replace(known.scene, cluster=cluster),
            rules=known.rules,
            pending=known.pending,
            leaving=(*known.leaving, *moved),
            coming=tuple(coming),
        )
        self._setting = msgspec.structs.replace(self._setting, rescheduling=after)

    def _shrinks(self, group: str) -> bool:
        """Tell whether nodes of a group are being deleted in this cycle."""
        return self._steps.sizes[group] < self._view.groups[group].target_size

    def _eligible(self, method: Method) -> list[Candidate]:
        """Return the nodes that the method may act on, whatever the budgets say."""
        wants_empty = method is Method.EMPTY
        return [
            each
            for each in self._view.candidates
            if each.is_free
            and each.is_empty == wants_empty
            and each.name not in self._begun
            and self._now - each.changed_at >= self._view.consolidate_after
            and (wants_empty or each.type)
        ]

    def _drifted(self) -> list[tuple[Candidate, Drift]]:
        found = []
        for each in self._view.candidates:
            waits = each.pod_blocker is not None and self._view.params.termination_grace_period is None
            if each.blocker is not None or waits or each.name in self._begun:
                continue
            drift = drift_of(each.node, self._setting.pools[each.pool], self._view.templates, now=self._now)
            if drift is not None:
                found.append((each, drift))
        return found

    def _allowed(self, method: Method) -> dict[str, int]:
        """Return by pool how many nodes may be disrupted now, those that are away already taken off."""
        counts: dict[str, int] = {}
        away: dict[str, int] = {}
        for each in self._view.candidates:
            node = each.node
            if node.deleting or not node.registered or _is_coming(node, self._now):
                continue
            counts[each.pool] = counts.get(each.pool, 0) + 1
            memory = self.memory.get(each.name)
            is_away = memory is not None and (memory.drain_since > 0 or bool(memory.replaced_by))
            away[each.pool] = away.get(each.pool, 0) + (not node.ready or is_away)
        reason = _REASONS[method]
        return {
            pool: max(0, allowed_disruptions(self._view.budgets, node_count=count, reason=reason) - away[pool])
            for pool, count in counts.items()
        }

    def _note(self, candidate: Candidate, message: str) -> None:
        self._stays[candidate.name] = Reason(Code.NODE_IN_USE, message)


def go_on(
    snapshot: ClusterSnapshot,
    groups: Mapping[str, NodeGroup],
    pods: Mapping[str, Sequence[Pod]],
    *,
    steps: Steps,
    before: Sequence[NodeMemory],
) -> tuple[dict[str, NodeMemory], bool]:
    """Take the next step with each command that was begun; return what to remember, and whether one was given up."""
    nodes = {node.name: node for node in snapshot.nodes}
    commands = under_way(each for each in before if each.node in nodes)
    progress = progress_of(commands, nodes.values(), groups, now=snapshot.observed_at)
    memory: dict[str, NodeMemory] = {}
    failed = False
    for command in commands:
        for each in command.members:
            node = nodes[each.node]
            match progress[command.name]:
                case _ if node.deleting:
                    memory[each.node] = each
                case Progress.GO:
                    since = each.drain_since or snapshot.observed_at
                    memory[each.node] = msgspec.structs.replace(each, drain_since=since)
                    steps.step(node, pods.get(each.node, ()), None)
                case Progress.WAIT:
                    memory[each.node] = each
                    steps.cordon(node, Reason(Code.CHEAPER_REPACK, "the node's replacement is on its way"))
                case Progress.FAIL:
                    failed = True
                    steps.give_up(node, Reason(Code.NODE_IN_USE, "the node's replacement did not come"))
    return memory, failed


def _is_coming(node: Node, now: float) -> bool:
    """Tell whether a node has not been up yet: such ones do not count, neither for nor against."""
    return not node.ready and now - node.created_at < 900.0


def _code(command: Command) -> Code:
    if command.method is Method.DRIFT:
        return Code.NODE_DRIFTED
    if command.claims:
        return Code.CHEAPER_REPACK
    return Code.EMPTY_NODE if command.method is Method.EMPTY else Code.PODS_FIT_ELSEWHERE


def _why(command: Command, candidate: Candidate) -> Reason:
    detail = [("method", command.method.value), ("nodes", str(len(command.candidates)))]
    detail += [("score", f"{score.value:.3f}") for pool, score in command.scores if pool == candidate.pool]
    saved = f"saves {command.savings:.4f} USD an hour"
    code = _code(command)
    if code is Code.NODE_DRIFTED:
        message = "the node has drifted from what its group is made of now"
    elif code is Code.EMPTY_NODE:
        message = f"nothing on the node has to move; its removal saves {candidate.usd_per_hour:.4f} USD an hour"
    elif code is Code.CHEAPER_REPACK:
        what = "the node gives" if len(command.candidates) == 1 else f"{len(command.candidates)} nodes give"
        message = f"{what} way to one {command.claims[0].cheapest}: {saved}"
    else:
        pods = sum(len(each.pods) for each in command.candidates)
        message = f"{pods} pods fit on other nodes; the removal {saved}"
    return Reason(code, message, tuple(sorted(detail)))
