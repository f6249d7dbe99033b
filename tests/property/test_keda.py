"""The keda engine stays within its bounds, does not depend on order, and lowers nothing on missing data."""

from __future__ import annotations

import contextlib
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import given, settings

from autoscaler.model.readings import Missing, MissingReason
from autoscaler.recommend.keda_formula import evaluate_modifiers
from autoscaler.recommend.keda_jobs import JobRules, JobStrategy, JobTrigger, Together, jobs_to_create
from tests.unit.recommend.keda_views import FAILED, Played, params, spec, trigger

amounts = st.floats(0, 1e9)
loads = st.lists(amounts, min_size=1, max_size=12)
fallbacks = st.fixed_dictionaries(
    {
        "failure_threshold": st.integers(0, 5),
        "replicas": st.integers(0, 30),
        "behavior": st.sampled_from(["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]),
    }
)
missing = st.sampled_from([FAILED, Missing(MissingReason.ABSENT), Missing(MissingReason.STALE)])
triggers = st.lists(
    st.builds(JobTrigger, queue=st.floats(0, 1e6), target=st.floats(0, 100), active=st.booleans()), max_size=4
)
rules = st.builds(
    JobRules,
    min_replicas=st.integers(0, 20),
    max_replicas=st.none() | st.integers(1, 50),
    strategy=st.sampled_from(JobStrategy),
    together=st.sampled_from(Together),
    queue_deduction=st.integers(0, 10),
    running_share=st.none() | st.floats(0, 2),
)


@settings(max_examples=60, deadline=None)
@given(
    played=loads,
    least=st.integers(0, 5),
    more=st.integers(0, 20),
    replicas=st.integers(0, 60),
    cooldown=st.floats(0, 600),
)
def test_replicas_come_within_their_bounds(
    played: list[float], least: int, more: int, replicas: int, cooldown: float
) -> None:
    most = max(1, least + more)
    one = Played(
        spec(trigger(), minReplicas=least, maxReplicas=most), params(cooldown_seconds=cooldown), replicas=replicas
    )
    for load in played:
        before = one.replicas
        after = one.turn(queue=load)
        # From outside it only comes nearer.
        assert min(before, least) <= after <= max(before, most)
    assert one.turn(queue=played[-1]) <= max(most, 1)


@settings(max_examples=60, deadline=None)
@given(before=loads, gone=st.lists(missing, min_size=1, max_size=15), other=amounts)
def test_missing_data_lowers_nothing(before: list[float], gone: list[Missing], other: float) -> None:
    one = Played(spec(trigger("a"), trigger("b")), params(cooldown_seconds=0))
    for load in before:
        one.turn(a=load, b=other)
    for reading in gone:
        held = one.replicas
        assert one.turn(a=reading, b=other) >= held


@settings(max_examples=40, deadline=None)
@given(before=loads, fallback=fallbacks, turns=st.integers(1, 12))
def test_below_its_threshold_a_fallback_holds_too(before: list[float], fallback: dict[str, Any], turns: int) -> None:
    one = Played(spec(trigger()), params(cooldown_seconds=0, fallback={**fallback, "failure_threshold": 100}))
    for load in before:
        one.turn(queue=load)
    held = one.replicas
    assert one.turns(turns, queue=FAILED) == [held] * turns


@settings(max_examples=40, deadline=None)
@given(first=loads, second=st.floats(0, 1e6))
def test_the_order_of_triggers_does_not_matter(first: list[float], second: float) -> None:
    one, two = Played(spec(trigger("a"), trigger("b"))), Played(spec(trigger("b"), trigger("a")))
    for load in first:
        assert one.turn(a=load, b=second) == two.turn(a=load, b=second)


@settings(max_examples=40, deadline=None)
@given(low=amounts, more=amounts, replicas=st.integers(0, 40))
def test_more_load_never_asks_for_less(low: float, more: float, replicas: int) -> None:
    quiet, busy = (Played(spec(trigger()), replicas=replicas) for _ in range(2))
    assert quiet.turn(queue=low) <= busy.turn(queue=low + more)


@settings(max_examples=100, deadline=None)
@given(seen=triggers, job_rules=rules, running=st.integers(0, 60), pending=st.integers(0, 60))
def test_jobs_are_never_more_than_the_maximum_leaves(
    seen: list[JobTrigger], job_rules: JobRules, running: int, pending: int
) -> None:
    pending = min(pending, running)
    jobs = jobs_to_create(seen, job_rules, running=running, pending=pending)
    most = 100 + job_rules.min_replicas if job_rules.max_replicas is None else job_rules.max_replicas
    assert jobs >= 0
    if job_rules.strategy is not JobStrategy.CUSTOM:
        assert jobs == 0 or running + jobs <= most + pending
    reversed_order = jobs_to_create(seen[::-1], job_rules, running=running, pending=pending)
    # As in the peer (scale_jobs.go), the least of several forgets an empty queue that comes before others.
    is_free = job_rules.together is Together.MAX or (
        job_rules.together is Together.MIN and all(each.queue > 0 for each in seen)
    )
    if is_free and len({each.queue for each in seen}) == len(seen):
        assert reversed_order == jobs


parts = st.sampled_from(
    [
        "1",
        "a",
        "b",
        "nil",
        "+",
        "-",
        "*",
        "/",
        "(",
        ")",
        "?",
        ":",
        "??",
        "[",
        "]",
        ",",
        "max",
        "count",
        "{",
        "#",
        "}",
        ">",
    ]
)


@settings(max_examples=200, deadline=None)
@given(text=st.lists(parts, max_size=14).map(" ".join), value=st.none() | st.floats(-1e6, 1e6))
def test_a_formula_has_a_number_or_says_why_not(text: str, value: float | None) -> None:
    found: float | None = None
    with contextlib.suppress(ValueError):
        found = evaluate_modifiers(text, {"a": value, "b": 2.0})
    assert found is None or isinstance(found, float)


@settings(max_examples=30, deadline=None)
@given(played=loads)
def test_what_is_remembered_survives_a_restart(played: list[float]) -> None:
    one = Played(spec(trigger()), params(cooldown_seconds=60))
    for load in played:
        one.turn(queue=load)
        one.memory = msgspec.json.decode(msgspec.json.encode(one.memory), type=type(one.memory))
    two = Played(spec(trigger()), params(cooldown_seconds=60))
    assert [two.turn(queue=load) for load in played][-1] == one.replicas
