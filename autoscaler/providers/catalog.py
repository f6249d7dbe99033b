"""
Node groups for a cluster that was only looked at: one for each kind of node in
it, priced from the bundled list-price tables.

For dry decisions on files; a live provider always knows better.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files

import msgspec

from autoscaler.model.node import SPOT, Node, NodeGroup, NodeTemplate
from autoscaler.model.snapshot import ClusterSnapshot

_TABLES = {"aws_instance_types.csv": 0.35, "gcp_machine_types.csv": 0.35}
"""Table and the share of the list price that spot costs where the table has no spot price."""
_OWN_LABELS = ("kubernetes.io/hostname",)
_MAX_SIZE = 1000


@lru_cache(maxsize=1)
def list_prices() -> Mapping[tuple[str, bool], float]:
    """Return USD an hour by (instance type, is spot)."""
    prices: dict[tuple[str, bool], float] = {}
    for name, share in _TABLES.items():
        text = files("autoscaler.providers").joinpath("tables", name).read_text(encoding="utf-8")
        for row in csv.DictReader(text.splitlines()):
            price = float(row["usd_per_hour"])
            prices[row["name"], False] = price
            prices[row["name"], True] = float(row.get("usd_per_hour_spot") or price * share)
    return prices


def with_groups(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """
    Return *snapshot* with its nodes priced and grouped, where they are not yet.

    Nodes of an unknown type cost nothing: they are never bought or removed for money.
    """
    if snapshot.node_groups:
        return snapshot
    nodes = tuple(_priced(node) for node in snapshot.nodes)
    return msgspec.structs.replace(snapshot, nodes=nodes, node_groups=tuple(_groups(nodes)))


def _priced(node: Node) -> Node:
    price = node.usd_per_hour or list_prices().get((node.instance_type, node.capacity_type == SPOT), 0.0)
    name = node.group or "/".join(filter(None, (node.instance_type or "node", node.zone, node.capacity_type)))
    return msgspec.structs.replace(node, usd_per_hour=price, group=name)


def _groups(nodes: Iterable[Node]) -> list[NodeGroup]:
    members: dict[str, list[Node]] = {}
    for node in nodes:
        members.setdefault(node.group, []).append(node)
    return [_group(name, found) for name, found in sorted(members.items())]


def _group(name: str, members: list[Node]) -> NodeGroup:
    first = members[0]
    shared = frozenset.intersection(*(frozenset(node.labels) for node in members))
    labels = tuple(sorted(pair for pair in shared if pair[0] not in _OWN_LABELS))
    lasting = tuple(taint for taint in first.taints if not taint.key.startswith("node.kubernetes.io/"))
    return NodeGroup(
        name=name,
        template=NodeTemplate(
            instance_type=first.instance_type, allocatable=first.allocatable, labels=labels, taints=lasting
        ),
        target_size=len(members),
        usd_per_hour=first.usd_per_hour,
        max_size=_MAX_SIZE,
        zone=first.zone,
        capacity_type=first.capacity_type,
        provider="catalog",
    )
