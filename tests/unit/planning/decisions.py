"""Small clusters to decide on, and what they look like when a plan has been carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from autoscaler.model.node import Node
from autoscaler.model.plan import Plan, ResizePod, SetGroupSize, SetReplicas, SetRequests
from autoscaler.model.pod import Pod
from autoscaler.model.policy import MultidimPodAutoscaler, Policies, ScalingPolicy
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import decode_hook
from autoscaler.model.state import DecisionState
from autoscaler.model.units import MIB
from autoscaler.model.workload import Workload
from autoscaler.planning.decide import decide
from autoscaler.recommend.updater import resized
from autoscaler.testing.builders import NOW, make_group, make_node, make_pod, make_shape, make_snapshot, make_workload

GROUP = "m.xl-a-on-demand"
ENGINES = ("joint", "hpa", "vpa", "mpa", "hpa+vpa")
MISSING = Missing(MissingReason.ABSENT)


def key(name: str) -> str:
    return f"default/Deployment/{name}"


def policies(*, mode: str = "Auto", engine: str = "joint", **document: Any) -> Policies:
    """Return one policy for everything; *document* is merged into its spec."""
    defaults = {"policy": {"updateMode": mode, "engine": engine}, **document.pop("defaults", {})}
    spec = {"workloads": {"namespaceSelector": {}}, "mode": mode, "defaults": defaults, **document}
    return Policies(
        scaling=(
            msgspec.convert({"name": "everything", "spec": spec}, ScalingPolicy, dec_hook=decode_hook, strict=False),
        )
    )


def mpa(name: str = "web", **document: Any) -> MultidimPodAutoscaler:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": name}, **document}
    return msgspec.convert(
        {"namespace": "default", "name": name, "spec": spec}, MultidimPodAutoscaler, dec_hook=decode_hook
    )


def workload(name: str, *, replicas: int, cpu: int = 500, memory: int = 384 * MIB, **fields: Any) -> Workload:
    return make_workload(name, replicas=replicas, template=make_shape(name, cpu=cpu, memory=memory), **fields)


def pods_of(owner: Workload, *, nodes: Sequence[str], waiting: int = 0, **fields: Any) -> list[Pod]:
    """Return the workload's pods, dealt out to *nodes* in turn; the last *waiting* of them have none."""
    return [
        make_pod(
            f"{owner.name}-{number}",
            shape=owner.template,
            workload=owner.key,
            uid=f"{owner.name}-{number}",
            node="" if number >= owner.replicas - waiting else nodes[number % len(nodes)],
            **fields,
        )
        for number in range(owner.replicas)
    ]


def load(name: str, cores: float | None, *, replicas: int, peak: float = 250.0 * MIB) -> dict[Signal, Reading]:
    """Return what all engines read of a workload under *cores* of work; None: everything is Missing."""
    pods = [f"{name}-{number}" for number in range(replicas)]

    def each(kind: SignalKind, value: float) -> Reading:
        samples = tuple(PodSample(pod, round(value), NOW - 30, 60.0, container="app") for pod in pods)
        return MISSING if cores is None else PodSamples(samples)

    def one(value: float) -> Reading:
        return MISSING if cores is None else Sample(value, NOW - 30, 60.0)

    of = key(name)
    return {
        Signal(of, SignalKind.CPU): one(cores or 0.0),
        Signal(of, SignalKind.READY): one(float(replicas)),
        Signal(of, SignalKind.MEMORY_PEAK): one(peak),
        Signal(of, SignalKind.POD_CPU): each(SignalKind.POD_CPU, (cores or 0.0) * 1000 / max(replicas, 1)),
        Signal(of, SignalKind.POD_MEMORY): each(SignalKind.POD_MEMORY, peak),
    }


