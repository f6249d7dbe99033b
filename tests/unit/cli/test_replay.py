from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import yaml

from autoscaler.model.record import DecisionRecord
from autoscaler.model.state import DecisionState
from autoscaler.planning.decide import decide
from autoscaler.telemetry.record import encode_record, encode_snapshot
from tests.unit.cli.commands import SHOP, run
from tests.unit.planning.decisions import cluster, policies


def record() -> DecisionRecord:
    snapshot, rules = cluster({"api": (3, 3.0), "web": (2, 0.7)}, waiting=1), policies()
    state = decide(snapshot, rules, DecisionState()).state
    decision = decide(snapshot, rules, state)
    return DecisionRecord(version=1, snapshot=snapshot, policies=rules, state=state, decision=decision)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "record.json.gz"
    made.write_bytes(gzip.compress(encode_record(record())))
    return made


def test_a_record_is_equal_to_its_replay(path: Path) -> None:
    ran = run("replay", str(path))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{path}: equal, ")
    assert ran.out.count("\n") == 1


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_machines_get_the_same(path: Path, form: str) -> None:
    ran = run("replay", str(path), "--output", form)
    data = ran.data if form == "json" else yaml.safe_load(ran.out)
    assert (data["equal"], data["inputs_match_digest"], data["first_difference"]) == (True, True, "")
    assert len(data["digest"]) == 64


def test_a_decision_that_was_changed_is_found(tmp_path: Path) -> None:
    data = json.loads(encode_record(record()))
    action = next(a for a in data["decision"]["plan"]["actions"] if a["action"] == "SetReplicas")
    action["replicas"] += 1
    path = tmp_path / "record.json"
    path.write_text(json.dumps(data))
    ran = run("replay", str(path))
    assert ran.code == 1
    assert "different" in ran.out
    assert "recorded ..." in ran.out
    assert "do not match" not in ran.out


def test_inputs_that_were_changed_are_found(tmp_path: Path) -> None:
    data = json.loads(encode_record(record()))
    data["snapshot"]["metrics_delay"] = 31.0
    path = tmp_path / "record.json"
    path.write_text(json.dumps(data))
    ran = run("replay", str(path))
    assert ran.code == 1
    assert "the inputs do not match the digest: the file was changed" in ran.out


def test_the_sample_s_inputs_are_whole() -> None:
    # Whether it replays to equal bytes depends on the version that made it; the inputs do not.
    assert run("replay", SHOP, "--output", "json").data["inputs_match_digest"]


def test_a_snapshot_has_nothing_to_compare_with(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(encode_snapshot(cluster({"web": (2, 0.7)}), policies()))
    ran = run("replay", str(path))
    assert (ran.code, ran.out) == (2, "")
    assert "$.decision" in ran.err
    assert ran.err.count("\n") == 1
