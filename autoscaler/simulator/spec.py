"""
What a simulated cluster is made of: services and their load, machines on offer, delays and faults.

Everything is a value, so equal specs (the seed included) give equal runs, byte
for byte. Semantics: docs/explanation/simulator.md. Times within a run are in
seconds since `WorldSpec.start`; negative ones lie in the warm-up or the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from autoscaler.model.node import InstanceType
from autoscaler.model.placement import Labels, Taint, Toleration, TopologySpread
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.units import DAY, HOUR, MIB
from autoscaler.model.workload import workload_key

Floats = npt.NDArray[np.float32]
FOREVER = float("inf")
LONGEST = 1e11
"""Seconds: some 3,000 years."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """
    One workload and the truth about how it behaves, which controllers never see.

    Work comes from exactly one of three series, each with one value per step
    over history and run, `WorldSpec.steps` in all:

    * `requests`: requests a second that reach the service; CPU follows from
      `cores_per_request` and `idle_cores`, memory from `base_bytes` and
      `bytes_per_rps` (bytes for each request a second on that pod);
    * `cores`: cores the service uses in total (a recorded machine); `bytes_used`
      may give the working set of each pod beside it;
    * neither: pods use `idle_cores` and `base_bytes` each.

    `replica_series` takes the replica count out of everybody's hands: a
    recorded job whose pods come and go.
    """

    name: str
    namespace: str = "default"
    kind: str = "Deployment"
    priority: int = 0
    container: str = "app"

    requests: Floats | None = None
    cores: Floats | None = None
    bytes_used: Floats | None = None
    replica_series: npt.NDArray[np.int32] | None = None

    cores_per_request: float = 0.0
    idle_cores: float = 0.02
    base_bytes: float = 128.0 * MIB
    bytes_per_rps: float = 0.0
    parallelism: float = 2.0
    """Cores one pod can use at most."""
    start_seconds: float = 30.0
    """From being placed on a node to Ready."""
    start_cores: float | None = None
    """Cores a starting pod burns; None: half of its request."""
    memory_half_life_seconds: float = 10_400.0
    """How fast a working set falls towards what the load needs; 0: at once."""
    leak_bytes_per_hour: float = 0.0
    """Growth of each pod's working set while it runs, until it restarts."""

    service_seconds: float = 0.05
    """Latency of a request on an idle pod."""
    slowdown: float = 4.0
    """The objective: latency at most this many times `service_seconds`."""
    allowed_share: float = 0.05
    """Share of an interval's requests that may be slower than the objective."""

    pod_requests: Resources = Resources.of(cpu=500, memory=512 * MIB)
    pod_limits: Resources = NOTHING
    replicas: int = 2
    min_replicas: int = 1
    max_replicas: int = 200

    max_unavailable: str = "25%"
    """Of the PodDisruptionBudget: a count or a percentage; "" for no budget."""
    node_selector: Labels = ()
    tolerations: tuple[Toleration, ...] = ()
    anti_affinity: tuple[str, ...] = ()
    """Topology keys by which no two of its pods may share a domain."""
    spread: tuple[TopologySpread, ...] = ()
    """Constraints whose selector is None are taken to select the service's own pods."""

    exports_requests: bool = True
    exports_latency: bool = True
    declares_parallelism: bool = False
    scalable: bool = True
    is_placeholder: bool = False
    """Its pods do nothing but hold room: their starts, waits and losses are not counted, and they miss no objective."""

    @property
    def key(self) -> str:
        return workload_key(self.namespace, self.kind, self.name)


class InstancePool(msgspec.Struct, frozen=True, kw_only=True):
    """
    A machine model on offer; each of its `instance.offerings` is one node group.

    Boot times are log-normal with median `boot_seconds` and `boot_spread` as
    the standard deviation of the logarithm. `max_nodes` bounds each group.
    """

    instance: InstanceType
    max_nodes: int = 1000
    min_nodes: int = 0
    boot_seconds: float = 90.0
    boot_spread: float = 0.0
    labels: Labels = ()
    taints: tuple[Taint, ...] = ()
    weight: int = 0


