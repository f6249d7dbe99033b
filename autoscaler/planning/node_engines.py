"""The engines that can decide on nodes, by the name that a policy gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from autoscaler.model.policy import NodeEngine, ScalingPolicySpec
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.state import DecisionState
from autoscaler.planning import node_layer
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.cluster_autoscaler import engine as cluster_autoscaler
from autoscaler.planning.cluster_autoscaler import params as cluster_autoscaler_params
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.karpenter import engine as karpenter
from autoscaler.planning.karpenter import params as karpenter_params
from autoscaler.planning.node_layer import NodePlan
from autoscaler.planning.workload_actions import WorkloadActions

Problems = Iterable[tuple[str, object, str]]
"""What is wrong with parameters of the right types: name, what was found, what is allowed."""


class PlansNodes(Protocol):
    """Says what to buy and what to give back. Pure: equal input, equal output."""

    def __call__(
        self,
        index: SnapshotIndex,
        rules: ScalingPolicySpec,
        state: DecisionState,
        *,
        parts: Mapping[str, WorkloadActions],
        advice: Sequence[Recommendation],
        room: DisruptionRoom,
    ) -> NodePlan: ...


class NoParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The engine takes no parameters."""


def no_problems(_: Any) -> Problems:
    """Find nothing wrong."""
    return ()


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """One engine: what it does, the type of `nodes.params` for it, and what that type cannot express."""

    about: str
    plan: PlansNodes
    params: type[msgspec.Struct] = NoParams
    problems: Callable[[Any], Problems] = no_problems


ENGINES: Mapping[NodeEngine, Engine] = {
    NodeEngine.JOINT: Engine(
        about="Buys the cheapest mix for the pods there are and will be, and repacks where that pays.",
        plan=node_layer.plan_nodes,
    ),
    NodeEngine.CLUSTER_AUTOSCALER: Engine(
        about="Decides as Cluster Autoscaler does: one kind of machine for pods that wait, unneeded nodes out.",
        plan=cluster_autoscaler.plan_nodes,
        params=cluster_autoscaler_params.ClusterAutoscalerParams,
        problems=cluster_autoscaler_params.param_problems,
    ),
    NodeEngine.KARPENTER: Engine(
        about="Decides as Karpenter does: each pod to a node, a claim or a new claim that may become many types.",
        plan=karpenter.plan_nodes,
        params=karpenter_params.KarpenterParams,
        problems=karpenter_params.param_problems,
    ),
    NodeEngine.NONE: Engine(about="Leaves nodes to another system.", plan=node_layer.plan_nodes),
}


def plan_nodes(
    index: SnapshotIndex,
    rules: ScalingPolicySpec,
    state: DecisionState,
    *,
    parts: Mapping[str, WorkloadActions],
    advice: Sequence[Recommendation],
    room: DisruptionRoom,
) -> NodePlan:
    """Return what the policy's engine wants done about nodes."""
    return ENGINES[rules.nodes.engine].plan(index, rules, state, parts=parts, advice=advice, room=room)
