"""Counts of pods that engines ask for: the snapshot has them, no metrics source is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from autoscaler.interfaces import CountsPods, PodCount, Recommender
from autoscaler.model.pod import Phase, Pod
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import Reading, Sample, Signal
from autoscaler.planning.effective import Effective, selects
from autoscaler.planning.index import SnapshotIndex

_ENDED = (Phase.SUCCEEDED, Phase.FAILED)


def params_of(engine: Recommender, spec: MpaSpec) -> Any:
    """
    Return the parameters that *spec* gives the engine.

    Raises:
        msgspec.ValidationError: they are not what the engine takes.
    """
    given = spec.policy.params
    return msgspec.convert(given, engine.Params) if given else _defaults(engine.Params)


def counted_readings(
    index: SnapshotIndex, governed: Mapping[str, Effective], engines: Mapping[str, Recommender]
) -> dict[Signal, Reading]:
    """
    Return the counts that the engines of all governed workloads ask for.

    An engine that cannot even ask has none: it fails again when it is asked for advice, and says why.
    """
    counting = {name for name in {each.engine for each in governed.values()} if _counts(engines, name)}
    if not counting:
        return {}
    namespaces: dict[str, list[Pod]] = {}
    for pod in index.snapshot.pods:
        if pod.phase not in _ENDED:
            namespaces.setdefault(pod.namespace, []).append(pod)
    found: dict[Signal, Reading] = {}
    for key, effective in governed.items():
        workload = index.workloads.get(key)
        engine = engines[effective.engine] if effective.engine in counting else None
        if workload is None or not isinstance(engine, CountsPods):
            continue
        try:
            wanted = engine.counts(workload, effective.spec, params_of(engine, effective.spec))
        except Exception:  # noqa: S112  (`recommend_all` will hold the workload and say why)
            continue
        pods = namespaces.get(workload.namespace, [])
        found.update((count.signal, _counted(count, pods, index.snapshot.observed_at)) for count in wanted)
    return found


def _counts(engines: Mapping[str, Recommender], name: str) -> bool:
    return name in engines and isinstance(engines[name], CountsPods)


def _counted(count: PodCount, pods: Sequence[Pod], at: float) -> Sample:
    matching = [pod for pod in pods if selects(count.selector, pod.shape.labels)]
    if count.by_node:
        return Sample(float(len({pod.node for pod in matching if pod.node})), at)
    return Sample(float(len(matching)), at)


@lru_cache(maxsize=64)
def _defaults(kind: type[msgspec.Struct]) -> msgspec.Struct:
    """Return parameters at their defaults: they are frozen, so one of each type is enough."""
    return kind()
