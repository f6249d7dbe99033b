"""`autoscaler backtest`: the same scenario under every engine."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from autoscaler.cli.runs import OUTPUT_HELP, SCENARIO_HELP, check_outputs, progress_on, workers_for, write_outcomes
from autoscaler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoscaler.backtest.results import Job, Outcome
    from autoscaler.backtest.scenario import Scenario
    from autoscaler.model.spec import Duration

DEFAULT_ENGINES = "static,hpa,hpa+vpa,mpa,hpa+season,joint"
MOST_SEEDS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO", help=SCENARIO_HELP)
    parser.add_argument("--engines", default=DEFAULT_ENGINES, help="names with commas between (default: %(default)s)")
    parser.add_argument(
        "--sweep",
        nargs="?",
        action="append",
        type=_knob,
        metavar="KNOB=VALUE,VALUE",
        help="run further settings of each engine, for its frontier: its own, or all of the values given (repeatable)",
    )
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, counted up from the scenario's")
    parser.add_argument("--length", default="", metavar="DURATION", help="only the first so much of each scenario")
    parser.add_argument("--jobs", type=int, default=0, help="processes at once (default: one a core)")
    parser.add_argument("--output", action="append", default=[], metavar="FORMAT|FILE", help=OUTPUT_HELP)


def run(args: argparse.Namespace) -> int:
    """
    Run the backtest; return 0, or 1 when a run failed or missed what its scenario expects.

    Raises:
        InputError: a scenario, an engine's name or an option is wrong; nothing has been written then.
    """
    from autoscaler.backtest.runner import check_settings, jobs_of, run_all
    from autoscaler.backtest.scenario import load_scenario
    from autoscaler.backtest.sweep import read_knobs

    outputs = check_outputs(args.output)
    workers = workers_for(args.jobs)
    if not 1 <= args.seeds <= MOST_SEEDS:
        raise InputError("--seeds", "", args.seeds, f"a whole number from 1 to {MOST_SEEDS}")
    engines = [name.strip() for name in args.engines.split(",") if name.strip()]
    if not engines or len(set(engines)) != len(engines):
        raise InputError("--engines", "", args.engines, "names of engines with commas between, each once")
    knobs = read_knobs([text for text in args.sweep or () if text], engines)
    length = _length(args.length)
    scenarios = [load_scenario(name) for name in args.scenarios]
    if length is not None:
        scenarios = [scenario.first(length) for scenario in scenarios]
    names = [scenario.name for scenario in scenarios]
    if len(set(names)) != len(names):
        raise InputError("SCENARIO", "", ", ".join(names), "scenarios with different names")
    jobs: list[Job] = []
    for scenario, path in zip(scenarios, args.scenarios, strict=True):
        world = scenario.world()
        own = jobs_of(
            scenario,
            engines,
            path=path,
            sweep=args.sweep is not None,
            knobs=knobs,
            seeds=args.seeds,
            length=args.length,
        )
        if knobs:
            check_settings(own, world)
        jobs += own
    report, bar = progress_on(sys.stderr, len(jobs))
    try:
        outcomes = run_all(jobs, workers=workers, report=report)
    finally:
        if bar is not None:
            bar.stop()
    write_outcomes(outputs, scenarios, outcomes)
    return 0 if all_well(scenarios, outcomes) else 1


def _knob(text: str) -> str:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not KNOB=VALUE,VALUE (scenarios stand before --sweep)")
    return text


def _length(text: str) -> Duration | None:
    from autoscaler.model.spec import Duration

    if not text:
        return None
    try:
        length = Duration(text)
    except ValueError as cause:
        raise InputError("--length", "", text, "a duration such as 12h or 1d") from cause
    if length.seconds <= 0:
        raise InputError("--length", "", text, "a duration above 0")
    return length


def all_well(scenarios: Sequence[Scenario], outcomes: Sequence[Outcome]) -> bool:
    """Tell whether every run ended, and those of the scenarios' own policies kept what is expected of them."""
    from autoscaler.backtest.results import Failure, missed_bounds
    from autoscaler.backtest.runner import OWN_POLICIES

    expected = {scenario.name: scenario.file.expect for scenario in scenarios}
    well = True
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            well = False
        elif outcome.job.engine == OWN_POLICIES:
            for miss in missed_bounds(expected[outcome.figures.scenario], outcome.figures):
                print(f"missed: {outcome.figures.scenario} (seed {outcome.figures.seed}): {miss}", file=sys.stderr)
                well = False
    return well
