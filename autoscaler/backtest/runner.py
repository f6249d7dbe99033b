"""Which runs a backtest has, and doing them on all cores."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from typing import TYPE_CHECKING

from autoscaler.backtest.collect import figures_of, series_of
from autoscaler.backtest.engines import ENGINES, Prepared, Settings, settings_of
from autoscaler.backtest.results import Failure, Job, Outcome, Run
from autoscaler.backtest.scenario import Scenario, load_scenario
from autoscaler.backtest.sweep import Knobs
from autoscaler.backtest.workers import submitted
from autoscaler.errors import AutoscalerError, ScenarioError
from autoscaler.model.spec import Duration

if TYPE_CHECKING:
    from autoscaler.simulator.run import Observer
    from autoscaler.simulator.spec import WorldSpec

OWN_POLICIES = "policies"
"""The engine name that stands for the documents in the scenario itself."""

Report = Callable[[int, int, Outcome], None]
"""Called with the number of jobs done, of all jobs, and the newest outcome."""


def jobs_of(
    scenario: Scenario,
    engines: Sequence[str],
    *,
    path: str,
    sweep: bool = False,
    knobs: Knobs | None = None,
    seeds: int = 1,
    length: str = "",
) -> list[Job]:
    """
    Return the runs of one scenario: each engine, its settings, and *seeds* seeds counted up from the scenario's.

    A sweep has the settings that each engine comes with, or those that *knobs* make.

    Raises:
        ScenarioError: an engine is not known, or the scenario has no policies of its own.
    """
    jobs = []
    for name in engines:
        check_engine(name, scenario)
        settings = (
            settings_of(ENGINES[name], sweep=sweep, knobs=knobs or {}) if name in ENGINES else (default_settings(name),)
        )
        jobs += [
            Job(
                scenario=path,
                engine=name,
                settings=each,
                seed=scenario.file.seed + offset,
                preset=place == 0,
                plots=place == 0 and offset == 0,
                length=length,
            )
            for place, each in enumerate(settings)
            for offset in range(seeds)
        ]
    return jobs


def check_engine(name: str, scenario: Scenario) -> None:
    """
    Make sure that there is such an engine for the scenario.

    Raises:
        ScenarioError: it is not known, or is `policies` and the scenario has none.
    """
    if name == OWN_POLICIES and scenario.file.policies:
        return
    if name not in ENGINES:
        allowed = f"one of {', '.join(ENGINES)}, or {OWN_POLICIES} for a scenario that has documents of its own"
        raise ScenarioError(scenario.where, "--engines", name, allowed)


def prepare(scenario: Scenario, engine: str, settings: Settings, *, seed: int) -> Prepared:
    """
    Return the simulated cluster and the policies of one run.

    Raises:
        InputError: the scenario, a trace or its policies are wrong.
    """
    world = scenario.world(seed)
    if engine != OWN_POLICIES:
        return ENGINES[engine].prepare(world, {**ENGINES[engine].settings, **settings})
    from autoscaler.policy_files import policies_of

    return world, policies_of(scenario.file.policies, f"{scenario.where}: policies")


def check_settings(jobs: Sequence[Job], world: WorldSpec) -> None:
    """
    Make sure that settings given by hand make documents that are valid.

    Raises:
        InputError: naming the document, the field, the value and what is allowed.
    """
    from autoscaler.policy_files import policies_of
    from autoscaler.policy_files.write import policy_documents

    for job in jobs:
        if not job.preset and job.engine in ENGINES:
            engine = ENGINES[job.engine]
            _, policies = engine.prepare(world, {**engine.settings, **job.settings})
            policies_of(list(policy_documents(policies)), f"--sweep: engine {job.engine}")


def default_settings(engine: str) -> Settings:
    """Return the settings that an engine has when nothing else is said."""
    return ENGINES[engine].settings if engine in ENGINES else {}


def run_job(job: Job, *, observer: Observer | None = None) -> Run:
    """
    Simulate one job; *observer* sees every step.

    Raises:
        AutoscalerError: the scenario is wrong or the run failed.
    """
    from autoscaler.simulator.run import simulate

    scenario = load_scenario(job.scenario)
    if job.length:
        scenario = scenario.first(Duration(job.length))
    world, policies = prepare(scenario, job.engine, job.settings, seed=job.seed)
    result = simulate(world, policies, observer=observer)
    return Run(
        job=job,
        figures=figures_of(result, job, scenario.name),
        series=series_of(result, world) if job.plots else None,
    )


def run_safely(job: Job, *, observer: Observer | None = None) -> Outcome:
    """Simulate one job; whatever goes wrong is that job's Failure."""
    try:
        return run_job(job, observer=observer)
    except AutoscalerError as error:
        return Failure(job=job, message=str(error))
    except Exception as error:
        return Failure(job=job, message=f"{type(error).__name__}: {error}")


def run_all(jobs: Sequence[Job], *, workers: int, report: Report | None = None) -> list[Outcome]:
    """
    Simulate all jobs on *workers* processes; results are in the order of the jobs.

    A worker that dies fails its own job only. Ctrl-C ends them all at once.
    """
    outcomes: dict[int, Outcome] = {}
    with closing(_finished(jobs, workers)) as finished:
        for place, outcome in finished:
            outcomes[place] = outcome
            if report is not None:
                report(len(outcomes), len(jobs), outcome)
    return [outcomes[place] for place in range(len(jobs))]


def _finished(jobs: Sequence[Job], workers: int) -> Generator[tuple[int, Outcome], None, None]:
    """Yield places and outcomes as they come in."""
    if workers <= 1 or len(jobs) <= 1:
        for place, job in enumerate(jobs):
            yield place, run_safely(job)
        return
    lost: list[int] = []
    with submitted([(run_safely, (job,)) for job in jobs], workers=workers) as futures:
        places = {future: place for place, future in enumerate(futures)}
        for future in as_completed(futures):
            try:
                yield places[future], future.result()
            except BrokenProcessPool:
                lost.append(places[future])
    for place in lost:
        yield place, _alone(jobs[place])


def _alone(job: Job) -> Outcome:
    """Run a job in a process of its own, after the shared pool broke."""
    with submitted([(run_safely, (job,))], workers=1) as futures:
        try:
            return futures[0].result()
        except BrokenProcessPool:
            return Failure(job=job, message="its process died, perhaps for want of memory")
