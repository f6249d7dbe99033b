"""
What the controller writes under `status`: the API's other half.

Only fields named here are stored: the API server drops all others. Conditions
follow meta/v1 Condition.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from autoscaler.model.spec import Quantity, Spec

Generation = Annotated[int, msgspec.Meta(ge=0)]
Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class Condition(Spec, frozen=True, kw_only=True):
    """One condition of the object, by `type`."""

    type: str
    status: str
    """True, False or Unknown."""
    reason: str = ""
    """One word, for programs."""
    message: str = ""
    """A sentence, for people."""
    last_transition_time: Time = ""
    """When `status` last changed."""
    observed_generation: Generation | None = None
    """The generation of the object that it speaks of."""


class ReplicaStatus(Spec, frozen=True, kw_only=True):
    """Pods now, wanted, and the range in which nothing would change."""

    current: int | None = None
    desired: int | None = None
    lower: int | None = None
    upper: int | None = None


class ContainerSizes(Spec, frozen=True, kw_only=True):
    """Requests of one container now, wanted, and the range in which nothing would change."""

    name: str
    current: dict[str, Quantity] = {}
    target: dict[str, Quantity] = {}
    lower: dict[str, Quantity] = {}
    upper: dict[str, Quantity] = {}


class PodSizes(Spec, frozen=True, kw_only=True):
    """Requests of one pod, all containers together, now and wanted."""

    current: dict[str, Quantity] = {}
    target: dict[str, Quantity] = {}


class Cost(Spec, frozen=True, kw_only=True):
    """What the workload's requests cost at the cluster's prices."""

    current_per_day: Quantity | None = None
    desired_per_day: Quantity | None = None
    currency: str = "USD"


class ReasonStatus(Spec, frozen=True, kw_only=True):
    """Why: a code of the reference, and a sentence."""

    code: str
    message: str = ""


class DecisionStatus(Spec, frozen=True, kw_only=True):
    """The decision that this status tells; `digest` is that of its inputs."""

    digest: str = ""
    time: Time = ""


class DocumentStatus(Spec, frozen=True, kw_only=True):
    """What is known of a document that is not about one workload."""

    observed_generation: Generation | None = None
    """The generation that was read last."""
    conditions: tuple[Condition, ...] = ()


class PolicyStatus(DocumentStatus, frozen=True, kw_only=True):
    """What is known of a policy."""

    mode: str = ""
    """The most that documents under it may do."""


class NodeCounts(Spec, frozen=True, kw_only=True):
    """Nodes now, and wanted."""

    current: int | None = None
    desired: int | None = None


class NodeGroupStatus(DocumentStatus, frozen=True, kw_only=True):
    """What is known of a document about nodes, over all the groups that come of it."""

    nodes: NodeCounts | None = None


class MpaStatus(DocumentStatus, frozen=True, kw_only=True):
    """What the workload has and should have, and why."""

    mode: str = ""
    """What the controller may do: the document's mode, as far as the policy allows it."""
    replicas: ReplicaStatus | None = None
    pod: PodSizes | None = None
    containers: tuple[ContainerSizes, ...] = ()
    cost: Cost | None = None
    reasons: tuple[ReasonStatus, ...] = ()
    last_decision: DecisionStatus | None = None
