"""Joins what the cluster, the cloud and the metrics say into the one snapshot of a cycle."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from autoscaler.controller.open_windows import open_windows
from autoscaler.errors import AccessError, TransientError
from autoscaler.interfaces import CloudProvider, ClusterReader, KnowsMembers, MetricsSource, ReportsProblems
from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.policy import Policies
from autoscaler.model.readings import Reading, Signal
from autoscaler.model.snapshot import ClusterSnapshot, Prices, WorkloadModel

SignalsOf = Callable[[ClusterSnapshot, Policies], Sequence[Signal]]
"""Says which signals the recommenders of a snapshot's workloads want to read."""

Readings = tuple[tuple[Signal, Reading], ...]
NO_ANSWER = (AccessError, TransientError, TimeoutError)
"""What cloud and metrics raise when they cannot be read now: the turn goes on without."""


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What the slow loop hands to every decision."""

    models: tuple[WorkloadModel, ...] = ()
    prices: Prices = Prices()


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where a snapshot comes from. Calls to each get `timeout_seconds`, None for no limit."""

    cluster: ClusterReader
    metrics: MetricsSource
    provider: CloudProvider | None = None
    sizes_at_admission: bool = True
    """Whether something gives new pods their workload's sizes (see ClusterSnapshot)."""
    timeout_seconds: float | None = 30.0


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of metrics in `seconds`, and what could not be."""

    readings: Readings = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot, and what could not be read for it."""

    snapshot: ClusterSnapshot
    problems: tuple[str, ...] = ()


async def observe_objects(sources: Sources, *, at: float, learned: Learned) -> Observation:
    """
    Return the cluster with its node groups and models, without readings.

    Without an answer from the cloud there are no groups: nodes are then left
    alone. A cluster that does not answer is the caller's to handle: nothing
    can be decided without it.
    """
    async with asyncio.timeout(sources.timeout_seconds):
        snapshot = await sources.cluster.observe(at)
    groups: Sequence[NodeGroup] = ()
    members: Mapping[str, str] = {}
    problems: tuple[str, ...] = ()
    if sources.provider is not None:
        try:
            async with asyncio.timeout(sources.timeout_seconds):
                groups = await sources.provider.list_node_groups()
            members = _members(sources.provider)
            if isinstance(sources.provider, ReportsProblems):
                problems = tuple(f"node groups: {problem}" for problem in sources.provider.problems)
        except NO_ANSWER as error:
            problems = (f"node groups: {str(error) or 'no answer in time'}",)
    nodes = kept_nodes(priced_nodes(grouped_nodes(snapshot.nodes, members), groups), groups)
    upcoming = upcoming_nodes(groups, nodes, at=at)
    snapshot = msgspec.structs.replace(
        snapshot,
        node_groups=tuple(groups),
        nodes=tuple(sorted(nodes + upcoming, key=_node_name)) if upcoming else nodes,
        models=learned.models,
        prices=learned.prices,
        sizes_at_admission=sources.sizes_at_admission,
    )
    return Observation(snapshot=snapshot, problems=problems)


async def with_readings(
    seen: Observation, sources: Sources, policies: Policies, *, signals_of: SignalsOf, known: Read | None = None
) -> Observation:
    """
    Return *seen* with everything else that a decision may look at; whatever was not read is Missing there, or absent.

    What is *known* already, if given, takes the place of new readings.
    """
    at = seen.snapshot.observed_at
    snapshot = msgspec.structs.replace(seen.snapshot, open_windows=open_windows(policies, at))
    if known is not None:
        snapshot = msgspec.structs.replace(snapshot, readings=known.readings)
        return Observation(snapshot=snapshot, problems=(*seen.problems, *known.problems))
    signals = signals_of(snapshot, policies)
    try:
        async with asyncio.timeout(sources.timeout_seconds):
            readings = await sources.metrics.read(signals, at)
    except NO_ANSWER as error:
        problem = f"metrics: {str(error) or 'no answer in time'}"
        return Observation(snapshot=snapshot, problems=(*seen.problems, problem))
    return Observation(
        snapshot=msgspec.structs.replace(snapshot, readings=tuple(readings.items())), problems=seen.problems
    )


