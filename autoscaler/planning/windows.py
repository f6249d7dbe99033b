"""
What is open now: schedules that move bounds, windows in which a budget holds.

Calendars and time zones are read at the edge (`controller.open_windows`); the
core only sees the keys of what is open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from autoscaler.model.policy import BudgetWindow, GlobalConstraints, MpaSpec, Policies, Schedule
from autoscaler.model.spec import Duration

Window = tuple[str, str, float]
"""(cron line, time zone, seconds): from each time the line names, for so long."""


def window_key(window: Window) -> str:
    """Return how the snapshot names a window that is open."""
    return f"{window[0]} {window[1]} {window[2]:.0f}s"


def window_of_schedule(schedule: Schedule) -> Window:
    return schedule.schedule, schedule.time_zone, schedule.duration.seconds


def window_of_budget(budget: BudgetWindow) -> Window | None:
    """Return a budget's window (UTC, as Karpenter has it); None where it always holds."""
    if not budget.schedule:
        return None
    return budget.schedule, "UTC", (budget.duration or Duration("1m")).seconds


def windows_of(policies: Policies) -> set[Window]:
    """Return every window that any document names."""
    found = {window_of_schedule(s) for mpa in policies.mpas for s in mpa.spec.policy.schedules}
    for policy in policies.scaling:
        found.update(window_of_schedule(s) for s in policy.spec.defaults.policy.schedules)
        budgets = (window_of_budget(budget) for budget in policy.spec.disruption.budgets)
        found.update(window for window in budgets if window is not None)
    return found


def budgets_in_force(budgets: Iterable[BudgetWindow], open_windows: Collection[str]) -> list[BudgetWindow]:
    """Return the budgets that hold now: those without a schedule, and those whose window is open."""
    return [
        budget
        for budget in budgets
        if (window := window_of_budget(budget)) is None or window_key(window) in open_windows
    ]


def open_schedules(spec: MpaSpec, open_windows: Collection[str]) -> tuple[str, ...]:
    """Return the names of the schedules of *spec* that are open."""
    schedules = spec.policy.schedules
    return tuple(each.name for each in schedules if window_key(window_of_schedule(each)) in open_windows)


def with_schedules(spec: MpaSpec, open_windows: Collection[str], *, floors: bool = True) -> MpaSpec:
    """
    Return *spec* with the bounds of its open schedules; of several, the last in the list has its way.

    Without *floors* only their maxima count.
    """
    if not spec.policy.schedules:
        return spec
    bounds = spec.constraints.global_ or GlobalConstraints()
    for schedule in spec.policy.schedules:
        if window_key(window_of_schedule(schedule)) in open_windows:
            is_floor = floors and schedule.min_replicas is not None
            low = schedule.min_replicas if is_floor else bounds.min_replicas
            high = bounds.max_replicas if schedule.max_replicas is None else schedule.max_replicas
            if low is not None and high is not None and low > high:
                # A schedule that only moves one bound past the other means both to move.
                low, high = (low, low) if schedule.max_replicas is None else (high, high)
            bounds = msgspec.structs.replace(bounds, min_replicas=low, max_replicas=high)
    return msgspec.structs.replace(spec, constraints=msgspec.structs.replace(spec.constraints, global_=bounds))
