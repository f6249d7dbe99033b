"""New nodes are not empty: DaemonSets take their share, those that would come there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.node import NodeGroup
from autoscaler.model.placement import Effect, Taint, Toleration, labels_of
from autoscaler.model.plan import SetGroupSize
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.model.units import MIB
from autoscaler.model.workload import Workload
from autoscaler.planning.daemon_share import with_daemon_share
from autoscaler.planning.decide import decide
from autoscaler.planning.explain import explain_pod
from autoscaler.testing.builders import make_group, make_pod, make_shape, make_snapshot, make_workload
from tests.unit.planning.decisions import policies

GPU = Taint("gpu", Effect.NO_SCHEDULE)


def daemon(name: str = "agent", **fields: Any) -> Workload:
    shape = make_shape(name, namespace="kube-system", cpu=200, memory=128 * MIB, **fields)
    return make_workload(name, namespace="kube-system", kind="DaemonSet", replicas=0, template=shape)


def group(name: str = "m", **template: Any) -> NodeGroup:
    made = make_group(name, size=0)
    return msgspec.structs.replace(made, template=msgspec.structs.replace(made.template, **template))


def share(workload: Workload, of: NodeGroup) -> Resources:
    (found,) = with_daemon_share(make_snapshot(node_groups=(of,), workloads=(workload,))).node_groups
    return found.template.overhead


ONE = Resources.of(cpu=200, memory=128 * MIB, pods=1)


@pytest.mark.parametrize(
    ("fields", "template", "expected"),
    [
        pytest.param({}, {}, ONE, id="it-comes-to-every-node"),
        pytest.param({}, {"overhead": Resources.of(cpu=1)}, Resources.of(cpu=1), id="the-group-states-its-own"),
        pytest.param({}, {"taints": (GPU,)}, NOTHING, id="a-taint-keeps-it-away"),
        pytest.param({"tolerations": (Toleration("gpu", "Exists"),)}, {"taints": (GPU,)}, ONE, id="tolerated"),
        pytest.param(
            {},
            {"taints": (Taint("node.kubernetes.io/not-ready", Effect.NO_EXECUTE),)},
            ONE,
            id="the-controller-tolerates-trouble",
        ),
        pytest.param({"node_selector": labels_of({"disk": "ssd"})}, {}, NOTHING, id="another-label"),
        pytest.param(
            {"node_selector": labels_of({"node.kubernetes.io/instance-type": "m.xl"})},
            {},
            ONE,
            id="a-label-of-the-cloud",
        ),
    ],
)
def test_which_daemon_sets_come(fields: dict[str, Any], template: dict[str, Any], expected: Resources) -> None:
    assert share(daemon(**fields), group(**template)) == expected


def test_shares_add_up_and_other_workloads_have_none() -> None:
    workloads = (daemon(), daemon("logs"), make_workload("web"))
    (found,) = with_daemon_share(make_snapshot(node_groups=(group(),), workloads=workloads)).node_groups
    assert found.template.overhead == ONE + ONE


def test_nothing_changes_without_daemon_sets() -> None:
    snapshot = make_snapshot(node_groups=(group(),), workloads=(make_workload(),))
    assert with_daemon_share(snapshot) is snapshot


def waiting(*workloads: Workload) -> ClusterSnapshot:
    """Return a pod that a machine of four cores holds only if there is nothing else on it."""
    pod = make_pod("big", shape=make_shape("big", cpu=3900), node="", workload="")
    return make_snapshot(node_groups=(group(),), pods=(pod,), workloads=workloads)


@pytest.mark.parametrize("engine", ["joint", "cluster-autoscaler", "karpenter"])
def test_a_machine_that_daemon_sets_leave_too_small_is_not_bought(engine: str) -> None:
    def bought(snapshot: ClusterSnapshot) -> list[int]:
        decision = decide(snapshot, policies(mode="Auto", nodes={"engine": engine}), DecisionState())
        return [action.size for action in decision.plan.actions if isinstance(action, SetGroupSize)]

    assert bought(waiting()) == [1]
    assert bought(waiting(daemon())) == []


def test_the_explanation_counts_them_too() -> None:
    snapshot = waiting(daemon())
    (obstacle,) = explain_pod(snapshot, snapshot.pods[0]).obstacles
    assert (obstacle.where, obstacle.why) == (("group m",), "cpu short by 0.1")
