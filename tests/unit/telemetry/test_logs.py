"""Logs are one line an event, with facts as keys."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from autoscaler.telemetry.logs import Log, configure_logs

log = Log("autoscaler.tests")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    yield io.StringIO()
    configure_logs(level="error")


def test_json_lines_have_time_level_event_and_facts(out: io.StringIO) -> None:
    configure_logs(form="json", stream=out)
    log.info("node group resized", group="web-a", size=7, spot=None, at={"x": 1.5})
    line = json.loads(out.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "node group resized",
        "group": "web-a",
        "size": 7,
        "spot": None,
        "at": {"x": 1.5},
    }


def test_a_fact_cannot_pose_as_level_or_event(out: io.StringIO) -> None:
    configure_logs(form="json", stream=out)
    log.info("real", level="debug", time="never")
    line = json.loads(out.getvalue())
    assert (line["level"], line["event"]) == ("info", "real")
    assert line["time"] != "never"


def test_a_line_break_in_a_fact_stays_in_its_line(out: io.StringIO) -> None:
    configure_logs(form="json", stream=out)
    log.warning("refused", reason='a\n{"level": "error"}')
    assert len(out.getvalue().splitlines()) == 1


def test_text_is_for_people(out: io.StringIO) -> None:
    configure_logs(form="text", stream=out)
    log.info("node group resized", group="web-a", usd=0.123456, why="two words")
    assert out.getvalue().endswith("info    node group resized  group=web-a  usd=0.1235  why='two words'\n")


def test_lists_and_tables_are_text_for_people_too(out: io.StringIO) -> None:
    configure_logs(form="text", stream=out)
    log.info("cycle", seconds={"act": 0.12345, "decide": 1.0}, problems=[], reasons=["One", "Two"])
    assert out.getvalue().endswith("cycle  seconds=act:0.1235,decide:1  problems=-  reasons=One,Two\n")
    log.info("action", containers={"app": {"cpu": "1", "memory": "2Gi"}}, problems=["no answer", "late"])
    assert out.getvalue().endswith("action  containers=app:cpu:1,memory:2Gi  problems='no answer,late'\n")


def test_what_is_below_the_level_is_left_out(out: io.StringIO) -> None:
    configure_logs(level="warning", stream=out)
    log.info("small")
    log.debug("smaller")
    log.error("large")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["large"]


def test_a_bug_comes_with_its_trace(out: io.StringIO) -> None:
    configure_logs(form="json", stream=out)
    try:
        int("why")
    except ValueError:
        log.exception("turn failed")
    assert "ValueError: invalid literal" in json.loads(out.getvalue())["error"]
