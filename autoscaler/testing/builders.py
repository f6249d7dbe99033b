"""Values with sensible defaults, for tests: say what matters, leave the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoscaler.model.node import ON_DEMAND, InstanceType, Node, NodeGroup, NodeTemplate, Offering
from autoscaler.model.placement import LabelSelector, labels_of
from autoscaler.model.pod import Container, Phase, Pod, PodShape, ReadyCondition
from autoscaler.model.readings import Reading, Signal
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.units import GIB, MIB
from autoscaler.model.workload import Rival, Workload
from autoscaler.simulator.spec import InstancePool, Service, WorldSpec

NOW = 1_700_006_400.0
"""A Wednesday, 00:00 UTC."""


def make_shape(
    name: str = "web",
    *,
    namespace: str = "default",
    cpu: int = 500,
    memory: int = 512 * MIB,
    limits: Mapping[str, int] | None = None,
    **fields: Any,
) -> PodShape:
    """Return the shape of a pod with one container, `app`; amounts in millicores and bytes."""
    container = Container(name="app", requests=Resources.of(cpu=cpu, memory=memory), limits=Resources.of(limits or {}))
    return PodShape(
        namespace=namespace, labels=labels_of({"app": name}), containers=(container,), owner_kind="ReplicaSet", **fields
    )


def make_pod(name: str = "web-1", *, shape: PodShape | None = None, node: str = "node-1", **fields: Any) -> Pod:
    """Return a pod that is Ready on *node*, or pending where *node* is ""."""
    ready = ReadyCondition("True", NOW - 3600) if node else None
    defaults: dict[str, Any] = {
        "workload": "default/Deployment/web",
        "uid": name,
        "phase": Phase.RUNNING if node else Phase.PENDING,
        "created_at": NOW - 3660,
        "started_at": NOW - 3650 if node else None,
        "ready": ready,
        "unschedulable_since": None if node else NOW - 3660,
    }
    return Pod(name=name, shape=shape or make_shape(), node=node, **{**defaults, **fields})


def make_node(name: str = "node-1", *, cpu: int = 4000, memory: int = 16 * GIB, pods: int = 58, **fields: Any) -> Node:
    """Return a Ready node; amounts in millicores and bytes."""
    amounts = Resources.of(cpu=cpu, memory=memory, pods=pods)
    labels = labels_of({"kubernetes.io/hostname": name})
    defaults: dict[str, Any] = {
        "labels": labels,
        "capacity": amounts,
        "created_at": NOW - 7200,
        "ready_since": NOW - 7100,
        "instance_type": "m.xl",
        "instance_id": f"i-{name}",
        "group": "m.xl-a-on-demand",
        "zone": "a",
        "usd_per_hour": 0.2,
    }
    return Node(name=name, allocatable=amounts, **{**defaults, **fields})


def make_group(
    name: str = "m.xl-a-on-demand", *, cpu: int = 4000, memory: int = 16 * GIB, size: int = 1, **fields: Any
) -> NodeGroup:
    """Return a group of machines with so many millicores and bytes for pods."""
    template = NodeTemplate(
        instance_type="m.xl",
        allocatable=Resources.of(cpu=cpu, memory=memory, pods=58),
        labels=labels_of({"topology.kubernetes.io/zone": "a"}),
    )
    defaults: dict[str, Any] = {"usd_per_hour": 0.2, "zone": "a", "max_size": 10}
    return NodeGroup(name=name, template=template, target_size=size, **{**defaults, **fields})


def make_workload(name: str = "web", *, replicas: int = 2, template: PodShape | None = None, **fields: Any) -> Workload:
    """Return a Deployment whose status has caught up."""
    defaults: dict[str, Any] = {
        "namespace": "default",
        "kind": "Deployment",
        "status_replicas": replicas,
        "selector": LabelSelector(match_labels=labels_of({"app": name})),
        "revision": "1",
    }
    return Workload(name=name, replicas=replicas, template=template or make_shape(name), **{**defaults, **fields})


def make_rival(name: str = "web", *, kind: str = "HorizontalPodAutoscaler", **fields: Any) -> Rival:
    """Return another autoscaler's object on the Deployment of its name: it sets replicas, a VPA requests."""
    defaults: dict[str, Any] = {
        "namespace": "default",
        "workload": f"default/Deployment/{name}",
        "acts_on": ("requests",) if kind == "VerticalPodAutoscaler" else ("replicas",),
    }
    return Rival(name=name, kind=kind, **{**defaults, **fields})


def make_snapshot(
    *, at: float = NOW, readings: Mapping[Signal, Reading] | None = None, **fields: Any
) -> ClusterSnapshot:
    """Return a snapshot of what is given, sorted as the model wants it."""
    by = {
        "pods": lambda pod: (pod.namespace, pod.name),
        "nodes": lambda node: node.name,
        "node_groups": lambda group: group.name,
        "workloads": lambda workload: workload.key,
        "disruption_budgets": lambda budget: budget.key,
        "rivals": lambda rival: rival.key,
    }
    ordered: dict[str, Any] = {
        name: tuple(sorted(value, key=by[name])) if name in by else value for name, value in fields.items()
    }
    return ClusterSnapshot(observed_at=at, readings=tuple((readings or {}).items()), **ordered)


def make_service(
    name: str = "web", *, load: float | Sequence[float] = 10.0, steps: int = 120, **fields: Any
) -> Service:
    """
    Return a simulated service of 20 ms CPU a request.

    *load* is requests a second: one number for all *steps*, or a value for each.
    """
    values = np.full(steps, load, np.float32) if isinstance(load, int | float) else np.array(load, np.float32)
    defaults: dict[str, Any] = {
        "requests": values,
        "cores_per_request": 0.02,
        "base_bytes": 256.0 * MIB,
        "pod_limits": Resources.of(memory=512 * MIB),
    }
    return Service(name=name, **{**defaults, **fields})


def make_pool(
    name: str = "m.xl",
    *,
    cpu: int = 4000,
    memory: int = 16 * GIB,
    usd_per_hour: float = 0.2,
    zones: Sequence[str] = ("a",),
    capacity_type: str = ON_DEMAND,
    interruptions_per_hour: float = 0.0,
    **fields: Any,
) -> InstancePool:
    """Return machines on offer in *zones*, with so many millicores and bytes for pods."""
    amounts = Resources.of(cpu=cpu, memory=memory, pods=58)
    offerings = tuple(
        Offering(
            zone=zone,
            capacity_type=capacity_type,
            usd_per_hour=usd_per_hour,
            interruptions_per_hour=interruptions_per_hour,
        )
        for zone in zones
    )
    kind = InstanceType(name=name, capacity=amounts, allocatable=amounts, offerings=offerings)
    return InstancePool(instance=kind, **fields)


def make_world(*services: Service, steps: int = 120, history: int = 0, **fields: Any) -> WorldSpec:
    """
    Return a spec of so many 30 s steps after so many of history, on one kind of machine.

    The services' series must have *history* + *steps* values.
    """
    defaults: dict[str, Any] = {
        "pools": (make_pool(),),
        "start": NOW,
        "length_seconds": steps * 30.0,
        "history_seconds": history * 30.0,
        "daemon_overhead": Resources.of(cpu=100, memory=128 * MIB, pods=1),
        "load_noise": 0.0,
    }
    return WorldSpec(services=services, **{**defaults, **fields})
