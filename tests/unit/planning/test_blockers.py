"""What forbids a removal, with the peer's word for it and the object that blocks."""

from __future__ import annotations

import pytest

from autoscaler.model.node import Node
from autoscaler.model.placement import LabelSelector
from autoscaler.model.pod import Container, Phase, Pod, PodShape
from autoscaler.model.reasons import Code
from autoscaler.model.workload import DisruptionBudget
from autoscaler.planning.blockers import EvictionRules, Headroom, must_move, node_blocker, pod_blocker
from autoscaler.testing.builders import NOW, make_group, make_node, make_pod

WEB = LabelSelector((("app", "web"),))


def budget(allowed: int, name: str = "web", selector: LabelSelector | None = WEB) -> DisruptionBudget:
    return DisruptionBudget(namespace="default", name=name, allowed=allowed, selector=selector)


def shape(**fields: object) -> PodShape:
    defaults: dict[str, object] = {"namespace": "default", "owner_kind": "ReplicaSet", "labels": (("app", "web"),)}
    return PodShape(containers=(Container(name="c"),), **{**defaults, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pod", "rules", "reason", "target"),
    [
        pytest.param(make_pod(), {}, "", "", id="an-ordinary-pod-may-go"),
        pytest.param(
            make_pod(do_not_evict="karpenter.sh/do-not-disrupt"),
            {},
            "NotSafeToEvictAnnotation",
            "pod/default/web-1",
            id="annotation",
        ),
        pytest.param(make_pod(shape=shape(owner_kind="")), {}, "NotReplicated", "pod/default/web-1", id="bare-pod"),
        pytest.param(make_pod(shape=shape(owner_kind="")), {"unowned": True}, "", "", id="bare-pod-allowed"),
        pytest.param(
            make_pod(shape=shape(local_storage=True)), {}, "LocalStorageRequested", "pod/default/web-1", id="local-data"
        ),
        pytest.param(
            make_pod(shape=shape(local_storage=True)), {"local_storage": True}, "", "", id="local-data-allowed"
        ),
        pytest.param(
            make_pod("dns", shape=shape(namespace="kube-system")),
            {},
            "UnmovableKubeSystemPod",
            "pod/kube-system/dns",
            id="system-pod-without-a-budget",
        ),
        pytest.param(
            make_pod(shape=shape(owner_kind="DaemonSet", local_storage=True)), {}, "", "", id="daemons-never-block"
        ),
        pytest.param(make_pod(shape=shape(owner_kind="Node")), {}, "", "", id="mirror-pods-never-block"),
        pytest.param(make_pod(phase=Phase.SUCCEEDED, do_not_evict="x"), {}, "", "", id="ended-pods-never-block"),
        pytest.param(make_pod(deleted_at=NOW, do_not_evict="x"), {}, "", "", id="deleted-pods-never-block"),
    ],
)
def test_pod_blocker(pod: Pod, rules: dict[str, bool], reason: str, target: str) -> None:
    blocker = pod_blocker(pod, Headroom([budget(1)]), EvictionRules(**rules))
    assert (blocker.reason if blocker else "", blocker.target if blocker else "") == (reason, target)
    assert blocker is None or must_move(pod)


def test_headroom_is_used_up() -> None:
    headroom, pod = Headroom([budget(1), budget(0, "db", LabelSelector((("app", "db"),)))]), make_pod()
    assert headroom.blocker(pod) is None
    headroom.take(pod)
    blocker = headroom.blocker(pod)
    assert blocker is not None
    assert (blocker.reason, blocker.target) == ("NotEnoughPdb", "pdb/default/web")


def test_two_budgets_on_one_pod_block_it() -> None:
    blocker = Headroom([budget(5), budget(5, "all", LabelSelector())]).blocker(make_pod())
    assert blocker is not None
    assert "two budgets: default/all and default/web" in blocker.message


def test_a_budget_without_a_selector_or_of_another_namespace_covers_nothing() -> None:
    other = DisruptionBudget(namespace="other", name="all", allowed=0, selector=LabelSelector())
    assert Headroom([budget(0, selector=None), other]).blocker(make_pod()) is None


@pytest.mark.parametrize(
    ("node", "size", "reason", "target"),
    [
        pytest.param(make_node(), 2, "", "", id="free-to-go"),
        pytest.param(
            make_node(do_not_remove="scale-down-disabled"), 2, "ScaleDownDisabledAnnotation", "node/node-1", id="told"
        ),
        pytest.param(make_node(deleting=True), 2, "CurrentlyBeingDeleted", "node/node-1", id="going"),
        pytest.param(make_node(group="gone"), 2, "NotAutoscaled", "node/node-1", id="no-group"),
        pytest.param(make_node(), 1, "NodeGroupMinSizeReached", "group/m.xl-a-on-demand", id="group-at-its-minimum"),
    ],
)
def test_node_blocker(node: Node, size: int, reason: str, target: str) -> None:
    groups = {group.name: group for group in [make_group(min_size=1)]}
    blocker = node_blocker(
        node, [make_pod()], groups.get(node.group), size=size, headroom=Headroom(()), rules=EvictionRules()
    )
    assert (blocker.reason if blocker else "", blocker.target if blocker else "") == (reason, target)


def test_the_first_blocking_pod_is_named_in_the_reason() -> None:
    pods = [make_pod("a"), make_pod("b", do_not_evict="x"), make_pod("c", shape=shape(owner_kind=""))]
    blocker = node_blocker(make_node(), pods, make_group(), size=1, headroom=Headroom(()), rules=EvictionRules())
    assert blocker is not None
    reason = blocker.as_reason()
    assert reason.code is Code.NODE_BLOCKED
    assert reason.detail == (("blocker", "pod/default/b"), ("reason", "NotSafeToEvictAnnotation"))
