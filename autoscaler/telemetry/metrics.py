"""
The controller's own metrics, in a registry of their own.

Labels take few values: kinds, results, reasons; never the name of a pod, node
or workload. `docs/reference/metrics.md` is written from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from autoscaler import __version__

_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_REACTION = (0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0)

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Described(msgspec.Struct, frozen=True):
    """A metric for the reference page."""

    name: str
    kind: str
    labels: tuple[str, ...]
    about: str


class Metrics:
    """All metrics of one controller; set and counted by `autoscaler.controller`."""

    def __init__(self) -> None:
        # Without this each counter has a second series that says when it began.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        self.described: list[Described] = []
        self._turns()
        self._plans()
        self._cluster()
        self._inputs()
        self._shell()
        self.build = self._gauge("build_info", "1, with the version", ("version",))
        self.build.labels(__version__).set(1)
        # Memory, CPU seconds and open files of the process, under their usual names.
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """Return all values in the text format of Prometheus."""
        return generate_latest(self.registry)

    def _turns(self) -> None:
        self.turns = self._counter(
            "turns_total",
            "Turns of the loop, by trigger (period, pending) and result (done, held, failed)",
            ("trigger", "result"),
        )
        self.phase_seconds = self._histogram(
            "turn_phase_seconds", "Duration of a turn's phases: cluster, metrics, decide, act", ("phase",), _FAST
        )
        self.last_turn = self._gauge("last_turn_timestamp_seconds", "When the last whole turn ended")
        self.reaction_seconds = self._histogram(
            "pending_reaction_seconds",
            "From the first unschedulable pod of a burst to the plan for it, the wait for quiet included",
            (),
            _REACTION,
        )

    def _plans(self) -> None:
        self.actions = self._counter(
            "actions_total", "Actions by kind and result (done, valid, held, failed)", ("kind", "result")
        )
        self.advised = self._gauge(
            "advised_actions", "Actions that the policies' modes do not allow, by kind", ("kind",)
        )
        self.held = self._gauge("held_workloads", "Workloads on which nothing may be done, by reason code", ("code",))
        self.cost = self._gauge(
            "cost_usd_per_hour", "Price of all nodes: now, and after the last plan is carried out", ("when",)
        )
        self.bound_gap = self._gauge(
            "bound_gap_ratio",
            "How far the nodes last bought are above a lower bound of their cost; 0 is the best possible",
        )

    def _cluster(self) -> None:
        self.pods = self._gauge("pods", "Pods by state: placed, pending, unschedulable", ("state",))
        self.nodes = self._gauge("nodes", "Nodes by state: ready, not_ready, upcoming", ("state",))
        self.workloads = self._gauge("workloads", "Workloads by state: governed by a policy, or not", ("state",))
        self.staleness = self._gauge(
            "cluster_staleness_seconds", "Age of the least fresh part of what is known of the cluster"
        )
        self.restarts = self._counter("watch_restarts_total", "Watches of the API server that had to begin anew")

    def _inputs(self) -> None:
        self.readings = self._gauge("readings", "Readings of the last turn that were usable")
        self.missing = self._gauge(
            "readings_missing", "Readings of the last turn that were missing, by reason", ("reason",)
        )
        self.queries = self._counter(
            "metrics_queries_total",
            "Queries of Prometheus, by outcome: ok, partial, or why there was no answer",
            ("outcome",),
        )
        self.problems = self._counter(
            "input_problems_total", "Turns in which something could not be read: node groups, metrics", ("input",)
        )
        self.policy_problems = self._gauge("policy_problems", "Policy documents that cannot be used")
        self.models = self._gauge(
            "models", "Workloads with a learned model, by whether its forecast is trusted", ("forecast",)
        )
        self.learned = self._counter("learning_runs_total", "Times that models were fitted, by result", ("result",))
        self.learning_seconds = self._gauge("learning_seconds", "How long the last fit of all models took")

    def _shell(self) -> None:
        self.leader = self._gauge("leader", "1 while this process may act, else 0")
        self.provider_calls = self._counter(
            "provider_calls_total", "Calls of the cloud by call and result (done, failed)", ("call", "result")
        )
        self.provider_seconds = self._histogram(
            "provider_call_seconds", "Duration of calls of the cloud", ("call",), _FAST
        )
        self.checkpoints = self._counter(
            "checkpoints_total", "Checkpoints saved, by result (done, failed)", ("result",)
        )
        self.checkpoint_bytes = self._gauge("checkpoint_bytes", "Size of the last checkpoint")
        self.published = self._counter(
            "publications_total", "Times that statuses and events were published, by result (done, failed)", ("result",)
        )
        self.webhook = self._counter(
            "webhook_reviews_total", "New pods seen by the webhook: resized, untouched, or failed to read", ("result",)
        )
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop was at one of its tasks, sampled", (), _FAST
        )

    def _counter(self, name: str, about: str, labels: Sequence[str] = ()) -> Counter:
        self._note(name, "counter", about, labels)
        # The client adds `_total` by itself.
        return Counter(f"podnode_{name.removesuffix('_total')}", about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, labels: Sequence[str] = ()) -> Gauge:
        self._note(name, "gauge", about, labels)
        return Gauge(f"podnode_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        self._note(name, "histogram", about, labels)
        return Histogram(f"podnode_{name}", about, labels, buckets=buckets, registry=self.registry)

    def _note(self, name: str, kind: str, about: str, labels: Iterable[str]) -> None:
        self.described.append(Described(f"podnode_{name}", kind, tuple(labels), about))


def set_by_label(gauge: Gauge, values: Mapping[str, float]) -> None:
    """Set a gauge of one label to *values*, and forget what it had for all others."""
    gauge.clear()
    for label, value in values.items():
        gauge.labels(label).set(value)
