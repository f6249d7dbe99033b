"""
HTTP for probes, scrapes and debugging.

`/healthz` and `/readyz` answer 200 with `ok`, or 503 with the reason;
`/metrics` is Prometheus' text format. `/debug/record` is the last decision
with all that went into it, for `autoscaler replay`; it has a port of its own,
since it shows all that is known of the cluster.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from autoscaler.controller.app import Controller
from autoscaler.controller.loop import Cycle
from autoscaler.errors import InputError
from autoscaler.model.record import DecisionRecord
from autoscaler.telemetry.metrics import MEDIA_TYPE
from autoscaler.telemetry.record import VERSION, encode_record

Handler = Callable[[web.Request], Awaitable[web.Response]]


def probes(controller: Controller) -> web.Application:
    """Return the application with `/healthz`, `/readyz` and `/metrics`."""

    async def healthz(request: web.Request) -> web.Response:
        return _ok_unless(controller.health.why_dead())

    async def readyz(request: web.Request) -> web.Response:
        return _ok_unless(controller.health.why_not_ready())

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=controller.metrics.text(), headers={"Content-Type": MEDIA_TYPE})

    return _application({"/healthz": healthz, "/readyz": readyz, "/metrics": metrics})


def debugging(controller: Controller) -> web.Application:
    """Return the application with `/debug/record`."""

    async def record(request: web.Request) -> web.Response:
        cycle = controller.last
        if cycle is None:
            return web.Response(status=404, text="no turn is done yet\n")
        data = await asyncio.to_thread(record_of, cycle)
        name = f"record-{cycle.snapshot.observed_at:.0f}.json.gz"
        return web.Response(
            body=data,
            content_type="application/gzip",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    return _application({"/debug/record": record})


def record_of(cycle: Cycle) -> bytes:
    """Return a turn as a gzipped decision record: replaying it gives the same decision."""
    record = DecisionRecord(
        version=VERSION,
        snapshot=cycle.snapshot,
        policies=cycle.policies,
        state=cycle.before,
        decision=cycle.decision,
    )
    return gzip.compress(encode_record(record), 3, mtime=0)


@asynccontextmanager
async def served(
    application: web.Application, address: str, port: int, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """
    Serve *application* for as long as the context lasts; gives the port, a free one for port 0.

    Raises:
        InputError: the address cannot be listened on.
    """
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, port, ssl_context=tls)
        try:
            await site.start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                "listening", "", f"{address}:{port}", f"an address and port that are free ({reason})"
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _application(routes: dict[str, Handler]) -> web.Application:
    application = web.Application()
    for path, handler in routes.items():
        application.router.add_get(path, handler)
    return application


def _ok_unless(reason: str) -> web.Response:
    return web.Response(status=503 if reason else 200, text=f"{reason or 'ok'}\n")
