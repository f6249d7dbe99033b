"""Figures of runs as text: a table for people, lines for machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from textwrap import indent

import msgspec

from autoscaler.backtest.results import Run, RunFigures, describe_settings
from autoscaler.cli.output import dumps, table


def _share(value: float) -> str:
    return f"{value * 100:.2f} %" if value < 0.0995 else f"{value * 100:.1f} %"


_Column = tuple[str, Callable[[RunFigures], str]]
_COLUMNS: tuple[_Column, ...] = (
    ("engine", lambda run: run.engine),
    ("settings", lambda run: describe_settings(run.settings) or "default"),
    ("seed", lambda run: str(run.seed)),
    ("USD/day", lambda run: f"{run.usd_per_day:,.2f}"),
    ("missed", lambda run: _share(run.slo_violation_share)),
    ("dropped", lambda run: _share(run.dropped_share)),
    ("slow", lambda run: _share(run.slow_share)),
    ("OOM", lambda run: f"{run.oom_kills:,}"),
    ("evicted", lambda run: f"{run.evictions:,}"),
    ("starts", lambda run: f"{run.pod_starts:,}"),
    ("launches", lambda run: f"{run.node_launches:,}"),
    ("pending", lambda run: f"{run.pending_pod_minutes:,.0f} min"),
    ("CPU used", lambda run: f"{run.cpu_utilisation * 100:.0f} %"),
    ("bound gap", lambda run: "-" if run.bound_gap is None else f"{run.bound_gap * 100:.1f} %"),
    ("CPU s", lambda run: f"{run.cpu_seconds:,.1f}"),
)
_LEFT = 2


def figures_table(runs: Sequence[Run]) -> str:
    """
    Return an aligned table for each scenario, in the order of the runs.

    `missed` is the share of service-steps in which too many requests were slow.
    """
    parts = []
    for scenario, group in groupby(runs, key=lambda run: run.figures.scenario):
        rows = [[text(run.figures) for _, text in _COLUMNS] for run in group]
        text = table(rows, header=[header for header, _ in _COLUMNS], right=range(_LEFT, len(_COLUMNS)))
        parts.append(f"{scenario}\n{indent(text, '  ')}")
    return "\n\n".join(parts)


def json_lines(runs: Sequence[Run]) -> str:
    """Return one JSON object a line, a line a run."""
    return "".join(msgspec.json.encode(run.figures).decode() + "\n" for run in runs)


def yaml_list(runs: Sequence[Run]) -> str:
    """Return the same objects as one YAML list."""
    return dumps([run.figures for run in runs], "yaml")
