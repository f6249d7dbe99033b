"""A decision as people read it: one line a change, the dearest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from autoscaler.cli.output import table
from autoscaler.model.plan import (
    CordonNode,
    Decision,
    DeleteInstances,
    GiveBack,
    Note,
    SetAside,
    SetGroupSize,
    SetReplicas,
    SetRequests,
)
from autoscaler.model.pod import Container
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.workload import Workload
from autoscaler.planning.blockers import must_move

_HOLDING = frozenset({Code.SIGNAL_MISSING, Code.CONFLICT, Code.POLICY_INVALID, Code.ENGINE_FAILED, Code.NOT_SCALABLE})


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the diff. `sign` is ~ for changed, + for bought, - for given back, ! for held."""

    sign: str
    subject: str
    what: str
    usd_per_day: float
    why: str
    code: str


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    cluster: str
    nodes: int
    pods: int
    usd_per_day_now: float
    usd_per_day_after: float
    bound_gap: float | None
    changes: tuple[Change, ...]
    looked_at: int

    def lines(self, *, shown: int | None) -> Iterator[str]:
        """Yield the lines to print; *shown* changes at most."""
        yield self._headline()
        changes = self.changes if shown is None else self.changes[:shown]
        rows = [(change.sign, change.subject, change.what, _money(change), f" {change.why}") for change in changes]
        yield from (f"  {line}" for line in table(rows, right=(3,)).splitlines())
        if not changes:
            yield "  nothing to change"
        if len(changes) < len(self.changes):
            shown_of = f"{len(changes)} of {len(self.changes)} changes shown"
            yield f"{shown_of}; --all for the rest, --output json for machines."
        yield "Nothing was changed: this is a dry decision."

    def _headline(self) -> str:
        now, after = self.usd_per_day_now, self.usd_per_day_after
        share = f" ({(after - now) / now:+.1%})" if now > 0 else ""
        name = "cluster" if self.cluster == "cluster" else f"cluster {self.cluster}"
        line = f"{name}  {_counted(self.nodes, 'node')}  {_counted(self.pods, 'pod')}"
        line += f"   now {now:,.2f} USD/day   plan {after:,.2f} USD/day{share}"
        if self.bound_gap is not None:
            line += f"   new nodes within {self.bound_gap:.1%} of the best possible"
        return line


def view_of(snapshot: ClusterSnapshot, decision: Decision) -> PlanView:
    """Return the diff of a decision, the largest changes in money first, then what is held."""
    workloads = {workload.key: workload for workload in snapshot.workloads}
    sized = [*_rival_changes(decision), *_workload_changes(decision, workloads)]
    bought, given_back = _node_changes(snapshot, decision)
    found = sorted([*sized, *bought, *given_back], key=lambda change: (-abs(change.usd_per_day), change.subject))
    held = [_held(note, workloads) for note in decision.held if any(r.code in _HOLDING for r in note.reasons)]
    now = decision.plan.usd_per_hour_now * 24
    return PlanView(
        cluster=snapshot.name,
        nodes=len(snapshot.nodes),
        pods=len(snapshot.pods),
        usd_per_day_now=now,
        usd_per_day_after=max(0.0, now + _settled_change(sized, bought, given_back)),
        bound_gap=decision.plan.bound_gap,
        changes=(*found, *held),
        looked_at=len(snapshot.workloads),
    )


def _settled_change(sized: Sequence[Change], bought: Sequence[Change], given_back: Sequence[Change]) -> float:
    """
    Return the change in USD a day once nodes have followed the pods.

    Nodes that grown workloads account for are not counted again.
    """
    grown = sum(change.usd_per_day for change in sized if change.usd_per_day > 0)
    more = max(0.0, sum(change.usd_per_day for change in bought) - grown)
    return sum(change.usd_per_day for change in (*sized, *given_back)) + more


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _money(change: Change) -> str:
    return f"{change.usd_per_day:+,.2f}/day" if abs(change.usd_per_day) >= 0.005 else ""


