"""
Nodes to come: what a pool's template starts with, and how each pod narrows a claim.

Source: Karpenter `pkg/controllers/provisioning/scheduling/nodeclaim.go`,
`nodeclaimtemplate.go` and (DaemonSets) `scheduler.go`, main of 2026-08-20.
Reserved capacity and device claims are not there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.model.placement import Labels, Taint
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import PODS, Resources
from autoscaler.planning.karpenter.instance_types import Catalogue, TypeOption, TypeSet
from autoscaler.planning.karpenter.refusals import Refusal, of_types
from autoscaler.planning.karpenter.relax import TOLERATE_PREFER
from autoscaler.planning.karpenter.requirements import (
    NODE_POOL,
    WELL_KNOWN,
    Requirement,
    Requirements,
    hostname_part,
    pod_requirements,
    requirement,
    volume_requirements,
)
from autoscaler.planning.karpenter.taints import tolerates_all
from autoscaler.planning.karpenter.topology import HostRules, Topology
from autoscaler.planning.karpenter.topology_groups import NodeView
from autoscaler.scheduling.context import host_ports, ports_conflict
from autoscaler.scheduling.requests import effective_requests, node_demand

REGISTERED, INITIALIZED = "karpenter.sh/registered", "karpenter.sh/initialized"
_HOST = "hostname-placeholder-{:04d}"

Port = tuple[str, str, int]
"""(address, protocol, port)"""
Amounts = tuple[int, ...]
"""Amounts by the solver's list of resources."""


class NodePool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Where nodes may come from: requirements and template of the nodes, and the types on offer.

    `limits` bound the capacity of all its nodes; `max_nodes` their number, of
    which one turn counts only those that were there before it.
    """

    name: str
    weight: int = 0
    requirements: tuple[Requirement, ...] = ()
    labels: Labels = ()
    taints: tuple[Taint, ...] = ()
    limits: Resources = Resources()
    max_nodes: int | None = None
    types: tuple[TypeOption, ...] = ()


class Ask(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A pod, ready to be tried.

    `wishes` are its requirements with the heaviest preference, `hard` those
    without; both leave out the host's name, which `host` restricts. Of the
    alternatives that its `volumes` leave one must be met.
    """

    shape: PodShape
    amounts: Amounts
    wishes: Requirements
    hard: Requirements
    host: Requirement | None
    host_rules: HostRules
    ports: tuple[Port, ...] = ()
    volumes: tuple[Requirements, ...] = (Requirements(),)


