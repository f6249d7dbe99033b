"""
A query API that answers from prepared bodies, in a process of its own.

`python -m tests.bench_cluster.recorded_prometheus PODS WORKLOADS` prints its port and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

import numpy as np
from aiohttp import web

from autoscaler.model.arrays import Floats

POINTS = 60
SERIES = 10_000
AGE_SECONDS = 12.0


def pod_names(pods: int, workloads: int) -> list[tuple[str, str]]:
    """Return (workload, pod) of so many pods, spread over Deployments."""
    return [(f"w{number % workloads:04}", f"w{number % workloads:04}-6fb786454b-{number:05}") for number in range(pods)]


class Recorded:
    """Bodies by what their query asks for; the newest sample is always 12 s old."""

    def __init__(self, pods: Sequence[tuple[str, str]]) -> None:
        random = np.random.default_rng(1)
        self._labels = [{"namespace": "shop", "pod": pod} for _, pod in pods]
        self._values = [f"{value:.9f}" for value in random.uniform(0.01, 2.0, len(pods))]
        self._bodies: dict[tuple[str, str], bytes] = {}
        self._matrix = _matrix(random.uniform(0.01, 2.0, (SERIES, POINTS)))

    async def answer(self, request: web.Request) -> web.Response:
        form = await request.post()
        query, time = str(form["query"]), str(form.get("time", ""))
        if request.path.endswith("query_range"):
            return web.Response(body=self._matrix, content_type="application/json")
        return web.Response(body=self._instant(query, time), content_type="application/json")

    def _instant(self, query: str, time: str) -> bytes:
        if "podnode_query" in query:
            return _union(query, time)
        if query.endswith("> 1"):
            return _vector([])
        kind = "containers" if query.startswith("max by (namespace, pod, container)") else "pods"
        kind = "times" if "timestamp" in query else kind
        key = (kind, time)
        if key not in self._bodies:
            self._bodies = {key: body for key, body in self._bodies.items() if key[1] == time}
            self._bodies[key] = self._body(kind, float(time))
        return self._bodies[key]

    def _body(self, kind: str, at: float) -> bytes:
        values = self._values if kind != "times" else [f"{at - AGE_SECONDS:.3f}"] * len(self._labels)
        extra = {"container": "app"} if kind == "containers" else {}
        pairs = zip(self._labels, values, strict=True)
        return _vector([{"metric": labels | extra, "value": [at, value]} for labels, value in pairs])


def _vector(rows: list[dict[str, object]]) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}).encode()


def _union(query: str, time: str) -> bytes:
    count = query.count('"podnode_query"')
    return _vector([{"metric": {"podnode_query": str(n)}, "value": [float(time), "1.5"]} for n in range(count)])


def _matrix(values: Floats) -> bytes:
    rows = [
        {
            "metric": {"namespace": "shop", "workload_kind": "Deployment", "workload": f"w{number:05}"},
            "values": [[1_700_000_000 + 60 * step, f"{value:.9f}"] for step, value in enumerate(row)],
        }
        for number, row in enumerate(values.tolist())
    ]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": rows}}
    return json.dumps(answer, separators=(",", ":")).encode()


async def serve(pods: int, workloads: int) -> None:
    """Serve until the program is ended; the port goes to standard output."""
    recorded = Recorded(pod_names(pods, workloads))
    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/api/v1/{call}", recorded.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
