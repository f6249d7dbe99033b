"""Limits on volumes are room like any other: a node that can attach no more is full."""

from __future__ import annotations

import msgspec
import pytest

from autoscaler.model.plan import SetGroupSize
from autoscaler.model.pod import Pod
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.model.volumes import AttachLimits, PersistentVolume, VolumeClaim, Volumes
from autoscaler.planning.attachments import NO_LIMIT
from autoscaler.planning.decide import decide
from autoscaler.planning.volume_places import with_volume_terms
from autoscaler.testing.builders import make_group, make_node, make_pod, make_shape, make_snapshot
from tests.unit.planning.decisions import policies

ENGINES = ("joint", "cluster-autoscaler", "karpenter")
RESOURCE = "attachable-volumes-csi-ebs"


def volumes(*names: str, limit: int | None) -> Volumes:
    """Return bound claims of these names; `node-1` can attach *limit* volumes."""
    return Volumes(
        claims=tuple(VolumeClaim(namespace="default", name=name, volume=name, bound=True) for name in names),
        volumes=tuple(PersistentVolume(name=name, csi_driver="ebs", csi_handle=name) for name in names),
        attach_limits=() if limit is None else (AttachLimits(node="node-1", limits=(("ebs", limit),)),),
    )


def using(claim: str, name: str, *, node: str = "") -> Pod:
    return make_pod(name, shape=make_shape(claims=(claim,), cpu=100), node=node)


def cluster(*pods: Pod, limit: int | None = 1) -> ClusterSnapshot:
    claims = sorted({name for pod in pods for name in pod.shape.claims})
    groups = (make_group(), make_group("other"))
    groups = (groups[0], msgspec.structs.replace(groups[1], max_size=0, target_size=0))
    return make_snapshot(nodes=(make_node(),), node_groups=groups, pods=pods, volumes=volumes(*claims, limit=limit))


def bought(snapshot: ClusterSnapshot, engine: str) -> list[int]:
    decision = decide(snapshot, policies(mode="Auto", nodes={"engine": engine}), DecisionState())
    return [action.size for action in decision.plan.actions if isinstance(action, SetGroupSize)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        pytest.param(2, [], id="room-for-one-more"),
        pytest.param(1, [2], id="no-more-can-be-attached"),
        pytest.param(None, [], id="no-limit"),
    ],
)
def test_a_node_takes_as_many_volumes_as_it_can(engine: str, limit: int | None, sizes: list[int]) -> None:
    snapshot = cluster(using("one", "web-1", node="node-1"), using("two", "web-2"), limit=limit)
    assert bought(snapshot, engine) == sizes


@pytest.mark.parametrize("engine", ENGINES)
def test_new_nodes_of_a_group_have_the_limit_of_its_nodes(engine: str) -> None:
    waiting = [using(f"data-{number}", f"web-{number}") for number in range(4)]
    assert bought(cluster(using("one", "web-9", node="node-1"), *waiting, limit=2), engine) == [3]


def test_pods_on_a_node_share_a_volume() -> None:
    snapshot = cluster(using("one", "web-1", node="node-1"), using("one", "web-2", node="node-1"))
    charged = [pod.shape.overhead.get(RESOURCE) for pod in with_volume_terms(snapshot).pods]
    assert charged == [1, 0]


def test_what_states_no_limit_has_none() -> None:
    pods = (using("one", "web-1", node="node-1"),)
    snapshot = cluster(*pods, limit=3)
    snapshot = msgspec.structs.replace(
        snapshot,
        nodes=(*snapshot.nodes, make_node("node-2", instance_type="z1", group="z")),
        node_groups=(*snapshot.node_groups, make_group("z")),
    )
    found = with_volume_terms(snapshot)
    assert [node.allocatable.get(RESOURCE) for node in found.nodes] == [3, NO_LIMIT]
    assert {group.name: group.template.allocatable.get(RESOURCE) for group in found.node_groups} == {
        "m.xl-a-on-demand": 3,
        "other": 3,
        "z": 3,
    }