class InitialNodes(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes that are there, and ready, when the run begins. `zone` "" takes the first offering."""

    instance_type: str
    count: int
    zone: str = ""
    capacity_type: str = "on-demand"


class Delays(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; shares are 0-1."""

    metrics_seconds: float = 60.0
    """Age of the newest metric a controller can read."""
    launch_failure_share: float = 0.0
    """Share of launches that the cloud accepts and that never become a node."""
    launch_timeout_seconds: float = 300.0
    """After which a failed launch is given up and reported as a failure."""
    interruption_notice_seconds: float = 120.0
    """Warning before a spot node is taken."""
    restart_backoff_seconds: float = 10.0
    """Back-off after a pod's first OOM kill, doubling to five minutes."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="fault", tag=True):
    """Something that goes wrong from `start` until `end`."""

    start: float
    end: float = FOREVER


class MetricsOutage(Fault, frozen=True, kw_only=True):
    """No metrics of one service (by name), or of all with ""."""

    service: str = ""


class DirtyMetrics(Fault, frozen=True, kw_only=True):
    """
    A share of the samples is wrong: `gaps` are absent, `zeros` read 0, `nan` is
    not a number, `negative` has the wrong sign. What is not a number or
    negative reaches a controller as Missing, as from any source.
    """

    kind: str = "gaps"
    share: float = 0.1
    service: str = ""


class NodeLoss(Fault, frozen=True, kw_only=True):
    """At `start`, `count` nodes of a type and zone ("" for any) are gone without warning."""

    count: int = 1
    instance_type: str = ""
    zone: str = ""


class StockOut(Fault, frozen=True, kw_only=True):
    """The cloud has no more of a type, zone or capacity type ("" for any)."""

    instance_type: str = ""
    zone: str = ""
    capacity_type: str = ""


class ApiErrors(Fault, frozen=True, kw_only=True):
    """A share of the calls to the cloud fails with a TransientError."""

    share: float = 1.0


class BadDeploy(Fault, frozen=True, kw_only=True):
    """A new version of a service needs this many times the CPU per request and the memory; rolled back at `end`."""

    service: str
    cores_factor: float = 1.0
    memory_factor: float = 1.0
    leak_bytes_per_hour: float = 0.0


class SlowStarts(Fault, frozen=True, kw_only=True):
    """Pods (of one service, or all with "") take this many times as long to become ready."""

    factor: float = 4.0
    service: str = ""


AnyFault = MetricsOutage | DirtyMetrics | NodeLoss | StockOut | ApiErrors | BadDeploy | SlowStarts


class WorldSpec(msgspec.Struct, frozen=True, kw_only=True):
    """
    A whole simulated cluster and how long to run it.

    The run covers `warmup_seconds` before `start` (played, not counted) and
    `length_seconds` after it (counted). `history_seconds` before `start` exist
    as metric history; they include the warm-up. `start` is in epoch seconds.
    """

    services: tuple[Service, ...]
    pools: tuple[InstancePool, ...]
    name: str = "simulated"
    start: float = 1_700_006_400.0
    length_seconds: float = 3 * DAY
    history_seconds: float = 0.0
    warmup_seconds: float = 0.0
    step_seconds: float = 30.0
    period_seconds: float = 30.0
    """Between two decisions; a multiple of the step."""
    seed: int = 0
    initial_nodes: tuple[InitialNodes, ...] = ()
    daemon_overhead: Resources = Resources.of(cpu=250, memory=600 * MIB, pods=1)
    delays: Delays = Delays()
    faults: tuple[AnyFault, ...] = ()
    load_noise: float = 0.05
    """Relative standard deviation of how unevenly requests spread over pods."""

    @property
    def history_steps(self) -> int:
        return round(self.history_seconds / self.step_seconds)

    @property
    def warmup_steps(self) -> int:
        return round(self.warmup_seconds / self.step_seconds)

    @property
    def length_steps(self) -> int:
        return round(self.length_seconds / self.step_seconds)

    @property
    def steps(self) -> int:
        """Values that each series must have: history (warm-up included), then run."""
        return self.history_steps + self.length_steps


def check_world(spec: WorldSpec) -> None:
    """
    Raise ValueError, naming the part, for a spec that cannot be run.

    Files are checked where they are read; this catches specs built in code.
    """
    for problem in _problems(spec):
        raise ValueError(problem)


def _problems(spec: WorldSpec) -> Iterator[str]:
    yield from _time_problems(spec)
    if not spec.pools:
        yield "pools must not be empty"
    counts = Counter(service.key for service in spec.services)
    for key in sorted(key for key, count in counts.items() if count > 1):
        yield f"two services are called {key}"
    for service in spec.services:
        yield from _service_problems(service, spec.steps)
    known = {pool.instance.name for pool in spec.pools}
    for initial in spec.initial_nodes:
        if initial.instance_type not in known:
            yield f"initial_nodes names {initial.instance_type}, which no pool offers"


def _time_problems(spec: WorldSpec) -> Iterator[str]:
    if not 1 <= spec.step_seconds <= HOUR:
        yield f"step_seconds must be 1 to 3600, got {spec.step_seconds}"
    for name in ("start", "length_seconds", "history_seconds", "warmup_seconds", "period_seconds"):
        if not 0 <= getattr(spec, name) < LONGEST:
            yield f"{name} must be 0 to {LONGEST:g}, got {getattr(spec, name)}"
    if spec.length_steps < 1:
        yield f"length_seconds must be at least one step, got {spec.length_seconds}"
    if not 0 <= spec.warmup_steps <= spec.history_steps:
        yield f"warmup_seconds must be 0 to history_seconds, got {spec.warmup_seconds}"
    if spec.period_seconds < spec.step_seconds or spec.period_seconds % spec.step_seconds:
        yield f"period_seconds must be a multiple of step_seconds, got {spec.period_seconds}"


def _service_problems(service: Service, steps: int) -> Iterator[str]:
    series = {name: getattr(service, name) for name in ("requests", "cores", "bytes_used", "replica_series")}
    for name, values in series.items():
        if values is None:
            continue
        if values.shape != (steps,):
            yield f"{service.key}: {name} must have {steps} values, one a step, got shape {values.shape}"
        elif not (np.isfinite(values).all() and (values >= 0).all()):
            yield f"{service.key}: {name} must be finite and at least 0"
    if service.requests is not None and service.cores is not None:
        yield f"{service.key}: give requests or cores, not both"
    if not service.parallelism > 0:
        yield f"{service.key}: parallelism must be above 0, got {service.parallelism}"
    if not 0 <= service.min_replicas <= service.max_replicas:
        yield f"{service.key}: min_replicas must be 0 to max_replicas, got {service.min_replicas}"
    if not service.slowdown > 1:
        yield f"{service.key}: slowdown must be above 1, got {service.slowdown}"
