"""Karpenter's NodePool in our words (karpenter.sh/v1)."""

from __future__ import annotations

from typing import Any

import msgspec

from autoscaler.kube.convert_fields import Fields, Source, given
from autoscaler.policy_files.cluster_checks import CAPACITY_TYPES
from autoscaler.policy_files.read import API_VERSION

CAPACITY_TYPE = "karpenter.sh/capacity-type"
_PROVIDERS = {
    "karpenter.k8s.aws": "aws",
    "karpenter.azure.com": "azure",
    "karpenter.k8s.gcp": "gcp",
    "karpenter.kwok.sh": "kwok",
}
_DEFAULT_BUDGETS = [{"nodes": "10%"}]


def node_group_of(source: Source, spec: Fields) -> dict[str, Any]:
    """Return a NodeGroup document."""
    template = spec.part("template")
    metadata, machine = template.part("metadata"), template.part("spec")
    requirements, capacity = _requirements(machine)
    group = given(
        provider=_provider(machine),
        size=_size(spec),
        requirements=requirements,
        capacityTypes=capacity,
        template=given(labels=metadata.take("labels"), taints=machine.take("taints")),
        weight=spec.count("weight"),
    )
    metadata.lose("annotations", "nodes get none")
    metadata.left()
    machine.lose("startupTaints", "a node counts as ready when it says so; nobody waits for these to go")
    all_nodes = "under nodes.params of a ScalingPolicy with nodes.engine karpenter, for all nodes"
    machine.lose("expireAfter", f"expire-after {all_nodes}")
    machine.lose("terminationGracePeriod", f"termination-grace-period {all_nodes}; no pod is deleted by force")
    machine.left()
    template.left()
    _note_policy(spec)
    spec.left()
    return {"apiVersion": API_VERSION, "kind": "NodeGroup", "metadata": {"name": source.name}, "spec": group}


def _requirements(machine: Fields) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the requirements, and the capacity types, which we keep by themselves."""
    kept: list[dict[str, Any]] = []
    allowed: set[str] | None = None
    for requirement in machine.parts("requirements"):
        key, operator, values = requirement.text("key"), requirement.text("operator"), requirement.words("values") or []
        least = requirement.count("minValues")
        requirement.left()
        if key == CAPACITY_TYPE and operator in ("In", "NotIn"):
            these = set(values) if operator == "In" else set(CAPACITY_TYPES) - set(values)
            allowed = these if allowed is None else allowed & these
        else:
            kept.append({"key": key, "operator": operator, **given(values=values, minValues=least)})
    if allowed is None:
        machine.note("requirements", f"{CAPACITY_TYPE} is not named: on-demand alone is bought", lost=False)
        allowed = {"on-demand"}
    return kept, [each for each in CAPACITY_TYPES if each in allowed]


def _provider(machine: Fields) -> str:
    reference = machine.part("nodeClassRef")
    group, kind, name = (reference.text(field) for field in ("group", "kind", "name"))
    reference.left()
    machine.note(
        "nodeClassRef", f"image, network and role stay in {kind} {name}: name a group of the cloud under spec.match"
    )
    return _PROVIDERS.get(group, group.split(".")[0] or "none")


def _size(spec: Fields) -> dict[str, int]:
    """Return the bounds of a pool with a fixed number of nodes; {} for the usual one, which has none."""
    replicas = spec.count("replicas")
    return {} if replicas is None else {"min": replicas, "max": replicas}


def _note_policy(spec: Fields) -> None:
    """Note what holds for all nodes together in our documents, and where to write it."""
    limits = spec.take("limits")
    if limits:
        spec.note("limits", f"they hold for all nodes together, as nodes.limits of a ScalingPolicy: {_text(limits)}")
    disruption = spec.part("disruption")
    if disruption.text("consolidationPolicy") == "WhenEmpty":
        disruption.note("consolidationPolicy", "it is for all nodes: nodes.consolidation: WhenEmpty of a ScalingPolicy")
    after = disruption.text("consolidateAfter", "0s")
    if after == "Never":
        disruption.note("consolidateAfter", "it is for all nodes: nodes.consolidation: Off of a ScalingPolicy")
    elif after != "0s":
        disruption.note(
            "consolidateAfter",
            f"it is for all nodes: nodes.consolidateAfter: {after} of a ScalingPolicy, 1m if not given",
        )
    budgets = disruption.take("budgets") or []
    if budgets and budgets != _DEFAULT_BUDGETS:
        disruption.note("budgets", f"they are for all nodes: disruption.budgets of a ScalingPolicy: {_text(budgets)}")
    disruption.left()


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
