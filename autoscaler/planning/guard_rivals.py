"""
The guard's eye on other autoscalers: nothing is done where one acts on the same thing, and none is touched unasked.

It goes by what the snapshot says of each rival, not by what engines are said to do.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.model.plan import AnyAction, EvictPod, GiveBack, ResizePod, SetAside, SetReplicas, SetRequests
from autoscaler.model.policy import UpdateMode
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.workload import Rival
from autoscaler.planning.effective import Effective
from autoscaler.planning.index import SnapshotIndex

_ACTING = (UpdateMode.INITIAL, UpdateMode.AUTO)


class RivalChecks:
    """Looks rivals up by workload and by key; one object a plan."""

    def __init__(self, index: SnapshotIndex, governed: Mapping[str, Effective]) -> None:
        self._governed = governed
        self._known = {rival.key: rival for rival in index.rivals}
        self._live: dict[tuple[str, str], Rival] = {}
        for rival in index.rivals:
            if not rival.set_aside:
                self._note_live(rival)

    def why_not(self, action: AnyAction) -> Reason | None:
        """Return what forbids *action*, None where nothing here does."""
        if isinstance(action, SetAside | GiveBack):
            return self._handing_over(action)
        if not self._live:
            return None
        if isinstance(action, SetReplicas):
            return self._contested(action.workload, "replicas")
        # A pod that is evicted for a drain keeps its size.
        if isinstance(action, SetRequests | ResizePod) or (isinstance(action, EvictPod) and not action.node):
            return self._contested(action.workload, "requests")
        return None

    def _contested(self, workload: str, what: str) -> Reason | None:
        rival = self._live.get((workload, what))
        if rival is None:
            return None
        return Reason(Code.GUARD_RIVAL, f"{rival.kind} {rival.namespace}/{rival.name} sets the {what}")

    def _handing_over(self, action: SetAside | GiveBack) -> Reason | None:
        rival = self._known.get(action.rival)
        if rival is None or rival.workload != action.workload:
            return Reason(Code.GUARD_RIVAL, f"{action.rival} is no rival of {action.workload}")
        if isinstance(action, GiveBack):
            if not rival.set_aside:
                return Reason(Code.GUARD_RIVAL, f"{action.rival} was not set aside")
            # From here on in the plan it acts again.
            self._note_live(rival)
            return None
        effective = self._governed.get(action.workload)
        if effective is None or effective.mode not in _ACTING or not effective.spec.policy.take_over:
            return Reason(Code.GUARD_RIVAL, f"{action.rival} stays: no document in force takes its workload over")
        if rival.owner or rival.set_aside:
            state = f"belongs to {rival.owner}" if rival.owner else "is set aside already"
            return Reason(Code.GUARD_RIVAL, f"{action.rival} {state}")
        return None

    def _note_live(self, rival: Rival) -> None:
        self._live.update({(rival.workload, what): rival for what in rival.acts_on})
