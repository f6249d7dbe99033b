"""
A pod and node autoscaler for Kubernetes: replicas, requests and nodes as one decision.

Public names are loaded when first used, so that `import autoscaler` stays light.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "decide": "autoscaler.planning.decide",
    "ClusterSnapshot": "autoscaler.model.snapshot",
    "Controller": "autoscaler.controller.app",
    "DecisionRecord": "autoscaler.model.record",
    "DecisionState": "autoscaler.model.state",
    "Decision": "autoscaler.model.plan",
    "Parts": "autoscaler.controller.app",
    "Plan": "autoscaler.model.plan",
    "Policies": "autoscaler.model.policy",
    "Recommendation": "autoscaler.model.recommendation",
    "Resources": "autoscaler.model.resources",
    "load_policies": "autoscaler.policy_files",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
