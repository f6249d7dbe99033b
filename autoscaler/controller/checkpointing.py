"""
Keeps what must outlive this process: saved soon after it changed what was done, and now and then.

A checkpoint that is lost or cannot be read means a cold start: slower, not unsafe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from autoscaler.controller.observe import Learned
from autoscaler.errors import AutoscalerError
from autoscaler.interfaces import Clock, Recommender
from autoscaler.model.state import DecisionState
from autoscaler.telemetry.checkpoint import VERSION, CheckpointFile, decode_checkpoint, encode_checkpoint
from autoscaler.telemetry.logs import Log
from autoscaler.telemetry.metrics import Metrics

SAVE_SECONDS = 60.0
_TIMEOUT_SECONDS = 20.0
log = Log(__name__)


class Checkpoint(Protocol):
    """Keeps bytes, all or nothing; see `autoscaler.kube.checkpoints`."""

    async def load(self) -> bytes | None: ...
    async def save(self, data: bytes) -> None: ...


class Keeper:
    """Saves and restores the memory of a loop. Without a *checkpoint* it does nothing."""

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        clock: Clock,
        *,
        identity: str,
        engines: Mapping[str, Recommender],
        metrics: Metrics,
        every: float = SAVE_SECONDS,
    ) -> None:
        self._checkpoint = checkpoint
        self._clock = clock
        self._identity = identity
        self._engines = engines
        self._metrics = metrics
        self._every = every
        self._saved: DecisionState | None = None
        self._saved_at = clock.monotonic()

    async def restore(self, *, unless_own: bool = False) -> CheckpointFile | None:
        """
        Return what was saved last; None where there is nothing, or nothing that can be read.

        *unless_own* leaves out what this process saved itself: it knows that, and more.
        """
        if self._checkpoint is None:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                data = await self._checkpoint.load()
            if data is None:
                log.info("no checkpoint found, starting cold")
                return None
            file = await asyncio.to_thread(decode_checkpoint, data, where="checkpoint", engines=self._engines)
        except (AutoscalerError, OSError, TimeoutError) as error:
            log.warning("checkpoint not usable, starting cold", reason=str(error) or "no answer in time")
            return None
        if unless_own and file.identity == self._identity:
            return None
        log.info(
            "checkpoint restored",
            saved_by=file.identity,
            age_seconds=round(self._clock.now() - file.saved_at, 1),
            workloads=len(file.state.workloads),
            models=len(file.models),
        )
        return file

    def is_due(self, state: DecisionState) -> bool:
        """Tell whether to save now: at once when something was done, else once in a while."""
        if self._checkpoint is None or state == self._saved:
            return False
        before = self._saved or DecisionState()
        return _deeds(state) != _deeds(before) or self._clock.monotonic() - self._saved_at >= self._every

    async def save(self, state: DecisionState, learned: Learned) -> None:
        """Save; where that fails it says so, and is tried again later."""
        if self._checkpoint is None:
            return
        file = CheckpointFile(
            version=VERSION,
            identity=self._identity,
            saved_at=self._clock.now(),
            state=state,
            models=learned.models,
            prices=learned.prices,
        )
        self._saved_at = self._clock.monotonic()
        try:
            data = await asyncio.to_thread(encode_checkpoint, file)
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await self._checkpoint.save(data)
        except (AutoscalerError, OSError, TimeoutError) as error:
            log.warning("checkpoint not saved", reason=str(error) or "no answer in time")
            self._metrics.checkpoints.labels("failed").inc()
            return
        self._saved = state
        self._metrics.checkpoints.labels("done").inc()
        self._metrics.checkpoint_bytes.set(len(data))


def _deeds(state: DecisionState) -> tuple[object, ...]:
    """Return what must not be forgotten: what was bought, drained and disrupted, not what was measured."""
    draining = tuple((node.node, node.drain_since) for node in state.nodes if node.drain_since)
    return state.last_scale_up_at, state.last_consolidation_at, state.disruptions, draining
