"""The metrics sources on a real Prometheus and a real metrics API, fed by the emulator; and the shipped rules."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_api_client import PrometheusConnect

from autoscaler.clock import SystemClock
from autoscaler.errors import TransientError
from autoscaler.interfaces import MetricsSource
from autoscaler.model.pod import Pod
from autoscaler.model.readings import Missing, MissingReason, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.sources.history_queries import RECORDED
from autoscaler.sources.metrics_api import MetricsApiSource
from autoscaler.sources.prometheus import PrometheusSource
from autoscaler.sources.promql import Question, fixed_queries
from autoscaler.sources.rules import recording_rules
from autoscaler.sources.settings import PrometheusSettings
from autoscaler.testing.builders import make_pod, make_shape
from autoscaler.testing.contracts import METRICS_SOURCE, MetricsCase
from tests.cluster.binaries import find_programs
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment, node
from tests.cluster.processes import Process
from tests.cluster.waiting import eventually
from tests.integration.test_store import running

CLOCK = SystemClock()
CORES, BYTES, RATE = 0.6, 100e6, 30.0
FAST: dict[str, Any] = {"resolution_seconds": 1.0, "window_seconds": 5.0, "stale_after_seconds": 10.0}


class Site:
    """A Deployment of three pods under a known load, and who owns its pods."""

    def __init__(self, cluster: Cluster, namespace: str, pods: Callable[[], Sequence[Pod]]) -> None:
        self.cluster, self.namespace, self.pods = cluster, namespace, pods
        self.workload = f"{namespace}/Deployment/web"

    def signal(self, kind: SignalKind, name: str = "") -> Signal:
        return Signal(self.workload, kind, name)

    def prometheus(self, **settings: Any) -> PrometheusSource:
        chosen = {"url": self.cluster.prometheus_url, "slow_seconds": 1.0, **FAST, **settings}
        return PrometheusSource(PrometheusSettings(**chosen), pods=self.pods, clock=CLOCK)

    def metrics_api(self) -> MetricsApiSource:
        return MetricsApiSource(self.cluster.admin, clock=CLOCK, pods=self.pods)


@pytest.fixture
async def site(cluster: Cluster, namespace: str) -> AsyncIterator[Site]:
    await cluster.admin.send("POST", "/api/v1/nodes", node(namespace, labels={"test": namespace}))
    body = deployment("web", replicas=3, limits={"cpu": "1"}, nodeSelector={"test": namespace})
    await cluster.admin.send("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    await cluster.emulator.set_load(
        namespace, "web", requests=RATE, cores_per_request=CORES / RATE, memory_bytes=BYTES, service_seconds=0.02
    )
    async with running(cluster.admin) as store:
        yield Site(cluster, namespace, store.pods)


async def steady(source: MetricsSource, signal: Signal, value: float) -> Reading:
    """Wait until a signal has a value, within 5 %, and return its reading."""

    async def look() -> Reading | None:
        reading = (await source.read([signal], CLOCK.now()))[signal]
        return reading if getattr(reading, "value", None) == pytest.approx(value, rel=0.05) else None

    found = await eventually(look, what=f"{signal.kind} of {value}", every=0.3)
    assert found is not None
    return found


async def missing(source: MetricsSource, signal: Signal) -> Missing:
    """Wait until a signal is missing, and return why."""

    async def look() -> Missing | None:
        reading = (await source.read([signal], CLOCK.now()))[signal]
        return reading if isinstance(reading, Missing) else None

    found = await eventually(look, what=f"{signal.kind} missing", every=0.3)
    assert found is not None
    return found


async def test_what_is_read_is_what_was_set(site: Site) -> None:
    async with aclosing(site.prometheus()) as source:
        await steady(source, site.signal(SignalKind.CPU), CORES)
        await steady(source, site.signal(SignalKind.REQUESTS), RATE)
        kinds = (SignalKind.READY, SignalKind.MEMORY_PEAK, SignalKind.SLOW_SHARE, SignalKind.LATENCY)
        plain = [site.signal(kind) for kind in (*kinds, SignalKind.THROTTLED, SignalKind.POD_CPU)]
        queries = {
            f'sum(kube_pod_status_ready{{namespace="{site.namespace}",condition="true"}})': 3.0,
            "scalar(vector(7))": 7.0,
            f'kube_pod_status_ready{{namespace="{site.namespace}"}}': MissingReason.DUPLICATE,
            "sum(rate(no_such_series[1m]))": MissingReason.ABSENT,
            "sum(rate(up))": MissingReason.FAILED,
            "vector(0) / 0": MissingReason.NOT_A_NUMBER,
            "no_such_function(up)": MissingReason.FAILED,
        }
        users = [site.signal(SignalKind.PROMETHEUS, query) for query in queries]

        async def told_apart() -> bool:
            readings = await source.read([*plain, *users], CLOCK.now())
            assert source.last_queries <= 12
            said = [getattr(readings[user], "value", getattr(readings[user], "reason", None)) for user in users]
            return said == list(queries.values())

        await eventually(told_apart, what="each query told from the others", every=0.1)
        readings = await source.read([*plain, *users], CLOCK.now())
    values = {signal.kind: getattr(readings[signal], "value", -1.0) for signal in plain}
    assert values[SignalKind.READY] == 3.0
    assert values[SignalKind.MEMORY_PEAK] == pytest.approx(BYTES, rel=0.3)
    assert values[SignalKind.SLOW_SHARE] == pytest.approx(0.0, abs=0.05)
    assert 0 < values[SignalKind.LATENCY] < 1.0
    assert values[SignalKind.THROTTLED] == pytest.approx(0.0, abs=0.05)
    of_pods = readings[site.signal(SignalKind.POD_CPU)]
    assert isinstance(of_pods, PodSamples)
    assert sum(each.value for each in of_pods.samples) == pytest.approx(1000 * CORES, rel=0.2)
    bad = next(reading for signal, reading in readings.items() if signal.name == "no_such_function(up)")
    assert "no_such_function" in getattr(bad, "detail", "")


async def test_histories_are_read_by_the_names_of_pods(site: Site) -> None:
    async with aclosing(site.prometheus()) as source:
        await steady(source, site.signal(SignalKind.CPU), CORES)
        await steady(source, site.signal(SignalKind.REQUESTS), RATE)
        now = CLOCK.now()
        expected = {SignalKind.CPU: CORES, SignalKind.REQUESTS: RATE, SignalKind.READY: 3.0, SignalKind.POD_CPU: 200.0}

        async def full() -> bool:
            """Look at the same span again, with a new source each time: histories are remembered."""
            async with aclosing(site.prometheus()) as fresh:
                newest = {
                    kind: (await fresh.history(site.signal(kind), now, CLOCK.now(), 2.0)).values[-3:]
                    for kind in expected
                }
            return all(
                len(values) == 3 and np.allclose(values, expected[kind], rtol=0.1) for kind, values in newest.items()
            )

        await eventually(full, what="histories at the load that was set", every=1.0)
        before = await source.history(site.signal(SignalKind.CPU), now - 1200, now - 600, 60.0)
    assert np.isnan(before.values).all()


async def test_sources_keep_to_the_contract(site: Site) -> None:
    async with aclosing(site.prometheus()) as source, aclosing(site.metrics_api()) as plain:
        await steady(source, site.signal(SignalKind.CPU), CORES)
        await steady(plain, site.signal(SignalKind.CPU), CORES)
        await steady(source, site.signal(SignalKind.REQUESTS), RATE)
    both = (SignalKind.POD_CPU, SignalKind.POD_MEMORY, SignalKind.CPU, SignalKind.MEMORY_PEAK)
    prometheus_only = (SignalKind.REQUESTS, SignalKind.SLOW_SHARE, SignalKind.LATENCY)
    gone = Signal(f"{site.namespace}/Deployment/gone", SignalKind.CPU)
    for name, rule in METRICS_SOURCE.items():
        for made, kinds in ((site.prometheus(), both + prometheus_only), (site.metrics_api(), both)):
            if name == "reading-twice-gives-the-same" and isinstance(made, MetricsApiSource):
                continue  # The API gives the newest sample, whatever time is asked for.
            async with aclosing(made) as subject:
                present = tuple(site.signal(kind) for kind in kinds)
                try:
                    await rule(MetricsCase(source=subject, at=CLOCK.now(), present=present, absent=gone))
                except AssertionError as broken:
                    raise AssertionError(f"{type(made).__name__} breaks {name}: {broken}") from broken


async def test_another_client_reads_the_same_numbers(site: Site) -> None:
    settings = PrometheusSettings(url=site.cluster.prometheus_url, **FAST)
    async with aclosing(site.prometheus()) as source:
        await steady(source, site.signal(SignalKind.CPU), CORES)
        at = CLOCK.now()
        ours = (await source.read([site.signal(SignalKind.POD_CPU)], at))[site.signal(SignalKind.POD_CPU)]
        start, end = int(at) - 8.0, int(at) + 0.0
        past = await source.history(site.signal(SignalKind.PROMETHEUS, "sum(up)"), start, end, 1.0)

    def theirs() -> tuple[dict[str, float], list[float]]:
        client = PrometheusConnect(url=site.cluster.prometheus_url)
        rows = client.custom_query(fixed_queries(settings)[Question.CPU], params={"time": f"{at:.3f}"})
        span = {"start_time": datetime.fromtimestamp(start, UTC), "end_time": datetime.fromtimestamp(end - 1.0, UTC)}
        (series,) = client.custom_query_range("sum(up)", step="1", **span)
        values = [float(value) for _, value in series["values"]]
        return {row["metric"]["pod"]: float(row["value"][1]) for row in rows}, values

    of_pods, of_past = await asyncio.to_thread(theirs)
    assert isinstance(ours, PodSamples)
    assert len(ours.samples) == 3
    assert {each.pod: each.value for each in ours.samples} == {
        each.pod: round(1000 * of_pods[each.pod]) for each in ours.samples
    }
    assert past.values[~np.isnan(past.values)].tolist() == of_past


async def test_a_prometheus_that_hangs_or_lies_low_is_missing(site: Site) -> None:
    cpu = site.signal(SignalKind.CPU)
    async with aclosing(site.prometheus(timeout_seconds=1.0)) as source:
        await steady(source, cpu, CORES)
        site.cluster.pause("prometheus")
        try:
            began = CLOCK.monotonic()
            with pytest.raises(TransientError):
                await source.read([cpu], CLOCK.now())
            assert CLOCK.monotonic() - began < 5.0
        finally:
            site.cluster.resume("prometheus")
        await steady(source, cpu, CORES)
        site.cluster.pause("emulator")
        try:
            gone = await missing(source, cpu)
        finally:
            site.cluster.resume("emulator")
        assert gone.reason in (MissingReason.ABSENT, MissingReason.STALE)
        assert gone.since > 0
        assert isinstance(await steady(source, cpu, CORES), Sample)


async def test_both_sources_agree(site: Site) -> None:
    kinds = (SignalKind.CPU, SignalKind.MEMORY_PEAK)
    async with aclosing(site.prometheus()) as source, aclosing(site.metrics_api()) as plain:
        for kind in kinds:
            signal = site.signal(kind)
            await steady(source, signal, CORES if kind is SignalKind.CPU else BYTES)
            reading = await steady(plain, signal, CORES if kind is SignalKind.CPU else BYTES)
            assert isinstance(reading, Sample)
            assert CLOCK.now() - reading.at < 30.0


def exposed(began: float) -> str:
    """Return what kubelets, kube-state-metrics and applications would say of four workloads' pods, 0.25 cores each."""
    age = CLOCK.now() - began
    pods = {
        "web-6fb786454b-mrr52": ("ReplicaSet", "web-6fb786454b"),
        "web-6fb786454b-mrr54": ("ReplicaSet", "web-6fb786454b"),
        "bare-x7k2p": ("ReplicaSet", "bare"),
        "db-0": ("StatefulSet", "db"),
    }
    lines = [
        f'kube_replicaset_owner{{namespace="shop",replicaset="{name}",owner_kind="{kind}",owner_name="{owner}"}} 1'
        for name, kind, owner in (("web-6fb786454b", "Deployment", "web"), ("bare", "<none>", "<none>"))
    ]
    for pod, (kind, owner) in pods.items():
        of_pod = f'namespace="shop",pod="{pod}"'
        lines += [
            f'container_cpu_usage_seconds_total{{{of_pod},container="app",id="/{pod}"}} {0.25 * age:.6f}',
            f'container_memory_working_set_bytes{{{of_pod},container="app",id="/{pod}"}} {1e8 + len(pod):.0f}',
            f'http_requests_total{{{of_pod},code="200"}} {5 * age:.6f}',
            f'kube_pod_status_ready{{{of_pod},condition="true"}} 1',
            f'kube_pod_owner{{{of_pod},owner_kind="{kind}",owner_name="{owner}",owner_is_controller="true"}} 1',
        ]
    return "".join(line + "\n" for line in lines)


