"""
The simulated cluster: its state, and the order in which a step happens.

A step covers `step_seconds` from `now`. First what changed since the last one
takes effect (faults, machines, workload controllers, scheduling, starts), then
load is served for the whole step, then `now` moves on: what was measured is
known, and machines that booted meanwhile have joined, at the new `now`. Semantics: docs/explanation/simulator.md.
"""

from __future__ import annotations

import bisect
from collections import Counter
from itertools import groupby

import msgspec
import numpy as np

from autoscaler.model.node import Node
from autoscaler.model.pod import Container, PodShape, ShapeInterner, Termination
from autoscaler.model.resources import PODS, Resources
from autoscaler.providers.memory import Changes, Instance, MemoryCloud
from autoscaler.simulator import controllers, faults, preempting, resizing, serving
from autoscaler.simulator.fleet import Fleet
from autoscaler.simulator.market import make_cloud, make_node
from autoscaler.simulator.measurements import Measurements
from autoscaler.simulator.placing import Placer
from autoscaler.simulator.spec import WorldSpec, check_world
from autoscaler.simulator.tables import READY, STARTING, NodeTable, PodTable


class Counters(msgspec.Struct):
    """
    What happened so far. `evictions` are by API and by deleting nodes under
    pods, `lost_pods` went with `lost_nodes` that the cloud took.
    `pending_seconds` adds up over pods that wait for a node.
    Placeholders are left out.
    """

    oom_kills: int = 0
    evictions: int = 0
    pod_starts: int = 0
    lost_pods: int = 0
    lost_nodes: int = 0
    pending_seconds: float = 0.0