class DaemonGroup(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Types on which the same DaemonSets' pods run: what these take there, and their host ports."""

    types: TypeSet
    amounts: Amounts
    ports: tuple[Port, ...] = ()


class Step(msgspec.Struct, frozen=True, gc=False):
    """What a claim must be to hold one more pod."""

    requirements: Requirements
    types: TypeSet


class Memory:
    """Answers that many tries share: which requirements go together, and what the two are."""

    def __init__(self) -> None:
        self._known: dict[tuple[Requirements, Requirements], Requirements | None] = {}

    def both(self, node: Requirements, pod: Requirements) -> Requirements | None:
        """Return *node* narrowed to *pod*, None where they conflict; well-known labels left open are free."""
        key = (node, pod)
        if key not in self._known:
            conflicts = node.conflict(pod, may_be_undefined=WELL_KNOWN) is not None
            self._known[key] = None if conflicts else node & pod
        return self._known[key]


class Template:
    """A pool's nodes before any pod is on them. `types` is empty when its requirements leave none."""

    def __init__(
        self,
        pool: NodePool,
        resources: Sequence[str],
        daemons: Sequence[PodShape],
        *,
        best_effort_values: bool = False,
    ) -> None:
        self.pool, self.resources, self.best_effort = pool, tuple(resources), best_effort_values
        own = [requirement(NODE_POOL, "In", (pool.name,))]
        own += [requirement(each, "In", ("true",)) for each in (REGISTERED, INITIALIZED)]
        stated = Requirements.of([*pool.requirements, *Requirements.of_labels(pool.labels).items])
        self.requirements = stated & Requirements.of(own)
        self.catalogue = Catalogue(pool.types, resources)
        usable = self.catalogue.usable(self.requirements) & self.catalogue.fitting([0] * len(resources))
        short = self.catalogue.short_of_values(usable, self.requirements)
        self.types: TypeSet = 0 if short and not best_effort_values else usable
        self.daemons = self._daemon_groups(daemons)

    def _daemon_groups(self, daemons: Sequence[PodShape]) -> tuple[DaemonGroup, ...]:
        runs = [self._runs_on(daemon) for daemon in daemons]
        bounds = {self.types}
        for types in runs:
            bounds = {part for old in bounds for part in (old & types, old & ~types) if part}
        groups = []
        for part in sorted(bounds):
            here = [daemon for daemon, types in zip(daemons, runs, strict=True) if types & part]
            taken = Resources.of({PODS: len(here)}) if here else Resources()
            for daemon in here:
                taken += effective_requests(daemon)
            ports = tuple(port for daemon in here for port in container_ports(daemon))
            groups.append(DaemonGroup(types=part, amounts=amounts_of(taken, self.resources), ports=ports))
        return tuple(groups)

    def _runs_on(self, daemon: PodShape) -> TypeSet:
        """Return the types on which a DaemonSet runs its pod; preferences do not matter to it."""
        if not tolerates_all((*daemon.tolerations, TOLERATE_PREFER), self.pool.taints):
            return 0
        found, shape = 0, daemon
        while True:
            hard = pod_requirements(shape, with_preference=False)
            if self.requirements.conflict(hard, may_be_undefined=WELL_KNOWN) is None:
                found |= self.catalogue.matching(hard)
            terms = shape.affinity.node_required or ()
            if len(terms) < 2:
                return found
            shape = msgspec.structs.replace(
                shape, affinity=msgspec.structs.replace(shape.affinity, node_required=terms[1:])
            )


class Claim:
    """A node to come with pods. It may still become any of `types`; every pod narrows them."""

    def __init__(self, template: Template, number: int, types: TypeSet) -> None:
        self.template, self.types = template, types
        self.hostname = _HOST.format(number)
        self.requirements = template.requirements
        self.amounts: Amounts = (0,) * len(template.resources)
        self.pods: list[str] = []
        self._ports: list[Port] = []

    def step(self, ask: Ask, topology: Topology, memory: Memory, *, relax_values: bool = False) -> Step | Refusal:
        """
        Return what the claim must be to hold the pod as well, or why it cannot.

        *relax_values* lets `min_values` sink to what there is.
        """
        if not tolerates_all(ask.shape.tolerations, self.template.pool.taints):
            return Refusal.TAINT
        base = memory.both(self.requirements, ask.wishes)
        if base is None or not (ask.host is None or ask.host.has(self.hostname)):
            return Refusal.REQUIREMENTS
        found: Step | Refusal = Refusal.REQUIREMENTS
        for volumes in ask.volumes:
            narrowed = memory.both(base, volumes)
            found = Refusal.REQUIREMENTS
            if narrowed is not None:
                found = self._within(narrowed, ask, topology, relax_values=relax_values)
            if isinstance(found, Step):
                break
        return found

    def may_hold(self, ask: Ask) -> bool:
        """Tell quickly, and at most too often that it may: is there room, and do rules about hosts allow it."""
        if not ask.host_rules.admits(self.hostname):
            return False
        wanted = tuple(map(int.__add__, self.amounts, ask.amounts))
        return bool(self.types & self.template.catalogue.fitting(wanted))

    def add(self, key: str, ask: Ask, step: Step, topology: Topology) -> None:
        """Put a pod on the claim, as `step` said."""
        self.requirements, self.types = step.requirements, step.types
        self.amounts = tuple(map(int.__add__, self.amounts, ask.amounts))
        self.pods.append(key)
        self._ports += ask.ports
        topology.register_host(self.hostname)
        topology.record(ask.shape, self._view(step.requirements))

    def requests(self) -> Resources:
        """Return what its pods ask for, with the least that DaemonSets take on the types that are left."""
        overheads = [group.amounts for group in self.template.daemons if group.types & self.types]
        least = [min(amounts) for amounts in zip(*overheads, strict=True)] or [0] * len(self.amounts)
        total = map(int.__add__, self.amounts, least)
        return Resources.of(
            {name: amount for name, amount in zip(self.template.resources, total, strict=True) if amount}
        )

    def _view(self, requirements: Requirements) -> NodeView:
        return NodeView(requirements, self.hostname, self.template.pool.taints)

    def _within(
        self, requirements: Requirements, ask: Ask, topology: Topology, *, relax_values: bool
    ) -> Step | Refusal:
        ruled = topology.narrowed(ask.shape, ask.hard, self._view(requirements))
        if ruled is None:
            return Refusal.TOPOLOGY
        if ruled is not requirements and requirements.conflict(ruled, may_be_undefined=WELL_KNOWN) is not None:
            return Refusal.REQUIREMENTS
        types = self._fitting(ask) & self.template.catalogue.usable(ruled)
        short = self.template.catalogue.short_of_values(types, ruled)
        if short and not relax_values:
            return Refusal.MIN_VALUES
        if not types:
            return of_types(self.template.catalogue, ruled, self._tried(ask))
        return Step(_with_values(ruled, short) if short else ruled, types)

    def _fitting(self, ask: Ask) -> TypeSet:
        found = 0
        for types, wanted in self._tried(ask):
            found |= types & self.template.catalogue.fitting(wanted)
        return found

    def _tried(self, ask: Ask) -> list[tuple[TypeSet, Amounts]]:
        """Return which types are asked for how much; those where a host port is taken are not."""
        if any(ports_conflict(mine, theirs) for mine in ask.ports for theirs in self._ports):
            return []
        wanted = tuple(map(int.__add__, self.amounts, ask.amounts))
        return [
            (self.types & group.types, tuple(map(int.__add__, wanted, group.amounts)))
            for group in self.template.daemons
            if not any(ports_conflict(mine, theirs) for mine in ask.ports for theirs in group.ports)
        ]


def ask_of(shape: PodShape, resources: Sequence[str], topology: Topology, *, respects_preferences: bool) -> Ask:
    """Return a pod ready to be tried; its rules must be known to *topology*."""
    wishes, host = hostname_part(pod_requirements(shape, with_preference=respects_preferences))
    return Ask(
        shape=shape,
        amounts=amounts_of(node_demand(shape), resources),
        wishes=wishes,
        hard=pod_requirements(shape, with_preference=False),
        host=host,
        host_rules=topology.host_rules(shape),
        ports=container_ports(shape),
        volumes=volume_requirements(shape),
    )


def container_ports(shape: PodShape) -> tuple[Port, ...]:
    """Return the host ports of a pod's containers; its init containers are not looked at."""
    if not any(container.ports for container in shape.containers):
        return ()
    return host_ports(msgspec.structs.replace(shape, init_containers=()))


def amounts_of(resources: Resources, names: Sequence[str]) -> Amounts:
    found = dict(resources.items())
    return tuple(found.get(name, 0) for name in names)


def resource_names(shapes: Sequence[PodShape]) -> tuple[str, ...]:
    """Return every resource that any of *shapes* asks for, in name order."""
    return tuple(sorted(set(itertools.chain.from_iterable(node_demand(shape).names() for shape in shapes)) | {PODS}))


def _with_values(requirements: Requirements, least: Mapping[str, int]) -> Requirements:
    return Requirements(
        tuple(
            msgspec.structs.replace(each, min_values=least[each.key]) if each.key in least else each
            for each in requirements.items
        )
    )
