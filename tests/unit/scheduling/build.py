"""Small builders of nodes and pods for the scheduling tests."""

from __future__ import annotations

from typing import Any

from autoscaler.model.node import Node
from autoscaler.model.placement import LabelSelector, labels_of
from autoscaler.model.pod import Container, Pod, PodShape
from autoscaler.model.resources import Resources

GIB = 1 << 30


def a_node(name: str = "n1", *, zone: str = "", labels: dict[str, str] | None = None, **fields: Any) -> Node:
    """Return a node of 4 cores, 8 GiB and 10 pods."""
    own = {"kubernetes.io/hostname": name} | ({"topology.kubernetes.io/zone": zone} if zone else {})
    fields = {"allocatable": Resources.of(cpu=4000, memory=8 * GIB, pods=10)} | fields
    return Node(name=name, labels=labels_of(own | (labels or {})), **fields)


def a_shape(*, labels: dict[str, str] | None = None, cpu: int = 500, memory: int = GIB, **fields: Any) -> PodShape:
    """Return the class of a pod with one container."""
    containers = (Container(name="app", requests=Resources.of(cpu=cpu, memory=memory)),)
    return PodShape(**{"namespace": "shop", "labels": labels_of(labels or {}), "containers": containers} | fields)


def a_pod(name: str, shape: PodShape, *, node: str = "n1", **fields: Any) -> Pod:
    return Pod(name=name, shape=shape, node=node, **fields)


def selecting(**labels: str) -> LabelSelector:
    return LabelSelector(labels_of(labels))
