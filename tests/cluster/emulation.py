"""
What the kwok pods would use and serve, by the simulator's own model of services.

The load of a workload is either set by hand or follows a scenario's trace,
`speed` trace seconds a second. Counters run in real time, so that a rate over
them gives cores and requests a second whatever the speed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from autoscaler.model.arrays import Floats, Rows
from autoscaler.model.node import Node as NodeValue
from autoscaler.model.pod import Container, PodShape
from autoscaler.model.resources import Resources
from autoscaler.model.units import MIB, quantity_milli, quantity_value
from autoscaler.model.workload import workload_key
from autoscaler.simulator import serving
from autoscaler.simulator.demand import Served
from autoscaler.simulator.spec import Service, WorldSpec
from autoscaler.simulator.tables import PENDING, READY, STARTING, NodeTable, PodTable
from tests.cluster import mirror

TICK_SECONDS = 0.5
CFS_PERIODS_PER_SECOND = 10.0
"""Linux's default period is 100 ms."""
STANDARD_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: the default buckets of Prometheus's client libraries."""
COUNTERS = ("cpu_seconds", "periods", "throttled", "served", "failed")


class Load(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """
    A workload's load as set by hand, for all its pods together.

    Either `requests` a second, at `cores_per_request` each, or `cores`.
    """

    namespace: str
    name: str
    kind: str = "Deployment"
    requests: float | None = None
    cores: float | None = None
    cores_per_request: float = 0.01
    idle_cores: float = 0.0
    memory_bytes: float = 64.0 * MIB
    bytes_per_request: float = 0.0
    """Memory of a pod for each request a second on it."""
    parallelism: float = 64.0
    service_seconds: float = 0.05
    slowdown: float = 4.0
    measured: float = 1.0
    """Share of its pods whose use is known; the others, last by name, are missing from what is published of use."""

    def service(self) -> Service:
        """Return the simulator's words for it."""
        return Service(
            name=self.name,
            namespace=self.namespace,
            kind=self.kind,
            requests=_constant(self.requests),
            cores=_constant(self.cores),
            cores_per_request=self.cores_per_request,
            idle_cores=self.idle_cores,
            base_bytes=self.memory_bytes,
            bytes_per_rps=self.bytes_per_request,
            parallelism=self.parallelism,
            start_cores=0.0,
            memory_half_life_seconds=0.0,
            service_seconds=self.service_seconds,
            slowdown=self.slowdown,
        )


class Emulation:
    """
    The pods of a cluster under load.

    `update` takes what the cluster looks like, `advance` lets time pass, the
    columns of `pods` and `counters` (by row) say what came of it.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.pods, self.nodes = PodTable(), NodeTable()
        self.random = np.random.default_rng(seed)
        self.index, self.now = 0, 0.0
        self.known: dict[tuple[str, str], mirror.Pod] = {}
        self.rows: dict[tuple[str, str], int] = {}
        self.counters: dict[str, Floats] = {name: np.zeros(1) for name in COUNTERS}
        self.in_bucket = np.zeros((1, len(STANDARD_BOUNDS) + 2))
        """Requests by row and latency bucket, not cumulated; the last has no bound."""
        self.failed_in_bucket = np.zeros_like(self.in_bucket)
        self.speed = 1.0
        self._trace: WorldSpec | None = None
        self._trace_seconds = 0.0
        self._by_hand: dict[str, Service] = {}
        self._measured: dict[str, float] = {}
        self._measured_now: dict[str, float] = {}
        self._services: list[Service] = []
        self._index_of: dict[str, int] = {}
        self._seen_nodes: dict[str, mirror.Node] = {}
        self._free_node_rows: list[int] = []
        self._rebuild([])

    # What the simulator's model reads, besides `pods`, `nodes`, `random`, `index` and `now`.
    spec: WorldSpec
    behaviour: serving.Behaviour

    @property
    def trace(self) -> WorldSpec | None:
        """The scenario that is played, if one is."""
        return self._trace

    @property
    def trace_seconds(self) -> float:
        """How far the scenario is, from its start."""
        return self._trace_seconds

    def play(self, spec: WorldSpec, *, speed: float, begin_seconds: float = 0.0) -> None:
        """Let the scenario's services follow its traces from *begin_seconds* after its start; by hand comes first."""
        self._trace, self.speed, self._trace_seconds = spec, speed, begin_seconds
        self._rebuild(list(self._index_of))

    def reset(self) -> None:
        """Forget all loads and the scenario: every pod idles."""
        self._trace, self.speed, self._trace_seconds = None, 1.0, 0.0
        self._by_hand.clear()
        self._measured.clear()
        self._rebuild(list(self._index_of))

    def set_load(self, load: Load) -> None:
        """Set a workload's load, in place of any trace."""
        service = load.service()
        self._by_hand[service.key] = service
        self._measured[service.key] = load.measured
        self._rebuild([*self._index_of, service.key])

    def service_of(self, row: int) -> Service:
        """Return how the pod in a row behaves."""
        return self._services[int(self.pods.service[row])]

    def measured_pods(self) -> list[tuple[str, str]]:
        """Return the keys, in order, of pods whose use is published."""
        by_workload: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for key in sorted(self.known):
            by_workload[workload_of(self.known[key])].append(key)
        return sorted(
            key
            for workload, keys in by_workload.items()
            for key in keys[: math.ceil(len(keys) * self._measured_now.get(workload, 1.0))]
        )

    def bounds_of(self, row: int) -> Floats:
        """Return the upper bounds of the latency buckets of the pod in a row, seconds; its objective is one."""
        bounds: Floats = self._bounds[self.pods.service[row]]
        return bounds

    def update(self, pods: Mapping[tuple[str, str], mirror.Pod], nodes: Iterable[mirror.Node]) -> None:
        """Take over what the cluster looks like now."""
        self._update_nodes({node.metadata.name: node for node in nodes})
        for gone in [key for key, pod in self.known.items() if not _is_same(pods.get(key), pod)]:
            self.pods.remove(self.rows.pop(gone))
            del self.known[gone]
        changed = {key: pod for key, pod in pods.items() if _has_begun(pod) and not self._is_settled(key, pod)}
        workloads = {workload_of(pod) for pod in changed.values()}
        if not workloads <= self._index_of.keys():
            self._rebuild([*self._index_of, *sorted(workloads)])
        for key, pod in changed.items():
            if key not in self.rows:
                self._add(key, pod)
            self._change(key, pod)

    def advance(self, seconds: float) -> list[tuple[str, str]]:
        """Let real *seconds* pass; return the keys of pods whose memory is over their limit."""
        self.now += seconds
        self._trace_seconds += seconds * self.speed
        self._set_loads()
        rows, served = serving.serve_pods(self)
        # Only now: use of the load before must not show under what is measured from here on.
        self._measured_now = self._measured.copy()
        self._count(rows, served, seconds)
        over = rows[(self.pods.used_bytes[rows] > self.pods.memory_limit[rows]) & (self.pods.state[rows] == READY)]
        names = {row: key for key, row in self.rows.items()} if len(over) else {}
        return [names[row] for row in over.tolist()]

    def loads(self) -> dict[str, float]:
        """Return what load each workload has now, by its key: requests a second, or cores."""
        return {service.key: float(self.behaviour.load[at, 0]) for at, service in enumerate(self._services)}

    def _rebuild(self, keys: list[str]) -> None:
        """Make the model's columns for the workloads *keys*, in that order, once each."""
        traced = {service.key: service for service in self._trace.services} if self._trace is not None else {}
        chosen = {key: self._by_hand.get(key) or traced.get(key) or _idle(key) for key in [*keys, *traced]}
        self._services = list(chosen.values())
        self._index_of = {key: at for at, key in enumerate(chosen)}
        step = TICK_SECONDS * self.speed
        self.spec = WorldSpec(
            services=tuple(map(_first_step, self._services)),
            pools=(),
            step_seconds=step,
            length_seconds=step,
            load_noise=self._trace.load_noise if self._trace is not None else 0.0,
        )
        self.behaviour = serving.behaviour_of(self.spec)
        self._bounds = np.array([_bounds(each) for each in self._services]).reshape(-1, len(STANDARD_BOUNDS) + 1)

    def _set_loads(self) -> None:
        if self._trace is None:
            return
        step = self._trace.history_steps + int(self._trace_seconds / self._trace.step_seconds)
        step = min(step, self._trace.steps - 1)
        for at, service in enumerate(self._services):
            series = service.requests if service.requests is not None else service.cores
            if series is not None and len(series) > 1:
                self.behaviour.load[at, 0] = series[step]
            if service.bytes_used is not None and self.behaviour.bytes_used is not None:
                self.behaviour.bytes_used[at, 0] = service.bytes_used[step]

    def _add(self, key: tuple[str, str], pod: mirror.Pod) -> None:
        service = self._index_of[workload_of(pod)]
        row = self.pods.add(key[1], _shape(pod), service=service, serial=0, now=self.now)
        self.pods.leak_per_second[row] = self._services[service].leak_bytes_per_hour / 3600
        self.rows[key] = row
        if row >= len(self.in_bucket):
            self.counters = {name: _grown(column) for name, column in self.counters.items()}
            self.in_bucket, self.failed_in_bucket = _grown(self.in_bucket), _grown(self.failed_in_bucket)
        for column in (*self.counters.values(), self.in_bucket, self.failed_in_bucket):
            column[row] = 0.0

    def _change(self, key: tuple[str, str], pod: mirror.Pod) -> None:
        pods, row = self.pods, self.rows[key]
        if pod.restarts > pods.restarts[row]:
            pods.working_set[row] = pods.leaked[row] = 0.0
        pods.restarts[row] = pod.restarts
        pods.set_shape(row, _shape(pod))
        node = self.nodes.row_of.get(pod.spec.node_name, -1)
        pods.node[row] = node
        pods.state[row] = PENDING if node < 0 else READY if pod.is_ready else STARTING
        self.known[key] = pod

    def _is_settled(self, key: tuple[str, str], pod: mirror.Pod) -> bool:
        """Return whether a pod is as it was; one whose node was not known is looked at again."""
        return self.known.get(key) is pod and self.pods.node[self.rows[key]] >= 0

    def _update_nodes(self, nodes: dict[str, mirror.Node]) -> None:
        for name in [name for name in self.nodes.row_of if name not in nodes]:
            row = self.nodes.row_of[name]
            self.pods.node[self.pods.node == row] = -1
            self.nodes.remove(row)
            self._free_node_rows.append(row)
            del self._seen_nodes[name]
        for name, node in nodes.items():
            if self._seen_nodes.get(name) is node:
                continue
            cores = quantity_milli(node.status.allocatable.get("cpu", "0")) / 1000
            memory = float(quantity_value(node.status.allocatable.get("memory", "0")))
            if name in self.nodes.row_of:
                row = self.nodes.row_of[name]
                self.nodes.cores[row], self.nodes.memory[row] = cores, memory
            else:
                row = self._free_node_rows.pop() if self._free_node_rows else len(self.nodes.row_of)
                self.nodes.add(row, NodeValue(name=name, allocatable=Resources.of()), cores=cores, memory=memory)
            self._seen_nodes[name] = node

    def _count(self, rows: Rows, served: Served, seconds: float) -> None:
        pods, counters = self.pods, self.counters
        counters["cpu_seconds"][rows] += served.used * seconds
        limited = np.isfinite(pods.cpu_limit[rows])
        periods = np.where(limited, CFS_PERIODS_PER_SECOND * seconds, 0.0)
        counters["periods"][rows] += periods
        counters["throttled"][rows] += periods * served.throttled
        arrived = pods.rps[rows] * seconds
        failed = arrived * served.dropped
        counters["served"][rows] += arrived - failed
        counters["failed"][rows] += failed
        busy = np.flatnonzero(arrived > 0)
        if not len(busy):
            return
        service = pods.service[rows[busy]]
        capped = np.minimum(served.slowdown[busy], serving.TIMEOUT_SLOWDOWN)
        latency = capped * self.behaviour.service_seconds[service]
        bucket = (latency[:, None] > self._bounds[service] + 1e-12).sum(axis=1)
        self.in_bucket[rows[busy], bucket] += arrived[busy] - failed[busy]
        self.failed_in_bucket[rows[busy], bucket] += failed[busy]


def workload_of(pod: mirror.Pod) -> str:
    """Return the key of the workload that a pod belongs to: its Deployment, other controller, or itself."""
    owner = next((each for each in pod.metadata.owner_references if each.controller), None)
    namespace = pod.metadata.namespace
    if owner is None:
        return workload_key(namespace, "Pod", pod.metadata.name)
    # A Deployment names its ReplicaSets NAME-HASH and its pods carry the hash.
    suffix = "-" + pod.metadata.labels.get("pod-template-hash", "")
    if owner.kind == "ReplicaSet" and len(suffix) > 1 and owner.name.endswith(suffix):
        return workload_key(namespace, "Deployment", owner.name.removesuffix(suffix))
    return workload_key(namespace, owner.kind, owner.name)


def _has_begun(pod: mirror.Pod) -> bool:
    return pod.status.phase == "Running"


def _is_same(now: mirror.Pod | None, before: mirror.Pod) -> bool:
    return now is not None and _has_begun(now) and now.metadata.uid == before.metadata.uid


def _shape(pod: mirror.Pod) -> PodShape:
    first = pod.spec.containers[0]
    container = Container(
        name=first.name,
        requests=_resources(first.resources.requests),
        limits=_resources(first.resources.limits),
    )
    return PodShape(namespace=pod.metadata.namespace, containers=(container,))


def _resources(amounts: Mapping[str, str]) -> Resources:
    known = {name: text for name, text in amounts.items() if name in ("cpu", "memory")}
    return Resources.of({n: quantity_milli(t) if n == "cpu" else quantity_value(t) for n, t in known.items()})


def _idle(key: str) -> Service:
    namespace, kind, name = key.split("/")
    return Load(namespace=namespace, kind=kind, name=name, idle_cores=0.001, memory_bytes=16.0 * MIB).service()


def _first_step(service: Service) -> Service:
    """Return the service with series of one step, which is played over and over with other values."""
    first = {
        name: series[:1]
        for name in ("requests", "cores", "bytes_used")
        if (series := getattr(service, name)) is not None
    }
    return msgspec.structs.replace(service, **first)


def _bounds(service: Service) -> Floats:
    return np.array(sorted((*STANDARD_BOUNDS, service.slowdown * service.service_seconds)))


def _constant(value: float | None) -> npt.NDArray[np.float32] | None:
    return None if value is None else np.array([value], np.float32)


def _grown(column: Floats) -> Floats:
    return np.concatenate([column, np.zeros_like(column)])
