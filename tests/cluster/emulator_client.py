"""Orders to the emulator."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from autoscaler.errors import AutoscalerError
from tests.cluster.emulation import Load

_CALL_SECONDS = 30.0


class OrderError(AutoscalerError):
    """The emulator refuses an order; the message is its own."""


class EmulatorClient:
    """
    Sets what the pods of the development cluster have to do.

    Raises (all calls): OrderError for an order that it refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    async def set_load(self, namespace: str, name: str, **load: Any) -> None:
        """Set a workload's load by the fields of `emulation.Load`: requests, cores, memory_bytes and so on."""
        order = Load(namespace=namespace, name=name, **load)
        await self._call("PUT", "/load", msgspec.json.encode(order))

    async def play(self, file: str, *, speed: float = 1.0, begin_seconds: float = 0.0) -> dict[str, Any]:
        """Let the workloads of a scenario follow its traces; the Deployments are the caller's business."""
        order = {"file": file, "speed": speed, "beginSeconds": begin_seconds}
        return await self._json("POST", "/scenario", msgspec.json.encode(order))

    async def progress(self) -> dict[str, Any]:
        """Return name, speed, traceSeconds and lengthSeconds of the scenario that plays; empty without one."""
        return await self._json("GET", "/scenario")

    async def loads(self) -> dict[str, float]:
        """Return the present load of each workload by its key, requests a second or cores."""
        return await self._json("GET", "/loads")

    async def reset(self) -> None:
        """Forget all loads and the scenario: every pod idles."""
        await self._call("DELETE", "/loads")

    async def metrics(self) -> str:
        """Return what Prometheus would read now."""
        return (await self._call("GET", "/metrics")).decode()

    async def _json(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        return msgspec.json.decode(await self._call(method, path, body), type=dict[str, Any])

    async def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        limits = aiohttp.ClientTimeout(total=_CALL_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=limits) as session,
            session.request(method, self.url + path, data=body) as answer,
        ):
            content = await answer.read()
            if answer.status >= 300:
                raise OrderError(content.decode())
            return content
