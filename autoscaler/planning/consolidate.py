"""
Which nodes are not worth their price.

A node is removable if all that must move fits on the others with the ghosts
(room kept for expected demand) in place. What fits nowhere may be bought: then
the k worst nodes are repacked together, for the k that gains most. Where the
pods would go is `repack`'s to try. Source: algorithms, sections 5.5 and 5.6.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.model.policy import Consolidation
from autoscaler.planning.removals import Buy, Consolidated, RemovalRules
from autoscaler.planning.repack import Round


def consolidate(
    current: Round,
    rules: RemovalRules,
    *,
    empty: Sequence[str],
    idle: Sequence[str] = (),
    ranked: Sequence[str],
    buy: Buy | None,
    most: int,
) -> Consolidated:
    """
    Return what to remove, at most *most* nodes, and why others that were tried stay.

    *empty* are nodes that have been without pods for long enough, *idle* all
    without pods, *ranked* those with pods, the one least worth its price first.
    Off finds nothing, WhenEmpty only empty nodes. Without *buy* nothing is
    replaced.
    """
    mode = rules.consolidation
    if mode is Consolidation.OFF or most <= 0:
        return Consolidated()
    removals = current.empty(sorted(empty), most=most)
    if mode is not Consolidation.WHEN_EMPTY:
        current.shut(idle)
        names = ranked[: rules.max_candidates]
        removals += current.delete(names, most=most - len(removals))
        gone = {name for removal in removals for name in removal.nodes}
        if buy is not None and len(removals) < most:
            left = [name for name in names if name not in gone]
            bought = current.repack(left, buy, most=most - len(removals))
            removals += [bought] if bought is not None else []
    gone = {f"node/{name}" for removal in removals for name in removal.nodes}
    notes = tuple(note for note in current.notes if note.target not in gone)
    return Consolidated(removals=tuple(removals), notes=notes)
