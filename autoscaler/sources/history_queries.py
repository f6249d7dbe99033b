"""
The range queries behind `history`, as text: from recording rules where they are, else by the names of pods.

Each returns one series for each workload (and container), so that one query
serves many workloads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.readings import SignalKind
from autoscaler.sources.ownership import Owner, matchers_of, with_owner
from autoscaler.sources.promql import (
    CPU_COUNTER,
    WORKING_SET,
    Question,
    fixed_queries,
    of_containers,
    requests_query,
    seconds,
    selector,
)
from autoscaler.sources.settings import PrometheusSettings

RECORDED: Mapping[SignalKind, str] = {
    SignalKind.CPU: "podnode:workload_cpu_cores:sum",
    SignalKind.MEMORY_PEAK: "podnode:workload_memory_peak_bytes:max",
    SignalKind.READY: "podnode:workload_ready_pods:sum",
    SignalKind.REQUESTS: "podnode:workload_requests_per_second:sum",
    SignalKind.POD_CPU: "podnode:workload_container_cpu_cores:avg",
    SignalKind.POD_MEMORY: "podnode:workload_container_memory_peak_bytes:max",
}
"""Series of deploy/observability/recording-rules.yaml."""
RULE_SECONDS = 60.0
"""How often those rules are worked out."""
_BY_CONTAINER = frozenset({SignalKind.POD_CPU, SignalKind.POD_MEMORY})
PEAKS = frozenset({SignalKind.MEMORY_PEAK, SignalKind.POD_MEMORY})


def recorded_query(kind: SignalKind, settings: PrometheusSettings, owners: Sequence[Owner], *, step: float) -> str:
    """Return a query for the recorded series of *owners*, "" where no rule makes one."""
    if kind not in RECORDED:
        return ""
    namespaces = "|".join(sorted({owner.namespace for owner in owners}))
    names = "|".join(sorted({owner.name.replace(".", "[.]") for owner in owners}))
    series = selector(settings, RECORDED[kind], f'namespace=~"{namespaces}"', f'workload=~"{names}"')
    function = "max_over_time" if kind in PEAKS else "avg_over_time"
    labels = _labels(kind)
    return f"max by ({labels}) ({function}({series}[{seconds(max(step, RULE_SECONDS))}]))"


def raw_queries(kind: SignalKind, settings: PrometheusSettings, owners: Sequence[Owner], *, step: float) -> list[str]:
    """Return queries on what was scraped, best first; the next is for where one gives nothing."""
    chosen = msgspec.structs.replace(settings, matchers=(*settings.matchers, *matchers_of(owners)))
    window = seconds(max(step, settings.window_seconds))
    cpu, memory = of_containers(chosen, CPU_COUNTER), of_containers(chosen, WORKING_SET)
    per_container = "max by (namespace, pod, container)"
    used = f"{per_container} (rate({cpu}[{window}]))"
    peak = f"{per_container} (max_over_time({memory}[{seconds(max(step, 2 * settings.resolution_seconds))}]))"
    if kind is SignalKind.CPU:
        return [_whole("sum", kind, used, owners)]
    if kind is SignalKind.POD_CPU:
        return [_whole("avg", kind, used, owners)]
    if kind is SignalKind.POD_MEMORY:
        return [_whole("max", kind, peak, owners)]
    if kind is SignalKind.MEMORY_PEAK:
        return [_whole("max", kind, f"sum by (namespace, pod) ({peak})", owners)]
    if kind is SignalKind.READY:
        ready = selector(chosen, "kube_pod_status_ready", 'condition="true"')
        return [
            _whole("sum", kind, f"max by (namespace, pod) ({ready})", owners),
            _whole("count", kind, f"max by (namespace, pod) ({memory})", owners),
        ]
    return _of_pods(kind, chosen, owners, window=window)


def _of_pods(kind: SignalKind, chosen: PrometheusSettings, owners: Sequence[Owner], *, window: str) -> list[str]:
    """Return the query of an optional kind: the one of a cycle, by workload."""
    if kind is SignalKind.REQUESTS and Question.REQUESTS not in chosen.queries:
        return [_whole("sum", kind, requests_query(chosen, "rate", window), owners)]
    question, function = _PLAIN.get(kind, (None, ""))
    text = fixed_queries(chosen).get(question) if question else None
    return [_whole(function, kind, text, owners)] if text else []


_PLAIN = {
    SignalKind.REQUESTS: (Question.REQUESTS, "sum"),
    SignalKind.SLOW_SHARE: (Question.SLOW_SHARE, "avg"),
    SignalKind.LATENCY: (Question.LATENCY, "max"),
    SignalKind.THROTTLED: (Question.THROTTLED, "avg"),
}


def _whole(function: str, kind: SignalKind, query: str, owners: Sequence[Owner]) -> str:
    return f"{function} by ({_labels(kind)}) ({with_owner(query, owners)})"


def _labels(kind: SignalKind) -> str:
    return "namespace, workload_kind, workload" + (", container" if kind in _BY_CONTAINER else "")
