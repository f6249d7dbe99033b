"""Runs the scenarios of policy packs under the pack's own policy and gives a verdict on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from autoscaler.backtest.results import RunFigures, missed_bounds
from autoscaler.errors import AutoscalerError
from autoscaler.model.policy import UpdateMode
from autoscaler.planning.effective import in_mode
from autoscaler.policy_files.packs import Pack


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one scenario of a pack came to.

    `missed` has a sentence for each bound that was not kept; `failure` says
    why there are no figures.
    """

    pack: str
    scenario: str
    kept: bool
    missed: tuple[str, ...] = ()
    failure: str = ""
    figures: RunFigures | None = None


Report = Callable[[int, int, Verdict], None]


def run_packs(
    packs: Sequence[Pack], *, only: str = "", workers: int = 1, report: Report | None = None
) -> list[Verdict]:
    """
    Run the scenarios whose file name contains *only*, on *workers* processes; in the order of packs and files.

    *report* is called with the number done, the number in all and the verdict, as each scenario ends.
    """
    todo = [(pack, path) for pack in packs for path in pack.scenarios if only in path.stem]
    if workers == 1 or len(todo) < 2:
        verdicts = []
        for done, (pack, path) in enumerate(todo, start=1):
            verdicts.append(run_pack_scenario(pack, path))
            if report is not None:
                report(done, len(todo), verdicts[-1])
        return verdicts
    return _in_processes(todo, workers, report)


def run_pack_scenario(pack: Pack, path: Path) -> Verdict:
    """Run one scenario in mode Auto, whatever the pack says; whatever goes wrong is in the verdict."""
    try:
        return _run(pack, path)
    except AutoscalerError as error:
        failure = str(error)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    return Verdict(pack=pack.name, scenario=path.stem, kept=False, failure=failure)


def _run(pack: Pack, path: Path) -> Verdict:
    from autoscaler.backtest.collect import figures_of
    from autoscaler.backtest.results import Job
    from autoscaler.backtest.scenario import load_scenario
    from autoscaler.simulator.run import simulate

    scenario = load_scenario(path)
    result = simulate(scenario.world(), in_mode(pack.policies(), UpdateMode.AUTO))
    figures = figures_of(result, Job(scenario=str(path), engine=pack.name, seed=scenario.file.seed), scenario.name)
    missed = missed_bounds(scenario.file.expect, figures)
    return Verdict(pack=pack.name, scenario=path.stem, kept=not missed, missed=missed, figures=figures)


def _in_processes(todo: Sequence[tuple[Pack, Path]], workers: int, report: Report | None) -> list[Verdict]:
    from concurrent.futures import as_completed

    from autoscaler.backtest.workers import submitted

    with submitted([(run_pack_scenario, each) for each in todo], workers=workers) as futures:
        for done, future in enumerate(as_completed(futures), start=1):
            if report is not None:
                report(done, len(todo), future.result())
        return [future.result() for future in futures]
