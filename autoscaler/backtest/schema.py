"""
What a scenario file may say: the fields, their types and their defaults.

A scenario is one YAML document. Field names are camelCase; amounts are
Kubernetes quantities and durations; rates are requests a second; times of day
and of the file are UTC. Unknown fields are refused.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any

import msgspec

from autoscaler.model.placement import Effect
from autoscaler.model.spec import Count, Duration, Name, Positive, Quantity, Spec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Factor = Annotated[float, msgspec.Meta(gt=0, le=1000)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Column = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
FileName = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]


class Gaps(enum.StrEnum):
    """What a missing row of a trace stands for."""

    HOLD = "Hold"
    ZERO = "Zero"
    LINEAR = "Linear"


class Measure(enum.StrEnum):
    """What the numbers of a load are."""

    REQUESTS = "Requests"
    """Requests a second that reach the workload."""
    CORES = "Cores"
    """Cores of work: for workloads whose requests are not known."""
    REPLICAS = "Replicas"
    """Replicas that somebody else asks for: only nodes are decided."""


class SeriesLoad(Spec, frozen=True, kw_only=True):
    """A column of a CSV or CSV.gz file, averaged or held onto the scenario's steps."""

    file: FileName
    column: Column = "value"
    """The column that holds the values."""
    time: Column | None = None
    """The column that holds the time (ISO 8601 or a number); the first column if not given, unless `interval` is."""
    time_unit: Duration = Duration("1s")
    """What one unit of a numeric time column is."""
    interval: Duration | None = None
    """Time between rows of a file without a time column."""
    per: Duration = Duration("1s")
    """Values are counts per this long: `1m` for requests a minute."""
    scale: Amount = 1.0
    """Factor on all values."""
    peak: Amount | None = None
    """Scale so that the 99.9th percentile of the part replayed, history included, is this; replaces `scale`."""
    at: str | None = None
    """The file's time at the start: ISO 8601, or a duration from the first row; the end of history if not given."""
    gaps: Gaps = Gaps.HOLD
    repeat: bool = False
    """Start the file over when it ends."""


class ConstantLoad(Spec, frozen=True, kw_only=True):
    rate: Amount


class DiurnalLoad(Spec, frozen=True, kw_only=True):
    """Two sines a day, lower at weekends, with slow and fast noise (algorithms, section 8.1)."""

    peak: Amount
    amplitude: Share = 0.5
    """Swing around the mean; 0 is flat."""
    peak_at: Duration = Duration("14h")
    """Time of day of the peak."""
    weekend: Share = 0.7
    """Level on Saturday and Sunday against work days."""
    noise: Share = 0.06
    """Standard deviation of the fast multiplicative noise."""


class RampLoad(Spec, frozen=True, kw_only=True):
    """From one rate to another; times count from the scenario's start."""

    before: Amount
    after: Amount
    at: Duration
    lasts: Duration


class SpikeLoad(Spec, frozen=True, kw_only=True):
    """One flash crowd: linear rise, level top, exponential fall."""

    base: Amount
    peak: Amount
    at: Duration
    rise: Duration = Duration("1m")
    hold: Duration = Duration("10m")
    fall: Duration = Duration("10m")
    """Time constant of the fall."""


class BurstsLoad(Spec, frozen=True, kw_only=True):
    """A cron job's bursts: `peak` for `lasts`, once `every`."""

    base: Amount
    peak: Amount
    every: Duration
    lasts: Duration
    offset: Duration = Duration("0")


class CallsLoad(Spec, frozen=True, kw_only=True):
    """Requests that another workload sends on."""

    workload: Name
    ratio: Amount


class Load(Spec, frozen=True, kw_only=True):
    """Sources of load; several are added up."""

    measure: Measure = Measure.REQUESTS
    series: SeriesLoad | None = None
    constant: ConstantLoad | None = None
    diurnal: DiurnalLoad | None = None
    ramp: RampLoad | None = None
    spike: SpikeLoad | None = None
    bursts: BurstsLoad | None = None
    calls: CallsLoad | None = None
    poisson: bool = False
    """Draw each step's requests from a Poisson distribution around the load."""


