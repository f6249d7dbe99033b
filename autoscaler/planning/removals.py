"""The values that consolidation and draining pass to each other and to the planner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from autoscaler.model.plan import AnyAction, Note
from autoscaler.model.pod import PodShape
from autoscaler.model.policy import Consolidation
from autoscaler.model.reasons import Code
from autoscaler.model.state import NodeMemory
from autoscaler.planning.blockers import EvictionRules

Growth = tuple[tuple[str, int], ...]
"""(group, nodes to add), by group name."""
Demand = Sequence[tuple[PodShape, int]]
"""How many pods of each shape."""
Buy = Callable[[Demand], tuple[Growth, float] | None]
"""Says what new nodes hold these pods, and their price in USD an hour; None when nothing on offer can."""


class RemovalRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    When nodes go. Times in seconds, money in USD.

    `hold_seconds` is how long the capacity will not be needed back by the
    forecast (3,600 to 14,400). `min_savings_per_eviction` is what moving one
    pod costs (algorithms, section 5.5: start-up CPU, warm caches, risk).
    """

    consolidation: Consolidation = Consolidation.JOINT
    min_savings_per_eviction: float = 0.002
    hold_seconds: float = 3600.0
    empty_seconds: float = 60.0
    """How long a node must have been empty."""
    scale_up_cool_down_seconds: float = 120.0
    """No new removal so soon after nodes were added."""
    period_seconds: float = 300.0
    """Time between two rounds of consolidation."""
    unready_seconds: float = 1200.0
    """A node not ready for so long is replaced (Cluster Autoscaler: scale-down-unready-time)."""
    provision_seconds: float = 900.0
    """A node that has not registered by then never will (max-node-provision-time)."""
    replacement_seconds: float = 900.0
    """How long to wait for nodes bought for a repack."""
    drain_seconds: float = 3600.0
    """A drain that takes longer is given up."""
    termination_seconds: float = 600.0
    """How long a deleted pod may take to end before its node goes (max-graceful-termination-sec)."""
    max_candidates: int = 100
    """How many nodes one round tries, worst value for money first."""
    max_nodes_share: float = 0.15
    min_nodes: int = 2
    """The larger of the two bounds the nodes of one round."""
    max_unready_share: float = 0.3
    """With more nodes than this not ready, none is drained for not being ready."""
    workload_share: float = 0.25
    """The share of a workload's pods (at least one) that may be unready because of drains."""
    balanced_threshold: float = 0.5
    eviction: EvictionRules = EvictionRules()


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """
    Nodes to remove together, with what must be bought first.

    `usd_per_hour` is the change in cost (negative), `net_usd` what is gained
    over the hold time after moves and overlap are paid.
    """

    nodes: tuple[str, ...]
    code: Code
    pods: int = 0
    growth: Growth = ()
    usd_per_hour: float = 0.0
    net_usd: float = 0.0


class Consolidated(msgspec.Struct, frozen=True, kw_only=True):
    """What one round found, in the order to do it, and why other nodes that it tried stay."""

    removals: tuple[Removal, ...] = ()
    notes: tuple[Note, ...] = ()


class RemovalPlan(msgspec.Struct, frozen=True, kw_only=True):
    """
    The steps of one cycle: nodes up first, then cordons and evictions, then nodes down.

    `memory` replaces the state's; `consolidated` tells that a round was held,
    so the time of the last one is now.
    """

    actions: tuple[AnyAction, ...] = ()
    memory: tuple[NodeMemory, ...] = ()
    notes: tuple[Note, ...] = ()
    consolidated: bool = False
