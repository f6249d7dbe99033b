"""
Warms up what recommenders remember: at its start a VPA reads eight days of
history (recommender flags `history-length`, `history-resolution`), so that it
does not size by its first minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from autoscaler.interfaces import MetricsSource, Recommender, SeedsMemory
from autoscaler.model.policy import Policies, UpdateMode
from autoscaler.model.readings import Series, Signal, SignalKind
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState, WorkloadMemory
from autoscaler.model.units import DAY, HOUR
from autoscaler.model.workload import Workload
from autoscaler.planning.effective import Effective, effective_policies
from autoscaler.recommend.engines import BUILT_IN

HISTORY_SECONDS = 8 * DAY
STEP_SECONDS = HOUR
_KINDS = (SignalKind.POD_CPU, SignalKind.POD_MEMORY)


async def seed_state(
    snapshot: ClusterSnapshot,
    policies: Policies,
    metrics: MetricsSource,
    state: DecisionState,
    *,
    at: float,
    engines: Mapping[str, Recommender] = BUILT_IN,
) -> DecisionState:
    """
    Return *state* with a memory for each governed workload that has none and whose engine learns from history.

    What is remembered already is not touched. A workload whose policy cannot
    be used is left out: the decision says why.

    Raises:
        TransientError: the source does not answer; try again later.
    """
    remembered = {entry.workload: entry for entry in state.workloads}
    governed = effective_policies(snapshot, policies)
    for workload in snapshot.workloads:
        effective = governed.get(workload.key)
        if effective is None or effective.mode is UpdateMode.OFF or workload.key in remembered:
            continue
        memory = await _seeded(engines.get(effective.engine), workload, effective, metrics, at=at)
        if memory is not None:
            remembered[workload.key] = WorkloadMemory(workload=workload.key, engine=effective.engine, memory=memory)
    return msgspec.structs.replace(state, workloads=tuple(remembered[key] for key in sorted(remembered)))


async def _seeded(
    engine: Recommender | None, workload: Workload, effective: Effective, metrics: MetricsSource, *, at: float
) -> Any:
    """Return the memory that the engine makes of the history, None where it makes none."""
    if not isinstance(engine, SeedsMemory):
        return None
    try:
        params = msgspec.convert(effective.spec.policy.params, engine.Params)
    except msgspec.ValidationError:
        return None
    history: dict[str, dict[SignalKind, Series]] = {}
    for container in workload.template.containers:
        history[container.name] = {
            kind: await metrics.history(
                Signal(workload.key, kind, container=container.name), at - HISTORY_SECONDS, at, STEP_SECONDS
            )
            for kind in _KINDS
        }
    try:
        return engine.seed(history, params)
    except Exception:  # a plug-in may fail in any way: then its workload starts cold
        return None
