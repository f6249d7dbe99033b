"""
The mix of Karpenter's own scheduling benchmark, through our planner and through our engine of Karpenter.

The original manages 574 pods a second at 100 pods, 490 at 1,000 and 418 at
5,000 on a machine with two cores (`scheduling_benchmark_test.go`, 400 types).

Up to 5,000 pods the planner replays its plan on the scheduler's model and adds
nodes for the pods that this strands; beyond, the next decision does. So at
10,000 pods the bench says, too, how many pods the scheduler would strand.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from autoscaler.model.plan import SetGroupSize
from autoscaler.model.pod import Phase, Pod
from autoscaler.model.policy import Headroom, Objective, ScalingPolicySpec, UpdateMode
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.model.units import GIB
from autoscaler.planning.budgets import DisruptionRoom
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.karpenter.claims import NodePool
from autoscaler.planning.karpenter.instance_types import type_option
from autoscaler.planning.karpenter.queue import WaitingPod
from autoscaler.planning.karpenter.solve import solve
from autoscaler.planning.node_layer import plan_nodes
from autoscaler.planning.offers import with_known_labels
from autoscaler.scheduling.simulation import Simulation
from autoscaler.scheduling.topology import ZONE
from tests.bench.karpenter_mix import instance_types, mixed_pods, node_groups

PODS = 10_000
SIZES = (100, 1000, PODS)
ZONES = ("test-zone-1", "test-zone-2", "test-zone-3")
LEAST_PODS_PER_SECOND = 5000.0


def run(*, sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Return one row for each figure; at the largest size the planner must be fast, and no worse than Karpenter."""
    planned(100)
    rows: list[dict[str, Any]] = []
    for pods in sizes:
        their_seconds, theirs, their_usd = solved(pods)
        seconds, ours, usd = planned(pods)
        their_nodes, nodes, judged = sum(theirs.values()), sum(ours.values()), pods == sizes[-1]
        name = f"karpenter_mix_{pods}"
        rows += [
            _row(f"{name}_engine_speed", pods / their_seconds, "pods_per_cpu_second"),
            _row(f"{name}_engine_nodes", their_nodes, "nodes"),
            _row(f"{name}_engine_price", their_usd, "usd_per_hour"),
            _row(f"{name}_planner_speed", pods / seconds, "pods_per_cpu_second")
            | ({"limit": LEAST_PODS_PER_SECOND, "ok": pods / seconds >= LEAST_PODS_PER_SECOND} if judged else {}),
            _row(f"{name}_planner_nodes", nodes, "nodes", their_nodes if judged else None),
            _row(f"{name}_planner_price", usd, "usd_per_hour", their_usd if judged else None),
        ]
        if judged:
            rows += [
                _row(f"{name}_engine_stranded", stranded(pods, theirs), "pods"),
                _row(f"{name}_planner_stranded", stranded(pods, ours), "pods"),
            ]
    return rows


def solved(pods: int) -> tuple[float, dict[str, int], float]:
    """Return CPU seconds, nodes by group and USD an hour of Karpenter's way, as our engine goes it."""
    pool = NodePool(
        name="default",
        limits=Resources.of(cpu=10**10, memory=10**7 * GIB),
        types=tuple(map(type_option, instance_types())),
    )
    waiting = [WaitingPod(key=f"pod-{number:06d}", shape=shape) for number, shape in enumerate(mixed_pods(pods))]
    started = time.process_time()
    solution = solve(waiting, [pool])
    seconds = time.process_time() - started
    assert not solution.refused
    nodes: dict[str, int] = {}
    for number, claim in enumerate(solution.claims):
        zone = claim.requirements.get(ZONE)
        zones = sorted(zone.values) if zone is not None and not zone.complement else ZONES
        group = f"{claim.cheapest}.{zones[number % len(zones)]}.on-demand"
        nodes[group] = nodes.get(group, 0) + 1
    return seconds, nodes, sum(claim.usd_per_hour for claim in solution.claims)


def planned(pods: int) -> tuple[float, dict[str, int], float]:
    """Return CPU seconds, nodes by group and USD an hour of our planner, from the snapshot on."""
    snapshot = ClusterSnapshot(
        observed_at=1000.0,
        pods=tuple(
            Pod(name=f"pod-{number:06d}", shape=shape, phase=Phase.PENDING, unschedulable_since=900.0)
            for number, shape in enumerate(mixed_pods(pods))
        ),
        node_groups=node_groups(),
    )
    rules = ScalingPolicySpec(mode=UpdateMode.AUTO, objective=Objective(headroom=Headroom(nodes="Off")))
    started = time.process_time()
    plan = plan_nodes(
        SnapshotIndex(snapshot), rules, DecisionState(), parts={}, advice=(), room=DisruptionRoom(nodes=0, pods=0)
    )
    seconds = time.process_time() - started
    assert not plan.notes
    sizes = [action for action in plan.actions if isinstance(action, SetGroupSize)]
    return seconds, {each.group: each.size - each.expected for each in sizes}, sum(each.usd_per_hour for each in sizes)


def stranded(pods: int, nodes: Mapping[str, int]) -> int:
    """Return how many pods find no room when the scheduler places them, arriving mixed, on these nodes by group."""
    templates = {group.name: with_known_labels(group) for group in node_groups()}
    simulation = Simulation.of(())
    for name, count in sorted(nodes.items()):
        for number in range(count):
            simulation.add_node(templates[name], f"{name}-{number:05d}")
    return sum(simulation.place_mixed(list(Counter(mixed_pods(pods)).items()), waves=8))


def _row(name: str, value: float, unit: str, limit: float | None = None) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "limit": limit, "ok": limit is None or value <= limit}
