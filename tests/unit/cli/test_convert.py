from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.commands import run

DATA = Path(__file__).parents[2] / "data"
GKE = str(DATA / "convert" / "gke.yaml")
KEDA = str(DATA / "convert" / "keda.yaml")


def test_a_folder_standard_input_and_files_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = Path(GKE).read_text(encoding="utf-8")
    (tmp_path / "gke.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    outputs = {run("convert", "-f", place).out for place in (GKE, str(tmp_path), "-")}
    assert len(outputs) == 1


def test_json_is_a_list_that_kubectl_takes() -> None:
    ran = run("convert", "-f", KEDA, "--output", "json")
    assert (ran.data["apiVersion"], ran.data["kind"]) == ("v1", "List")
    assert ran.data["items"] == list(yaml.safe_load_all(run("convert", "-f", KEDA).out))


def test_strict_prints_nothing_where_something_is_lost() -> None:
    assert run("convert", "-f", GKE, "--strict").code == 0
    ran = run("convert", "-f", KEDA, "--strict")
    assert (ran.code, ran.out) == (2, "")
    assert "no equivalent: ScaledObject shop/worker: spec.fallback" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "missing.yaml"], "missing.yaml"),
        ([], "allowed: -f FILE or --live"),
        (["--live", "-f", GKE], "allowed: -f FILE or --live"),
        (["-f", str(DATA / "manifests" / "kubeStateMetrics-deployment.yaml")], "at least one object of an autoscaler"),
        (["-f", GKE, "--engine", "best"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str) -> None:
    ran = run("convert", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err.splitlines()[-1]


def test_without_a_cluster_live_says_how_it_tried(tmp_path: Path) -> None:
    ran = run("convert", "--live", "--kubeconfig", str(tmp_path / "none"))
    assert ran.code == 3
    assert "cannot log in to a cluster" in ran.err


def test_crds_prints_all_definitions() -> None:
    printed = list(yaml.safe_load_all(run("crds").out))
    assert [each["spec"]["names"]["shortNames"] for each in printed] == [["mpa"], ["spol"], ["png"], ["pnt"]]
