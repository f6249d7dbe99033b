"""Where volumes let a pod run."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.model.placement import NodeSelectorTerm, Operator, Requirement
from autoscaler.model.volumes import AttachLimits, PersistentVolume, StorageClass, VolumeClaim, Volumes
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.predicates import feasible_nodes, filter_nodes
from tests.unit.scheduling.build import a_node, a_pod, a_shape

ZONE = "topology.kubernetes.io/zone"
NODES = [a_node("n1", zone="a"), a_node("n2", zone="b")]
POD = a_shape(claims=("data",))
LATE = StorageClass(name="late", provisioner="ebs.csi.aws.com", waits_for_consumer=True)
STATIC = StorageClass(name="static", provisioner="kubernetes.io/no-provisioner", waits_for_consumer=True)


def a_claim(name: str = "data", **fields: Any) -> VolumeClaim:
    given: dict[str, Any] = {"storage_class": "late", "requested": 10} | fields
    return VolumeClaim(namespace="shop", name=name, **given)


def in_zone(zone: str) -> tuple[NodeSelectorTerm, ...]:
    return (NodeSelectorTerm((Requirement(ZONE, Operator.IN, (zone,)),)),)


def feasible(volumes: Volumes, **context: Any) -> tuple[str, ...]:
    return feasible_nodes(POD, SchedulingContext(NODES, volumes=volumes, **context))


def reasons(volumes: Volumes, node: str = "n1", **context: Any) -> tuple[str, ...]:
    found = filter_nodes(POD, SchedulingContext(NODES, volumes=volumes, **context))[node].rejection
    return found.reasons if found is not None else ()


@pytest.mark.parametrize(
    ("volumes", "reason"),
    [
        pytest.param(Volumes(), 'persistentvolumeclaim "data" not found', id="missing"),
        pytest.param(
            Volumes(claims=(a_claim(storage_class=""),)),
            "pod has unbound immediate PersistentVolumeClaims",
            id="unbound-and-immediate",
        ),
        pytest.param(
            Volumes(claims=(a_claim(deleting=True),)), 'persistentvolumeclaim "data" is being deleted', id="going"
        ),
        pytest.param(
            Volumes(claims=(a_claim(phase="Lost", volume="pv"),)),
            'persistentvolumeclaim "data" bound to non-existent persistentvolume "pv"',
            id="lost",
        ),
        pytest.param(
            Volumes(claims=(a_claim(volume="pv", bound=True),)),
            'persistentvolume "pv" not found',
            id="volume-gone",
        ),
    ],
)
def test_a_claim_that_no_node_can_serve(volumes: Volumes, reason: str) -> None:
    assert reasons(volumes) == (reason,)


def test_a_bound_volume_ties_the_pod_to_its_zone() -> None:
    claim = a_claim(volume="pv", bound=True)
    affine = PersistentVolume(name="pv", node_required=in_zone("b"))
    labelled = PersistentVolume(name="pv", labels=((ZONE, "b__c"),))
    assert feasible(Volumes(volumes=(affine,), claims=(claim,))) == ("n2",)
    assert feasible(Volumes(volumes=(labelled,), claims=(claim,))) == ("n2",)
    assert reasons(Volumes(volumes=(labelled,), claims=(claim,))) == ("node(s) had no available volume zone",)


def test_a_late_claim_is_provisioned_where_its_class_may() -> None:
    only_b = StorageClass(
        name="late", provisioner="x", waits_for_consumer=True, allowed_topologies=(((ZONE, ("b",)),),)
    )
    assert feasible(Volumes(claims=(a_claim(),), classes=(LATE,))) == ("n1", "n2")
    assert feasible(Volumes(claims=(a_claim(),), classes=(only_b,))) == ("n2",)
    begun = a_claim(selected_node="n1")
    assert feasible(Volumes(claims=(begun,), classes=(LATE,))) == ("n1",)


def test_a_static_claim_takes_a_free_volume_that_is_large_enough() -> None:
    def free(name: str, capacity: int, zone: str) -> PersistentVolume:
        return PersistentVolume(
            name=name, capacity=capacity, storage_class="static", phase="Available", node_required=in_zone(zone)
        )

    volumes = (free("small", 9, "a"), free("large", 11, "b"))
    claim = a_claim(storage_class="static")
    assert feasible(Volumes(volumes=volumes, claims=(claim,), classes=(STATIC,))) == ("n2",)
    two = Volumes(volumes=volumes, claims=(a_claim("more", storage_class="static"), claim), classes=(STATIC,))
    pair = a_shape(claims=("data", "more"))
    assert feasible_nodes(pair, SchedulingContext(NODES, volumes=two)) == ()


def test_a_reserved_volume_serves_its_claim_only() -> None:
    reserved = PersistentVolume(name="pv", capacity=10, claim=("shop", "data", "u1"))
    for uid, nodes in (("u1", ("n1", "n2")), ("u2", ())):
        claim = a_claim(storage_class="static", uid=uid)
        assert feasible(Volumes(volumes=(reserved,), claims=(claim,), classes=(STATIC,))) == nodes


def test_a_node_attaches_so_many_volumes_of_a_driver() -> None:
    def bound(name: str) -> tuple[VolumeClaim, PersistentVolume]:
        volume = PersistentVolume(name=name, csi_driver="ebs", csi_handle=name)
        return a_claim(name, volume=name, bound=True), volume

    pairs = [bound("data"), bound("other")]
    volumes = Volumes(
        claims=tuple(claim for claim, _ in pairs),
        volumes=tuple(volume for _, volume in pairs),
        attach_limits=(AttachLimits(node="n1", limits=(("ebs", 1),)),),
    )
    other = a_pod("p", a_shape(claims=("other",)), node="n1")
    assert feasible(volumes, pods=[other]) == ("n2",)
    # The same volume is attached once, however many pods use it.
    assert feasible(volumes, pods=[a_pod("p", POD, node="n1")]) == ("n1", "n2")


def test_a_claim_for_one_pod_is_in_use_everywhere() -> None:
    claim = a_claim(volume="pv", bound=True, access_modes=("ReadWriteOncePod",))
    volumes = Volumes(volumes=(PersistentVolume(name="pv"),), claims=(claim,))
    assert feasible(volumes, pods=[a_pod("p", POD, node="n2")]) == ()
