"""
Plays the applications in the pods that kwok keeps alive: `python -m tests.cluster.emulator FOLDER`.

Serves series for Prometheus and takes orders over plain HTTP; serves the
metrics API over HTTPS. Kills what uses more memory than its limit.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import sys
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from autoscaler.backtest.scenario import load_scenario
from autoscaler.clock import SystemClock
from autoscaler.errors import AutoscalerError, InputError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import AlreadyExistsError, ApiServer
from tests.cluster import metrics_api
from tests.cluster.emulation import TICK_SECONDS, Emulation, Load
from tests.cluster.exposition import expose
from tests.cluster.mirror import Deployment, Mirror, Node, Pod
from tests.cluster.oom import kill

_RETRY_SECONDS = 0.2
_HTTP_SECONDS = 5.0


class Play(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """An order to play a scenario: a file, or the name of a bundled one."""

    file: str
    speed: float = 1.0
    """Seconds of the trace that pass in one second, above 0."""
    begin_seconds: float = 0.0
    """Where in the trace to begin, from the scenario's start."""


class Setup(msgspec.Struct, frozen=True):
    """What the emulator needs to know of the cluster, written by whoever starts it."""

    kubeconfig: str
    port: int
    metrics_api_port: int


class Emulator:
    """The emulation, kept up with the cluster and with time."""

    def __init__(self, api: ApiServer, clock: Clock) -> None:
        self.emulation = Emulation()
        self.pods = Mirror(api, clock, "/api/v1/pods", Pod)
        self.nodes = Mirror(api, clock, "/api/v1/nodes", Node)
        self.deployments = Mirror(api, clock, "/apis/apps/v1/deployments", Deployment)
        self._api, self._clock = api, clock

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        async with asyncio.TaskGroup() as group:
            for mirror in (self.pods, self.nodes, self.deployments):
                group.create_task(mirror.run())
            group.create_task(self._tick())

    async def _tick(self) -> None:
        before = self._clock.monotonic()
        while True:
            await self._clock.sleep(TICK_SECONDS)
            now = self._clock.monotonic()
            self.emulation.update(self.pods.items, self.nodes.items.values())
            over = self.emulation.advance(now - before)
            before = now
            for namespace, name in over:
                await kill(self._api, namespace, name, at=self._clock.now())

    def app(self) -> web.Application:
        """Return the server for Prometheus and for orders."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/metrics", self._metrics),
                web.put("/load", self._set_load),
                web.get("/loads", self._loads),
                web.delete("/loads", self._reset),
                web.post("/scenario", self._play),
                web.get("/scenario", self._progress),
            ]
        )
        return app

    async def _health(self, request: web.Request) -> web.Response:
        ready = self.pods.listed.is_set() and self.nodes.listed.is_set() and self.deployments.listed.is_set()
        return web.Response(text="ok" if ready else "not listed yet", status=200 if ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        text = expose(self.emulation, self.pods.items, self.deployments.items.values())
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _set_load(self, request: web.Request) -> web.Response:
        try:
            self.emulation.set_load(msgspec.json.decode(await request.read(), type=Load))
        except msgspec.MsgspecError as error:
            raise web.HTTPBadRequest(text=f"load: {error}") from error
        return web.Response(status=204)

    async def _loads(self, request: web.Request) -> web.Response:
        return web.json_response(self.emulation.loads())

    async def _reset(self, request: web.Request) -> web.Response:
        self.emulation.reset()
        return web.Response(status=204)

    async def _play(self, request: web.Request) -> web.Response:
        try:
            order = msgspec.json.decode(await request.read(), type=Play)
            world = load_scenario(order.file).world()
        except (msgspec.MsgspecError, InputError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        if not order.speed > 0:
            raise web.HTTPBadRequest(text=f"speed: {order.speed:g} is not valid; allowed: above 0")
        self.emulation.play(world, speed=order.speed, begin_seconds=order.begin_seconds)
        return await self._progress(request)

    async def _progress(self, request: web.Request) -> web.Response:
        return web.json_response(_progress_of(self.emulation))


def _progress_of(emulation: Emulation) -> dict[str, Any]:
    trace = emulation.trace
    if trace is None:
        return {}
    return {
        "name": trace.name,
        "speed": emulation.speed,
        "traceSeconds": emulation.trace_seconds,
        "lengthSeconds": trace.length_seconds,
    }


async def serve(folder: Path) -> None:
    """Run until killed; *folder* is the cluster's, with `emulator.json` (a `Setup`) in it."""
    clock = SystemClock()
    setup = msgspec.json.decode((folder / "emulator.json").read_bytes(), type=Setup)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.crt", folder / "server.key")
    api = await ApiServer.connect(kubeconfig=setup.kubeconfig, user_agent="emulator")
    emulator = Emulator(api, clock)
    await _listen(emulator.app(), setup.port, None)
    await _listen(metrics_api.make_app(emulator.emulation, clock), setup.metrics_api_port, tls)
    authority = base64.b64encode((folder / "ca.crt").read_bytes()).decode()
    async with asyncio.TaskGroup() as group:
        group.create_task(emulator.run())
        group.create_task(_register(api, clock, setup.metrics_api_port, authority))


async def _listen(app: web.Application, port: int, tls: ssl.SSLContext | None) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_HTTP_SECONDS)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()


async def _register(api: ApiServer, clock: Clock, port: int, authority: str) -> None:
    """Make the API server forward metrics.k8s.io here, once it lets us."""
    for path, body in metrics_api.registration(port, authority):
        while True:
            try:
                await api.send("POST", path, body)
            except AlreadyExistsError:
                break
            except AutoscalerError:
                await clock.sleep(_RETRY_SECONDS)
            else:
                break


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
