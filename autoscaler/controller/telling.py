"""What is said of each action: counted, and one line in the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from autoscaler.controller.actuate import FAILED, HELD, Told
from autoscaler.controller.measure import count_action
from autoscaler.interfaces import Clock, Outcome
from autoscaler.model.plan import AnyAction
from autoscaler.telemetry.logs import Log
from autoscaler.telemetry.metrics import Metrics

AGAIN_SECONDS = 600.0
"""An action that is only recorded comes again each turn: it is logged again after this time."""
_MOST = 10_000
_SAID = ("reasons", "usd_per_hour", "containers", "hard")
log = Log(__name__)


class ActionLog:
    """Counts each outcome and logs it; what is held is logged when it is new."""

    def __init__(self, clock: Clock, metrics: Metrics, *, others: Sequence[Told] = ()) -> None:
        self._clock = clock
        self._metrics = metrics
        self._others = others
        self._held: dict[str, float] = {}

    def __call__(self, outcome: Outcome) -> None:
        count_action(self._metrics, outcome)
        for told in self._others:
            told(outcome)
        if outcome.result != HELD or self._is_new(outcome):
            write = log.warning if outcome.result == FAILED else log.info
            write("action", **facts_of(outcome))

    def _is_new(self, outcome: Outcome) -> bool:
        now = self._clock.monotonic()
        key = f"{outcome.message} {_target_of(outcome.action)}"
        is_new = now - self._held.get(key, -AGAIN_SECONDS) >= AGAIN_SECONDS
        if is_new:
            if len(self._held) >= _MOST:
                self._held.clear()
            self._held[key] = now
        return is_new


def facts_of(outcome: Outcome) -> dict[str, Any]:
    """Return what a log says of an action: its target and sizes, why, and what became of it."""
    action = outcome.action
    facts: dict[str, Any] = {"action": type(action).__name__}
    facts |= {
        name: getattr(action, name)
        for name in action.__struct_fields__
        if name not in _SAID and getattr(action, name) != ""
    }
    containers = getattr(action, "containers", ())
    if containers:
        facts["containers"] = {size.container: size.target.quantities() for size in containers}
    facts["result"] = outcome.result
    if action.usd_per_hour:
        facts["usd_per_hour"] = round(action.usd_per_hour, 4)
    if action.reasons:
        facts["reasons"] = [str(reason.code) for reason in action.reasons]
    if outcome.message:
        facts["message"] = outcome.message
    return facts


def _target_of(action: AnyAction) -> str:
    """Return what tells an action from all others, why it is done left out."""
    return repr(msgspec.structs.replace(action, reasons=(), usd_per_hour=0.0))
