"""
An API server on loopback that serves recorded pods in pages, and events on demand.

Run as a program it prints its port: `python -m tests.bench_cluster.recorded_server PODS`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable

from aiohttp import web

from tests.bench_cluster.recorded_pods import WORKLOADS, deployment, pod_key, pod_line, replica_set

LIST_VERSION = 1_000_000
_MADE: dict[str, Callable[[int], dict[str, object]]] = {
    "/apis/apps/v1/replicasets": replica_set,
    "/apis/apps/v1/deployments": deployment,
}


class RecordedServer:
    """Answers lists and watches of all kinds; pods are *pods* recorded ones, most kinds are empty."""

    def __init__(self, pods: int) -> None:
        self._pods = pods
        # As an API server lists them: by namespace and name.
        self._order = sorted(range(pods), key=pod_key)
        self._wanted: asyncio.Queue[int] = asyncio.Queue()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a list, a watch, or a streamed list (which is refused, as by older servers)."""
        query = request.query
        if "sendInitialEvents" in query:
            status = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "sendInitialEvents is forbidden"}
            return web.json_response(status, status=422)
        if query.get("watch"):
            return await self._watch(request)
        if request.path == "/api/v1/pods":
            first = int(query.get("continue") or 0)
            return web.Response(body=self._page(first, int(query["limit"])), content_type="application/json")
        make = _MADE.get(request.path)
        items = [make(index) for index in range(WORKLOADS)] if make is not None else []
        return web.json_response({"metadata": {"resourceVersion": str(LIST_VERSION)}, "items": items})

    async def send_events(self, request: web.Request) -> web.Response:
        """Let the watch of pods send as many events as the query says."""
        await self._wanted.put(int(request.query["count"]))
        return web.Response()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        seconds = float(request.query["timeoutSeconds"])
        try:
            async with asyncio.timeout(seconds):
                if request.path == "/api/v1/pods":
                    await self._events(response)
                await asyncio.Event().wait()
        except TimeoutError:
            pass
        return response

    async def _events(self, response: web.StreamResponse) -> None:
        count = await self._wanted.get()
        for number in range(count):
            ready = "False" if number < self._pods else "True"
            line = pod_line(number % self._pods, version=LIST_VERSION + number, ready=ready)
            await response.write(b'{"type":"MODIFIED","object":' + line + b"}\n")

    def _page(self, first: int, limit: int) -> bytes:
        last = min(self._pods, first + limit)
        meta: dict[str, object] = {"resourceVersion": str(LIST_VERSION)}
        if last < self._pods:
            meta |= {"continue": str(last), "remainingItemCount": self._pods - last}
        items = b",".join(pod_line(index, version=index) for index in self._order[first:last])
        head = b'{"kind":"PodList","apiVersion":"v1","metadata":' + json.dumps(meta).encode()
        return head + b',"items":[' + items + b"]}"


async def serve(pods: int) -> None:
    """Serve until the program is ended; the port goes to standard output."""
    server = RecordedServer(pods)
    application = web.Application()
    application.router.add_get("/events", server.send_events)
    application.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
