"""
The PredictiveHorizontalPodAutoscaler: an HPA, and models of the replicas that it asked for.

Source: jthomperoo/predictive-horizontal-pod-autoscaler 0.13,
`internal/controllers/controller.go` (processModels, defaults) and
`internal/scalebehavior` (decision). A sync is a decision. A model without
enough history says 0, which counts in a mean, a median or a minimum, as in the
peer. Unlike the peer, a first sight holds the size for the stabilisation window,
as the HPA does.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec
from msgspec.structs import replace

from autoscaler.interfaces import WorkloadView
from autoscaler.model.bounds import MAX_REPLICAS
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import Signal
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.spec import Behavior, RulePolicy, ScalingRules
from autoscaler.model.workload import Workload
from autoscaler.recommend.histogram import YEAR_ONE
from autoscaler.recommend.hpa import HpaMemory, HpaParams, reconcile
from autoscaler.recommend.hpa_metrics import metric_signals, metrics_of
from autoscaler.recommend.phpa_models import Component, enough_for_seasons, holt_winters_next, line_at

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
_Factor = Annotated[float, msgspec.Meta(ge=0, le=1)]
_EACH_MINUTE = 60
"""Periods of the peer's default rates, seconds; the HPA's are 15."""


class Decision(enum.StrEnum):
    """Which of the HPA's number and the models' counts."""

    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    MEAN = "mean"
    MEDIAN = "median"


class PhpaModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all models have. One that starts at an interval records nothing before it."""

    name: _Name
    per_sync: _Count = 1
    """It predicts at every so many decisions; it records at all."""
    start_interval_seconds: _Seconds = 0.0
    """It starts at the next multiple of this."""
    reset_seconds: _Seconds = 0.0
    """After so long without a record it forgets all; 0: never."""


class LinearModel(PhpaModel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="Linear"):
    """A straight line through the last `history_size` records, read `look_ahead_seconds` from now."""

    history_size: _Count = 6
    look_ahead_seconds: Annotated[float, msgspec.Meta(gt=0, le=1e6)] = 10.0


class HoltWintersModel(
    PhpaModel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="HoltWinters"
):
    """Triple exponential smoothing of the records, one step ahead, with at most `stored_seasons` and one to come."""

    alpha: _Factor = 0.9
    beta: _Factor = 0.9
    gamma: _Factor = 0.9
    trend: Component = Component.ADDITIVE
    seasonal: Component = Component.ADDITIVE
    seasonal_periods: Annotated[int, msgspec.Meta(ge=2, le=10_000)] = 6
    stored_seasons: _Count = 4


Model = LinearModel | HoltWintersModel


class PhpaParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The models and how they are put together; the defaults are those of the peer and of its first example."""

    hpa: HpaParams = HpaParams(cpu_initialization_period_seconds=30.0)
    decision: Decision = Decision.MAXIMUM
    models: tuple[Model, ...] = (LinearModel(name="simple-linear"),)


class ModelHistory(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one model remembers: `records` are (epoch seconds, replicas), oldest first.

    `starts_at` is 0 where it has no interval to start at; `kind` is the type of
    the model: a history is of no use to another.
    """

    name: str
    kind: str
    records: tuple[tuple[float, int], ...] = ()
    syncs: int = 1
    starts_at: float = 0.0


class PhpaMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What the HPA remembers, and each model."""

    hpa: HpaMemory = HpaMemory()
    models: tuple[ModelHistory, ...] = ()


class PhpaRecommender:
    """The PredictiveHorizontalPodAutoscaler: an HPA whose number may be replaced by those of models of its past."""

    name: ClassVar[str] = "phpa"
    Params: ClassVar[type[msgspec.Struct]] = PhpaParams
    Memory: ClassVar[type[msgspec.Struct]] = PhpaMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: PhpaParams) -> Sequence[Signal]:
        return metric_signals(workload, metrics_of(spec))

    def recommend(
        self, view: WorkloadView, params: PhpaParams, memory: PhpaMemory
    ) -> tuple[Recommendation, PhpaMemory]:
        """Reconcile as the HPA does, with the models' say; where metrics are missing the models say nothing."""
        asked: list[int] = []
        histories = {each.name: each for each in memory.models}

        def with_models(calculated: int) -> int:
            asked.append(calculated)
            for model in params.models:
                prediction, histories[model.name] = _turn(model, histories.get(model.name), calculated, view.now)
                asked.extend([] if prediction is None else [prediction])
            return decide_replicas(params.decision, asked)

        spec = replace(view.spec, policy=replace(view.spec.policy, behavior=_with_defaults(view.spec.policy.behavior)))
        advice, hpa = reconcile(replace(view, spec=spec), params.hpa, memory.hpa, adjust=with_models)
        kept = tuple(histories[model.name] for model in params.models if model.name in histories)
        reasons = (*advice.reasons, *_why(params.decision, asked))
        return replace(advice, engine=self.name, reasons=reasons), PhpaMemory(hpa=hpa, models=kept)


