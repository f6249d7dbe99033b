"""
Commands that were begun: wait for what replaces the nodes, then drain them.

Source: Karpenter `pkg/controllers/disruption/queue.go` (waitOrTerminate,
GetMaxRetryDuration), main of 2026-08-20.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from autoscaler.model.node import Node, NodeGroup
from autoscaler.model.state import NodeMemory

_LEAST_SECONDS, _MOST_SECONDS, _SECONDS_EACH = 600.0, 3600.0, 0.08
"""How long replacements are waited for: the more nodes are being disrupted, the longer."""


class Progress(enum.StrEnum):
    """What is next for the nodes of a command."""

    WAIT = "Wait"
    GO = "Go"
    FAIL = "Fail"


class UnderWay(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was begun at `since`: its nodes and what it needs of each group."""

    name: str
    since: float
    members: tuple[NodeMemory, ...]
    wanted: tuple[tuple[str, int], ...] = ()

    @property
    def is_draining(self) -> bool:
        return any(each.drain_since > 0 for each in self.members)


def is_going(memory: NodeMemory) -> bool:
    """Tell whether a node belongs to a command that was begun."""
    return memory.drain_since > 0 or bool(memory.replaced_by)


def under_way(memories: Iterable[NodeMemory]) -> list[UnderWay]:
    """Return the commands, the first to begin first."""
    members: dict[tuple[float, str], list[NodeMemory]] = {}
    for each in memories:
        if is_going(each):
            since = each.unneeded_since or each.drain_since
            members.setdefault((since, each.command or each.node), []).append(each)
    return [
        UnderWay(name=name, since=since, members=tuple(each), wanted=each[0].replaced_by)
        for (since, name), each in sorted(members.items())
    ]


def progress_of(
    commands: Sequence[UnderWay], nodes: Iterable[Node], groups: Mapping[str, NodeGroup], *, now: float
) -> dict[str, Progress]:
    """
    Return by name what is next for each command.

    A node that came since a command began, and is ready, counts for one
    command. With none of its kind to be had the wait ends at once.
    """
    patience = min(max(_SECONDS_EACH * sum(len(each.members) for each in commands), _LEAST_SECONDS), _MOST_SECONDS)
    fresh = _Fresh(nodes)
    found = {}
    for command in commands:
        is_there = fresh.take(command)
        if command.is_draining or is_there:
            found[command.name] = Progress.GO
        elif not now - command.since <= patience or any(_is_away(groups.get(name), now) for name, _ in command.wanted):
            found[command.name] = Progress.FAIL
        else:
            found[command.name] = Progress.WAIT
    return found


def _is_away(group: NodeGroup | None, now: float) -> bool:
    return group is None or group.backoff_until > now


class _Fresh:
    """Ready nodes by group, each of which is given to one command."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._of_group: dict[str, list[Node]] = {}
        for node in sorted(nodes, key=lambda each: (each.created_at, each.name)):
            if node.ready and node.registered and not node.deleting:
                self._of_group.setdefault(node.group, []).append(node)

    def take(self, command: UnderWay) -> bool:
        """Give the command what it wants of what has come since it began; tell whether that was all of it."""
        own = {each.node for each in command.members}
        complete = True
        for group, count in command.wanted:
            # Times of creation are whole seconds.
            mine = [
                node
                for node in self._of_group.get(group, ())
                if node.created_at >= command.since - 1.0 and node.name not in own
            ][:count]
            complete = complete and len(mine) == count
            taken = {node.name for node in mine}
            self._of_group[group] = [node for node in self._of_group.get(group, ()) if node.name not in taken]
        return complete