class Memory(Spec, frozen=True, kw_only=True):
    """Working set of one pod: `base` + `perCore` x cores of work on it; what is let go is let go slowly."""

    base: Quantity
    per_core: Quantity = Quantity("0")
    half_life: Duration = Duration("2h53m")
    """How fast the working set falls towards what the load needs; 0: at once."""
    leak_per_hour: Quantity = Quantity("0")


class Slo(Spec, frozen=True, kw_only=True):
    """A step violates when more than `violations` of its requests take longer than `slowdown` x the service time."""

    slowdown: Annotated[float, msgspec.Meta(ge=1.05, le=1000)] = 4.0
    violations: Share = 0.05
    service_time: Duration = Duration("50ms")
    """Latency of a request on an idle pod."""


class Replicas(Spec, frozen=True, kw_only=True):
    """The bounds hold for every engine."""

    initial: Positive | None = None
    """What the run begins with; what the first load needs at 70 % of the CPU requests if not given."""
    min: Count = 2
    max: Positive = 200


class WorkloadKind(enum.StrEnum):
    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"


class TolerationOperator(enum.StrEnum):
    EQUAL = "Equal"
    EXISTS = "Exists"


class Toleration(Spec, frozen=True, kw_only=True):
    key: str = ""
    operator: TolerationOperator = TolerationOperator.EQUAL
    value: str = ""
    effect: Effect | None = None


class WhenUnsatisfiable(enum.StrEnum):
    DO_NOT_SCHEDULE = "DoNotSchedule"
    SCHEDULE_ANYWAY = "ScheduleAnyway"


class Spread(Spec, frozen=True, kw_only=True):
    topology_key: Name
    max_skew: Positive = 1
    when_unsatisfiable: WhenUnsatisfiable = WhenUnsatisfiable.DO_NOT_SCHEDULE


class Placement(Spec, frozen=True, kw_only=True):
    """Where the pods may run, in the words of the core/v1 API."""

    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    spread: tuple[Spread, ...] = ()
    anti_affinity: str = ""
    """A topology key: no two pods of the workload in one domain."""


class WorkloadEntry(Spec, frozen=True, kw_only=True):
    """One workload: its load, the truth about how it behaves, and what its developer asked for."""

    name: Name
    load: Load
    namespace: Name = "default"
    kind: WorkloadKind = WorkloadKind.DEPLOYMENT
    cpu_per_request: Quantity = Quantity("0")
    """Core-seconds of work that one request takes."""
    cpu_idle: Quantity = Quantity("20m")
    """Cores that a pod burns without any load."""
    memory: Memory = Memory(base=Quantity("128Mi"))
    parallelism: Annotated[float, msgspec.Meta(gt=0, le=1024)] = 2.0
    """Cores that one pod can use."""
    declares_parallelism: bool = False
    """The controller is told `parallelism`; else it has to learn it."""
    start_time: Duration = Duration("30s")
    """From a pod's start on its node to Ready."""
    start_cpu: Quantity | None = None
    """Cores that a starting pod burns; half of its request if not given."""
    slo: Slo = Slo()
    requests: dict[str, Quantity] = {}
    """What the developer asked for, per pod, extended resources too; 500m cpu, 512Mi memory where not given."""
    limits: dict[str, Quantity] = {}
    """Limits, at least the requests; memory is limited to its request unless given, CPU is not limited."""
    replicas: Replicas = Replicas()
    priority: Annotated[int, msgspec.Meta(ge=-2_147_483_648, le=2_000_000_000)] = 0
    max_unavailable: str = "25%"
    """Of the PodDisruptionBudget: a number or a percentage; empty for none."""
    placement: Placement = Placement()
    exports_requests: bool = True
    """Request rates can be measured."""
    exports_latency: bool = True
    """Latency and the share of slow requests can be measured."""