def _why(decision: Decision, asked: Sequence[int]) -> tuple[Reason, ...]:
    """Say where models changed what the HPA asks for, which is the first of *asked*."""
    chosen = decide_replicas(decision, asked) if asked else 0
    if not asked or chosen == asked[0]:
        return ()
    said = ", ".join(str(count) for count in asked[1:])
    text = f"metrics ask for {asked[0]}, the models for {said}: the {decision.value} counts, {chosen}"
    return (Reason(Code.FORECAST_RISE if chosen > asked[0] else Code.LOAD_NEEDS_FEWER, text),)


def decide_replicas(decision: Decision, counts: Sequence[int]) -> int:
    """
    Return which replicas count, of at least one number (DecideTargetReplicasByScalingStrategy).

    >>> [decide_replicas(each, [2, 4, 9, 10]) for each in Decision]
    [10, 2, 6, 6]
    """
    if decision is Decision.MAXIMUM:
        return max(counts)
    if decision is Decision.MINIMUM:
        return min(counts)
    if decision is Decision.MEAN:
        # Half a replica is rounded up.
        return max(0, math.floor(sum(counts) / len(counts) + 0.5))
    ordered, half = sorted(counts), len(counts) // 2
    return ordered[half] if len(counts) % 2 else int((ordered[half - 1] + ordered[half]) / 2)


def _turn(model: Model, history: ModelHistory | None, calculated: int, now: float) -> tuple[int | None, ModelHistory]:
    """Return what a model predicts, None for nothing, and its history with this decision in it."""
    kind = type(model).__name__
    if history is None or history.kind != kind:
        history = ModelHistory(name=model.name, kind=kind)
    interval = model.start_interval_seconds
    if interval and now < (history.starts_at or math.inf):
        return None, replace(history, starts_at=history.starts_at or _next_interval(now, interval))
    if model.reset_seconds and history.records and now - history.records[-1][0] > model.reset_seconds:
        history = replace(history, records=())
        if interval:
            return None, replace(history, starts_at=_next_interval(now, interval))
    records = (*history.records, (now, calculated))
    if history.syncs < model.per_sync:
        return None, replace(history, records=_pruned(model, records), syncs=history.syncs + 1)
    prediction = _predict(model, records, now)
    if prediction is None:
        # A model that fails keeps nothing of this decision.
        return None, history
    return prediction, replace(history, records=_pruned(model, records), syncs=1)


def _predict(model: Model, records: Sequence[tuple[float, int]], now: float) -> int | None:
    """Return a model's replicas, None where it fails; 0 where it has not seen enough."""
    counts = [count for _, count in records]
    if isinstance(model, LinearModel):
        if len(records) == 1:
            return counts[0]
        value = line_at(now + model.look_ahead_seconds, [at for at, _ in records], counts)
    elif not enough_for_seasons(len(counts), model.seasonal_periods):
        return 0
    else:
        value = holt_winters_next(
            counts,
            periods=model.seasonal_periods,
            factors=(model.alpha, model.beta, model.gamma),
            trend=model.trend,
            seasonal=model.seasonal,
        )
    if not math.isfinite(value):
        return None
    # The peer's ceiling of 3.0000000000000004 is 4 or 3, as its library has it; here it is 3.
    return max(-MAX_REPLICAS, min(math.ceil(value - 1e-9), MAX_REPLICAS))


def _pruned(model: Model, records: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    """Keep the newest records; of seasons only whole ones go."""
    if isinstance(model, LinearModel):
        return records[-model.history_size :]
    surplus = len(records) // model.seasonal_periods - model.stored_seasons
    return records[max(surplus, 0) * model.seasonal_periods :]


def _next_interval(now: float, interval: float) -> float:
    """Return the next multiple of *interval*, counted from year one."""
    return YEAR_ONE + math.ceil((now - YEAR_ONE) / interval) * interval


def _with_defaults(given: Behavior | None) -> Behavior:
    """Return *given* with the peer's defaults: the HPA's, but for periods of a minute."""
    given = given or Behavior()
    return Behavior(
        scale_up=_direction(given.scale_up, 0, {"Percent": 100, "Pods": 4}),
        scale_down=_direction(given.scale_down, 300, {"Percent": 100}),
    )


def _direction(given: ScalingRules | None, window: int, rates: Mapping[str, int]) -> ScalingRules:
    given = given or ScalingRules()
    policies = tuple(RulePolicy(type=kind, value=value, period_seconds=_EACH_MINUTE) for kind, value in rates.items())
    seconds = given.stabilization_window_seconds
    return replace(
        given,
        policies=given.policies or policies,
        stabilization_window_seconds=window if seconds is None else seconds,
    )
