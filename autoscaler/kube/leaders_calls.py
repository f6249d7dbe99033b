"""A connection on which only a leader writes, and nobody asks again sooner than the server wants to be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autoscaler.errors import ConflictError, TransientError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import ApiServer

_MOST_WAITS = 1000


class LeadersCalls(ApiServer):
    """
    The calls of *api*, of which those that write are the leader's alone; close *api*, not this.

    *may_act* is asked before each single call, so that what takes many calls,
    such as ten machines for one group, ends with the lead. A call that the
    server could not take is not made again before the time that it named
    (Retry-After, RFC 9110 section 10.2.3): it fails at once until then.

    Raises (all calls): what `ApiServer` does; ConflictError for a write while
    this process does not lead (any more).
    """

    def __init__(self, api: ApiServer, may_act: Callable[[], bool], clock: Clock) -> None:
        super().__init__(api._session, api._configuration, namespace=api.namespace)
        self._may_act = may_act
        self._clock = clock
        self._not_before: dict[str, float] = {}

    async def _call(
        self,
        method: str,
        path: str,
        data: bytes | None,
        headers: dict[str, str],
        *,
        params: Mapping[str, str] | None,
        timeout: float,
    ) -> bytes:
        call = f"{method} {path}"
        if method != "GET" and not self._may_act():
            raise ConflictError(f"{call}: not sent, this process does not lead")
        self._check_wait(call)
        try:
            return await super()._call(method, path, data, headers, params=params, timeout=timeout)
        except TransientError as error:
            self._note_wait(call, error.retry_after_seconds)
            raise

    def _check_wait(self, call: str) -> None:
        left = self._not_before.get(call, 0.0) - self._clock.monotonic()
        if left > 0:
            message = f"{call}: not sent, the server is to be asked again in {left:.1f} s"
            raise TransientError(message, retry_after_seconds=left)

    def _note_wait(self, call: str, seconds: float) -> None:
        now = self._clock.monotonic()
        if len(self._not_before) >= _MOST_WAITS:
            self._not_before = {each: at for each, at in self._not_before.items() if at > now}
        self._not_before[call] = now + seconds
