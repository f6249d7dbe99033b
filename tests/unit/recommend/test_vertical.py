from __future__ import annotations

import numpy as np
import pytest

from autoscaler.model.resources import Resources
from autoscaler.model.units import DAY, MIB
from autoscaler.recommend.vertical import (
    MAX_AMOUNT,
    ContainerHistory,
    PodWindow,
    VpaParams,
    confidence_of,
    estimate,
    observe_cpu,
    observe_memory,
    observe_oom,
)

NOW = 20_000 * DAY
PARAMS = VpaParams()
EMPTY = PodWindow(pod="web-0", container="app")


def steady(days: float, *, millicores: float = 400.0, memory: int = 500 * MIB) -> ContainerHistory:
    """One sample a minute for *days*, with one memory peak."""
    history = ContainerHistory(PARAMS)
    count = int(days * 1440)
    history.add_cpu(np.full(count, millicores), NOW + 60.0 * np.arange(count, dtype=np.float64))
    observe_memory(EMPTY, memory, NOW, history, interval=DAY)
    return history


def test_a_week_of_steady_use_gives_narrow_bounds() -> None:
    found = estimate(steady(7), PARAMS, containers=1)
    assert 400 * 1.15 <= found.target.cpu <= 400 * 1.15 * 1.05
    assert found.target.cpu - 1 <= found.lower.cpu <= found.target.cpu
    assert found.upper.cpu == pytest.approx(found.target.cpu * (1 + 1 / 7), rel=0.01)
    assert 500 * MIB * 1.15 <= found.target.memory <= 500 * MIB * 1.15 * 1.05


@pytest.mark.parametrize(
    ("days", "factor"),
    [
        pytest.param(0.5, 3.0, id="twelve-hours"),
        pytest.param(1.0, 2.0, id="a-day"),
        pytest.param(7.0, 1.14, id="a-week"),
    ],
)
def test_the_upper_bound_comes_down_with_confidence(days: float, factor: float) -> None:
    found = estimate(steady(days), PARAMS, containers=1)
    assert found.upper.cpu / found.target.cpu == pytest.approx(factor, rel=0.01)


def test_confidence_is_the_smaller_of_span_and_count() -> None:
    sparse = ContainerHistory(PARAMS)
    sparse.add_cpu(np.full(144, 100.0), NOW + 3600.0 * np.arange(144, dtype=np.float64))
    assert confidence_of(sparse, interval=DAY) == pytest.approx(0.1)
    assert confidence_of(ContainerHistory(PARAMS), interval=DAY) == 0.0


def test_without_any_sample_there_is_only_the_minimum() -> None:
    found = estimate(ContainerHistory(PARAMS), PARAMS, containers=2)
    assert found.target == found.lower == found.upper == Resources.of(cpu=12, memory=125 * MIB)


def test_memory_without_cpu_has_no_confidence() -> None:
    history = ContainerHistory(PARAMS)
    observe_memory(EMPTY, 1000 * MIB, NOW, history, interval=DAY)
    found = estimate(history, PARAMS, containers=1)
    assert (found.lower.memory, found.upper.memory) == (250 * MIB, MAX_AMOUNT)


def test_only_the_peak_of_a_window_counts() -> None:
    history = ContainerHistory(PARAMS)
    window = observe_memory(EMPTY, 800 * MIB, NOW, history, interval=DAY)
    for value in (300 * MIB, 900 * MIB, 850 * MIB):
        window = observe_memory(window, value, window.memory_at + 60.0, history, interval=DAY)
    assert (window.window_end, window.usage_peak) == (NOW + DAY, 900 * MIB)
    assert history.memory.freeze().total == pytest.approx(1.0)
    assert history.memory.percentile(0.0) > 900 * MIB


def test_a_window_ends_after_its_interval() -> None:
    history = ContainerHistory(PARAMS)
    window = observe_memory(EMPTY, 800 * MIB, NOW, history, interval=DAY)
    window = observe_memory(window, 100 * MIB, NOW + 2.5 * DAY, history, interval=DAY)
    assert (window.window_end, window.usage_peak) == (NOW + 3 * DAY, 100 * MIB)


@pytest.mark.parametrize(
    ("request_", "peak", "need"),
    [
        pytest.param(1000, 0, 1200, id="a-fifth-more-than-the-request"),
        pytest.param(1000, 2000, 2400, id="a-fifth-more-than-the-peak"),
        pytest.param(100, 0, 200, id="at-least-100-mib-more"),
    ],
)
def test_a_kill_needs_more_than_was_there(request_: int, peak: int, need: int) -> None:
    history = ContainerHistory(PARAMS)
    window = observe_memory(EMPTY, peak * MIB, NOW, history, interval=DAY) if peak else EMPTY
    window = observe_oom(window, request_ * MIB, NOW + 60.0, history, params=PARAMS)
    assert window.oom_peak == need * MIB


def test_kill_after_kill_does_not_run_away() -> None:
    history = ContainerHistory(PARAMS)
    window = observe_memory(EMPTY, 1000 * MIB, NOW, history, interval=DAY)
    for minute in range(1, 20):
        window = observe_oom(window, 1000 * MIB, NOW + 60.0 * minute, history, params=PARAMS)
    assert window.oom_peak == 1200 * MIB


def test_what_is_late_is_refused() -> None:
    history = ContainerHistory(PARAMS)
    window = observe_cpu(EMPTY, 100, NOW, history)
    assert observe_cpu(window, 100, NOW, history) is window
    window = observe_memory(window, 100, NOW, history, interval=DAY)
    assert observe_memory(window, 100, NOW - 1.0, history, interval=DAY) is window
    assert observe_memory(window, 100, NOW, history, interval=DAY) is not window
    assert observe_oom(window, 100, NOW - DAY - 1.0, history, params=PARAMS) is window


def test_an_accepted_old_kill_opens_the_door_for_late_samples() -> None:
    history = ContainerHistory(PARAMS)
    window = observe_memory(EMPTY, 100 * MIB, NOW, history, interval=DAY)
    window = observe_oom(window, 100 * MIB, NOW - 3600.0, history, params=PARAMS)
    assert observe_memory(window, 100, NOW - 1800.0, history, interval=DAY).memory_at == NOW - 1800.0


def test_a_history_is_remembered_exactly() -> None:
    history = steady(1)
    again = ContainerHistory.thaw(history.freeze("app"), PARAMS)
    assert again.freeze("app") == history.freeze("app")
    assert estimate(again, PARAMS, containers=1) == estimate(history, PARAMS, containers=1)


def test_a_time_must_be_one() -> None:
    with pytest.raises(ValueError, match="epoch seconds"):
        observe_memory(EMPTY, 1, float("nan"), ContainerHistory(PARAMS), interval=DAY)