def _workload_changes(decision: Decision, workloads: dict[str, Workload]) -> Iterator[Change]:
    scaled: dict[str, SetReplicas] = {}
    sized: dict[str, SetRequests] = {}
    for action in decision.plan.actions:
        if isinstance(action, SetReplicas):
            scaled[action.workload] = action
        elif isinstance(action, SetRequests):
            sized[action.workload] = action
    for key in sorted({*scaled, *sized}):
        scale, sizes, workload = scaled.get(key), sized.get(key), workloads[key]
        reasons = (sizes or scale).reasons  # type: ignore[union-attr]
        replicas = scale.replicas if scale else workload.replicas
        money = (scale.usd_per_hour if scale else 0.0) + (sizes.usd_per_hour if sizes else 0.0)
        if sizes is None:
            what = f"scale {workload.replicas} → {replicas}"
        else:
            before, after = _shown(workload, ()), _shown(workload, sizes.containers)
            what = f"{workload.replicas} × {before} → {replicas} × {after}"
        yield _change("~", _subject(workload), what, money, reasons)


def _rival_changes(decision: Decision) -> Iterator[Change]:
    for action in decision.plan.actions:
        if isinstance(action, SetAside | GiveBack):
            namespace, kind, name = action.rival.split("/", 2)
            what = "set aside" if isinstance(action, SetAside) else "acts again"
            yield _change("~", f"{kind} {namespace}/{name}", what, 0.0, action.reasons)


def _node_changes(snapshot: ClusterSnapshot, decision: Decision) -> tuple[list[Change], list[Change]]:
    """Return what is bought and what is given back."""
    price = {node.name: node.usd_per_hour for node in snapshot.nodes}
    draining = {action.node for action in decision.plan.actions if isinstance(action, CordonNode)}
    moved = Counter(pod.node for pod in snapshot.pods if pod.node in draining and must_move(pod))
    bought, given_back = [], []
    for action in decision.plan.actions:
        if isinstance(action, SetGroupSize):
            what = f"{action.expected} → {action.size} nodes"
            bought.append(_change("+", f"group {action.group}", what, action.usd_per_hour, action.reasons))
        elif isinstance(action, CordonNode):
            what = f"drain, {_counted(moved[action.node], 'pod')} to move" if moved[action.node] else "remove, empty"
            usd = -price.get(action.node, 0.0)
            given_back.append(_change("-", f"node {action.node}", what, usd, action.reasons))
        elif isinstance(action, DeleteInstances):
            given_back += [
                _change("-", f"node {name}", "remove, empty", -price.get(name, 0.0), action.reasons)
                for name in action.nodes
                if name not in draining
            ]
    return bought, given_back


def _change(sign: str, subject: str, what: str, usd_per_hour: float, reasons: Sequence[Reason]) -> Change:  # noqa: PLR0917  (a row)
    first = reasons[0] if reasons else None
    return Change(
        sign=sign,
        subject=subject,
        what=what,
        usd_per_day=usd_per_hour * 24,
        why="; ".join(reason.message for reason in reasons[:2]),
        code=first.code.value if first else "",
    )


def _held(note: Note, workloads: dict[str, Workload]) -> Change:
    workload = workloads.get(note.target.partition("/")[2])
    if workload is None:
        return _change("!", note.target.replace("/", " ", 1), "held", 0.0, note.reasons[:1])
    return _change("!", _subject(workload), f"held at {workload.replicas}", 0.0, note.reasons[:1])


def _subject(workload: Workload) -> str:
    return f"{workload.kind.lower()} {workload.namespace}/{workload.name}"


def _shown(workload: Workload, sizes: Sequence[ContainerSize]) -> str:
    targets = {size.container: size.target for size in sizes}
    total = Resources()
    for container in workload.template.containers:
        total = total + _after(container, targets.get(container.name))
    amounts = total.quantities()
    return "/".join(amounts.get(name, "-") for name in ("cpu", "memory"))


def _after(container: Container, target: Resources | None) -> Resources:
    if target is None:
        return container.requests
    return Resources.of({**dict(container.requests.items()), **dict(target.items())})
