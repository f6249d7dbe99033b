"""One disruption budget, shared by moves of pods and of nodes (design, section 8)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from autoscaler.model.plan import AnyAction, EvictPod
from autoscaler.model.policy import ScalingPolicySpec
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.planning.windows import budgets_in_force

WINDOW_SECONDS = 600.0
"""A pod that was evicted counts as disrupted for this long."""


class DisruptionRoom(msgspec.Struct, frozen=True, kw_only=True):
    """How many nodes may be away at once, and how many more pods may be evicted now."""

    nodes: int
    pods: int


def disruption_room(rules: ScalingPolicySpec, snapshot: ClusterSnapshot, state: DecisionState) -> DisruptionRoom:
    """
    Return the tightest of the policy's budgets that hold now.

    Where none holds, nothing limits: a policy that names only windows means that.
    """
    nodes, pods = len(snapshot.nodes), len(snapshot.pods)
    spent = sum(1 for at, _ in state.disruptions if at > snapshot.observed_at - WINDOW_SECONDS)
    budgets = budgets_in_force(rules.disruption.budgets, snapshot.open_windows)
    node_room = min((amount(budget.nodes, nodes) for budget in budgets), default=nodes)
    pod_room = min((amount(budget.pods, pods) for budget in budgets), default=pods)
    return DisruptionRoom(nodes=node_room, pods=max(0, pod_room - spent))


def amount(text: str, total: int) -> int:
    """
    Return an absolute count or a percentage of *total*, rounded up (Karpenter's rule for budgets).

    >>> amount("10%", 25), amount("3", 25), amount("0", 25)
    (3, 3, 0)

    Raises:
        ValueError: neither a whole number nor a percentage.
    """
    if text.endswith("%"):
        return -(-int(text[:-1]) * total // 100)
    return int(text)


def note_disruptions(
    now: float, disruptions: Sequence[tuple[float, str]], actions: Iterable[AnyAction]
) -> tuple[tuple[float, str], ...]:
    """Return *disruptions* with the evictions among *actions* added."""
    return (*disruptions, *((now, action.workload) for action in actions if isinstance(action, EvictPod)))


def forget_old(now: float, disruptions: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """Return what still counts."""
    return tuple(entry for entry in disruptions if entry[0] > now - WINDOW_SECONDS)
