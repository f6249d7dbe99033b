import json

import msgspec
import pytest

from autoscaler.backtest.report import render_report, sort_engines
from autoscaler.backtest.results import METRICS, Failure, Job, Run, RunFigures, RunSeries, missed_bounds
from autoscaler.backtest.scenario import load_scenario
from autoscaler.backtest.schema import Bounds
from autoscaler.cli.figures import figures_table, json_lines, yaml_list

FIGURES = RunFigures(
    scenario="tiny",
    engine="hpa",
    settings={"target": 0.7},
    seed=7,
    usd_per_day=1234.5,
    slo_violation_share=0.0123,
    dropped_share=0.0,
    slow_share=0.25,
    oom_kills=1,
    evictions=2,
    pod_starts=3000,
    node_launches=4,
    pending_pod_minutes=5.4,
    slack_cpu=0.5,
    slack_memory=0.25,
    cpu_utilisation=0.61,
    bound_gap=None,
    cpu_seconds=1.5,
    node_hours={"small": 4.0},
)
SERIES = RunSeries(
    hours=(0.5, 1.5),
    bin_minutes=60.0,
    length_hours=2.0,
    lines=dict.fromkeys(("usd", "nodes", "replicas", "cpu", "work", "memory", "slow"), (1.0, 2.0)),
    services={"web": dict.fromkeys(("replicas", "cpu", "memory", "slow"), (1.0, 2.0))},
)
RUN = Run(job=Job(scenario="tiny", engine="hpa", settings={"target": 0.7}, seed=7), figures=FIGURES, series=SERIES)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        pytest.param({}, (), id="nothing-expected"),
        pytest.param({"usd_per_day": Bounds(max=2000.0)}, (), id="kept"),
        pytest.param({"oom_kills": Bounds(max=0.0)}, ("oom_kills is 1, expected at most 0",), id="too-much"),
        pytest.param({"evictions": Bounds(min=3.0)}, ("evictions is 2, expected at least 3",), id="too-little"),
        pytest.param({"bound_gap": Bounds(max=0.0)}, (), id="null-keeps-every-bound"),
    ],
)
def test_missed_bounds(bounds: dict[str, Bounds], expected: tuple[str, ...]) -> None:
    assert missed_bounds(bounds, FIGURES) == expected


def test_a_json_line_has_exactly_the_documented_keys() -> None:
    (line,) = json_lines([RUN]).splitlines()
    assert list(json.loads(line)) == ["scenario", "engine", "settings", "seed", *METRICS, "node_hours"]


def test_yaml_says_the_same_as_json() -> None:
    assert msgspec.yaml.decode(yaml_list([RUN])) == [json.loads(json_lines([RUN]))]


def test_the_table_is_aligned() -> None:
    lines = figures_table([RUN, RUN]).splitlines()
    assert lines[0] == "tiny"
    assert {len(line) for line in lines[1:]} == {len(lines[1])}
    assert "1,234.50" in lines[2]


def test_the_report_is_self_contained_and_safe() -> None:
    failure = Failure(job=Job(scenario="tiny", engine="vpa"), message="</script><b>broken</b>")
    page = render_report([load_scenario("tiny")], [RUN, failure], version="1")
    for mark in ("@TITLE@", "@LEAD@", "@METHOD@", "@DATA@"):
        assert mark not in page
    assert page.count("</script>") == 2
    for outside in ('src="', "src='", "@import", "url(", "<link"):
        assert outside not in page
    content = json.loads(page.split('id="figures">')[1].split("</script>")[0])
    (scenario,) = content["scenarios"]
    assert scenario["runs"][0]["lines"]["usd"] == [1.0, 2.0]
    assert scenario["failed"][0]["message"] == failure.message


def test_the_report_counts_seeds_by_scenario() -> None:
    figures = msgspec.structs.replace(FIGURES, scenario="other", seed=FIGURES.seed + 1)
    other = msgspec.structs.replace(RUN, figures=figures)
    page = render_report([load_scenario("tiny")], [RUN, other])
    assert "2 runs of 1 engine on 1 scenario, simulated with 1 seed each" in page


def test_equal_input_gives_an_equal_report() -> None:
    scenarios = [load_scenario("tiny")]
    assert render_report(scenarios, [RUN]) == render_report(scenarios, [RUN])


def test_engines_keep_their_place() -> None:
    assert sort_engines({"zz", "static", "joint", "hpa"}) == ["joint", "hpa", "static", "zz"]
