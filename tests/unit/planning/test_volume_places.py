from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.node import NodeGroup
from autoscaler.model.placement import LabelSelector, NodeSelectorTerm, Operator, Requirement, TopologySpread, labels_of
from autoscaler.model.plan import Decision, SetGroupSize
from autoscaler.model.reasons import Code
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.model.volumes import PersistentVolume, StorageClass, VolumeClaim, Volumes
from autoscaler.planning.decide import decide
from autoscaler.planning.volume_places import with_volume_terms
from autoscaler.testing.builders import make_group, make_node, make_pod, make_shape, make_snapshot
from tests.unit.planning.decisions import policies

ZONE = "topology.kubernetes.io/zone"
LABELS = {zone: labels_of({ZONE: zone}) for zone in "ab"}
CLAIM = VolumeClaim(namespace="default", name="data", volume="disk", bound=True, phase="Bound")
WAITING = VolumeClaim(namespace="default", name="data", storage_class="fast")


def in_zone(*zones: str) -> NodeSelectorTerm:
    return NodeSelectorTerm((Requirement(ZONE, Operator.IN, zones),))


DISK = PersistentVolume(name="disk", node_required=(in_zone("b"),))


def group(zone: str) -> NodeGroup:
    made = make_group(f"m-{zone}", size=0, zone=zone)
    return msgspec.structs.replace(made, template=msgspec.structs.replace(made.template, labels=LABELS[zone]))


def cluster(volumes: Volumes, *, pods: int = 1, **shape: Any) -> ClusterSnapshot:
    """Return a cluster with room in zone a alone, and pods that wait with a claim."""
    waiting = make_shape(claims=("data",), **shape)
    return make_snapshot(
        nodes=(make_node(labels=LABELS["a"], group=""),),
        node_groups=(group("a"), group("b")),
        pods=tuple(make_pod(f"web-{number}", shape=waiting, node="") for number in range(pods)),
        volumes=volumes,
    )


def decided(snapshot: ClusterSnapshot) -> Decision:
    return decide(snapshot, policies(mode="Auto"), DecisionState())


def bought(decision: Decision) -> dict[str, int]:
    return {action.group: action.size for action in decision.plan.actions if isinstance(action, SetGroupSize)}


def provisioned(*topologies: Any, provisioner: str = "ebs") -> Volumes:
    made = StorageClass(
        name="fast", provisioner=provisioner, waits_for_consumer=True, allowed_topologies=tuple(topologies)
    )
    return Volumes(claims=(WAITING,), classes=(made,))


@pytest.mark.parametrize(
    ("volumes", "sizes"),
    [
        pytest.param(Volumes(volumes=(DISK,), claims=(CLAIM,)), {"m-b": 1}, id="where-its-volume-is"),
        pytest.param(provisioned(((ZONE, ("b",)),)), {"m-b": 1}, id="where-its-volume-can-be-made"),
        pytest.param(provisioned(), {}, id="a-volume-made-anywhere-needs-no-new-node"),
        pytest.param(
            Volumes(volumes=(msgspec.structs.replace(DISK, node_required=None),), claims=(CLAIM,)),
            {},
            id="a-volume-used-from-anywhere-needs-no-new-node",
        ),
        pytest.param(
            Volumes(
                volumes=(msgspec.structs.replace(DISK, phase="Available", storage_class="fast"),),
                claims=(WAITING,),
                classes=(
                    StorageClass(name="fast", provisioner="kubernetes.io/no-provisioner", waits_for_consumer=True),
                ),
            ),
            {"m-b": 1},
            id="where-a-free-volume-is",
        ),
    ],
)
def test_a_pod_gets_a_node(volumes: Volumes, sizes: dict[str, int]) -> None:
    assert bought(decided(cluster(volumes))) == sizes


@pytest.mark.parametrize(
    "volumes",
    [
        pytest.param(Volumes(), id="no-such-claim"),
        pytest.param(Volumes(volumes=(DISK,), claims=(msgspec.structs.replace(CLAIM, phase="Lost"),)), id="lost"),
        pytest.param(Volumes(claims=(WAITING,)), id="nobody-will-make-it"),
        pytest.param(provisioned(provisioner="kubernetes.io/no-provisioner"), id="no-free-volume"),
    ],
)
def test_nothing_is_bought_for_a_volume_that_is_nowhere(volumes: Volumes) -> None:
    decision = decided(cluster(volumes))
    assert bought(decision) == {}
    (note,) = [note for note in decision.notes if note.target == "pods/default/web"]
    assert [reason.code for reason in note.reasons] == [Code.NO_GROUP_FITS]
    assert "a volume of the pod is not there" in note.reasons[0].message


def test_a_claim_for_one_pod_is_worth_nothing_to_a_second_one() -> None:
    alone = msgspec.structs.replace(CLAIM, access_modes=("ReadWriteOncePod",))
    snapshot = cluster(Volumes(volumes=(DISK,), claims=(alone,)))
    holder = make_pod("holder", shape=make_shape("holder", claims=("data",)), node="node-1")
    held = msgspec.structs.replace(snapshot, pods=(holder, *snapshot.pods))
    assert bought(decided(snapshot)) == {"m-b": 1}
    assert bought(decided(held)) == {}


def test_a_zone_without_the_volume_still_counts_for_spread() -> None:
    # As in the scheduler: zone a stays empty, so b can take two and no more.
    spread = TopologySpread(max_skew=2, topology_key=ZONE, selector=LabelSelector(labels_of({"app": "web"})))
    snapshot = cluster(Volumes(volumes=(DISK,), claims=(CLAIM,)), pods=7, spread=(spread,))
    decision = decided(snapshot)
    assert bought(decision) == {"m-b": 1}
    assert [note.target for note in decision.notes] == ["pods/default/web"]


def test_pods_without_claims_are_left_as_they_are() -> None:
    snapshot = make_snapshot(pods=(make_pod(),), nodes=(make_node(),))
    assert with_volume_terms(snapshot) is snapshot
