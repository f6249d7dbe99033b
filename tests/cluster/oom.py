"""The kernel's part: kill a container that uses more memory than its limit."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec

from autoscaler.errors import AutoscalerError
from autoscaler.kube.client import ApiServer

_KILLED_EXIT = 137


async def kill(api: ApiServer, namespace: str, name: str, *, at: float) -> None:
    """
    Write into a pod's status that its first container was OOM-killed at *at* (epoch seconds).

    A kwok stage starts it again after the back-off. A pod that meanwhile
    changed, or an API server that is away, is left for the next tick.
    """
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    try:
        pod = msgspec.json.decode(await api.get(path))
        first = pod["status"]["containerStatuses"][0]
        if "running" in first["state"]:
            _mark_killed(pod, first, at)
            await api.send("PUT", f"{path}/status", pod)
    except (AutoscalerError, LookupError):
        return


def _mark_killed(pod: dict[str, Any], first: dict[str, Any], at: float) -> None:
    when = datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    first["lastState"] = {
        "terminated": {
            "exitCode": _KILLED_EXIT,
            "reason": "OOMKilled",
            "startedAt": first["state"]["running"]["startedAt"],
            "finishedAt": when,
        }
    }
    first["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    first["restartCount"] += 1
    first["ready"] = first["started"] = False
    for condition in pod["status"]["conditions"]:
        if condition["type"] in ("Ready", "ContainersReady"):
            condition |= {"status": "False", "reason": "ContainersNotReady", "lastTransitionTime": when}
