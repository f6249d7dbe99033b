"""
A proxy that makes faults on purpose, between a client and the API server or Prometheus.

It ends TLS on both sides, so that it sees requests and can break an answer off
within a line, withhold it, change it, or answer itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import yaml
from aiohttp import web

from autoscaler.clock import SystemClock
from autoscaler.interfaces import Clock
from tests.cluster.control_plane import Layout

_OWN = frozenset({"host", "connection", "accept-encoding", "content-length", "transfer-encoding", "keep-alive"})
"""Headers that are between neighbours, and the encoding: answers pass as plain text."""


class Asked(msgspec.Struct, frozen=True):
    """A request as it came: `at` is by the monotonic clock, `params` those of the query or the form."""

    method: str
    path: str
    params: dict[str, str]
    at: float

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def is_watch(self) -> bool:
        return self.params.get("watch") == "true"


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """
    Ask the server. Its answer is changed, if *change* is given, and waits for *then*;
    *cut_after* so many bytes of it the connection is closed.
    """

    change: Callable[[bytes], bytes] | None = None
    then: Callable[[], Awaitable[object]] | None = None
    cut_after: int | None = None


class Refuse(msgspec.Struct, frozen=True, kw_only=True):
    """Answer in the server's place."""

    status: int
    body: bytes = b"refused on purpose\n"
    headers: dict[str, str] = {}


Verdict = Pass | Refuse
Rule = Callable[[Asked], Awaitable[Verdict]]
"""Says what becomes of a request; while it waits, so does the request."""


async def pass_all(asked: Asked) -> Verdict:
    """Change nothing."""
    return Pass()


class Proxy:
    """
    Passes requests on to *target* as `rule`, which may be replaced at any time, says.

    `asked` has all requests, `cuts` the bytes of the line within which each answer was broken off.
    """

    def __init__(self, target: str, *, trust: ssl.SSLContext | None, clock: Clock) -> None:
        self.rule: Rule = pass_all
        self.asked: list[Asked] = []
        self.cuts: list[int] = []
        self.url = ""
        self._target = target
        self._trust = trust
        self._clock = clock
        self._open: set[asyncio.Transport] = set()
        self._session: aiohttp.ClientSession

    def since(self, at: float) -> list[Asked]:
        """Return the requests that came at *at* (monotonic) or later."""
        return [each for each in self.asked if each.at >= at]

    def break_off(self) -> None:
        """Close all connections at once, wherever their answers are."""
        for transport in self._open:
            transport.close()

    @asynccontextmanager
    async def serving(self, certificate: tuple[Path, Path] | None) -> AsyncIterator[Proxy]:
        """Listen on loopback, with TLS if a *certificate* and its key are given; sets `url`."""
        tls = None
        if certificate is not None:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(*certificate)
        application = web.Application(client_max_size=1 << 24)
        application.router.add_route("*", "/{path:.*}", self._handle)
        # A client that goes away takes its request with it, as at a server.
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        connector = aiohttp.TCPConnector(limit=0, ssl=self._trust if self._trust is not None else True)
        limits = aiohttp.ClientTimeout(total=None, sock_connect=5.0)
        try:
            await site.start()
            port = runner.addresses[0][1]
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            async with aiohttp.ClientSession(connector=connector, timeout=limits) as self._session:
                yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        form = await request.post() if request.content_type == "application/x-www-form-urlencoded" else {}
        params = {name: str(value) for name, value in {**request.query, **form}.items()}
        asked = Asked(request.method, request.path, params, self._clock.monotonic())
        self.asked.append(asked)
        transport = request.transport
        if transport is None:
            return web.Response(status=502)
        self._open.add(transport)
        try:
            return await self._judged(request, body, await self.rule(asked))
        finally:
            self._open.discard(transport)

    async def _judged(self, request: web.Request, body: bytes, verdict: Verdict) -> web.StreamResponse:
        if isinstance(verdict, Refuse):
            return web.Response(status=verdict.status, body=verdict.body, headers=verdict.headers)
        try:
            return await self._passed(request, body, verdict)
        except (aiohttp.ClientError, OSError):
            # The server is away: so is the proxy.
            return _closed(request)

    async def _passed(self, request: web.Request, body: bytes, verdict: Pass) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN}
        headers["Accept-Encoding"] = "identity"
        async with self._session.request(
            request.method, self._target + request.path_qs, data=body or None, headers=headers, allow_redirects=False
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN}
            if verdict.change is not None or verdict.then is not None:
                content = await answer.read()
                if verdict.then is not None:
                    await verdict.then()
                changed = verdict.change(content) if verdict.change is not None else content
                return web.Response(status=answer.status, headers=kept, body=changed)
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            left, within = verdict.cut_after, 0
            async for piece in answer.content.iter_any():
                if left is not None and len(piece) >= left:
                    await response.write(piece[:left])
                    self.cuts.append(_last_line(within, piece[:left]))
                    return _closed(request, response)
                left = left - len(piece) if left is not None else None
                within = _last_line(within, piece)
                await response.write(piece)
            await response.write_eof()
            return response


@asynccontextmanager
async def api_proxy(
    layout: Layout, kubeconfig: Path, *, clock: Clock | None = None
) -> AsyncIterator[tuple[Proxy, Path]]:
    """Give a proxy to the API server, and a kubeconfig like *kubeconfig* that goes through it."""
    trust = ssl.create_default_context(cafile=str(layout.authority))
    proxy = Proxy(layout.url("kube-apiserver"), trust=trust, clock=clock or SystemClock())
    async with proxy.serving((layout.folder / "server.crt", layout.folder / "server.key")):
        document: dict[str, Any] = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        document["clusters"][0]["cluster"]["server"] = proxy.url
        through = kubeconfig.with_name(f"{proxy.url.rpartition(':')[2]}.{kubeconfig.name}")
        through.touch(mode=0o600)
        through.write_text(yaml.safe_dump(document), encoding="utf-8")
        yield proxy, through


@asynccontextmanager
async def prometheus_proxy(layout: Layout, *, clock: Clock | None = None) -> AsyncIterator[Proxy]:
    """Give a proxy to Prometheus."""
    proxy = Proxy(layout.url("prometheus"), trust=None, clock=clock or SystemClock())
    async with proxy.serving(None):
        yield proxy


def _last_line(before: int, piece: bytes) -> int:
    """Return how many bytes of an unfinished line there are after *piece*."""
    _, found, rest = piece.rpartition(b"\n")
    return len(rest) if found else before + len(piece)


def _closed(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Close the connection after what was written: the answer has no end."""
    if request.transport is not None:
        request.transport.close()
    return response if response is not None else web.Response(status=502)