def _members(provider: CloudProvider) -> Mapping[str, str]:
    return provider.members if isinstance(provider, KnowsMembers) else {}


def grouped_nodes(nodes: tuple[Node, ...], members: Mapping[str, str]) -> tuple[Node, ...]:
    """
    Return *nodes* in the groups that the cloud has their instances in; their labels are right for others.

    >>> from autoscaler.model.resources import NOTHING
    >>> [node.group for node in grouped_nodes((Node(name="n", allocatable=NOTHING, instance_id="i-1"),), {"i-1": "a"})]
    ['a']
    """
    if not members or all(members.get(node.instance_id, node.group) == node.group for node in nodes):
        return nodes
    return tuple(
        msgspec.structs.replace(node, group=members[node.instance_id])
        if members.get(node.instance_id, node.group) != node.group
        else node
        for node in nodes
    )


def priced_nodes(nodes: tuple[Node, ...], groups: Iterable[NodeGroup]) -> tuple[Node, ...]:
    """
    Return *nodes* with what their groups know of them: price, and type, zone and capacity type where not known.

    A node that has a price already is left as it is.
    """
    known = {group.name: group for group in groups if group.usd_per_hour}
    if not known or all(node.usd_per_hour or node.group not in known for node in nodes):
        return nodes
    return tuple(
        node if node.usd_per_hour or node.group not in known else _priced(node, known[node.group]) for node in nodes
    )


def _priced(node: Node, group: NodeGroup) -> Node:
    return msgspec.structs.replace(
        node,
        usd_per_hour=group.usd_per_hour,
        instance_type=node.instance_type or group.template.instance_type,
        zone=node.zone or group.zone,
        capacity_type=group.capacity_type,
    )


def kept_nodes(nodes: tuple[Node, ...], groups: Iterable[NodeGroup]) -> tuple[Node, ...]:
    """
    Return *nodes* with those marked that cannot be given back, since their group deletes no chosen ones.

    The only node of such a group is all of its nodes, and can be.

    >>> from autoscaler.model.node import NodeTemplate
    >>> from autoscaler.model.resources import NOTHING
    >>> template = NodeTemplate(instance_type="m", allocatable=NOTHING)
    >>> group = NodeGroup(name="a", template=template, target_size=2, usd_per_hour=0.1, deletes_chosen=False)
    >>> [node.do_not_remove for node in kept_nodes((Node(name="n", allocatable=NOTHING, group="a"),), [group])]
    ['node group a, which deletes no chosen nodes,']
    """
    keeping = {group.name for group in groups if not group.deletes_chosen and group.target_size > 1}
    if not keeping:
        return nodes
    return tuple(
        msgspec.structs.replace(node, do_not_remove=f"node group {node.group}, which deletes no chosen nodes,")
        if node.group in keeping and not node.do_not_remove
        else node
        for node in nodes
    )


def upcoming_nodes(groups: Iterable[NodeGroup], nodes: Iterable[Node], *, at: float) -> tuple[Node, ...]:
    """
    Return a stand-in for each node that was asked for and has not registered yet.

    >>> from autoscaler.model.node import NodeTemplate
    >>> from autoscaler.model.resources import Resources
    >>> template = NodeTemplate(instance_type="m", allocatable=Resources.of(cpu=1000))
    >>> group = NodeGroup(name="a", template=template, target_size=1, usd_per_hour=0.1)
    >>> [node.name for node in upcoming_nodes([group], [], at=0.0)]
    ['a-upcoming-0']
    """
    wanted = [group for group in groups if group.target_size]
    there = Counter(node.group for node in nodes)
    return tuple(
        Node(
            name=f"{group.name}-upcoming-{number}",
            allocatable=group.template.allocatable,
            labels=group.template.labels,
            taints=group.template.taints,
            ready=False,
            registered=False,
            created_at=at,
            group=group.name,
            instance_type=group.template.instance_type,
            zone=group.zone,
            capacity_type=group.capacity_type,
            usd_per_hour=group.usd_per_hour,
        )
        for group in wanted
        for number in range(group.target_size - there[group.name])
    )


def _node_name(node: Node) -> str:
    return node.name
