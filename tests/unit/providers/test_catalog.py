from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.node import SPOT, Node, NodeGroup
from autoscaler.model.placement import Effect, Taint, labels_of
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.model.units import MIB
from autoscaler.planning.decide import decide
from autoscaler.providers.catalog import list_prices, with_groups
from autoscaler.testing.builders import make_group, make_node, make_pod, make_shape, make_snapshot
from tests.unit.planning.decisions import policies

ZONE = "topology.kubernetes.io/zone"


def node(name: str, kind: str = "m5.large", **fields: object) -> Node:
    made = make_node(name, instance_type=kind, group="", usd_per_hour=0.0)
    labels = labels_of({"kubernetes.io/hostname": name, ZONE: "a", "pool": "web"})
    return msgspec.structs.replace(made, labels=labels, **fields)


def groups(*nodes: Node, **fields: Any) -> dict[str, NodeGroup]:
    snapshot = make_snapshot(nodes=list(nodes), **fields)
    return {group.name: group for group in with_groups(snapshot).node_groups}


def test_list_prices_of_both_clouds_and_of_spot() -> None:
    prices = list_prices()
    assert prices["m5.large", False] == pytest.approx(0.096)
    assert prices["m5.large", True] == pytest.approx(0.096 * 0.35)
    # The table of the second cloud has spot prices of its own.
    assert prices["a2-highgpu-1g", True] == pytest.approx(1.92802)
    assert all(0 < price < 1000 for price in prices.values())


def test_one_group_for_each_kind_of_node() -> None:
    found = groups(node("a"), node("b"), node("c", capacity_type=SPOT), node("d", zone="b"), node("e", "m5.xlarge"))
    assert {name: (group.target_size, round(group.usd_per_hour, 4)) for name, group in found.items()} == {
        "m5.large/a/on-demand": (2, 0.096),
        "m5.large/a/spot": (1, 0.0336),
        "m5.large/b/on-demand": (1, 0.096),
        "m5.xlarge/a/on-demand": (1, 0.192),
    }


def test_a_new_node_is_like_those_that_are_there() -> None:
    passing = Taint("node.kubernetes.io/not-ready", Effect.NO_SCHEDULE)
    lasting = Taint("team", Effect.NO_SCHEDULE, "web")
    odd = msgspec.structs.replace(node("b"), labels=labels_of({ZONE: "a", "only": "here"}))
    template = groups(node("a", taints=(passing, lasting)), odd)["m5.large/a/on-demand"].template
    assert template.labels == ((ZONE, "a"),)
    assert template.taints == (lasting,)


def test_daemon_sets_take_their_share() -> None:
    shape = make_shape("agent", cpu=100, memory=64 * MIB)
    shape = msgspec.structs.replace(shape, owner_kind="DaemonSet")
    pods = [make_pod("agent-1", shape=shape, node="a"), make_pod("agent-2", shape=shape, node="b", deleted_at=1.0)]
    template = groups(node("a"), node("b"), pods=pods)["m5.large/a/on-demand"].template
    assert template.overhead == Resources.of(cpu=100, memory=64 * MIB, pods=1)


def test_groups_that_are_known_are_kept() -> None:
    snapshot = make_snapshot(nodes=[node("a")], node_groups=[make_group()])
    assert with_groups(snapshot) is snapshot
    assert groups(node("a", group="pool-1", usd_per_hour=0.5))["pool-1"].usd_per_hour == 0.5


def test_nodes_of_an_unknown_type_are_neither_bought_nor_removed_for_money() -> None:
    waiting = [make_pod(f"web-{number}", node="") for number in range(3)]
    full = make_pod("big", shape=make_shape("big", cpu=3900), node="a")
    snapshot = make_snapshot(nodes=[node("a", "minikube")], pods=[*waiting, full])
    priced = with_groups(snapshot)
    assert [(g.usd_per_hour, g.max_size) for g in priced.node_groups] == [(0.0, 1)]
    assert decide(priced, policies(), DecisionState()).plan.actions == ()


def test_an_empty_cluster_has_no_groups() -> None:
    assert with_groups(ClusterSnapshot(observed_at=0.0)).node_groups == ()
