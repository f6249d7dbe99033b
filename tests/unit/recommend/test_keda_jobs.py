"""The expected numbers follow KEDA's own rules by hand; the cases of its strategies are those of its documentation."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.recommend.keda_jobs import JobRules, JobStrategy, JobTrigger, Together, jobs_to_create


def trigger(queue: float, target: float = 1.0, *, active: bool = True) -> JobTrigger:
    return JobTrigger(queue=queue, target=target, active=active)


@pytest.mark.parametrize(
    ("strategy", "queue", "running", "pending", "most", "jobs"),
    [
        pytest.param("default", 10, 3, 1, 100, 7, id="default-counts-what-runs"),
        pytest.param("default", 10, 12, 0, 100, 0, id="default-has-enough"),
        pytest.param("default", 10, 3, 1, 5, 2, id="default-within-the-maximum"),
        pytest.param("accurate", 10, 3, 1, 100, 9, id="accurate-counts-what-waits"),
        pytest.param("accurate", 10, 3, 1, 5, 2, id="accurate-within-the-maximum"),
        pytest.param("accurate", 2, 3, 3, 100, 0, id="accurate-has-enough"),
        pytest.param("eager", 3, 2, 0, 10, 3, id="eager-fills-the-gap"),
        pytest.param("eager", 20, 2, 1, 10, 7, id="eager-within-the-maximum"),
        pytest.param("custom", 10, 4, 1, 100, 10, id="custom-without-a-share-is-default-but-for-the-sum"),
    ],
)
def test_strategies(strategy: str, queue: int, running: int, pending: int, most: int, jobs: int) -> None:
    rules = JobRules(
        strategy=JobStrategy(strategy),
        max_replicas=most,
        running_share=0.0 if strategy == "custom" else None,
    )
    assert jobs_to_create([trigger(queue)], rules, running=running, pending=pending) == jobs


def test_custom_deducts_a_number_and_a_share_of_what_runs() -> None:
    rules = JobRules(strategy=JobStrategy.CUSTOM, queue_deduction=2, running_share=0.5, max_replicas=50)
    assert jobs_to_create([trigger(10)], rules, running=5, pending=0) == 10 - 2 - 2


def test_custom_without_a_share_is_the_default() -> None:
    rules = JobRules(strategy=JobStrategy.CUSTOM, queue_deduction=2)
    assert jobs_to_create([trigger(10)], rules, running=5, pending=0) == 5


@pytest.mark.parametrize(
    ("together", "jobs"),
    [
        pytest.param("max", 9, id="max"),
        pytest.param("min", 4, id="min"),
        pytest.param("avg", 7, id="avg-rounds-up"),
        pytest.param("sum", 13, id="sum"),
    ],
)
def test_several_triggers(together: str, jobs: int) -> None:
    triggers = [trigger(4), trigger(9), trigger(100, active=False)]
    assert jobs_to_create(triggers, JobRules(together=Together(together)), running=0, pending=0) == jobs


def test_a_job_takes_as_much_work_as_its_target_says() -> None:
    assert jobs_to_create([trigger(11, 5.0)], JobRules(), running=0, pending=0) == 3


@pytest.mark.parametrize(
    ("rules", "running", "jobs"),
    [
        pytest.param({"min_replicas": 4, "max_replicas": 10}, 1, 3, id="up-to-the-minimum"),
        pytest.param({"min_replicas": 4, "max_replicas": 10}, 4, 0, id="the-minimum-is-there"),
        pytest.param({"min_replicas": 4, "max_replicas": 2}, 1, 1, id="the-maximum-wins"),
    ],
)
def test_the_minimum_is_there_without_work(rules: dict[str, Any], running: int, jobs: int) -> None:
    assert jobs_to_create([trigger(0, active=False)], JobRules(**rules), running=running, pending=0) == jobs


def test_a_given_maximum_includes_the_minimum() -> None:
    given, default = JobRules(min_replicas=4, max_replicas=100), JobRules(min_replicas=4)
    work = [trigger(1000)]
    assert jobs_to_create(work, given, running=4, pending=0) == 96
    assert jobs_to_create(work, default, running=4, pending=0) == 100


@pytest.mark.parametrize("triggers", [[], [trigger(5, active=False)], [trigger(0)], [trigger(5, 0.0)]])
def test_nothing_to_do_starts_nothing(triggers: list[JobTrigger]) -> None:
    assert jobs_to_create(triggers, JobRules(), running=0, pending=0) == 0


def test_counts_below_zero_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        jobs_to_create([], JobRules(), running=-1, pending=0)
