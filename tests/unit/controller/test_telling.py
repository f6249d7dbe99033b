"""One line an action; what is only recorded is not repeated each turn."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from autoscaler.clock import ManualClock
from autoscaler.controller.telling import AGAIN_SECONDS, ActionLog
from autoscaler.interfaces import Outcome
from autoscaler.model.plan import ResizePod, SetReplicas
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.telemetry.logs import configure_logs
from autoscaler.telemetry.metrics import Metrics

SCALE = SetReplicas(
    workload="a/Deployment/b", replicas=3, expected=2, reasons=(Reason(Code.LOAD_NEEDS_MORE, "more"),), usd_per_hour=0.5
)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    out = io.StringIO()
    configure_logs(form="json", stream=out)
    yield out
    configure_logs(level="error")


def _read(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_action_says_what_why_and_what_came_of_it(lines: io.StringIO) -> None:
    told: list[Outcome] = []
    metrics = Metrics()
    log = ActionLog(ManualClock(), metrics, others=[told.append])
    outcome = Outcome(action=SCALE, result="failed", message="gone")
    log(outcome)
    (line,) = _read(lines)
    del line["time"]
    assert line == {
        "level": "warning",
        "event": "action",
        "action": "SetReplicas",
        "workload": "a/Deployment/b",
        "replicas": 3,
        "expected": 2,
        "result": "failed",
        "usd_per_hour": 0.5,
        "reasons": ["LoadNeedsMore"],
        "message": "gone",
    }
    assert told == [outcome]
    labels = {"kind": "SetReplicas", "result": "failed"}
    assert metrics.registry.get_sample_value("podnode_actions_total", labels) == 1


def test_sizes_are_said_as_quantities(lines: io.StringIO) -> None:
    size = ContainerSize(container="app", target=Resources.of(cpu=250))
    ActionLog(ManualClock(), Metrics())(
        Outcome(action=ResizePod(pod="a/b-1", workload="a/Deployment/b", containers=(size,)), result="done")
    )
    assert _read(lines)[0]["containers"] == {"app": {"cpu": "250m"}}


def test_what_is_held_is_said_once_in_ten_minutes_and_counted_each_time(lines: io.StringIO) -> None:
    clock, metrics = ManualClock(), Metrics()
    log = ActionLog(clock, metrics)
    other = SetReplicas(workload="a/Deployment/b", replicas=4, expected=2)
    for action in (SCALE, SCALE, other, SCALE):
        log(Outcome(action=action, result="held"))
    assert [line["replicas"] for line in _read(lines)] == [3, 4]
    clock.advance(AGAIN_SECONDS)
    log(Outcome(action=SCALE, result="held"))
    assert len(_read(lines)) == 3
    labels = {"kind": "SetReplicas", "result": "held"}
    assert metrics.registry.get_sample_value("podnode_actions_total", labels) == 5
