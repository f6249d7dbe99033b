"""What a source remembers of its readings: how many were Missing, and when each signal was last usable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from autoscaler.model.readings import Missing, MissingReason, Reading, Sample, Signal

_ROOM = 2
"""Signals of so many cycles are remembered; those that nobody asks for any more make room."""


class Noting:
    """`missing` counts by reason, since the start."""

    def __init__(self) -> None:
        self.missing: Counter[MissingReason] = Counter()
        self._usable: dict[Signal, float] = {}

    def noted(self, signals: Sequence[Signal], found: Mapping[Signal, Reading]) -> dict[Signal, Reading]:
        """Return the readings of *signals*; one that is Missing says since when."""
        readings = {signal: self._noted(signal, found[signal]) for signal in signals}
        if readings and len(self._usable) > _ROOM * len(readings):
            self._usable = {signal: at for signal, at in self._usable.items() if signal in readings}
        return readings

    def _noted(self, signal: Signal, reading: Reading) -> Reading:
        if isinstance(reading, Missing):
            self.missing[reading.reason] += 1
            since = self._usable.get(signal, 0.0)
            return Missing(reading.reason, reading.detail, since) if since else reading
        self._usable[signal] = reading.at if isinstance(reading, Sample) else max(s.at for s in reading.samples)
        return reading
