"""
What a node is worth for its price, and what disturbing it costs.

Sources: algorithms, section 5.5 (value over price at shadow prices); for the
policy Balanced, Karpenter's score (`disruption/balanced.go`, 1.14).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoscaler.model.node import Node
from autoscaler.model.pod import Pod
from autoscaler.model.resources import CPU, MEMORY
from autoscaler.model.snapshot import Prices
from autoscaler.model.units import GIB
from autoscaler.scheduling.simulation import Simulation


def value_for_money(simulation: Simulation, nodes: Sequence[Node], prices: Prices) -> list[tuple[float, str]]:
    """
    Return (worth of what is requested on a node / its price, name), worst first, ties by name.

    Nodes that cost nothing save nothing and are left out, as are unknown nodes
    and those whose worth or price is not a number.
    """
    worth = (
        simulation.requested(CPU) / 1000 * prices.usd_per_core_hour
        + simulation.requested(MEMORY) / GIB * prices.usd_per_gib_hour
    )
    ranked = (
        (float(worth[simulation.row(node.name)]) / node.usd_per_hour, node.name)
        for node in nodes
        if node.usd_per_hour > 0 and node.name in simulation
    )
    return sorted(pair for pair in ranked if not math.isnan(pair[0]))


def eviction_cost(pod: Pod) -> float:
    """
    Return Karpenter's disruption cost of a pod, within -10 and 10; 1 for an ordinary one.

    Source: karpenter `utils/disruption`, EvictionCost.
    """
    return max(-10.0, min(10.0, 1.0 + pod.deletion_cost / 2**27 + pod.shape.priority / 2**25))


def disruption_cost(pods: Sequence[Pod]) -> float:
    """Return Karpenter's disruption cost of a node: 1, and what its pods cost where that is above 0."""
    return 1.0 + sum(max(0.0, eviction_cost(pod)) for pod in pods)


def balanced_score(savings: float, cost: float, *, disruption: float, total_disruption: float) -> float:
    """Return (savings / cost) / (disruption / total disruption); 0 where nothing is saved."""
    if savings <= 0 or cost <= 0 or total_disruption <= 0:
        return 0.0
    return (savings / cost) / (disruption / total_disruption) if disruption > 0 else float("inf")
