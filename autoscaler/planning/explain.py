"""
Why is this so, and what would change it: pending pods, nodes that stay, sizes.

For each node, and for a new node of each group, the set of rules that say No
is itself the smallest thing to mend there (algorithms, section 10); what is
cheapest to mend comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.placement import Taint
from autoscaler.model.plan import Decision
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.reasons import Reason
from autoscaler.model.resources import CPU, PODS, format_amount
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.units import format_duration
from autoscaler.planning.blockers import EvictionRules, Headroom, node_blocker
from autoscaler.planning.daemon_share import with_daemon_share
from autoscaler.planning.device_claims import claims_reason
from autoscaler.planning.guard import target_of
from autoscaler.planning.nominated import with_nominated_pods
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.predicates import filter_nodes
from autoscaler.scheduling.requests import placed_requests
from autoscaler.scheduling.requirements import untolerated_taint
from autoscaler.scheduling.verdict import Rejection, Verdict

_SHOWN = 3
_NEARLY = 0.5
_TAINTS = "TaintToleration"


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """The same No from several nodes or groups. `where` names them all, sorted."""

    where: tuple[str, ...]
    why: str


class Fix(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """What would make the pod fit; `usd_per_hour` is what it would add to the bill."""

    what: str
    usd_per_hour: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: one line that says it, obstacles, and fixes from the cheapest on."""

    subject: str
    summary: str
    obstacles: tuple[Obstacle, ...] = ()
    fixes: tuple[Fix, ...] = ()
    reasons: tuple[Reason, ...] = ()


def explain_pod(snapshot: ClusterSnapshot, pod: Pod) -> Explanation:
    """Say where a pod is, or why it fits nowhere and what would make it fit."""
    subject = f"pod {pod.key}"
    if pod.node:
        return Explanation(subject=subject, summary=f"runs on node {pod.node}")
    if any(node.name == pod.nominated_node for node in snapshot.nodes):
        where = f"node {pod.nominated_node}, where pods of lower priority are leaving for it"
        return Explanation(subject=subject, summary=f"pending; the scheduler has chosen {where}")
    snapshot = with_daemon_share(with_nominated_pods(snapshot))
    verdicts = _verdicts(snapshot, pod.shape, snapshot.nodes)
    reasons = (claims_reason(pod.shape),) if pod.shape.device_claims else ()
    fitting = sorted(name for name, verdict in verdicts.items() if verdict.feasible)
    waited = snapshot.observed_at - (pod.unschedulable_since or pod.created_at)
    pending = f"pending for {format_duration(max(waited, 0.0))}"
    if fitting:
        some = ", ".join(fitting[:_SHOWN])
        summary = f"{pending}; it fits on {len(fitting)} nodes ({some})"
        return Explanation(subject=subject, summary=summary, reasons=reasons)
    groups = {group.name: group for group in snapshot.node_groups}
    offered = _group_verdicts(snapshot, pod.shape)
    obstacles = (*_obstacles(verdicts, "nodes"), *_group_obstacles(snapshot, groups, offered))
    summary = (
        f"{pending}; it fits nowhere"
        if not _grows(snapshot, groups, offered)
        else f"{pending}; a new node will hold it"
    )
    fixes = tuple(_fixes(groups, offered)[:_SHOWN])
    return Explanation(subject=subject, summary=summary, obstacles=obstacles, fixes=fixes, reasons=reasons)


def explain_node(snapshot: ClusterSnapshot, node: Node, decision: Decision) -> Explanation:
    """Say what is on a node, what it costs and why it stays or goes."""
    pods = [pod for pod in snapshot.pods if pod.node == node.name and pod.is_active]
    cpu = sum(placed_requests(pod).cpu for pod in pods)
    share = cpu / node.allocatable.cpu if node.allocatable.cpu else 0.0
    summary = (
        f"{node.instance_type or 'node'} in {node.zone or 'no zone'}, {node.usd_per_hour * 24:.2f} USD/day, "
        f"{len(pods)} pods, {share:.0%} of its CPU requested"
    )
    reasons = _reasons_about(f"node/{node.name}", decision) or _what_blocks(snapshot, node, pods)
    return Explanation(subject=f"node {node.name}", summary=summary, reasons=reasons)


