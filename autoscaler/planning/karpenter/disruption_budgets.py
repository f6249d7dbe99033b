"""
How many nodes of a pool may be disrupted at once, and for which reason.

Source: Karpenter `pkg/apis/v1/nodepool.go` (MustGetAllowedDisruptions,
Budget.GetAllowedDisruptions, IsActive) and
`pkg/controllers/disruption/helpers.go` (BuildDisruptionBudgetMapping), main of
2026-08-20. Whether a budget's window is open is told from outside: see
`planning.windows`.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence

import msgspec

from autoscaler.model.policy import BudgetWindow
from autoscaler.planning.budgets import amount
from autoscaler.planning.windows import budgets_in_force

NO_LIMIT = 2**31 - 1
"""What a pool allows that no budget in force bounds."""


class DisruptionReason(enum.StrEnum):
    """Why a node is disrupted, in the peer's words."""

    UNDERUTILIZED = "Underutilized"
    EMPTY = "Empty"
    DRIFTED = "Drifted"


_BOTH = "Consolidation"
"""Our own word in budgets, for what is empty and what is underutilised."""


class NodeBudget(msgspec.Struct, frozen=True, kw_only=True):
    """
    One budget as it stands now: a count or a percentage of nodes.

    `is_open` is None where its schedule cannot be read.
    """

    nodes: str
    reasons: tuple[str, ...] | None = None
    """What it is for; None for everything."""
    is_open: bool | None = True

    def covers(self, reason: DisruptionReason) -> bool:
        return self.reasons is None or reason.value in self.reasons

    def allowed(self, node_count: int) -> int:
        """Return how many of *node_count* nodes this budget alone lets go; shares are rounded up."""
        if self.is_open is None:
            return 0
        return amount(self.nodes, node_count) if self.is_open else NO_LIMIT


def allowed_disruptions(budgets: Sequence[NodeBudget], *, node_count: int, reason: DisruptionReason) -> int:
    """
    Return the least that any budget for *reason* allows.

    One budget whose schedule cannot be read allows nothing, for any reason.
    Nodes that are being deleted, or are not ready, are for the caller to take off.
    """
    if any(budget.is_open is None for budget in budgets):
        return 0
    return min((budget.allowed(node_count) for budget in budgets if budget.covers(reason)), default=NO_LIMIT)


def budgets_of(windows: Iterable[BudgetWindow], open_windows: Collection[str]) -> tuple[NodeBudget, ...]:
    """Return a policy's budgets that hold now; policies whose schedules cannot be read are refused before."""
    return tuple(
        NodeBudget(nodes=window.nodes, reasons=_reasons(window.reasons))
        for window in budgets_in_force(windows, open_windows)
    )


def _reasons(given: tuple[str, ...]) -> tuple[str, ...] | None:
    if not given:
        return None
    both = (DisruptionReason.EMPTY.value, DisruptionReason.UNDERUTILIZED.value) if _BOTH in given else ()
    return (*given, *both)
