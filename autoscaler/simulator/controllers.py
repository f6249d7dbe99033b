"""
What kube-controller-manager and the eviction API do: make pods match replicas, roll out, respect budgets.

Sources: `pkg/controller/controller_utils.go` (ActivePodsWithRanks, the order of
scale-in), `pkg/controller/deployment` (rolling update, 25 % surge and
unavailable), `pkg/registry/core/pod/storage/eviction.go` (IfHealthyBudget).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from autoscaler.errors import ConflictError, TransientError
from autoscaler.simulator.fleet import Fleet, ordinal_of
from autoscaler.simulator.tables import PENDING, READY

if TYPE_CHECKING:
    from autoscaler.simulator.world import World

_ROLLING_SHARE = 0.25
_RETRY_SECONDS = 10.0


def reconcile(world: World) -> None:
    """Create and delete pods so that every workload has what it asks for."""
    for fleet in world.fleets:
        series = fleet.service.replica_series
        if series is not None and int(series[world.index]) != fleet.replicas:
            scale(world, fleet, int(series[world.index]))
    for index in sorted(world.unsettled):
        fleet = world.fleets[index]
        if _roll(world, fleet):
            world.unsettled.discard(index)


def scale(world: World, fleet: Fleet, replicas: int) -> None:
    """Set the replicas asked for; raises ValueError for less than 0."""
    if replicas < 0:
        raise ValueError(f"replicas must be at least 0, got {replicas}")
    fleet.replicas = replicas
    world.unsettled.add(fleet.index)
    world.changed_fleets.add(fleet.index)


def evict(world: World, row: int) -> None:
    """
    Evict one pod, or refuse as the API does.

    Raises:
        TransientError: the PodDisruptionBudget allows no eviction now (429).
    """
    pods, fleet = world.pods, world.fleets[world.pods.service[row]]
    if pods.state[row] != PENDING and not _may_evict(world, fleet, is_ready=bool(pods.state[row] == READY)):
        raise TransientError(
            f"pod {fleet.service.namespace}/{pods.names[row]}: the disruption budget of {fleet.key} allows no eviction",
            retry_after_seconds=_RETRY_SECONDS,
        )
    world.delete_pod(row)
    world.counters.evictions += not fleet.service.is_placeholder


def disruptions_allowed(world: World, fleet: Fleet) -> int | None:
    """Return the `disruptionsAllowed` of a service's budget, None without one."""
    slack = _slack(world, fleet)
    return None if slack is None else max(0, slack)


def ready_count(world: World, fleet: Fleet) -> int:
    return int(np.count_nonzero(world.pods.state[world.pods.of_service(fleet.index)] == READY))


def _may_evict(world: World, fleet: Fleet, *, is_ready: bool) -> bool:
    slack = _slack(world, fleet)
    return slack is None or slack >= (1 if is_ready else 0)


def _slack(world: World, fleet: Fleet) -> int | None:
    unavailable = fleet.max_unavailable()
    return None if unavailable is None else ready_count(world, fleet) - (fleet.replicas - unavailable)


def _roll(world: World, fleet: Fleet) -> bool:
    """Bring a workload nearer to its replicas and version; tell whether it is there."""
    rows = world.pods.of_service(fleet.index)
    stale = rows[world.pods.version[rows] != fleet.version]
    if not len(stale):
        _match(world, fleet, rows)
        return True
    surge = max(1, math.ceil(fleet.replicas * _ROLLING_SHARE))
    for _ in range(min(fleet.replicas + surge - len(rows), fleet.replicas - (len(rows) - len(stale)))):
        world.create_pod(fleet)
    least_ready = fleet.replicas - math.floor(fleet.replicas * _ROLLING_SHARE)
    ready = ready_count(world, fleet)
    for row in stale[_scale_in_order(world, fleet, stale)].tolist():
        is_ready = world.pods.state[row] == READY
        if is_ready and ready - 1 < least_ready:
            break
        ready -= bool(is_ready)
        world.delete_pod(row)
    return False


def _match(world: World, fleet: Fleet, rows: np.typing.NDArray[np.intp]) -> None:
    for _ in range(fleet.replicas - len(rows)):
        world.create_pod(fleet)
    if fleet.replicas < len(rows):
        for row in rows[_scale_in_order(world, fleet, rows)][: len(rows) - fleet.replicas].tolist():
            world.delete_pod(row)


def _scale_in_order(world: World, fleet: Fleet, rows: np.typing.NDArray[np.intp]) -> np.typing.NDArray[np.intp]:
    """
    Return an order of *rows*, first to go first.

    Not placed before placed, not ready before ready, cheaper deletion cost
    first, then where most of the workload's pods share the node, ready for
    less long, more restarts, newer. A StatefulSet goes by ordinal, highest first.
    """
    pods = world.pods
    if fleet.is_stateful:
        return np.argsort([-ordinal_of(pods.names[row]) for row in rows.tolist()], kind="stable")
    node, ready = pods.node[rows], pods.state[rows] == READY
    together = np.bincount(node[node >= 0], minlength=1)
    rank = np.where(node >= 0, together[np.maximum(node, 0)], 0)
    ready_since = np.where(ready, pods.ready_at[rows], 0.0)
    return np.lexsort(
        (
            -pods.serial[rows],
            -pods.restarts[rows],
            -ready_since,
            -rank,
            pods.deletion_cost[rows],
            ready,
            node >= 0,
        )
    )


def must_be(expected: int, found: int, what: str) -> None:
    """Raise ConflictError when something is no longer as expected."""
    if expected != found:
        raise ConflictError(f"{what} is {found}, expected {expected}")
