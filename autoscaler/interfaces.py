"""
The Protocols at the edge of the core; every implementation passes one contract suite each.

Importing this module loads no asyncio and no client library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec

from autoscaler.model.node import InstanceType, NodeGroup
from autoscaler.model.plan import AnyAction, Plan
from autoscaler.model.pod import Pod
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import Reading, Series, Signal, SignalKind
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot, Prices, WorkloadModel
from autoscaler.model.spec import Selector
from autoscaler.model.workload import Workload


class Clock(Protocol):
    """The only source of time in the shell."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class CloudProvider(Protocol):
    """
    Buys and returns nodes. Sizes are absolute and conditional on `expected`,
    so that doing a call twice is doing it once.

    Raises (all methods): AccessError, TransientError; the two writers also
    ConflictError when the group's size is not `expected`, and CapacityError
    when the cloud has none.
    """

    name: str

    async def list_node_groups(self) -> Sequence[NodeGroup]: ...
    async def list_instance_types(self, group: str) -> Sequence[InstanceType]: ...
    async def set_target_size(self, group: str, size: int, *, expected: int) -> None: ...
    async def delete_instances(self, group: str, ids: Sequence[str], *, expected: int) -> None: ...
    async def aclose(self) -> None: ...


@runtime_checkable
class ReportsProblems(Protocol):
    """A provider that can say, one line each, what it left out when it last listed its groups."""

    @property
    def problems(self) -> Sequence[str]: ...


@runtime_checkable
class KnowsMembers(Protocol):
    """A provider that can say whose instances are whose: group by instance id, as it last listed them."""

    @property
    def members(self) -> Mapping[str, str]: ...


class MetricsSource(Protocol):
    """Reads what was measured. Never raises for a bad value: that is `Missing`."""

    async def read(self, signals: Sequence[Signal], at: float) -> Mapping[Signal, Reading]: ...
    async def history(self, signal: Signal, start: float, end: float, step: float) -> Series: ...
    async def aclose(self) -> None: ...


class ClusterReader(Protocol):
    """Reads the cluster's objects; the snapshot it returns has no readings, groups or models yet."""

    async def observe(self, at: float) -> ClusterSnapshot: ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of one action: `done`, `valid` (the API server would take it),
    `held` (recorded only, or not allowed now) or `failed`, the last two with a message.
    """

    action: AnyAction
    result: str
    message: str = ""


class Actuator(Protocol):
    """Carries out a plan, in order; one failed action does not stop the others."""

    async def apply(self, plan: Plan) -> Sequence[Outcome]: ...


class WorkloadView(msgspec.Struct, frozen=True, kw_only=True):
    """
    All a recommender may look at. `pods` are the workload's own, by name.
    `reaction_seconds` is metrics delay + period + pod start; `node_seconds`
    adds a node's boot. `largest_node` is the biggest allocatable on offer.
    `headroom` is the quantile (0-1) of the forecast error to keep nodes free for.
    `open_schedules` names the schedules of the spec that are open now.
    """

    now: float
    workload: Workload
    spec: MpaSpec
    pods: Sequence[Pod]
    readings: Mapping[Signal, Reading]
    model: WorkloadModel | None
    prices: Prices
    reaction_seconds: float
    node_seconds: float
    largest_node: Resources
    period: float
    headroom: float = 0.95
    open_schedules: tuple[str, ...] = ()


@runtime_checkable
class Recommender(Protocol):
    """
    Says what one workload should have. Pure: equal input, equal output.

    `Params` and `Memory` are frozen msgspec Structs with defaults for all
    fields. `signals` names what `recommend` wants to find in `view.readings`.
    """

    name: ClassVar[str]
    Params: ClassVar[type[msgspec.Struct]]
    Memory: ClassVar[type[msgspec.Struct]]

    def signals(self, workload: Workload, spec: MpaSpec, params: Any) -> Sequence[Signal]: ...
    def recommend(self, view: WorkloadView, params: Any, memory: Any) -> tuple[Recommendation, Any]: ...


@runtime_checkable
class SeedsMemory(Recommender, Protocol):
    """
    A recommender whose memory can be warmed up with what was measured before it ran.

    `history` has, by container, the average CPU (POD_CPU, millicores) and the
    largest working set (POD_MEMORY, bytes) of one pod; a gap is NaN. Pure.
    """

    def seed(self, history: Mapping[str, Mapping[SignalKind, Series]], params: Any) -> Any: ...


class PodCount(msgspec.Struct, frozen=True, kw_only=True):
    """
    What `signal` counts: the pods of its workload's namespace that `selector` matches
    and that have not ended; with `by_node` the nodes they are on.
    """

    signal: Signal
    selector: Selector
    by_node: bool = False


@runtime_checkable
class CountsPods(Recommender, Protocol):
    """A recommender that wants counts of pods in `view.readings`, too: the snapshot has them, no source is asked."""

    def counts(self, workload: Workload, spec: MpaSpec, params: Any) -> Sequence[PodCount]: ...


class NodeOption(msgspec.Struct, frozen=True, kw_only=True):
    """One way to add nodes: `count` of `group`, for `pods` pods, at a total price an hour."""

    group: str
    count: int
    pods: int
    usd_per_hour: float
    waste: float = 0.0


class Expander(Protocol):
    """Ranks ways to add nodes, best first; ties by group name. Pure."""

    name: ClassVar[str]
    Params: ClassVar[type[msgspec.Struct]]

    def rank(self, options: Sequence[NodeOption], params: Any) -> Sequence[NodeOption]: ...
