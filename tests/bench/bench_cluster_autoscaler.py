"""
CPU seconds of the Cluster Autoscaler engine: its own benchmark, and whole turns on a large cluster.

The peer takes 3.8 to 4.2 s for the estimate on a two-core machine
(`estimator/binpacking_estimator_test.go`, BenchmarkBinpackingEstimate: 51,000
pods in two groups on one kind of machine). A steady turn finds no pod that
waits; in a busy one 1 % of the pods do, and in a sparse one two thirds of the
pods of every other node are gone, so that a removal of each of these is tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from autoscaler.model.node import NodeTemplate
from autoscaler.model.policy import NodeEngine, NodeRules, ScalingPolicySpec, UpdateMode
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.cluster_autoscaler.estimator import estimate
from autoscaler.planning.cluster_autoscaler.pod_groups import PodGroup
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.node_engines import plan_nodes
from autoscaler.planning.node_layer import NodePlan
from autoscaler.scheduling.simulation import Simulation
from autoscaler.testing.builders import make_shape
from tests.bench.clusters import Draw, make_cluster

T = TypeVar("T")
NODES = 5000
ESTIMATE_LIMIT, TURN_LIMIT = 0.5, 3.0
MACHINE = NodeTemplate(instance_type="m", allocatable=Resources.of(cpu=1000, memory=5000, pods=100))
RULES = ScalingPolicySpec(mode=UpdateMode.AUTO, nodes=NodeRules(engine=NodeEngine.CLUSTER_AUTOSCALER))


def run() -> list[dict[str, object]]:
    """Return the figures."""
    groups = [
        PodGroup(shape=make_shape(name, cpu=cpu, memory=2 * cpu), count=count)
        for name, cpu, count in (("one", 50, 50_000), ("two", 95, 1_000))
    ]
    took, found = _timed(lambda: estimate(groups, MACHINE, Simulation.of(()), max_nodes=3000))
    rows = [
        _row("cluster_autoscaler_estimate_51000_pods", took, "s CPU", ESTIMATE_LIMIT),
        _row("cluster_autoscaler_estimate_nodes", found.nodes, "nodes", None),
    ]
    cluster = make_cluster(Draw(nodes=NODES))
    cycles = {
        "steady": cluster,
        "busy": make_cluster(Draw(nodes=NODES, waiting=0.01)),
        "sparse": _thinned(cluster),
    }
    for cycle, snapshot in cycles.items():
        took, plan = _timed(partial(_turn, snapshot))
        rows.append(_row(f"cluster_autoscaler_{cycle}_{NODES}_nodes", took, "s CPU", TURN_LIMIT))
        rows.append(_row(f"cluster_autoscaler_{cycle}_remembered", len(plan.memory), "nodes", None))
    return rows


def _turn(snapshot: ClusterSnapshot) -> NodePlan:
    room = DisruptionRoom(nodes=500, pods=5000)
    return plan_nodes(SnapshotIndex(snapshot), RULES, DecisionState(), parts={}, advice=(), room=room)


def _thinned(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    odd = {node.name for number, node in enumerate(snapshot.nodes) if number % 2}
    pods = [pod for number, pod in enumerate(snapshot.pods) if pod.node not in odd or number % 3 == 0]
    return msgspec.structs.replace(snapshot, pods=tuple(pods))


def _timed(act: Callable[[], T]) -> tuple[float, T]:
    begun = time.process_time()
    found = act()
    return time.process_time() - begun, found


def _row(name: str, value: float, unit: str, limit: float | None) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "limit": limit, "ok": limit is None or value <= limit}
