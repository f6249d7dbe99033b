"""How many nodes the groups of each NodeGroup document have, and should have; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from autoscaler.model.plan import Decision, DeleteInstances, SetGroupSize
from autoscaler.model.snapshot import ClusterSnapshot


def document_of(group: str, documents: Collection[str]) -> str:
    """
    Return the document that a group of the cloud comes from, "" for none.

    A group is called as its document, or as that with more behind a dot.

    >>> document_of("web.m7i.large.eu-1a.spot", {"web", "web.m7i"})
    'web.m7i'
    """
    name = group
    while name and name not in documents:
        name = name.rpartition(".")[0]
    return name


def node_counts(
    snapshot: ClusterSnapshot, decision: Decision, documents: Collection[str]
) -> Mapping[str, tuple[int, int]]:
    """
    Return (nodes that are there, nodes wanted) by document; one of whose groups nothing is known is left out.

    What is only advised counts as wanted, as it does for replicas.
    """
    owner = {group.name: document_of(group.name, documents) for group in snapshot.node_groups}
    wanted = {group.name: group.target_size for group in snapshot.node_groups}
    for action in (*decision.plan.actions, *decision.plan.advised):
        if isinstance(action, SetGroupSize) and action.group in wanted:
            wanted[action.group] = action.size
        elif isinstance(action, DeleteInstances) and action.group in wanted:
            wanted[action.group] -= len(action.nodes)
    present = Counter(
        owner.get(node.group, "") for node in snapshot.nodes if node.registered and not node.deleting and node.group
    )
    total: Counter[str] = Counter()
    for group, count in wanted.items():
        total[owner[group]] += count
    return {name: (present[name], total[name]) for name in total if name}
