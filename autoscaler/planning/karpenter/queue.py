"""
In which order pods are tried, and when trying again is given up.

Pods come as a batch: a quiet second after the last one, or ten seconds after
the first, starts a turn (`pkg/operator/options`); here the controller's
triggers do that.

Source: Karpenter `pkg/controllers/provisioning/scheduling/queue.go`, main of
2026-08-20.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from autoscaler.model.pod import PodShape
from autoscaler.scheduling.requests import effective_requests


class WaitingPod(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A pod to place. `key` is unique; `uid`, or the key where it is not known, breaks ties.

    `created_at` is in seconds since the epoch.
    """

    key: str
    shape: PodShape
    created_at: float = 0.0
    uid: str = ""


class Queue:
    """
    Pods by cpu, then memory, largest first, then the oldest, then by key.

    A pod that finds no place goes to the back; when all have been there with
    no change in between, `pop` gives None.
    """

    def __init__(self, pods: Iterable[WaitingPod]) -> None:
        self._pods = deque(sorted(pods, key=_order))
        self._length_when_pushed: dict[str, int] = {}

    def pop(self) -> WaitingPod | None:
        if not self._pods or self._length_when_pushed.get(self._pods[0].key) == len(self._pods):
            return None
        return self._pods.popleft()

    def push(self, pod: WaitingPod) -> None:
        self._pods.append(pod)
        self._length_when_pushed[pod.key] = len(self._pods)


def _order(pod: WaitingPod) -> tuple[int, int, float, str]:
    requests = effective_requests(pod.shape)
    return -requests.cpu, -requests.memory, pod.created_at, pod.uid or pod.key
