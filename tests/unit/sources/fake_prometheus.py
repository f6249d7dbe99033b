"""A server on loopback that answers our queries as Prometheus writes its answers, or badly, as a real one will not."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.clock import SystemClock
from autoscaler.interfaces import Clock, MetricsSource
from autoscaler.model.pod import Pod, ReadyCondition
from autoscaler.sources.prometheus import PrometheusSource
from autoscaler.sources.promql import Question, fixed_queries
from autoscaler.sources.settings import PrometheusSettings
from autoscaler.testing.builders import NOW, make_pod

WEB = "default/Deployment/web"
GONE = "default/Deployment/gone"
PODS = tuple(make_pod(f"web-6fb786454b-mrr5{sign}") for sign in "2456")
SCRAPED = NOW - 12.0
CORES = 0.25
BYTES = 200e6
_USERS = re.compile(r'topk\(2, \((?:vector\()?(.*?)(?:\n\))?\n\)\), "podnode_query", "(\d+)"', re.DOTALL)

Series = tuple[Mapping[str, str], str]
"""Labels, and the value as text."""
Answer = Callable[[str, Mapping[str, str]], Awaitable[web.StreamResponse | None]]


def by_pod(value: float | str, *, pods: Sequence[Pod] = PODS, container: str = "") -> list[Series]:
    """Return one series with *value* for each pod."""
    return [(labels_of(pod, container), str(value)) for pod in pods]


def labels_of(pod: Pod, container: str = "") -> dict[str, str]:
    labels = {"namespace": pod.namespace, "pod": pod.name}
    return {**labels, "container": container} if container else labels


def figures() -> dict[Question, list[Series]]:
    """Return what is measured of four pods that use 0.25 cores and 200 MB each and serve 7 requests a second."""
    return {
        Question.CPU: by_pod(CORES, container="app"),
        Question.CPU_TIME: by_pod(SCRAPED),
        Question.MEMORY: by_pod(BYTES, container="app"),
        Question.MEMORY_TIME: by_pod(SCRAPED),
        Question.MEMORY_PEAK: by_pod(1.1 * BYTES),
        Question.DUPLICATES: [],
        Question.THROTTLED: by_pod(0.1),
        Question.REQUESTS: by_pod(7.0),
        Question.SLOW_SHARE: by_pod(0.02),
        Question.LATENCY: by_pod(0.3),
    }


class FakePrometheus:
    """
    Change `figures` and `users` (series, or the message of a refusal, by a
    user's query) to say what is measured; set `answer` to answer otherwise, by
    call (`query`, `query_range`) and form. `asked` has the forms, in order.
    """

    def __init__(self, settings: PrometheusSettings) -> None:
        self.figures = figures()
        self.users: dict[str, list[Series] | str] = {}
        self.ranges: list[tuple[Mapping[str, str], Callable[[float], float | None]]] = []
        self.extra: dict[str, Any] = {}
        self.answer: Answer | None = None
        self.asked: list[dict[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self._questions = {text: question for question, text in fixed_queries(settings).items()}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = {key: str(value) for key, value in (await request.post()).items()}
        call = request.path.rpartition("/")[2]
        self.asked.append(form)
        self.headers.append(request.headers)
        given = await self.answer(call, form) if self.answer is not None else None
        if given is not None:
            return given
        return self._range(form) if call == "query_range" else self._instant(form)

    def _instant(self, form: Mapping[str, str]) -> web.Response:
        at = float(form["time"])
        question = self._questions.get(form["query"])
        if question is not None:
            found = self.figures[question] if at > NOW / 2 else []
            return vector(found, at, **self.extra)
        rows: list[Series] = []
        for query, number in _USERS.findall(form["query"]):
            given = self.users.get(query, [])
            if isinstance(given, str) and not ("got scalar" in given and "vector(" in form["query"]):
                return refusal(given)
            series = [({}, "5")] if isinstance(given, str) else given
            rows += [({**labels, "podnode_query": number}, value) for labels, value in series]
        return vector(rows, at, **self.extra)

    def _range(self, form: Mapping[str, str]) -> web.Response:
        start, end, step = (float(form[name]) for name in ("start", "end", "step"))
        times = [start + number * step for number in range(int((end - start) / step + 1e-9) + 1)]
        result = []
        for labels, value in self.ranges:
            pairs = [[time, str(value(time))] for time in times if value(time) is not None]
            if pairs:
                result.append({"metric": dict(labels), "values": pairs})
        return success({"resultType": "matrix", "result": result}, **self.extra)


def vector(rows: Sequence[Series], at: float, **extra: Any) -> web.Response:
    result = [{"metric": dict(labels), "value": [at, value]} for labels, value in rows]
    return success({"resultType": "vector", "result": result}, **extra)


def success(data: Any, **extra: Any) -> web.Response:
    return web.Response(text=json.dumps({"status": "success", "data": data, **extra}), content_type="application/json")


def refusal(message: str, *, status: int = 400, kind: str = "bad_data") -> web.Response:
    body = {"status": "error", "errorType": kind, "error": message}
    return web.Response(text=json.dumps(body), content_type="application/json", status=status)


@asynccontextmanager
async def prometheus(
    *,
    pods: Sequence[Pod] = PODS,
    other: MetricsSource | None = None,
    path: str = "",
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[PrometheusSource, FakePrometheus]]:
    """Give a source and the server it asks, which answers below *path*."""
    plain = PrometheusSettings(url="http://unused", **{"slow_seconds": 0.5, "timeout_seconds": 5.0, **settings})
    fake = FakePrometheus(plain)
    app = web.Application()
    app.router.add_post(f"{path}/api/v1/{{call}}", fake.handle)
    async with TestServer(app) as server:
        url = f"http://{server.host}:{server.port}"
        chosen = PrometheusSettings(url=url, **{"slow_seconds": 0.5, "timeout_seconds": 5.0, **settings})
        source = PrometheusSource(chosen, pods=lambda: pods, clock=clock or SystemClock(), other=other)
        try:
            yield source, fake
        finally:
            await source.aclose()


def young_pod(name: str, *, ready_for: float) -> Pod:
    """Return a pod that became Ready so many seconds ago."""
    return make_pod(name, ready=ReadyCondition("True", NOW - ready_for))
