"""The whole way: a scenario file, every engine, figures and report."""

import json
from pathlib import Path

import msgspec
import pytest

from autoscaler.backtest.engines import ENGINES
from autoscaler.backtest.report import render_report
from autoscaler.backtest.results import Failure, Job, Run, RunFigures
from autoscaler.backtest.runner import check_engine, default_settings, jobs_of, run_all, run_job
from autoscaler.backtest.scenario import load_scenario, parse_scenario
from autoscaler.cli.backtest import all_well
from autoscaler.errors import ScenarioError

TINY = load_scenario("tiny")
SHARES = ("slo_violation_share", "dropped_share", "slow_share", "cpu_utilisation")


def job(engine: str, scenario: str = "tiny") -> Job:
    return Job(scenario=scenario, engine=engine, settings=default_settings(engine), seed=7, plots=True)


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {engine: run_job(job(engine)) for engine in ENGINES}


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_every_engine_serves_and_pays(runs: dict[str, Run], engine: str) -> None:
    figures = runs[engine].figures
    assert figures.usd_per_day > 0
    assert figures.slo_violation_share < 0.6
    assert all(0 <= getattr(figures, name) <= 1 for name in SHARES)
    assert set(figures.node_hours) <= {"small", "large"}
    assert sum(figures.node_hours.values()) > 0


def test_the_joint_engine_serves_better_than_it_did_nothing(runs: dict[str, Run]) -> None:
    assert runs["joint"].figures.slo_violation_share <= 0.05
    assert runs["joint"].figures.usd_per_day < runs["static"].figures.usd_per_day * 2


def test_equal_jobs_give_equal_figures(runs: dict[str, Run]) -> None:
    def without_time(figures: RunFigures) -> RunFigures:
        return msgspec.structs.replace(figures, cpu_seconds=0.0)

    again = run_job(job("joint"))
    assert without_time(again.figures) == without_time(runs["joint"].figures)
    assert again.series == runs["joint"].series


def test_series_have_one_value_a_bin(runs: dict[str, Run]) -> None:
    series = runs["joint"].series
    assert series is not None
    assert series.length_hours == 2
    assert set(series.services) == {"web", "store"}
    lines = [*series.lines.values(), *(line for lines in series.services.values() for line in lines.values())]
    assert {len(line) for line in lines} == {len(series.hours)}


def test_the_report_holds_every_run(runs: dict[str, Run]) -> None:
    page = render_report([TINY], list(runs.values()))
    content = json.loads(page.split('id="figures">')[1].split("</script>")[0])
    assert {run["engine"] for run in content["scenarios"][0]["runs"]} == set(ENGINES)


def test_one_failing_run_does_not_end_the_others() -> None:
    jobs = [job("static"), job("static", "no-such-scenario"), job("hpa")]
    seen: list[tuple[int, int]] = []
    outcomes = run_all(jobs, workers=2, report=lambda done, total, outcome: seen.append((done, total)))
    assert [type(outcome) for outcome in outcomes] == [Run, Failure, Run]
    assert [outcome.job for outcome in outcomes] == jobs
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert not all_well([TINY], outcomes)


def test_a_sweep_has_the_defaults_first_and_every_seed() -> None:
    jobs = jobs_of(TINY, ["static", "joint"], path="tiny", sweep=True, seeds=2)
    assert [(j.engine, j.seed) for j in jobs if j.preset] == [("static", 7), ("static", 8), ("joint", 7), ("joint", 8)]
    assert sum(j.plots for j in jobs) == 2


@pytest.mark.parametrize("engine", ["nope", "policies", ""])
def test_unknown_engines_are_bad_input(engine: str) -> None:
    with pytest.raises(ScenarioError, match="joint"):
        check_engine(engine, TINY)


def test_a_missed_expectation_is_told(capsys: pytest.CaptureFixture[str], runs: dict[str, Run]) -> None:
    text = (Path(TINY.where)).read_text(encoding="utf-8") + "expect: {usd_per_day: {max: 0.01}}\n"
    strict = parse_scenario(text, "tiny.yaml")
    own = msgspec.structs.replace(runs["joint"], job=Job(scenario="tiny", engine="policies"))
    assert not all_well([strict], [own])
    assert "usd_per_day" in capsys.readouterr().err
    assert all_well([strict], [runs["joint"]])
