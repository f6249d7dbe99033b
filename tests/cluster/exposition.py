"""
The emulation as Prometheus reads it: the series of cAdvisor, kube-state-metrics and of instrumented servers.

Names and labels: cAdvisor's `docs/storage/prometheus.md`, kube-state-metrics'
`docs/metrics`, and the HTTP metrics of Prometheus's client libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from autoscaler.model.units import MIB, quantity_milli, quantity_value
from tests.cluster import mirror
from tests.cluster.emulation import Emulation

_TYPES = {
    "container_cpu_usage_seconds_total": "counter",
    "container_memory_working_set_bytes": "gauge",
    "container_cpu_cfs_periods_total": "counter",
    "container_cpu_cfs_throttled_periods_total": "counter",
    "http_requests_total": "counter",
    "http_request_duration_seconds": "histogram",
    "kube_pod_status_ready": "gauge",
    "kube_pod_owner": "gauge",
    "kube_pod_container_resource_requests": "gauge",
    "kube_deployment_spec_replicas": "gauge",
}
SIDECAR_BYTES = 4 * MIB
"""What a container but the first uses, besides no CPU: the first one does a pod's work."""


def expose(
    emulation: Emulation,
    pods: Mapping[tuple[str, str], mirror.Pod],
    deployments: Iterable[mirror.Deployment],
) -> str:
    """Return everything as Prometheus text format 0.0.4."""
    lines: dict[str, list[str]] = {name: [f"# TYPE {name} {kind}"] for name, kind in _TYPES.items()}
    measured = set(emulation.measured_pods())
    for key, row in emulation.rows.items():
        pod = emulation.known.get(key)
        if pod is not None and emulation.pods.node[row] >= 0:
            if key in measured:
                _add_usage(lines, emulation, row, pod)
            _add_requests(lines, emulation, row, pod)
    for pod in pods.values():
        _add_state(lines, pod)
    for deployment in deployments:
        meta = deployment.metadata
        name = "kube_deployment_spec_replicas"
        lines[name].append(
            f'{name}{{namespace="{meta.namespace}",deployment="{meta.name}"}} {deployment.spec.replicas}'
        )
    return "".join(line + "\n" for group in lines.values() if len(group) > 1 for line in group)


def use_of(emulation: Emulation, key: tuple[str, str]) -> Iterator[tuple[str, float, float]]:
    """Yield (container, cores, bytes) of a pod as used now."""
    pod, row = emulation.known[key], emulation.rows[key]
    for place, container in enumerate(pod.spec.containers):
        if place:
            yield container.name, 0.0, float(SIDECAR_BYTES)
        else:
            yield container.name, float(emulation.pods.used_cores[row]), float(emulation.pods.used_bytes[row])


def _add_usage(lines: dict[str, list[str]], emulation: Emulation, row: int, pod: mirror.Pod) -> None:
    counters, meta = emulation.counters, pod.metadata
    for place, container in enumerate(pod.spec.containers):
        labels = f'namespace="{meta.namespace}",pod="{meta.name}",container="{container.name}"'
        labels += f',node="{pod.spec.node_name}"'
        first = place == 0
        values = {
            "container_cpu_usage_seconds_total": counters["cpu_seconds"][row] if first else 0.0,
            "container_memory_working_set_bytes": emulation.pods.used_bytes[row] if first else SIDECAR_BYTES,
        }
        # Without a CPU limit there is no quota and cAdvisor has nothing to say about it.
        if first and np.isfinite(emulation.pods.cpu_limit[row]):
            values["container_cpu_cfs_periods_total"] = counters["periods"][row]
            values["container_cpu_cfs_throttled_periods_total"] = counters["throttled"][row]
        for name, value in values.items():
            lines[name].append(f"{name}{{{labels}}} {value:.6f}")


def _add_requests(lines: dict[str, list[str]], emulation: Emulation, row: int, pod: mirror.Pod) -> None:
    service, counters, meta = emulation.service_of(row), emulation.counters, pod.metadata
    if service.requests is None:
        return
    labels = f'namespace="{meta.namespace}",pod="{meta.name}",service="{service.name}"'
    served, failed = counters["served"][row], counters["failed"][row]
    outcomes = [("200", served, emulation.in_bucket[row])]
    if failed:
        outcomes.append(("503", failed, emulation.failed_in_bucket[row]))
    for code, count, in_bucket in outcomes:
        own = f'{labels},code="{code}"'
        if service.exports_requests:
            lines["http_requests_total"].append(f"http_requests_total{{{own}}} {count:.4f}")
        if service.exports_latency:
            lines["http_request_duration_seconds"] += _histogram(own, emulation.bounds_of(row), in_bucket)


def _histogram(labels: str, bounds: Iterable[float], in_bucket: Iterable[float]) -> Iterator[str]:
    name, total, last = "http_request_duration_seconds", 0.0, ""
    for bound, count in zip([*bounds, np.inf], in_bucket, strict=True):
        total += count
        text = "+Inf" if np.isinf(bound) else f"{bound:.9g}"
        # An objective that is a standard bound gives it twice; the second one counts nothing of its own.
        if text != last:
            yield f'{name}_bucket{{{labels},le="{text}"}} {total:.4f}'
        last = text
    yield f"{name}_count{{{labels}}} {total:.4f}"


def _add_state(lines: dict[str, list[str]], pod: mirror.Pod) -> None:
    meta = pod.metadata
    labels = f'namespace="{meta.namespace}",pod="{meta.name}"'
    for condition, holds in (("true", pod.is_ready), ("false", not pod.is_ready), ("unknown", False)):
        lines["kube_pod_status_ready"].append(f'kube_pod_status_ready{{{labels},condition="{condition}"}} {int(holds)}')
    for owner in meta.owner_references:
        owned = (
            f'owner_kind="{owner.kind}",owner_name="{owner.name}",owner_is_controller="{str(owner.controller).lower()}"'
        )
        lines["kube_pod_owner"].append(f"kube_pod_owner{{{labels},{owned}}} 1")
    for container in pod.spec.containers:
        for resource, text in container.resources.requests.items():
            unit, value = _amount(resource, text)
            asked = f'container="{container.name}",node="{pod.spec.node_name}",resource="{resource}",unit="{unit}"'
            lines["kube_pod_container_resource_requests"].append(
                f"kube_pod_container_resource_requests{{{labels},{asked}}} {value:g}"
            )


def _amount(resource: str, text: str) -> tuple[str, float]:
    if resource == "cpu":
        return "core", quantity_milli(text) / 1000
    return ("byte" if resource == "memory" else "integer"), float(quantity_value(text))
