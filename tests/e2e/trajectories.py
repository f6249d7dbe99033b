"""Replicas over time: recorded from a watch, and compared."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from autoscaler.clock import SystemClock
from autoscaler.kube.client import ApiServer
from autoscaler.sources.metrics_api import POD_METRICS
from tests.cluster.waiting import eventually
from tests.e2e.controller_process import Trail

Steps = Sequence[tuple[float, int]]
"""(epoch seconds, replicas) of each change, the first as it was found."""
_WATCH_SECONDS = 3600


class Recorder:
    """Replicas of all Deployments of a namespace, as they are asked for; `marks` are moments that count as a change."""

    def __init__(self) -> None:
        self.steps: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self._clock = SystemClock()
        self._last = self._clock.now()

    def mark(self) -> None:
        """Note that the load changes now."""
        self._last = self._clock.now()

    def take(self, name: str, replicas: int) -> None:
        known = self.steps[name]
        if not known or known[-1][1] != replicas:
            self._last = self._clock.now()
            known.append((self._last, replicas))

    async def quiet(self, seconds: float, *, within: float) -> None:
        """Wait until nothing has changed for so long."""

        async def is_quiet() -> bool:
            return self._clock.now() - self._last >= seconds

        await eventually(is_quiet, what=f"{seconds:g} s without a change of replicas", within=within)


@asynccontextmanager
async def recording(api: ApiServer, namespace: str) -> AsyncIterator[Recorder]:
    """Record while the block runs."""
    recorder, path = Recorder(), f"/apis/apps/v1/namespaces/{namespace}/deployments"
    found = json.loads(await api.get(path))
    for each in found["items"]:
        recorder.take(each["metadata"]["name"], each["spec"]["replicas"])
    follower = asyncio.create_task(_follow(api, path, found["metadata"]["resourceVersion"], recorder))
    try:
        yield recorder
        if follower.done():
            follower.result()
            raise AssertionError("the watch of Deployments ended early")
    finally:
        follower.cancel()


async def _follow(api: ApiServer, path: str, version: str, recorder: Recorder) -> None:
    params = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
    async with api.lines(path, params=params, silence=_WATCH_SECONDS) as lines:
        async for line in lines:
            seen = json.loads(line)["object"]
            recorder.take(seen["metadata"]["name"], seen["spec"]["replicas"])


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two trajectories; `lags` is ours after theirs in seconds, change by change, empty if the values differ."""

    real: Steps
    ours: Steps
    lags: tuple[float, ...]

    @property
    def equal(self) -> bool:
        return [replicas for _, replicas in self.real] == [replicas for _, replicas in self.ours]

    def told(self, since: float) -> str:
        """Return both, times from *since*, for people."""
        rows = [
            f"{side}: " + "  ".join(f"{at - since:.1f}s {replicas}" for at, replicas in steps)
            for side, steps in (("real", self.real), ("ours", self.ours))
        ]
        return "\n".join(rows)


def compare(real: Steps, ours: Steps) -> Comparison:
    """Compare two trajectories that begin alike."""
    alike = [replicas for _, replicas in real] == [replicas for _, replicas in ours]
    lags = [mine - theirs for (theirs, _), (mine, _) in zip(real[1:], ours[1:], strict=True)] if alike else []
    return Comparison(real=real, ours=ours, lags=tuple(lags))


def lateness(times: Sequence[float], period: float, *, over: int) -> float:
    """
    Return how much later than due, at worst, the *over*th sync after another comes, in seconds, at least 0.

    >>> round(lateness([0.0, 2.0, 4.1, 6.0, 8.3], 2.0, over=2), 3)
    0.2
    """
    return max([0.0, *(later - sooner - over * period for sooner, later in zip(times, times[over:], strict=False))])


def syncs_of_hpas(audit_log: Path, namespace: str) -> Mapping[str, Sequence[float]]:
    """Return when the HPA controller synced each HPA's Deployment: it reads the scale each time, and only then."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in audit_log.read_text(encoding="utf-8").splitlines():
        if f'"namespace":"{namespace}"' not in line or '"subresource":"scale"' not in line:
            continue
        entry = json.loads(line)
        if entry["verb"] == "get" and entry["user"]["username"] == "system:kube-controller-manager":
            found[entry["objectRef"]["name"]].append(_epoch(entry["requestReceivedTimestamp"]))
    return found


def syncs_of(trail: Trail) -> Sequence[float]:
    """Return when a controller of ours read the pods' use: once a turn."""
    uses = [entry for entry in trail.entries() if entry["requestURI"].startswith(POD_METRICS)]
    return [_epoch(entry["requestReceivedTimestamp"]) for entry in uses]


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
