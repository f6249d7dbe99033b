"""A decision as people read it: one line a change, the dearest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from autoscaler.model.node import Node
from autoscaler.model.plan import (
    CordonNode,
    Decision,
    DeleteInstances,
    EvictPod,
    Note,
    ResizePod,
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
        subject = max((len(change.subject) for change in changes), default=0)
        what = min(max((len(change.what) for change in changes), default=0), 48)
        for change in changes:
            money = f"{change.usd_per_day:+.2f}/day" if abs(change.usd_per_day) >= 0.005 else ""
            about = f"{change.subject:{subject}s}  {change.what:{what}s}"
            yield f"  {change.sign} {about}  {money:>13s}   {change.why}".rstrip()
        if not changes:
            yield "  nothing to change"
        hidden = len(self.changes) - len(changes)
        if hidden:
            shown_of = f"{len(changes)} of {len(self.changes)} changes shown"
            yield f"{shown_of}; --all for the rest, --output json for machines."
        yield "Nothing was changed: this is a dry decision."

    def as_data(self) -> dict[str, Any]:
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]

    def _headline(self) -> str:
        now, after = self.usd_per_day_now, self.usd_per_day_after
        share = f" ({(after - now) / now:+.1%})" if now > 0 else ""
        line = f"cluster {self.cluster}  {self.nodes:,} nodes  {self.pods:,} pods   now {now:,.2f} USD/day"
        line += f"   plan {after:,.2f} USD/day{share}"
        if self.bound_gap is not None:
            line += f"   new nodes within {self.bound_gap:.1%} of the best possible"
        return line


def view_of(snapshot: ClusterSnapshot, decision: Decision) -> PlanView:
    """Return the diff of a decision, the largest changes in money first, then what is held."""
    workloads = {workload.key: workload for workload in snapshot.workloads}
    nodes = {node.name: node for node in snapshot.nodes}
    found = [
        *_workload_changes(decision, workloads),
        *_node_changes(snapshot, decision, nodes),
    ]
    found.sort(key=lambda change: (-abs(change.usd_per_day), change.subject))
    held = [_held(note) for note in decision.held if any(reason.code in _HOLDING for reason in note.reasons)]
    return PlanView(
        cluster=snapshot.name,
        nodes=len(snapshot.nodes),
        pods=len(snapshot.pods),
        usd_per_day_now=decision.plan.usd_per_hour_now * 24,
        usd_per_day_after=(decision.plan.usd_per_hour_now + sum(change.usd_per_day for change in found) / 24) * 24,
        bound_gap=decision.plan.bound_gap,
        changes=(*found, *held),
        looked_at=len(snapshot.workloads),
    )


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
        yield _change("~", f"{workload.kind.lower()} {workload.namespace}/{workload.name}", what, money, reasons)


def _node_changes(snapshot: ClusterSnapshot, decision: Decision, nodes: dict[str, Node]) -> Iterator[Change]:
    draining = {action.node for action in decision.plan.actions if isinstance(action, CordonNode)}
    moved: dict[str, int] = {}
    for pod in snapshot.pods:
        if pod.node in draining and pod.is_active and pod.shape.owner_kind != "DaemonSet":
            moved[pod.node] = moved.get(pod.node, 0) + 1
    for action in decision.plan.actions:
        if isinstance(action, SetGroupSize):
            what = f"{action.expected} → {action.size} nodes"
            yield _change("+", f"group {action.group}", what, action.usd_per_hour, action.reasons)
        elif isinstance(action, CordonNode):
            node = nodes[action.node]
            what = f"drain, {moved.get(action.node, 0)} pods move"
            yield _change("-", f"node {action.node}", what, action.usd_per_hour or -node.usd_per_hour, action.reasons)
        elif isinstance(action, DeleteInstances):
            for name in action.nodes:
                if name not in draining:
                    price = -nodes[name].usd_per_hour if name in nodes else 0.0
                    yield _change("-", f"node {name}", "remove, empty", price, action.reasons)
        elif isinstance(action, (EvictPod, ResizePod)) and not getattr(action, "node", ""):
            continue


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


def _held(note: Note) -> Change:
    kind, _, name = note.target.partition("/")
    return _change("!", f"{kind} {name}", "held", 0.0, note.reasons)


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
