"""The packs keep what their scenarios expect of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.backtest.packs import run_pack_scenario
from autoscaler.policy_files.packs import Pack, find_packs, installed_packs

PACKS = find_packs(installed_packs())
WANTED = {"ramp", "spike", "metrics-outage", "node-loss", "bad-deploy"}


@pytest.mark.parametrize(
    ("pack", "path"),
    [pytest.param(pack, path, id=f"{pack.name}-{path.stem}") for pack in PACKS for path in pack.scenarios],
)
def test_verdict(pack: Pack, path: Path) -> None:
    verdict = run_pack_scenario(pack, path)
    assert verdict.kept, verdict.failure or "; ".join(verdict.missed)


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.name)
def test_a_pack_says_what_it_is_for_and_faces_the_same_five_troubles(pack: Pack) -> None:
    assert (pack.folder / "README.md").read_text(encoding="utf-8").startswith(f"# {pack.name}: {pack.title}\n")
    assert {path.stem for path in pack.scenarios} >= WANTED
    assert [policy.name for policy in pack.policies().scaling] == [pack.name]
