"""Whatever an object looks like, what was set aside or sized can be given back as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.kube import edits
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources

leaves = st.one_of(st.integers(0, 9), st.sampled_from(["a", "Off", "Auto", "true"]), st.booleans())
trees = st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8)
documents = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)
quantities = st.fixed_dictionaries(
    {}, optional={"cpu": st.sampled_from(["250m", "0.5", "2"]), "memory": st.sampled_from(["64Mi", "1Gi", "1e9"])}
)
resources = st.fixed_dictionaries({}, optional={"requests": quantities, "limits": quantities})
amounts = st.fixed_dictionaries({}, optional={"cpu": st.integers(1, 4000), "memory": st.integers(1, 1 << 34)})


@given(documents, documents)
def test_a_merge_patch_is_empty_exactly_where_nothing_differs(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert (edits.merge_patch(before, after) == {}) == (before == after and _types(before) == _types(after))


def _types(value: Any) -> Any:
    """Python takes True for 1; no two such values meet in one field of the API."""
    return {name: _types(inner) for name, inner in value.items()} if isinstance(value, dict) else None


policies = st.fixed_dictionaries({}, optional={"updateMode": st.sampled_from(["Auto", "Off"]), "minReplicas": leaves})
behaviors = st.fixed_dictionaries({}, optional={"scaleUp": documents, "scaleDown": documents})
specs = st.fixed_dictionaries(
    {"maxReplicas": st.integers(1, 99)},
    optional={
        "minReplicas": st.integers(1, 9),
        "behavior": behaviors.filter(bool),
        "updatePolicy": policies.filter(bool),
        "policy": policies.filter(bool),
    },
)
notes = st.dictionaries(st.sampled_from(["other", edits.KEDA_PAUSED]), st.sampled_from(["true", "x"]), max_size=2)


@pytest.mark.parametrize("kind", edits.STOPPED)
@settings(max_examples=60)
@given(spec=specs, noted=notes, times=st.integers(1, 3))
def test_what_is_set_aside_is_given_back_as_it_was(
    kind: str, spec: dict[str, Any], noted: dict[str, str], times: int
) -> None:
    document = {"metadata": {"name": "it", **({"annotations": noted} if noted else {})}, "spec": spec}
    before = copy.deepcopy(document)
    for _ in range(times):
        edits.set_aside(document, kind=kind, where="it")
    once = copy.deepcopy(document)
    edits.set_aside(document, kind=kind, where="it")
    assert document == once
    for _ in range(times):
        edits.give_back(document, kind=kind, where="it")
    assert document == before


@settings(max_examples=100)
@given(resources, st.lists(st.tuples(amounts, st.none() | amounts), min_size=1, max_size=4))
def test_what_was_sized_many_times_is_restored_to_the_first(
    first: dict[str, Any], sizes: list[tuple[dict[str, int], dict[str, int] | None]]
) -> None:
    container = {"name": "app", "resources": first}
    document = {"metadata": {"name": "it"}, "spec": {"template": {"spec": {"containers": [container]}}}}
    before = copy.deepcopy(document)
    for target, limits in sizes:
        size = ContainerSize(
            container="app", target=Resources.of(target), limits=None if limits is None else Resources.of(limits)
        )
        edits.set_sizes(document, [size], where="it")
        once = copy.deepcopy(document)
        edits.set_sizes(document, [size], where="it")
        assert document == once
    edits.restore_sizes(document, where="it")
    assert document == before