class World:
    """
    A cluster that moves one step at a time.

    `changed_pods`, `changed_nodes` and `changed_fleets` hold what a reader of
    the cluster has to look at again; the reader clears them. `order` has
    (namespace, name, row) of all pods, sorted.
    """

    def __init__(self, spec: WorldSpec) -> None:
        check_world(spec)
        self.spec = spec
        self.index = spec.history_steps - spec.warmup_steps
        """Column of the next step in every series."""
        self.now = spec.start - spec.warmup_seconds
        seeds = np.random.SeedSequence(spec.seed).spawn(4)
        self.cloud: MemoryCloud = make_cloud(spec, seed=int(seeds[0].generate_state(1)[0]), now=self.now)
        self.random = np.random.default_rng(seeds[1])
        self.pods, self.nodes, self.placer = PodTable(), NodeTable(), Placer()
        self.interner = ShapeInterner()
        self.fleets = [Fleet(index, service, self.interner) for index, service in enumerate(spec.services)]
        self.fleet_of = {fleet.key: fleet for fleet in self.fleets}
        self.behaviour = serving.behaviour_of(spec)
        self.measured = Measurements(spec, seed=int(seeds[2].generate_state(1)[0]))
        self.faults = faults.FaultSchedule(spec)
        self.counters = Counters()
        self.order: list[tuple[str, str, int]] = []
        self.terminations: dict[int, Termination] = {}
        self.waiting_since: dict[int, float] = {}
        self.resizes: dict[int, resizing.PendingResize] = {}
        self.changed_pods: set[int] = set()
        self.changed_nodes: set[str] = set()
        self.changed_fleets: set[int] = set(range(len(self.fleets)))
        self.unsettled: set[int] = set(range(len(self.fleets)))
        self.daemons = _daemon_shapes(spec.daemon_overhead)
        self._by_type: Counter[str] = Counter()
        self._lowest_priority = min((service.priority for service in spec.services), default=0)
        self._serial = 0
        self._tried = -1
        self._new_pending = False
        self._warm_start()

    @property
    def counted(self) -> bool:
        """Whether the next step is past the warm-up."""
        return self.index >= self.spec.history_steps

    @property
    def is_over(self) -> bool:
        return self.index >= self.spec.steps

    def step(self) -> serving.ServiceStep:
        """Play one step; raises ValueError after the last one."""
        if self.is_over:
            raise ValueError(f"the run ended at step {self.index}")
        self.faults.apply(self)
        self._take_changes(self.cloud.advance(self.now))
        controllers.reconcile(self)
        resizing.retry(self)
        self._schedule()
        self._start_ready()
        result = serving.serve_step(self)
        waiting = sum(self._counts(row) for row in self.waiting_since)
        self.counters.pending_seconds += waiting * self.spec.step_seconds
        self.measured.record(self, result)
        self.index += 1
        self.now = self.spec.start + (self.index - self.spec.history_steps) * self.spec.step_seconds
        self._take_changes(self.cloud.advance(self.now))
        return result

    def create_pod(self, fleet: Fleet) -> int:
        self._serial += 1
        row = self.pods.add(fleet.next_name(), fleet.template, service=fleet.index, serial=self._serial, now=self.now)
        self.pods.version[row] = fleet.version
        self.pods.work_factor[row], self.pods.memory_factor[row] = fleet.work_factor, fleet.memory_factor
        self.pods.leak_per_second[row] = fleet.leak_per_second
        bisect.insort(self.order, (fleet.service.namespace, self.pods.names[row], row))
        self.waiting_since[row] = self.now
        self.changed_pods.add(row)
        self.changed_fleets.add(fleet.index)
        self._new_pending = True
        self.counters.pod_starts += not fleet.service.is_placeholder
        return row

    def delete_pod(self, row: int) -> None:
        pods, fleet = self.pods, self.fleets[self.pods.service[row]]
        node = int(pods.node[row])
        if node >= 0:
            self.placer.give_back(node, self.allocated_shape(row))
            self.nodes.pods[node].discard(row)
        name = pods.names[row]
        del self.order[bisect.bisect_left(self.order, (fleet.service.namespace, name, row))]
        fleet.forget_name(name)
        for notes in (self.terminations, self.waiting_since, self.resizes):
            notes.pop(row, None)
        pods.remove(row)
        self.changed_pods.add(row)
        self.changed_fleets.add(fleet.index)
        self.unsettled.add(fleet.index)

    def allocated_shape(self, row: int) -> PodShape:
        """Return the requests in force on the node, which a resize that waits has not changed yet."""
        waiting = self.resizes.get(row)
        return waiting.allocated if waiting is not None else self.pods.shape_of(row)

    def row_of(self, key: str) -> int | None:
        """Return the row of the pod `namespace/name`, None if there is none."""
        namespace, _, name = key.partition("/")
        at = bisect.bisect_left(self.order, (namespace, name, -1))
        if at < len(self.order) and self.order[at][:2] == (namespace, name):
            return self.order[at][2]
        return None

    def nodes_by_type(self) -> Counter[str]:
        """Count nodes in service by instance type."""
        return self._by_type

    def cordon(self, name: str, *, unschedulable: bool) -> None:
        row = self.nodes.row_of[name]
        node = self.nodes.node(row)
        self.nodes.replace(row, msgspec.structs.replace(node, unschedulable=unschedulable))
        self.placer.cordon(row, unschedulable=unschedulable)
        self.changed_nodes.add(name)

    def start_pod(self, row: int, *, after: float = 0.0) -> None:
        """Begin a pod's (re)start, `after` seconds from now."""
        service = int(self.pods.service[row])
        seconds = self.fleets[service].service.start_seconds * self.faults.start_factor[service]
        self.pods.state[row] = STARTING
        self.pods.burns_at[row] = self.now + after
        self.pods.ready_at[row] = self.now + after + seconds
        self.pods.working_set[row] = self.pods.leaked[row] = 0.0
        self.changed_pods.add(row)
        self.changed_fleets.add(service)

    def _warm_start(self) -> None:
        self._take_changes(self.cloud.advance(self.now))
        controllers.reconcile(self)
        self._schedule()
        rows = np.flatnonzero(self.pods.state[: self.pods.top] == STARTING)
        self.pods.ready_at[rows] = self.now
        self.counters.pod_starts = 0

    def _take_changes(self, changes: Changes) -> None:
        for machine in changes.joined:
            self._add_node(make_node(self.cloud.group(machine.group), machine, now=self.now))
        noticed = {machine.id: machine.interrupt_at for machine in changes.noticed}
        for row in self.nodes.row_of.values() if noticed else ():
            node = self.nodes.node(row)
            if node.instance_id in noticed:
                self.nodes.replace(row, msgspec.structs.replace(node, interrupt_at=noticed[node.instance_id]))
                self.changed_nodes.add(node.name)
        self.counters.lost_nodes += len(changes.taken)
        self.counters.lost_pods += self._remove_machines(changes.taken)
        self.counters.evictions += self._remove_machines(changes.deleted)

    def _remove_machines(self, machines: list[Instance]) -> int:
        """Take the nodes of these machines away with all that runs on them; return how many pods that was."""
        if not machines:
            return 0
        ids = {machine.id for machine in machines}
        rows = [row for row in self.nodes.row_of.values() if self.nodes.node(row).instance_id in ids]
        return sum(self._remove_node(row) for row in rows)

    def _add_node(self, node: Node) -> None:
        overhead = self.spec.daemon_overhead
        row = self.placer.add_node(node)
        self.nodes.add(
            row,
            node,
            cores=max(node.allocatable.cpu - overhead.cpu, 1) / 1000,
            memory=max(node.allocatable.memory - overhead.memory, 1),
        )
        for shape in self.daemons:
            self.placer.take(row, shape)
        self._by_type[node.instance_type] += 1
        self.changed_nodes.add(node.name)

    def _remove_node(self, row: int) -> int:
        node = self.nodes.node(row)
        self._by_type[node.instance_type] -= 1
        victims = sorted(self.nodes.pods[row])
        lost = sum(self._counts(pod) for pod in victims)
        for pod in victims:
            self.delete_pod(pod)
        self.placer.remove_node(row)
        self.nodes.remove(row)
        self.changed_nodes.add(node.name)
        return lost

    def _counts(self, row: int) -> bool:
        return not self.fleets[self.pods.service[row]].service.is_placeholder

    def _schedule(self) -> None:
        """
        Place what waits, by priority and then age, if anything has changed since it was last tried.

        What fits nowhere takes the place of pods of lower priority.
        """
        if not self.waiting_since or (self.placer.change == self._tried and not self._new_pending):
            return
        pods = self.pods
        queue = sorted(self.waiting_since, key=lambda row: (-pods.shape_of(row).priority, pods.serial[row]))
        hopeless: set[PodShape] = set()
        for shape, alike in groupby(queue, key=pods.shape_of):
            if shape in hopeless:
                continue
            rows = list(alike)
            nodes = self.placer.place(shape, len(rows))
            for _ in rows[len(nodes) :] if shape.priority > self._lowest_priority else ():
                taken = preempting.place_by_preemption(self, shape)
                if taken is None:
                    break
                nodes.append(taken)
            for row, node in zip(rows, nodes, strict=False):
                self._bind(row, node)
            if len(nodes) < len(rows):
                hopeless.add(shape)
        self._tried, self._new_pending = self.placer.change, False

    def _bind(self, row: int, node: int) -> None:
        del self.waiting_since[row]
        self.pods.node[row], self.pods.placed_at[row] = node, self.now
        self.nodes.pods[node].add(row)
        self.start_pod(row)

    def _start_ready(self) -> None:
        pods = self.pods
        due = np.flatnonzero((pods.state[: pods.top] == STARTING) & (pods.ready_at[: pods.top] <= self.now))
        for row in due.tolist():
            pods.state[row] = READY
            pods.ready_at[row] = self.now
            self.changed_pods.add(row)
            self.changed_fleets.add(int(pods.service[row]))


def _daemon_shapes(overhead: Resources) -> tuple[PodShape, ...]:
    """One DaemonSet pod for each pod of the overhead; the first asks for all its cores and bytes."""
    rest = Resources.of({name: amount for name, amount in overhead.items() if name != PODS})
    if not rest.amounts and not overhead.get(PODS):
        return ()
    first = PodShape(
        namespace="kube-system",
        containers=(Container(name="agent", requests=rest),),
        owner_kind="DaemonSet",
        priority=2_000_001_000,
    )
    bare = msgspec.structs.replace(first, containers=(Container(name="agent"),))
    return (first,) + (bare,) * (max(overhead.get(PODS), 1) - 1)
