"""Karpenter under pods that others scale: its NodePool's defaults, and the policy of consolidation as a knob."""

from __future__ import annotations

from typing import Any

import msgspec

from autoscaler.errors import InputError
from autoscaler.model.policy import BudgetWindow, Consolidation, Disruption, NodeEngine, NodeRules, Policies
from autoscaler.model.spec import Duration

CONSOLIDATION = "consolidation"
"""The setting's name."""
POLICIES = {"aggressive": Consolidation.JOINT, "balanced": Consolidation.BALANCED}
"""Its values: the peer's default WhenEmptyOrUnderutilized, and Balanced."""
_BUDGETS = (BudgetWindow(nodes="10%", pods="100%"),)
"""The peer's default; it knows no budget of pods."""


def with_karpenter(policies: Policies, settings: dict[str, Any]) -> Policies:
    """
    Return *policies* with this engine for nodes, by the setting `consolidation` and those that begin with `nodes.`.

    Raises:
        InputError: the consolidation is none that there is.
    """
    chosen = settings.get(CONSOLIDATION, "aggressive")
    if chosen not in POLICIES:
        raise InputError("settings", CONSOLIDATION, chosen, f"one of {', '.join(POLICIES)}")
    nodes = NodeRules(
        engine=NodeEngine.KARPENTER,
        consolidation=POLICIES[chosen],
        consolidate_after=Duration("1s"),
        params={name.removeprefix("nodes."): value for name, value in settings.items() if name.startswith("nodes.")},
    )
    disruption = Disruption(budgets=_BUDGETS)
    scaling = tuple(
        msgspec.structs.replace(each, spec=msgspec.structs.replace(each.spec, nodes=nodes, disruption=disruption))
        for each in policies.scaling
    )
    return msgspec.structs.replace(policies, scaling=scaling)
