"""The examples do what they say."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from autoscaler import decide
from tests.meta.sources import ROOT


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples" / "custom_controller.py"))


async def test_the_rule_of_the_house_keeps_what_the_night_would_shrink(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    controller = await example["run"]()
    by_the_house = capsys.readouterr().out
    assert "default/Deployment/web 2 -> " in by_the_house
    assert controller.last.snapshot.workloads[0].replicas > 2
    assert controller.health.why_not_ready() == ""
    plain = await example["run"](decide=decide)
    shrunk = [line for line in capsys.readouterr().out.splitlines() if line not in by_the_house.splitlines()]
    assert shrunk
    assert plain.last.snapshot.workloads[0].replicas == 2
