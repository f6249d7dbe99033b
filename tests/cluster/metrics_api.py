"""
metrics.k8s.io/v1beta1 as an extension API server, for the HorizontalPodAutoscaler and `kubectl top`.

It answers straight from the emulation and not from Prometheus: that is exact,
has no lag, and goes on while a test takes Prometheus away.
Source: k8s.io/metrics, `pkg/apis/metrics/v1beta1/types.go`.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from autoscaler.interfaces import Clock
from tests.cluster.emulation import TICK_SECONDS, Emulation
from tests.cluster.exposition import use_of

GROUP = "metrics.k8s.io/v1beta1"
_BASE = f"/apis/{GROUP}"
_RESOURCES = (("pods", "PodMetrics", True), ("nodes", "NodeMetrics", False))


def registration(port: int, authority: str) -> list[tuple[str, dict[str, Any]]]:
    """
    Return (path, object) of what makes the API server forward here; *authority* is the CA's PEM in base64.

    Endpoints may not hold a loopback address, but a Service may be another name for localhost.
    """
    service = {"name": "metrics-api", "namespace": "kube-system"}
    return [
        (
            "/api/v1/namespaces/kube-system/services",
            {
                "metadata": service,
                "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
            },
        ),
        (
            "/apis/apiregistration.k8s.io/v1/apiservices",
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": "v1beta1.metrics.k8s.io"},
                "spec": {
                    "group": "metrics.k8s.io",
                    "version": "v1beta1",
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "caBundle": authority,
                    "service": {**service, "port": port},
                },
            },
        ),
    ]


def make_app(emulation: Emulation, clock: Clock) -> web.Application:
    """Return the server; it trusts whoever reaches it, which is the API server on loopback."""

    async def discover(request: web.Request) -> web.Response:
        return web.json_response(_discovery())

    async def list_pods(request: web.Request) -> web.Response:
        namespace = request.match_info.get("namespace")
        selector = request.query.get("labelSelector", "")
        items = [
            _pod_metrics(emulation, key, clock.now())
            for key in emulation.measured_pods()
            if namespace in (None, key[0]) and selects(selector, emulation.known[key].metadata.labels)
        ]
        return web.json_response({"kind": "PodMetricsList", "apiVersion": GROUP, "metadata": {}, "items": items})

    async def get_pod(request: web.Request) -> web.Response:
        key = (request.match_info["namespace"], request.match_info["name"])
        if key not in emulation.measured_pods():
            return _not_found("pods", key[1])
        return web.json_response(_pod_metrics(emulation, key, clock.now()))

    async def list_nodes(request: web.Request) -> web.Response:
        items = [_node_metrics(emulation, name, clock.now()) for name in sorted(emulation.nodes.row_of)]
        return web.json_response({"kind": "NodeMetricsList", "apiVersion": GROUP, "metadata": {}, "items": items})

    async def get_node(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in emulation.nodes.row_of:
            return _not_found("nodes", name)
        return web.json_response(_node_metrics(emulation, name, clock.now()))

    app = web.Application()
    app.add_routes(
        [
            web.get(_BASE, discover),
            web.get(f"{_BASE}/pods", list_pods),
            web.get(f"{_BASE}/namespaces/{{namespace}}/pods", list_pods),
            web.get(f"{_BASE}/namespaces/{{namespace}}/pods/{{name}}", get_pod),
            web.get(f"{_BASE}/nodes", list_nodes),
            web.get(f"{_BASE}/nodes/{{name}}", get_node),
        ]
    )
    return app


def _discovery() -> dict[str, Any]:
    resources = [
        {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]}
        for name, kind, namespaced in _RESOURCES
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP, "resources": resources}


def _pod_metrics(emulation: Emulation, key: tuple[str, str], now: float) -> dict[str, Any]:
    labels = emulation.known[key].metadata.labels
    containers = [
        {"name": name, "usage": _usage(cores, used_bytes)} for name, cores, used_bytes in use_of(emulation, key)
    ]
    metadata = {"namespace": key[0], "name": key[1], "labels": labels}
    return {"kind": "PodMetrics", "apiVersion": GROUP, "metadata": metadata, **_when(now), "containers": containers}


def _node_metrics(emulation: Emulation, name: str, now: float) -> dict[str, Any]:
    on_node = emulation.pods.node == emulation.nodes.row_of[name]
    usage = _usage(float(emulation.pods.used_cores[on_node].sum()), float(emulation.pods.used_bytes[on_node].sum()))
    return {"kind": "NodeMetrics", "apiVersion": GROUP, "metadata": {"name": name}, **_when(now), "usage": usage}


def _usage(cores: float, used_bytes: float) -> dict[str, str]:
    return {"cpu": f"{round(cores * 1e9)}n", "memory": f"{round(used_bytes / 1024)}Ki"}


def _when(now: float) -> dict[str, str]:
    at = datetime.datetime.fromtimestamp(now, datetime.UTC)
    return {"timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "window": f"{TICK_SECONDS}s"}


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Return whether an equality selector (a=b,c==d), the only kind that our workloads have, matches."""
    wanted = [part.partition("=")[::2] for part in selector.replace("==", "=").split(",") if part]
    return all(labels.get(key) == value for key, value in wanted)


def _not_found(resource: str, name: str) -> web.Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": "NotFound",
        "message": f'{resource}.metrics.k8s.io "{name}" not found',
        "code": 404,
    }
    return web.json_response(status, status=404)
