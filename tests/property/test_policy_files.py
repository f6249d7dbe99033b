"""Whatever is done to a valid document, reading it gives Policies or a PolicyError."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoscaler.documents import MAX_VALUES, parse_documents
from autoscaler.errors import InputError, PolicyError
from autoscaler.model.cron import parse_cron
from autoscaler.model.policy import Policies
from autoscaler.policy_files import dump_policies, find_problems, parse_policies, policies_of
from tests.unit.policy_files.documents import ALL

DOCUMENTS = [document.value for document in parse_documents(ALL, "f")]
FEW = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["Off", "1e999", "-5", "10%", "99999999999999999999Gi", "0", "Auto", "*", "@daily", "5m", "1.5.0"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, item in inner for deeper in _paths(item, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid document with up to three places replaced, removed, renamed or doubled."""
    value = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(value)))
        if not path:
            continue
        place = value
        for key in path[:-1]:
            place = place[key]
        action = draw(st.sampled_from(["replace", "replace", "remove", "rename"]))
        if action == "replace":
            place[path[-1]] = draw(values)
        elif action == "remove":
            del place[path[-1]]
        elif isinstance(place, dict):
            place[draw(st.text(max_size=8))] = place.pop(path[-1])
    return value


@FEW
@given(mutated())
def test_a_mutated_document_is_read_or_refused(value: Any) -> None:
    try:
        policies = policies_of([value], "f")
    except PolicyError as error:
        problem = error
    else:
        assert isinstance(policies, Policies)
        return
    assert problem.where.startswith("f")
    assert problem.allowed


@FEW
@given(mutated())
def test_what_is_accepted_is_written_and_read_back_equal(value: Any) -> None:
    try:
        policies = policies_of([value], "f")
    except PolicyError:
        return
    text = dump_policies(policies)
    assert dump_policies(parse_policies(text, "f")) == text


@FEW
@given(st.integers(0, len(ALL)), st.integers(0, 40), st.text(max_size=10))
def test_any_edit_of_the_text_is_read_or_refused(at: int, cut: int, put: str) -> None:
    text = ALL[:at] + put + ALL[at + cut :]
    problems = find_problems(text, "f")
    assert all(isinstance(problem, PolicyError) for problem in problems)


@FEW
@given(st.text(alphabet="[]{}&*ab:-,!|>'\"#%? \n\t0", max_size=80))
def test_any_text_is_documents_or_an_error(text: str) -> None:
    try:
        documents = parse_documents(text, "f")
    except InputError as error:
        message = str(error)
    else:
        assert len(documents) <= MAX_VALUES
        return
    assert message.startswith("f")


@FEW
@given(st.text(alphabet="0123456789*/-, @amonfrij", max_size=30))
def test_any_cron_line_names_minutes_or_is_refused(line: str) -> None:
    try:
        found = parse_cron(line)
    except ValueError:
        return
    assert found.minutes
    assert set(found.minutes) <= set(range(60))
    assert set(found.weekdays) <= set(range(7))
