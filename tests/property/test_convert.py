"""Whatever is given to `convert` is either refused by name, or becomes documents that our own reader takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.documents import Document, read_documents
from autoscaler.errors import InputError
from autoscaler.kube.convert import VERSIONS, convert
from autoscaler.model.spec import Behavior, MetricSpec, decode_hook
from autoscaler.policy_files import policies_of
from tests.unit.policy_files.documents import changed

COUNTS = st.integers(1, 1000)
AMOUNTS = st.sampled_from(["1", "250m", "64Mi", "2k", "1.5"])


def _utilization() -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda percent: {"type": "Utilization", "averageUtilization": percent}, st.integers(1, 200))


def _average() -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda amount: {"type": "AverageValue", "averageValue": amount}, AMOUNTS)


@st.composite
def metrics(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(["cpu", "memory"]))
    kind = draw(st.sampled_from(["Resource", "ContainerResource", "Pods", "External"]))
    if kind == "Resource":
        return {"type": kind, "resource": {"name": name, "target": draw(_utilization() | _average())}}
    if kind == "ContainerResource":
        inner = {"name": name, "container": "app", "target": draw(_utilization() | _average())}
        return {"type": kind, "containerResource": inner}
    return {"type": kind, kind.lower(): {"metric": {"name": "hits"}, "target": draw(_average())}}


RULES = st.fixed_dictionaries(
    {},
    optional={
        "stabilizationWindowSeconds": st.integers(0, 3600),
        "selectPolicy": st.sampled_from(["Max", "Min", "Disabled"]),
        "policies": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["Pods", "Percent"]), "value": COUNTS, "periodSeconds": st.integers(1, 1800)}
            ),
            min_size=1,
            max_size=3,
        ),
    },
)


@st.composite
def autoscalers(draw: st.DrawFn) -> dict[str, Any]:
    low, more = draw(COUNTS), draw(st.integers(0, 1000))
    behavior = draw(st.none() | st.fixed_dictionaries({}, optional={"scaleUp": RULES, "scaleDown": RULES}))
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": low,
        "maxReplicas": low + more,
        "metrics": draw(st.lists(metrics(), min_size=1, max_size=4)),
        **({"behavior": behavior} if behavior is not None else {}),
    }
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": spec}


@settings(max_examples=60)
@given(autoscalers())
def test_an_hpa_keeps_its_metrics_behaviour_and_bounds(hpa: dict[str, Any]) -> None:
    converted = convert([Document("f", hpa)])
    assert converted.notes == ()
    (mpa,) = policies_of([made.value for made in converted.documents], "f").mpas
    wanted = hpa["spec"]
    assert mpa.spec.goals.metrics == msgspec.convert(wanted["metrics"], tuple[MetricSpec, ...], dec_hook=decode_hook)
    behavior = wanted.get("behavior") or None
    assert mpa.spec.policy.behavior == msgspec.convert(behavior, Behavior | None, dec_hook=decode_hook)
    bounds = mpa.spec.constraints.global_
    assert bounds is not None
    assert (bounds.min_replicas, bounds.max_replicas) == (wanted["minReplicas"], wanted["maxReplicas"])
    assert mpa.spec.policy.engine == "hpa"


WORDS = st.sampled_from(
    [
        *(
            "scaleTargetRef",
            "targetRef",
            "name",
            "kind",
            "metrics",
            "behavior",
            "maxReplicas",
            "minReplicas",
            "triggers",
        ),
        *("type", "metadata", "cpu", "cron", "prometheus", "start", "end", "query", "threshold", "updatePolicy"),
        *("updateMode", "resourcePolicy", "containerPolicies", "template", "requirements", "spec", "goals", "policy"),
        *("constraints", "global", "advanced", "0 8 * * *", "Utilization", "desiredReplicas", "value", "limits"),
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats(allow_nan=False) | WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=15,
)


GIVEN = [
    document.value
    for path in sorted((Path(__file__).parents[1] / "data" / "convert").glob("*.yaml"))
    for document in read_documents(path)
    if document.value["kind"] in VERSIONS
]


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from _places(inner, (*path, name))


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """Draw a document in which some place holds anything."""
    value = draw(st.sampled_from(GIVEN))
    path = draw(st.sampled_from(list(_places(value["spec"]))))
    return changed(value, ("spec", *path), draw(ANYTHING))


@settings(max_examples=150)
@given(spoilt(), st.sampled_from(["", "joint"]))
def test_anything_is_refused_by_name_or_becomes_valid(value: Any, engine: str) -> None:
    converted = None
    with contextlib.suppress(InputError):
        converted = convert([Document("f", value)], engine=engine)
    if converted is not None:
        policies_of([made.value for made in converted.documents], "f")
        assert converted.documents or converted.notes
