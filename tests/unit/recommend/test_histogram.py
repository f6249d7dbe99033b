from __future__ import annotations

import numpy as np
import pytest

from autoscaler.recommend.histogram import (
    CPU_BUCKETS,
    MEMORY_BUCKETS,
    YEAR_ONE,
    Buckets,
    Checkpoint,
    Histogram,
    Weights,
    exponential_buckets,
    linear_buckets,
    power,
)

DAY = 86400.0
NOW = 20_000 * DAY


def test_the_peers_buckets() -> None:
    assert (CPU_BUCKETS.count, MEMORY_BUCKETS.count) == (176, 176)
    assert [CPU_BUCKETS.start(n) for n in range(3)] == pytest.approx([0.0, 0.01, 0.0205])
    assert MEMORY_BUCKETS.start(175) == pytest.approx(1.0211094e12)


@pytest.mark.parametrize(
    ("value", "bucket"),
    [
        pytest.param(-5.0, 0, id="below-the-range"),
        pytest.param(0.0099, 0, id="below-the-first-start"),
        pytest.param(0.01, 1, id="at-the-first-start"),
        pytest.param(1e300, 175, id="beyond-the-range"),
        pytest.param(float("nan"), 0, id="not-a-number"),
    ],
)
def test_what_is_out_of_range_goes_to_the_nearest_bucket(value: float, bucket: int) -> None:
    assert CPU_BUCKETS.find(value) == bucket


@pytest.mark.parametrize("buckets", [CPU_BUCKETS, linear_buckets(max_value=10.0, width=0.1, epsilon=0.001)])
def test_many_values_find_the_buckets_they_find_alone(buckets: Buckets) -> None:
    starts = [buckets.start(n) for n in range(buckets.count)]
    values = np.array([*starts, -1.0, 0.3, 7.77, 1e9])
    assert buckets.find_all(values).tolist() == [buckets.find(value) for value in values.tolist()]


def test_power_is_that_of_go() -> None:
    assert power(1.05, 175) == pytest.approx(1.05**175, rel=1e-14)
    assert power(0.0, 0) == 1.0
    assert power(4.0, -2) == 0.0625


def test_a_percentile_is_the_end_of_its_bucket() -> None:
    histogram = Histogram(linear_buckets(max_value=10.0, width=1.0, epsilon=0.001))
    for value in (1.5, 2.5, 3.5, 99.0):
        histogram.add(value, 1.0, NOW)
    assert histogram.percentiles((0.0, 0.25, 0.5, 0.75, 1.0)) == [2.0, 2.0, 3.0, 4.0, 10.0]


def test_an_empty_histogram_has_percentile_zero() -> None:
    histogram = Histogram(CPU_BUCKETS, half_life=DAY)
    assert histogram.is_empty
    assert histogram.percentile(0.9) == 0.0
    assert histogram.checkpoint() == Checkpoint(reference=YEAR_ONE)
    assert histogram.freeze() == Weights()


def test_a_sample_counts_half_after_a_half_life() -> None:
    histogram = Histogram(linear_buckets(max_value=10.0, width=1.0, epsilon=1e-9), half_life=DAY)
    histogram.add(1.5, 2.0, NOW)
    histogram.add(5.5, 1.0, NOW + DAY)
    assert histogram.percentile(0.5) == 2.0
    histogram.add(5.5, 0.01, NOW + DAY)
    assert histogram.percentile(0.5) == 6.0


def test_the_reference_moves_to_a_multiple_of_the_half_life_since_year_one() -> None:
    histogram = Histogram(CPU_BUCKETS, half_life=DAY)
    histogram.add(1.0, 1.0, NOW + 0.4 * DAY)
    assert histogram.freeze().reference == NOW
    histogram.add(1.0, 1.0, NOW + 100 * DAY)
    assert histogram.freeze().reference == NOW
    histogram.add(1.0, 1.0, NOW + 100.5 * DAY)
    assert histogram.freeze().reference == NOW + 101 * DAY


def test_subtracting_more_than_was_added_leaves_nothing() -> None:
    histogram = Histogram(CPU_BUCKETS, half_life=DAY)
    histogram.add(1.0, 1.0, NOW)
    histogram.subtract(1.0, 3.0, NOW)
    assert histogram.is_empty


def test_a_batch_is_the_same_as_its_samples() -> None:
    values, times = np.array([0.1, 0.5, 2.0, 0.5]), NOW + np.array([0.0, 60.0, 120.0, 3 * DAY])
    batch, single = (Histogram(CPU_BUCKETS, half_life=DAY) for _ in range(2))
    batch.add_samples(values, 0.1, times)
    for value, at in zip(values, times, strict=True):
        single.add(float(value), 0.1, float(at))
    assert batch.percentiles((0.1, 0.5, 0.9)) == single.percentiles((0.1, 0.5, 0.9))
    assert batch.freeze().total == pytest.approx(single.freeze().total)
    assert batch.freeze().reference == single.freeze().reference


def test_what_is_frozen_thaws_as_it_was() -> None:
    histogram = Histogram(CPU_BUCKETS, half_life=DAY)
    histogram.add_samples(np.array([0.02, 1.0, 900.0]), 0.1, np.full(3, NOW))
    thawed = Histogram.thaw(histogram.freeze(), CPU_BUCKETS, half_life=DAY)
    assert thawed.freeze() == histogram.freeze()
    assert thawed.percentile(0.9) == histogram.percentile(0.9)


def test_merging_needs_like_histograms() -> None:
    with pytest.raises(ValueError, match="equal buckets"):
        Histogram(CPU_BUCKETS, half_life=DAY).merge(Histogram(CPU_BUCKETS, half_life=2 * DAY))


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param(Weights(first=170, values=bytes(80), low=170, high=171), id="beyond-the-last-bucket"),
        pytest.param(Weights(first=0, values=np.array([-1.0]).tobytes(), low=0, high=0), id="negative"),
        pytest.param(Weights(first=0, values=np.array([np.nan]).tobytes(), low=0, high=0), id="not-a-number"),
        pytest.param(Weights(first=0, values=bytes(8), low=-1, high=0), id="a-range-without-an-end"),
        pytest.param(Weights(first=0, values=b"abc", low=0, high=0), id="half-a-number"),
    ],
)
def test_damaged_weights_are_refused(weights: Weights) -> None:
    with pytest.raises(ValueError):
        Histogram.thaw(weights, CPU_BUCKETS)


def test_a_checkpoint_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="bucket 176"):
        Histogram(CPU_BUCKETS).load(Checkpoint(weights=((176, 1),), total=1.0))


def test_buckets_need_amounts_above_zero() -> None:
    with pytest.raises(ValueError, match="ratio"):
        exponential_buckets(max_value=1.0, first=0.1, ratio=1.0, epsilon=0.1)
    with pytest.raises(ValueError, match="half_life"):
        Histogram(CPU_BUCKETS, half_life=0.0)
