"""What is known of workloads only by watching them: how long their pods take to start, when they changed."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right

from autoscaler.model.pod import Pod, PodShape

MOST_STARTS = 20
"""How many of a workload's newest pods count."""
MOST_WORKLOADS = 20_000
SCHEDULING_SECONDS = 5.0
"""A pod that waited longer for its node waited for the node to come: that time is the node's, not the pod's."""
START_SHARE = 0.9


def start_seconds_of(pod: Pod) -> float | None:
    """
    Return the seconds from a pod's creation to Ready, None where that cannot be told.

    A pod that restarted may have become Ready several times: only the last one
    shows. The API's times are whole seconds, so that no start counts as less than one.
    """
    if pod.ready is None or not pod.is_ready or pod.restarts or not pod.created_at:
        return None
    began = pod.created_at
    if pod.started_at is not None and pod.started_at - began > SCHEDULING_SECONDS:
        began = pod.started_at
    return max(1.0, pod.ready.since - began)


class _Starts:
    """The newest pods' creation times in order, and how long each took to start."""

    def __init__(self) -> None:
        self.created = array("d")
        self.seconds = array("d")
        self._quantile = 0.0

    def add(self, created_at: float, seconds: float) -> bool:
        at = bisect_right(self.created, created_at)
        if at == 0 and len(self.created) == MOST_STARTS:
            return False
        self.created.insert(at, created_at)
        self.seconds.insert(at, seconds)
        if len(self.created) > MOST_STARTS:
            del self.created[0], self.seconds[0]
        self._quantile = 0.0
        return True

    def quantile(self) -> float:
        if not self._quantile:
            ordered = sorted(self.seconds)
            self._quantile = ordered[math.ceil(START_SHARE * len(ordered)) - 1]
        return self._quantile


class WorkloadNotes:
    """Notes by workload key; `version` goes up when one changes."""

    def __init__(self) -> None:
        self.version = 0
        self._starts: dict[str, _Starts] = {}
        self._changed: dict[str, float] = {}
        self._shapes: dict[str, PodShape] = {}

    def note_start(self, workload: str, *, created_at: float, seconds: float) -> None:
        """Note that a pod became Ready; of many the newest count."""
        starts = self._starts.get(workload)
        if starts is None:
            if len(self._starts) >= MOST_WORKLOADS:
                del self._starts[next(iter(self._starts))]
            starts = self._starts[workload] = _Starts()
        if starts.add(created_at, seconds):
            self.version += 1

    def note_change(self, workload: str, at: float) -> None:
        """Note that a workload's template or revision was seen to change at *at* (epoch seconds)."""
        self._changed[workload] = at
        self.version += 1

    def note_shape(self, workload: str, shape: PodShape) -> None:
        """Note what the pods of a workload without a readable template look like."""
        if self._shapes.get(workload) is not shape:
            self._shapes[workload] = shape
            self.version += 1

    def start_seconds(self, workload: str) -> float:
        """Return the 90th percentile of its newest pods' start-up times, 0 if there are none."""
        starts = self._starts.get(workload)
        return starts.quantile() if starts is not None else 0.0

    def changed_at(self, workload: str) -> float:
        """Return when it was last seen to change (epoch seconds), 0 if never."""
        return self._changed.get(workload, 0.0)

    def shape(self, workload: str) -> PodShape | None:
        """Return what its newest pod looks like, where that was noted."""
        return self._shapes.get(workload)

    def forget(self, workload: str) -> None:
        """Drop the notes on a workload that is gone."""
        for notes in (self._starts, self._changed, self._shapes):
            notes.pop(workload, None)
