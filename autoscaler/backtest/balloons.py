"""
Balloon pods: a Deployment of pause pods at low priority that holds room on nodes for real pods to take at once.

As in the Cluster Autoscaler's FAQ, "How can I configure overprovisioning":
real pods preempt them, and then the balloons wait, so that a node is bought
behind them.
"""

from __future__ import annotations

import math

import msgspec

from autoscaler.model.resources import Resources
from autoscaler.simulator.spec import Service, WorldSpec

NAME = "balloon"
PRIORITY = -10
"""The lowest that Cluster Autoscaler buys nodes for (its `expendable-pods-priority-cutoff`)."""


def with_balloons(world: WorldSpec, *, cores: float) -> WorldSpec:
    """
    Return *world* with balloons that ask for at least *cores* together, each as large as the largest scaled pod.

    That way each makes room for any pod, one that needs a GPU too. A world in which nothing is scaled stays as it is.
    """
    scaled = [service.pod_requests for service in world.services if service.scalable]
    if not scaled or cores <= 0:
        return world
    amounts: dict[str, int] = {}
    for each in scaled:
        for resource, amount in each.items():
            amounts[resource] = max(amount, amounts.get(resource, 0))
    largest = Resources.of(amounts)
    taken = {service.name for service in world.services}
    name = next(each for each in (NAME, *(f"{NAME}-{n}" for n in range(len(taken)))) if each not in taken)
    replicas = max(1, math.ceil(cores * 1000 / max(largest.cpu, 1)))
    balloon = Service(
        name=name,
        namespace="balloons",
        priority=PRIORITY,
        idle_cores=0.0,
        base_bytes=1.0,
        start_seconds=1.0,
        start_cores=0.0,
        pod_requests=largest,
        replicas=replicas,
        min_replicas=replicas,
        max_replicas=replicas,
        max_unavailable="",
        exports_requests=False,
        exports_latency=False,
        scalable=False,
        is_placeholder=True,
    )
    return msgspec.structs.replace(world, services=(*world.services, balloon))
