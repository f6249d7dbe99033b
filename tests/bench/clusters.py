"""
Whole clusters for benchmarks: snapshots with pods, nodes, readings and models, drawn from a seed.

Pod sizes come from a few hundred classes, as in a mixed cluster: many small
services, fewer large ones. Nodes are three quarters full.
"""

from __future__ import annotations

import msgspec
import numpy as np

from autoscaler.model.node import ON_DEMAND, SPOT, Node, NodeGroup, NodeTemplate
from autoscaler.model.placement import LabelSelector, labels_of
from autoscaler.model.pod import Container, Phase, Pod, PodShape, ReadyCondition
from autoscaler.model.policy import Policies, ScalingPolicy, ScalingPolicySpec, SloClass, UpdateMode, WorkloadScope
from autoscaler.model.readings import Reading, Sample, Signal, SignalKind
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot, DemandModel, Prices, SeasonalModel, ShapeOption, WorkloadModel
from autoscaler.model.spec import Selector
from autoscaler.model.units import GIB, MIB
from autoscaler.model.workload import DisruptionBudget, Workload
from autoscaler.planning.effective import in_mode
from autoscaler.recommend.demand import safe_utilisation
from autoscaler.recommend.joint_view import SLOWDOWN, JointParams
from autoscaler.testing.builders import NOW

CLASSES = 300
ZONES = ("a", "b", "c")
_MACHINES = (("m.2xl", 8, 32, 0.4), ("m.4xl", 16, 64, 0.8), ("c.4xl", 16, 32, 0.7), ("m.8xl", 32, 128, 1.6))
_CORES = (50, 100, 100, 150, 200, 250, 250, 350, 500, 500, 750, 1000, 1500)
_SLOWDOWN = SLOWDOWN[SloClass.STANDARD]


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """How large a cluster, and what happens in it: shares (0-1) of workloads under load and of pods that wait."""

    nodes: int
    pods_each: int = 30
    seed: int = 0
    loaded: float = 0.0
    waiting: float = 0.0