def cluster(
    loads: Mapping[str, tuple[int, float | None]], *, nodes: int = 4, at: float = NOW, waiting: int = 0, **fields: Any
) -> ClusterSnapshot:
    """Return a cluster of equal nodes; *loads* is replicas and cores of work (None: not known) by workload."""
    names = [f"node-{number}" for number in range(nodes)]
    owners = [workload(name, replicas=replicas) for name, (replicas, _) in sorted(loads.items())]
    readings: dict[Signal, Reading] = {}
    for name, (replicas, cores) in sorted(loads.items()):
        readings.update(load(name, cores, replicas=replicas))
    defaults: dict[str, Any] = {
        "nodes": [make_node(name) for name in names],
        "node_groups": [make_group(size=nodes, max_size=20)],
        "workloads": owners,
        "pods": [pod for owner in owners for pod in pods_of(owner, nodes=names, waiting=waiting)],
        "readings": readings,
    }
    return make_snapshot(at=at, **{**defaults, **fields})


def later(snapshot: ClusterSnapshot, seconds: float) -> ClusterSnapshot:
    """Return the same sight, *seconds* later, with readings as fresh as they were."""

    def moved(reading: Reading) -> Reading:
        if isinstance(reading, Sample):
            return Sample(reading.value, reading.at + seconds, reading.window)
        if isinstance(reading, PodSamples):
            samples = (msgspec.structs.replace(each, at=each.at + seconds) for each in reading.samples)
            return PodSamples(tuple(samples))
        return reading

    readings = tuple((signal, moved(reading)) for signal, reading in snapshot.readings)
    return msgspec.structs.replace(snapshot, observed_at=snapshot.observed_at + seconds, readings=readings)


def settle(
    snapshot: ClusterSnapshot, rules: Policies, *, state: DecisionState | None = None, minutes: int = 7
) -> tuple[ClusterSnapshot, DecisionState]:
    """Look at the same once a minute; return the last sight and the state to decide on it with."""
    state = state or DecisionState(last_consolidation_at=snapshot.observed_at + 1e6)
    for minute in range(minutes):
        state = decide(later(snapshot, 60.0 * minute), rules, state).state
    return later(snapshot, 60.0 * minutes), state


def carried_out(snapshot: ClusterSnapshot, plan: Plan) -> ClusterSnapshot:
    """Return the cluster after what *plan* says about sizes, replicas and groups has been done, pods apart."""
    workloads = {each.key: each for each in snapshot.workloads}
    groups = {each.name: each for each in snapshot.node_groups}
    nodes, pods = list(snapshot.nodes), {pod.key: pod for pod in snapshot.pods}
    for action in plan.actions:
        if isinstance(action, SetReplicas):
            owner = workloads[action.workload]
            workloads[owner.key] = msgspec.structs.replace(
                owner, replicas=action.replicas, status_replicas=action.replicas
            )
        elif isinstance(action, SetRequests):
            owner = workloads[action.workload]
            workloads[owner.key] = msgspec.structs.replace(owner, template=resized(owner.template, action.containers))
        elif isinstance(action, ResizePod):
            pod = pods[action.pod]
            pods[pod.key] = msgspec.structs.replace(pod, shape=resized(pod.shape, action.containers))
        elif isinstance(action, SetGroupSize):
            group = groups[action.group]
            nodes += [_bought(group.name, number) for number in range(group.target_size, action.size)]
            groups[group.name] = msgspec.structs.replace(group, target_size=action.size)
    return msgspec.structs.replace(
        snapshot,
        workloads=tuple(workloads.values()),
        node_groups=tuple(groups.values()),
        nodes=tuple(sorted(nodes, key=lambda node: node.name)),
        pods=tuple(pods.values()),
    )


def _bought(group: str, number: int) -> Node:
    return make_node(f"new-{number:03d}", group=group, ready=False, registered=False, created_at=NOW)


def replicas_in(plan: Plan) -> dict[str, int]:
    """Return the wanted replicas by workload name."""
    return {a.workload.rsplit("/", 1)[-1]: a.replicas for a in plan.actions if isinstance(a, SetReplicas)}


def requests_in(plan: Plan) -> dict[str, Resources]:
    """Return the wanted requests of the first container by workload name."""
    sized = (action for action in plan.actions if isinstance(action, SetRequests))
    return {action.workload.rsplit("/", 1)[-1]: action.containers[0].target for action in sized}
