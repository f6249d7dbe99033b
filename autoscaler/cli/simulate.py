"""`autoscaler simulate`: one engine on one scenario, watched while it runs."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from autoscaler.cli.runs import OUTPUT_HELP, SCENARIO_HELP, check_outputs, write_outcomes

if TYPE_CHECKING:
    from autoscaler.cli.live import LiveView, PlainView


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("scenario", metavar="SCENARIO", help=SCENARIO_HELP)
    parser.add_argument("--engine", default="joint", help="who decides (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="instead of the scenario's")
    parser.add_argument(
        "--live",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="a live view on standard error (default: if that is a terminal)",
    )
    parser.add_argument("--output", action="append", default=[], metavar="FORMAT|FILE", help=OUTPUT_HELP)


def run(args: argparse.Namespace) -> int:
    """
    Run the simulation; return 0, or 1 when it failed or missed what the scenario expects.

    Raises:
        InputError: the scenario, the engine's name or an option is wrong; nothing has been written then.
    """
    from autoscaler.backtest.results import Job
    from autoscaler.backtest.runner import check_engine, default_settings, run_safely
    from autoscaler.backtest.scenario import load_scenario
    from autoscaler.cli.backtest import all_well
    from autoscaler.errors import InputError

    outputs = check_outputs(args.output)
    scenario = load_scenario(args.scenario)
    check_engine(args.engine, scenario)
    seed = scenario.file.seed if args.seed is None else args.seed
    if not 0 <= seed < 2**31:
        raise InputError("--seed", "", seed, "a whole number from 0 to 2147483647")
    scenario.world(seed)
    job = Job(scenario=args.scenario, engine=args.engine, settings=default_settings(args.engine), seed=seed, plots=True)
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    view = _view(live=terminal if args.live is None else args.live, title=f"{scenario.name} · {args.engine}")
    try:
        outcomes = [run_safely(job, observer=view)]
    finally:
        view.close()
    write_outcomes(outputs, [scenario], outcomes)
    return 0 if all_well([scenario], outcomes) else 1


def _view(*, live: bool, title: str) -> LiveView | PlainView:
    from autoscaler.cli.live import LiveView, PlainView

    if live:
        try:
            return LiveView(sys.stderr, title)
        except ImportError:
            print("no live view: it needs rich (pip install podnode-autoscaler[ui])", file=sys.stderr)
    return PlainView(sys.stderr)
