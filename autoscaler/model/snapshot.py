"""Everything a decision may look at, as seen at one moment."""

from __future__ import annotations

import msgspec

from autoscaler.model.buffer import Buffer
from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.pod import Pod
from autoscaler.model.readings import Reading, Signal
from autoscaler.model.resources import Resources
from autoscaler.model.service import Service
from autoscaler.model.volumes import NO_VOLUMES, Volumes
from autoscaler.model.workload import DisruptionBudget, LimitRange, Namespace, Quota, Rival, Workload


class DemandModel(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    What a workload's pods use, as fitted from history (algorithms, section 2).

    cores = cores_per_request * requests + idle_cores * pods
    bytes per pod = base_bytes + bytes_per_core * cores of work on that pod

    `cores_per_request` is 0 where request rates are not known: then work *is*
    CPU. `weak` tells that the fit cannot separate load from replica count.
    """

    cores_per_request: float = 0.0
    idle_cores: float = 0.0
    base_bytes: float = 0.0
    bytes_per_core: float = 0.0
    peak_bytes: float = 0.0
    """Largest working set of any pod in the history."""
    parallelism: float = 0.0
    """Cores one pod can use, as declared or as seen; 0 when not known."""
    weak: bool = True
    samples: int = 0


class SeasonalModel(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A daily profile of work (cores), for work days and for rest days.

    `peak` and `mean` are little-endian float32 arrays of 2 x slots values:
    the usual maximum and mean within each slot of the day. `quantiles` are
    (horizon seconds, share, log ratio): the empirical residual quantile of
    log(actual / forecast). `trusted` tells that it beat persistence lately.
    """

    slot_seconds: float = 300.0
    peak: bytes = b""
    mean: bytes = b""
    quantiles: tuple[tuple[float, float, float], ...] = ()
    trusted: bool = False
    history_max: float = 0.0
    days: float = 0.0


class ShapeOption(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Requests of the main container that the shape LP chose, with the cost of serving the day's profile."""

    cpu: int
    memory: int
    usd_per_hour: float
    runner_up: str = ""


class WorkloadModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the slow loop learned of one workload; refitted hourly off the decision loop."""

    workload: str
    fitted_at: float
    demand: DemandModel = DemandModel()
    season: SeasonalModel = SeasonalModel()
    shape: ShapeOption | None = None


class Prices(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Shadow prices: what capacity is worth in this cluster now (duals of the node LP)."""

    usd_per_core_hour: float = 0.0
    usd_per_gib_hour: float = 0.0
    usd_per_pod_hour: float = 0.0


class ClusterSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """
    The one input of a decision. All tuples are sorted by key, pods by
    (namespace, name); nodes include those asked for and not yet registered.

    `observed_at` is the only clock the core knows (epoch seconds).
    `metrics_delay` is the age of the newest metrics, `period` the time to the
    next decision, both in seconds. `open_windows` names the schedules of the
    policies that are open (see `planning.windows`).
    """

    observed_at: float
    pods: tuple[Pod, ...] = ()
    nodes: tuple[Node, ...] = ()
    node_groups: tuple[NodeGroup, ...] = ()
    workloads: tuple[Workload, ...] = ()
    disruption_budgets: tuple[DisruptionBudget, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    quotas: tuple[Quota, ...] = ()
    limit_ranges: tuple[LimitRange, ...] = ()
    rivals: tuple[Rival, ...] = ()
    services: tuple[Service, ...] = ()
    volumes: Volumes = NO_VOLUMES
    readings: tuple[tuple[Signal, Reading], ...] = ()
    models: tuple[WorkloadModel, ...] = ()
    prices: Prices = Prices()
    daemon_overhead: Resources = Resources()
    period: float = 15.0
    metrics_delay: float = 30.0
    open_windows: tuple[str, ...] = ()
    sizes_at_admission: bool = True
    """Whether new pods get a workload's sizes as they start; where not, only a roll-out of its template does that."""
    name: str = "cluster"
    buffers: tuple[Buffer, ...] = ()
