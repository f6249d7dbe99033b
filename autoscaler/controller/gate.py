"""
Whether anything may be changed now: asked before each single action.

Only a leader acts, only on a fresh view of the cluster, and not while it shuts down.
"""

from __future__ import annotations

from typing import Protocol

from autoscaler.interfaces import Clock


class Leadership(Protocol):
    """Who may act; see `autoscaler.kube.lease.Lease`."""

    def may_act(self) -> bool: ...
    async def wait_leader(self) -> None: ...
    async def release(self) -> None: ...


class Freshness(Protocol):
    """How well the cluster is known; see `autoscaler.kube.store.ClusterStore`."""

    @property
    def is_ready(self) -> bool: ...
    async def wait_ready(self, timeout: float) -> None: ...
    def staleness(self, monotonic: float) -> float: ...


class Alone:
    """Leadership where nobody else can run, such as in a test or with `--no-leader-elect`."""

    def may_act(self) -> bool:
        return True

    async def wait_leader(self) -> None:
        """Return at once."""

    async def release(self) -> None:
        """Give up nothing."""


class AlwaysFresh:
    """Freshness of a reader that asks anew each time."""

    is_ready = True

    async def wait_ready(self, timeout: float) -> None:
        """Return at once."""

    def staleness(self, monotonic: float) -> float:
        return 0.0


class Gate:
    """Answers `why_not`; `close` shuts it for good."""

    def __init__(
        self, clock: Clock, *, lead: Leadership | None = None, fresh: Freshness | None = None, most_stale: float = 30.0
    ) -> None:
        self.lead: Leadership = lead or Alone()
        self.fresh: Freshness = fresh or AlwaysFresh()
        self._clock = clock
        self._most_stale = most_stale
        self._closed = False

    def close(self) -> None:
        """Let nothing through any more."""
        self._closed = True

    def staleness(self) -> float:
        """Return the age in seconds of the least fresh part of what is known of the cluster."""
        return self.fresh.staleness(self._clock.monotonic())

    def why_stale(self) -> str:
        """Return why what is known of the cluster is not good enough to decide on, "" if it is."""
        if not self.fresh.is_ready:
            return "the cluster is not fully read yet"
        age = self.staleness()
        if age > self._most_stale:
            return f"the cluster was last heard of {age:.0f} s ago, at most {self._most_stale:.0f} s are allowed"
        return ""

    def why_not(self) -> str:
        """Return why nothing may be done now, "" where all may."""
        if self._closed:
            return "shutting down"
        if not self.lead.may_act():
            return "another process leads, or the lease could not be renewed in time"
        return self.why_stale()