def _what_blocks(snapshot: ClusterSnapshot, node: Node, pods: Sequence[Pod]) -> tuple[Reason, ...]:
    """Return what forbids the node's removal whatever else is decided; nothing where it is only worth its price."""
    group = next((group for group in snapshot.node_groups if group.name == node.group), None)
    size = group.target_size if group is not None else 0
    headroom = Headroom(snapshot.disruption_budgets)
    blocker = node_blocker(node, pods, group, size=size, headroom=headroom, rules=EvictionRules())
    return () if blocker is None else (blocker.as_reason(),)


def explain_workload(snapshot: ClusterSnapshot, key: str, decision: Decision) -> Explanation:
    """Say what a workload should have, and why it gets it or not."""
    workload = next(w for w in snapshot.workloads if w.key == key)
    advice = next((r for r in decision.recommendations if r.workload == key), None)
    reasons = _reasons_about(f"workload/{key}", decision)
    subject = f"{workload.kind.lower()} {workload.namespace}/{workload.name}"
    if advice is None:
        return Explanation(subject=subject, summary=f"{workload.replicas} replicas; no recommendation", reasons=reasons)
    wanted = workload.replicas if advice.replicas is None else advice.replicas
    sizes = "; ".join(
        f"{size.container}: {', '.join(f'{n}={q}' for n, q in size.target.quantities().items())}"
        for size in advice.containers
    )
    summary = f"{workload.replicas} replicas, {wanted} wanted by engine {advice.engine}" + (
        f"; {sizes}" if sizes else ""
    )
    unique = dict.fromkeys((reason.code, reason.message) for reason in (*advice.reasons, *reasons))
    return Explanation(
        subject=subject, summary=summary, reasons=tuple(Reason(code, message) for code, message in unique)
    )


def _reasons_about(target: str, decision: Decision) -> tuple[Reason, ...]:
    found: list[Reason] = []
    for action in (*decision.plan.actions, *decision.plan.advised):
        if target_of(action) == target or target.removeprefix("node/") in getattr(action, "nodes", ()):
            found.extend(action.reasons)
    for note in (*decision.held, *decision.notes):
        if note.target == target:
            found.extend(note.reasons)
    return tuple(found)


def _verdicts(snapshot: ClusterSnapshot, shape: PodShape, nodes: Sequence[Node]) -> dict[str, Verdict]:
    """Ask the scheduler's filters about each of *nodes*, and name the taints that they only mention."""
    context = SchedulingContext(nodes, snapshot.pods, namespaces=snapshot.namespaces, volumes=snapshot.volumes)
    taints = {node.name: untolerated_taint(shape, node.taints) for node in nodes}
    return {
        name: msgspec.structs.replace(
            verdict, rejected_by=tuple(_named(rejection, taints[name]) for rejection in verdict.rejected_by)
        )
        for name, verdict in filter_nodes(shape, context, every=True).items()
    }


def _named(rejection: Rejection, taint: Taint | None) -> Rejection:
    if rejection.plugin != _TAINTS or taint is None:
        return rejection
    value = f"={taint.value}" if taint.value else ""
    return msgspec.structs.replace(rejection, reasons=(f"taint {taint.key}{value}:{taint.effect} not tolerated",))


def _group_verdicts(snapshot: ClusterSnapshot, shape: PodShape) -> dict[str, Verdict]:
    """Ask the scheduler about one new, empty node of each group, next to all that is there."""
    fresh = [_new_node(group) for group in snapshot.node_groups]
    verdicts = _verdicts(snapshot, shape, [*snapshot.nodes, *fresh])
    return {group.name: verdicts[node.name] for group, node in zip(snapshot.node_groups, fresh, strict=True)}


def _new_node(group: NodeGroup) -> Node:
    template = group.template
    name = f"new:{group.name}"
    return Node(
        name=name,
        allocatable=template.allocatable - template.overhead,
        labels=tuple(sorted({**dict(template.labels), "kubernetes.io/hostname": name}.items())),
        taints=template.taints,
        group=group.name,
        zone=group.zone,
    )


def _obstacles(verdicts: dict[str, Verdict], what: str) -> list[Obstacle]:
    by_rules: dict[tuple[str, ...], list[str]] = {}
    for name, verdict in sorted(verdicts.items()):
        if not verdict.feasible:
            by_rules.setdefault(_rules(verdict), []).append(name)
    found = []
    for names in sorted(by_rules.values(), key=lambda names: (-len(names), names)):
        why = _why([verdicts[name] for name in names])
        found.append(Obstacle(where=tuple(f"{what[:-1]} {name}" for name in names), why=why))
    return found


