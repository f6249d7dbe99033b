"""What to change: an ordered list of absolute, conditional actions."""

from __future__ import annotations

import msgspec

from autoscaler.model.node import NodeTemplate
from autoscaler.model.reasons import Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.state import DecisionState


class Action(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="action", tag=True):
    """Base of all actions. `usd_per_hour` is what it changes in node cost, as estimated."""

    reasons: tuple[Reason, ...] = ()
    usd_per_hour: float = 0.0


class SetReplicas(Action, frozen=True, gc=False, kw_only=True):
    workload: str
    replicas: int
    expected: int


class SetRequests(Action, frozen=True, gc=False, kw_only=True):
    """Change the workload's template: new pods get these sizes."""

    workload: str
    containers: tuple[ContainerSize, ...]


class ResizePod(Action, frozen=True, gc=False, kw_only=True):
    """Resize a running pod in place."""

    pod: str
    workload: str
    containers: tuple[ContainerSize, ...]


class SetGroupSize(Action, frozen=True, gc=False, kw_only=True):
    group: str
    size: int
    expected: int


class CordonNode(Action, frozen=True, gc=False, kw_only=True):
    node: str


class UncordonNode(Action, frozen=True, gc=False, kw_only=True):
    node: str


class EvictPod(Action, frozen=True, gc=False, kw_only=True):
    """Evict through the eviction API, which honours PDBs. `node` is "" when not for a drain."""

    pod: str
    uid: str
    workload: str = ""
    node: str = ""


class DeleteInstances(Action, frozen=True, gc=False, kw_only=True):
    """Remove chosen nodes; the group's size goes from `expected` to `expected - len(nodes)`."""

    group: str
    nodes: tuple[str, ...]
    expected: int


class SetQuota(Action, frozen=True, gc=False, kw_only=True):
    namespace: str
    name: str
    hard: tuple[tuple[str, int], ...]


class SetAside(Action, frozen=True, gc=False, kw_only=True):
    """Stop another autoscaler's object (a `Rival` by key) from acting; what it was is kept on it."""

    rival: str
    workload: str


class GiveBack(Action, frozen=True, gc=False, kw_only=True):
    """Let a rival that was set aside act again, as it was."""

    rival: str
    workload: str


AnyAction = (
    SetReplicas
    | SetRequests
    | ResizePod
    | SetGroupSize
    | CordonNode
    | UncordonNode
    | EvictPod
    | DeleteInstances
    | SetQuota
    | SetAside
    | GiveBack
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """
    Actions in the order to take them: nodes up, sizes and replicas up,
    replicas and sizes down, drains, nodes down. `advised` holds what would be
    done if the mode of its workload or of the nodes allowed it; nothing of it
    may be carried out.

    Costs are USD an hour of all nodes, now and when the plan is carried out.
    `bound_gap` is how far (share) the nodes bought are above a certified lower
    bound of what the same pods must cost; None where nothing was bought.
    """

    actions: tuple[AnyAction, ...] = ()
    advised: tuple[AnyAction, ...] = ()
    usd_per_hour_now: float = 0.0
    usd_per_hour_after: float = 0.0
    bound_gap: float | None = None


class Note(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Why something was *not* done. `target` is `kind/key`: `pod/ns/name`,
    `node/name`, `group/name`, `workload/ns/Kind/name`, `mpa/ns/name`, `policy/name`.
    """

    target: str
    reasons: tuple[Reason, ...]


class PackedNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node the packing wants to buy and how many pods of each class go on it."""

    group: str
    template: NodeTemplate
    usd_per_hour: float
    pods: tuple[tuple[int, int], ...]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that `decide` says: what to do, what each workload should have, why the
    rest was left, and the memory for the next cycle. `held` lists workloads
    on which nothing may be done, with reasons.
    """

    plan: Plan
    recommendations: tuple[Recommendation, ...]
    state: DecisionState
    held: tuple[Note, ...] = ()
    notes: tuple[Note, ...] = ()