class UsageImport(Spec, frozen=True, kw_only=True):
    """Wide CSV files of CPU and memory used, a column a machine: each becomes a workload to be sized."""

    cpu: FileName
    """Millicores used; the first column is the time in epoch seconds."""
    memory: FileName
    """MiB used, same columns."""
    sizes: FileName
    """A row a machine: what was provisioned."""
    name_column: Column = "vm"
    cores_column: Column = "cores"
    memory_column: Column = "mem_capacity_mib"
    limit: Positive = 50
    """How many machines, in the order of the columns."""
    namespace: Name = "machines"
    template: dict[str, Any] = {}
    """Fields of a workload that all get."""


class PodsImport(Spec, frozen=True, kw_only=True):
    """A CSV file with a row a pod: pods of equal requests become one workload, all pending at the start."""

    file: FileName
    cpu_column: Column = "cpu_milli"
    memory_column: Column = "memory_mib"
    gpu_column: Column = "num_gpu"
    gpu_share_column: Column = "gpu_milli"
    where: dict[str, tuple[str, ...]] = {}
    """Keep the rows whose columns have one of these values."""
    every: Positive = 1
    """Keep each n-th of the rows that are left."""
    largest_cpu: Quantity = Quantity("1000")
    """Leave out pods that ask for more."""
    utilisation: Share = 0.5
    """Share of its request that a pod uses."""
    namespace: Name = "pods"


class InstancesImport(Spec, frozen=True, kw_only=True):
    """A CSV file with a row an instance and its times: counts by application and role become given replicas."""

    file: FileName
    app_column: Column = "app_name"
    role_column: Column = "role"
    cpu_column: Column = "cpu_request"
    memory_column: Column = "memory_request"
    gpu_column: Column = "gpu_request"
    created_column: Column = "creation_time"
    deleted_column: Column = "deletion_time"
    spread_column: Column = "max_instance_per_node"
    at: Duration = Duration("0")
    """Time in the file that is the scenario's start."""
    limit: Positive = 20
    """How many applications and roles, the most variable first."""
    every: Positive = 1
    """Count each n-th instance only."""
    utilisation: Share = 0.5
    namespace: Name = "apps"


class Imports(Spec, frozen=True, kw_only=True):
    """Workloads made from recorded clusters."""

    usage: UsageImport | None = None
    pods: PodsImport | None = None
    instances: InstancesImport | None = None


class NodeTypeEntry(Spec, frozen=True, kw_only=True):
    """An instance type written out. Prices are USD an hour."""

    name: Name
    cpu: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    """Cores."""
    memory: Quantity
    price: Annotated[float, msgspec.Meta(gt=0, le=1e6)]
    spot_price: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    interruptions_per_hour: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    gpus: Count = 0
    max_pods: Positive = 110


class Catalogue(Spec, frozen=True, kw_only=True):
    """Instance types from a CSV file; what is not named is not filtered."""

    file: FileName
    names: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    """What stands before the dot, or the first dash, of the name."""
    min_cpu: Amount = 0.0
    max_cpu: Amount = 1e6
    gpus: bool | None = None
    """Only types with GPUs (true), only those without (false)."""
    price_column: Column = "usd_per_hour"
    """USD an hour, on demand."""
    spot_advisor: FileName | None = None
    """A CSV file of typical savings and interruption bands by region and type (spotinfo's)."""
    region: str = "us-east-1"
    interruptions: Factor = 1.0
    """Factor on how often spot nodes are interrupted."""


class CapacityType(enum.StrEnum):
    ON_DEMAND = "on-demand"
    SPOT = "spot"


class Nodes(Spec, frozen=True, kw_only=True):
    """What can be bought: a catalogue, types written out, or both."""

    catalogue: Catalogue | None = None
    types: tuple[NodeTypeEntry, ...] = ()
    zones: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=6)] = ("zone-a",)
    capacity_types: Annotated[tuple[CapacityType, ...], msgspec.Meta(min_length=1)] = (CapacityType.ON_DEMAND,)
    max_count: Positive = 500
    """Most nodes of one type, zone and capacity type."""
    daemons: dict[str, Quantity] = {}
    """What DaemonSets take on each node; 250m cpu, 600Mi memory and 3 pods for what is not given."""
    initial: dict[str, Positive] = {}
    """Nodes that are there when the run begins, by instance type; at most `maxCount` each."""


