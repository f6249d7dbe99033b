"""Joins what the cluster, the cloud and the metrics say into the one snapshot of a cycle."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from autoscaler.controller.open_windows import open_windows
from autoscaler.errors import TransientError
from autoscaler.interfaces import CloudProvider, ClusterReader, MetricsSource
from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.policy import Policies
from autoscaler.model.readings import Signal
from autoscaler.model.snapshot import ClusterSnapshot, Prices, WorkloadModel

SignalsOf = Callable[[ClusterSnapshot, Policies], Sequence[Signal]]
"""Says which signals the recommenders of a snapshot's workloads want to read."""


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What the slow loop hands to every decision."""

    models: tuple[WorkloadModel, ...] = ()
    prices: Prices = Prices()


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where a snapshot comes from. Calls to each get `timeout_seconds`, None for no limit."""

    cluster: ClusterReader
    metrics: MetricsSource
    provider: CloudProvider | None = None
    timeout_seconds: float | None = 30.0


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
    problems: tuple[str, ...] = ()
    if sources.provider is not None:
        try:
            async with asyncio.timeout(sources.timeout_seconds):
                groups = await sources.provider.list_node_groups()
        except (TransientError, TimeoutError) as error:
            problems = (f"node groups: {str(error) or 'no answer in time'}",)
    upcoming = upcoming_nodes(groups, snapshot.nodes, at=at)
    nodes = tuple(sorted(snapshot.nodes + upcoming, key=_node_name)) if upcoming else snapshot.nodes
    snapshot = msgspec.structs.replace(
        snapshot, node_groups=tuple(groups), nodes=nodes, models=learned.models, prices=learned.prices
    )
    return Observation(snapshot=snapshot, problems=problems)


async def observe(
    sources: Sources, policies: Policies, *, at: float, learned: Learned, signals_of: SignalsOf
) -> Observation:
    """Return everything that a decision may look at; whatever was not read is Missing there, or absent."""
    seen = await observe_objects(sources, at=at, learned=learned)
    snapshot = msgspec.structs.replace(seen.snapshot, open_windows=open_windows(policies, at))
    signals = signals_of(snapshot, policies)
    try:
        async with asyncio.timeout(sources.timeout_seconds):
            readings = await sources.metrics.read(signals, at)
    except (TransientError, TimeoutError) as error:
        return Observation(
            snapshot=snapshot, problems=(*seen.problems, f"metrics: {str(error) or 'no answer in time'}")
        )
    snapshot = msgspec.structs.replace(snapshot, readings=tuple(readings.items()))
    return Observation(snapshot=snapshot, problems=seen.problems)


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
