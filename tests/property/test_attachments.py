"""Attach limits as resources against the exact rule, on random volumes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.pod import Pod
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.volumes import AttachLimits, PersistentVolume, VolumeClaim, Volumes
from autoscaler.planning.volume_places import with_volume_terms
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.predicates import filter_nodes
from autoscaler.scheduling.simulation import Simulation
from autoscaler.testing.builders import make_node, make_pod, make_shape, make_snapshot

DRIVERS = ("ebs", "efs")
CLAIMS = tuple(f"data-{number}" for number in range(6))
VOLUMES = tuple(
    PersistentVolume(name=name, csi_driver=DRIVERS[number % 2], csi_handle=name) for number, name in enumerate(CLAIMS)
)
NODES = ("node-1", "node-2", "node-3")
used = st.lists(st.sampled_from(CLAIMS), max_size=3, unique=True)
limits = st.dictionaries(st.sampled_from(DRIVERS), st.integers(0, 3))


def pod(name: str, claims: list[str], node: str = "") -> Pod:
    return make_pod(name, shape=make_shape(claims=tuple(claims), cpu=1, memory=1), node=node)


def cluster(placed: list[tuple[str, list[str]]], waiting: list[str], of_nodes: list[dict[str, int]]) -> ClusterSnapshot:
    pods = [pod(f"web-{number}", claims, node) for number, (node, claims) in enumerate(placed)]
    stated = zip(NODES, of_nodes, strict=False)
    return make_snapshot(
        nodes=[make_node(name) for name in NODES],
        pods=[*pods, pod("web-waiting", waiting)],
        volumes=Volumes(
            volumes=VOLUMES,
            claims=tuple(VolumeClaim(namespace="default", name=name, volume=name, bound=True) for name in CLAIMS),
            attach_limits=tuple(AttachLimits(node=name, limits=tuple(sorted(each.items()))) for name, each in stated),
        ),
    )


@settings(max_examples=60, deadline=None)
@given(
    placed=st.lists(st.tuples(st.sampled_from(NODES), used), max_size=6),
    waiting=used,
    of_nodes=st.lists(limits, max_size=3),
)
def test_as_exact_as_can_be_and_never_looser(
    placed: list[tuple[str, list[str]]], waiting: list[str], of_nodes: list[dict[str, int]]
) -> None:
    snapshot = cluster(placed, waiting, of_nodes)
    context = SchedulingContext(snapshot.nodes, snapshot.pods, volumes=snapshot.volumes)
    exact = filter_nodes(snapshot.pods[-1].shape, context)
    counted = with_volume_terms(snapshot)
    simulation = Simulation.of(counted.nodes, counted.pods)
    feasible = simulation.feasible(counted.pods[-1].shape)
    for name in NODES:
        shared = any(node == name and not set(claims).isdisjoint(waiting) for node, claims in placed)
        planned = bool(feasible[simulation.row(name)])
        assert not planned or exact[name].feasible
        assert shared or planned == exact[name].feasible