class Delays(Spec, frozen=True, kw_only=True):
    metrics: Duration = Duration("60s")
    """Age of the newest metrics."""
    node_boot: Duration = Duration("90s")
    """Median time from the order of a node to its Ready."""
    node_boot_spread: Share = 0.2
    """Standard deviation of the logarithm of boot times."""
    launch_failures: Share = 0.0
    """Share of launches that the cloud accepts and that never become a node."""
    interruption_notice: Duration = Duration("2m")
    """Warning before a spot node is taken."""


class FaultEntry(Spec, frozen=True, kw_only=True, tag_field="kind", tag=True):
    """Something that goes wrong at `at` (from the scenario's start, before its end) and lasts for `lasts`."""

    at: Duration
    lasts: Duration = Duration("10m")


class MetricsOutage(FaultEntry, frozen=True, kw_only=True):
    """No metrics of one workload, or of all."""

    workload: str = ""


class Dirt(enum.StrEnum):
    """What wrong samples look like."""

    GAPS = "gaps"
    ZEROS = "zeros"
    NAN = "nan"
    NEGATIVE = "negative"


class DirtyMetrics(FaultEntry, frozen=True, kw_only=True):
    """A share of the samples is wrong."""

    dirt: Dirt = Dirt.GAPS
    share: Share = 0.1
    workload: str = ""


class NodeLoss(FaultEntry, frozen=True, kw_only=True):
    """Nodes are gone at once, without warning."""

    count: Positive = 1
    instance_type: str = ""
    zone: str = ""


class StockOut(FaultEntry, frozen=True, kw_only=True):
    """The cloud has no more of a type, zone or capacity type; empty for any."""

    instance_type: str = ""
    zone: str = ""
    capacity_type: str = ""


class ApiErrors(FaultEntry, frozen=True, kw_only=True):
    """A share of the calls to the cloud fails."""

    share: Share = 1.0


class BadDeploy(FaultEntry, frozen=True, kw_only=True):
    """A release that needs more; rolled back when the fault ends."""

    workload: Name
    cpu_factor: Factor = 1.0
    memory_factor: Factor = 1.0
    leak_per_hour: Quantity = Quantity("0")


class SlowStarts(FaultEntry, frozen=True, kw_only=True):
    """Pods of one workload, or of all, take longer to become ready."""

    factor: Factor = 4.0
    workload: str = ""


Fault = MetricsOutage | DirtyMetrics | NodeLoss | StockOut | ApiErrors | BadDeploy | SlowStarts


class Bounds(Spec, frozen=True, kw_only=True):
    """A result must lie within."""

    min: float | None = None
    max: float | None = None


class ScenarioFile(Spec, frozen=True, kw_only=True):
    """One scenario."""

    name: Name
    title: str = ""
    description: str = ""
    start: str = "2026-01-05T00:00:00Z"
    """First moment simulated, ISO 8601; a Monday unless given."""
    length: Duration = Duration("1d")
    history: Duration = Duration("7d")
    """How much is known of the load before the start."""
    warmup: Duration = Duration("1h")
    """Played before the start and not counted; part of the history."""
    step: Duration = Duration("30s")
    period: Duration | None = None
    """Time between decisions, a multiple of the step and at most the length; the step if not given."""
    seed: Count = 0
    load_noise: Share = 0.05
    """How unevenly requests spread over pods: relative standard deviation."""
    workloads: tuple[WorkloadEntry, ...] = ()
    imports: Imports = Imports()
    nodes: Nodes
    delays: Delays = Delays()
    faults: tuple[Fault, ...] = ()
    policies: tuple[dict[str, Any], ...] = ()
    """Documents as in the cluster; used by `--engines policies`."""
    expect: dict[str, Bounds] = {}
    """Bounds on the result's metrics, by name; a miss fails `policy test`."""
