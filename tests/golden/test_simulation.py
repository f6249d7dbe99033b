"""Placement on columns against kube-scheduler's own answers: feasible nodes and total scores."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from autoscaler.kube import decode
from autoscaler.model.placement import TopologySpread
from autoscaler.model.pod import PodShape, ShapeInterner
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.simulation import Simulation
from autoscaler.scheduling.topology import default_constraints
from tests.golden.vectors import Case, check_set

SETS = ("filter", "score", "topology_spread_mixed", "inter_pod_affinity")
"""All features together, scores, and the two themes where pods bear on one another. Volumes are not for columns."""


@pytest.mark.parametrize("name", SETS)
def test_set(name: str) -> None:
    check_set(f"scheduler_{name}", _check)


def _check(case: Case) -> str:
    simulation, shape = _simulation(case)
    mask, expected = simulation.feasible(shape), case["expected"]
    feasible = sorted(simulation.names[row] for row in np.flatnonzero(mask).tolist())
    if feasible != expected["feasible_nodes"]:
        return f"feasible {feasible}, expected {expected['feasible_nodes']}"
    if "ranking" in expected:
        scores = simulation.scores(shape)
        totals = {name: int(scores[simulation.row(name)]) for name in feasible}
        wanted = {name: node["total"] for name, node in expected["nodes"].items()}
        if totals != wanted:
            return f"totals {totals}, expected {wanted}"
    return ""


def _simulation(case: Case) -> tuple[Simulation, PodShape]:
    given, shapes = case["input"], ShapeInterner()
    incoming = decode.decode_pod(given["pod"], shapes=shapes)
    nodes = [decode.decode_node(each) for each in given["nodes"]]
    existing = given.get("pods") or given.get("existing_pods") or ()
    pods = [decode.decode_pod(each, shapes=shapes) for each in existing]
    namespaces = [decode.decode_namespace(each) for each in given.get("namespaces", ())]
    services = [decode.decode_service(each) for each in given.get("services", ())]
    context = SchedulingContext(nodes, pods, services=services)

    def built_in(shape: PodShape) -> tuple[TopologySpread, ...]:
        return default_constraints(shape, incoming.workload, context)

    simulation = Simulation.of(nodes, pods, namespaces=namespaces, default_spread=built_in)
    return simulation, msgspec.structs.replace(incoming.shape, node_name=incoming.node)
