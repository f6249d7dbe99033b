"""What a ScaledObject says beside its triggers, as parameters of the engine; KEDA 2.21 `scaledobject_types.go`."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from autoscaler.model.spec import Selector
from autoscaler.recommend.hpa import HpaParams

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Amount = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
_Target = Annotated[float, msgspec.Meta(gt=0, le=1e15)]
_Replicas = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class MetricKind(enum.StrEnum):
    """AverageValue: the target is for each pod; Value: for all pods together."""

    AVERAGE_VALUE = "AverageValue"
    VALUE = "Value"


class FallbackBehavior(enum.StrEnum):
    """Replicas that a trigger which failed too often asks for; scalingModifiers: it is nil in the formula."""

    STATIC = "static"
    CURRENT_REPLICAS = "currentReplicas"
    CURRENT_REPLICAS_IF_HIGHER = "currentReplicasIfHigher"
    CURRENT_REPLICAS_IF_LOWER = "currentReplicasIfLower"
    SCALING_MODIFIERS = "scalingModifiers"


class Fallback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a trigger asks for that has failed more than `failure_threshold` times in a row."""

    failure_threshold: _Replicas = 3
    replicas: _Replicas = 0
    behavior: FallbackBehavior = FallbackBehavior.STATIC


class ScalingModifiers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number made of those of the triggers takes their place; the workload is active above `activation_target`."""

    formula: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    target: _Target
    activation_target: _Amount = 0.0
    metric_type: MetricKind = MetricKind.AVERAGE_VALUE


class WorkloadTrigger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    KEDA's kubernetes-workload: pods of the same namespace that have not ended, `value` of them for each replica.

    With `group_by_node` the nodes that they are on are counted.
    """

    name: _Name
    selector: Selector
    value: _Target
    activation: _Amount = 0.0
    metric_type: MetricKind = MetricKind.AVERAGE_VALUE
    group_by_node: bool = False


class KedaParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A ScaledObject's settings, with KEDA's defaults. Its triggers are the document's
    metrics and schedules (cron), and `workloads`; `minReplicaCount` and
    `maxReplicaCount` are the document's bounds.
    """

    hpa: HpaParams = HpaParams()
    polling_seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 30.0
    """How often the triggers are looked at for activity."""
    cooldown_seconds: _Seconds = 300.0
    """How long after the last activity the last pods stay."""
    initial_cooldown_seconds: _Seconds = 0.0
    """How long a workload that never was active keeps its pods."""
    active_replicas: Annotated[int, msgspec.Meta(ge=1, le=2_147_483_647)] | None = None
    """The fewest replicas while active, the document's minimum being those while idle (`idleReplicaCount`)."""
    activations: dict[str, _Amount] = {}
    """By the name of an External metric: the workload is active above it, 0 if not given."""
    workloads: tuple[WorkloadTrigger, ...] = ()
    """Triggers that count pods."""
    fallback: Fallback | None = None
    """What a trigger asks for that fails; without one a failure holds."""
    modifiers: ScalingModifiers | None = None
    """A formula over the triggers."""
    paused: bool = False
    """The annotation `paused`: nothing is scaled."""
    paused_replicas: _Replicas | None = None
    """The annotation `paused-replicas`: scaled to this, then nothing."""
    pause_in: bool = False
    """The annotation `paused-scale-in`."""
    pause_out: bool = False
    """The annotation `paused-scale-out`."""
    force_activation: bool = False
    """The annotation `force-activation`: active whatever the triggers say."""
