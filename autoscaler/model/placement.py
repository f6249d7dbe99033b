"""
Where a pod may run: selectors, affinity, taints, tolerations, spread.

Field meanings are those of the core/v1 API; empty and absent are told apart
only where Kubernetes does (a `LabelSelector` that is None selects nothing,
an empty one everything).
"""

from __future__ import annotations

import enum

import msgspec

Labels = tuple[tuple[str, str], ...]
"""Sorted (key, value) pairs."""


class Operator(enum.StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


class Effect(enum.StrEnum):
    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Requirement(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """One label (or node field) test."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


class LabelSelector(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """All must hold; no requirement at all selects everything."""

    match_labels: Labels = ()
    match_expressions: tuple[Requirement, ...] = ()


class NodeSelectorTerm(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """All must hold; an empty term matches no node."""

    match_expressions: tuple[Requirement, ...] = ()
    match_fields: tuple[Requirement, ...] = ()


class PreferredNodeTerm(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    weight: int
    term: NodeSelectorTerm


class PodTerm(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """
    An inter-pod (anti-)affinity term.

    `namespaces` empty and `namespace_selector` None mean the pod's own namespace.
    """

    topology_key: str
    selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()
    mismatch_label_keys: tuple[str, ...] = ()


class PreferredPodTerm(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    weight: int
    term: PodTerm


class Affinity(msgspec.Struct, frozen=True, gc=False, cache_hash=True, kw_only=True):
    """
    `node_required` is None when there is no required node affinity; an empty
    tuple of terms matches no node.
    """

    node_required: tuple[NodeSelectorTerm, ...] | None = None
    node_preferred: tuple[PreferredNodeTerm, ...] = ()
    pod_required: tuple[PodTerm, ...] = ()
    pod_preferred: tuple[PreferredPodTerm, ...] = ()
    pod_anti_required: tuple[PodTerm, ...] = ()
    pod_anti_preferred: tuple[PreferredPodTerm, ...] = ()


class Taint(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    key: str
    effect: Effect
    value: str = ""


class Toleration(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """`effect` None tolerates all effects; `key` empty with Exists tolerates every taint."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: Effect | None = None
    seconds: int | None = None


class TopologySpread(msgspec.Struct, frozen=True, gc=False, cache_hash=True, kw_only=True):
    max_skew: int
    topology_key: str
    when_unsatisfiable: str = "DoNotSchedule"
    selector: LabelSelector | None = None
    min_domains: int | None = None
    node_affinity_policy: str = "Honor"
    node_taints_policy: str = "Ignore"
    match_label_keys: tuple[str, ...] = ()


class HostPort(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    port: int
    protocol: str = "TCP"
    host_ip: str = ""


NO_AFFINITY = Affinity()


def labels_of(mapping: dict[str, str]) -> Labels:
    """Return a mapping as sorted pairs."""
    return tuple(sorted(mapping.items()))
