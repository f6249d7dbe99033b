"""
A plan is only good if the scheduler can realise it: put the pods on the new nodes as kube-scheduler would.

A packing relies on pods meeting that need not meet: the scheduler spreads by
LeastAllocated and takes pods as they come, so that some find no room on nodes
that would hold them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.pod import PodShape
from autoscaler.planning.purchase import Bought
from autoscaler.scheduling.simulation import Simulation

_WAVES = 8
"""Pods arrive mixed in so many waves."""
_PREFIX = "~new"
"""Sorts after every name that Kubernetes allows, so that ties favour nodes that are there."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes that got pods, with those pods; and how many of each class found no room (by pending class)."""

    nodes: tuple[Bought, ...]
    left: Mapping[int, int]


class Replay:
    """New nodes on a simulation; nodes may be added in several rounds."""

    def __init__(self, simulation: Simulation, shapes: Sequence[PodShape]) -> None:
        """Work on a fork of *simulation*; *shapes* are the pending classes."""
        self._simulation = simulation.fork()
        self._shapes = shapes
        self._rows: dict[int, Bought] = {}
        self._asked: dict[int, int] = {}
        self._waiting: dict[int, int] = {}

    def add(self, nodes: Sequence[Bought], demand: Mapping[int, int]) -> Mapping[int, int]:
        """Add *nodes*, let *demand* (pods by class) and whoever still waits come; return who waits then."""
        for node in nodes:
            row = self._simulation.add_node(node.offer.template, f"{_PREFIX}-{len(self._rows):06d}")
            self._rows[row] = node
        for index, count in demand.items():
            self._asked[index] = self._asked.get(index, 0) + count
            self._waiting[index] = self._waiting.get(index, 0) + count
        order = sorted((index for index in self._waiting if self._waiting[index]), key=self._importance)
        for priority in dict.fromkeys(self._shapes[index].priority for index in order):
            equals = [index for index in order if self._shapes[index].priority == priority]
            asked = [(self._shapes[index], self._waiting[index]) for index in equals]
            left = self._simulation.place_mixed(asked, waves=_WAVES)
            self._waiting.update(zip(equals, left, strict=True))
        return {index: count for index, count in sorted(self._waiting.items()) if count}

    def result(self) -> Replayed:
        """Return what the nodes hold of what was asked; nodes that no pod came to are left out."""
        pods: dict[int, list[tuple[int, int]]] = {}
        uncounted: dict[PodShape, dict[int, int]] = {}
        for index, asked in sorted(self._asked.items()):
            shape, placed = self._shapes[index], asked - self._waiting[index]
            rows = uncounted.setdefault(shape, dict(self._simulation.pods_of(shape)))
            # Classes of one shape cannot be told apart on a node: the first of them gets the first pods.
            for row in [row for row in rows if row in self._rows]:
                part = min(placed, rows[row])
                if part:
                    pods.setdefault(row, []).append((index, part))
                    rows[row] -= part
                    placed -= part
        nodes = tuple(
            Bought(offer=node.offer, pods=tuple(pods[row])) for row, node in self._rows.items() if row in pods
        )
        return Replayed(nodes=nodes, left={index: count for index, count in self._waiting.items() if count})

    def _importance(self, index: int) -> tuple[int, int]:
        return -self._shapes[index].priority, index
