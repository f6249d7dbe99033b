"""Placement and scale-down at the size of the reference cluster, in CPU seconds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from autoscaler.model.node import Node
from autoscaler.model.placement import Affinity, LabelSelector, PodTerm, TopologySpread, labels_of
from autoscaler.model.pod import Container, Pod, PodShape
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot, Prices
from autoscaler.model.state import DecisionState
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.drain import plan_removals
from autoscaler.planning.removals import RemovalPlan, RemovalRules
from autoscaler.planning.upcoming import planning_simulation
from autoscaler.scheduling.simulation import Simulation
from autoscaler.testing.builders import make_group

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
GIB = 1 << 30
NODES, PODS, WORKLOADS = 5_000, 150_000, 3_000
NOW = 1_700_000_000.0


def run() -> list[dict[str, Any]]:
    """Return one row a figure; limits are those of the issue where it names one."""
    generator = random.Random(1)
    nodes = [_node(number, 16_000, 64) for number in range(NODES)]
    shapes = [_shape(f"w{number}", generator) for number in range(WORKLOADS)]
    pods = [
        Pod(name=f"p{number}", shape=shapes[number % WORKLOADS], node=f"n{generator.randrange(NODES):04}")
        for number in range(PODS)
    ]
    rows: list[dict[str, Any]] = []
    simulation = _timed(rows, "simulation of 5,000 nodes and 150,000 pods", 0.5, lambda: Simulation.of(nodes, pods))
    _timed(rows, "fork of it", 0.01, simulation.fork)
    pending = [(_shape(f"x{number}", generator), 50) for number in range(60)]
    fork = simulation.fork()
    placed = _timed(rows, "any fit for 3,000 pods of 60 classes", 0.05, lambda: _fill(fork, pending))
    rows.append(_row("of them placed", placed, "pods", None))
    spread = [(_constrained(f"s{number}", generator), 50) for number in range(60)]
    fork = simulation.fork()
    placed = _timed(rows, "the same with zone spread and host anti-affinity", 1.0, lambda: _fill(fork, spread))
    rows.append(_row("of them placed", placed, "pods", None))
    _whole_cluster(rows, generator)
    _small_cluster(rows, generator)
    _removals(rows, nodes, pods)
    return rows


def _whole_cluster(rows: list[dict[str, Any]], generator: random.Random) -> None:
    """150,000 pods of 300 classes onto 3,300 empty nodes, as the scheduler would."""
    demand = [(_shape(f"c{number}", generator), 500) for number in range(300)]
    nodes = [_node(number, 16_000, 64) for number in range(3_300)]
    empty = Simulation.of(nodes)
    one, many = empty.fork(), empty.fork()
    stuck = _timed(rows, "150,000 pods placed class by class", 4.0, lambda: sum(one.place_mixed(demand, waves=1)))
    rows.append(_row("of them stranded", stuck, "pods", None))
    stuck = _timed(rows, "150,000 pods placed in 16 waves", 8.0, lambda: sum(many.place_mixed(demand)))
    rows.append(_row("of them stranded", stuck, "pods", None))


def _small_cluster(rows: list[dict[str, Any]], generator: random.Random) -> None:
    """The simulated cluster's steps: a few pods on 60 nodes, thousands of times."""
    cluster = Simulation.of([_node(number, 16_000, 64) for number in range(60)])
    shape = _shape("step", generator)

    def steps() -> None:
        for _ in range(1_000):
            for row in cluster.place(shape, 3):
                cluster.remove_pod(shape, row)

    began = time.process_time()
    steps()
    rows.append(_row("step of 3 pods on 60 nodes", (time.process_time() - began) * 1e3, "us", 300))


def _removals(rows: list[dict[str, Any]], nodes: list[Node], pods: list[Pod]) -> None:
    snapshot = ClusterSnapshot(
        observed_at=NOW,
        nodes=tuple(nodes),
        pods=tuple(pods),
        node_groups=(make_group("g", size=NODES, max_size=10_000),),
        prices=Prices(usd_per_core_hour=0.04, usd_per_gib_hour=0.005),
    )
    simulation = planning_simulation(snapshot)

    def plan() -> RemovalPlan:
        return plan_removals(
            snapshot,
            simulation,
            DecisionState(),
            rules=RemovalRules(),
            budget=DisruptionRoom(nodes=500, pods=7_500),
            buy=lambda demand: ((("g", 5),), 0.2 * 5),
        )

    found = _timed(rows, "a cycle with a round of consolidation of 100 candidates", 0.5, plan)
    rows.append(_row("nodes to remove", len(found.memory), "nodes", None))


def _fill(simulation: Simulation, demand: list[tuple[PodShape, int]]) -> int:
    return sum(pods for shape, count in demand for _, pods in simulation.fill(shape, count))


def _timed(rows: list[dict[str, Any]], name: str, limit: float, work: Callable[[], Any]) -> Any:
    began = time.process_time()
    result = work()
    rows.append(_row(name, round(time.process_time() - began, 4), "s", limit))
    return result


def _row(name: str, value: float, unit: str, limit: float | None) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "limit": limit, "ok": limit is None or value <= limit}


def _node(number: int, cpu: int, gib: int) -> Node:
    return Node(
        name=f"n{number:04}",
        allocatable=Resources.of(cpu=cpu, memory=gib * GIB, pods=110),
        labels=labels_of({ZONE: f"z{number % 3}", HOST: f"n{number:04}"}),
        group="g",
        usd_per_hour=0.8,
        created_at=NOW - 86_400,
        ready_since=NOW - 86_000,
    )


def _shape(name: str, generator: random.Random, **fields: Any) -> PodShape:
    requests = Resources.of(cpu=generator.randint(1, 12) * 50, memory=generator.randint(1, 16) * (GIB // 8))
    return PodShape(
        namespace=f"ns{len(name) % 7}{name[-1]}",
        labels=labels_of({"app": name}),
        containers=(Container(name="c", requests=requests),),
        owner_kind="ReplicaSet",
        **fields,
    )


def _constrained(name: str, generator: random.Random) -> PodShape:
    own = LabelSelector((("app", name),))
    return _shape(
        name,
        generator,
        spread=(TopologySpread(max_skew=1, topology_key=ZONE, selector=own),),
        affinity=Affinity(pod_anti_required=(PodTerm(HOST, own),)),
    )


if __name__ == "__main__":
    for each in run():
        print(f"{each['name']:58} {each['value']:>12} {each['unit']:6} limit {each['limit']}")
