"""An API server on loopback that answers for the metrics APIs, well or badly."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.clock import SystemClock
from autoscaler.kube.client import ApiServer
from autoscaler.model.pod import Pod
from autoscaler.sources.metrics_api import POD_METRICS, MetricsApiSource
from autoscaler.sources.scalers import Scalers
from autoscaler.testing.builders import NOW
from tests.unit.sources.fake_prometheus import PODS

CUSTOM = "/apis/custom.metrics.k8s.io"
EXTERNAL = "/apis/external.metrics.k8s.io"
_KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{url}"}}}}]
users: [{{name: u, user: {{}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_metrics(pod: Pod, *, cpu: str = "250000001n", memory: str = "65536Ki", at: float = NOW - 12) -> dict[str, Any]:
    """Return a PodMetrics as metrics-server writes it."""
    return {
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "timestamp": stamp(at),
        "window": "15.5s",
        "containers": [{"name": "app", "usage": {"cpu": cpu, "memory": memory}}],
    }


def group(name: str, version: str) -> dict[str, Any]:
    return {"kind": "APIGroup", "name": name, "preferredVersion": {"groupVersion": f"{name}/{version}"}}


class FakeApiServer:
    """Set `answers` (a value to send as JSON, a text, or a status) by path; other paths are 404. `asked` has paths."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            POD_METRICS: {"items": [pod_metrics(pod) for pod in PODS]},
            CUSTOM: group("custom.metrics.k8s.io", "v1beta2"),
            EXTERNAL: group("external.metrics.k8s.io", "v1beta1"),
        }
        self.asked: list[str] = []
        self.params: list[Mapping[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.params.append(request.query)
        given = self.answers.get(request.path, 404)
        if isinstance(given, int):
            return web.Response(status=given, text=json.dumps({"kind": "Status", "message": "so it is"}))
        return web.Response(text=given if isinstance(given, str) else json.dumps(given))


@asynccontextmanager
async def metrics_api(
    folder: Path, *, pods: Sequence[Pod] = PODS, scalers: Scalers | None = None
) -> AsyncIterator[tuple[MetricsApiSource, FakeApiServer]]:
    """Give a source and the server that it asks; *folder* takes the kubeconfig."""
    fake = FakeApiServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", fake.handle)
    async with TestServer(app) as server:
        file = folder / "kubeconfig"
        file.write_text(_KUBECONFIG.format(url=f"http://{server.host}:{server.port}"), encoding="utf-8")
        api = await ApiServer.connect(kubeconfig=str(file))
        try:
            yield MetricsApiSource(api, clock=SystemClock(), pods=lambda: pods, scalers=scalers), fake
        finally:
            await api.aclose()
