"""
How full a node is by requests: what Cluster Autoscaler compares with its threshold.

Source: `simulator/utilization/info.go` (Calculate), 1.36.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from autoscaler.model.pod import Pod
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.planning.cluster_autoscaler.drainability import is_daemon, is_long_terminating
from autoscaler.scheduling.requests import placed_requests


class Utilization(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Shares requested of a node's allocatable; above 1 where it is over-committed.

    `resource` is the one that decides, `share` its figure.
    """

    resource: str
    share: float
    cpu: float = 0.0
    memory: float = 0.0
    gpu: float = 0.0


class UtilizationRules(msgspec.Struct, frozen=True, kw_only=True):
    """Pods to leave out of both the requests and the node (flags ignore-...-utilization)."""

    skip_daemons: bool = False
    skip_mirrors: bool = False


def utilization(
    allocatable: Resources,
    pods: Iterable[Pod],
    *,
    now: float,
    rules: UtilizationRules = UtilizationRules(),  # noqa: B008 (frozen)
    gpu: str = "",
) -> Utilization | None:
    """
    Return how full a node with these *pods* is, None where it cannot be told: it has no cpu or no memory.

    Args:
        allocatable: what the node has for pods.
        pods: those on it; who has been ending for far too long does not count.
        now: epoch seconds.
        rules: which pods to leave out.
        gpu: the accelerator's resource name on a node that has them; then only
            that counts, and is 0 while the node does not show any.
    """
    pods = tuple(pods)
    names = (gpu,) if gpu else (CPU, MEMORY)
    shares = [_share(name, allocatable, pods, now=now, rules=rules) for name in names]
    if gpu:
        share = shares[0] or 0.0
        return Utilization(resource=gpu, share=share, gpu=share)
    cpu, memory = shares
    if cpu is None or memory is None:
        return None
    resource, share = (CPU, cpu) if cpu > memory else (MEMORY, memory)
    return Utilization(resource=resource, share=share, cpu=cpu, memory=memory)


def _share(
    name: str, allocatable: Resources, pods: Iterable[Pod], *, now: float, rules: UtilizationRules
) -> float | None:
    total = allocatable.get(name)
    if not total:
        return None
    asked = left_out = 0
    for pod in pods:
        amount = placed_requests(pod).get(name)
        if (rules.skip_daemons and is_daemon(pod)) or (rules.skip_mirrors and pod.drain.mirror):
            left_out += amount
        elif not is_long_terminating(pod, now):
            asked += amount
    if total == left_out:
        return math.nan if not asked else math.copysign(math.inf, asked)
    return asked / (total - left_out)
