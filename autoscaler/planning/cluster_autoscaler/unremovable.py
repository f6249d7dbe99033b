"""Why nodes stay, in Cluster Autoscaler's words (`simulator/cluster.go`, UnremovableReason, 1.36)."""

from __future__ import annotations

import enum

import msgspec

from autoscaler.model.plan import Note
from autoscaler.model.reasons import Code, Reason
from autoscaler.planning.blockers import Blocker


class Unremovable(enum.StrEnum):
    """The peer's reasons; the text under each is its meaning."""

    SCALE_DOWN_DISABLED_ANNOTATION = "ScaleDownDisabledAnnotation"
    """An annotation forbids the node's removal."""
    SCALE_DOWN_UNREADY_DISABLED = "ScaleDownUnreadyDisabled"
    """The node is not ready, and such nodes are left alone."""
    NOT_AUTOSCALED = "NotAutoscaled"
    """The node belongs to no group that may be sized."""
    NOT_UNNEEDED_LONG_ENOUGH = "NotUnneededLongEnough"
    """The node has not been unneeded for long enough."""
    NOT_UNREADY_LONG_ENOUGH = "NotUnreadyLongEnough"
    """The node has not been unneeded for long enough for one that is not ready."""
    NODE_GROUP_MIN_SIZE_REACHED = "NodeGroupMinSizeReached"
    """The node's group is at its minimum."""
    NODE_GROUP_MAX_DELETION_COUNT_REACHED = "NodeGroupMaxDeletionCountReached"
    """As many nodes are on their way out as may be."""
    ATOMIC_SCALE_DOWN_FAILED = "AtomicScaleDownFailed"
    """The group may only go as a whole; no group here is of that kind."""
    MINIMAL_RESOURCE_LIMIT_EXCEEDED = "MinimalResourceLimitExceeded"
    """The cluster would have fewer cores or less memory than it must."""
    CURRENTLY_BEING_DELETED = "CurrentlyBeingDeleted"
    """The node is on its way out."""
    NOT_UNDERUTILIZED = "NotUnderutilized"
    """Too much of the node is requested."""
    NOT_UNNEEDED_OTHER_REASON = "NotUnneededOtherReason"
    """The node was not looked at in this cycle."""
    RECENTLY_UNREMOVABLE = "RecentlyUnremovable"
    """The node could not be removed a short while ago."""
    NO_PLACE_TO_MOVE_PODS = "NoPlaceToMovePods"
    """The node's pods fit nowhere else."""
    BLOCKED_BY_POD = "BlockedByPod"
    """A pod keeps the node."""
    UNEXPECTED_ERROR = "UnexpectedError"
    """The node has no cpu or no memory to reckon with."""
    NO_NODE_INFO = "NoNodeInfo"
    """The node is not known."""
    BLOCKED_BY_ON_COMPLETION_POD = "BlockedByOnCompletionPod"
    """The node waits for a pod to end by itself."""


_CODES = {
    Unremovable.NOT_UNNEEDED_LONG_ENOUGH: Code.COOLING_DOWN,
    Unremovable.NOT_UNREADY_LONG_ENOUGH: Code.COOLING_DOWN,
    Unremovable.NO_PLACE_TO_MOVE_PODS: Code.NODE_IN_USE,
    Unremovable.NOT_UNDERUTILIZED: Code.NODE_IN_USE,
}
_UNTOLD = frozenset({Unremovable.NOT_UNDERUTILIZED})
"""What is true of most nodes most of the time is not worth a note each."""


class Stays(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One node that stays: why, what keeps it (`blocker` where a pod does), and facts for the reader."""

    node: str
    why: Unremovable
    message: str
    blocker: Blocker | None = None
    detail: tuple[tuple[str, str], ...] = ()

    def as_note(self) -> Note:
        facts = {"reason": str(self.why), **dict(self.detail)}
        if self.blocker is not None:
            facts |= {"blocker": self.blocker.target, "blocking_reason": self.blocker.reason}
        code = _CODES.get(self.why, Code.NODE_BLOCKED)
        return Note(target=f"node/{self.node}", reasons=(Reason(code, self.message, tuple(sorted(facts.items()))),))


def notes_of(stays: list[Stays]) -> tuple[Note, ...]:
    """Return a note for each node that is worth one, by name."""
    return tuple(each.as_note() for each in sorted(stays, key=lambda each: each.node) if each.why not in _UNTOLD)
