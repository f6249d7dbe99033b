"""
Asks each workload's engine what it should have.

An engine that fails, a parameter that is wrong: each holds its own workload and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from autoscaler.interfaces import Recommender, WorkloadView
from autoscaler.model.plan import Note
from autoscaler.model.policy import UpdateMode
from autoscaler.model.readings import Reading, Signal
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState, WorkloadMemory
from autoscaler.model.workload import Workload
from autoscaler.planning.counted import counted_readings, params_of
from autoscaler.planning.effective import PARITY_ENGINES, Effective
from autoscaler.planning.fresh import held_for_coverage, usable_readings
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.limit_ranges import Ranges, ranges_by_namespace, told_ranges, within_ranges
from autoscaler.planning.reaction import boot_seconds, reaction_seconds
from autoscaler.planning.windows import open_schedules


class Recommended(msgspec.Struct, frozen=True, kw_only=True):
    """Recommendations and memories by workload key order, and what was held."""

    recommendations: tuple[Recommendation, ...]
    memories: tuple[WorkloadMemory, ...]
    held: tuple[Note, ...]


class _Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What all workloads of one decision have in common."""

    boot_seconds: float
    largest_node: Resources
    readings: Mapping[Signal, Reading]
    ranges: Mapping[str, Ranges]
    open_windows: frozenset[str]

    def ranges_of(self, workload: Workload) -> Ranges:
        return self.ranges.get(workload.namespace, ())


class _Answer(msgspec.Struct, frozen=True):
    advice: Recommendation
    memory: Any


def recommend_all(
    index: SnapshotIndex, governed: Mapping[str, Effective], state: DecisionState, engines: Mapping[str, Recommender]
) -> Recommended:
    """Return what each governed workload should have; one whose engine cannot be asked is held, its memory kept."""
    remembered = {entry.workload: entry for entry in state.workloads}
    shared = _Shared(
        boot_seconds=boot_seconds(index.snapshot.node_groups),
        largest_node=index.largest_node(),
        readings={
            **usable_readings(index.readings, governed, now=index.snapshot.observed_at),
            **counted_readings(index, governed, engines),
        },
        ranges=ranges_by_namespace(index.snapshot.limit_ranges),
        open_windows=frozenset(index.snapshot.open_windows),
    )
    recommendations: list[Recommendation] = []
    memories: list[WorkloadMemory] = []
    held: list[Note] = []
    for workload in index.snapshot.workloads:
        effective = governed.get(workload.key)
        if effective is None:
            continue
        old = remembered.get(workload.key)
        answer: _Answer | Reason | None = _why_not(workload, effective, engines)
        if answer is None:
            view = _view(index, workload, effective, shared)
            answer = _ask(engines[effective.engine], view, effective, old)
            if isinstance(answer, _Answer):
                answer = _Answer(
                    told_ranges(answer.advice, workload.template, shared.ranges_of(workload)), answer.memory
                )
        if isinstance(answer, Reason):
            held.append(Note(target=f"workload/{workload.key}", reasons=(answer,)))
            memories += [old] if old is not None else []
        else:
            recommendations.append(answer.advice)
            memories.append(WorkloadMemory(workload=workload.key, engine=effective.engine, memory=answer.memory))
    return Recommended(recommendations=tuple(recommendations), memories=tuple(memories), held=tuple(held))


def wanted_signals(
    snapshot: ClusterSnapshot, governed: Mapping[str, Effective], engines: Mapping[str, Recommender]
) -> list[Signal]:
    """Return the signals that the engines of all governed workloads want to read, each once, in order."""
    wanted: dict[Signal, None] = {}
    for workload in snapshot.workloads:
        effective = governed.get(workload.key)
        if effective is None or _why_not(workload, effective, engines) is not None:
            continue
        engine = engines[effective.engine]
        try:
            wanted.update(dict.fromkeys(engine.signals(workload, effective.spec, params_of(engine, effective.spec))))
        except Exception:  # noqa: S112  (`recommend_all` will hold the workload and say why)
            continue
    return list(wanted)


def _why_not(workload: Workload, effective: Effective, engines: Mapping[str, Recommender]) -> Reason | None:
    """Return why the workload's engine is not to be asked, None where it is."""
    if effective.problem:
        return Reason(Code.POLICY_INVALID, effective.problem)
    if effective.mode is UpdateMode.OFF:
        return Reason(Code.MODE_OFF, "the policy's mode is Off")
    if not workload.scalable:
        return Reason(Code.NOT_SCALABLE, f"{workload.key} has no scale subresource")
    if effective.engine not in engines:
        allowed = ", ".join(sorted(engines))
        return Reason(Code.POLICY_INVALID, f"policy.engine: {effective.engine!r} is not known; allowed: {allowed}")
    return None


def _view(index: SnapshotIndex, workload: Workload, effective: Effective, shared: _Shared) -> WorkloadView:
    snapshot, ranges = index.snapshot, shared.ranges_of(workload)
    reaction = reaction_seconds(snapshot, workload)
    return WorkloadView(
        now=snapshot.observed_at,
        workload=workload,
        spec=within_ranges(effective.spec, workload.template, ranges),
        pods=index.pods_of(workload.key),
        readings=shared.readings,
        model=index.models.get(workload.key),
        prices=snapshot.prices,
        reaction_seconds=reaction,
        node_seconds=reaction + shared.boot_seconds,
        largest_node=shared.largest_node,
        period=snapshot.period,
        headroom=effective.rules.objective.headroom.quantile.number,
        open_schedules=open_schedules(effective.spec, shared.open_windows),
    )


def _ask(engine: Recommender, view: WorkloadView, effective: Effective, old: WorkloadMemory | None) -> _Answer | Reason:
    """Return the engine's answer, or what is wrong with its parameters or with itself."""
    # A memory of another engine, or of another version of this one, is none: slower, not unsafe.
    memory = old.memory if old is not None and isinstance(old.memory, engine.Memory) else engine.Memory()
    try:
        params = params_of(engine, effective.spec)
    except msgspec.ValidationError as problem:
        return Reason(Code.POLICY_INVALID, f"policy.params of engine {effective.engine}: {problem}")
    try:
        advice, memory = engine.recommend(view, params, memory)
        _check(advice, view.workload)
        if effective.engine not in PARITY_ENGINES:
            # A peer's engine has its own rules for pods that were not measured.
            signals = engine.signals(view.workload, view.spec, params)
            advice = held_for_coverage(advice, view, signals, effective.rules.signals)
    except Exception as problem:
        return Reason(Code.ENGINE_FAILED, f"engine {effective.engine}: {type(problem).__name__}: {problem}")
    return _Answer(advice, memory)


def _check(advice: Recommendation, workload: Workload) -> None:
    """Raise ValueError or AttributeError for what no engine may say; a plug-in may be wrong in any way."""
    if advice.workload != workload.key:
        raise ValueError(f"it speaks of {advice.workload!r}")
    amounts = [amount for size in advice.containers for _, amount in size.target.items()]
    if min([advice.replicas or 0, *amounts]) < 0:
        raise ValueError("it asks for less than nothing")