def make_cluster(draw: Draw) -> ClusterSnapshot:
    """Return the snapshot; three workloads for five nodes, as in the reference cluster."""
    random = np.random.default_rng(draw.seed)
    workloads = _workloads(random, draw.nodes * 3 // 5, draw.nodes * draw.pods_each)
    nodes, groups = _nodes(draw.nodes)
    models = tuple(_model(workload) for workload in workloads)
    return ClusterSnapshot(
        observed_at=NOW,
        pods=_pods(random, workloads, nodes, waiting=draw.waiting),
        nodes=nodes,
        node_groups=groups,
        workloads=workloads,
        disruption_budgets=tuple(_budget(workload) for workload in workloads[::3]),
        readings=_readings(random, workloads, models, loaded=draw.loaded),
        models=models,
        prices=Prices(usd_per_core_hour=0.03, usd_per_gib_hour=0.004),
    )


def everything_auto() -> Policies:
    """Return one policy that governs every workload, and the nodes, in mode Auto."""
    scope = WorkloadScope(namespace_selector=Selector())
    policy = ScalingPolicy(name="everything", spec=ScalingPolicySpec(workloads=scope))
    return in_mode(Policies(scaling=(policy,)), UpdateMode.AUTO)


def _workloads(random: np.random.Generator, count: int, pods: int) -> tuple[Workload, ...]:
    classes = [_class_of(random) for _ in range(CLASSES)]
    weights = np.minimum(random.pareto(1.5, count) + 0.2, 8.0)
    sizes = np.maximum(1, np.floor(weights / weights.sum() * pods)).astype(int)
    sizes[np.argmax(sizes)] += pods - int(sizes.sum())
    found = [_workload(index, classes[random.integers(CLASSES)], int(size)) for index, size in enumerate(sizes)]
    return tuple(sorted(found, key=lambda workload: workload.key))


def _class_of(random: np.random.Generator) -> tuple[Resources, int]:
    cpu = int(random.choice(_CORES))
    memory = int(np.ceil(cpu / 1000 * random.uniform(0.8, 1.6) * GIB / (64 * MIB))) * 64 * MIB
    return Resources.of(cpu=cpu, memory=memory), int(random.choice([0, 0, 0, 1000]))


def _workload(index: int, kind: tuple[Resources, int], replicas: int) -> Workload:
    requests, priority = kind
    name, namespace = f"svc-{index:04d}", f"team-{index % 40:02d}"
    shape = PodShape(
        namespace=namespace,
        labels=labels_of({"app": name}),
        containers=(Container(name="app", requests=requests, limits=requests.only(("memory",))),),
        priority=priority,
        owner_kind="ReplicaSet",
    )
    return Workload(
        namespace=namespace,
        kind="Deployment",
        name=name,
        replicas=replicas,
        status_replicas=replicas,
        template=shape,
        selector=LabelSelector(match_labels=shape.labels),
        revision="1",
        start_seconds=30.0,
    )


def _nodes(count: int) -> tuple[tuple[Node, ...], tuple[NodeGroup, ...]]:
    kinds = [(m, zone, ct) for m in _MACHINES for zone in ZONES for ct in (ON_DEMAND, SPOT)]
    nodes, members = [], dict.fromkeys(range(len(kinds)), 0)
    for index in range(count):
        number = index % len(kinds)
        members[number] += 1
        nodes.append(_node(f"ip-{index:05d}", *kinds[number]))
    groups = [_group(kind, members[number]) for number, kind in enumerate(kinds)]
    return tuple(nodes), tuple(sorted(groups, key=lambda group: group.name))


def _room(cores: int, gib: int) -> Resources:
    return Resources.of(cpu=cores * 1000 - 100, memory=int(gib * 0.92) * GIB, pods=110)


def _price(usd: float, capacity_type: str) -> float:
    return usd if capacity_type == ON_DEMAND else usd * 0.4


def _node(name: str, machine: tuple[str, int, int, float], zone: str, capacity_type: str) -> Node:
    kind, cores, gib, usd = machine
    return Node(
        name=name,
        allocatable=_room(cores, gib),
        labels=labels_of({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}),
        created_at=NOW - 86400,
        ready_since=NOW - 86300,
        group=f"{kind}-{zone}-{capacity_type}",
        instance_type=kind,
        zone=zone,
        capacity_type=capacity_type,
        usd_per_hour=_price(usd, capacity_type),
    )


def _group(kind: tuple[tuple[str, int, int, float], str, str], size: int) -> NodeGroup:
    (name, cores, gib, usd), zone, capacity_type = kind
    template = NodeTemplate(
        instance_type=name,
        allocatable=_room(cores, gib),
        labels=labels_of({"topology.kubernetes.io/zone": zone}),
        overhead=Resources.of(cpu=200, memory=256 * MIB, pods=4),
    )
    return NodeGroup(
        name=f"{name}-{zone}-{capacity_type}",
        template=template,
        target_size=size,
        max_size=100_000,
        usd_per_hour=_price(usd, capacity_type),
        zone=zone,
        capacity_type=capacity_type,
        interruptions_per_hour=0.0 if capacity_type == ON_DEMAND else 0.002,
    )


def _pods(
    random: np.random.Generator, workloads: tuple[Workload, ...], nodes: tuple[Node, ...], *, waiting: float
) -> tuple[Pod, ...]:
    """Give each node the same share of its cores in pods, in random order; memory is never tighter."""
    owners = np.repeat(np.arange(len(workloads)), [workload.replicas for workload in workloads])
    random.shuffle(owners)
    cores = np.array([workload.template.containers[0].requests.cpu for workload in workloads])[owners].cumsum()
    room = np.array([node.allocatable.cpu for node in nodes]).cumsum()
    homes = np.minimum(np.searchsorted(room * (cores[-1] / room[-1]), cores, side="left"), len(nodes) - 1)
    homes[random.random(len(owners)) < waiting] = -1
    # Workloads are in order, so that pods are made in the order in which the API lists them.
    by_owner = np.split(homes[np.argsort(owners, kind="stable")], np.cumsum(np.bincount(owners))[:-1])
    return tuple(
        _pod(workload, number, "" if home < 0 else nodes[home].name)
        for workload, places in zip(workloads, by_owner, strict=True)
        for number, home in enumerate(places.tolist())
    )


def _pod(workload: Workload, number: int, node: str) -> Pod:
    name = f"{workload.name}-{number:05d}"
    return Pod(
        name=name,
        shape=workload.template,
        uid=name,
        workload=workload.key,
        node=node,
        phase=Phase.RUNNING if node else Phase.PENDING,
        created_at=NOW - 7200,
        started_at=NOW - 7190 if node else None,
        ready=ReadyCondition("True", NOW - 7100) if node else None,
        unschedulable_since=None if node else NOW - 60,
    )


def _model(workload: Workload) -> WorkloadModel:
    requests = workload.template.containers[0].requests
    work = np.full((2, 288), _work(workload) * 0.97, dtype="<f4")
    quantiles = tuple((h, q, 0.2 * q) for h in (165.0, 255.0) for q in (0.5, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99))
    return WorkloadModel(
        workload=workload.key,
        fitted_at=NOW - 600,
        demand=DemandModel(
            cores_per_request=0.01,
            peak_bytes=requests.memory * 0.85,
            parallelism=max(1.0, requests.cpu / 1000),
            weak=False,
            samples=20_000,
        ),
        season=SeasonalModel(
            peak=work.tobytes(),
            mean=work.tobytes(),
            quantiles=quantiles,
            trusted=True,
            history_max=_work(workload),
            days=14.0,
        ),
        shape=ShapeOption(cpu=requests.cpu, memory=requests.memory, usd_per_hour=1.0),
    )


def _work(workload: Workload) -> float:
    """Return the cores of work that the workload's replicas are just right for."""
    params = JointParams()
    cores = workload.template.containers[0].requests.cpu / 1000
    parallelism = max(1.0, cores)
    safe = safe_utilisation(round(parallelism, 3), _SLOWDOWN) * parallelism
    return (workload.replicas - 0.3) * min(params.utilisation * safe, params.fill * cores)


def _readings(
    random: np.random.Generator, workloads: tuple[Workload, ...], models: tuple[WorkloadModel, ...], *, loaded: float
) -> tuple[tuple[Signal, Reading], ...]:
    under_load = random.random(len(workloads)) < loaded
    found: list[tuple[Signal, Reading]] = []
    for workload, model, rises in zip(workloads, models, under_load.tolist(), strict=True):
        work = _work(workload) * (1.5 if rises else 1.0)
        values = {
            SignalKind.CPU: work,
            SignalKind.READY: float(workload.replicas),
            SignalKind.MEMORY_PEAK: model.demand.peak_bytes * 0.9,
            SignalKind.REQUESTS: work / model.demand.cores_per_request,
            SignalKind.SLOW_SHARE: 0.001,
        }
        found.extend((Signal(workload.key, kind), Sample(value, NOW - 30, 60.0)) for kind, value in values.items())
    return tuple(found)


def _budget(workload: Workload) -> DisruptionBudget:
    selector = LabelSelector(match_labels=workload.template.labels)
    return DisruptionBudget(
        namespace=workload.namespace, name=workload.name, allowed=max(1, workload.replicas // 10), selector=selector
    )