def _rules(verdict: Verdict) -> tuple[str, ...]:
    return tuple(
        " ".join([rejection.plugin, *([s.resource for s in rejection.shortfalls] or rejection.reasons)])
        for rejection in verdict.rejected_by
    )


def _why(verdicts: Sequence[Verdict]) -> str:
    """Say what all of these have in common, with the range of what is short."""
    parts: list[str] = []
    for position, rejection in enumerate(verdicts[0].rejected_by):
        alike = [verdict.rejected_by[position] for verdict in verdicts]
        if rejection.shortfalls:
            parts.extend(_short_of(alike))
        else:
            parts.append("; ".join(rejection.reasons))
    return " and ".join(parts) or "excluded"


def _short_of(rejections: Sequence[Rejection]) -> Iterable[str]:
    for position, short in enumerate(rejections[0].shortfalls):
        missing = [rejection.shortfalls[position].missing for rejection in rejections]
        low, high = _amount(short.resource, min(missing)), _amount(short.resource, max(missing))
        yield f"{short.resource} short by {low}" + (f"–{high}" if high != low else "")


def _group_obstacles(
    snapshot: ClusterSnapshot, groups: dict[str, NodeGroup], offered: dict[str, Verdict]
) -> list[Obstacle]:
    found = _obstacles({name: verdict for name, verdict in offered.items() if not verdict.feasible}, "groups")
    for name, verdict in sorted(offered.items()):
        group = groups[name]
        if verdict.feasible and group.target_size >= group.max_size:
            why = f"at its maximum, {group.target_size} of {group.max_size}"
            found.append(Obstacle(where=(f"group {name}",), why=why))
        elif verdict.feasible and group.backoff_until > snapshot.observed_at:
            left = format_duration(group.backoff_until - snapshot.observed_at)
            found.append(Obstacle(where=(f"group {name}",), why=f"the last launch failed; trying again in {left}"))
    return found


def _grows(snapshot: ClusterSnapshot, groups: dict[str, NodeGroup], offered: dict[str, Verdict]) -> bool:
    return any(
        verdict.feasible
        and groups[name].target_size < groups[name].max_size
        and groups[name].backoff_until <= snapshot.observed_at
        for name, verdict in offered.items()
    )


def _fixes(groups: dict[str, NodeGroup], offered: dict[str, Verdict]) -> list[Fix]:
    """Return fixes, cheapest first: wait, raise a maximum, or ask for what a group's nodes have."""
    found = []
    for name, verdict in offered.items():
        group = groups[name]
        full = group.target_size >= group.max_size
        raised = f"raise the maximum of {name} to {group.target_size + 1}"
        if verdict.feasible:
            ready = f"ready in about {format_duration(group.boot_seconds)}"
            what = f"{raised} ({ready})" if full else f"wait for a node of {name} ({ready})"
            found.append(Fix(what=what, usd_per_hour=group.usd_per_hour))
        elif all(map(_is_nearly_there, verdict.rejected_by)):
            asks = " and ".join(
                f"{_amount(short.resource, short.free)} {short.resource} instead of "
                f"{_amount(short.resource, short.requested)}"
                for rejection in verdict.rejected_by
                for short in rejection.shortfalls
            )
            what = f"ask for {asks}: fits {group.template.instance_type or name}" + (f", then {raised}" if full else "")
            found.append(Fix(what=what, usd_per_hour=group.usd_per_hour))
    return sorted(dict.fromkeys(found), key=lambda fix: (fix.usd_per_hour, fix.what))


def _is_nearly_there(rejection: Rejection) -> bool:
    """Tell whether only amounts are short, and of each there is half at least: less is another pod."""
    return bool(rejection.shortfalls) and all(
        short.resource != PODS and short.free >= _NEARLY * short.requested for short in rejection.shortfalls
    )


def _amount(resource: str, amount: int) -> str:
    """Print CPU in cores, as people write it in a sentence, everything else as its quantity."""
    return f"{amount / 1000:g}" if resource == CPU else format_amount(resource, amount)
