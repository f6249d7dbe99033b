"""
The recording rules that we ship: one series a workload instead of one a container.

With them a history costs the server little, and pods of the past belong to
their workloads by kube-state-metrics' owners instead of by their names. They
need kube-state-metrics, with its labels kept (`honor_labels`).

Source: kube-state-metrics `docs/metrics/workload/{pod,replicaset}-metrics.md`.
"""

from __future__ import annotations

from typing import Any

from autoscaler.model.readings import SignalKind
from autoscaler.sources.history_queries import RECORDED, RULE_SECONDS
from autoscaler.sources.promql import CPU_COUNTER, WORKING_SET, of_containers, requests_query, seconds
from autoscaler.sources.settings import PrometheusSettings

OWNERS = "podnode:pod_workload:info"
"""1 for each pod, with the labels `workload` and `workload_kind`."""
GROUP = "podnode-workloads"
_SHIPPED = PrometheusSettings(url="")
_JOIN = f"* on (namespace, pod) group_left (workload, workload_kind) {OWNERS}"
_BY = "namespace, workload_kind, workload"


def recording_rules() -> dict[str, Any]:
    """Return the rule file, as the values that its YAML holds."""
    owners = " or ".join((_of_replica_sets(), _of_bare_replica_sets(), _of_others()))
    rules = [{"record": OWNERS, "expr": owners}]
    rules += [{"record": RECORDED[kind], "expr": text} for kind, text in _amounts().items()]
    return {"groups": [{"name": GROUP, "interval": seconds(RULE_SECONDS), "rules": rules}]}


def _amounts() -> dict[SignalKind, str]:
    window = seconds(_SHIPPED.window_seconds)
    used = f"max by (namespace, pod, container) (rate({of_containers(_SHIPPED, CPU_COUNTER)}[{window}]))"
    peak = f"max by (namespace, pod, container) (max_over_time({of_containers(_SHIPPED, WORKING_SET)}[{window}]))"
    is_ready = 'max by (namespace, pod) (kube_pod_status_ready{condition="true"})'
    ready_only = f"and on (namespace, pod) ({is_ready} == 1)"
    by_container = f"{_BY}, container"
    return {
        SignalKind.CPU: f"sum by ({_BY}) (sum by (namespace, pod) ({used} {ready_only}) {_JOIN})",
        SignalKind.MEMORY_PEAK: f"max by ({_BY}) (sum by (namespace, pod) ({peak}) {_JOIN})",
        SignalKind.READY: f"sum by ({_BY}) ({is_ready} {_JOIN})",
        SignalKind.REQUESTS: f"sum by ({_BY}) (({requests_query(_SHIPPED, 'rate', window)}) {_JOIN})",
        SignalKind.POD_CPU: f"avg by ({by_container}) ({used} {_JOIN})",
        SignalKind.POD_MEMORY: f"max by ({by_container}) ({peak} {_JOIN})",
    }


def _of_replica_sets() -> str:
    """Pods of ReplicaSets that a Deployment, or a kind like it, owns."""
    owner = _renamed(
        'kube_replicaset_owner{owner_name!="",owner_name!="<none>"}', workload="owner_name", workload_kind="owner_kind"
    )
    return (
        f"max by (namespace, pod, workload, workload_kind) ({_replica_set_of_pod()}"
        " * on (namespace, replicaset) group_left (workload, workload_kind)"
        f" max by (namespace, replicaset, workload, workload_kind) ({owner}))"
    )


def _of_bare_replica_sets() -> str:
    bare = _renamed('kube_replicaset_owner{owner_name=~"|<none>"}', workload="replicaset")
    bare = f'label_replace({bare}, "workload_kind", "ReplicaSet", "", "")'
    return (
        f"max by (namespace, pod, workload, workload_kind) ({_replica_set_of_pod()}"
        " * on (namespace, replicaset) group_left (workload, workload_kind)"
        f" max by (namespace, replicaset, workload, workload_kind) ({bare}))"
    )


def _of_others() -> str:
    """Pods of StatefulSets, DaemonSets, Jobs and whatever else makes pods itself."""
    owned = 'kube_pod_owner{owner_kind!="",owner_kind!="<none>",owner_kind!="ReplicaSet",owner_kind!="Node"}'
    renamed = _renamed(owned, workload="owner_name", workload_kind="owner_kind")
    return f"max by (namespace, pod, workload, workload_kind) ({renamed})"


def _replica_set_of_pod() -> str:
    owned = _renamed('kube_pod_owner{owner_kind="ReplicaSet"}', replicaset="owner_name")
    return f"max by (namespace, pod, replicaset) ({owned})"


def _renamed(series: str, **labels: str) -> str:
    for to, taken in labels.items():
        series = f'label_replace({series}, "{to}", "$1", "{taken}", "(.*)")'
    return series
