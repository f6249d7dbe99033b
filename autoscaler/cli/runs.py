"""What `backtest` and `simulate` share: where results go, and how far a run is."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.backtest.results import Outcome
    from autoscaler.backtest.runner import Report
    from autoscaler.backtest.scenario import Scenario

FORMATS = ("table", "json", "yaml")
MOST_WORKERS = 1024
SCENARIO_HELP = "a scenario file, or the name of a bundled one such as tiny or demo"
FILES = (".html", ".json", ".jsonl", ".yaml")
OUTPUT_HELP = (
    "table, json or yaml for standard output; or a file that ends in .html, .json, .jsonl or .yaml (repeatable)"
)


def workers_for(jobs: int) -> int:
    """
    Return how many processes to use for `--jobs`; 0 stands for one a core.

    Raises:
        InputError: a number below 0 or absurdly large.
    """
    if not 0 <= jobs <= MOST_WORKERS:
        raise InputError("--jobs", "", jobs, f"a whole number from 0 (one a core) to {MOST_WORKERS}")
    return jobs or os.cpu_count() or 1


def check_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    """
    Return where to write, before anything is run: `table` comes first if only files are named.

    Raises:
        InputError: neither a format nor a file that could be written.
    """
    for output in outputs:
        if output in FORMATS:
            continue
        path = Path(output)
        if path.suffix not in FILES:
            raise InputError("--output", "", output, f"{', '.join(FORMATS)}, or a file that ends in {', '.join(FILES)}")
        _check_writable(path)
    if len(set(outputs)) != len(outputs):
        raise InputError("--output", "", ", ".join(outputs), "each format and file once")
    shown = [output for output in outputs if output in FORMATS]
    if len(shown) > 1:
        raise InputError("--output", "", ", ".join(shown), "one format for standard output")
    return tuple(outputs) if shown else ("table", *outputs)


def _check_writable(path: Path) -> None:
    """Open a file as the end of the run will, and leave all as it was: hours of runs must not end in an error."""
    try:
        new = not path.exists()
        with path.open("ab"):
            pass
        if new:
            path.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("--output", "", str(path), f"a file that can be written ({reason})") from error


def write_outcomes(outputs: Sequence[str], scenarios: Sequence[Scenario], outcomes: Sequence[Outcome]) -> None:
    """Print and write the results of all runs; failures go to standard error."""
    from autoscaler import __version__
    from autoscaler.backtest.report import render_report
    from autoscaler.backtest.results import Failure, Run, describe_settings
    from autoscaler.cli.figures import figures_table, json_lines, yaml_list

    runs = [outcome for outcome in outcomes if isinstance(outcome, Run)]
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            job = outcome.job
            name = " ".join(filter(None, (job.scenario, job.engine, describe_settings(job.settings))))
            print(f"failed: {name} (seed {job.seed}): {outcome.message}", file=sys.stderr)
    for output in outputs:
        if output == "table":
            print(figures_table(runs))
        elif output in ("json", "yaml"):
            print(json_lines(runs) if output == "json" else yaml_list(runs), end="")
        else:
            path = Path(output)
            text = {
                ".html": lambda: render_report(scenarios, outcomes, version=__version__),
                ".yaml": lambda: yaml_list(runs),
            }.get(path.suffix, lambda: json_lines(runs))()
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}", file=sys.stderr)


def progress_on(stream: TextIO, total: int) -> tuple[Report, Any]:
    """
    Return a function to call with each outcome, and what to close in the end.

    A terminal with the extra `ui` gets a bar; anything else a line a run. Both
    say how much time is left, from how long the runs so far took.
    """
    if stream.isatty():
        try:
            return _bar(stream, total)
        except ImportError:
            pass
    return _lines(stream), None


def _bar(stream: TextIO, total: int) -> tuple[Report, Any]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    progress = Progress(
        MofNCompleteColumn(),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        console=Console(file=stream),
        expand=True,
    )
    task = progress.add_task("simulating", total=total)
    progress.start()

    def report(done: int, _total: int, outcome: Outcome) -> None:
        progress.update(task, completed=done, description=_brief(outcome))

    return report, progress


def _lines(stream: TextIO) -> Report:
    from autoscaler.clock import SystemClock

    clock = SystemClock()
    start = clock.monotonic()

    def report(done: int, total: int, outcome: Outcome) -> None:
        from autoscaler.model.units import format_duration

        left = (clock.monotonic() - start) / done * (total - done)
        rest = f"about {format_duration(max(1.0, left))} left" if done < total else "done"
        print(f"{done}/{total}  {_brief(outcome)}  {rest}", file=stream, flush=True)

    return report


def _brief(outcome: Outcome) -> str:
    from autoscaler.backtest.results import Failure, describe_settings

    job = outcome.job
    name = f"{Path(job.scenario).stem} {job.engine}"
    settings = describe_settings(job.settings)
    if isinstance(outcome, Failure):
        return f"{name} failed"
    figures = outcome.figures
    return (
        f"{name}{f' ({settings})' if settings else ''}: "
        f"{figures.usd_per_day:.2f} USD/day, {figures.slo_violation_share * 100:.2f} % missed"
    )
