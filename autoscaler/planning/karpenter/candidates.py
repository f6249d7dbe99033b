"""
Which nodes may be disrupted, what each costs, and what it would cost to disturb its pods.

Source: Karpenter `pkg/controllers/disruption/types.go` (NewCandidate,
SavingsRatio, IsEmpty) and `pkg/controllers/state/statenode.go`
(ValidateNodeDisruptable, ValidatePodsDisruptable), main of 2026-08-20.
"""

from __future__ import annotations

import msgspec

from autoscaler.model.node import Node
from autoscaler.model.pod import Pod


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """
    A node that may be disrupted.

    `pods` are those that would need another place. `disruption` is 1 and what
    it costs to evict them, `usd_per_hour` what the node costs, 0 where that is
    not known. `type` is "" for a machine that the pool does not offer.
    """

    node: Node
    pool: str
    type: str = ""
    usd_per_hour: float = 0.0
    pods: tuple[Pod, ...] = ()
    disruption: float = 1.0

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def is_empty(self) -> bool:
        """Tell whether disturbing it costs nothing: no pods, or only such as cost nothing to evict."""
        return self.disruption <= 1.0

    @property
    def savings_ratio(self) -> float:
        """US dollars an hour for each unit of disruption."""
        return self.usd_per_hour / self.disruption
