"""A simulator's scenario as objects of a real cluster: its first nodes, its namespaces, workloads and budgets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from autoscaler.backtest.scenario import load_scenario
from autoscaler.errors import ScenarioError
from autoscaler.kube.client import AlreadyExistsError, ApiServer
from autoscaler.model.resources import Resources, format_amount
from autoscaler.simulator.market import CAPACITY_TYPE
from autoscaler.simulator.placing import ZONE
from autoscaler.simulator.spec import InstancePool, Service, WorldSpec
from tests.cluster.objects import Object, deployment, node

_KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
_MOST_AT_ONCE = 20
_RESTART_SECONDS = 10.0
"""The kubelet's first back-off, in the trace's time."""


async def create_workloads(api: ApiServer, file: str, *, speed: float) -> int:
    """
    Create what a scenario starts with, and return how many objects that were; those that exist stay as they are.

    Starts take the scenario's time divided by *speed*, as its load does.

    Raises:
        ScenarioError: the file is wrong, or has a workload of another kind than Deployment and StatefulSet.
    """
    scenario = load_scenario(file)
    spec = scenario.world()
    for service in spec.services:
        if service.kind not in _KINDS:
            raise ScenarioError(scenario.where, f"workloads.{service.name}.kind", service.kind, ", ".join(_KINDS))
    free = asyncio.Semaphore(_MOST_AT_ONCE)
    created = 0

    async def create(path: str, body: Object) -> None:
        nonlocal created
        with contextlib.suppress(AlreadyExistsError):
            async with free:
                await api.send("POST", path, body)
            created += 1

    for stage in _stages(spec, speed):
        async with asyncio.TaskGroup() as group:
            for path, body in stage:
                group.create_task(create(path, body))
    return created


def _stages(spec: WorldSpec, speed: float) -> Iterator[list[tuple[str, Object]]]:
    """Yield (path, object) in groups: what a group needs is in those before."""
    yield [
        *(
            ("/api/v1/namespaces", {"metadata": {"name": name}})
            for name in sorted({s.namespace for s in spec.services})
        ),
        *(
            ("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": _class_name(value)}, "value": value})
            for value in sorted({service.priority for service in spec.services} - {0})
        ),
        *(("/api/v1/nodes", body) for body in _nodes(spec)),
    ]
    yield [
        (
            f"/apis/policy/v1/namespaces/{service.namespace}/poddisruptionbudgets",
            {
                "metadata": {"name": service.name},
                "spec": {
                    "selector": {"matchLabels": {"app": service.name}},
                    "maxUnavailable": _count_or_share(service.max_unavailable),
                },
            },
        )
        for service in spec.services
        if service.max_unavailable
    ]
    yield [
        (f"/apis/apps/v1/namespaces/{service.namespace}/{_KINDS[service.kind]}", _workload(service, speed))
        for service in spec.services
    ]


def _nodes(spec: WorldSpec) -> Iterator[Object]:
    """Yield the nodes that the scenario begins with; others are for the autoscaler to buy."""
    pools = {pool.instance.name: pool for pool in spec.pools}
    for initial in spec.initial_nodes:
        pool = pools[initial.instance_type]
        zone = initial.zone or pool.instance.offerings[0].zone
        for serial in range(initial.count):
            name = "-".join(part for part in (initial.instance_type.replace(".", "-"), zone, f"{serial:03d}") if part)
            yield _node(name, pool, zone=zone, capacity_type=initial.capacity_type)


def _node(name: str, pool: InstancePool, *, zone: str, capacity_type: str) -> Object:
    room = pool.instance.allocatable
    labels = {**dict(pool.instance.labels), **dict(pool.labels), CAPACITY_TYPE: capacity_type}
    if zone:
        labels[ZONE] = zone
    body = node(
        name,
        cpu=format_amount("cpu", room.cpu),
        memory=format_amount("memory", room.memory),
        pods=str(room.get("pods") or 110),
        instance_type=pool.instance.name,
        labels=labels,
    )
    body["spec"]["taints"] = [{"key": each.key, "value": each.value, "effect": each.effect} for each in pool.taints]
    return body


def _workload(service: Service, speed: float) -> Object:
    annotations = {"podnode.io/restart-seconds": f"{_RESTART_SECONDS / speed:g}"}
    if service.start_seconds:
        annotations["podnode.io/start-seconds"] = f"{service.start_seconds / speed:g}"
    pod_spec: dict[str, Any] = {}
    if service.priority:
        pod_spec["priorityClassName"] = _class_name(service.priority)
    if service.node_selector:
        pod_spec["nodeSelector"] = dict(service.node_selector)
    if service.tolerations:
        pod_spec["tolerations"] = [
            {"key": each.key, "operator": each.operator, "value": each.value, "effect": each.effect}
            for each in service.tolerations
        ]
    body = deployment(
        service.name, replicas=service.replicas, annotations=annotations, **pod_spec, **_placement(service)
    )
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["name"] = service.container
    container["resources"] = {"requests": _amounts(service.pod_requests), "limits": _amounts(service.pod_limits)}
    if service.kind == "StatefulSet":
        body["kind"] = "StatefulSet"
        body["spec"] |= {"serviceName": service.name, "podManagementPolicy": "Parallel"}
    return body


def _placement(service: Service) -> dict[str, Any]:
    own = {"matchLabels": {"app": service.name}}
    result: dict[str, Any] = {}
    if service.anti_affinity:
        terms = [{"labelSelector": own, "topologyKey": key} for key in service.anti_affinity]
        result["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    if service.spread:
        result["topologySpreadConstraints"] = [
            {
                "maxSkew": each.max_skew,
                "topologyKey": each.topology_key,
                "whenUnsatisfiable": each.when_unsatisfiable,
                "labelSelector": own,
            }
            for each in service.spread
        ]
    return result


def _amounts(resources: Resources) -> dict[str, str]:
    return {name: format_amount(name, amount) for name, amount in resources.items()}


def _count_or_share(text: str) -> int | str:
    return text if text.endswith("%") else int(text)


def _class_name(priority: int) -> str:
    return f"scenario-{priority}" if priority >= 0 else f"scenario-minus-{-priority}"
