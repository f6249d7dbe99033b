"""Every metric is named by the rules, described, and has labels of few values."""

from __future__ import annotations

import re

from prometheus_client import Histogram

from autoscaler.telemetry.metrics import Metrics, set_by_label

BANNED_LABELS = {"pod", "node", "workload", "namespace", "name", "container", "group"}


def test_names_follow_the_rules() -> None:
    for metric in Metrics().described:
        assert re.fullmatch(r"podnode_[a-z_]+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")
        assert not set(metric.labels) & BANNED_LABELS
        assert metric.about


def test_all_that_is_exported_is_described() -> None:
    metrics = Metrics()
    described = {metric.name.removesuffix("_total") for metric in metrics.described}
    families = {family.name for family in metrics.registry.collect() if not family.name.startswith("process_")}
    assert families == described


def test_registries_do_not_share_values() -> None:
    first, second = Metrics(), Metrics()
    first.turns.labels("period", "done").inc()
    assert b'podnode_turns_total{result="done",trigger="period"} 1.0' in first.text()
    assert b'podnode_turns_total{result="done"' not in second.text()
    assert isinstance(first.reaction_seconds, Histogram)


def test_a_label_that_is_gone_is_forgotten() -> None:
    metrics = Metrics()
    set_by_label(metrics.missing, {"Stale": 3.0, "Absent": 1.0})
    set_by_label(metrics.missing, {"Absent": 2.0})
    text = metrics.text().decode()
    assert 'podnode_readings_missing{reason="Absent"} 2.0' in text
    assert "Stale" not in text
