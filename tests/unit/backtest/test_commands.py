"""What `backtest` and `simulate` check before they run, and how a run looks meanwhile."""

import argparse
import io
from pathlib import Path

import numpy as np
import pytest

from autoscaler.cli import backtest, simulate
from autoscaler.cli.live import LiveView, PlainView, action_text, clock_text, sparkline
from autoscaler.cli.runs import check_outputs, workers_for
from autoscaler.errors import InputError
from autoscaler.model.plan import Decision, EvictPod, Plan, SetGroupSize, SetReplicas
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.state import DecisionState
from autoscaler.simulator.results import Moment

SCALE = SetReplicas(
    workload="shop/Deployment/web", replicas=4, expected=3, reasons=(Reason(Code.LOAD_NEEDS_MORE, "more load"),)
)


def moment(step: int) -> Moment:
    return Moment(
        step=step,
        steps=40,
        time=1_767_571_200.0 + step * 60,
        services=("shop/Deployment/web",),
        load=np.array([12.0]),
        replicas=np.array([4.0]),
        ready=np.array([3.0]),
        slow=np.array([0.2]),
        latency=np.array([np.nan]),
        nodes_by_type={"small": 2},
        usd_per_hour=0.4,
        usd=1.0,
        slo_violation_share=0.03,
        pending_pods=1,
        decision=Decision(plan=Plan(actions=(SCALE,)), recommendations=(), state=DecisionState()),
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param([0, 0], "▁▁", id="all-zero"),
        pytest.param([0, 7, 3.5], "▁█▄", id="from-zero-to-the-largest"),
    ],
)
def test_sparkline(values: list[float], expected: str) -> None:
    assert sparkline(values) == expected


def test_clock_text_names_the_weekday() -> None:
    assert clock_text(moment(61)) == "Mon 01:01"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (SCALE, "SetReplicas shop/Deployment/web 3 → 4   more load"),
        (SetGroupSize(group="small", size=2, expected=0), "SetGroupSize small 0 → 2"),
        (EvictPod(pod="shop/web-1", uid="1"), "EvictPod shop/web-1"),
    ],
)
def test_action_text(action: SetReplicas, expected: str) -> None:
    assert action_text(action) == expected


def test_plain_view_writes_a_line_for_each_part_of_the_run() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    for step in range(-5, 40):
        view(step, moment(step))
    view.close()
    lines = stream.getvalue().splitlines()
    assert 15 <= len(lines) <= 20
    assert "2 nodes" in lines[0]
    assert "100%" in lines[-1]


def test_live_view_shows_workloads_and_actions() -> None:
    stream = io.StringIO()
    view = LiveView(stream, "tiny · joint")
    for step in range(40):
        view(step, moment(step))
    view.close()
    shown = stream.getvalue()
    assert "tiny · joint" in shown
    assert "more load" in shown
    assert "3.00%" in shown


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        pytest.param([], ("table",), id="a-table-by-default"),
        pytest.param(["x.html"], ("table", "x.html"), id="a-table-beside-files"),
        pytest.param(["json", "x.html"], ("json", "x.html"), id="a-format-and-a-file"),
    ],
)
def test_check_outputs(outputs: list[str], expected: tuple[str, ...]) -> None:
    assert check_outputs(outputs) == expected


@pytest.mark.parametrize("outputs", [["x.pdf"], ["xml"], ["no/such/folder/x.html"], ["json", "table"], [""]])
def test_outputs_that_cannot_be(outputs: list[str]) -> None:
    with pytest.raises(InputError):
        check_outputs(outputs)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(["nope"], id="no-such-scenario"),
        pytest.param(["tiny", "tiny"], id="a-scenario-twice"),
        pytest.param(["tiny", "--engines", "nope"], id="no-such-engine"),
        pytest.param(["tiny", "--engines", ","], id="no-engine"),
        pytest.param(["tiny", "--engines", "hpa,hpa"], id="an-engine-twice"),
        pytest.param(["tiny", "--seeds", "0"], id="no-seed"),
        pytest.param(["tiny", "--jobs", "-1"], id="negative-jobs"),
        pytest.param(["tiny", "--length", "soon"], id="not-a-length"),
        pytest.param(["tiny", "--length", "0s"], id="no-length"),
        pytest.param(["tiny", "--sweep", "speed=1"], id="no-such-knob"),
        pytest.param(["tiny", "--engines", "joint", "--sweep", "utilisation=5"], id="a-value-that-is-refused"),
    ],
)
def test_bad_input_to_backtest_writes_nothing(
    tmp_path: Path, line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    backtest.add_arguments(parser)
    report = tmp_path / "report.html"
    with pytest.raises(InputError):
        backtest.run(parser.parse_args([*line, "--output", str(report)]))
    assert not report.exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("line", "sweep"),
    [
        pytest.param(["tiny"], None, id="none"),
        pytest.param(["tiny", "--sweep"], [None], id="an-engine-s-own"),
        pytest.param(["tiny", "--sweep", "target=0.5", "--sweep", "fill=1"], ["target=0.5", "fill=1"], id="knobs"),
    ],
)
def test_what_a_sweep_may_say(line: list[str], sweep: list[str | None] | None) -> None:
    parser = argparse.ArgumentParser()
    backtest.add_arguments(parser)
    assert parser.parse_args(line).sweep == sweep


def test_a_scenario_after_sweep_is_no_knob(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    backtest.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--sweep", "tiny"])
    assert "scenarios stand before --sweep" in capsys.readouterr().err


@pytest.mark.parametrize("line", [["nope"], ["tiny", "--engine", "nope"], ["tiny", "--seed", "-1"]])
def test_bad_input_to_simulate(line: list[str]) -> None:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    with pytest.raises(InputError):
        simulate.run(parser.parse_args(line))


@pytest.mark.parametrize(
    "outputs",
    [
        pytest.param(["no-such-folder/x.html"], id="no-folder"),
        pytest.param(["x\0.html"], id="not-a-name"),
        pytest.param(["x" * 300 + ".html"], id="too-long-a-name"),
        pytest.param(["x.html", "x.html"], id="twice"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_runs(
    outputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--output"):
        check_outputs(outputs)
    assert not list(tmp_path.iterdir())


def test_checking_an_output_changes_nothing(tmp_path: Path) -> None:
    before = tmp_path / "old.json"
    before.write_text("kept", encoding="utf-8")
    check_outputs([str(before), str(tmp_path / "new.json")])
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
    assert before.read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize("jobs", [-1, 10**9])
def test_absurd_numbers_of_processes_are_refused(jobs: int) -> None:
    with pytest.raises(InputError, match="--jobs"):
        workers_for(jobs)


@pytest.mark.parametrize("width", [40, 64, 160])
def test_the_live_view_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    view = LiveView(stream, "tiny · joint")
    for step in range(40):
        view(step, moment(step))
    view.close()
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.startswith("web ") for line in lines)
