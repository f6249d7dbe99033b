"""
All that was measured, step by step, and how clean each measurement is.

Values are what truly happened; `quality` says what became of the sample on its
way (an outage, a gap, a wrong value). `metrics` turns both into readings.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from autoscaler.simulator.past import past_of
from autoscaler.simulator.serving import ServiceStep
from autoscaler.simulator.spec import DirtyMetrics, MetricsOutage, WorldSpec

if TYPE_CHECKING:
    from autoscaler.simulator.world import World

CLEAN, OUTAGE, GAP, ZERO, NOT_A_NUMBER, NEGATIVE = range(6)
KINDS = {"gaps": GAP, "zeros": ZERO, "nan": NOT_A_NUMBER, "negative": NEGATIVE}
SERIES = ("load", "ready_cores", "ready", "slow", "latency", "throttled", "peak_bytes")


class PodScrape(msgspec.Struct, frozen=True):
    """Use by pod at the end of one step, service by service; `services` are indices, `index` the step's column."""

    index: int
    names: list[str]
    services: npt.NDArray[np.intp]
    millicores: npt.NDArray[np.int64]
    bytes_used: npt.NDArray[np.int64]
    milli_rps: npt.NDArray[np.int64]


class Measurements:
    """
    By service and step, float32 arrays of shape [services, steps], named as in `SERIES`.

    Columns up to the run's first step hold the synthetic past; later ones are
    zero until `record` fills them. `scrapes` keeps the newest pod figures, as
    many as the metrics' delay and staleness need.
    """

    def __init__(self, spec: WorldSpec, *, seed: int) -> None:
        random = np.random.default_rng(seed)
        shape = (len(spec.services), spec.steps)
        self.values = {name: np.zeros(shape, np.float32) for name in SERIES}
        self.first = spec.history_steps - spec.warmup_steps
        self.end = self.first
        """One more than the newest column that was measured."""
        for index, service in enumerate(spec.services):
            noise = random.standard_normal(self.first)
            for name, values in past_of(service, spec, self.first, noise=noise).items():
                self.values[name][index, : self.first] = values
        self.quality = _quality(spec, random)
        keep = round(spec.delays.metrics_seconds / spec.step_seconds) + 6
        self.scrapes: deque[PodScrape] = deque(maxlen=keep)

    def record(self, world: World, step: ServiceStep) -> None:
        """Note what a step brought, at the world's present column."""
        for name, values in self.values.items():
            values[:, world.index] = getattr(step, name)
        self.end = world.index + 1
        pods = world.pods
        rows = pods.live()
        rows = rows[pods.used_bytes[rows] > 0]
        rows = rows[np.argsort(pods.service[rows], kind="stable")]
        self.scrapes.append(
            PodScrape(
                index=world.index,
                names=[pods.names[row] for row in rows.tolist()],
                services=pods.service[rows],
                millicores=np.rint(1000 * pods.used_cores[rows]).astype(np.int64),
                bytes_used=pods.used_bytes[rows].astype(np.int64),
                milli_rps=np.rint(1000 * pods.rps[rows]).astype(np.int64),
            )
        )


def _quality(spec: WorldSpec, random: np.random.Generator) -> npt.NDArray[np.int8]:
    """Return what became of each sample, [services, steps]; outages hide what dirt there is."""
    quality = np.zeros((len(spec.services), spec.steps), np.int8)
    names = np.array([service.name for service in spec.services], dtype=object)
    # A sample is taken at the end of its step.
    at = (np.arange(spec.steps) + 1 - spec.history_steps) * spec.step_seconds
    for fault in spec.faults:
        if not isinstance(fault, MetricsOutage | DirtyMetrics):
            continue
        when = (fault.start <= at) & (at < fault.end)
        who = np.ones(len(names), bool) if not fault.service else names == fault.service
        hit = who[:, None] & when[None, :]
        if isinstance(fault, DirtyMetrics):
            hit &= (random.random(quality.shape) < fault.share) & (quality != OUTAGE)
            quality[hit] = KINDS[fault.kind]
        else:
            quality[hit] = OUTAGE
    return quality
