from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from autoscaler.cli.exits import Exit
from autoscaler.cli.main import main
from autoscaler.policy_files.packs import find_packs, installed_packs
from tests.unit.policy_files.documents import ALL, FULL_MPA


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.yaml"
    path.write_text(FULL_MPA.replace("maxReplicas: 60", "maxReplicas: 1").replace("250ms", "-1s"), encoding="utf-8")
    return path


def test_check_finds_nothing_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(ALL, encoding="utf-8")
    assert main(["policy", "check", str(path)]) == Exit.DONE
    assert capsys.readouterr().out == "no problems found\n"


def test_check_prints_one_line_a_problem(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", str(wrong)]) == Exit.INPUT
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split(" is not valid")[0].removeprefix(f"{wrong}: ") for line in printed.err.splitlines()] == [
        "MultidimPodAutoscaler shop/web: spec.goals.slo.latency.target: '-1s'"
    ]


def test_check_as_json(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", str(wrong), "--output", "json"]) == Exit.INPUT
    (problem,) = json.loads(capsys.readouterr().out)
    assert problem["path"] == "spec.goals.slo.latency.target"
    assert problem["allowed"].startswith("a duration")


def test_check_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("kind: Nothing"))
    assert main(["policy", "check", "-"]) == Exit.INPUT
    assert capsys.readouterr().err.startswith("standard input: apiVersion: nothing is not valid")


def test_check_goes_on_after_a_file_that_cannot_be_read(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", str(wrong.with_name("nothing.yaml")), str(wrong)]) == Exit.INPUT
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == [str(wrong.with_name("nothing.yaml")), str(wrong)]


def test_check_does_not_praise_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.yaml").touch()
    assert main(["policy", "check", str(tmp_path)]) == Exit.INPUT
    assert "at least one document" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param(["--only", "zzz"], "--only", id="no-such-scenario"),
        pytest.param(["--jobs", "-1"], "--jobs", id="less-than-no-processes"),
    ],
)
def test_options_of_test_are_checked(options: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "test", str(installed_packs()), *options]) == Exit.INPUT
    assert f"autoscaler policy: {named}: " in capsys.readouterr().err


def test_the_installed_packs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "list", "--output", "json"]) == Exit.DONE
    packs = json.loads(capsys.readouterr().out)
    assert [pack["name"] for pack in packs] == [pack.name for pack in find_packs(installed_packs())]
    assert all(pack["title"] and pack["scenarios"] for pack in packs)


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "schema"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["title"] == "Documents of podnode-autoscaler"
