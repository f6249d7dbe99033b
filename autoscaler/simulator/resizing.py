"""
In-place resize of running pods, as the kubelet does it.

A resize takes effect when the node has room for the growth; until then it is
Deferred, and Infeasible when the node could never hold it. A smaller memory
limit waits (InProgress) while the working set is above it.
Source: KEP-1287 and `pkg/kubelet/allocation/allocation_manager.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from autoscaler.errors import ConflictError
from autoscaler.model.pod import PodShape
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import MEMORY
from autoscaler.simulator.fleet import resized
from autoscaler.simulator.tables import PENDING

if TYPE_CHECKING:
    from autoscaler.simulator.world import World


class PendingResize(msgspec.Struct, frozen=True):
    """A resize not in force yet; `allocated` is the shape that is, `tried` the placer's `change` when last tried."""

    wanted: PodShape
    allocated: PodShape
    state: str
    since: float
    tried: int = -1


def resize(world: World, row: int, sizes: Sequence[ContainerSize]) -> None:
    """
    Ask for other sizes of a running pod.

    Raises:
        ConflictError: the pod has no node yet, so it cannot be resized.
        InputError: a request would be above its limit.
    """
    pods = world.pods
    if pods.state[row] == PENDING:
        raise ConflictError(f"pod {pods.names[row]} is not on a node yet")
    allocated = world.allocated_shape(row)
    container = resized(pods.names[row], pods.shape_of(row).containers[0], sizes)
    wanted = world.interner.intern(msgspec.structs.replace(allocated, containers=(container,)))
    world.changed_pods.add(row)
    if wanted == allocated:
        world.resizes.pop(row, None)
        pods.set_shape(row, allocated)
        return
    _try(world, row, PendingResize(wanted, allocated, "Deferred", world.now))


def retry(world: World) -> None:
    """Try again what waits and might go now, oldest first."""
    for row, waiting in sorted(world.resizes.items(), key=lambda item: (item[1].since, item[0])):
        if _might_go(world, row, waiting):
            _try(world, row, waiting)


def _try(world: World, row: int, resize: PendingResize) -> None:
    pods, node = world.pods, int(world.pods.node[row])
    state = _obstacle(world, row, resize)
    if not state:
        world.placer.give_back(node, resize.allocated)
        world.placer.take(node, resize.wanted)
        world.resizes.pop(row, None)
        pods.set_shape(row, resize.wanted)
        world.changed_pods.add(row)
        return
    if row not in world.resizes or state != resize.state:
        world.changed_pods.add(row)
    world.resizes[row] = msgspec.structs.replace(resize, state=state, tried=world.placer.change)
    # The spec shows what is wanted; what is in force stays what was allocated.
    pods.set_shape(row, resize.allocated)
    pods.shapes[row] = resize.wanted


def _might_go(world: World, row: int, waiting: PendingResize) -> bool:
    if waiting.state == "InProgress":
        return not _uses_more(world, row, waiting.wanted)
    return waiting.state == "Deferred" and world.placer.change != waiting.tried


def _uses_more(world: World, row: int, wanted: PodShape) -> bool:
    """Tell whether the container uses more memory than its new limit would be."""
    limits = wanted.containers[0].limits
    return limits.has(MEMORY) and limits.memory < world.pods.used_bytes[row]


def _obstacle(world: World, row: int, resize: PendingResize) -> str:
    """Return the state of a resize that cannot be carried out now, "" when it can."""
    node = int(world.pods.node[row])
    if not world.placer.could_ever_hold(node, resize.wanted):
        return "Infeasible"
    if not world.placer.has_room(node, resize.wanted, resize.allocated):
        return "Deferred"
    return "InProgress" if _uses_more(world, row, resize.wanted) else ""
