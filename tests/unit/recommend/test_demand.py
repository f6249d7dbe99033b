from __future__ import annotations

import numpy as np
import pytest

from autoscaler.recommend.demand import fit_demand, queue_wait, safe_utilisation

STEPS = 400
NOTHING = np.full(STEPS, np.nan)


@pytest.mark.parametrize(
    ("slowdown", "table"),
    [
        # algorithms, section 2: "A 70 % HPA target is wrong for both P=1 and P=8."
        pytest.param(3.0, {1: 0.67, 2: 0.81, 4: 0.90, 8: 0.95}, id="three-times-the-service-time"),
        pytest.param(20.0, {1: 0.95, 8: 0.97}, id="batch-may-run-full"),
        pytest.param(1.0, {1: 0.01}, id="no-slowdown-allows-no-load"),
    ],
)
def test_safe_utilisation_by_parallelism(slowdown: float, table: dict[int, float]) -> None:
    assert {cores: round(safe_utilisation(cores, slowdown), 2) for cores in table} == table


def test_one_server_waits_as_the_text_book_has_it() -> None:
    # M/M/1: the mean wait is rho / (1 - rho) service times.
    assert [queue_wait(1, rho) for rho in (0.2, 0.5, 0.8)] == pytest.approx([0.25, 1.0, 4.0])


def test_costs_are_found_where_load_and_pods_move_apart() -> None:
    random = np.random.default_rng(1)
    load, pods = random.uniform(10, 200, STEPS), random.integers(2, 20, STEPS).astype(float)
    found = fit_demand(0.02 * load + 0.05 * pods, load, pods, NOTHING)
    assert (found.cores_per_request, found.idle_cores) == pytest.approx((0.02, 0.05))
    assert not found.weak
    assert found.samples == STEPS


def test_load_and_pods_in_step_make_a_weak_model() -> None:
    load = np.linspace(10, 200, STEPS)
    assert fit_demand(0.02 * load, load, load / 10, NOTHING).weak


def test_costs_are_never_negative() -> None:
    random = np.random.default_rng(2)
    load, pods = random.uniform(10, 200, STEPS), random.integers(2, 20, STEPS).astype(float)
    found = fit_demand(np.maximum(0.02 * load - 0.05 * pods, 0.0), load, pods, NOTHING)
    assert found.cores_per_request >= 0
    assert found.idle_cores == 0


def test_without_request_rates_work_is_cpu() -> None:
    found = fit_demand(np.full(STEPS, 2.0), NOTHING, np.full(STEPS, 4.0), NOTHING)
    assert found.cores_per_request == 0
    assert found.parallelism == pytest.approx(0.5)


def test_declared_parallelism_wins_over_what_was_seen() -> None:
    found = fit_demand(np.full(STEPS, 2.0), NOTHING, np.full(STEPS, 4.0), NOTHING, parallelism=3.0)
    assert found.parallelism == 3.0


def test_memory_is_a_base_and_a_slope() -> None:
    work = np.linspace(0.0, 1.0, STEPS)
    found = fit_demand(4 * work, NOTHING, np.full(STEPS, 4.0), 1e8 + 5e7 * work)
    assert found.base_bytes == pytest.approx(1e8)
    assert found.bytes_per_core == pytest.approx(5e7)
    assert found.peak_bytes == pytest.approx(1.5e8)


def test_little_history_gives_the_peak_alone() -> None:
    few = slice(0, 20)
    found = fit_demand(np.ones(20), NOTHING[few], np.ones(20), np.linspace(1e8, 2e8, 20))
    assert (found.base_bytes, found.bytes_per_core, found.peak_bytes) == (2e8, 0.0, 2e8)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 1e300], ids=str)
def test_what_cannot_be_is_a_gap(value: float) -> None:
    cpu, pods, memory = np.ones(STEPS), np.full(STEPS, 2.0), np.full(STEPS, 1e8)
    clean = fit_demand(cpu, NOTHING, pods, memory)
    for series in (cpu, memory):
        series[::7] = value
    dirty = fit_demand(cpu, NOTHING, pods, memory)
    assert dirty.samples < clean.samples
    assert (dirty.peak_bytes, dirty.parallelism) == pytest.approx((clean.peak_bytes, clean.parallelism))


def test_no_history_at_all() -> None:
    found = fit_demand(*(np.zeros(0) for _ in range(4)))
    assert (found.samples, found.peak_bytes, found.weak) == (0, 0.0, True)
