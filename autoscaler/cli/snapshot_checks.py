"""Refuses recorded snapshots with amounts that no cluster has: a damaged or edited file, not a state to decide on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from autoscaler.errors import InputError
from autoscaler.model.resources import Resources

if TYPE_CHECKING:
    from autoscaler.model.snapshot import ClusterSnapshot

Bounds = tuple[float, float]
_COUNT: Bounds = (0, 2**31 - 1)
_PRICE: Bounds = (0, 1e6)
_TIME: Bounds = (0, 1e11)
_AMOUNT: Bounds = (0, 2**60)
_SPANS: Bounds = (0, 1e9)
_BOUNDS: dict[str, dict[str, Bounds]] = {
    "workloads": {"replicas": _COUNT, "status_replicas": _COUNT},
    "nodes": {"usd_per_hour": _PRICE},
    "node_groups": {"usd_per_hour": _PRICE, "target_size": _COUNT, "min_size": _COUNT, "max_size": _COUNT},
}


def check_snapshot(snapshot: ClusterSnapshot, where: str) -> None:
    """
    Check times, counts, prices and amounts.

    Raises:
        InputError: naming *where*, the path in the snapshot, the value and its bounds.
    """
    for path, value, (low, high) in _values(snapshot):
        if not low <= value <= high:
            raise InputError(where, f"snapshot.{path}", value, f"a number from {low:g} to {high:g}")


def _values(snapshot: ClusterSnapshot) -> Iterator[tuple[str, float, Bounds]]:
    yield "observed_at", snapshot.observed_at, _TIME
    yield "period", snapshot.period, _SPANS
    yield "metrics_delay", snapshot.metrics_delay, _SPANS
    yield from _amounts("daemon_overhead", snapshot.daemon_overhead)
    for kind, bounds in _BOUNDS.items():
        for place, item in enumerate(getattr(snapshot, kind)):
            path = f"{kind}[{place}]"
            for name, bound in bounds.items():
                yield f"{path}.{name}", getattr(item, name), bound
            yield from _amounts_of(path, item)
    # Siblings share one shape: each is looked at once.
    shapes = {id(pod.shape): (f"pods[{place}]", pod.shape) for place, pod in enumerate(snapshot.pods)}
    for path, shape in shapes.values():
        for place, container in enumerate((*shape.containers, *shape.init_containers)):
            yield from _amounts(f"{path}.containers[{place}].requests", container.requests)
            yield from _amounts(f"{path}.containers[{place}].limits", container.limits)


def _amounts_of(path: str, item: Any) -> Iterator[tuple[str, float, Bounds]]:
    template = getattr(item, "template", item)
    for name in ("allocatable", "capacity", "overhead"):
        amounts = getattr(template, name, None)
        if isinstance(amounts, Resources):
            yield from _amounts(f"{path}.{name}", amounts)


def _amounts(path: str, amounts: Resources) -> Iterator[tuple[str, float, Bounds]]:
    for name, amount in amounts.items():
        yield f"{path}.{name}", amount, _AMOUNT
