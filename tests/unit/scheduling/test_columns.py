"""Nodes as columns: rows, kinds, resources that come and go."""

from __future__ import annotations

import numpy as np

from autoscaler.model.node import Node
from autoscaler.model.placement import Affinity, Effect, NodeSelectorTerm, Operator, Requirement, Taint, Toleration
from autoscaler.model.resources import Resources
from autoscaler.scheduling.classes import ClassBook, no_default_spread
from autoscaler.scheduling.columns import NodeColumns
from autoscaler.testing.builders import make_node, make_shape

ZONE = "topology.kubernetes.io/zone"
GPU = Taint("gpu", Effect.NO_SCHEDULE)


def columns(*nodes: Node) -> tuple[ClassBook, NodeColumns]:
    book = ClassBook((), no_default_spread)
    found = NodeColumns(book)
    for node in nodes:
        found.add(node.name, dict(node.labels), node.taints, allocatable=node.allocatable)
    return book, found


def test_codes_number_the_values_of_a_label() -> None:
    _, nodes = columns(
        make_node("a", labels=((ZONE, "z2"),)), make_node("b", labels=()), make_node("c", labels=((ZONE, "z2"),))
    )
    codes, values = nodes.codes(ZONE)
    assert (codes.tolist(), values) == ([0, -1, 0], ("z2",))


def test_ranks_follow_names_and_not_rows() -> None:
    _, nodes = columns(make_node("b"), make_node("a"), make_node("c"))
    assert nodes.ranks().tolist() == [1, 0, 2]


def test_affinity_is_tested_by_label_set_and_by_name() -> None:
    book, nodes = columns(make_node("a", labels=((ZONE, "z1"),)), make_node("b", labels=((ZONE, "z2"),)))
    by_zone = book.of(make_shape(node_selector=((ZONE, "z2"),)))
    term = NodeSelectorTerm((), (Requirement("metadata.name", Operator.IN, ("a",)),))
    by_name = book.of(make_shape(affinity=Affinity(node_required=(term,))))
    assert nodes.admits(by_zone).tolist() == [False, True]
    assert nodes.admits(by_name).tolist() == [True, False]
    assert nodes.admits(book.of(make_shape(node_name="b"))).tolist() == [False, True]


def test_taints_need_tolerations() -> None:
    soft = Taint("slow", Effect.PREFER_NO_SCHEDULE)
    book, nodes = columns(make_node("a", taints=(GPU,)), make_node("b", taints=(soft,)))
    plain = book.of(make_shape())
    tolerant = book.of(make_shape(tolerations=(Toleration(operator="Exists"),)))
    assert nodes.admits(plain).tolist() == [False, True]
    assert nodes.disliked_taints(plain).tolist() == [0, 1]
    assert nodes.admits(tolerant).all()
    assert nodes.disliked_taints(tolerant).tolist() == [0, 0]


def test_a_row_is_used_again_and_nothing_of_its_past_is_left() -> None:
    book, nodes = columns(make_node("a", labels=((ZONE, "z1"),)), make_node("b"))
    pinned = book.of(make_shape(node_selector=((ZONE, "z1"),)))
    assert nodes.admits(pinned).tolist() == [True, False]
    nodes.drop(0)
    assert not nodes.alive[0]
    assert nodes.add("c", {}, (), allocatable=Resources.of(cpu=1, pods=1)) == 0
    assert nodes.admits(pinned).tolist() == [False, False]
    assert nodes.free[:, 0].tolist()[:3] == [1, 1, 0]


def test_a_resource_that_no_node_has_is_a_column_of_zeros() -> None:
    book, nodes = columns(make_node("a"))
    column = book.column("example.com/fpga")
    assert nodes.free[column].tolist() == [0]
    nodes.add("b", {}, (), allocatable=Resources.of({"example.com/fpga": 2}))
    assert nodes.free[column].tolist() == [0, 2]


def test_a_fork_sees_no_later_change() -> None:
    book, nodes = columns(make_node("a"))
    twin = nodes.fork()
    nodes.add("b", {ZONE: "z9"}, (), allocatable=Resources.of(cpu=1))
    nodes.free[1, 0] = 7
    twin.open[0] = False
    assert (len(twin), int(twin.free[1, 0]), bool(nodes.open[0])) == (1, 4000, True)
    assert twin.codes(ZONE)[1] == ()
    assert nodes.codes(ZONE)[1] == ("z9",)
    assert book.columns["cpu"] == 1


def test_amounts_beyond_int64_are_cut_so_that_sums_hold() -> None:
    book, nodes = columns(make_node("a", memory=1 << 80))
    huge = book.of(make_shape(memory=1 << 80))
    assert (nodes.free >= 0).all()
    assert dict(huge.asks)[2] > int(nodes.free[2, 0])
    assert np.iinfo(np.int64).max // int(nodes.free[2, 0]) > 1000
