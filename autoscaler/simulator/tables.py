"""
Pods and nodes as NumPy columns: one row each, rows reused, so that a step costs a few array operations.

Cores are float64 cores, memory float64 bytes, times epoch seconds. Rows are
handed out lowest first, so equal histories use equal rows.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from autoscaler.model.arrays import Floats, Ints, Rows
from autoscaler.model.node import Node
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import CPU, MEMORY

FREE, PENDING, STARTING, READY = 0, 1, 2, 3
"""States of a pod's row; STARTING includes waiting out a restart's back-off."""
NEVER = float("inf")


_POD_COLUMNS = {
    "state": np.int8,
    "service": np.intp,
    "node": np.intp,
    "version": np.int32,
    "serial": np.int64,
    "restarts": np.int32,
    "deletion_cost": np.int32,
    "cpu": np.float64,
    "cpu_limit": np.float64,
    "memory": np.float64,
    "memory_limit": np.float64,
    "created_at": np.float64,
    "placed_at": np.float64,
    "ready_at": np.float64,
    "burns_at": np.float64,
    "working_set": np.float64,
    "leaked": np.float64,
    "used_cores": np.float64,
    "used_bytes": np.float64,
    "rps": np.float64,
    "work_factor": np.float64,
    "memory_factor": np.float64,
    "leak_per_second": np.float64,
}


class _Rows:
    """Hands out row numbers, lowest free first; `top` is one more than the highest ever in use."""

    def __init__(self) -> None:
        self.top = 0
        self._free: list[int] = []

    def take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self.top += 1
        return self.top - 1

    def give_back(self, row: int) -> None:
        heapq.heappush(self._free, row)


class PodTable:
    """One row a pod; `shapes` and `names` go beside the columns."""

    state: npt.NDArray[np.int8]
    service: Rows
    node: Rows
    version: npt.NDArray[np.int32]
    serial: Ints
    restarts: npt.NDArray[np.int32]
    deletion_cost: npt.NDArray[np.int32]
    cpu: Floats
    cpu_limit: Floats
    memory: Floats
    memory_limit: Floats
    created_at: Floats
    placed_at: Floats
    ready_at: Floats
    burns_at: Floats
    working_set: Floats
    leaked: Floats
    used_cores: Floats
    used_bytes: Floats
    rps: Floats
    work_factor: Floats
    memory_factor: Floats
    leak_per_second: Floats

    def __init__(self, capacity: int = 256) -> None:
        self._rows = _Rows()
        self._capacity = capacity
        self.names: list[str] = [""] * capacity
        self.shapes: list[PodShape | None] = [None] * capacity
        self.by_service: dict[int, set[int]] = {}
        for name, kind in _POD_COLUMNS.items():
            setattr(self, name, np.zeros(capacity, kind))

    @property
    def top(self) -> int:
        return self._rows.top

    def live(self) -> Rows:
        """Return the rows in use, ascending."""
        return np.flatnonzero(self.state[: self.top])

    def of_service(self, service: int) -> Rows:
        """Return the rows of one service, ascending."""
        return np.array(sorted(self.by_service.get(service, ())), np.intp)

    def count(self, service: int) -> int:
        return len(self.by_service.get(service, ()))

    def add(self, name: str, shape: PodShape, *, service: int, serial: int, now: float) -> int:
        """Add a pending pod and return its row."""
        row = self._rows.take()
        if row >= self._capacity:
            self._grow()
        for column in _POD_COLUMNS:
            getattr(self, column)[row] = 0
        self.names[row] = name
        self.state[row], self.service[row], self.node[row] = PENDING, service, -1
        self.serial[row], self.created_at[row] = serial, now
        self.ready_at[row] = NEVER
        self.work_factor[row] = self.memory_factor[row] = 1.0
        self.by_service.setdefault(service, set()).add(row)
        self.set_shape(row, shape)
        return row

    def set_shape(self, row: int, shape: PodShape) -> None:
        """Give the pod other requests and limits; placement is the caller's business."""
        requests, limits = shape.containers[0].requests, shape.containers[0].limits
        self.shapes[row] = shape
        self.cpu[row] = requests.cpu / 1000
        self.memory[row] = requests.memory
        self.cpu_limit[row] = limits.cpu / 1000 if limits.has(CPU) else NEVER
        self.memory_limit[row] = limits.memory if limits.has(MEMORY) else NEVER

    def shape_of(self, row: int) -> PodShape:
        """Raises ValueError for a row that is not in use."""
        shape = self.shapes[row]
        if shape is None:
            raise ValueError(f"row {row} holds no pod")
        return shape

    def remove(self, row: int) -> None:
        self.by_service[int(self.service[row])].discard(row)
        self.state[row], self.node[row] = FREE, -1
        self.shapes[row], self.names[row] = None, ""
        self._rows.give_back(row)

    def _grow(self) -> None:
        for name in _POD_COLUMNS:
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
        self.names += [""] * self._capacity
        self.shapes += [None] * self._capacity
        self._capacity *= 2


class NodeTable:
    """One row a registered node, the placer's: what pods can share on it, and its value for the snapshot."""

    def __init__(self) -> None:
        self.row_of: dict[str, int] = {}
        self.cores: Floats = np.zeros(64)
        self.memory: Floats = np.zeros(64)
        self.pods: dict[int, set[int]] = {}
        self._nodes: dict[int, Node] = {}

    def add(self, row: int, node: Node, *, cores: float, memory: float) -> None:
        """Add a node on which pods can share so many cores and bytes."""
        while row >= len(self.cores):
            self.cores = np.concatenate([self.cores, np.zeros_like(self.cores)])
            self.memory = np.concatenate([self.memory, np.zeros_like(self.memory)])
        self.cores[row], self.memory[row] = cores, memory
        self._nodes[row] = node
        self.pods[row] = set()
        self.row_of[node.name] = row

    def node(self, row: int) -> Node:
        """Raises KeyError for a row that is not in use."""
        return self._nodes[row]

    def replace(self, row: int, node: Node) -> None:
        """Put a node's new value in place of the old one, of the same name."""
        self._nodes[row] = node

    def remove(self, row: int) -> None:
        del self.row_of[self._nodes.pop(row).name], self.pods[row]
        self.cores[row] = self.memory[row] = 0.0
