"""
The simulated cluster as a controller's reader sees it: pods, nodes, workloads, budgets.

Values that did not change since the last look are the same objects, so that a
look costs what changed.
"""

from __future__ import annotations

import bisect
from operator import attrgetter, itemgetter

from autoscaler.model.node import Node
from autoscaler.model.pod import ContainerStatus, Phase, Pod, ReadyCondition, Resize
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.workload import DisruptionBudget, Namespace, Workload
from autoscaler.simulator import controllers
from autoscaler.simulator.fleet import Fleet
from autoscaler.simulator.tables import PENDING, READY
from autoscaler.simulator.world import World


class SimCluster:
    """
    ClusterReader on a `World`.

    DaemonSet pods are shown as pods, one set on each node, so the snapshot's
    own `daemon_overhead` is empty. Nodes still booting are not in the cluster.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._pods: dict[int, Pod] = {}
        self._nodes: dict[str, Node] = {}
        self._daemons: dict[str, tuple[Pod, ...]] = {}
        self._workloads: dict[int, Workload] = {}
        self._budgets: dict[int, DisruptionBudget] = {}
        self._sorted_nodes: tuple[Node, ...] = ()
        self._sorted_daemons: tuple[Pod, ...] = ()
        services = sorted(world.fleets, key=lambda fleet: fleet.key)
        self._by_key = tuple(fleet.index for fleet in services)
        by_name = sorted(world.fleets, key=lambda fleet: (fleet.service.namespace, fleet.service.name))
        self._by_name = tuple(fleet.index for fleet in by_name)
        names = {fleet.service.namespace for fleet in services} | {"kube-system"}
        self._namespaces = tuple(Namespace(name) for name in sorted(names))
        world.changed_pods.update(row for _, _, row in world.order)
        world.changed_nodes.update(world.nodes.row_of)
        world.changed_fleets.update(range(len(world.fleets)))

    async def observe(self, at: float) -> ClusterSnapshot:
        """Return the cluster as it is now; *at* becomes `observed_at`."""
        self._refresh()
        world = self._world
        own = tuple(map(self._pods.__getitem__, map(itemgetter(2), world.order)))
        return ClusterSnapshot(
            observed_at=at,
            pods=_merge(own, self._sorted_daemons),
            nodes=self._sorted_nodes,
            workloads=tuple(self._workloads[index] for index in self._by_key),
            disruption_budgets=tuple(self._budgets[index] for index in self._by_name if index in self._budgets),
            namespaces=self._namespaces,
            daemon_overhead=Resources(),
            period=world.spec.period_seconds,
            metrics_delay=world.spec.delays.metrics_seconds,
            name=world.spec.name,
        )

    def _refresh(self) -> None:
        world = self._world
        for row in world.changed_pods:
            if world.pods.shapes[row] is None:
                self._pods.pop(row, None)
            else:
                self._pods[row] = self._pod(row)
        if world.changed_nodes:
            self._refresh_nodes()
        for index in world.changed_fleets:
            fleet = world.fleets[index]
            self._workloads[index] = self._workload(fleet)
            self._refresh_budget(fleet)
        for changed in (world.changed_pods, world.changed_nodes, world.changed_fleets):
            changed.clear()

    def _refresh_nodes(self) -> None:
        world = self._world
        for name in world.changed_nodes:
            row = world.nodes.row_of.get(name)
            if row is None:
                self._nodes.pop(name, None)
                self._daemons.pop(name, None)
                continue
            node = self._nodes[name] = world.nodes.node(row)
            if name not in self._daemons:
                self._daemons[name] = self._daemon_pods(node)
        self._sorted_nodes = tuple(self._nodes[name] for name in sorted(self._nodes))
        self._sorted_daemons = tuple(
            sorted((pod for pods in self._daemons.values() for pod in pods), key=lambda pod: pod.name)
        )

    def _daemon_pods(self, node: Node) -> tuple[Pod, ...]:
        return tuple(
            Pod(
                name=f"agent{number or ''}-{node.name}",
                uid=f"{node.instance_id}-{number}",
                shape=shape,
                node=node.name,
                created_at=node.ready_since,
                started_at=node.ready_since,
                ready=ReadyCondition("True", node.ready_since),
            )
            for number, shape in enumerate(self._world.daemons)
        )

    def _pod(self, row: int) -> Pod:
        world, pods = self._world, self._world.pods
        state, placed_at = int(pods.state[row]), float(pods.placed_at[row])
        if state == PENDING:
            ready = None
        elif state == READY:
            ready = ReadyCondition("True", float(pods.ready_at[row]))
        else:
            ended = world.terminations.get(row)
            ready = ReadyCondition("False", placed_at if ended is None else ended.finished_at)
        ended = world.terminations.get(row)
        return Pod(
            name=pods.names[row],
            shape=pods.shape_of(row),
            uid=f"{int(pods.serial[row]):012d}",
            workload=world.fleets[pods.service[row]].key,
            node="" if state == PENDING else world.nodes.node(int(pods.node[row])).name,
            phase=Phase.PENDING if state == PENDING else Phase.RUNNING,
            created_at=float(pods.created_at[row]),
            started_at=None if state == PENDING else placed_at,
            ready=ready,
            unschedulable_since=world.waiting_since.get(row),
            deletion_cost=int(pods.deletion_cost[row]),
            restarts=int(pods.restarts[row]),
            resize=self._resize(row),
            terminations=() if ended is None else (ended,),
        )

    def _resize(self, row: int) -> Resize | None:
        waiting = self._world.resizes.get(row)
        if waiting is None:
            return None
        container = waiting.allocated.containers[0]
        status = ContainerStatus(name=container.name, allocated=container.requests, actual=container.requests)
        return Resize(state=waiting.state, since=waiting.since, containers=(status,))

    def _workload(self, fleet: Fleet) -> Workload:
        service = fleet.service
        return Workload(
            namespace=service.namespace,
            kind=service.kind,
            name=service.name,
            replicas=fleet.replicas,
            status_replicas=self._world.pods.count(fleet.index),
            template=fleet.template,
            selector=fleet.selector,
            labels=fleet.selector.match_labels,
            revision=fleet.revision,
            changed_at=fleet.changed_at,
            start_seconds=service.start_seconds,
            parallelism=service.parallelism if service.declares_parallelism else 0.0,
            scalable=service.scalable and service.replica_series is None,
        )

    def _refresh_budget(self, fleet: Fleet) -> None:
        allowed = controllers.disruptions_allowed(self._world, fleet)
        if allowed is not None:
            self._budgets[fleet.index] = DisruptionBudget(
                namespace=fleet.service.namespace,
                name=fleet.service.name,
                allowed=allowed,
                selector=fleet.selector,
            )


def _merge(own: tuple[Pod, ...], daemons: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """Put kube-system's pods where they belong by namespace; no service lives there, so they stay together."""
    if not daemons:
        return own
    at = bisect.bisect_left(own, "kube-system", key=attrgetter("namespace"))
    return own[:at] + daemons + own[at:]
