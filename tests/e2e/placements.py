"""What our model of kube-scheduler says of pods that the real one has bound or left pending."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.predicates import Question, feasible_nodes, filter_node
from autoscaler.scheduling.simulation import Simulation

_OVERTAKEN = 8
"""Bindings are sent side by side: one may overtake so many others."""


def fits_somewhere(pods: Iterable[Pod], seen: ClusterSnapshot) -> Mapping[str, Sequence[str]]:
    """Return the nodes that our predicates would let a pod on, by pod; pods that fit nowhere are left out."""
    context = _context(seen, seen.pods)
    known: dict[PodShape, tuple[str, ...]] = {}
    for shape in {pod.shape for pod in pods}:
        known[shape] = feasible_nodes(shape, context)
    return {pod.name: known[pod.shape] for pod in pods if known[pod.shape]}


def fits_in_simulation(pods: Iterable[Pod], seen: ClusterSnapshot) -> Mapping[str, Sequence[str]]:
    """Return the same by the columns that the planner works on; pods with volumes are not for them."""
    simulation = Simulation.of(seen.nodes, seen.pods, namespaces=seen.namespaces)
    found = {}
    for pod in pods:
        rows = simulation.feasible(pod.shape).nonzero()[0].tolist()
        if rows and not pod.shape.claims:
            found[pod.name] = [simulation.names[row] for row in rows]
    return found


def impossible_bindings(order: Sequence[str], seen: ClusterSnapshot, namespace: str) -> list[str]:
    """
    Return what our model would not have allowed of the bindings that were made, in words.

    *order* are the names of the pods of *namespace* as they were bound; pods elsewhere count as there before.
    """
    pods = {pod.name: pod for pod in seen.pods if pod.shape.namespace == namespace}
    placed = [pod for pod in seen.pods if pod.shape.namespace != namespace]
    found: list[str] = []
    late: list[tuple[Pod, int]] = []
    for step, name in enumerate([*order, *[""] * _OVERTAKEN]):
        due = [*late, *([(pods[name], step)] if name else [])]
        late = []
        for pod, since in due:
            problem = _problem(pod, seen, placed)
            if not problem:
                placed.append(pod)
            elif step - since < _OVERTAKEN:
                late.append((pod, since))
            else:
                found.append(f"{pod.name} on {pod.node}: {problem}")
    return found


def bindings(audit_log: Path, namespace: str) -> list[str]:
    """Return the names of the pods of *namespace* in the order in which the scheduler bound them."""
    found = []
    for line in audit_log.read_text(encoding="utf-8").splitlines():
        if '"subresource":"binding"' not in line or f'"namespace":"{namespace}"' not in line:
            continue
        entry = json.loads(line)
        if entry["verb"] == "create" and entry["responseStatus"]["code"] < 300:
            found.append((entry["requestReceivedTimestamp"], entry["objectRef"]["name"]))
    return [name for _, name in sorted(found)]


def _problem(pod: Pod, seen: ClusterSnapshot, placed: Sequence[Pod]) -> str:
    """Return why the pod could not be where it is beside those that were *placed*; "" if it could."""
    verdict = filter_node(Question(pod.shape, _context(seen, placed)), pod.node)
    if verdict.rejection is not None:
        return f"{verdict.rejection.plugin}: {', '.join(verdict.rejection.reasons)}"
    simulation = Simulation.of(seen.nodes, placed, namespaces=seen.namespaces)
    allowed = bool(simulation.feasible(pod.shape)[simulation.row(pod.node)])
    return "" if allowed else "the simulation does not allow it"


def _context(seen: ClusterSnapshot, pods: Sequence[Pod]) -> SchedulingContext:
    return SchedulingContext(seen.nodes, pods, namespaces=seen.namespaces, volumes=seen.volumes, services=seen.services)
