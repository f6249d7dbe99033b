"""What an operator can know before the run: the load of the history, and the rhythm of the week in it."""

from __future__ import annotations

import math

import numpy as np

from autoscaler.backtest.traces import FloatArray
from autoscaler.model.policy import Schedule
from autoscaler.model.spec import Duration
from autoscaler.model.units import DAY, HOUR
from autoscaler.simulator.spec import Service, WorldSpec

PEAK_QUANTILE = 0.999
_HOURS_A_DAY, _DAYS_A_WEEK = 24, 7
_HOURS_A_WEEK = _HOURS_A_DAY * _DAYS_A_WEEK
_MONDAY = 4 * DAY
"""The first Monday of the epoch."""
_LEAD_MINUTES = 10
"""How long before its hour a window opens: pods and nodes take their time to start."""
_LEVELS = 10
"""Into how many steps people divide the way up to the peak."""


def known_cores(service: Service, world: WorldSpec) -> FloatArray:
    """Return the cores of work by step of the history; of the run where there is no history, empty without a load."""
    if service.requests is not None:
        cores = service.requests.astype(np.float64) * service.cores_per_request
    elif service.cores is not None:
        cores = service.cores.astype(np.float64)
    else:
        return np.zeros(0)
    return cores[: world.history_steps] if world.history_steps else cores


def peak_cores(service: Service, world: WorldSpec) -> float:
    """Return the 99.9th percentile of the cores of work in the history; what pods burn idle where there is no load."""
    known = known_cores(service, world)
    return float(np.quantile(known, PEAK_QUANTILE)) if len(known) else service.idle_cores * service.replicas


def weekly_schedules(
    service: Service, world: WorldSpec, *, cores_a_pod: float, quantile: float
) -> tuple[Schedule, ...]:
    """
    Return windows with the replicas that each hour of the week needed in the history, as a person would write them.

    An hour gets its *quantile* of the work at *cores_a_pod* each, in ten steps
    up to the peak; hours alike are one window, days alike one line. The largest
    is last: of several that are open the last has its way.
    """
    levels = _levels(service, world, cores_a_pod=cores_a_pod, quantile=quantile)
    windows: dict[tuple[int, int, int], list[int]] = {}
    for first, hours in _runs(levels):
        windows.setdefault((levels[first], first % _HOURS_A_DAY, hours), []).append(first // _HOURS_A_DAY)
    return tuple(
        Schedule(
            name=f"window-{place}",
            schedule=_cron_line(hour, days),
            duration=Duration(hours * HOUR + _LEAD_MINUTES * 60),
            min_replicas=replicas,
        )
        for place, ((replicas, hour, hours), days) in enumerate(sorted(windows.items()))
        if replicas > service.min_replicas
    )


def _levels(service: Service, world: WorldSpec, *, cores_a_pod: float, quantile: float) -> list[int]:
    """Return the replicas by hour of the week, Monday's first hour first."""
    known = known_cores(service, world) if world.history_steps else np.zeros(0)
    times = world.start - world.history_seconds + world.step_seconds * np.arange(len(known))
    hour = np.floor((times - _MONDAY) / HOUR).astype(np.int64) % _HOURS_A_WEEK
    wanted = []
    for each in range(_HOURS_A_WEEK):
        seen = known[hour == each]
        # An hour that the history does not reach is taken to be like the same hour of other days.
        seen = seen if len(seen) else known[hour % _HOURS_A_DAY == each % _HOURS_A_DAY]
        wanted.append(float(np.quantile(seen, quantile)) / cores_a_pod if len(seen) else 0.0)
    step = max(1, math.ceil(max(wanted) / _LEVELS))
    most = service.max_replicas
    return [min(max(math.ceil(each / step - 1e-9) * step, service.min_replicas), most) for each in wanted]


def _runs(levels: list[int]) -> list[tuple[int, int]]:
    """Return the first hour and the length of each stretch of equal levels, round the end of the week."""
    starts = [hour for hour in range(len(levels)) if levels[hour] != levels[hour - 1]] or [0]
    ends = [*starts[1:], starts[0] + len(levels)]
    return [(start, end - start) for start, end in zip(starts, ends, strict=True)]


def _cron_line(hour: int, days: list[int]) -> str:
    """
    Return when windows begin that are for this hour of these days (Monday is 0).

    >>> _cron_line(8, [0, 1])
    '50 7 * * 1,2'
    >>> _cron_line(0, [0])
    '50 23 * * 0'
    """
    minutes = [day * _HOURS_A_DAY * 60 + hour * 60 - _LEAD_MINUTES for day in days]
    names = sorted((minute // (_HOURS_A_DAY * 60) + 1) % _DAYS_A_WEEK for minute in minutes)
    at = minutes[0] % (_HOURS_A_DAY * 60)
    return f"{at % 60} {at // 60} * * {'*' if len(names) == _DAYS_A_WEEK else ','.join(map(str, names))}"
