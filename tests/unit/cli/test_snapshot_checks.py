"""Recorded snapshots that no cluster can have been in."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoscaler.cli.exits import Exit
from tests.unit.cli.commands import SHOP, run


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param(lambda s: s["workloads"][1].update(replicas=-3), "workloads[1].replicas", id="fewer-than-none"),
        pytest.param(lambda s: s["nodes"][0].update(usd_per_hour=1e308), "nodes[0].usd_per_hour", id="absurd-price"),
        pytest.param(
            lambda s: s["node_groups"][2].update(target_size=-1), "node_groups[2].target_size", id="a-negative-group"
        ),
        pytest.param(lambda s: s.update(observed_at=-1e300), "observed_at", id="before-all-time"),
        pytest.param(
            lambda s: s["nodes"][0]["allocatable"].update(amounts=[["cpu", -100]]),
            "nodes[0].allocatable.cpu",
            id="negative-cpu",
        ),
    ],
)
@pytest.mark.parametrize("command", [("plan", "--snapshot"), ("replay",)], ids=lambda command: command[0])
def test_impossible_amounts_are_refused_by_path(
    change: Callable[[dict[str, Any]], None], path: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    record = json.loads(gzip.decompress(Path(SHOP).read_bytes()))
    change(record["snapshot"])
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(record), encoding="utf-8")
    ran = run(*command, str(file))
    assert (ran.code, ran.out) == (Exit.INPUT, "")
    assert ran.err.startswith(f"autoscaler {command[0]}: {file}: snapshot.{path}: ")


def test_a_folder_without_policies_is_not_a_policy(tmp_path: Path) -> None:
    ran = run("plan", "--snapshot", SHOP, "--policies", str(tmp_path))
    assert ran.code == Exit.INPUT
    assert "at least one document" in ran.err
