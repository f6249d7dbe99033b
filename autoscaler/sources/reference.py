"""The page of all queries, and the file of recording rules, as they are generated."""

from __future__ import annotations

import ast
import enum
import inspect
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import yaml

from autoscaler.model.readings import SignalKind
from autoscaler.sources.history_queries import PEAKS, RECORDED, raw_queries, recorded_query
from autoscaler.sources.ownership import owner_of
from autoscaler.sources.promql import CONVENTIONS, Question, fixed_queries, union
from autoscaler.sources.rules import recording_rules
from autoscaler.sources.settings import PrometheusSettings
from autoscaler.struct_reference import field_texts

_SHOWN = PrometheusSettings(url="http://prometheus", slow_seconds=0.5, conventions=("prometheus",))
_OWNERS = [owner_of("shop/Deployment/web")]
_INTRO = """# Queries to Prometheus

Every query that is sent, with default settings, `slow_seconds` of 0.5 and the convention `prometheus` alone.
A cycle sends at most one of each, and only those that some engine wants; users' own queries go together in one or two.
No cycle sends more than 12, whatever the number of workloads.
How to set it up: [connect Prometheus](../how-to/connect-prometheus.md).

## In a cycle

Each is sent with `timeout`, `partial_response=false` (Thanos) and `deny_partial_response=1` (VictoriaMetrics).
Those whose samples come without their times are sent with `lookback_delta`, so that what is stale is absent.
"""
_USERS = """### Users' own

Queries of `type: Prometheus` are sent as one union; `topk` shows whether one gives more than one series.
When the server refuses a union, it is halved until the query at fault stands alone.
"""
_HISTORY = """## For histories

Range queries for up to 128 workloads at once, in pieces of at most 11,000 points.
They are shown for one Deployment and a step of one minute.
Where the [recording rules](../how-to/connect-prometheus.md#recording-rules) are loaded, their series are read.
The others then only fill gaps.
"""
_CONVENTIONS = """## Conventions for requests

How requests are counted differs by library and mesh; the first of these that a pod exports counts.

| convention | requests | latency | only series with | failed unless |
| --- | --- | --- | --- | --- |
"""
_SETTINGS = """## Settings

| setting | default | what it is |
| --- | --- | --- |
"""


def query_reference() -> str:
    """Return the reference page of all queries."""
    return "\n".join(
        [_INTRO, *_cycle(), _USERS, _code(union(["sum(up)", "max(up)"])), _HISTORY, *_histories(), *_tables()]
    )


def rules_file() -> str:
    """Return deploy/observability/recording-rules.yaml."""
    head = "# Generated; see docs/how-to/connect-prometheus.md. Needs kube-state-metrics.\n"
    return head + yaml.safe_dump(recording_rules(), sort_keys=False, width=1 << 20)


def _cycle() -> Iterator[str]:
    texts, queries = _texts(Question), fixed_queries(_SHOWN)
    for question in Question:
        yield f"### `{question.value}`\n\n{texts[question.name]}\n"
        yield _code(queries[question])


def _texts(kind: type[enum.Enum]) -> dict[str, str]:
    """Return the strings under the members of an enum, by their names."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    return {
        line.targets[0].id: ast.literal_eval(after.value)
        for line, after in pairwise(definition.body)
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and isinstance(after, ast.Expr)
    }


def _histories() -> Iterator[str]:
    for kind in SignalKind:
        queries = [recorded_query(kind, _SHOWN, _OWNERS, step=60.0), *raw_queries(kind, _SHOWN, _OWNERS, step=60.0)]
        shown = [query for query in queries if query]
        if shown:
            what = "the largest value of each step" if kind in PEAKS else "the average of each step"
            what = what if kind in RECORDED else "what a cycle reads, at each step"
            recorded = f", recorded as `{RECORDED[kind]}`" if kind in RECORDED else ""
            yield f"### {kind.value}\n\nGives {what}{recorded}.\n"
            yield _code("\n".join(shown))


def _tables() -> Iterator[str]:
    rows = [
        f"| `{name}` | `{each.requests}` | `{each.buckets}` | {_cell(each.matchers)} | {_cell(each.good)} |"
        for name, each in CONVENTIONS.items()
    ]
    yield _CONVENTIONS + "\n".join(rows) + "\n"
    texts = field_texts(PrometheusSettings)
    rows = [f"| `{f.name}` | {_default(f)} | {texts[f.name]} |" for f in msgspec.structs.fields(PrometheusSettings)]
    yield _SETTINGS + "\n".join(rows) + "\n"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is msgspec.NODEFAULT:
        return "" if field.default_factory is msgspec.NODEFAULT else "none"
    value = field.default
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value) or "none"
    return "none" if value in ("", None) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _code(text: str) -> str:
    return f"```text\n{text}\n```\n"
