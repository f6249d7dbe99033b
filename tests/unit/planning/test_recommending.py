from __future__ import annotations

import msgspec
import pytest

from autoscaler.interfaces import WorkloadView
from autoscaler.model.readings import Signal, SignalKind
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.state import DecisionState
from autoscaler.model.units import GIB
from autoscaler.planning.effective import effective_policies
from autoscaler.planning.index import SnapshotIndex, in_order
from autoscaler.planning.reaction import boot_seconds
from autoscaler.planning.recommending import recommend_all, wanted_signals
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.recommend.joint import JointRecommender
from autoscaler.recommend.joint_view import JointMemory, JointParams
from autoscaler.testing.builders import make_group, make_node, make_pod
from tests.unit.planning.decisions import cluster, key, mpa, policies


class Watching(JointRecommender):
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[WorkloadView] = []

    def recommend(
        self, view: WorkloadView, params: JointParams, memory: JointMemory
    ) -> tuple[Recommendation, JointMemory]:
        self.seen.append(view)
        return super().recommend(view, params, memory)


def test_an_engine_is_shown_its_workload_alone() -> None:
    engine = Watching()
    snapshot = cluster({"api": (2, 1.0), "web": (3, 1.0)}, period=15.0, metrics_delay=30.0)
    index = SnapshotIndex(snapshot)
    recommend_all(index, effective_policies(snapshot, policies()), DecisionState(), {"joint": engine})
    view = engine.seen[1]
    assert view.workload.name == "web"
    assert [pod.name for pod in view.pods] == ["web-0", "web-1", "web-2"]
    # Metrics delay, period, start and settling; and a node's boot on top.
    assert (view.reaction_seconds, view.node_seconds) == (30 + 15 + 60 + 60, 165 + 90)
    assert view.headroom == 0.95


def test_a_measured_start_replaces_the_assumed_one() -> None:
    engine = Watching()
    snapshot = cluster({"web": (3, 1.0)})
    quick = tuple(msgspec.structs.replace(each, start_seconds=5.0) for each in snapshot.workloads)
    snapshot = msgspec.structs.replace(snapshot, workloads=quick)
    recommend_all(SnapshotIndex(snapshot), effective_policies(snapshot, policies()), DecisionState(), {"joint": engine})
    assert engine.seen[0].reaction_seconds == 110.0


def test_signals_are_asked_for_once_and_only_for_what_is_governed() -> None:
    snapshot = cluster({"api": (2, 1.0), "web": (3, 1.0)})
    off = msgspec.structs.replace(policies(), mpas=(mpa("api", policy={"updateMode": "Off"}),))
    wanted = wanted_signals(snapshot, effective_policies(snapshot, off), BUILT_IN)
    assert Signal(key("web"), SignalKind.CPU) in wanted
    assert len(set(wanted)) == len(wanted)
    assert not [signal for signal in wanted if signal.workload == key("api")]


def test_the_index_counts_what_runs_and_what_waits() -> None:
    extra = [
        make_pod("gone", deleted_at=1.0, workload=key("web")),
        make_pod("done", phase="Succeeded", workload=key("web")),
        make_pod("lost", node="", workload=""),
    ]
    snapshot = cluster({"web": (3, 1.0)}, waiting=1)
    index = SnapshotIndex(in_order(msgspec.structs.replace(snapshot, pods=(*snapshot.pods, *extra))))
    assert index.active_pods(key("web")) == 3
    assert len(index.pods_of(key("web"))) == 5
    assert [pod.name for pod in index.waiting] == ["lost", "web-2"]
    assert index.active_pods("unheard") == 0
    assert index.pods_of("unheard") == ()


@pytest.mark.parametrize("wanted", ["gated", "daemon"])
def test_pods_that_do_not_wait_for_a_node(wanted: str) -> None:
    snapshot = cluster({"web": (1, 1.0)}, waiting=1)
    changes = {"gated": True} if wanted == "gated" else {"owner_kind": "DaemonSet"}
    shape = msgspec.structs.replace(snapshot.pods[0].shape, **changes)
    pods = (msgspec.structs.replace(snapshot.pods[0], shape=shape),)
    assert SnapshotIndex(msgspec.structs.replace(snapshot, pods=pods)).waiting == []


def test_the_largest_node_is_the_largest_of_each_resource() -> None:
    snapshot = cluster(
        {}, nodes=0, node_groups=[make_group(cpu=8000, memory=8 * GIB)], workloads=[], pods=[], readings={}
    )
    snapshot = msgspec.structs.replace(snapshot, nodes=(make_node(cpu=2000, memory=64 * GIB),))
    assert SnapshotIndex(snapshot).largest_node() == Resources.of(cpu=8000, memory=64 * GIB, pods=58)
    assert boot_seconds(()) == 90.0


def test_order_is_restored_and_kept() -> None:
    snapshot = cluster({"api": (2, 1.0), "web": (3, 1.0)})
    assert in_order(snapshot) is snapshot
    turned = msgspec.structs.replace(snapshot, pods=snapshot.pods[::-1], workloads=snapshot.workloads[::-1])
    assert in_order(turned) == snapshot
