"""
The connection to AWS: one call at a time, checked on its way back.

What only reads is tried again when the connection breaks. What changes
something is not: nobody can tell then whether it was done; only a call that was refused for
there being too many is.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import aiohttp
import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore import exceptions as boto

from autoscaler.errors import TransientError
from autoscaler.interfaces import Clock
from autoscaler.providers.aws.failures import BROKEN_SECONDS, is_throttling, translated

CALL_SECONDS = 8.0
"""A call's time-out: shorter than the time between a leader's last act and its lease's end."""
_TRIES = 3
_FIRST_WAIT_SECONDS = 0.4
_BROKEN = (boto.HTTPClientError, boto.ConnectionError, aiohttp.ClientError, OSError, TimeoutError)
_UNREADABLE = (LookupError, ValueError)
"""What botocore lets through when an answer is not as its description of the API says."""
_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class AwsCalls:
    """
    Calls to one region.

    Credentials come by botocore's chain: environment, profile, IRSA, EKS Pod
    Identity, instance role. `AWS_ENDPOINT_URL` leads to another server.

    Args:
        region: "" for AWS_REGION, or what botocore finds.

    Raises (all calls): AccessError, TransientError, ConflictError, CapacityError.
    """

    def __init__(self, clock: Clock, *, region: str = "", session: AioSession | None = None) -> None:
        self._clock = clock
        self._region = region or os.environ.get("AWS_REGION") or None
        self._session = session or get_session()
        self._clients: dict[str, Any] = {}
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def read(self, action: str, kind: type[_Answer], **params: Any) -> _Answer:
        """Call *action* (`ec2:DescribeInstanceTypes`), which changes nothing; return its answer as *kind*."""
        answer = await self._call(action, params, again=_BROKEN)
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            problem = f"{action}: the answer is not as documented: {error}"
            raise TransientError(problem, retry_after_seconds=BROKEN_SECONDS) from error

    async def write(self, action: str, **params: Any) -> None:
        """Call *action*, which changes something."""
        await self._call(action, params, again=())

    async def aclose(self) -> None:
        """Close all connections; twice is fine."""
        self._clients.clear()
        await self._stack.aclose()

    async def _call(self, action: str, params: dict[str, Any], *, again: tuple[type[Exception], ...]) -> Any:
        service, _, operation = action.partition(":")
        for number in range(_TRIES):
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    client = await self._client(service)
                    return await client._make_api_call(operation, params)
            except (boto.BotoCoreError, boto.ClientError, *_BROKEN, *_UNREADABLE) as error:
                if number + 1 == _TRIES or not (is_throttling(error) or isinstance(error, again)):
                    raise translated(error, action) from error
            await self._clock.sleep(_FIRST_WAIT_SECONDS * 2**number)
        raise AssertionError("the last try returns or raises")

    async def _client(self, service: str) -> Any:
        async with self._opening:
            if service not in self._clients:
                config = AioConfig(connect_timeout=3, read_timeout=CALL_SECONDS, retries={"total_max_attempts": 1})
                opened = self._session.create_client(service, region_name=self._region, config=config)
                self._clients[service] = await self._stack.enter_async_context(opened)
            return self._clients[service]
