"""
Decaying histograms with exponential or linear buckets, bit for bit those of the VPA recommender.

Rules: kubernetes/autoscaler, vertical-pod-autoscaler `pkg/recommender/util`
(histogram, histogram options, decaying histogram), version 1.8. Bucket starts
need the peer's own power function: the C library's differs in the last bit.
"""

from __future__ import annotations

import functools
import math

import msgspec
import numpy as np

from autoscaler.model.arrays import Floats, Ints

YEAR_ONE = -62135596800.0
"""0001-01-01 00:00 UTC in epoch seconds: where reference times are counted from."""
MAX_DECAY_EXPONENT = 100
"""A sample this many half-lives after the reference time moves the reference time."""
MAX_CHECKPOINT_WEIGHT = 10000
_LARGEST_SHIFT = 2000
_EDGE = 1e-9
LARGEST_TIME = 1e15
"""Beyond this, in either direction, a time is a mistake."""


class Buckets(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """
    How values are told apart. Bucket 0 starts at 0; the last one has no end.

    With `ratio` above 1 bucket n > 0 starts at first * (ratio**n - 1) / (ratio - 1),
    with ratio 1 at n * first. A bucket lighter than `epsilon` counts as empty
    at either end of the histogram.
    """

    count: int
    first: float
    ratio: float
    epsilon: float

    def start(self, bucket: int) -> float:
        """Return the smallest value of *bucket*, 0 <= bucket < count."""
        return float(_starts(self)[bucket])

    def find(self, value: float) -> int:
        """Return the bucket of *value*; what is out of range goes to the nearest bucket."""
        if not value >= self.first:
            return 0
        if self.ratio == 1.0:
            bucket = value / self.first
        else:
            bucket = math.log(value * (self.ratio - 1.0) / self.first + 1.0) / math.log(self.ratio)
        return int(min(bucket, self.count - 1))

    def find_all(self, values: Floats) -> Ints:
        """Return the buckets of *values*, shape (n,): those that `find` returns one by one."""
        if self.ratio == 1.0:
            places = values / self.first
        else:
            inner = np.maximum(values * (self.ratio - 1.0) / self.first + 1.0, 1.0)
            places = np.log(inner) / math.log(self.ratio)
        buckets = np.minimum(places, self.count - 1).astype(np.int64)
        buckets[~(values >= self.first)] = 0
        # NumPy's logarithm may differ in the last bit from that of `find`: it matters only at an edge.
        for place in np.flatnonzero(np.abs(places - np.rint(places)) < _EDGE):
            buckets[place] = self.find(float(values[place]))
        return buckets


def exponential_buckets(*, max_value: float, first: float, ratio: float, epsilon: float) -> Buckets:
    """
    Return buckets of which each is *ratio* times as wide as the one before.

    Raises:
        ValueError: not (max_value > 0, first > 0, ratio > 1, epsilon > 0), or not finite.
    """
    _check_positive(max_value=max_value, first=first, epsilon=epsilon, ratio_above_one=ratio - 1.0)
    count = math.ceil(math.log(max_value * (ratio - 1.0) / first + 1.0) / math.log(ratio)) + 1
    return Buckets(count, float(first), float(ratio), float(epsilon))


def linear_buckets(*, max_value: float, width: float, epsilon: float) -> Buckets:
    """
    Return buckets of equal width.

    Raises:
        ValueError: an argument is not finite and above 0.
    """
    _check_positive(max_value=max_value, width=width, epsilon=epsilon)
    return Buckets(math.ceil(max_value / width) + 1, float(width), 1.0, float(epsilon))


def power(base: float, exponent: int) -> float:
    """
    Return base**exponent by square-and-multiply on mantissa and exponent, as Go's math.Pow does.

    >>> power(2.0, 10), power(1.5, -2)
    (1024.0, 0.4444444444444444)
    """
    mantissa, binary = math.frexp(base)
    product, total = 1.0, 0
    left = abs(exponent)
    while left:
        if left & 1:
            product *= mantissa
            total += binary
        mantissa *= mantissa
        binary *= 2
        if mantissa < 0.5:
            mantissa += mantissa
            binary -= 1
        left >>= 1
    if exponent < 0:
        product, total = 1.0 / product, -total
    return math.ldexp(product, total)


class Checkpoint(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    The peer's short form: weights scaled so that the heaviest bucket has 10000.

    `weights` are (bucket, weight), by bucket. It loses buckets lighter than
    1/20000 of the heaviest, so it is for exchange; `Weights` is for memory.
    """

    weights: tuple[tuple[int, int], ...] = ()
    total: float = 0.0
    reference: float = YEAR_ONE


class Weights(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    A histogram's exact content. `values` are little-endian float64 weights of
    the buckets from `first` on; `low` and `high` bound the buckets in use, -1
    for none.
    """

    first: int = 0
    values: bytes = b""
    low: int = -1
    high: int = -1
    total: float = 0.0
    reference: float = YEAR_ONE


class Histogram:
    """
    Weights by bucket; with a half-life a sample counts 2**(age / half-life) less.

    Mutable: it belongs to the function that made it. `freeze` gives the value
    that may be passed on.
    """

    __slots__ = ("_high", "_low", "_reference", "_total", "_weights", "buckets", "half_life")

    def __init__(self, buckets: Buckets, *, half_life: float | None = None) -> None:
        """
        Make an empty histogram; *half_life* is in seconds, None for a plain one.

        Raises:
            ValueError: the half-life is not finite and above 0.
        """
        if half_life is not None:
            _check_positive(half_life=half_life)
        self.buckets = buckets
        self.half_life = half_life
        self._weights = np.zeros(buckets.count)
        self._total = 0.0
        self._low = buckets.count - 1
        self._high = 0
        self._reference = YEAR_ONE

    @property
    def is_empty(self) -> bool:
        return bool(self._weights[self._low] < self.buckets.epsilon)

    def add(self, value: float, weight: float, at: float) -> None:
        """
        Add one sample taken *at* (epoch seconds).

        Raises:
            ValueError: an argument is not finite, or the weight is negative.
        """
        _check_sample(value, weight, at)
        weight *= self._decay(at)
        bucket = self.buckets.find(value)
        self._weights[bucket] += weight
        self._total += weight
        if self._weights[bucket] >= self.buckets.epsilon:
            self._low = min(self._low, bucket)
            self._high = max(self._high, bucket)

    def add_samples(self, values: Floats, weight: float, times: Floats) -> None:
        """
        Add samples of equal weight, in any order; all arrays have shape (n,).

        Raises:
            ValueError: a value or time is not finite, or the weight is negative.
        """
        if not len(values):
            return
        newest = float(times.max())
        _check_sample(float(values.min()), weight, float(times.min()))
        _check_sample(float(values.max()), weight, newest)
        weights = np.full(len(values), weight)
        if self.half_life is not None:
            self._move_reference(float(times.min()))
            self._move_reference(newest)
            weights *= np.exp2((times - self._reference) / self.half_life)
        buckets = self.buckets.find_all(values)
        np.add.at(self._weights, buckets, weights)
        self._total += float(weights.sum())
        used = buckets[self._weights[buckets] >= self.buckets.epsilon]
        if len(used):
            self._low = min(self._low, int(used.min()))
            self._high = max(self._high, int(used.max()))

    def subtract(self, value: float, weight: float, at: float) -> None:
        """
        Take back a sample added before with equal arguments; no weight falls below 0.

        Raises:
            ValueError: an argument is not finite, or the weight is negative.
        """
        _check_sample(value, weight, at)
        weight *= self._decay(at)
        bucket = self.buckets.find(value)
        self._weights[bucket] = self._less(float(self._weights[bucket]), weight)
        self._total = self._less(self._total, weight)
        self._narrow()

    def merge(self, other: Histogram) -> None:
        """
        Add all of *other*, which has equal buckets and half-life.

        Both are moved to the later reference time, so *other* changes too: what
        falls below epsilon leaves its range.

        Raises:
            ValueError: the histograms are not alike.
        """
        if (self.buckets, self.half_life) != (other.buckets, other.half_life):
            raise ValueError("only histograms with equal buckets and half-life can be merged")
        if self._reference < other._reference:
            self._shift_to(other._reference)
        elif other._reference < self._reference:
            other._shift_to(self._reference)
        self._weights += other._weights
        self._total += other._total
        self._low = min(self._low, other._low)
        self._high = max(self._high, other._high)

    def percentile(self, share: float) -> float:
        """
        Return the end of the bucket in which *share* of the weight is reached.

        The last bucket has no end: its start is returned. 0.0 when empty.
        """
        return self.percentiles((share,))[0]

    def percentiles(self, shares: tuple[float, ...]) -> list[float]:
        """Return the percentile of each share, 0.0 when empty."""
        if self.is_empty:
            return [0.0] * len(shares)
        starts = _starts(self.buckets)
        reached = np.cumsum(self._weights[self._low : max(self._low, self._high)])
        places = np.searchsorted(reached, np.asarray(shares) * self._total)
        return [float(starts[min(self._low + int(place) + 1, len(starts) - 1)]) for place in places]

    def checkpoint(self) -> Checkpoint:
        """Return the peer's short form."""
        used = self._weights[self._low : self._high + 1]
        heaviest = float(used.max()) if len(used) else 0.0
        if heaviest <= 0.0:
            return Checkpoint(total=self._total, reference=self._reference)
        scaled = np.floor(used * (MAX_CHECKPOINT_WEIGHT / heaviest) + 0.5).astype(np.int64).tolist()
        kept = tuple((self._low + place, weight) for place, weight in enumerate(scaled) if weight > 0)
        return Checkpoint(weights=kept, total=self._total, reference=self._reference)

    def load(self, checkpoint: Checkpoint) -> None:
        """
        Add what a checkpoint holds and take over its reference time.

        Raises:
            ValueError: a bucket is out of range, or a weight or the total is negative or not finite.
        """
        _check_sample(0.0, checkpoint.total, checkpoint.reference)
        for bucket, weight in checkpoint.weights:
            if not 0 <= bucket < self.buckets.count or weight < 0:
                raise ValueError(f"a checkpoint cannot hold bucket {bucket} with weight {weight}")
        self._reference = checkpoint.reference
        scale = sum(weight for _, weight in checkpoint.weights)
        if scale == 0:
            return
        ratio = checkpoint.total / scale
        for bucket, weight in checkpoint.weights:
            self._low = min(self._low, bucket)
            self._high = max(self._high, bucket)
            self._weights[bucket] += weight * ratio
        self._total += checkpoint.total
        self._narrow()

    def freeze(self) -> Weights:
        """Return the exact content as a value."""
        used = np.flatnonzero(self._weights)
        if not len(used):
            return Weights(reference=self._reference)
        first = int(used[0])
        return Weights(
            first=first,
            values=self._weights[first : int(used[-1]) + 1].astype("<f8").tobytes(),
            low=self._low,
            high=self._high,
            total=self._total,
            reference=self._reference,
        )

    @classmethod
    def thaw(cls, frozen: Weights, buckets: Buckets, *, half_life: float | None = None) -> Histogram:
        """
        Make the histogram that *frozen* was taken from.

        Raises:
            ValueError: the content does not fit the buckets or is not a finite weight.
        """
        histogram = cls(buckets, half_life=half_life)
        _check_sample(0.0, frozen.total, frozen.reference)
        histogram._reference = frozen.reference
        if not frozen.values:
            return histogram
        weights = np.frombuffer(frozen.values, dtype="<f8")
        in_range = frozen.first >= 0 and frozen.first + len(weights) <= buckets.count
        if not (in_range and max(frozen.low, frozen.high) < buckets.count and min(frozen.low, frozen.high) >= 0):
            raise ValueError(f"the remembered weights do not fit {buckets.count} buckets")
        if not (weights.min() >= 0.0 and weights.max() < math.inf):
            raise ValueError("a remembered weight is negative or not finite")
        histogram._weights[frozen.first : frozen.first + len(weights)] = weights
        histogram._low, histogram._high, histogram._total = frozen.low, frozen.high, frozen.total
        return histogram

    def _decay(self, at: float) -> float:
        if self.half_life is None:
            return 1.0
        self._move_reference(at)
        return float(np.exp2((at - self._reference) / self.half_life))

    def _move_reference(self, at: float) -> None:
        assert self.half_life is not None
        if at > self._reference + self.half_life * MAX_DECAY_EXPONENT:
            self._shift_to(at)

    def _shift_to(self, at: float) -> None:
        if self.half_life is None:
            self._reference = at
            return
        # Half-lives counted from year one, half up, so that the reference is exact although *at* is not.
        new = YEAR_ONE + math.floor((at - YEAR_ONE) / self.half_life + 0.5) * self.half_life
        shift = round((self._reference - new) / self.half_life)
        factor = math.ldexp(1.0, max(-_LARGEST_SHIFT, min(shift, MAX_DECAY_EXPONENT)))
        self._weights *= factor
        self._total *= factor
        self._reference = new
        self._narrow()

    def _less(self, value: float, taken: float) -> float:
        rest = value - taken
        return 0.0 if rest < self.buckets.epsilon else rest

    def _narrow(self) -> None:
        """Move the ends of the range inward over buckets that count as empty, never outward."""
        weights, epsilon = self._weights, self.buckets.epsilon
        while self._low < len(weights) - 1 and weights[self._low] < epsilon:
            self._low += 1
        while self._high > 0 and weights[self._high] < epsilon:
            self._high -= 1


@functools.cache
def _starts(buckets: Buckets) -> Floats:
    if buckets.ratio == 1.0:
        return np.arange(buckets.count, dtype=np.float64) * buckets.first
    above = [buckets.first * (power(buckets.ratio, n) - 1.0) / (buckets.ratio - 1.0) for n in range(1, buckets.count)]
    return np.array([0.0, *above])


def _check_positive(**amounts: float) -> None:
    for name, amount in amounts.items():
        if not 0.0 < amount < math.inf:
            raise ValueError(f"{name} must be above 0 and finite, got {amount}")


def _check_sample(value: float, weight: float, at: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"a sample must be finite, got {value}")
    if not 0.0 <= weight < math.inf:
        raise ValueError(f"a weight must be at least 0 and finite, got {weight}")
    if not abs(at) < LARGEST_TIME:
        raise ValueError(f"a time must be in epoch seconds, got {at}")


WEIGHT_EPSILON = 0.0001
"""A thousandth of the weight of one CPU sample."""
CPU_BUCKETS = exponential_buckets(max_value=1000.0, first=0.01, ratio=1.05, epsilon=WEIGHT_EPSILON)
"""In cores, as in the peer's aggregations_config.go."""
MEMORY_BUCKETS = exponential_buckets(max_value=1e12, first=1e7, ratio=1.05, epsilon=WEIGHT_EPSILON)
"""In bytes, as in the peer's aggregations_config.go."""
