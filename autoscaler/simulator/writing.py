"""The simulated API server's write side: a controller's `Writer`."""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.errors import ConflictError, InputError
from autoscaler.model.recommendation import ContainerSize
from autoscaler.simulator import controllers, resizing
from autoscaler.simulator.fleet import Fleet
from autoscaler.simulator.world import World


class SimWriter:
    """Carries out single changes on a `World`; raises as the API would refuse."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def scale(self, workload: str, replicas: int, *, expected: int) -> None:
        """Raises ConflictError when the workload is gone, not scalable, or not at *expected* replicas."""
        fleet = self._fleet(workload)
        if not fleet.service.scalable or fleet.service.replica_series is not None:
            raise ConflictError(f"workload {workload} cannot be scaled")
        controllers.must_be(expected, fleet.replicas, f"workload {workload}: replicas")
        controllers.scale(self._world, fleet, replicas)

    async def set_requests(self, workload: str, containers: Sequence[ContainerSize]) -> None:
        fleet = self._fleet(workload)
        fleet.resize(containers)
        self._world.changed_fleets.add(fleet.index)

    async def restore_requests(self, workload: str) -> None:
        fleet = self._fleet(workload)
        fleet.restore_size()
        self._world.changed_fleets.add(fleet.index)

    async def resize_pod(self, pod: str, containers: Sequence[ContainerSize]) -> None:
        resizing.resize(self._world, self._row(pod), containers)

    async def evict(self, pod: str, *, uid: str) -> None:
        """Raises ConflictError when the pod is gone or another one, TransientError when its budget forbids it."""
        row = self._row(pod)
        found = f"{int(self._world.pods.serial[row]):012d}"
        if uid not in ("", found):
            raise ConflictError(f"pod {pod}: uid is {found}, expected {uid}")
        controllers.evict(self._world, row)

    async def cordon(self, node: str) -> None:
        self._cordon(node, unschedulable=True)

    async def uncordon(self, node: str) -> None:
        self._cordon(node, unschedulable=False)

    async def set_quota(self, namespace: str, name: str, hard: Sequence[tuple[str, int]]) -> None:
        """Always raises InputError: the simulated cluster has no ResourceQuotas."""
        raise InputError(f"quota {namespace}/{name}", "hard", list(hard), "nothing: simulated clusters have no quotas")

    async def set_aside(self, rival: str) -> None:
        """Always raises ConflictError: no other autoscaler runs in a simulated cluster."""
        raise ConflictError(f"autoscaler {rival} does not exist")

    async def give_back(self, rival: str) -> None:
        """Always raises ConflictError: no other autoscaler runs in a simulated cluster."""
        raise ConflictError(f"autoscaler {rival} does not exist")

    def _fleet(self, workload: str) -> Fleet:
        fleet = self._world.fleet_of.get(workload)
        if fleet is None:
            raise ConflictError(f"workload {workload} does not exist")
        return fleet

    def _row(self, pod: str) -> int:
        row = self._world.row_of(pod)
        if row is None:
            raise ConflictError(f"pod {pod} does not exist")
        return row

    def _cordon(self, node: str, *, unschedulable: bool) -> None:
        if node not in self._world.nodes.row_of:
            raise ConflictError(f"node {node} does not exist")
        self._world.cordon(node, unschedulable=unschedulable)
