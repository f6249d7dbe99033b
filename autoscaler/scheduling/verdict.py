"""The scheduler's answer for one pod on one node, in its own words."""

from __future__ import annotations

import enum

import msgspec


class FilterCode(enum.StrEnum):
    """Whether evicting pods from the node could help."""

    UNSCHEDULABLE = "Unschedulable"
    UNRESOLVABLE = "UnschedulableAndUnresolvable"


class Shortfall(msgspec.Struct, frozen=True, gc=False):
    """
    A resource of which the node has too little, in millicores, bytes or counts.

    `free` may be below zero on an over-committed node; `allocatable` is what
    an empty node would have.
    """

    resource: str
    requested: int
    free: int
    allocatable: int

    @property
    def missing(self) -> int:
        """How much more would have to be free."""
        return self.requested - self.free


class Rejection(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    One filter's No. `stage` is PreFilter where the node was excluded before
    filtering, else Filter. `reasons` are sorted.
    """

    plugin: str
    code: FilterCode
    reasons: tuple[str, ...]
    stage: str = "Filter"
    shortfalls: tuple[Shortfall, ...] = ()


class Verdict(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Whether a pod may go on a node. `rejection` is the first filter's No, None
    if there is none; `rejected_by` lists every filter that says No on its own,
    in filter order, where that was asked for.
    """

    rejection: Rejection | None = None
    rejected_by: tuple[Rejection, ...] = ()

    @property
    def feasible(self) -> bool:
        return self.rejection is None


FEASIBLE = Verdict()


def unschedulable(plugin: str, *reasons: str) -> Rejection:
    """Say No where evictions could help."""
    return Rejection(plugin=plugin, code=FilterCode.UNSCHEDULABLE, reasons=tuple(sorted(reasons)))


def unresolvable(plugin: str, *reasons: str, stage: str = "Filter") -> Rejection:
    """Say No where evictions cannot help."""
    return Rejection(plugin=plugin, code=FilterCode.UNRESOLVABLE, reasons=tuple(sorted(reasons)), stage=stage)