@asynccontextmanager
async def recording(folder: Path) -> AsyncIterator[str]:
    """Give the address of a Prometheus of its own that scrapes `exposed`, with our rules, all of it fast."""
    began = CLOCK.now()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=exposed(began))

    application = web.Application()
    application.router.add_get("/metrics", answer)
    rules = yaml.safe_dump(recording_rules()).replace("[120s]", "[2s]").replace("interval: 60s", "interval: 500ms")
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")
    async with TestServer(application) as server:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        job = {"job_name": "all", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}]}
        every = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
        configuration = {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": [job]}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        program = str(find_programs()["prometheus"])
        flags = [f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'series'}"]
        command = [program, *flags, f"--web.listen-address=127.0.0.1:{port}"]
        process = Process("prometheus", command, log=folder / "log", environment=dict(os.environ))
        process.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


async def test_rules_record_what_each_workload_uses(tmp_path: Path) -> None:
    workloads = {"shop/Deployment/web": 2, "shop/ReplicaSet/bare": 1, "shop/StatefulSet/db": 1}
    pods = [make_pod("any", shape=make_shape(namespace="shop"), workload=workload) for workload in workloads]
    each = {SignalKind.CPU: 0.25, SignalKind.READY: 1.0, SignalKind.REQUESTS: 5.0}
    same = {SignalKind.MEMORY_PEAK: 1e8, SignalKind.POD_CPU: 250.0, SignalKind.POD_MEMORY: 1e8}
    assert {*each, *same} == set(RECORDED)
    async with recording(tmp_path) as url:

        async def recorded() -> bool:
            """Read with a matcher that only recorded series meet."""
            settings = PrometheusSettings(url=url, matchers=('workload_kind!=""',), **FAST)
            async with aclosing(PrometheusSource(settings, pods=lambda: pods, clock=CLOCK)) as source:
                for workload, count in workloads.items():
                    for kind, value in (*each.items(), *same.items()):
                        now = CLOCK.now()
                        series = await source.history(Signal(workload, kind), now - 1.0, now, 1.0)
                        wanted = value * (count if kind in each else 1)
                        if not np.allclose(series.values, wanted, rtol=0.15):
                            return False
            return True

        async def answers() -> bool:
            try:
                return await recorded()
            except TransientError:
                return False

        await eventually(answers, what="all series recorded", within=60.0, every=0.5)
