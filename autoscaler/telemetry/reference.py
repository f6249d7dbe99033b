"""The reference page of the controller's own metrics."""

from __future__ import annotations

from autoscaler.telemetry.metrics import Described, Metrics

_INTRO = """# Metrics

What `autoscaler run` says of itself at `/metrics`, in the text format of Prometheus.
The process's own memory, CPU seconds and open files are there too, under their usual names (`process_...`).
Labels take few values, never the name of a pod, node or workload: those are in statuses, events and logs.
[Monitor it](../how-to/monitor.md) shows the dashboard and the alerts that use these.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""


def metrics_reference() -> str:
    """Return the page as Markdown, in the order in which the metrics are defined."""
    return _INTRO + "\n".join(map(_row, Metrics().described)) + "\n"


def _row(metric: Described) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.about} |".replace("|  |", "| |")
