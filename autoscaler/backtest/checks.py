"""What must hold in a scenario file that its types cannot express, and needs no trace."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from autoscaler.backtest.results import METRICS
from autoscaler.backtest.schema import ScenarioFile, WorkloadEntry
from autoscaler.backtest.traces import Field
from autoscaler.backtest.world import grid_of
from autoscaler.model.spec import Quantity

LARGEST = Quantity("1P")
"""More than any amount of one workload or machine, and far from overflow."""
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RESOURCE = re.compile(r"cpu|memory|pods|ephemeral-storage|[a-z0-9][-a-z0-9.]{0,251}/[A-Za-z0-9][-A-Za-z0-9_.]{0,62}")
_BUDGET = re.compile(r"|[0-9]{1,6}|(100|[0-9]{1,2})(\.[0-9]{1,3})?%")


def check_scenario(file: ScenarioFile, root: Field) -> None:
    """
    Check one file; its policies too.

    Raises:
        InputError: naming the first field that is wrong, its value and what is allowed.
    """
    _refuse_amounts(file, root)
    _check_name(file.name, root.at("name"))
    grid = grid_of(file, root)
    period = file.period
    if period is not None and (period.seconds % grid.step or not 0 < period.seconds <= file.length.seconds):
        raise root.at("period").error(period, f"a multiple of the step ({grid.step:g}s), at most the length")
    seen: set[str] = set()
    for place, entry in enumerate(file.workloads):
        _check_workload(entry, root.at(f"workloads[{place}]"), seen)
    for place, fault in enumerate(file.faults):
        if fault.at.seconds >= file.length.seconds:
            raise root.at(f"faults[{place}].at").error(fault.at, f"a time before the end, {file.length.text}")
    for name, bounds in file.expect.items():
        if name not in METRICS:
            raise root.at(f"expect.{name}").error(name, f"one of {', '.join(METRICS)}")
        if bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
            raise root.at(f"expect.{name}").error(bounds.min, f"a min of at most max ({bounds.max:g})")
    if file.policies:
        from autoscaler.policy_files import policies_of

        policies_of(file.policies, f"{root.file}: policies")


def refuse_not_finite(value: Any, field: Field) -> None:
    """
    Refuse NaN and infinities anywhere in plain values.

    Raises:
        ScenarioError: with the path of the first.
    """
    for item, at in _below(value, field):
        if isinstance(item, float) and not math.isfinite(item):
            raise at.error(item, "a finite number")


def _refuse_amounts(value: Any, field: Field) -> None:
    """Refuse quantities below 0 or absurdly large anywhere."""
    for item, at in _below(value, field):
        if isinstance(item, Quantity) and not 0 <= item.value <= LARGEST.value:
            raise at.error(item, f"a quantity of at least 0, at most {LARGEST.text}")


def _below(value: Any, field: Field) -> Iterator[tuple[Any, Field]]:
    """Yield *value* and all that is in it, with paths."""
    yield value, field
    if isinstance(value, msgspec.Struct):
        for info in msgspec.structs.fields(value):
            yield from _below(getattr(value, info.name), field.at(info.encode_name))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _below(item, field.at(str(name)))
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from _below(item, Field(field.file, f"{field.path}[{place}]"))


def _check_workload(entry: WorkloadEntry, field: Field, seen: set[str]) -> None:
    if entry.name in seen:
        raise field.at("name").error(entry.name, "a name that no other workload has")
    _check_name(entry.name, field.at("name"))
    seen.add(entry.name)
    for part in ("requests", "limits"):
        for resource in getattr(entry, part):
            if not _RESOURCE.fullmatch(resource):
                raise field.at(part).error(resource, "cpu, memory, or a resource with a domain such as nvidia.com/gpu")
    if not _BUDGET.fullmatch(entry.max_unavailable):
        allowed = "a number of pods, a percentage up to 100%, or nothing for no budget"
        raise field.at("maxUnavailable").error(entry.max_unavailable, allowed)


def _check_name(name: str, field: Field) -> None:
    if not _NAME.fullmatch(name):
        raise field.error(name, "lower-case letters, digits and single dashes between them")
